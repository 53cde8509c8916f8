"""Draws of the nuisance, by Optuna's samplers.

One `Search` serves one arm in one cell. With "qmc" and "random" all draws are known beforehand:
there is one sequence of points for a study, with a column for each name that any of its arms draws,
and an arm takes its columns, so that arms have the same draws of whatever they share.
"tpe" asks in rounds and waits for each round's scores, told in the order asked, so that the same
study makes the same draws however its trials were spread over workers.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from harness.study import Sampler


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Not a line of Optuna's for each study that is made within."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


TPE_ROUND = 8  # draws asked at once; constant liar spreads them


COLUMNS = 64  # that a sequence has in any case, so that one more name changes none of the others


@functools.lru_cache(maxsize=64)
def _points(columns: int, draws: int, sampler: Sampler, seed: int) -> np.ndarray:
    """(draws, columns) points from 0 to below 1: a scrambled Sobol sequence, or independent ones."""
    columns = max(columns, COLUMNS)
    if sampler == "random":
        each = [np.random.default_rng((seed, column)).random(draws) for column in range(columns)]
        return np.stack(each, axis=1)
    engine = torch.quasirandom.SobolEngine(columns, True, seed)  # type: ignore[no-untyped-call]
    first = engine.quasi.numpy() / 2.0**engine.MAXBIT  # drawn, it is rounded to the default type
    points: np.ndarray = engine.draw(max(draws, 1), dtype=torch.float64).numpy()[:draws]
    points[:1] = first
    return points


def value_at(distribution: BaseDistribution, u: float) -> Any:
    """The value of a distribution below which a share `u` of it lies, 0 <= u < 1.

    Choices, and integers or steps on a linear axis, have equal shares each.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    whole = isinstance(distribution, IntDistribution)
    if distribution.log:
        half = 0.5 if whole else 0.0  # each integer has the logarithms that round to it
        ends = math.log(low - half), math.log(high + half)
        value = math.exp(ends[0] + u * (ends[1] - ends[0]))
    elif step is not None:
        value = low + step * int(u * (round((high - low) / step) + 1))
    else:
        value = low + u * (high - low)
    value = min(max(value, low), high)
    return round(value) if whole else float(value)


@functools.lru_cache(maxsize=512)
def _fixed_draws(
    space: tuple[tuple[str, BaseDistribution], ...], names: tuple[str, ...], draws: int,
    sampler: Sampler, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """All draws of a sampler that does not look at scores; shared by arms of the same space."""
    points = _points(len(names), draws, sampler, seed)
    return [
        {name: value_at(one, float(row[names.index(name)])) for name, one in space}
        for row in points
    ]


class Search:
    """Draws for one arm in one cell.

    Args:
        space: What is drawn; empty draws nothing, `draws` times.
        draws: How many in all.
        sampler: "qmc", "random" or "tpe".
        seed: The same seed gives every arm of a study the same draws of what they share.
        names: All that any arm of the study draws, in a fixed order; by default what is drawn here.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], draws: int, sampler: Sampler, seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.space = dict(space)
        self.draws = draws
        self.told = 0
        columns = tuple(names or self.space)
        self._key = (tuple(self.space.items()), columns, draws, sampler, seed)
        self._asked: list[optuna.Trial] = []
        self._values: dict[int, float] = {}
        self._given = 0
        self._adaptive = sampler == "tpe" and bool(space)
        if self._adaptive:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                tpe = optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, constant_liar=True, n_startup_trials=TPE_ROUND
                )
            with quiet():
                self._study = optuna.create_study(sampler=tpe)

    def ask(self) -> list[dict[str, Any]]:
        """The draws that can be made now: none while a round waits for its scores."""
        if self._given == self.draws:
            return []
        if not self._adaptive:
            fresh = _fixed_draws(*self._key)[self._given :]
        elif len(self._values) < self._given:
            return []
        else:
            count = min(TPE_ROUND, self.draws - self._given)
            trials = [self._study.ask(self.space) for _ in range(count)]
            self._asked += trials
            fresh = [dict(trial.params) for trial in trials]
        self._given += len(fresh)
        return fresh

    def tell(self, number: int, value: float) -> None:
        """The value (lower is better) of one draw, by its number in the order asked."""
        self._values[number] = value
        if self._adaptive and len(self._values) == self._given:
            for told in range(self.told, self._given):
                finite = min(max(self._values[told], -1e300), 1e300)  # Optuna takes no infinities
                self._study.tell(self._asked[told], finite)
            self.told = self._given
