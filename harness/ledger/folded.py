"""The rows of a run while it goes on, in little memory."""

from __future__ import annotations

import io

import pandas as pd

from harness.ledger import rows
from harness.study import Study

TOGETHER = (
    20_000  # rows that are folded at once: a frame of a few costs its columns alone kilobytes
)


class Folded:
    """Frames of rows, one after the other. Those that came first lie folded as a file would hold
    them, a tenth of what they take as frames; floats are the same to the last bit.

    Args:
        study: Whose rows.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._folded: list[bytes] = []
        self._loose: list[pd.DataFrame] = []
        self._rows = 0  # that are loose

    def add(self, frame: pd.DataFrame) -> None:
        """Put a frame after the others."""
        self._loose.append(frame)
        self._rows += len(frame)
        if self._rows >= TOGETHER:
            file = io.BytesIO()
            pd.concat(self._loose, ignore_index=True).to_parquet(file, index=False)
            self._folded.append(file.getvalue())
            self._loose, self._rows = [], 0

    def frame(self) -> pd.DataFrame:
        """All of them as one."""
        first = [pd.read_parquet(io.BytesIO(file)) for file in self._folded]
        frames = [*first, *self._loose]
        return pd.concat(frames, ignore_index=True) if frames else rows.empty(self._study)
