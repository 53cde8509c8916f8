"""Many tests at once, and many looks at one test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.claims.stats.estimate import Array
from harness.study import BadInput, Family

Families = Sequence[tuple[Family, Sequence[int]]]  # in order, each with the places of its tests


def stepwise(
    p_values: Array, families: Families, level: float = 0.05, tested: Array | None = None,
    open_: Array | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """Tests in families, decided one after the other, each decision passing its level on.

    While some tests are open each has a level (`levels_of`). The one whose p is smallest for its
    level is decided if p is at most that, and the others' levels are worked out again without it. A
    level never falls as others are decided, so that this is a closed test in short, and the rate of
    studies with any wrong decision is at most `level` whatever the tests depend on. One family in
    Holm's order is Holm's (1979) procedure; all are graphs of Bretz et al. (2009).

    Args:
        p_values: (tests,) two-sided p values.
        families: Every test is in one of them.
        level: The family-wise error rate, over all families.
        tested: (tests,) which tests can be decided now; by default all.
        open_: (tests,) which have not been decided before; by default none has.

    Returns:
        ``(adjusted, alpha)``, both (tests,): the adjusted p values, and the level at which each
        test's own interval is drawn so that it excludes the threshold just when the adjusted p is
        at most `level`. A test whose turn has not come has the level 0.
    """
    p = np.asarray(p_values, dtype=float)
    tested = np.ones(p.size, bool) if tested is None else tested
    open_ = np.ones(p.size, bool) if open_ is None else open_.copy()
    adjusted, alpha = np.ones(p.size), np.zeros(p.size)
    reached, going = 0.0, True
    for _ in range(int(tested.sum())):
        held, parts = levels_of(families, open_, tested)
        waits = open_ & tested
        each = np.full(p.size, np.inf)
        able = waits & (held > 0)
        each[able] = p[able] * parts[able] / held[able]
        if going:
            alpha[waits] = level * held[waits] / parts[waits]
        first = int(np.argmin(each))
        if np.isinf(each[first]):
            break
        reached = max(reached, float(each[first]))
        going = going and reached <= level
        adjusted[first] = min(1.0, reached)
        open_[first] = False
    return adjusted, alpha


def levels_of(families: Families, open_: Array, tested: Array) -> tuple[Array, Array]:
    """What each test has of the level, while some are open: a share, and among how many.

    A family holds its share, and what the family before it has passed on: all that it holds, once
    every test of it is decided; in Bonferroni's order the parts of those that are. What the last
    passes on goes to the first. Within a family the level is split among its open tests ("holm"),
    or among all of its tests ("bonferroni"), or is the first open test's ("sequence").

    Returns:
        ``(held, parts)``, both (tests,): a test has the level ``held / parts``.
    """
    left = [[i for i in members if open_[i]] for _, members in families]
    holds = [0.0] * len(families)
    passed = 0.0
    for lap in range(2):
        for k, (family, members) in enumerate(families):
            here = (family.share if lap == 0 else 0.0) + passed
            passed = 0.0
            if not left[k]:
                passed = here
            else:
                holds[k] += here
                if family.order == "bonferroni":
                    passed = here * (len(members) - len(left[k])) / len(members)
    held, parts = np.zeros(open_.size), np.ones(open_.size)
    for k, (family, members) in enumerate(families):
        if family.order == "sequence":
            held[left[k][:1]] = holds[k]
            continue
        held[left[k]] = holds[k]
        among = [i for i in left[k] if tested[i]] if family.order == "holm" else members
        parts[left[k]] = max(1, len(among))
    return held, parts


def first_levels(families: Families, level: float = 0.05) -> Array:
    """(tests,) the level that each test has when its turn comes: none is decided but those without
    which it would have none, of its own family and of those before."""
    count = sum(len(members) for _, members in families)
    tested, found = np.ones(count, bool), np.zeros(count)
    for k, (family, members) in enumerate(families):
        earlier = [i for back in range(1, len(families)) for i in families[k - back][1]]
        for place, test in enumerate(members):
            open_ = np.ones(count, bool)
            own = members[:place] if family.order == "sequence" else ()
            for before in (None, *own, *earlier):
                if before is not None:
                    open_[before] = False
                held, parts = levels_of(families, open_, tested)
                if held[test]:
                    found[test] = level * held[test] / parts[test]
                    break
    return found


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
