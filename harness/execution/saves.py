"""The packs of a run that are in flight: where they are saved, and which there are from before."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness import durable
from harness.engine import saved
from harness.engine.saved import SUFFIX, Refused, Saved
from harness.study import Trial


def home(root: Path, study: str, scale: str) -> Path:
    """Where packs of a study at a scale are saved in a project."""
    return root / ".harness" / "flight" / study / scale


def beside(rows: Path) -> Path:
    """And where beside a file of rows, with which they travel."""
    return rows.with_suffix(SUFFIX)


def aloft(folder: Path) -> dict[str, Any]:
    """How many trials are in flight in a folder, the share of their updates that has been made, and
    the seconds that this took."""
    there = [one for _, one in saved.found(folder) if isinstance(one, Saved)]
    trials = sum(len({*one.keys}) for one in there)
    made = sum(len({*one.keys}) * (1 - one.left) for one in there)
    return {
        "trials": trials,
        "done": made / trials if trials else 0.0,
        "seconds": sum(one.seconds for one in there),
    }


class Saves:
    """The files of a run's packs in one folder.

    Args:
        folder: It is made where there is none.
        device: The kind of device that the run trains on.
        tell: Is told of files that are refused.
        fresh: Whether packs from before are of no use.

    Attributes:
        flag: A file that is there for as long as packs are to train on: who cannot see it cannot
            save in the folder either.
    """

    def __init__(
        self, folder: Path, device: str, tell: Callable[[str], object], fresh: bool = False
    ) -> None:
        self.folder, self.device = folder, device
        self.flag = folder / f".{secrets.token_hex(8)}.flag"
        self._told: set[str] = set()
        self._there: list[tuple[Path, Saved]] = []
        for path, one in saved.found(folder):
            if isinstance(one, Refused):
                tell(f"{one}, and is not gone on from: its trials train anew")
            elif one.device == device and not fresh:
                self._there.append((path, one))
        self._there.sort(key=lambda pair: -pair[1].step / pair[1].updates)

    @contextlib.contextmanager
    def open(self) -> Iterator[Saves]:
        """Within, packs may be saved; a disk that is full saves none."""
        with contextlib.suppress(OSError):
            for stale in self.folder.glob(".*"):  # of runs that were killed
                stale.unlink()
            durable.text(self.flag, f"{os.getpid()}\n")
        try:
            yield self
        finally:
            self.end()
            for folder in (self.folder, self.folder.parent):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # where nothing is left in it

    def end(self) -> None:
        """Have every pack saved now and trained no further, whoever trains it."""
        with contextlib.suppress(OSError):
            self.flag.unlink(missing_ok=True)

    def of(self, trials: Sequence[Trial]) -> tuple[list[tuple[str, list[Trial]]], list[Trial]]:
        """Those trials that are in flight by the name of their file, in its order; and the others."""
        left, found = {trial.key: trial for trial in trials}, []
        for path, one in self._there:
            mine = [left.pop(key) for key in dict.fromkeys(one.keys) if key in left]
            if mine:
                found.append((path.name, mine))
        return found, [*left.values()]

    def latest(self, label: str) -> str:
        """The file of a pack of this label, or nothing; it is kept until all of it is told."""
        path = self.folder / f"{label}{SUFFIX}"
        with contextlib.suppress(Refused):
            self._there.append((path, saved.about(path)))
            return path.name
        return ""

    def recorded(self, label: str) -> None:
        """A pack of this label has been recorded."""
        for path in self.folder.glob(f"{label}*{SUFFIX}"):
            _remove(path)

    def told(self, keys: Iterable[str]) -> None:
        """These trials need not be trained again."""
        self._told.update(keys)
        for path, one in self._there:
            if self._told.issuperset(one.keys):
                _remove(path)
        self._there = [pair for pair in self._there if not self._told.issuperset(pair[1].keys)]

    def done(self) -> None:
        """No trial of the study is left to be trained: nobody asks for files of before again."""
        for path, _ in self._there:
            _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
