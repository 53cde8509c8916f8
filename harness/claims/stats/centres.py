"""The centre of one number a seed: what verdicts and error bars both show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats.estimate import Array, Estimate, one_a_unit
from harness.claims.stats.means import LevelMean, Mean
from harness.claims.stats.medians import Median


@dataclass(frozen=True)
class Unbounded:
    """A median in place of a mean that has no bound, for some of the values are infinite.

    A median hardly moves when a third of the seeds diverge, and a mean is infinite at the first
    one. So the median is what is shown, and nothing is decided against what the mean would say: the
    interval is open on the side of the infinite values, or, where both sides have some, on the side
    that has more.

    Args:
        of: The median of all values, infinite ones among them.
        low: How many values are minus infinity.
        high: How many are infinity.
        both: Whether as many on either side leave both sides open, as where the values are asked to
            lie within a band: each one is outside of it.
    """

    of: Estimate
    low: int
    high: int
    both: bool = False

    @property
    def effect(self) -> float:
        return self.of.effect

    @property
    def n(self) -> int:
        return self.of.n

    @property
    def open_below(self) -> bool:
        return self.low > self.high or (self.both and self.low == self.high > 0)

    @property
    def open_above(self) -> bool:
        return self.high > self.low or (self.both and self.low == self.high > 0)

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the centre were at most the threshold."""
        return 1.0 if self.open_below else self.of.p_above(threshold)

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the centre were at least the threshold."""
        return 1.0 if self.open_above else self.of.p_below(threshold)

    def interval(self, level: float) -> tuple[float, float]:
        low, high = self.of.interval(level)
        return (
            float("-inf") if self.open_below else low,
            float("inf") if self.open_above else high,
        )


def centre(values: Array, *, symmetric: bool = False, both: bool = False) -> Mean | Unbounded:
    """The mean of one number a seed, shape (seeds,), or the median where some are infinite.

    Args:
        symmetric: The values are differences of paired arms, whose mean needs no correction for
            skewness.
        both: As in `Unbounded`.
    """
    values = one_a_unit(values)
    if np.isfinite(values).all():
        return Mean(values) if symmetric else LevelMean(values)
    return Unbounded(Median(values), int(np.isneginf(values).sum()), int(np.isposinf(values).sum()), both)  # fmt: skip
