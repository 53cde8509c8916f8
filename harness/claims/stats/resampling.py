"""Intervals from draws: the bootstrap over seeds, and sign flips of paired differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from harness.claims.stats.estimate import (
    INFINITE,
    Array,
    Widest,
    at_least,
    one_a_unit,
    paired,
    t_quantile,
)
from harness.study import BadInput

EXACT = 12  # up to so many seeds every sign pattern is gone through: 4,096


@dataclass(frozen=True)
class Bootstrap:
    """Any statistic with the interval of its bootstrap draws (Efron 1979, 1987).

    Percentiles of the draws are too narrow for few seeds: they lack the factor sqrt(n / (n - 1))
    and Student's t. Hesterberg (2015, section 4.3) moves them outward by just that; with `bias`
    and `acceleration` they are corrected for bias and skewness too (BCa). Past the outermost draw
    the tail goes on as a normal one of the draws' own spread. No p is under 2^-n, the least that
    n seeds can give in a test by signs.

    Args:
        effect: The statistic on all seeds.
        draws: (resamples,) the statistic on seeds drawn with replacement. A NaN counts against
            every claim.
        n: How many seeds were resampled.
        bias: Efron's z0; 0 is the percentile method.
        acceleration: Efron's a.
    """

    effect: float
    draws: Array
    n: int
    bias: float = 0.0
    acceleration: float = 0.0

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
        p = float(special.stdtr(self.n - 1, self._uncorrected(w) / self._stretch))
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
        return Bootstrap(-self.effect, -self.draws, self.n, -self.bias, -self.acceleration)

    def _spread(self) -> float:
        """The draws' standard deviation: 0 where all are equal, not finite where any is not."""
        if not np.isfinite(self.draws).all():
            return float("nan")
        return 0.0 if np.ptp(self.draws) == 0 else float(np.std(self.draws))

    def _corrected(self, z: float) -> float:
        """The normal score of the draw that bounds the interval at the normal score z."""
        moved = self.bias + z
        room = 1 - self.acceleration * moved
        return self.bias + moved / room if room > 0 else float(np.copysign(np.inf, moved))

    def _uncorrected(self, w: float) -> float:
        """The inverse of `_corrected`."""
        moved = w - self.bias
        if np.isinf(moved):
            return float(moved)
        room = 1 + self.acceleration * moved
        return moved / room - self.bias if room > 0 else float(np.copysign(np.inf, moved))

    def _lower(self, tail: float) -> float:
        w = self._corrected(self._stretch * float(t_quantile(tail, self.n - 1)))
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


@dataclass(frozen=True)
class SignFlip:
    """The mean of paired differences, tested by flipping their signs (Fisher 1935).

    Exact for any distribution that is symmetric about the mean, as differences of arms that are
    alike are. A threshold is excluded where the mean of few subsets of the differences lies under
    it: these means are Hartigan's (1969) typical values, and the interval lies between two of them.

    Args:
        values: (seeds,) the differences.
        draws: (resamples,) means of subsets: of all subsets that are not empty, or of random ones.
    """

    values: Array
    draws: Array

    @property
    def effect(self) -> float:
        return float(np.mean(self.values))

    @property
    def n(self) -> int:
        return int(self.values.size)

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the centre were at most the threshold."""
        return float((1 + (self.draws <= threshold).sum()) / (self.draws.size + 1))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the centre were at least the threshold."""
        return float((1 + (self.draws >= threshold).sum()) / (self.draws.size + 1))

    def interval(self, level: float) -> tuple[float, float]:
        k = int(np.floor((1 - level) / 2 * (self.draws.size + 1) + 1e-9))
        if k == 0:
            return INFINITE
        ordered = np.sort(self.draws)
        return float(ordered[k - 1]), float(ordered[-k])


def sign_flip(
    a: Array, b: Array, generator: np.random.Generator, resamples: int = 9999
) -> SignFlip:
    """Mean of a - b, paired by seed, both of shape (seeds,), tested by flipping signs.

    All 2^n patterns are gone through up to 12 seeds, else `resamples` random ones.
    """
    a, b = paired(a, b)
    values = at_least(2, a - b)
    if not np.isfinite(values).all():
        raise BadInput("a - b is infinite for some seeds; allowed: finite differences")
    n = values.size
    if n <= EXACT:
        subsets = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1  # (2^n - 1, n)
    else:
        subsets = generator.integers(0, 2, (resamples, n))
        subsets[subsets.sum(axis=1) == 0] = 1
    return SignFlip(values, subsets @ values / subsets.sum(axis=1))


def bootstrap(
    values: Array,
    statistic: Callable[[Array], Array],
    generator: np.random.Generator,
    resamples: int = 9999,
) -> Widest:
    """Any statistic of seeds drawn with replacement: BCa and percentiles, whichever is wider.

    BCa (Efron 1987) corrects for skewness and is too bold for heavy tails of few seeds, where
    percentiles hold; both are moved outward for small n (see `Bootstrap`).

    Args:
        values: (seeds,) or (seeds, tasks). Seeds are the replication unit: a drawn seed brings all
            its tasks along. (Agarwal et al. 2021 draw runs of each task on their own, since their
            runs of two tasks share nothing.)
        statistic: Takes values of shape (batch, seeds[, tasks]) and returns (batch,).
        generator: The source of all draws.
        resamples: How many.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim not in (1, 2) or np.isnan(array).any():
        raise BadInput(
            f"values have shape {array.shape} with {int(np.isnan(array).sum())} NaN; "
            "allowed: (seeds,) or (seeds, tasks) without NaN"
        )
    n = at_least(2, array).shape[0]
    effect = float(_apply(statistic, array[None])[0])
    size = max(1, 2_000_000 // array.size)  # resamples at once
    draws = np.concatenate(
        [
            _apply(statistic, array[generator.integers(0, n, (min(size, resamples - i), n))])
            for i in range(0, resamples, size)
        ]
    )
    left_out = np.stack([np.delete(array, i, axis=0) for i in range(n)])  # (n, n - 1[, tasks])
    return resampled(effect, draws, _apply(statistic, left_out))


def resampled(effect: float, draws: Array, left_out: Array) -> Widest:
    """The estimate of `bootstrap` for a statistic that was evaluated elsewhere.

    Args:
        effect: The statistic on all seeds.
        draws: (resamples,) the statistic on seeds drawn with replacement.
        left_out: (seeds,) the statistic without each seed in turn.
    """
    draws, left_out = np.asarray(draws, dtype=float), one_a_unit(left_out, "left_out")
    n, gap = left_out.size, left_out.mean() - left_out
    squares = float((gap**2).sum())
    acceleration = float((gap**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    under = ((draws < effect).mean() + (draws <= effect).mean()) / 2
    edge = 1 / (draws.size + 1)
    bias = float(special.ndtri(np.clip(under, edge, 1 - edge)))
    plain = Bootstrap(effect, draws, n)
    if not (np.isfinite(acceleration) and np.isfinite(bias)):
        return Widest((plain,))
    return Widest((plain, Bootstrap(effect, draws, n, bias, acceleration)))


def _apply(statistic: Callable[[Array], Array], batch: Array) -> Array:
    found = np.asarray(statistic(batch), dtype=float)
    if found.shape != batch.shape[:1]:
        raise BadInput(
            f"the statistic gave shape {found.shape} for values of shape {batch.shape}; "
            f"allowed: {batch.shape[:1]}, one number a resample"
        )
    return found
