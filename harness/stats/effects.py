"""Effect sizes that have no unit: standardized differences, and chances of being better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.stats.estimate import INFINITE, Affine, Array, at_least, one_a_unit, paired
from harness.study import BadInput


@dataclass(frozen=True)
class Standardized:
    """A mean in standard deviations, with the interval of the noncentral t distribution.

    The interval is exact for normal outcomes (Steiger & Fouladi 1997) and for no others: where
    the true effect is large and the tails are heavy or skewed it covers too little.

    Args:
        effect: The effect size.
        t: The t statistic of no effect.
        freedom: Its degrees of freedom.
        scale: Noncentrality for each standard deviation of true effect.
        n: Seeds, or those of the smaller group.
    """

    effect: float
    t: float
    freedom: float
    scale: float
    n: int

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the effect size were at most the threshold."""
        return _at_least_t(self.freedom, threshold * self.scale, self.t)

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the effect size were at least the threshold."""
        return _at_least_t(self.freedom, -threshold * self.scale, -self.t)

    def interval(self, level: float) -> tuple[float, float]:
        tail = (1 - level) / 2
        if not np.isfinite(self.t):
            return INFINITE
        low = _solve(lambda x: _at_least_t(self.freedom, x, self.t) - tail, self.t)
        high = -_solve(lambda x: _at_least_t(self.freedom, x, -self.t) - tail, -self.t)
        return low / self.scale, high / self.scale


def _at_least_t(freedom: float, noncentrality: float, t: float) -> float:
    """How probable a noncentral t of at least `t` is."""
    if not np.isfinite(t):
        return 1.0
    return float(special.nctdtr(freedom, -noncentrality, -t))


def _solve(rising: object, near: float) -> float:
    from scipy import optimize

    reach = 10.0 + abs(near)
    return float(optimize.brentq(rising, near - 2 * reach, near + 2 * reach, xtol=1e-10))


def cohen_dz(a: Array, b: Array) -> Standardized:
    """Mean of a - b over its standard deviation, paired by seed (Cohen 1988); shapes (seeds,)."""
    a, b = paired(a, b)
    difference = at_least(2, a - b)
    n = difference.size
    d = _ratio(float(difference.mean()), float(difference.std(ddof=1)))
    return Standardized(d, d * float(np.sqrt(n)), n - 1, float(np.sqrt(n)), n)


def hedges_g(a: Array, b: Array) -> Standardized:
    """Mean of a minus mean of b over their pooled standard deviation, not paired (Hedges 1981).

    Shapes (n,) and (m,). `effect` is corrected for its bias in small samples; the interval is of
    the true effect size and needs no correction.
    """
    a = at_least(2, one_a_unit(a, "a", "trial"), "a", "trial")
    b = at_least(2, one_a_unit(b, "b", "trial"), "b", "trial")
    n, m = a.size, b.size
    freedom = n + m - 2
    pooled = np.sqrt(((n - 1) * a.var(ddof=1) + (m - 1) * b.var(ddof=1)) / freedom)
    d, scale = _ratio(float(a.mean() - b.mean()), float(pooled)), float(np.sqrt(n * m / (n + m)))
    unbiased = np.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2))
    correction = float(unbiased / np.sqrt(freedom / 2))
    return Standardized(d * correction, d * scale, freedom, scale, min(n, m))


def _ratio(mean: float, spread: float) -> float:
    if not (np.isfinite(mean) and np.isfinite(spread)):
        raise BadInput("an effect size of infinite values; allowed: finite values")
    if spread == 0.0:
        return 0.0 if mean == 0.0 else float(np.copysign(np.inf, mean))
    return mean / spread


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
        return float(special.ndtr((threshold - self.effect) / self._error(threshold)))

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

    Shapes (n,) and (m,); infinities are allowed. Agarwal et al. (2021) average it over tasks: see
    `stats.bootstrap`.
    """
    a = at_least(1, one_a_unit(a, "a", "trial"), "a", "trial")
    b = at_least(1, one_a_unit(b, "b", "trial"), "b", "trial")
    above = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
    return Improvement(float(above), (a.size, b.size))


def cliffs_delta(a: Array, b: Array) -> Affine:
    """P(a > b) - P(a < b), not paired (Cliff 1993); shapes (n,) and (m,)."""
    return Affine(probability_of_improvement(a, b), 2.0, -1.0)
