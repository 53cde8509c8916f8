"""Arrays in, intervals and p-values out. Layer 2.

The replication unit is one seed: every array holds one number a seed, and paired arrays hold the
same seeds in the same order. Each estimate answers three questions about a threshold: how likely
the data are if the truth is not above it (`p_above`), if it is not below it (`p_below`), and which
values the truth may have (`interval`). The interval at level 1-a excludes a threshold exactly when
the one-sided p of that side is at most a/2, so a verdict and the interval printed beside it cannot
disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy import special  # scipy.stats has the same numbers, and takes seconds to import

Array = np.ndarray


class Estimate(Protocol):
    """An estimated quantity that can be held against a threshold."""

    @property
    def effect(self) -> float: ...
    @property
    def n(self) -> int: ...
    def p_above(self, threshold: float) -> float: ...
    def p_below(self, threshold: float) -> float: ...
    def interval(self, level: float) -> tuple[float, float]: ...


def _one_a_seed(values: Array, name: str) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; allowed: (seeds,), one number a seed")
    if np.isnan(array).any():
        raise ValueError(
            f"{name} has {int(np.isnan(array).sum())} NaN; a diverged trial needs a score"
        )
    return array


def paired(a: Array, b: Array) -> tuple[Array, Array]:
    """Two arrays of shape (seeds,), checked to be paired seed by seed."""
    a, b = _one_a_seed(a, "a"), _one_a_seed(b, "b")
    if a.shape != b.shape:
        raise ValueError(
            f"a has {a.size} seeds and b has {b.size}; paired arrays share their seeds"
        )
    return a, b


def t_quantile(level: float, freedom: int | Array) -> Any:
    """Student's t: the value that `level` of the distribution lies under, per degree of freedom."""
    return special.stdtrit(freedom, level)


@dataclass(frozen=True)
class Mean:
    """The mean over seeds with Student's t interval (one-sample t; Gosset 1908)."""

    values: Array

    @property
    def n(self) -> int:
        return int(self.values.size)

    @property
    def effect(self) -> float:
        return float(np.mean(self.values)) if self.n else float("nan")

    def _standard_error(self) -> float:
        return float(np.std(self.values, ddof=1) / np.sqrt(self.n))

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the mean were at most the threshold."""
        if self.n < 2 or not np.isfinite(self.values).all():
            return 1.0
        error = self._standard_error()
        if error == 0.0:  # every seed gave the same number
            return 0.0 if self.effect > threshold else 1.0
        return float(special.stdtr(self.n - 1, (threshold - self.effect) / error))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the mean were at least the threshold."""
        return Mean(-self.values).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        if self.n < 2 or not np.isfinite(self.values).all():
            return float("-inf"), float("inf")
        half = float(t_quantile((1 + level) / 2, self.n - 1)) * self._standard_error()
        return self.effect - half, self.effect + half


