"""Draws of the nuisance, by Optuna's samplers. Layer 4.

One `Search` serves one arm in one cell. With "qmc" and "random" all draws are known beforehand;
"tpe" asks in rounds and waits for each round's scores, told in the order asked, so that the same
study makes the same draws however its trials were spread over workers.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from harness.study import Sampler

optuna.logging.set_verbosity(optuna.logging.ERROR)

TPE_ROUND = 8  # draws asked at once; constant liar spreads them


def _sampler(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "qmc":
            return optuna.samplers.QMCSampler(
                scramble=True, seed=seed, warn_independent_sampling=False
            )
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=TPE_ROUND
        )


@functools.lru_cache(maxsize=512)
def _fixed_draws(
    space: tuple[tuple[str, BaseDistribution], ...], draws: int, sampler: Sampler, seed: int
) -> list[dict[str, Any]]:
    """All draws of a sampler that does not look at scores; shared by arms of the same space."""
    study = optuna.create_study(sampler=_sampler(sampler, seed))
    return [dict(study.ask(dict(space)).params) for _ in range(draws)]


class Search:
    """Draws for one arm in one cell.

    Args:
        space: What is drawn; empty draws nothing, `draws` times.
        draws: How many in all.
        sampler: "qmc", "random" or "tpe".
        seed: The same seed gives every arm of a study the same draws of what they share.
    """

    def __init__(
        self, space: Mapping[str, BaseDistribution], draws: int, sampler: Sampler, seed: int = 0
    ) -> None:
        self.space = dict(space)
        self.draws = draws
        self.told = 0
        self._key = (tuple(sorted(self.space.items())), draws, sampler, seed)
        self._asked: list[optuna.Trial] = []
        self._values: dict[int, float] = {}
        self._given = 0
        self._adaptive = sampler == "tpe" and bool(space)
        if self._adaptive:
            self._study = optuna.create_study(sampler=_sampler(sampler, seed))

    def ask(self) -> list[dict[str, Any]]:
        """The draws that can be made now: none while a round waits for its scores."""
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
