"""How likely one arm is to beat another: an effect that has no unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import Array, at_least, one_a_unit


@dataclass(frozen=True)
class Improvement:
    """P(a > b) + P(a = b) / 2 for one trial of each group, with Newcombe's (2006) interval.

    A score interval: a chance is excluded where the estimate is too many of *that chance's*
    standard errors away, so that it never leaves [0, 1] and says something even where every a
    beats every b. Against 1/2 it is the Mann-Whitney test. `n` is the smaller group.
    """

    effect: float
    sizes: tuple[int, int]

    @property
    def n(self) -> int:
        return min(self.sizes)

    def _error(self, chance: float) -> float:
        """The standard error if this were the true chance (Hanley & McNeil 1982)."""
        n, m = self.sizes
        clusters = (1 - chance) / (2 - chance) + chance / (1 + chance)
        extra = ((n + m) / 2 - 1) * clusters
        return float(np.sqrt(chance * (1 - chance) * (1 + extra) / (n * m)))

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the chance were at most the threshold."""
        if threshold <= 0.0:
            return 0.0 if self.effect > threshold else 1.0
        if threshold >= 1.0:
            return 1.0
        error = self._error(threshold)
        if not error:  # a chance so near to 0 that its variance underflows
            return 0.0 if self.effect > threshold else 1.0
        return float(special.ndtr((threshold - self.effect) / error))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the chance were at least the threshold."""
        return Improvement(1 - self.effect, self.sizes).p_above(1 - threshold)

    def interval(self, level: float) -> tuple[float, float]:
        q = float(special.ndtri((1 + level) / 2))
        return self._lower(q), 1 - Improvement(1 - self.effect, self.sizes)._lower(q)

    def _lower(self, q: float) -> float:
        low, high = 0.0, self.effect
        for _ in range(60):  # bisection to the last bit
            middle = (low + high) / 2
            if self.effect - middle > q * self._error(middle):
                low = middle
            else:
                high = middle
        return low


def probability_of_improvement(a: Array, b: Array) -> Improvement:
    """The chance that a trial of `a` scores higher than one of `b`, not paired (ties count half).

    Shapes (n,) and (m,); infinities are allowed. Of arms that share seeds it asks about two trials
    of different seeds, as of two runs to come; the interval is then too wide, not too bold, where
    shared seeds make the arms go up and down together (`make calibration`). Agarwal et al. (2021)
    recommend it beside an average.
    """
    a = at_least(1, one_a_unit(a, "a", "trial"), "a", "trial")
    b = at_least(1, one_a_unit(b, "b", "trial"), "b", "trial")
    above = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
    return Improvement(float(above), (a.size, b.size))
