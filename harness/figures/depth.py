"""A family of metrics, one a layer, against the layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.figures.base import At, Figure_, as_tuple, pairs
from harness.figures.theme import blank
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bound = Callable[[int, int], float]


@dataclass(frozen=True)
class Layers(Figure_):
    """Metrics of one prefix and an integer, the layer, against that integer; a line an arm."""

    at: At = "start"
    bounds: tuple[tuple[str, Bound], ...] = ()
    relative: bool = False

    def family(self, study: Study) -> dict[int, str]:
        """The metric of each layer, by layer."""
        found = {
            int(match[1]): name
            for name in study.metrics
            if (match := re.fullmatch(re.escape(self.metric) + r"(\d+)", name))
        }
        return dict(sorted(found.items()))

    def reads(self, study: Study) -> tuple[str, ...]:
        return tuple(self.family(study).values())

    def _names_metric(self, study: Study) -> None:
        if not self.family(study):
            raise InvalidStudy(
                f"figure {self.name!r} draws metrics {self.metric}0, {self.metric}1, …; allowed: "
                f"a prefix of some of {', '.join(study.metrics)}"
            )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        return blank()


def layers(
    name: str,
    caption: str,
    metric: str = "delta_norm_",
    *,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    at: At = "start",
    bounds: Mapping[str, Bound] | None = None,
    relative: bool = False,
    phase: str = "confirm",
) -> Figure_:
    """Every metric called `metric` and an integer, against that integer, a line an arm.

    The axis of values is logarithmic; dots are geometric means over seeds with their 95 %
    intervals. A metric that a cell does not report (it has fewer layers) shortens its lines.

    Args:
        metric: What the names of the metrics start with.
        factor: The factor of `vary` whose levels are the panels, such as the depth.
        at: "start" (each trial's first value), "end" (its last), or a step.
        bounds: Labelled lines: functions of the layer and of the number of layers that the panel
            reports, ``{"4⁻ᴸ": lambda layer, layers: 4.0 ** (layer - layers + 1)}``.
        relative: Divide each trial's values by that of its topmost layer.
    """
    return Layers(
        name, caption, metric, factor, as_tuple(levels), pairs(where), as_tuple(arms), phase,
        at=at, bounds=pairs(bounds), relative=relative,
    )  # fmt: skip
