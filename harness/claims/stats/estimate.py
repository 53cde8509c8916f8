"""What every estimate answers, and the checks of the arrays that estimates are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from harness.claims.stats import special
from harness.study import BadInput

Array = np.ndarray
INFINITE = (float("-inf"), float("inf"))


class Estimate(Protocol):
    """An estimated quantity that can be held against a threshold."""

    @property
    def effect(self) -> float: ...
    @property
    def n(self) -> int: ...
    def p_above(self, threshold: float) -> float: ...
    def p_below(self, threshold: float) -> float: ...
    def interval(self, level: float) -> tuple[float, float]: ...


def one_a_unit(values: Array, name: str = "values", unit: str = "seed") -> Array:
    """An array of shape (units,) as floats, checked to hold one number a replication unit."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 1:
        raise BadInput(f"{name} has shape {array.shape}; allowed: ({unit}s,), one number a {unit}")
    _no_nan(array, name)
    return array


def table(values: Array, rows: str, columns: str, name: str = "values") -> Array:
    """An array of shape (rows, columns) as floats; `rows` names the replication unit."""
    array = np.asarray(values, dtype=float)
    if array.ndim != 2 or not array.size:
        raise BadInput(f"{name} has shape {array.shape}; allowed: ({rows}, {columns}), not empty")
    _no_nan(array, name)
    return array


def _no_nan(array: Array, name: str) -> None:
    count = int(np.isnan(array).sum())
    if count:
        raise BadInput(f"{name} has {count} NaN; a diverged trial needs a score")


def at_least(count: int, array: Array, name: str = "values", unit: str = "seed") -> Array:
    """The array, if it has enough replication units to say anything."""
    if array.shape[0] < count:
        raise BadInput(f"{name} has {array.shape[0]} {unit}s; allowed: at least {count}")
    return array


def paired(a: Array, b: Array, unit: str = "seed") -> tuple[Array, Array]:
    """Two arrays of shape (units,), checked to be paired unit by unit."""
    a, b = one_a_unit(a, "a", unit), one_a_unit(b, "b", unit)
    if a.shape != b.shape:
        raise BadInput(
            f"a has {a.size} {unit}s and b has {b.size}; paired arrays share their {unit}s"
        )
    return a, b


ROUNDING = 1e-6  # of the largest value: what differs by less may be one number in float32


def rounding(value: float) -> float:
    """By how much values of this size may differ and still be one number, as float32 rounds it."""
    return ROUNDING * abs(value)


def all_same(values: Array) -> bool:
    """Whether every value is the same finite number, but for rounding."""
    finite = values.size > 0 and bool(np.isfinite(values).all())
    return finite and float(np.ptp(values)) <= rounding(float(np.abs(values).max()))


def least_p(n: int) -> float:
    """The p of n values that are all the same and lie on one side of a threshold.

    They show no spread, and Student's t is infinite, but n values cannot make anything certain. The
    p is that which t would give had one further value been the threshold itself: n equal values and
    one apart have t = n with n degrees of freedom, however far apart they are. That is 0.002 for
    five values and 0.0005 for six, one-sided: exact facts, which no seed changes, can be told by
    five seeds among a dozen claims. Where an outcome is one of two numbers as far above the
    threshold as below, all n are the same by luck in 2^-n of studies: that takes ten seeds.
    """
    return float(special.stdtr(n, -n))


def t_quantile(level: float, freedom: float | Array) -> Any:
    """Student's t: the value that `level` of the distribution lies under, per degree of freedom."""
    return special.stdtrit(freedom, level)


@dataclass(frozen=True)
class Widest:
    """Several estimates of one quantity, of which none may object: the largest p, the hull.

    Where one method is known to be too bold for skewed samples and another for heavy tails, a
    threshold is excluded only if every method excludes it.
    """

    parts: Sequence[Estimate]

    @property
    def effect(self) -> float:
        return self.parts[0].effect

    @property
    def n(self) -> int:
        return self.parts[0].n

    def p_above(self, threshold: float) -> float:
        return max(part.p_above(threshold) for part in self.parts)

    def p_below(self, threshold: float) -> float:
        return max(part.p_below(threshold) for part in self.parts)

    def interval(self, level: float) -> tuple[float, float]:
        lows, highs = zip(*(part.interval(level) for part in self.parts), strict=True)
        return min(lows), max(highs)