@dataclass(frozen=True)
class Median:
    """The median over seeds with the exact, distribution-free order-statistic interval.

    Infinite values are allowed (a target that was never reached), which is why ratios of
    times-to-target use it. p comes from the sign test (Conover 1999, section 3.4).
    """

    values: Array

    @property
    def n(self) -> int:
        return int(self.values.size)

    @property
    def effect(self) -> float:
        if not self.n:
            return float("nan")
        low, high = np.sort(self.values)[[(self.n - 1) // 2, self.n // 2]]
        return float(low if low == high else (low + high) / 2)  # inf - inf never formed

    def p_above(self, threshold: float) -> float:
        """One-sided sign-test p of the data if the median were at most the threshold.

        A value equal to the threshold counts against, so the test is conservative under ties.
        """
        below = self.n - int((self.values > threshold).sum())
        return float(special.bdtr(below, self.n, 0.5)) if self.n else 1.0

    def p_below(self, threshold: float) -> float:
        """One-sided sign-test p of the data if the median were at least the threshold."""
        return Median(-self.values).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        """Order statistics (k, n+1-k) with the largest k whose tail is at most (1-level)/2."""
        tail, k = (1 - level) / 2, 0
        while k < self.n // 2 and special.bdtr(k, self.n, 0.5) <= tail:
            k += 1
        if k == 0:
            return float("-inf"), float("inf")
        ordered = np.sort(self.values)
        return float(ordered[k - 1]), float(ordered[self.n - k])


@dataclass(frozen=True)
class Bootstrap:
    """Any statistic with the percentile interval of its bootstrap draws (Efron 1979).

    Args:
        effect: The statistic on all seeds.
        draws: (resamples,) the statistic on seeds drawn with replacement.
        n: How many seeds were resampled.
    """

    effect: float
    draws: Array
    n: int

    def p_above(self, threshold: float) -> float:
        """Share of draws at or under the threshold, never under 1 / (resamples + 1)."""
        return float((1 + (self.draws <= threshold).sum()) / (self.draws.size + 1))

    def p_below(self, threshold: float) -> float:
        return float((1 + (self.draws >= threshold).sum()) / (self.draws.size + 1))

    def interval(self, level: float) -> tuple[float, float]:
        # the order statistics that `p_above` and `p_below` step over
        k = int(np.floor((1 - level) / 2 * (self.draws.size + 1) + 1e-9))
        if k == 0:
            return float("-inf"), float("inf")
        ordered = np.sort(self.draws)
        return float(ordered[k - 1]), float(ordered[-k])


def mean(values: Array) -> Mean:
    """The mean of one number a seed, shape (seeds,)."""
    return Mean(_one_a_seed(values, "values"))


def median(values: Array) -> Median:
    """The median of one number a seed, shape (seeds,); infinities are allowed."""
    return Median(_one_a_seed(values, "values"))


def mean_difference(a: Array, b: Array) -> Mean:
    """Mean of a - b, paired by seed; both of shape (seeds,)."""
    a, b = paired(a, b)
    return Mean(a - b)


def median_ratio(a: Array, b: Array) -> Median:
    """Median of a / b, paired by seed; both positive, infinity meaning "never".

    A finite a over an infinite b is 0, infinity over finite is infinity, and where neither got
    there the ratio is 1: the pair says nothing for either side.
    """
    a, b = paired(a, b)
    if (a <= 0).any() or (b <= 0).any():
        raise ValueError(
            f"ratios need positive values; received a minimum of {min(a.min(), b.min())}"
        )
    with np.errstate(invalid="ignore"):
        ratio = a / b
    return Median(np.where(np.isinf(a) & np.isinf(b), 1.0, ratio))


def holm(p_values: Array, level: float = 0.05) -> tuple[Array, Array]:
    """Holm's step-down correction (Holm 1979).

    Args:
        p_values: (tests,) two-sided p values.
        level: The family-wise error rate.

    Returns:
        ``(adjusted, alpha)``, both (tests,): the adjusted p values, and the level at which each
        test's own interval is drawn so that it excludes the threshold just when the adjusted p is
        at most `level`.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    steps = p.size - np.arange(p.size)  # m, m-1, ..., 1
    adjusted = np.minimum(1.0, np.maximum.accumulate(steps * p[order]))
    alpha = level / steps
    # After the first test that is not rejected, every later one is judged at that test's level.
    open_ = np.flatnonzero(adjusted > level)
    if open_.size:
        alpha[open_[0] :] = alpha[open_[0]]
    out_p, out_alpha = np.empty_like(p), np.empty_like(p)
    out_p[order], out_alpha[order] = adjusted, alpha
    return out_p, out_alpha


def spend(seeds: list[int], level: float = 0.05) -> Array:
    """The share of `level` that each look may spend, in proportion to the seeds it adds.

    The shares add up to `level`, so by the union bound the rate of any wrong verdict over all
    looks stays at or below it, whatever is tested (linear spending; Lan & DeMets 1983).

    Args:
        seeds: Seeds at each look, rising.
    """
    at = np.asarray(seeds, dtype=float)
    if at.ndim != 1 or not at.size or at[0] <= 0 or (np.diff(at) <= 0).any():
        raise ValueError(f"looks at {seeds} seeds; allowed: rising positive numbers")
    share: Array = level * np.diff(at, prepend=0.0) / at[-1]
    return share


def interval_for_display(values: Array, level: float = 0.95) -> tuple[float, float, float]:
    """Centre, low and high for an error bar: mean and t where finite, else the median's."""
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if array.size == 0:
        return float("nan"), float("nan"), float("nan")
    estimate = Mean(array) if np.isfinite(array).all() else Median(array)
    low, high = estimate.interval(level) if array.size > 1 else (estimate.effect,) * 2
    return estimate.effect, low, high
