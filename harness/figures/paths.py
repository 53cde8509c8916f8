"""Paths over the contours of a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from harness.figures.axes import legend
from harness.figures.base import Measured, fixed
from harness.figures.theme import INK, PAPER, blank, dashes, palette, panels
from harness.ledger.results import at
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Trajectories(Measured):
    """Paths, from metrics x and y, of the lowest confirm seed over contours of the surfaces that
    they descend, a panel a surface.

    Args:
        steps: How many updates are drawn, and shown first where the paths are played; by default
            all.
    """

    metric: str = fixed("x")
    phase: str = fixed("confirm")
    steps: int | None = None

    crowd: ClassVar = 6

    def _about(self, study: Study) -> str:
        return "paths over each surface from the same start"

    def reads(self, study: Study) -> tuple[str, ...]:
        return ("x", "y")

    def validate(self, study: Study) -> None:
        from harness.parts.models.surfaces import SURFACES

        super().validate(study)
        self._allow("metric", ("x", "y"), study.metrics)
        if self.steps is not None and self.steps < 1:
            raise InvalidStudy(
                f"figure {self.name!r}: steps is {self.steps!r}; allowed: at least 1"
            )
        factor = self.facet(study)
        levels = self.levels or (study.vary[factor] if factor else ())
        if not any(level in SURFACES for level in levels):
            raise InvalidStudy(
                f"figure {self.name!r} goes over {factor} {', '.join(map(str, levels))}; "
                f"allowed: at least one of {', '.join(SURFACES)}"
            )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from harness.parts.models.surfaces import SURFACES

        factor = self.facet(study)
        rows = rows[(rows["phase"] == "confirm") & rows["x"].notna() & rows["y"].notna()]
        places = [
            (level, rows[at(rows[factor], level)])
            for level in self.levels or (study.vary[factor] if factor else ())
            if level in SURFACES
        ]
        places = [(level, some) for level, some in places if len(some)]
        if not places:
            return blank()
        if self.steps is not None:
            places = [(level, some[some["step"] <= self.steps]) for level, some in places]
        colours, dash = palette(study), dashes(study)
        figure, axes = panels(len(places), height=2.2)
        for ax, (level, some) in zip(axes, places, strict=True):
            surface = SURFACES[level]
            _contours(ax, surface)
            first = some[some["seed"] == some["seed"].min()].sort_values("step", kind="stable")
            there: dict[str, int] = {}
            for arm in self._arms(study, first):
                along = first[first["arm"] == arm].set_index("step")[["x", "y"]]
                came = arrival(along, surface)
                there |= {} if came is None else {arm: came}
                path = along.to_numpy()
                # far outside the window the renderer's clipping loses precision
                path = path[(np.abs(path) < 1e4).all(axis=1)]
                ax.plot(*path.T, color=colours[arm], lw=1.1, dashes=dash[arm] or (None, None))
                if len(path):
                    ax.plot(*path[-1], "o", ms=3.4, color=colours[arm], mec=PAPER, mew=0.5)
            ax.plot(*surface.start, "o", ms=6, mfc="none", mec=INK, mew=1.0, zorder=5)
            for point in surface.minima:
                ax.plot(*point, "*", ms=8, mfc=PAPER, mec=INK, mew=0.7, zorder=5)
            ax.set(xlim=surface.bounds[:2], ylim=surface.bounds[2:], title=str(level))
            if there:
                arm = min(there, key=lambda name: there[name])
                ax.set_xlabel(f"first: {study.label(arm)}, step {there[arm]}")
            ax.grid(visible=False)
        from matplotlib.lines import Line2D

        marks = [
            Line2D([], [], ls="", marker="o", ms=6, mfc="none", mec=INK, label="start"),
            Line2D([], [], ls="", marker="*", ms=8, mfc=PAPER, mec=INK, mew=0.7, label="minimum"),
            Line2D([], [], ls="", marker="o", ms=3.4, color=INK, label="end"),
        ]
        legend(figure, study, self._arms(study, rows), marks)
        return figure


def arrival(along: pd.DataFrame, surface: Any) -> int | None:
    """The first recorded step from which the height stays at the target, or None.

    Args:
        along: x and y by step.
    """
    above = ~(
        heights(surface, along["x"].to_numpy(), along["y"].to_numpy())
        <= surface.floor + surface.target
    )
    last = int(above.nonzero()[0].max()) + 1 if above.any() else 0
    return int(along.index[last]) if last < len(along) else None


def heights(surface: Any, x: Any, y: Any) -> Any:
    """The surface's height at each (x, y): arrays of one shape."""
    import torch

    with np.errstate(all="ignore"):
        z = surface.fn(torch.from_numpy(x.astype(float)), torch.from_numpy(y.astype(float)))
    return z.numpy()


def _contours(ax: Axes, surface: Any) -> None:
    """Shade and line a surface's levels: logarithmic above its floor, linear for a saddle."""
    x0, x1, y0, y1 = surface.bounds
    x, y = np.linspace(x0, x1, 81), np.linspace(y0, y1, 81)
    z = heights(surface, *np.meshgrid(x, y))
    if surface.minima:
        z = np.log10(z - surface.floor + 1e-3)
    low, high = np.quantile(z, (0.004, 0.985))
    levels = np.linspace(low, high, 10)
    rgb = tuple(int(INK[i : i + 2], 16) / 255 for i in (1, 3, 5))
    shades = [(*rgb, 0.26 * (1 - i / len(levels)) ** 1.3) for i in range(len(levels) + 1)]
    ax.contourf(x, y, z, levels, colors=shades, extend="both")
