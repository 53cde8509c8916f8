"""Medians, which take infinity for "never", and ratios of times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import Array, paired
from harness.study import BadInput


@dataclass(frozen=True)
class Median:
    """The median over seeds, with an interval between order statistics.

    Infinite values are allowed (a target that was never reached), which is why ratios of
    times-to-target use it. The sign test's interval (Conover 1999, section 3.4) jumps from one
    order statistic to the next, and at ten seeds covers 98 % where 95 % is asked for; Hettmansperger
    & Sheather (1986) interpolate between neighbours, which holds the level closely for any
    continuous distribution. p is that interval solved for its level: at an order statistic it is
    the sign test's.
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
        with np.errstate(invalid="ignore"):  # of minus infinity and infinity there is no middle
            return float(low if low == high else (low + high) / 2)

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the median were at most the threshold."""
        n, k = self.n, int((self.values <= threshold).sum())
        if k == n:
            return 1.0
        if k == 0:
            return _tail(1, n)
        below, above = np.sort(self.values)[k - 1 : k + 1]
        finite = np.isfinite(below) and np.isfinite(above)
        share = (threshold - below) / (above - below) if finite else 1.0
        step = share * k / ((n - k) - share * (n - 2 * k))
        return float((1 - step) * _tail(k, n) + step * _tail(k + 1, n))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the median were at least the threshold."""
        return Median(-self.values).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        tail = (1 - level) / 2
        return self._lower(tail), -Median(-self.values)._lower(tail)

    def _lower(self, tail: float) -> float:
        return float(lower_ends(self.values[None], tail)[0])


def _tail(k: int, n: int) -> float:
    """How probable it is that the k-th smallest of n values lies above the true median."""
    return float(special.bdtr(k - 1, n, 0.5))


def lower_ends(rows: Array, tail: float) -> Array:
    """(samples,) the lower ends of `Median`'s intervals that leave so much below, of (samples, n)."""
    n, k, slack = rows.shape[1], 0, 1e-12
    while k < (n + 1) // 2 and _tail(k + 1, n) <= tail + slack:
        k += 1
    if k == 0:
        return np.full(len(rows), -np.inf)
    ordered = np.sort(rows, axis=1)
    below, above = ordered[:, k - 1], ordered[:, min(k, n - 1)]
    step = max(0.0, (tail - _tail(k, n)) / (_tail(k + 1, n) - _tail(k, n)))
    share = (n - k) * step / (k + (n - 2 * k) * step)
    between = (below != above) & np.isfinite(below) & np.isfinite(above)
    with np.errstate(invalid="ignore"):
        return np.where(between, below + share * (above - below), below)


def median_ratio(a: Array, b: Array) -> Median:
    """Median of a / b, paired by seed; both positive, infinity meaning "never".

    A finite a over an infinite b is 0, infinity over finite is infinity, and where neither got
    there the ratio is 1: the pair says nothing for either side.
    """
    a, b = paired(a, b)
    if (a <= 0).any() or (b <= 0).any():
        raise BadInput(
            f"ratios need positive values; received a minimum of {min(a.min(), b.min())}"
        )
    with np.errstate(invalid="ignore"):
        ratio = a / b
    return Median(np.where(np.isinf(a) & np.isinf(b), 1.0, ratio))
