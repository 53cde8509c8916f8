"""A family of metrics, one a layer, against the layer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.figures.axes import Label, edge, end_labels, legend, numbers, outer, scale, words
from harness.figures.base import Measured
from harness.figures.theme import INK, At, alone, blank, dashes, palette, panels
from harness.study import InvalidStudy, Metric, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Bound = Callable[[int, int], float]


@dataclass(frozen=True, kw_only=True)
class Layers(Measured):
    """Every metric called `metric` and an integer, the layer, against that integer, a line an arm.

    The axis of values is logarithmic; dots are geometric means over seeds with their 95 %
    intervals. A metric that a cell does not report (it has fewer layers) shortens its lines.

    Args:
        metric: What the names of the metrics start with.
        at: "start" (each trial's first value), "end" (its last), or a step.
        bounds: Labelled lines: functions of the layer and of the number of layers that the panel
            reports, ``{"4⁻ᴸ": lambda layer, layers: 4.0 ** (layer - layers + 1)}``.
        relative: Divide each trial's values by that of its topmost layer.
    """

    metric: str = field(default="delta_norm_", kw_only=False)
    at: At = "start"
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    relative: bool = False

    crowd: ClassVar = 6

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

    def _about(self, study: Study) -> str:
        name = self.metric.strip("_").replace("_", " ")
        label = study.metrics[next(iter(self.family(study).values()))].label or name
        return f"{label} by layer, geometric mean and 95 % interval over seeds"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.lines import Line2D

        family, colours, dash = self.family(study), palette(study), dashes(study)
        metric = study.metrics[next(iter(family.values()))]
        metric = Metric(
            metric.unit, log=True, label=metric.label or self.metric.strip("_").replace("_", " ")
        )
        rows = rows[(rows["phase"] == self.phase) & (rows["status"] != "failed")]
        found = [
            (title, self._table(some, family), _gone(some, self.at))
            for title, some in self._split(study, rows)
        ]
        found = [one for one in found if np.isfinite(one[1]["centre"]).any()]
        if not found:
            return blank()
        every = pd.concat([table for _, table, _ in found])
        depth = {title: int(table["layer"].max()) + 1 for title, table, _ in found}
        lines = {
            title: [
                (label, [float(bound(layer, layers)) for layer in range(layers)])
                for label, bound in self.bounds.items()
            ]
            for title, layers in depth.items()
        }
        seen = pd.concat([every[c] for c in ("centre", "low", "high")])
        seen = seen[np.isfinite(seen) & (seen > 0)]
        bounds = pd.Series(
            [y for some in lines.values() for _, ys in some for y in ys], dtype=float
        )
        # a bound far below all that was measured may run out of the window, not stretch it
        span = max(math.log10(seen.max() / seen.min()), 2.0)
        bounds = bounds[
            bounds.between(seen.min() / 10 ** (0.5 * span), seen.max() * 10 ** (0.5 * span))
        ]
        seen = pd.concat([seen, bounds])
        infinite = every["centre"].replace(0.0, -math.inf)
        arms = self._arms(study, every)
        height = 1.9 if len(found) > 1 else alone()
        figure, axes = panels(len(found), height=height)
        columns = axes[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        far = max(depth.values()) - 1
        for ax, (title, table, gone) in zip(axes, found, strict=True):
            ends = scale(ax, "y", metric, seen, infinite)
            labels: list[Label] = []
            for arm in arms:
                one = table[table["arm"] == arm]
                if not len(one):
                    continue
                x = one["layer"].to_numpy(dtype=float)
                y, low, high = (one[c].clip(*ends) for c in ("centre", "low", "high"))
                ax.fill_between(x, low, high, color=colours[arm], alpha=0.13, lw=0)
                ax.plot(x, y, color=colours[arm], lw=1.2, dashes=dash[arm] or (None, None),
                        marker="o", ms=2.6, mew=0)  # fmt: skip
                if len(one) == 1:
                    ax.vlines(x, low, high, color=colours[arm], lw=1.0)
                labels.append((study.label(arm), colours[arm], float(x[-1]), float(y.iloc[-1])))
            for label, heights in lines[title]:
                ax.plot(range(len(heights)), heights, color=INK, lw=0.9, ls=(0, (3, 2)), alpha=0.8)
                labels.append((label, INK, len(heights) - 1.0, heights[-1]))
            ax.set_xlim(-0.04 * max(far, 1), 1.04 * max(far, 1))
            numbers(ax, "x", Metric("steps"))
            if (infinite == -math.inf).any():
                edge(ax, "y", ends[0], "0")
            if (infinite == math.inf).any():
                edge(ax, "y", ends[1], "∞")
            label = words(self.metric, metric)
            ax.set(
                title=title, xlabel="layer", ylabel=f"{label}, top = 1" if self.relative else label
            )
            if gone:
                ax.set_title(gone, loc="right", fontsize=6.5, style="italic", weight="normal")
        outer(axes, share_y=True)
        complete = len(labels) == len(arms) + len(self.bounds) and len(found) <= columns
        if (
            not complete
            or depth[found[-1][0]] - 1 < far
            or not end_labels(axes[-1], labels, height - 0.6)
        ):
            dashed = [
                Line2D([], [], color=INK, lw=0.9, ls=(0, (3, 2)), label=label)
                for label in self.bounds
            ]
            legend(figure, study, arms, dashed)
        return figure

    def _table(self, rows: pd.DataFrame, family: dict[int, str]) -> pd.DataFrame:
        """Geometric mean over trials and its 95 % interval, by arm and layer."""
        if isinstance(self.at, int):
            rows = rows[rows["step"] == self.at]
        if self.at == "end":
            rows = rows[rows["status"] == "finished"]
        by = rows.sort_values("step", kind="stable").groupby(["arm", "trial"], sort=False)
        names = list(family.values())
        wide = (by[names].first() if self.at == "start" else by[names].last()).astype(float)
        if self.relative:
            top = wide.apply(
                lambda row: row[row.last_valid_index()] if row.notna().any() else np.nan, axis=1
            )
            wide = wide.div(top, axis=0)
        found = []
        for arm, some in wide.groupby(level="arm", sort=False):
            for layer, name in family.items():
                values = some[name].dropna().to_numpy()
                if len(values):
                    with np.errstate(divide="ignore"):
                        logs = np.log10(np.abs(values))
                    centre, low, high = stats.interval_for_display(logs)
                    found.append((arm, layer, 10.0**centre, 10.0**low, 10.0**high))
        table = pd.DataFrame(found, columns=["arm", "layer", "centre", "low", "high"])
        return table.astype({"centre": float, "low": float, "high": float})


def _gone(rows: pd.DataFrame, at: At) -> str:
    """How many trials are left out because they diverged, in words; nothing where none are."""
    trials = rows.drop_duplicates("trial")
    gone = int((trials["status"] == "diverged").sum())
    return f"{gone} of {len(trials)} diverged" if gone and at != "start" else ""
