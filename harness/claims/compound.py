"""Checks made of other checks, and checks made of a plain function."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.checks import Check, Difference, Place, Ratio, alike
from harness.claims.reading import final_values
from harness.claims.verdicts import IF_SET, LEVEL, MIN_SEEDS, Evidence, Missing
from harness.study import Study

RESAMPLES = 999  # of the seeds that a plain function reads


@dataclass(frozen=True)
class Everywhere(Check):
    """Several checks at once: supported if all hold, refuted if any fails.

    The effect shown is that of the check that is least in favour. Intersection-union for the
    claim (the largest p; Berger 1982), Bonferroni over the checks against it.
    """

    checks: tuple[Check, ...] = ()

    @property
    def replication(self) -> str:  # type: ignore[override]
        """What one unit of n is, for all of the checks."""
        return self.checks[0].replication

    @property
    def least(self) -> int:  # type: ignore[override]
        return max(check.least for check in self.checks)

    @property
    def timed(self) -> bool:  # type: ignore[override]
        return any(check.timed for check in self.checks)

    def places(self, study: Study) -> list[Place]:
        return [place for check in self.checks for place in check.places(study)]

    def reads(self, study: Study) -> set[tuple[str, str]]:
        return {one for check in self.checks for one in check.reads(study)}

    def unit(self, study: Study) -> str:
        return self.checks[0].unit(study)

    def quantity(self, study: Study) -> str:
        return f"{self.checks[0].quantity(study)}, and {len(self.checks) - 1} more; the weakest"

    def validate(self, study: Study) -> None:
        for check in self.checks:
            check.validate(study)

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        found = [check.evidence(frame, study) for check in self.checks]
        weakest = max(range(len(found)), key=lambda i: (found[i].p_for(), -found[i].p_against()))
        notes = dict.fromkeys(e.reason for e in found if e.reason)
        one = found[weakest]
        test = f"{one.test}; all of {len(found)} places must hold (intersection-union)"
        return _EverywhereEvidence(
            one.estimate, one.margin, one.direction, "; ".join(notes), test,
            (weakest, *one.weakest), one.pair, tuple(found),
        )  # fmt: skip

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        keys, made = ["arm", *study.vary, "seed", "step"], pd.DataFrame()
        for check in self.checks:
            frame = check.planted(study, seeds, hold)
            # in a chain of one metric it is as high as the others are
            if isinstance(check, Difference) and check.metric in made:
                both = (
                    frame[[*keys, check.metric]]
                    .merge(made[[*keys, check.metric]], on=keys)
                    .dropna()
                )
                own, there = both[f"{check.metric}_x"].mean(), both[f"{check.metric}_y"].mean()
                if len(both) and isinstance(check, Ratio):
                    frame[check.metric] *= there / own
                elif len(both):
                    frame[check.metric] += there - own
            made = pd.concat([made, frame]) if len(made) else frame
        # rows of one trial that were made for several metrics are one row
        return made.groupby(keys, sort=False, dropna=False, as_index=False).first()[[*made.columns]]


def shown(check: Check, weakest: tuple[int, ...]) -> Check:
    """The check whose numbers a verdict shows: of several the weakest, as the verdict has it."""
    for place in weakest:
        assert isinstance(check, Everywhere)
        check = check.checks[place]
    return check


@dataclass(frozen=True)
class _EverywhereEvidence(Evidence):
    places: tuple[Evidence, ...] = ()

    def p_for(self) -> float:
        return max(place.p_for() for place in self.places)

    def p_against(self) -> float:
        return min(1.0, len(self.places) * min(place.p_against() for place in self.places))


@dataclass(frozen=True)
class Statistic(Check):
    """A plain function of one metric's final values, bootstrapped over seeds; or, where `each`, of
    each seed's own, whose mean has Student's interval: five seeds can decide many claims by it, for
    a bootstrap of n seeds gives no p under 2^-n.

    `fn` takes a table with one row a seed and one column an (arm, *levels of vary); `example`
    takes a study, a number of seeds and whether the claim holds, and returns a frame, which keeps
    the claim falsifiable. Of `arms`, where they are given, it reads and needs these alone.
    """

    fn: Callable[[pd.DataFrame], float] | None = None
    example: Callable[[Study, int, bool], pd.DataFrame] | None = None
    words: str = ""
    unit_: str = ""
    each: bool = False
    arms: tuple[str, ...] = field(default=(), metadata=IF_SET)

    @property
    def least(self) -> int:  # type: ignore[override]
        """A bootstrap of n seeds gives no p under 2^-n."""
        return MIN_SEEDS if self.each else math.ceil(-math.log2(LEVEL / 2))

    def places(self, study: Study) -> list[Place]:
        return [(arm, {}) for arm in self.arms or study.arms]

    def _one_cell(self, study: Study, where: object) -> None:
        return None  # it reads the whole table

    def unit(self, study: Study) -> str:
        return self.unit_

    def quantity(self, study: Study) -> str:
        return self.words

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        assert self.fn is not None
        if self.arms:
            frame = frame[frame["arm"].isin(self.arms)]
        table = final_values(frame, study, self.metric, self.phase)
        if len(table) < MIN_SEEDS:
            raise Missing(f"{len(table)} complete seeds; at least {MIN_SEEDS} are needed")
        try:
            effect = self.fn(table)
        except (KeyError, IndexError, ValueError):  # an arm or a cell that this scale leaves out
            effect = math.nan
        if math.isnan(effect):
            raise Missing("the rows lack what the claim reads")
        trials = frame.loc[frame["phase"] == self.phase].drop_duplicates("trial")
        ran = trials["seed"].nunique()
        short = ran - len(table)
        notes = [f"{short} of {ran} seeds lack a value somewhere and are left out"] if short else []
        for arm, status in trials.groupby("arm", sort=False, observed=True)["status"]:
            if gone := int((status == "diverged").sum()):
                notes.append(f"{gone} of {len(status)} trials of {arm} diverged")
        note = "; ".join(notes)
        if self.each:
            own = np.array([self.fn(table.iloc[[seed]]) for seed in range(len(table))])
            test = "a value a seed, Student's t" + alike(own)
            return Evidence(stats.Mean(own), self.margin, self.direction, note, test)
        generator = np.random.default_rng(0)
        chosen = generator.integers(0, len(table), (RESAMPLES, len(table)))
        # few seeds make few samples: each is read once, however often it was drawn
        _, first, which = np.unique(
            np.sort(chosen, axis=1), axis=0, return_index=True, return_inverse=True
        )
        draws = np.array([self.fn(table.iloc[chosen[place]]) for place in first])[which.ravel()]
        test = f"bootstrap over seeds, {RESAMPLES} resamples, percentile interval"
        estimate = stats.Bootstrap(effect, draws, len(table))
        return Evidence(estimate, self.margin, self.direction, note, test)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        assert self.example is not None
        return self.example(study, seeds, hold)
