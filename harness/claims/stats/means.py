"""Means: of paired differences, of one arm, and of two groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import (
    INFINITE,
    Array,
    all_same,
    at_least,
    least_p,
    one_a_unit,
    paired,
    rounding,
    t_quantile,
)
from harness.study import BadInput


@dataclass(frozen=True)
class Mean:
    """The mean over seeds with Student's t interval (one-sample t; Gosset 1908).

    Meant for differences of arms paired by seed: where the arms are alike these are symmetric,
    however skewed each arm is, and the t interval holds its level for them. Where every seed gives
    the same number, p is `least_p` and not 0.
    """

    values: Array

    @property
    def n(self) -> int:
        return int(self.values.size)

    @property
    def effect(self) -> float:
        return float(np.mean(self.values)) if self.n else float("nan")

    @property
    def _says_something(self) -> bool:
        return self.n >= 2 and bool(np.isfinite(self.values).all())

    @property
    def _freedom(self) -> int:
        return self.n - 1

    def _standard_error(self) -> float:
        if all_same(self.values):
            return 0.0
        return float(np.std(self.values, ddof=1) / np.sqrt(self.n))

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the mean were at most the threshold."""
        if not self._says_something:
            return 1.0
        error = self._standard_error()
        if error == 0.0:
            above = self.effect - rounding(self.effect) > threshold
            return least_p(self._freedom + 1) if above else 1.0
        return float(special.stdtr(self._freedom, -self._statistic(threshold, error)))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the mean were at least the threshold."""
        return type(self)(-self.values).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        if not self._says_something:
            return INFINITE
        q, error = float(t_quantile((1 + level) / 2, self._freedom)), self._standard_error()
        if error == 0.0:
            if (1 - level) / 2 < least_p(self._freedom + 1):
                return INFINITE
            return self.effect - rounding(self.effect), self.effect + rounding(self.effect)
        below, above = self._reach(q)
        return self.effect - below * error, self.effect + above * error

    def _statistic(self, threshold: float, error: float) -> float:
        """What Student's t distribution is asked about."""
        return (self.effect - threshold) / error

    def _reach(self, q: float) -> tuple[float, float]:
        """How many standard errors the interval reaches below and above the mean."""
        return q, q


@dataclass(frozen=True)
class LevelMean(Mean):
    """The mean over seeds of one arm, whose distribution may be skewed.

    The plain t interval of a skewed sample misses on one side: at ten exponential values it covers
    90 % where it says 95 %. Hall's (1992) cubic transformation of t removes the skewness, and is
    too bold in turn for symmetric heavy tails. A threshold is excluded only if both exclude it.
    Ten lognormal values are still too few (92 %): no interval for a mean holds for every
    distribution (Bahadur & Savage 1956), and a median's does.
    """

    def _skewness(self) -> float:
        """The sample's skewness over sqrt(n) (G1; Joanes & Gill 1998); 0 under three values."""
        n, deviation = self.n, self.values - self.effect
        square = np.mean(deviation**2)
        if n < 3 or square == 0.0:
            return 0.0
        skew = np.mean(deviation**3) / square**1.5 * np.sqrt(n * (n - 1)) / (n - 2)
        return float(skew / np.sqrt(n))

    def _statistic(self, threshold: float, error: float) -> float:
        t, a = super()._statistic(threshold, error), self._skewness()
        return min(t, t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6)

    def _reach(self, q: float) -> tuple[float, float]:
        below, above = hall_reach(np.array([q]), np.array([self._skewness()]))
        return float(below[0]), float(above[0])


def hall_reach(q: Array, skewness: Array) -> tuple[Array, Array]:
    """How many standard errors `LevelMean` reaches below and above means, all (means,).

    Args:
        q: Quantiles of Student's t.
        skewness: The samples' skewness over sqrt(n).
    """
    a = np.where(np.abs(skewness) < 1e-9, 1.0, skewness)  # 1: not read where there is none

    def inverse(h: Array) -> Array:  # of t + a t²/3 + a² t³/27 + a/6
        found = 3 / a * (np.cbrt(1 + a * (h - a / 6)) - 1)
        return np.where(np.abs(skewness) < 1e-9, h, found)

    return np.maximum(q, inverse(q)), np.maximum(q, -inverse(-q))


