"""Schedules of short trainings: many start, few go on."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from harness.nas.table import AnySpace, Candidate, Proposal

RATE = 3  # one of so many goes on, for as many times as long
RUNGS = 2  # times that a training may be lengthened: the shortest is a ninth


def _bracket(
    space: AnySpace, rng: np.random.Generator, count: int, rungs: int
) -> Generator[Proposal, float, None]:
    """`count` draws at a share of RATE^-rungs, of which the best go on, rung by rung."""
    kept: list[Candidate] = [space.sample(rng) for _ in range(count)]
    for rung in range(rungs, -1, -1):
        scores = []
        for candidate in kept:
            score = yield candidate, RATE**-rung
            scores.append(score)
        best = np.argsort(scores, kind="stable")[::-1][: max(1, len(kept) // RATE)]
        kept = [kept[i] for i in best]


def successive_halving(
    space: AnySpace, rng: np.random.Generator, count: int = RATE ** (RUNGS + 1)
) -> Generator[Proposal, float, None]:
    """Brackets of `count` draws, a third of which goes on to thrice the length, and so again
    (Jamieson & Talwalkar 2016)."""
    while True:
        yield from _bracket(space, rng, count, RUNGS)


def hyperband(space: AnySpace, rng: np.random.Generator) -> Generator[Proposal, float, None]:
    """Brackets in turn from many short trainings to few full ones, at about equal cost (Li et al.
    2018, algorithm 1)."""
    while True:
        for rungs in range(RUNGS, -1, -1):
            count = math.ceil((RUNGS + 1) / (rungs + 1) * RATE**rungs)
            yield from _bracket(space, rng, count, rungs)
