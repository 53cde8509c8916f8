"""Pictures that trials have kept: a panel an arm, of one seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from harness.figures.base import Measured
from harness.figures.theme import COLOURS, blank, narrow, panels, width
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Callable[[], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Pictures(Measured):
    """The last picture of each arm's first seed that has one (`harness.parts.probes.pictures`), a
    panel an arm, or an arm and level of the factor that `where` leaves open.

    Args:
        metric: What the names of the metrics start with.
        shape: Rows and columns of pixels.
        reach: Half the side of the square that is drawn, where it is one of two inputs.
        points: Gives examples (n, 2) and classes (n,) that are drawn over it.
        columns: Panels side by side.
        colours: Whether zero and one are two colours (of classes), or white and black.
    """

    metric: str = field(default="map", kw_only=False)
    shape: tuple[int, int] = (40, 40)
    reach: float = 1.0
    points: Points | None = None
    columns: int = 3
    colours: bool = True

    crowd: ClassVar = 0

    def family(self, study: Study) -> list[str]:
        """Its metrics, in order."""
        found = [n for n in study.metrics if re.fullmatch(re.escape(self.metric) + r"_\d+", n)]
        return sorted(found, key=lambda name: int(name.rpartition("_")[2]))

    def reads(self, study: Study) -> tuple[str, ...]:
        return tuple(self.family(study))

    def _names_metric(self, study: Study) -> None:
        if not self.family(study):
            raise InvalidStudy(
                f"figure {self.name!r} draws metrics {self.metric}_0, {self.metric}_1, …; allowed: "
                f"a prefix of some of {', '.join(study.metrics)}"
            )

    def _about(self, study: Study) -> str:
        return f"{self.metric.replace('_', ' ')} of the first seed"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.colors import LinearSegmentedColormap

        from harness.parts.probes.pictures import unpacked

        family = self.family(study)
        rows = rows[(rows["phase"] == self.phase) & rows[family[0]].notna()]
        if not len(rows):
            return blank()
        found: list[tuple[str, Sequence[float]]] = []
        wanted = self.arms or self._arms(study, rows)
        for title, some in self._split(study, rows):
            for arm in (arm for arm in wanted if (some["arm"] == arm).any()):
                own = some[some["arm"] == arm].sort_values(["seed", "step"], kind="stable")
                own = own[own["seed"] == own["seed"].iloc[0]]
                words = [study.label(arm), *([title] if title else [])]
                found.append((", ".join(words), own[family].iloc[-1].to_numpy(float)))
        columns = min(2 if narrow() else self.columns, len(found))
        height = (width() - 0.2) / columns
        figure, axes = panels(len(found), columns=columns, height=height, legend=0.0, card=columns)
        ends = [COLOURS[0], "#ffffff", COLOURS[1]] if self.colours else ["#ffffff", "#000000"]
        shades = LinearSegmentedColormap.from_list("picture", ends)
        square = (-self.reach, self.reach, -self.reach, self.reach)
        for ax, (title, numbers) in zip(axes, found, strict=True):
            pixels = unpacked(numbers)[: self.shape[0] * self.shape[1]].reshape(self.shape)
            ax.imshow(pixels, cmap=shades, vmin=0, vmax=1, extent=square, interpolation="bilinear",
                      alpha=0.75 if self.points else 1.0)  # fmt: skip
            if self.points is not None:
                x, y = self.points()
                for label in (0, 1):
                    ax.plot(*x[y == label].T, ".", ms=2.5, mew=0, color=COLOURS[label])
            ax.set(title=title, xticks=[], yticks=[], aspect="equal")
            ax.grid(False)
        return figure
