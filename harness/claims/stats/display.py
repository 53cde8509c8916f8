"""What an error bar shows."""

from __future__ import annotations

import numpy as np

from harness.claims.stats.centres import Unbounded, centre
from harness.claims.stats.estimate import ROUNDING, Array, all_same, t_quantile
from harness.claims.stats.means import hall_reach


class Shown(tuple[float, float, float]):
    """Centre, low and high of an error bar; `estimator` says in words what they are."""

    estimator: str

    def __new__(cls, centre: float, low: float, high: float, estimator: str) -> Shown:
        self = super().__new__(cls, (centre, low, high))
        self.estimator = estimator
        return self


def interval_for_display(values: Array, level: float = 0.95) -> Shown:
    """Centre, low and high for an error bar, by the estimate that verdicts on one arm rest on.

    That is `centre`: the mean, with the t interval that allows for skewness, where all values are
    finite, else the median, whose interval is open towards the infinite ones. One figure can mix
    the two: captions should say `estimator` ("mean and t interval, corrected for skewness", "median
    and order-statistic interval", "one value", "one value throughout", "no value"). Where all are
    the same a bar has no length, also of two or three seeds, for which `centre` gives no interval.
    """
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if array.size == 0:
        return Shown(float("nan"), float("nan"), float("nan"), "no value")
    estimate = centre(array)
    if array.size == 1:
        return Shown(estimate.effect, estimate.effect, estimate.effect, "one value")
    if all_same(array):
        return Shown(estimate.effect, estimate.effect, estimate.effect, "one value throughout")
    words = (
        "median and order-statistic interval"
        if isinstance(estimate, Unbounded)
        else "mean and t interval, corrected for skewness"
    )
    return Shown(estimate.effect, *estimate.interval(level), words)


def intervals_for_display(table: Array, level: float = 0.95) -> Array:
    """`interval_for_display` of each row of a table with missing values, shape (rows, 3).

    Bands of curves have thousands of rows: those of finite values are worked out together.
    """
    table = np.asarray(table, dtype=float)
    found = np.full((len(table), 3), np.nan)
    n = (~np.isnan(table)).sum(axis=1)
    plain = ~np.isinf(table).any(axis=1) & (n > 2)
    if plain.any():
        values, count = table[plain], n[plain]
        mean = np.nanmean(values, axis=1)
        away = values - mean[:, None]
        square = np.nanmean(away**2, axis=1)
        largest = np.nanmax(np.abs(values), axis=1)
        same = np.nanmax(values, axis=1) - np.nanmin(values, axis=1) <= ROUNDING * largest
        with np.errstate(invalid="ignore", divide="ignore"):
            skewness = np.nanmean(away**3, axis=1) / square**1.5 * np.sqrt(count - 1) / (count - 2)
        q = t_quantile((1 + level) / 2, count - 1)
        below, above = hall_reach(q, np.where(same, 0.0, skewness))
        error = np.sqrt(square / (count - 1))
        low, high = (np.where(same, 0.0, side * error) for side in (below, above))
        found[plain] = np.stack([mean, mean - low, mean + high], axis=1)
    for i in np.flatnonzero(~plain):
        found[i] = interval_for_display(table[i], level)
    return found
