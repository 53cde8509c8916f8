"""One value that holds everything a report is made from.

A run fills it, the ledger can fill it again, and all that comes after it (verdicts, figures,
report) is a pure function of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.study import PHASES, Study, of_test

STATUSES = ("finished", "diverged", "failed")


def at(column: pd.Series, level: Any) -> np.ndarray:
    """Where a frame's column of a factor has a level, (rows,) bool."""
    if isinstance(column.dtype, pd.StringDtype):  # as it lies there: far faster than objects
        return np.asarray(column == (level if isinstance(level, str) else repr(level)), bool)
    values = column.to_numpy()
    found = values == level
    if not isinstance(level, str) and values.dtype.kind not in "biuf":
        found = found | (values == repr(level))
    return np.broadcast_to(np.asarray(found, bool), values.shape)


@dataclass(frozen=True)
class Results:
    """What a study run measured.

    Args:
        study: The study, with its name set.
        scale: "smoke", "default", "evening" or "paper".
        frame: One row a measurement, with the columns of `Study.columns()`; a failed trial has
            one row; a metric that a cell does not report is NaN.
        trials: One row a trial: trial, phase, arm, the factors, the nuisance, seed, status, error,
            seconds, pack, run_id, and the final value of each metric.
        info: commit, dirty, started_at, finished_at (ISO, UTC), seconds, planned, command, plan,
            partial, tracking_uri, experiment_id, run_id, provenance (text to text), and where
            known registered_at and claims_hash.
    """

    study: Study
    scale: str
    frame: pd.DataFrame
    trials: pd.DataFrame
    info: Mapping[str, Any]

    @property
    def timed(self) -> pd.DataFrame:
        """The frame with the seconds that each trial took, its share of its pack's time, and the
        pack's name.

        Claims and figures read this. `frame` has neither, for no second run repeats them.
        """
        trials, keys = self.trials.set_index("trial"), self.frame["trial"]
        took = keys.map(trials["seconds"]).astype(float)
        whole = self.frame.copy()  # columns of a type lie together again
        return whole.assign(seconds=took, pack=keys.map(trials["pack"]))

    @property
    def counts(self) -> dict[str, int]:
        """Trials planned, finished, diverged and failed."""
        status = self.trials["status"].value_counts()
        counts = {name: int(status.get(name, 0)) for name in STATUSES}
        return {"planned": int(self.info.get("planned", len(self.trials))), **counts}

    @property
    def test_scored(self) -> dict[str, int]:
        """How often the test split was scored in each phase: rows of trials that have a metric of it.
        Phases in which it was not are absent."""
        names = [name for name in self.study.metrics if of_test(name)]
        phases = self.frame.loc[self.frame[names].notna().any(axis=1), "phase"].value_counts()
        return {phase: int(phases[phase]) for phase in PHASES if phase in phases}

    def winners(self) -> pd.DataFrame:
        """The tuned nuisance of each arm and cell, as the confirm trials used it.

        Returns:
            Columns arm, the factors, the nuisance; one row an arm and cell, in declared order.
            Empty where nothing is tuned or confirmed.
        """
        place, tuned = ["arm", *self.study.vary], self.study.nuisance_names()
        confirmed = self.trials[self.trials["phase"] == "confirm"]
        if not tuned:
            return confirmed[place].iloc[:0]
        rows = confirmed.drop_duplicates(place)[[*place, *tuned]]
        order = {arm: i for i, arm in enumerate(self.study.arms)}
        levels = {
            k: {self.study.held(k, v): i for i, v in enumerate(vs)}
            for k, vs in self.study.vary.items()
        }
        ranks = {name: levels.get(name, order) for name in place}
        return rows.sort_values(
            place, key=lambda column: column.map(ranks[str(column.name)]), kind="stable"
        ).reset_index(drop=True)
