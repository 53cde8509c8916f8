"""Random search, and searches that change one thing at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

import numpy as np

from harness.nas.table import AnySpace, Candidate, Proposal


def random_search(space: AnySpace, rng: np.random.Generator) -> Generator[Proposal, float, None]:
    """Draws at random; the baseline that Li & Talwalkar 2019 ask for."""
    while True:
        yield space.sample(rng)


def local_search(space: AnySpace, rng: np.random.Generator) -> Generator[Proposal, float, None]:
    """From a random start to the first better neighbour until there is none, then anew; nothing is
    trained twice (White et al. 2021, Exploring the Loss Landscape in NAS)."""
    scores: dict[Candidate, float] = {}
    while len(scores) < len(space):
        here: Candidate | None = space.sample(rng)
        while here is not None:
            if here not in scores:
                scores[here] = yield here
            near: tuple[Candidate, ...] = space.neighbours(here)  # type: ignore[arg-type]
            better = None
            for number in rng.permutation(len(near)):
                other = near[number]
                if other not in scores:
                    scores[other] = yield other
                if scores[other] > scores[here]:
                    better = other
                    break
            here = better


def evolution(
    space: AnySpace, rng: np.random.Generator, first: int = 20, sample: int = 5
) -> Generator[Proposal, float, None]:
    """Regularized evolution (Real et al. 2019): the best of a sample of the population has a child,
    one mutation away, and the oldest member dies.

    Args:
        first: Members of the population, drawn at random.
        sample: Members among which the parent is the best.
    """
    population: deque[tuple[Candidate, float]] = deque(maxlen=first)  # appending drops the oldest
    while True:
        child: Candidate
        if len(population) < first:
            child = space.sample(rng)
        else:
            drawn = rng.choice(first, size=min(sample, first), replace=False)
            parent, _ = max((population[i] for i in drawn), key=lambda member: member[1])
            child = space.mutate(parent, rng)  # type: ignore[arg-type]
        score = yield child
        population.append((child, score))
