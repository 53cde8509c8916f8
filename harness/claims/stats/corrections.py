"""Many tests at once, and many looks at one test."""

from __future__ import annotations

import numpy as np

from harness.claims.stats.estimate import Array
from harness.study import BadInput


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


def spend(seeds_at_looks: Array, level: float = 0.05) -> Array:
    """The level that each look at growing data may use, for `level` over all looks.

    Levels are in proportion to the seeds that are new at each look: the spending function of Lan &
    DeMets (1983) that is linear in information. Their sum is `level`, and a false claim that is
    found at any look is found at one of them, so the union bound holds the error rate for any
    estimate and any dependence of the looks. (Lan & DeMets' own boundaries use that looks share
    data, and are less strict; they need normal statistics.)

    Args:
        seeds_at_looks: (looks,) seeds in all at each look, rising.
        level: The error rate over all looks.

    Returns:
        (looks,) levels that sum to `level`.
    """
    seeds = np.asarray(seeds_at_looks, dtype=float)
    if seeds.ndim != 1 or not seeds.size or seeds[0] <= 0 or (np.diff(seeds) <= 0).any():
        raise BadInput(f"seeds at looks are {seeds.tolist()}; allowed: positive and rising")
    if not 0 < level < 1:
        raise BadInput(f"level is {level}; allowed: between 0 and 1")
    return np.asarray(level * np.diff(seeds, prepend=0.0) / seeds[-1])
