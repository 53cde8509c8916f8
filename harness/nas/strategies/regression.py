"""Search guided by a regression from an architecture's features to its score."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from harness.nas.space import Space
from harness.nas.table import Proposal

TREES = 50


def regressor(rng: np.random.Generator) -> Any:
    """A random forest with scikit-learn's defaults but for the number of trees."""
    from sklearn.ensemble import RandomForestRegressor  # a second to import

    return RandomForestRegressor(TREES, random_state=int(rng.integers(2**31)))


@functools.lru_cache(maxsize=8)
def codes(space: Space) -> np.ndarray:
    """The encodings of all architectures of a space, (N, F)."""
    return np.stack([space.encode(a) for a in space.architectures])


def regression(
    space: Space, rng: np.random.Generator, first: int = 20, batch: int = 10
) -> Generator[Proposal, float, None]:
    """Trains `first` architectures at random, then again and again the `batch` that a regression on
    all scores so far puts highest ([ECNU], “Neural architecture search”; Wen et al. 2020)."""

    def predicted(seen: list[int], scores: list[float]) -> np.ndarray:
        model = regressor(rng).fit(codes(space)[seen], scores)
        values: np.ndarray = model.predict(codes(space))
        return values

    yield from guided(space, rng, predicted, [], [], first, batch)


def guided(
    space: Space, rng: np.random.Generator,
    predicted: Callable[[list[int], list[float]], np.ndarray],
    seen: list[int], scores: list[float], first: int, batch: int,
) -> Generator[Proposal, float, None]:  # fmt: skip
    """Full trainings of the `batch` unseen architectures that are predicted to be best, after
    `first` random ones.

    Args:
        predicted: From places and scores of what has been seen to (N,) values of all.
        seen, scores: What has been seen so far; both are added to.
    """
    chosen = rng.permutation(np.setdiff1d(np.arange(len(space)), seen))[: max(0, first - len(seen))]
    while True:
        for number in chosen:
            score = yield space.architectures[number]
            seen.append(int(number))
            scores.append(score)
        if len(seen) == len(space):
            return
        unseen = rng.permutation(np.setdiff1d(np.arange(len(space)), seen))  # ties fall anyhow
        values = predicted(seen, scores)[unseen]
        chosen = unseen[np.argsort(values, kind="stable")[::-1][:batch]]
