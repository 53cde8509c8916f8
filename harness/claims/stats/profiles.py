"""How many problems each arm solves, and within which factor of the best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats.estimate import Array, table
from harness.study import BadInput


@dataclass(frozen=True)
class Profile:
    """Dolan & Moré's (2002) performance profiles.

    Attributes:
        ratios: (ratios,) factors of the best arm's cost, rising from 1: wherever a curve rises.
        solved: (arms, ratios) the share of problems that an arm solves at no more than that.
        band: How far the whole true curve of an arm lies from its own at most, with the stated
            probability (Kolmogorov 1933; Massart 1990), not only each point of it.
        n: The problems.
    """

    ratios: Array
    solved: Array
    band: float
    n: int


def performance_profile(costs: Array, level: float = 0.95) -> Profile:
    """The share of problems that each arm solves within a factor of the best.

    Args:
        costs: (problems, arms), positive, infinity where an arm did not solve the problem. Where
            no arm solved it the ratio is infinite for all.
        level: Of the band. Problems are the replication unit; where they are seeds of a few given
            tasks the band holds what further seeds of those would change.
    """
    from scipy import stats as scipy_stats

    costs = table(costs, "problems", "arms", "costs")
    if (costs <= 0).any():
        raise BadInput(f"costs have a minimum of {costs.min()}; allowed: positive costs")
    n, best = costs.shape[0], costs.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isinf(costs), np.inf, costs / best)
    ratios = np.union1d(1.0, ratio[np.isfinite(ratio)])
    solved = [np.searchsorted(np.sort(column), ratios, side="right") / n for column in ratio.T]
    return Profile(ratios, np.stack(solved), float(scipy_stats.kstwo.ppf(level, n)), n)
