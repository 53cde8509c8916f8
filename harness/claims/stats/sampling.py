"""How the intervals of an estimate scatter around the truth, for other numbers of units than were
measured: by the estimate itself, on units drawn with replacement."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import Array, all_same, least_p, t_quantile
from harness.claims.stats.means import LevelMean, Mean, Welch, hall_reach
from harness.claims.stats.medians import Median, lower_ends
from harness.claims.stats.ranks import Correlation
from harness.claims.stats.resampling import Bootstrap

RESAMPLES = 400
LARGE = 200  # units from which on intervals shrink with the root of their number
Ends = tuple[Array, Array]
Function = Callable[[float], float]


def _same(value: float) -> float:
    return value


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf


@dataclass(frozen=True)
class Sampling:
    """The ends of intervals of resamples, measured from the truth.

    Args:
        effect: The estimate of all units.
        few: From units (at most `LARGE`) and a level: (resamples,) lower and upper ends at
            confidence 1 - level, less the truth, both after `to`.
        to, back: An effect on the line on which intervals move with the truth, and from it.
    """

    effect: float
    few: Callable[[int, float], Ends]
    to: Function = _same
    back: Function = _same

    def __post_init__(self) -> None:
        object.__setattr__(self, "few", functools.cache(self.few))

    def ends(self, n: int, level: float) -> Ends:
        """(resamples,) lower and upper ends for n units, less the truth, after `to`."""
        low, high = self.few(min(n, LARGE), level)
        shrink = np.sqrt(min(1.0, LARGE / n))
        return low * shrink, high * shrink


@functools.lru_cache(maxsize=256)
def drawn(n: int, of: int, stream: int = 0) -> Array:
    """(resamples, n) places among `of` units, the same for all that have as many, so that what
    seeds share is drawn together."""
    return np.random.default_rng([n, of, stream]).integers(0, of, (RESAMPLES, n))


def of_mean(estimate: Mean, apart: int | None = None) -> Sampling:
    """Of a mean of finite values.

    Args:
        apart: How many of the values were measured; the others repeat them. By default all.
    """
    values = estimate.values
    apart = values.size if apart is None else apart
    about = (values - estimate.effect) * np.sqrt(apart / max(1, apart - 1))
    skewed = isinstance(estimate, LevelMean)

    def few(n: int, level: float) -> Ends:
        rows = about[drawn(n, values.size)]
        low, high = mean_intervals(rows, level, skewed)
        if all_same(values):  # one number, but for rounding
            silent = level / 2 < least_p(n)
            return (low - np.inf, high + np.inf) if silent else (0 * low, 0 * high)
        return low, high

    return Sampling(estimate.effect, few)


def mean_intervals(rows: Array, level: float, skewed: bool) -> Ends:
    """Ends of the intervals of `Mean`, or where `skewed` of `LevelMean`, of each row at 1 - level."""
    n, mean = rows.shape[1], rows.mean(axis=1)
    away = rows - mean[:, None]
    square = (away**2).mean(axis=1)
    error = np.sqrt(square / (n - 1))
    q = np.full(len(rows), t_quantile(1 - level / 2, n - 1))
    below, above = q, q
    if skewed:
        with np.errstate(invalid="ignore", divide="ignore"):
            skewness = (away**3).mean(axis=1) / square**1.5 * np.sqrt(n - 1) / (n - 2)
        below, above = hall_reach(q, np.where(square > 0, skewness, 0.0))
    one = np.ptp(rows, axis=1) == 0  # luck, of few values: what `Mean` says of such
    silent = one & (level / 2 < least_p(n))
    return np.where(silent, -np.inf, mean - below * error), np.where(
        silent, np.inf, mean + above * error
    )


def of_centre(values: Array, *, symmetric: bool = False, both: bool = False) -> Sampling:
    """Of `stats.centre` of values some of which are infinite: those drawn without one have a mean."""
    effect = Median(values).effect
    about = np.where(np.isfinite(values), values - effect, values)

    def few(n: int, level: float) -> Ends:
        rows = about[drawn(n, values.size)]
        below, above = np.isneginf(rows).sum(axis=1), np.isposinf(rows).sum(axis=1)
        ends = _of_medians(rows, level, below, above, both)
        plain = (below == 0) & (above == 0)
        means = mean_intervals(np.where(plain[:, None], rows, 0.0), level, not symmetric)
        low, high = (np.where(plain, x, y) for x, y in zip(means, ends, strict=True))
        return low, high

    return Sampling(effect, few)


def of_ratio(values: Array) -> Sampling:
    """Of a median of ratios, which is 0 or infinite where one of the two arms never got there."""
    effect = Median(values).effect
    with np.errstate(invalid="ignore"):
        about = values / effect

    def few(n: int, level: float) -> Ends:
        rows = about[drawn(n, values.size)]
        below, above = (rows == 0).sum(axis=1), np.isinf(rows).sum(axis=1)
        ends = _of_medians(rows, level, below, above, False)
        with np.errstate(divide="ignore"):
            low, high = (np.log(np.maximum(end, 0.0)) for end in ends)
        return low, high

    return Sampling(effect, few, _log, np.exp)


def _of_medians(rows: Array, level: float, below: Array, above: Array, both: bool) -> Ends:
    """The intervals of `Unbounded` medians, of which so many values lie at either end."""
    tied = both & (below == above) & (below > 0)
    low = np.where((below > above) | tied, -np.inf, lower_ends(rows, level / 2))
    high = np.where((above > below) | tied, np.inf, -lower_ends(-rows, level / 2))
    return low, high


def of_groups(estimate: Welch) -> Sampling:
    """Of the difference of two groups' means; units are of the smaller group, and the other stays as
    many times as large."""
    groups = [(x - x.mean()) * np.sqrt(x.size / (x.size - 1)) for x in (estimate.a, estimate.b)]

    def few(n: int, level: float) -> Ends:
        sizes = [round(n * x.size / estimate.n) for x in groups]
        a, b = (
            x[drawn(size, x.size, stream)]
            for stream, (x, size) in enumerate(zip(groups, sizes, strict=True))
        )
        found = np.array([Welch(*one).interval(1 - level) for one in zip(a, b, strict=True)])
        return found[:, 0], found[:, 1]

    return Sampling(estimate.effect, few)


def of_draws(estimate: Bootstrap) -> Sampling:
    """Of a statistic with its resamples at hand: these scatter around it as it does around the truth,
    and less with the root of the number of units."""
    about = np.sort(estimate.draws - estimate.draws.mean())
    about = about[np.linspace(0, about.size - 1, RESAMPLES).round().astype(int)]
    spread = float(estimate.draws.std())

    def few(n: int, level: float) -> Ends:
        shrink = np.sqrt(estimate.n / n)
        silent = level / 2 < 0.5**n
        reach = np.inf if silent else t_quantile(1 - level / 2, n - 1) * spread * shrink
        return about * shrink - reach, about * shrink + reach

    return Sampling(estimate.effect, few)


def of_correlation(estimate: Correlation) -> Sampling:
    """Of a rank correlation, on Fisher's z scale."""
    scatter = special.ndtri((np.arange(RESAMPLES) + 0.5) / RESAMPLES)
    step = estimate.error * np.sqrt(estimate.n - 3)  # the error of one unit

    def few(n: int, level: float) -> Ends:
        error = step / np.sqrt(max(1, n - 3))
        reach = special.ndtri(1 - level / 2)
        return (scatter - reach) * error, (scatter + reach) * error

    return Sampling(float(np.clip(estimate.effect, -0.9999, 0.9999)), few, np.arctanh, np.tanh)
