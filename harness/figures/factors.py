"""A metric across the levels of a factor: as lines, and as a table of colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.figures.base import At, Figure_, as_tuple, pairs
from harness.figures.theme import blank
from harness.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reference = float | Callable[[Any], float]


@dataclass(frozen=True)
class Across(Figure_):
    """A metric against the levels of a factor: a dot and a 95 % interval a level, a line an arm."""

    over: str = ""
    at: At = "end"
    log_x: bool | None = None
    reference: tuple[tuple[str, Reference], ...] = ()

    def axis(self) -> str | None:
        return self.over

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        return blank()


@dataclass(frozen=True)
class Heat(Figure_):
    """Arms down, levels of a factor across; in each cell the value and its interval."""

    over: str = ""
    at: At = "end"

    def axis(self) -> str | None:
        return self.over

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        return blank()


def across(
    name: str,
    caption: str,
    metric: str,
    factor: str,
    *,
    levels: Sequence[Any] | None = None,
    panels: str | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    at: At = "end",
    log_x: bool | None = None,
    phase: str = "confirm",
    reference: Mapping[str, Reference] | None = None,
) -> Figure_:
    """A metric against the levels of `factor`, a line an arm, a panel a level of `panels`.

    Args:
        levels: Which levels of `factor`, in order; by default all.
        panels: A further factor; by default the one that `where` leaves open, if any.
        at: "end" (the last value of a trial), "start" (the first), or a step.
        log_x: Whether numeric levels lie on a logarithmic axis; by default where the largest is
            at least eight times the smallest. Words and truth values lie evenly apart.
        reference: Labelled lines: a value, or a function of the level.
    """
    return Across(
        name, caption, metric, panels, as_tuple(levels), pairs(where), as_tuple(arms), phase,
        over=factor, at=at, log_x=log_x, reference=pairs(reference),
    )  # fmt: skip


def heat(
    name: str,
    caption: str,
    metric: str,
    factor: str,
    *,
    levels: Sequence[Any] | None = None,
    panels: str | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    at: At = "end",
    phase: str = "confirm",
) -> Figure_:
    """A metric by arm (down) and level of `factor` (across), printed in coloured cells.

    Args:
        levels: Which levels of `factor`, in order; by default all.
        panels: A further factor; by default the one that `where` leaves open, if any.
        at: "end" (the last value of a trial), "start" (the first), or a step.
    """
    return Heat(
        name, caption, metric, panels, as_tuple(levels), pairs(where), as_tuple(arms), phase,
        over=factor, at=at,
    )  # fmt: skip
