"""Checks of what a search predicts along one hyperparameter, the others averaged out (fANOVA's
marginals): one number a draw, bootstrapped over trials."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.claims import draws, stats
from harness.claims.checks import Check
from harness.claims.draws import FEW_TRIALS, drawn, planted_draws
from harness.claims.reading import place, rows_of, values
from harness.claims.verdicts import Evidence, Missing
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from harness.claims.importance import Marginal

Wanted = tuple[tuple[str, tuple[tuple[str, tuple[float, float]], ...]], ...]


@dataclass(frozen=True)
class _Along(Check):
    """What checks of marginals share: whose they are, and the draws they are made of."""

    of: str = ""
    phase: str = "tune"

    replication = "trial"

    def names(self) -> tuple[str, ...]:
        """The hyperparameters that are read."""
        return (self.of,)

    def validate(self, study: Study) -> None:
        super().validate(study)
        space = study.space(self.arm)
        for name in self.names():
            if name not in space or not hasattr(space[name], "low"):
                allowed = [n for n, one in space.items() if hasattr(one, "low")]
                raise InvalidStudy(
                    f"a claim reads the marginal of {name!r}; allowed: {', '.join(allowed)}"
                )

    def curves(self, frame: pd.DataFrame, study: Study, wanted: Wanted) -> list[Marginal]:
        """The marginals on this check's draws."""
        where = dict(self.where)
        column = values(frame, study, self.metric, self.arm, where, self.at, self.phase, "trial")
        rows = rows_of(frame, self.arm, where, self.phase).groupby("trial").first()
        trials = rows.loc[column.index]
        if len(trials) < FEW_TRIALS:
            raise Missing(
                f"{len(trials)} trials of {place(self.arm, where)}; at least {FEW_TRIALS} are needed"
            )
        space = study.space(self.arm)
        columns = tuple(tuple(trials[name]) for name in space)
        return _marginals(tuple(space.items()), columns, tuple(column), wanted)


@functools.lru_cache(maxsize=64)
def _marginals(
    space: tuple[tuple[str, Any], ...],
    columns: tuple[tuple[Any, ...], ...],
    objective: tuple[float, ...],
    wanted: Wanted,
) -> list[Marginal]:
    from harness.claims import importance  # it takes a second to import

    trials = pd.DataFrame(dict(zip(dict(space), columns, strict=True)))
    generator = np.random.default_rng(0)
    curves = [(name, dict(given)) for name, given in wanted]
    return importance.marginals(
        trials, np.array(objective), dict(space), generator, curves, resamples=draws.RESAMPLES
    )


def _test(n: int) -> str:
    return f"fANOVA's marginal, 32 trees, bootstrap over {n} trials"


@dataclass(frozen=True)
class Rise(_Along):
    """By how much the prediction over the highest third of a hyperparameter's range exceeds that
    over the lowest third."""

    def quantity(self, study: Study) -> str:
        name = self.of.replace("_", " ")
        return f"predicted {super().quantity(study)}, highest third of {name} minus lowest"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        (curve,) = self.curves(frame, study, ((self.of, ()),))
        third = len(curve.mean) // 3
        effect, moved = (
            one[..., -third:].mean(-1) - one[..., :third].mean(-1)
            for one in (curve.mean, curve.draws)
        )
        estimate = stats.Bootstrap(float(effect), moved, curve.n)
        return Evidence(estimate, self.margin, self.direction, "", _test(curve.n))

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        own = drawn(study, self.arm)
        size = max(abs(self.margin), 0.01)
        side = 1.0 if (self.direction == "above") == hold else -1.0
        rise = 1.5 * (self.margin + side * 5 * size)  # thirds are two thirds of the range apart
        columns = {name: column for name, (column, _) in own.items()}
        columns[self.metric] = 0.5 + rise * (own[self.of][1] - 0.5)
        return planted_draws(study, self.arm, dict(self.where), columns)


@dataclass(frozen=True)
class Carried(_Along):
    """What it costs to choose one hyperparameter in the lower half of another's range and to keep
    it in the upper half, over choosing it there.

    Args:
        over: The other hyperparameter.
    """

    over: str = ""

    def names(self) -> tuple[str, ...]:
        return (self.of, self.over)

    def quantity(self, study: Study) -> str:
        one, other = (name.replace("_", " ") for name in self.names())
        return f"cost in {super().quantity(study)}, of {one} chosen at low {other} and kept at high"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        halves = tuple((self.of, ((self.over, half),)) for half in ((0.0, 0.5), (0.5, 1.0)))
        low, high = self.curves(frame, study, halves)
        sign = -1.0 if study.metrics[self.metric].better == "high" else 1.0

        def cost(small: np.ndarray, large: np.ndarray) -> np.ndarray:
            """(...) from curves (..., points)."""
            chosen = (sign * small).argmin(-1)[..., None]
            kept = np.take_along_axis(sign * large, chosen, -1)[..., 0]
            found: np.ndarray = kept - (sign * large).min(-1)
            return found

        effect, moved = cost(low.mean, high.mean), cost(low.draws, high.draws)
        estimate = stats.Bootstrap(float(effect), moved, low.n)
        return Evidence(estimate, self.margin, self.direction, "", _test(low.n))

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        own = drawn(study, self.arm, 200)  # where the best lies takes more draws to tell
        sign = -1.0 if study.metrics[self.metric].better == "high" else 1.0
        u, large = own[self.of][1], own[self.over][1] > 0.5
        best = 0.5 if hold else np.where(large, 0.85, 0.15)
        size = self.margin * (0.2 if hold else 20.0)
        columns = {name: column for name, (column, _) in own.items()}
        columns[self.metric] = 0.5 + sign * size * np.abs(u - best)
        return planted_draws(study, self.arm, dict(self.where), columns)
