"""What an error bar shows."""

from __future__ import annotations

import numpy as np

from harness.stats.estimate import Array
from harness.stats.means import Mean
from harness.stats.medians import Median


class Shown(tuple[float, float, float]):
    """Centre, low and high of an error bar; `estimator` says in words what they are."""

    estimator: str

    def __new__(cls, centre: float, low: float, high: float, estimator: str) -> Shown:
        self = super().__new__(cls, (centre, low, high))
        self.estimator = estimator
        return self


def interval_for_display(values: Array, level: float = 0.95) -> Shown:
    """Centre, low and high for an error bar: mean and t where all values are finite, else median.

    A mean over seeds of which one diverged without bound would be infinite, and its median is not,
    so one figure can mix the two: captions should say `estimator` ("mean and t interval", "median
    and order-statistic interval", "one value", "no value").
    """
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    if array.size == 0:
        return Shown(float("nan"), float("nan"), float("nan"), "no value")
    finite = bool(np.isfinite(array).all())
    estimate = Mean(array) if finite else Median(array)
    if array.size == 1:
        return Shown(estimate.effect, estimate.effect, estimate.effect, "one value")
    words = "mean and t interval" if finite else "median and order-statistic interval"
    return Shown(estimate.effect, *estimate.interval(level), words)
