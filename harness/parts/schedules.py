"""Learning-rate schedules: what multiplies the rate at each update.

A schedule is a frozen value; `factor(t, total)` gives the multiplier of every update t, counted
from 0, of a training of `total` updates. Trials of one pack may have different schedules. Any class
like these will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Schedule(Protocol):
    """What a schedule is: hashable, and equal to another of the same numbers."""

    def factor(self, t: np.ndarray, total: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Constant:
    """The rate as it is."""

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        return np.ones(len(t))


@dataclass(frozen=True)
class Inverse:
    """1 / (1 + decay t): the 1/t rule of stochastic approximation (Robbins & Monro 1951)."""

    decay: float

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        return 1 / (1 + self.decay * t)


@dataclass(frozen=True)
class Linear:
    """From 1 to `end` in a straight line; the update after the last would have `end`."""

    end: float = 0.0

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        return 1 + (self.end - 1) * t / total


@dataclass(frozen=True)
class Step:
    """Multiplied by `by` at each of the given shares of the training."""

    by: float = 0.1
    at: tuple[float, ...] = (0.5, 0.75)

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        milestones = [round(share * total) for share in self.at]
        return self.by ** np.searchsorted(np.sort(milestones), t, side="right").astype(float)


@dataclass(frozen=True)
class Cosine:
    """From 1 to `end` along half a cosine (Loshchilov & Hutter 2017, without restarts)."""

    end: float = 0.0

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        return self.end + (1 - self.end) * (1 + np.cos(np.pi * t / total)) / 2


@dataclass(frozen=True)
class WarmUp:
    """Rises in a straight line over the first `share` of the training, then follows `then`.

    The first update has 1/n of the rate, where n is the number of updates that warm up.
    """

    share: float = 0.1
    then: Schedule = field(default_factory=Constant)

    def factor(self, t: np.ndarray, total: int) -> np.ndarray:
        n = max(1, round(self.share * total))
        after = self.then.factor(np.maximum(t - n, 0), max(1, total - n))
        return np.where(t < n, (t + 1) / n, after)
