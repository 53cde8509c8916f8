"""What figures read off the rows: one number a trial, or one a trial and step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.figures.theme import At
from harness.study import Metric, Study

POINTS = 120  # most points a line keeps


def final(study: Study, rows: pd.DataFrame, metric: str, at: At = "end") -> pd.DataFrame:
    """One value of a metric, one row a trial.

    Args:
        at: "end" (a trial's last value), "start" (its first), or a step.

    Returns:
        Columns arm, the factors, the nuisance, seed, trial, status, value. A diverged trial has
        the metric's worst score; failed trials and those that do not report it are absent.
    """
    columns = ["arm", *study.vary, *study.nuisance_names(), "seed", "trial", "status"]
    columns += ["seconds"] if "seconds" in rows else []
    done = rows[(rows["status"] == "finished") & rows[metric].notna()]
    if isinstance(at, int):
        done = done[done["step"] == at]
    keep: Any = "first" if at == "start" else "last"
    last = done.sort_values("step", kind="stable").drop_duplicates("trial", keep=keep)
    gone = rows[rows["status"] == "diverged"].drop_duplicates("trial")
    gone = gone[columns].assign(value=study.metrics[metric].worst_value)
    ended = last[columns].assign(value=last[metric].astype(float))
    return pd.concat([part for part in (ended, gone) if len(part)] or [ended])


def centres(values: pd.DataFrame, keys: list[str], worse: float = math.nan) -> pd.DataFrame:
    """The centre of each group of trials and its 95 % interval, in the groups' first order.

    Args:
        values: From `final`.
        keys: The columns that make a group.
        worse: The infinity that stands for a group without any number, all of it diverged.

    Returns:
        The keys, and columns centre, low, high, n (trials), diverged and never (how many of them).
    """
    found = []
    for key, group in values.groupby(keys, sort=False, dropna=False):
        array = group["value"].to_numpy(dtype=float)
        gone = (group["status"] == "diverged").to_numpy()
        one = stats.interval_for_display(array)
        centre, low, high = one if not np.isnan(one[0]) else (worse,) * 3
        found.append((*key, centre, low, high, len(array), gone.sum(),
                      (np.isinf(array) & ~gone).sum()))  # fmt: skip
    return pd.DataFrame(found, columns=[*keys, "centre", "low", "high", "n", "diverged", "never"])


def band_of(rows: pd.DataFrame, metric: Metric, name: str) -> pd.DataFrame:
    """Centre and 95 % interval over trials at each step: columns step, centre, low, high.

    A diverged trial scores worst from its last row on, so that a curve never improves because
    the bad seeds have left it.
    """
    table = rows.pivot_table(index="step", columns="trial", values=name, aggfunc="last")
    gone = rows.loc[rows["status"] == "diverged", "trial"].unique()
    for trial in gone:
        alive = table[trial].notna().to_numpy() if trial in table else np.zeros(len(table), bool)
        last = int(alive.nonzero()[0].max()) if alive.any() else -1
        column = table[trial].to_numpy(copy=True) if trial in table else np.full(len(table), np.nan)
        column[last + 1 :] = metric.worst_value
        table[trial] = column
    stride = max(1, math.ceil(len(table) / POINTS))
    table = table.iloc[::stride] if stride == 1 else pd.concat([table.iloc[:-1:stride], table[-1:]])
    values = table.to_numpy(dtype=float)  # (steps, trials)
    centre, low, high = stats.intervals_for_display(values).T
    return pd.DataFrame({"step": table.index, "centre": centre, "low": low, "high": high})
