"""Rows that a file holds: read, held to the digest that was written with them, and to the study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from harness.ledger import rows
from harness.ledger.results import STATUSES
from harness.study import PHASES, BadInput, Study


def _bare(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame without what it says of its rows, which pandas would copy at every operation."""
    bare = frame.copy(deep=False)
    bare.attrs = {}
    return bare


def digest(frame: pd.DataFrame) -> str:
    """Of a frame of rows, over numbers and names: a damaged file is not to be read as something else."""
    found = hashlib.sha256()
    bare = _bare(frame)
    for name in sorted(bare.columns):
        column = bare[name]
        if column.dtype.kind in "biuf":
            values = column.to_numpy()
            if column.dtype.kind == "f":  # a GPU's NaN has other bits, which the file does not keep
                values = np.where(np.isnan(values), np.nan, values)
            found.update(f"{name} {column.dtype}".encode() + values.tobytes())
        elif name in ("study", "phase", "arm", "trial", "status", "pack", "error"):
            found.update("\0".join([name, *map(str, column)]).encode())
    return found.hexdigest()


def read_rows(path: Path) -> tuple[pd.DataFrame, str, str]:
    """Rows from a file of `execute_to_file`, with the study's name and the scale.

    Raises:
        BadInput: no such file, not one of ours, or a damaged one.
    """
    try:
        frame = rows.load(path)
        scale, name = str(frame.attrs["scale"]), str(frame["study"].iloc[0])
        if frame.attrs["digest"] != digest(frame):
            raise ValueError("its numbers are not those that were written")
    except Exception as error:  # the reader raises whatever the bytes lead it to
        words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadInput(
            f"rows file {str(path)!r} cannot be read ({words}); allowed: a file written by harness "
            "run NAME --inline --rows FILE"
        ) from None
    return frame, name, scale


def fitting(study: Study, frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """The rows of a file with the study's types.

    Raises:
        BadInput: they are not rows of this study as it is declared now.
    """
    columns = [name for name in study.columns() if name not in study.metrics]
    problem = [f"it has no column {name!r}" for name in columns if name not in frame]
    info = frame.attrs.get("info")
    if not isinstance(info, Mapping) or not {"plan", "commit", "provenance", "started_at"} <= set(
        info
    ):
        problem.append("it does not say what run it is from")
    known = {"phase": PHASES, "status": STATUSES, "arm": tuple(study.arms)}
    known |= {
        name: tuple(study.held(name, level) for level in levels)
        for name, levels in study.vary.items()
    }
    for name, allowed in known.items():
        odd = [] if problem else [v for v in frame[name].unique() if v not in allowed]
        problem += [f"it has {name}={str(value)[:100]!r}" for value in odd[:1]]
    try:
        if not problem:
            typed = rows.told_apart(rows.typed(study, _bare(frame)))
            typed.attrs = frame.attrs
            return typed
    except (ValueError, TypeError) as error:
        problem.append(" ".join(str(error).split())[:200])
    raise BadInput(
        f"{what} does not fit study {study.name} ({problem[0]}); allowed: rows of "
        "the study as it is now"
    )
