"""A metric against a nuisance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from harness.figures.axes import floor_of, outer, scale, words
from harness.figures.base import Measured, fixed
from harness.figures.theme import INK, blank, palette, panels
from harness.figures.values import final
from harness.study import Metric, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Measured):
    """The final metric of tune trials against a nuisance in the cell `where`, a panel an arm."""

    nuisance: str = field(default="lr", kw_only=False)
    factor: None = fixed()
    levels: None = fixed()
    phase: str = fixed("tune")

    crowd: ClassVar = 0

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("nuisance", [self.nuisance], study.nuisance_names())

    def facet(self, study: Study) -> str | None:
        return None

    def _about(self, study: Study) -> str:
        name = self.nuisance.replace("_", " ")
        return f"{super()._about(study)} against {name}, every draw of the tune phase"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        metric, name = study.metrics[self.metric], self.nuisance
        values = final(study, rows[rows["phase"] == "tune"], self.metric)
        values = values[values[name].notna()]
        # an arm held at one value has no sensitivity to show
        spread = values.groupby("arm")[name].nunique()
        values = values[values["arm"].isin(spread[spread > 1].index)]
        finite = values.loc[np.isfinite(values["value"].astype(float)), "value"]
        if not len(finite):
            return blank()
        arms = self._arms(study, values)
        log = bool(getattr(_distribution(study, name), "log", False))
        top = metric.better != "high"
        near = float(finite.quantile(0.97 if top else 0.03))
        low, high = (float(finite.min()), near) if top else (near, float(finite.max()))
        low = max(low, floor_of(metric, finite))
        columns = 5 if len(arms) > 8 else 4 if len(arms) > 6 else 3
        figure, axes = panels(len(arms), columns=min(columns, len(arms)), height=1.25)
        hulls = {arm: _hull(values[values["arm"] == arm], name, metric, log) for arm in arms}
        colours = palette(study)
        chosen = rows[rows["phase"] == "confirm"].groupby("arm")[name].first()
        for ax, arm in zip(axes, arms, strict=True):
            for other in arms:
                if other != arm:
                    ax.plot(*hulls[other], color=INK, alpha=0.16, lw=0.7)
            some = values[values["arm"] == arm]
            inside = some["value"].between(low, high)
            ax.plot(some[name][inside], some["value"][inside], "o", ms=2.6, alpha=0.65, mew=0,
                    color=colours[arm])  # fmt: skip
            ax.plot(*hulls[arm], color=colours[arm], lw=1.5)
            if arm in chosen and chosen[arm] == chosen[arm]:
                ax.axvline(chosen[arm], color=INK, lw=0.6, ls=(0, (2, 2)), alpha=0.6)
            scale(ax, "y", metric, pd.Series([low, high]))
            worst = (some["value"] > high) if top else (some["value"] < low)
            if worst.any():  # an unclipped line without points would unsettle the layout
                edge = np.full(int(worst.sum()), ax.get_ylim()[1 if top else 0])
                ax.plot(some[name][worst], edge, "x", ms=3.2, mew=0.8, color=colours[arm],
                        clip_on=False)  # fmt: skip
            scale(ax, "x", Metric("", log=log), values[name], most=4)
            ax.set(title=study.label(arm), xlabel=name.replace("_", " "))
        for ax in axes:
            ax.set_ylabel(words(self.metric, metric))
        outer(axes, share_y=True)
        from matplotlib.lines import Line2D

        marks = [
            Line2D([], [], color=INK, lw=1.5, label="best nearby draw"),
            Line2D([], [], ls="", marker="o", ms=2.6, color=INK, label="a draw"),
            Line2D([], [], ls="", marker="x", ms=3.2, color=INK, label="diverged or off the scale"),
            Line2D([], [], color=INK, lw=0.6, ls=(0, (2, 2)), label="chosen"),
            Line2D([], [], color=INK, lw=0.7, alpha=0.3, label="the other arms"),
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=5)
        return figure


def _hull(some: pd.DataFrame, name: str, metric: Metric, log: bool) -> tuple[Any, Any]:
    """The best draw in each of eight slices of the nuisance: two arrays, x and y."""
    some = some[np.isfinite(some["value"])]
    if metric.log:
        some = some[some["value"] > 0]
    if not len(some):
        return [], []
    x = np.log10(some[name].astype(float)) if log else some[name].astype(float)
    slices = np.minimum(7, (8 * (x - x.min()) / max(x.max() - x.min(), 1e-12)).astype(int))
    best = some.groupby(slices)["value"]
    index = (best.idxmax() if metric.better == "high" else best.idxmin()).to_numpy()
    kept = some.loc[index].sort_values(name)
    return kept[name].to_numpy(), kept["value"].to_numpy()


def _distribution(study: Study, name: str) -> Any:
    spaces = [study.nuisance, *(arm.nuisance for arm in study.arms.values())]
    return next(space[name] for space in spaces if name in space)
