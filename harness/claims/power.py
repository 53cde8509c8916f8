"""What a number of seeds can decide, before a run and after it.

By the checks' own estimates on rows that there are, with their seeds or draws drawn again with
replacement (`stats.sampling`): those show how an estimate scatters, and each effect that is asked
about moves it as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.checks import Check, Difference, Level, Ratio
from harness.claims.compound import Everywhere, Statistic
from harness.claims.draws import Best, RankCorrelation
from harness.claims.stats import sampling
from harness.claims.stats.sampling import Sampling
from harness.claims.verdicts import LEVEL, MIN_SEEDS, Direction, Evidence, Missing
from harness.study import Claim, Study, is_level

POWER = 0.8  # how often an effect that is there should be decided
MOST = 10_000  # seeds or draws that are asked about

Array = np.ndarray


@dataclass(frozen=True)
class Forecast:
    """What a number of seeds or draws can decide of one claim.

    Args:
        claim: Its id.
        family: The claim's.
        level: At which it is decided, two-sided.
        unit: What the budget counts: "seeds" or "draws".
        planned: How many of them there are.
        low, high: Effects of at most `low`, and of at least `high`, are decided by so many with a
            power of `POWER`; infinite where none is. Where a band is claimed this is about their
            size: those of at most `low` are found inside (NaN: none is), of at least `high` outside.
        margin: The claim's.
        truth: The effect that is reckoned with: the one last seen, else that of arms which are
            alike; NaN where there is neither.
        power: How often the budget decides it, on the right side.
        needed: How many seeds or draws decide it with a power of `POWER`; None where not even
            `MOST` do.
        why: Why nothing can be forecast, or "".
        weakest: Of a claim of several checks, the one that `low`, `high`, `margin` and `truth` are
            of, as in `Verdict.weakest`; `power` and `needed` are of all of them together.
    """

    claim: str
    family: str
    level: float
    unit: str
    planned: int
    low: float = math.nan
    high: float = math.nan
    margin: float = math.nan
    truth: float = math.nan
    power: float = math.nan
    needed: int | None = None
    why: str = ""
    weakest: tuple[int, ...] = ()


def forecast(study: Study, frame: pd.DataFrame, scale: str, *, seen: bool = True) -> list[Forecast]:
    """What a scale's budget can decide of each claim, each at the level that it has when its turn
    comes (`stats.first_levels`), and where seeds are added, at the last look alone.

    Args:
        frame: Rows that show how seeds and draws scatter; of fewer than `MIN_SEEDS` roughly.
        seen: Whether the effects in them are reckoned with: not where they are of another scale.
    """
    looks = study.budget(scale).looks
    last = float(stats.spend(np.array(looks), LEVEL)[-1]) if len(looks) > 1 else LEVEL
    levels = stats.first_levels(study.grouped(), last)
    return [
        of_claim(study, claim, frame, planned(study, claim.check, scale), float(level), seen=seen)
        for claim, level in zip(study.tested, levels, strict=True)
    ]


def planned(study: Study, check: Check, scale: str) -> int:
    """The most seeds that a scale gives a cell, or the fewest draws, of those that a check reads; 0
    where it reads one that the scale leaves out."""
    budget, fresh = study.budget(scale), check.phase == "confirm"
    run = [
        (arm, cell)
        for arm, cell in study.cells(scale)
        if not (fresh and budget.looks[0]) or study.seeds(scale, cell)
    ]
    read = [
        [
            study.draws(scale, arm, cell)
            for arm, cell in run
            if arm == one and all(is_level(cell[factor], level) for factor, level in where.items())
        ]
        for one, where in check.places(study)
    ]
    if not all(read) and not isinstance(check, Statistic):  # which reads what there is
        return 0
    if fresh:
        return budget.looks[-1]
    return min((draws for one in read for draws in one), default=0)


def of_claim(
    study: Study, claim: Claim, frame: pd.DataFrame, planned: int, level: float, *,
    seen: bool = True, further: bool = True,
) -> Forecast:  # fmt: skip
    """What so many seeds or draws can decide of one claim at a level; as in `forecast`.

    Args:
        further: Whether to look for the number that decides it, which takes longest.
    """
    unit = "seeds" if claim.check.phase == "confirm" else "draws"
    found = Forecast(claim.id, claim.family, level, unit, planned)
    try:
        if planned < MIN_SEEDS:
            raise Missing(f"{planned} {unit}; at least {MIN_SEEDS} are needed")
        if level <= 0:
            raise Missing("its family has no part of the level")
        tested = _tested(study, claim.check, frame, seen)
        place, part, asked = tested.weakest(planned, level, level)
        low, high = part.decides(planned, *asked)
        found = replace(found, low=low, high=high, margin=part.margin, weakest=place)
        if math.isnan(part.truth):
            return found
        power = _power(tested, planned, level)
        needed = _needed(tested, level) if further else None
        return replace(found, truth=part.truth, power=power, needed=needed)
    except (Missing, ValueError) as why:
        return replace(found, why=str(why))


class _Tested(Protocol):
    """A check whose estimate can be drawn again."""

    def holds(self) -> bool | None:
        """Whether it is true, by the effects reckoned with; None at the margin or if unknown."""

    def decisions(self, n: int, level: float, against: float) -> tuple[Array, Array]:
        """(resamples,) whether it is supported, at one level, and refuted, at another."""

    def weakest(self, n: int, level: float, against: float) -> _Weakest:
        """The part that is least in favour, and the levels that it is decided at."""


@dataclass(frozen=True)
class _One:
    """A check of one effect against a margin.

    Args:
        share: How many of its units one seed or draw of the budget makes.
    """

    sampled: Sampling
    direction: Direction
    margin: float
    truth: float
    share: float = 1.0

    def _ends(self, n: int, level: float) -> tuple[Array, Array]:
        return self.sampled.ends(max(2, math.ceil(n * self.share - 1e-9)), level)

    def holds(self) -> bool | None:
        size = abs(self.truth) if self.direction == "within" else self.truth
        if math.isnan(size) or size == self.margin:
            return None
        return (size > self.margin) == (self.direction == "above")

    def decisions(self, n: int, level: float, against: float) -> tuple[Array, Array]:
        to = self.sampled.to
        truth, m = to(self.truth), to(self.margin)
        with np.errstate(invalid="ignore"):  # what is infinite on both sides decides nothing
            low, high = (end + truth for end in self._ends(n, level))
            low_, high_ = (end + truth for end in self._ends(n, against))
        if self.direction == "above":
            return low > m, high_ < m
        if self.direction == "below":
            return high < m, low_ > m
        return (low > -m) & (high < m), (low_ > m) | (high_ < -m)

    def weakest(self, n: int, level: float, against: float) -> _Weakest:
        return (), self, (level, against)

    def decides(self, n: int, level: float, against: float) -> tuple[float, float]:
        """`Forecast.low` and `high`."""
        to, back, m = self.sampled.to, self.sampled.back, self.margin
        if self.direction == "within":
            return self._inside(n, level), m + _reach(self._ends(n, against), both=True)
        above, below = (level, against) if self.direction == "above" else (against, level)
        low = to(m) - _quantile(self._ends(n, below)[1], POWER)
        high = to(m) - _quantile(self._ends(n, above)[0], 1 - POWER)
        return float(back(low)), float(back(high))

    def _inside(self, n: int, level: float) -> float:
        """The largest effect that is found inside a band; NaN where none is."""
        low, high = self._ends(n, level)

        def found(size: float) -> bool:
            ends = [
                (low + one > -self.margin) & (high + one < self.margin) for one in (size, -size)
            ]
            return min(float(one.mean()) for one in ends) >= POWER

        if not found(0.0):
            return math.nan
        inner, outer = 0.0, self.margin
        for _ in range(12):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if found(middle) else (inner, middle)
        return inner


_Weakest = tuple[tuple[int, ...], _One, tuple[float, float]]


@dataclass(frozen=True)
class _All:
    """Several checks at once, as `Everywhere` decides them."""

    parts: Sequence[_Tested]

    def holds(self) -> bool | None:
        found = [part.holds() for part in self.parts]
        return False if False in found else None if None in found else True

    def decisions(self, n: int, level: float, against: float) -> tuple[Array, Array]:
        found = [part.decisions(n, level, against / len(self.parts)) for part in self.parts]
        supported, refuted = zip(*found, strict=True)
        return np.all(supported, axis=0), np.any(refuted, axis=0)

    def weakest(self, n: int, level: float, against: float) -> _Weakest:
        against /= len(self.parts)
        found = [part.weakest(n, level, against) for part in self.parts]
        often = [_favour(part, n, level, against) for part in self.parts]
        place = int(np.argmin(often))
        inner, part, asked = found[place]
        return (place, *inner), part, asked


def _favour(part: _Tested, n: int, level: float, against: float) -> float:
    supported, refuted = part.decisions(n, level, against)
    return float(supported.mean() - refuted.mean())


def _reach(ends: tuple[Array, Array], both: bool) -> float:
    """How far beyond a threshold an effect lies that is decided, on the worse of two sides."""
    return max(-_quantile(ends[0], 1 - POWER), _quantile(ends[1], POWER))


def _quantile(values: Array, at: float) -> float:
    """The quantile outward of what was drawn, so that no infinite value is averaged."""
    return float(np.quantile(values, at, method="lower" if at < 0.5 else "higher"))


def _power(tested: _Tested, n: int, level: float) -> float:
    """How often n seeds or draws decide the check on its right side."""
    holds = tested.holds()
    if holds is None:
        return 0.0
    return float(tested.decisions(n, level, level)[0 if holds else 1].mean())


def _needed(tested: _Tested, level: float) -> int | None:
    """How many seeds or draws decide the check, by doubling and halving."""
    if tested.holds() is None:
        return None
    high = MIN_SEEDS
    while _power(tested, high, level) < POWER:
        if high >= MOST:
            return None
        high = min(2 * high, MOST)
    low = high // 2 if high > MIN_SEEDS else high - 1
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if _power(tested, middle, level) >= POWER else (middle, high)
    return high


# --- from checks to what can be drawn again -------------------------------------------------------


def _tested(study: Study, check: Check, frame: pd.DataFrame, seen: bool) -> _Tested:
    if isinstance(check, Everywhere):
        return _All([_tested(study, part, frame, seen) for part in check.checks])
    if check.timed:
        raise Missing("it rests on times, which the next run need not repeat")
    evidence, apart = _evidence(study, check, frame)
    if evidence.estimate is None or not math.isfinite(evidence.estimate.effect):
        raise Missing("half of the values or more are infinite")
    sampled = _sampling(check, evidence, apart)
    truth = sampled.effect if seen else _null(check)
    share = check.share if isinstance(check, Best) else 1.0
    return _One(sampled, evidence.direction, evidence.margin, truth, share)


def _null(check: Check) -> float:
    """The effect where what is compared is alike."""
    if isinstance(check, Ratio):
        return 1.0
    return 0.0 if isinstance(check, Difference | RankCorrelation) else math.nan


def _evidence(study: Study, check: Check, frame: pd.DataFrame) -> tuple[Evidence, int | None]:
    """What a check reads; of fewer than `MIN_SEEDS` seeds each several times, and how many they are."""
    confirmed = frame[frame["phase"] == "confirm"]
    count = confirmed["seed"].nunique()
    if check.phase != "confirm" or not 2 <= count < MIN_SEEDS:
        return check.evidence(frame, study), None
    step = confirmed["seed"].max() + 1
    again = [
        confirmed.assign(
            seed=confirmed["seed"] + k * step, trial=confirmed["trial"].astype(str) + f"-{k}"
        )
        for k in range(MIN_SEEDS)
    ]
    return check.evidence(pd.concat(again, ignore_index=True), study), count


def _sampling(check: Check, evidence: Evidence, apart: int | None) -> Sampling:
    estimate = evidence.estimate
    if isinstance(estimate, stats.Mean):
        if not np.isfinite(estimate.values).all():
            raise Missing("some values are infinite, and so is their mean")
        return sampling.of_mean(estimate, apart)
    if isinstance(estimate, stats.Unbounded) and isinstance(estimate.of, stats.Median):
        values = estimate.of.values
        if isinstance(check, Ratio):
            return sampling.of_ratio(values)
        paired, both = not isinstance(check, Level), evidence.direction == "within"
        return sampling.of_centre(values, symmetric=paired, both=both)
    if isinstance(estimate, stats.Welch):
        if not np.isfinite([*estimate.a, *estimate.b]).all():
            raise Missing("some values are infinite, and so is their mean")
        return sampling.of_groups(estimate)
    if isinstance(estimate, stats.Bootstrap):
        return sampling.of_draws(estimate)
    if isinstance(estimate, stats.Correlation):
        return sampling.of_correlation(estimate)
    raise Missing(f"{type(estimate).__name__} cannot be drawn again")
