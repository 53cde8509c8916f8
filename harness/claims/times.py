"""A check of how long trials of the search took: seconds, which are no metric, for they are not
part of what a trial's rows promise to repeat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness import stats
from harness.claims.checks import Check, Place
from harness.claims.draws import drawn, planted_draws
from harness.claims.reading import rows_of
from harness.claims.verdicts import MIN_SEEDS, Evidence, Missing
from harness.study import InvalidStudy, Study


@dataclass(frozen=True)
class Slower(Check):
    """How many times as long a trial takes over the highest third of a nuisance's range as over the
    lowest, in packs of one size.

    Trials of a pack share its time alike, so that they are one observation: the unit is the arm,
    whose packs are its own. A pack's time also has a part that is the same whatever it holds, which
    weighs more on the trials of a small pack. Which part that is, nobody measured, but a trial's
    share in a pack of the largest size would lie between its pack's time over that size and the
    share that it had. From these follow the least and the most that the ratio can be; the verdict
    needs both, and the effect is the least.

    Args:
        of: The nuisance.
        arms: Whose ratios are averaged.
    """

    of: str = ""
    arms: tuple[str, ...] = ()
    phase: str = "tune"

    replication = "arm"
    timed = True

    def places(self, study: Study) -> list[Place]:
        return [(arm, dict(self.where)) for arm in self.arms]

    def unit(self, study: Study) -> str:
        return "ratio"

    def quantity(self, study: Study) -> str:
        name = self.of.replace("_", " ")
        return f"time of a trial{self._place(self.where)}, highest third of {name} over lowest"

    def validate(self, study: Study) -> None:
        super().validate(study)
        for arm in self.arms:
            allowed = [n for n, one in study.space(arm).items() if hasattr(one, "low")]
            if self.of not in allowed:
                raise InvalidStudy(
                    f"a claim reads times along {self.of!r}; allowed: {', '.join(allowed)}"
                )

    def _names_metric(self, study: Study) -> None:
        return None  # it reads none

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        if "seconds" not in frame:
            raise Missing("the rows do not say how long trials took")
        bounds = [self._bounds(frame, study, arm) for arm in self.arms]
        found = np.array([pair for pair in bounds if pair is not None])  # (arms, 2)
        if len(found) < MIN_SEEDS:
            raise Missing(
                f"{len(found)} arms have trials in both thirds; at least {MIN_SEEDS} are needed"
            )
        one = np.ones(len(found))
        least, most = (stats.mean_ratio(column, one) for column in found.T)
        without = len(self.arms) - len(found)
        note = f"{without} of {len(self.arms)} arms lack trials in a third" if without else ""
        test = (
            "geometric mean of ratios over arms, Student's t, the least and the most that packs of "
            "one size would give; another run's times differ"
        )
        return Evidence(stats.Widest([least, most]), self.margin, self.direction, note, test)

    def _bounds(self, frame: pd.DataFrame, study: Study, arm: str) -> tuple[float, float] | None:
        """The least and the most that an arm's ratio can be; None without trials in a third."""
        trials = rows_of(frame, arm, dict(self.where), self.phase).drop_duplicates("trial")
        trials = trials[trials["status"] != "failed"]
        # no two packs take the same time to the last bit
        together = trials.groupby("seconds")["trial"].transform("size")
        done = (trials["status"] == "finished").to_numpy()
        share = trials["seconds"].to_numpy(float)[done]
        full = share * (together / together.max()).to_numpy(float)[done]
        place = self._place_in_range(study, arm, trials)[done]
        low, high = place < 1 / 3, place > 2 / 3
        if not (low.any() and high.any()):
            return None
        return full[high].mean() / share[low].mean(), share[high].mean() / full[low].mean()

    def _place_in_range(self, study: Study, arm: str, trials: pd.DataFrame) -> np.ndarray:
        """Where each trial lies in the range of the nuisance, from 0 to 1."""
        space = study.space(arm)[self.of]
        scale = np.log if space.log else np.asarray  # type: ignore[attr-defined]
        low, high = float(scale(space.low)), float(scale(space.high))  # type: ignore[attr-defined]
        found: np.ndarray = (scale(trials[self.of].to_numpy(float)) - low) / (high - low)
        return found

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        ratio = self.margin * (3.0 if hold else 1 / 3)
        frames = []
        for number, arm in enumerate(self.arms):
            own = drawn(study, arm)
            rows = planted_draws(
                study, arm, dict(self.where), {name: column for name, (column, _) in own.items()}
            )
            steepness = 1.5 + 0.05 * number / len(self.arms)  # thirds are two thirds apart
            frames.append(rows.assign(seconds=ratio ** (steepness * own[self.of][1])))
        return pd.concat(frames)
