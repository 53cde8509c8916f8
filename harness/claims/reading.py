"""From a frame of rows to the numbers a check reads, and back to rows for planted examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.claims.verdicts import MIN_SEEDS, At, Missing
from harness.ledger.results import at as at_
from harness.study import Study


def _places(
    frame: pd.DataFrame, arm: str, where: Mapping[str, Any] | None, phase: str
) -> np.ndarray:
    """Where the rows of `rows_of` lie in the frame, (rows,) int."""
    mask = at_(frame["phase"], phase) & at_(frame["arm"], arm)
    for factor, level in (where or {}).items():
        mask &= at_(frame[factor], level)
    return np.flatnonzero(mask)


def rows_of(
    frame: pd.DataFrame, arm: str, where: Mapping[str, Any] | None, phase: str
) -> pd.DataFrame:
    """The rows of one arm in one cell, or over all cells that `where` leaves open."""
    return frame.iloc[_places(frame, arm, where, phase)]


def values(
    frame: pd.DataFrame,
    study: Study,
    metric: str,
    arm: str,
    where: Mapping[str, Any] | None = None,
    at: At = "end",
    phase: str = "confirm",
    unit: str = "seed",
) -> pd.Series:
    """One number a replication unit: the metric of one arm in one cell, at one step.

    Args:
        at: "end" (the last step that reports the metric), "start" (the first) or a step.
        unit: The column that tells units apart: "seed", or "trial" where draws are compared.

    Returns:
        A series indexed by `unit`; diverged trials carry the metric's worst score, but for what
        they measured at the start; failed trials are absent.
    """
    # of many columns four, as arrays: this is done for every claim at every look
    here = _places(frame, arm, where, phase)
    units, steps, status, number = (
        frame[name].iloc[here].to_numpy() for name in (unit, "step", "status", metric)
    )
    number = number.astype(float)
    # What was measured before any training stands, however the training ended.
    kept = (status == "finished") | ((status == "diverged") & (at == "start"))
    kept &= ~np.isnan(number)
    if isinstance(at, int):
        kept &= steps == at
    order = np.flatnonzero(kept)
    order = order[np.argsort(steps[order], kind="stable")]
    if at == "start":
        order = order[::-1]  # of a unit's numbers the last that is put in stays
    found = dict.fromkeys(units[status == "diverged"], float(study.metrics[metric].worst_value))
    found |= dict(zip(units[order], number[order], strict=True))
    return pd.Series(found, dtype=float, name=metric).sort_index()


def place(arm: str, where: Mapping[str, Any]) -> str:
    """An arm and a cell in words, for notes."""
    return " ".join([arm, *(f"{k}={v}" for k, v in where.items())])


def enough(
    frame: pd.DataFrame, arm: str, where: Mapping[str, Any], phase: str, n: int, reported: int
) -> str:
    """A note about what is left out; raises where that is too much, or too few seeds remain.

    Args:
        n: Seeds that the estimate rests on.
        reported: Seeds of this arm that gave a number, or diverged.
    """
    found = _places(frame, arm, where, phase)
    _, first = np.unique(frame["seed"].iloc[found].to_numpy(), return_index=True)
    status = frame["status"].iloc[found[first]].to_numpy()
    failed, diverged = (int((status == one).sum()) for one in ("failed", "diverged"))
    silent = len(status) - failed - reported
    here = place(arm, where)
    notes = []
    if failed:
        notes.append(f"{failed} of {len(status)} trials of {here} failed and are left out")
    if diverged:
        notes.append(f"{diverged} of {len(status)} trials of {here} diverged")
    if silent > 0:
        notes.append(f"{silent} of {len(status)} trials of {here} report no such number")
    if failed * 2 > len(status):
        raise Missing(f"{failed} of {len(status)} trials of {here} failed")
    if not len(status):
        raise Missing(f"no {phase} trials of {here}")
    if n < MIN_SEEDS:
        raise Missing(
            "; ".join(
                [f"{n} seeds of {here}; at least {MIN_SEEDS} are needed", *notes[failed > 0 :]]
            )
        )
    return "; ".join(notes)


def final_values(
    frame: pd.DataFrame, study: Study, metric: str, phase: str = "confirm"
) -> pd.DataFrame:
    """The last value of a metric, one row a seed and one column an (arm, *vary).

    Diverged trials carry the worst score; columns that never report the metric and seeds that lack
    any of the others are left out.
    """
    rows = frame[(frame["phase"] == phase) & (frame["status"] != "failed")]
    keys = ["seed", "arm", *study.vary]
    last = rows.sort_values("step", kind="stable").groupby(keys)[[metric, "status"]].last()
    reports = last[metric].notna().groupby(keys[1:]).transform("any")
    diverged = last["status"] == "diverged"
    last.loc[diverged & reports, metric] = study.metrics[metric].worst_value
    table: pd.DataFrame = last.loc[reports, metric].unstack(keys[1:]).dropna()
    return table


def rows_for(
    study: Study, metric: str, arm: str, column: Iterable[float], *,
    at: At = "end", phase: str = "confirm", **where: Any,
) -> pd.DataFrame:  # fmt: skip
    """Rows of one arm with one metric, one a seed: what planted frames are made of."""
    cell = {factor: levels[0] for factor, levels in study.vary.items()} | where
    cell = {factor: study.held(factor, level) for factor, level in cell.items()}
    step = at if isinstance(at, int) else 1
    records = [
        {"study": study.name, "phase": phase, "arm": arm, **cell, "seed": seed, "step": step}
        | {"trial": f"{arm}-{seed}-{sorted(cell.items())}", "status": "finished", metric: value}
        for seed, value in enumerate(column)
    ]
    return pd.DataFrame(records).reindex(columns=study.columns())
