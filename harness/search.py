"""Draws of the nuisance, by Optuna's samplers. Layer 4.

One `Search` serves one arm in one cell. With "qmc" and "random" all draws are known beforehand;
"tpe" asks in rounds and waits for each round's scores, told in the order asked, so that the same
study makes the same draws however its trials were spread over workers.
"""

from __future__ import annotations

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
        self.round = TPE_ROUND if sampler == "tpe" and space else draws
        self.study = optuna.create_study(sampler=_sampler(sampler, seed), direction="minimize")
        self.asked: list[optuna.Trial] = []
        self.ranks: dict[int, float] = {}

    def ask(self) -> list[dict[str, Any]]:
        """The draws that can be made now: none while a round waits for its scores."""
        if len(self.ranks) < len(self.asked):
            return []
        count = min(self.round, self.draws - len(self.asked))
        fresh = [self.study.ask(self.space) for _ in range(count)]
        self.asked += fresh
        return [dict(trial.params) for trial in fresh]

    def tell(self, index: int, value: float) -> None:
        """The value (lower is better) of one draw, by its number in the order asked."""
        self.ranks[index] = value
        if len(self.ranks) == len(self.asked):
            first = len(self.asked) - (len(self.asked) % self.round or self.round)
            for number in range(first, len(self.asked)):
                finite = min(max(self.ranks[number], -1e300), 1e300)  # Optuna takes no infinities
                self.study.tell(self.asked[number], finite)