@dataclass(frozen=True)
class Welch:
    """The difference of two groups' means, unpaired, of unequal variances (Welch 1947).

    `n` is the size of the smaller group.
    """

    a: Array
    b: Array

    @property
    def n(self) -> int:
        return int(min(self.a.size, self.b.size))

    @property
    def effect(self) -> float:
        return float(np.mean(self.a) - np.mean(self.b))

    def _error(self) -> tuple[float, float]:
        """Standard error, and Satterthwaite's degrees of freedom."""
        if all_same(self.a) and all_same(self.b):
            return 0.0, float(self.n - 1)
        shares = np.array([np.var(x, ddof=1) / x.size for x in (self.a, self.b)])
        freedom = shares.sum() ** 2 / (shares**2 / [self.a.size - 1, self.b.size - 1]).sum()
        return float(np.sqrt(shares.sum())), float(freedom)

    def _rounding(self) -> float:
        return rounding(float(np.mean(self.a))) + rounding(float(np.mean(self.b)))

    @property
    def _says_something(self) -> bool:
        return self.n >= 2 and bool(np.isfinite(self.a).all() and np.isfinite(self.b).all())

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the difference were at most the threshold."""
        if not self._says_something:
            return 1.0
        error, freedom = self._error()
        if error == 0.0:  # as though one more of the smaller group had been like the other group
            above = self.effect - self._rounding() > threshold
            return least_p(self.n) if above else 1.0
        return float(special.stdtr(freedom, (threshold - self.effect) / error))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the difference were at least the threshold."""
        return Welch(self.b, self.a).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        if not self._says_something:
            return INFINITE
        error, freedom = self._error()
        half = float(t_quantile((1 + level) / 2, freedom)) * error
        if error == 0.0:
            if (1 - level) / 2 < least_p(self.n):
                return INFINITE
            half = self._rounding()
        return self.effect - half, self.effect + half


def welch(a: Array, b: Array) -> Welch:
    """Mean of a minus mean of b, not paired; shapes (n,) and (m,), n and m at least 2.

    Greff et al. (2015) hold each variant's best tenth of trials against vanilla's with it, at a
    level divided by the number of tests (Bonferroni).
    """
    a = at_least(2, one_a_unit(a, "a", "trial"), "a", "trial")
    b = at_least(2, one_a_unit(b, "b", "trial"), "b", "trial")
    return Welch(a, b)


def mean_ratio(a: Array, b: Array) -> GeometricMean:
    """Geometric mean of a / b, paired by seed; both of shape (seeds,), positive and finite."""
    a, b = paired(a, b)
    lowest, highest = min(a.min(), b.min()), max(a.max(), b.max())
    if lowest <= 0 or not np.isfinite(highest):
        raise BadInput(
            f"ratios lie in [{lowest}, {highest}]; allowed: positive and finite values "
            "(median_ratio takes infinity for never)"
        )
    return GeometricMean(Mean(np.log(a) - np.log(b)))


@dataclass(frozen=True)
class GeometricMean:
    """The exponential of a mean of logarithms."""

    log: Mean

    @property
    def n(self) -> int:
        return self.log.n

    @property
    def effect(self) -> float:
        return float(np.exp(self.log.effect))

    def p_above(self, threshold: float) -> float:
        return 0.0 if threshold <= 0 else self.log.p_above(float(np.log(threshold)))

    def p_below(self, threshold: float) -> float:
        return 1.0 if threshold <= 0 else self.log.p_below(float(np.log(threshold)))

    def interval(self, level: float) -> tuple[float, float]:
        low, high = self.log.interval(level)
        return float(np.exp(low)), float(np.exp(high))
