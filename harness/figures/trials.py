"""Trials one by one: the best share of each arm as boxes, and one metric against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.figures.base import Figure_, as_tuple, pairs
from harness.figures.theme import blank
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Boxes(Figure_):
    """Quartiles of the best share of each arm's trials (Greff et al. 2017, figure 3)."""

    top: float = 0.1
    select: str | None = None
    mark: str | None = None

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("select", [self.select] if self.select else [], study.metrics)
        self._allow("mark", [self.mark] if self.mark else [], self.arms or study.arms)
        if not 0 < self.top <= 1:
            raise InvalidStudy(
                f"figure {self.name!r} has top={self.top!r}; allowed: over 0, up to 1"
            )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        return blank()


@dataclass(frozen=True)
class Scatter(Figure_):
    """One final metric against another or a nuisance, a dot a trial."""

    x: str = ""
    front: bool = False

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("x", [self.x], [*study.metrics, *study.nuisance_names()])

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        return blank()


def boxes(
    name: str,
    caption: str,
    metric: str,
    *,
    top: float = 0.1,
    select: str | None = None,
    mark: str | None = None,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    phase: str = "tune",
) -> Figure_:
    """Box plots of a final metric over the best `top` share of each arm's trials.

    Args:
        top: The share of an arm's trials that is kept, at least one trial.
        select: The metric that says which trials are best; by default the first of the study's
            `select` that the trials report.
        mark: An arm to highlight: its median is drawn across all others.
        factor: The factor of `vary` whose levels are the panels.
    """
    return Boxes(
        name, caption, metric, factor, as_tuple(levels), pairs(where), as_tuple(arms), phase,
        top=top, select=select, mark=mark,
    )  # fmt: skip


def scatter(
    name: str,
    caption: str,
    x: str,
    y: str,
    *,
    front: bool = False,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    phase: str = "confirm",
) -> Figure_:
    """The final value of metric `y` against that of `x`, a dot a trial, coloured by arm.

    Args:
        x: A metric, or a nuisance.
        front: Draw the Pareto front of all trials: those that no other beats on both metrics.
        factor: The factor of `vary` whose levels are the panels.
        phase: In the confirm phase each arm's centre and 95 % intervals are drawn too.
    """
    return Scatter(
        name, caption, y, factor, as_tuple(levels), pairs(where), as_tuple(arms), phase,
        x=x, front=front,
    )  # fmt: skip
