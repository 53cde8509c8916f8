"""Optuna's samplers as strategies."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection

from harness.nas.space import Space
from harness.nas.table import Proposal


class Choice(CategoricalDistribution):
    """Choices that never change: Optuna copies and compares those of every parameter at every step,
    which takes longer than the sampler does."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Choice:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other or bool(super().__eq__(other))

    __hash__ = CategoricalDistribution.__hash__


def tpe(
    space: Space, rng: np.random.Generator, first: int = 20
) -> Generator[Proposal, float, None]:
    """The tree-structured Parzen estimator (Bergstra et al. 2011), over wiring, operations, depth
    and width together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=int(rng.integers(2**31)), multivariate=True, n_startup_trials=first
        )
    yield from _asked(space, sampler, sized=False)


def nsga2(
    space: Space, rng: np.random.Generator, first: int = 20
) -> Generator[Proposal, float, None]:
    """NSGA-II (Deb et al. 2002) for accuracy against the logarithm of trained numbers.

    Args:
        first: Members of the population.
    """
    seed = int(rng.integers(2**31))
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=first)
    yield from _asked(space, sampler, sized=True)


def _asked(
    space: Space, sampler: optuna.samplers.BaseSampler, sized: bool
) -> Generator[Proposal, float, None]:
    """What a sampler asks for, told the score, and the size where it weighs both."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE][: 1 + sized]
    study = optuna.create_study(sampler=sampler, directions=directions)
    choices: dict[str, BaseDistribution] = {
        name: Choice(some) for name, some in space.distributions().items()
    }
    while True:
        trial = study.ask(choices)
        architecture = space.decode(trial.params)
        score = yield architecture
        study.tell(trial, [score, float(np.log(space.params(architecture)))][: len(directions)])
