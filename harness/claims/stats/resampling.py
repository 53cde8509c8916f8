"""Intervals from draws: a statistic worked out again on seeds or trials drawn with replacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import INFINITE, Array, t_quantile


@dataclass(frozen=True)
class Bootstrap:
    """Any statistic with the interval of its bootstrap draws (Efron 1979).

    Percentiles of the draws are too narrow for few seeds: they lack the factor sqrt(n / (n - 1))
    and Student's t. Hesterberg (2015, section 4.3) moves them outward by just that. Past the
    outermost draw the tail goes on as a normal one of the draws' own spread. No p is under 2^-n,
    the least that n seeds can give in a test by signs.

    Args:
        effect: The statistic on all seeds.
        draws: (resamples,) the statistic on seeds drawn with replacement. A NaN counts against
            every claim.
        n: How many seeds were resampled.
    """

    effect: float
    draws: Array
    n: int

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the statistic were at most the threshold."""
        if self.n < 2:
            return 1.0
        count = int((~(self.draws > threshold)).sum())
        w = float(special.ndtri((1 + count) / (self.draws.size + 1)))
        if count == 0:
            spread, lowest = self._spread(), float(np.min(self.draws))
            if spread == 0.0:
                w = -np.inf
            elif np.isfinite(spread):
                w -= (lowest - threshold) / spread
        if np.isposinf(w):
            return 1.0
        p = float(special.stdtr(self.n - 1, w / self._stretch))
        return max(p, 0.5**self.n)

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the statistic were at least the threshold."""
        return self._mirrored().p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        tail = (1 - level) / 2
        if self.n < 2 or tail < 0.5**self.n:
            return INFINITE
        return self._lower(tail), -self._mirrored()._lower(tail)

    @property
    def _stretch(self) -> float:
        return float(np.sqrt(self.n / (self.n - 1)))

    def _mirrored(self) -> Bootstrap:
        return Bootstrap(-self.effect, -self.draws, self.n)

    def _spread(self) -> float:
        """The draws' standard deviation: 0 where all are equal, not finite where any is not."""
        if not np.isfinite(self.draws).all():
            return float("nan")
        return 0.0 if np.ptp(self.draws) == 0 else float(np.std(self.draws))

    def _lower(self, tail: float) -> float:
        w = self._stretch * float(t_quantile(tail, self.n - 1))
        size = self.draws.size + 1
        k = int(np.floor(special.ndtr(w) * size + 1e-9))  # the draw that `p_above` steps over
        draws = np.where(np.isnan(self.draws), -np.inf, self.draws)
        if k >= 1:
            k = min(k, self.draws.size)
            return float(np.partition(draws, k - 1)[k - 1])
        spread = self._spread()
        if not np.isfinite(spread):
            return float("-inf")
        if spread == 0.0:
            return float(draws[0])
        return float(draws.min() - spread * (special.ndtri(1 / size) - w))
