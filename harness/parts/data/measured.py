"""Rows of other studies, which a study may read (`Study.reads`): `table` gives it those.

They are held by the process that trains, and handed to others as data sets are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from harness.study import DataError

Table = Mapping[str, np.ndarray]
MEASURED = ("seconds",)  # columns that no second run repeats
_TABLES: dict[str, Table] = {}
_DIGESTS: dict[str, str] = {}
_SOURCES: dict[str, Mapping[str, Any]] = {}


def table(study: str) -> Table:
    """The rows of a study that this one `reads`: its confirmed trials at every recorded step.

    Returns:
        Columns of equal length, by name: arm, seed, step, status, seconds, each factor and metric.
        Times are in no key: what a trial makes of them is not trained again when they change.

    Raises:
        DataError: that study is not among `Study.reads`, or has not been run.
    """
    if study not in _TABLES:
        held = ", ".join(_TABLES) or "none"
        raise DataError(f"no table {study!r}; allowed: those that Study.reads names, here {held}")
    return _TABLES[study]


def hold(
    study: str, columns: Mapping[str, np.ndarray],
    source: Mapping[str, Any] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Make rows the `table` of a study in this process, in place of those that were.

    Args:
        study, columns: What `table` returns.
        source: What is known of the run that they are from.

    Raises:
        DataError: columns of different lengths.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"table {study!r} has columns of {lengths}; allowed: one length")
    _TABLES[study] = MappingProxyType({name: np.asarray(c) for name, c in columns.items()})
    found = hashlib.sha256()
    for name, column in sorted(_TABLES[study].items()):
        if name in MEASURED:
            continue
        plain = column.dtype != object  # else the bytes are addresses
        content = (
            np.ascontiguousarray(column).tobytes() if plain else repr(column.tolist()).encode()
        )
        found.update(f"{name} {column.dtype}".encode() + content)
    _DIGESTS[study] = found.hexdigest()[:16]
    _SOURCES[study] = source


def table_source(study: str) -> Mapping[str, Any]:
    """What is known of the run that a table is from."""
    return _SOURCES.get(study, {})


def tables() -> dict[str, dict[str, np.ndarray]]:
    """Every table that this process holds, to be handed to others."""
    return {name: dict(columns) for name, columns in _TABLES.items()}


def table_digest(study: str) -> str:
    """Sixteen hex digits over a table's rows, less what a clock measured: the same trainings done
    anew are the same table. Nothing where it is not held."""
    return _DIGESTS.get(study, "")


def forget() -> None:
    """Drop every table."""
    for one in (_TABLES, _DIGESTS, _SOURCES):
        one.clear()
