"""A dot and an interval an arm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.figures.axes import edge, scale, within, words
from harness.figures.base import Measured
from harness.figures.theme import PAPER, blank, palette, panels
from harness.figures.values import final
from harness.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Intervals(Measured):
    """The final metric of each arm with its 95 % interval and each seed, the best arm first; a panel
    a level of `factor`."""

    def _about(self, study: Study) -> str:
        return f"{super()._about(study)}, mean or median and 95 % interval"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        found = self._panels(study, rows[rows["phase"] == self.phase])
        if not found:
            return blank()
        metric, colours = study.metrics[self.metric], palette(study)
        most = max(some["arm"].nunique() for _, some in found)
        columns = min(len(found), 3)
        height = 0.62 + (0.15 if columns > 1 else 0.19) * most
        figure, axes = panels(len(found), columns=columns, height=height, legend=0.0)
        for ax, (title, some) in zip(axes, found, strict=True):
            values = final(study, some, self.metric)
            values = values[values["value"].notna()]
            centres = {
                str(arm): stats.interval_for_display(group["value"].to_numpy())
                for arm, group in values.groupby("arm", sort=False, observed=True)
            }
            sign = -1 if metric.better == "high" else 1
            declared = {arm: i for i, arm in enumerate(study.arms)}
            order = sorted(centres, key=lambda arm: (sign * centres[arm][0], declared[arm]))
            # a diverged seed counts with its worst score, and is drawn at the worse edge
            gone = (values["status"] == "diverged").to_numpy()
            if not gone.all():
                values.loc[gone, "value"] = sign * math.inf
            shown = [c for arm, c in centres.items() if np.isfinite(c).all() and arm not in
                     set(values["arm"][gone])]  # fmt: skip
            seen = pd.concat(
                [
                    values["value"],
                    within(metric, pd.Series([x for c in shown for x in c], dtype=float)),
                ]
            )
            edges = scale(ax, "x", metric, seen, values["value"])
            for place, arm in enumerate(order):
                seeds = values.loc[values["arm"] == arm, "value"].clip(*edges)
                centre, low, high = np.clip(centres[arm], *edges)
                ax.plot(seeds, np.full(len(seeds), place), "o", ms=2.6, mew=0, alpha=0.28,
                        color=colours[arm], clip_on=False)  # fmt: skip
                ax.plot([low, high], [place, place], color=colours[arm], lw=1.6,
                        solid_capstyle="butt")  # fmt: skip
                ax.plot(centre, place, "o", ms=4.6, color=colours[arm], mec=PAPER, mew=0.7,
                        clip_on=False)  # fmt: skip
            for end, infinite in zip(edges, (-math.inf, math.inf), strict=True):
                at = values[values["value"] == infinite]
                if len(at):
                    # its top is the best arm's row, where no dot of this edge is
                    never = (at["status"] == "finished").any()
                    edge(ax, "x", end, "never" if never else "diverged")
            ax.set_yticks(range(len(order)), [study.label(arm) for arm in order])
            ax.set(ylim=(len(order) - 0.4, -0.6), title=title, xlabel=words(self.metric, metric))
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.grid(axis="y", visible=False)
        return figure
