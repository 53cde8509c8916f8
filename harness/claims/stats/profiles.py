"""How many get there, and by when: time to target, shares and performance profiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.claims.stats.estimate import Array, one_a_unit, table
from harness.study import BadInput


@dataclass(frozen=True)
class Shares:
    """The share of units that need no more than each amount, with a band.

    Attributes:
        grid: (amounts,) rising.
        share: (arms, amounts).
        low, high: (arms, amounts); the whole true curve of an arm lies between them with the
            stated probability (Kolmogorov 1933; Massart 1990), not only each point of it.
        n: The units.
    """

    grid: Array
    share: Array
    low: Array
    high: Array
    n: int


def time_to_target(
    values: Array, target: float, better: str = "low", steps: Array | None = None
) -> Array:
    """The first step at which each seed reaches a target; infinity where it never does.

    Args:
        values: (seeds, steps) a metric; NaN where it was not measured or the seed had stopped.
        target: What has to be reached.
        better: "low" or "high": on which side of the target the goal lies.
        steps: (steps,) their numbers; by default 1, 2, ….

    Returns:
        (seeds,) steps. A miss is infinite, never missing, so a median over seeds stays right.
    """
    array = np.asarray(values, dtype=float)
    if array.ndim != 2:
        raise BadInput(f"values have shape {array.shape}; allowed: (seeds, steps)")
    if better not in ("high", "low"):
        raise BadInput(f"better is {better!r}; allowed: 'high', 'low'")
    numbers = np.arange(1, array.shape[1] + 1) if steps is None else one_a_unit(steps, "steps")
    if numbers.shape != array.shape[1:]:
        raise BadInput(f"steps has {numbers.size} entries for {array.shape[1]} columns of values")
    reached = array <= target if better == "low" else array >= target
    first: Array = np.where(reached, numbers, np.inf).min(axis=1, initial=np.inf)
    return first


def shares(amounts: Array, grid: Array | None = None, level: float = 0.95) -> Shares:
    """The empirical distribution of each arm's amounts, with a simultaneous band.

    With times to target this is the run-time distribution (Hoos & Stützle 1998).

    Args:
        amounts: (units, arms), infinity for never. Units (seeds, or problems) are independent.
        grid: (amounts,) where to read the curves; by default wherever one of them rises.
        level: Of the band, for each arm.
    """
    from scipy import stats as scipy_stats

    amounts = table(amounts, "units", "arms", "amounts")
    n = amounts.shape[0]
    if grid is None:
        grid = np.unique(amounts[np.isfinite(amounts)])
    grid = np.sort(one_a_unit(grid, "grid", "amount"))
    ordered = np.sort(amounts, axis=0)
    share = np.stack([np.searchsorted(column, grid, side="right") / n for column in ordered.T])
    half = float(scipy_stats.kstwo.ppf(level, n))
    return Shares(grid, share, np.maximum(share - half, 0.0), np.minimum(share + half, 1.0), n)


def performance_profile(costs: Array, ratios: Array | None = None, level: float = 0.95) -> Shares:
    """The share of problems that each arm solves within a factor of the best (Dolan & Moré 2002).

    Args:
        costs: (problems, arms), positive, infinity where an arm did not solve the problem. Where
            no arm solved it the ratio is infinite for all.
        ratios: (amounts,) factors of at least 1.
        level: Of the band, with problems as the replication unit.
    """
    costs = table(costs, "problems", "arms", "costs")
    if (costs <= 0).any():
        raise BadInput(f"costs have a minimum of {costs.min()}; allowed: positive costs")
    best = costs.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        ratio = np.where(np.isinf(costs), np.inf, costs / best)
    return shares(ratio, ratios, level)
