"""A metric against the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from harness.figures.axes import end_labels, floor_of, legend, numbers, outer, scale, words
from harness.figures.base import Measured
from harness.figures.theme import alone, blank, dashes, palette, panels
from harness.figures.values import band_of
from harness.study import Metric, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Curves(Measured):
    """A metric against the step: mean and 95 % band over seeds, a line an arm, a panel a level of
    `factor`. `step` is the word on the axis."""

    step: str = "step"

    crowd: ClassVar = 6

    def _about(self, study: Study) -> str:
        return f"{super()._about(study)} against {self.step}s, mean and 95 % band over seeds"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        import seaborn as sns

        found = self._panels(study, rows[rows["phase"] == self.phase])
        if not found:
            return blank()
        metric, colours = study.metrics[self.metric], palette(study)
        figure, axes = panels(len(found), height=1.9 if len(found) > 1 else alone())
        arms = self._arms(study, pd.concat([some for _, some in found]))
        direct = len(found) == 1
        for ax, (title, some) in zip(axes, found, strict=True):
            bands = {arm: band_of(some[some["arm"] == arm], metric, self.metric) for arm in arms}
            lines = pd.concat([b.assign(arm=arm) for arm, b in bands.items()])
            lines = lines[np.isfinite(lines["centre"])]
            floor = floor_of(metric, lines["centre"])
            for arm, band in bands.items():
                sure = band[np.isfinite(band["low"]) & np.isfinite(band["high"])]
                low, high = sure["low"].clip(lower=floor), sure["high"].clip(lower=floor)
                ax.fill_between(sure["step"], low, high, color=colours[arm], alpha=0.13, lw=0)
            lines = lines.assign(centre=lines["centre"].clip(lower=floor))
            sns.lineplot(
                lines, x="step", y="centre", hue="arm", style="arm", hue_order=arms,
                style_order=arms, palette=colours, ax=ax, lw=1.2, legend=False, errorbar=None,
                dashes={arm: dash or "" for arm, dash in dashes(study).items()}, estimator=None,
            )  # fmt: skip
            for arm, band in bands.items():
                gone = band[np.isinf(band["centre"])]
                seen = lines[lines["arm"] == arm]
                if len(gone) and len(seen):  # most of its seeds have diverged from here on
                    ax.plot(*seen[["step", "centre"]].iloc[-1], "x", ms=5, color=colours[arm])
            scale(ax, "y", metric, lines["centre"])
            numbers(ax, "x", Metric("steps"))
            ax.set(title=title, xlabel=self.step, ylabel=words(self.metric, metric))
            if direct:
                ends = lines.groupby("arm", sort=False)[["step", "centre"]].last()
                named = [
                    (study.label(str(arm)), colours[str(arm)], float(x), float(y))
                    for arm, x, y in ends.itertuples()
                ]
                ax.set_xlim(right=float(lines["step"].max()))
                direct = end_labels(ax, named, height=alone() - 0.5)
        outer(axes)
        if not direct:
            legend(figure, study, arms)
        return figure
