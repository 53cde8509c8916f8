"""Trials one by one: the best share of each arm as boxes, and one metric against another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.figures.axes import mark_edges, outer, scale, words
from harness.figures.base import Measured, fixed
from harness.figures.theme import INK, PAPER, alone, blank, palette, panels
from harness.figures.values import final
from harness.study import InvalidStudy, Metric, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Boxes(Measured):
    """Box plots of a final metric over the best `top` share of each arm's trials (Greff et al. 2017,
    figure 3).

    Args:
        top: The share of an arm's trials that is kept, at least one trial.
        select: The metric that says which trials are best; by default the first of the study's
            `select` that the trials report.
        mark: An arm to highlight: its median is drawn across all others.
        judged: Arms that are compared with it as Greff et al. do (Welch's t at 5 %, Bonferroni over
            those judged); what differs is said.
    """

    phase: str = "tune"
    top: float = 0.1
    select: str | None = None
    mark: str | None = None
    judged: Sequence[str] = ()

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("select", [self.select] if self.select else [], study.metrics)
        self._allow("mark", [self.mark] if self.mark else [], self.arms or study.arms)
        self._allow("judged arm", self.judged, self.arms or study.arms if self.mark else ())
        if not 0 < self.top <= 1:
            raise InvalidStudy(
                f"figure {self.name!r} has top={self.top!r}; allowed: over 0, up to 1"
            )

        chosen = [self.select] if self.select else study.select or (self.metric,)
        for name in chosen:
            if study.metrics[name].better is None:
                raise InvalidStudy(
                    f"figure {self.name!r} takes the best by {name!r}, whose Metric.better is None; "
                    "allowed: 'high', 'low'"
                )

    def reads(self, study: Study) -> tuple[str, ...]:
        return (self.metric, *([self.select] if self.select else study.select))

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        metric, colours = study.metrics[self.metric], palette(study)
        rows = rows[rows["phase"] == self.phase]
        worse = -math.inf if metric.better == "high" else math.inf
        found = [(t, best(study, some, self)) for t, some in self._split(study, rows)]
        found = [(t, some) for t, some in found if np.isfinite(some["value"]).any()]
        if not found:
            return blank()
        arms = self._arms(study, pd.concat([some for _, some in found]))
        columns = min(len(found), 3)
        height = 0.72 + (0.2 if columns > 1 else 0.23) * len(arms)
        figure, axes = panels(len(found), columns=columns, height=height, legend=0.0)
        for ax, (title, trials) in zip(axes, found, strict=True):
            values = trials["value"].where(trials["status"] != "diverged", worse)
            some = trials.assign(value=values)
            ends = scale(ax, "x", metric, values, values)
            for row, arm in enumerate(arms):
                one = some.loc[some["arm"] == arm, "value"].clip(*ends).to_numpy()
                if len(one) and np.isin(one, ends).all():  # none of them has a number
                    ax.plot(one[:1], [row], "x", ms=3.6, color=colours[arm], clip_on=False)
                elif len(one):
                    marked = arm == self.mark
                    _box(ax, row, one, colours[arm], 0.5 if marked else 0.22)
                    if marked:
                        ax.axvline(np.median(one), color=colours[arm], lw=1.0, ls=(0, (3, 2)),
                                   zorder=0.5)  # fmt: skip
            ax.set_yticks(range(len(arms)), [study.label(arm) for arm in arms])
            for arm, tick in zip(arms, ax.get_yticklabels(), strict=True):
                tick.set_fontweight("bold" if arm == self.mark else "normal")
            ax.set(ylim=(len(arms) - 0.4, -0.6), title=title, xlabel=words(self.metric, metric))
            kept = sorted({(int(k), int(n)) for k, n in some[["kept", "of"]].to_numpy()})
            note = (
                f"best {kept[0][0]} of {kept[0][1]}" if len(kept) == 1 else f"best {self.top:.0%}"
            )
            if self.judged:
                assert self.mark is not None
                for arm, said in self._differs(some, metric).items():
                    ax.text(1, arms.index(arm) - 0.34, said, transform=ax.get_yaxis_transform(),
                            ha="right", va="center", fontsize=6, style="italic")  # fmt: skip
                note = (
                    f"{note}; better, worse than {study.label(self.mark)}: Welch's t, Bonferroni "
                    f"over {len(self.judged)}"
                )
            ax.set_title(note, loc="right", fontsize=6.5, style="italic", weight="normal")
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.grid(axis="y", visible=False)
            mark_edges(ax, ends, some.assign(diverged=some["status"] == "diverged"), "x")
        columns = axes[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        for i, ax in enumerate(axes):
            if i % columns:
                ax.tick_params(labelleft=False)
        return figure

    def _differs(self, some: pd.DataFrame, metric: Metric) -> dict[str, str]:
        """Which judged arms differ from the marked one, two-sided at 5 % over all that are judged,
        and how: what the paper calls significant, with no margin."""
        columns = {arm: some.loc[some["arm"] == arm, "value"].to_numpy() for arm in
                   (str(self.mark), *self.judged)}  # fmt: skip
        marked, found = columns.pop(str(self.mark)), {}
        for arm, column in columns.items():
            if min(len(column), len(marked)) < 2 or not np.isfinite([*column, *marked]).all():
                continue
            test = stats.welch(column, marked)
            high = test.effect > 0
            p = 2 * (test.p_above(0.0) if high else test.p_below(0.0))
            if p < 0.05 / len(self.judged):
                found[arm] = "better" if high == (metric.better == "high") else "worse"
        return found


def best(study: Study, rows: pd.DataFrame, spec: Boxes) -> pd.DataFrame:
    """The best `top` share of each arm's trials, failed ones apart: `final`, and kept and of."""
    values = final(study, rows, spec.metric)
    ranks = [spec.select] if spec.select else list(study.select) or [spec.metric]
    name = next((n for n in ranks if rows[n].notna().any()), ranks[0])
    score = final(study, rows, name).set_index("trial")["value"]
    sign = 1 if study.metrics[name].better == "low" else -1
    values = values.assign(score=sign * values["trial"].map(score)).sort_values(
        ["score", "trial"], kind="stable"
    )
    parts = []
    for arm in spec._arms(study, values):
        some = values[values["arm"] == arm]
        kept = max(1, math.ceil(round(spec.top * len(some), 9)))
        parts.append(some.head(kept).assign(kept=kept, of=len(some)))
    return pd.concat(parts) if parts else values


def _box(ax: Axes, row: int, values: Any, colour: str, alpha: float) -> None:
    """Quartiles as a box, the median as a line, the whole range as whiskers, each trial a dot."""
    low, left, middle, right, high = np.quantile(values, (0, 0.25, 0.5, 0.75, 1))
    ax.plot([low, left], [row, row], color=colour, lw=0.9)
    ax.plot([right, high], [row, row], color=colour, lw=0.9)
    ax.barh(row, right - left, left=left, height=0.56, color=colour, alpha=alpha, lw=0)
    ax.barh(row, right - left, left=left, height=0.56, fill=False, ec=colour, lw=0.9)
    ax.plot([middle, middle], [row - 0.28, row + 0.28], color=colour, lw=2.0, solid_capstyle="butt")
    if len(values) <= 60:
        ax.plot(values, np.full(len(values), row), "o", ms=2.2, mew=0, alpha=0.5, color=colour,
                clip_on=False)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scatter(Measured):
    """The final value of metric `y` against that of `x`, a dot a trial, coloured by arm.

    In the confirm phase each arm's centre and 95 % intervals are drawn too.

    Args:
        x: A metric, a nuisance, or "seconds": the time that a trial took, its share of its pack's.
        front: Draw the Pareto front of all trials: those that no other beats on both metrics.
    """

    metric: str = fixed("")
    x: str = field(default="", kw_only=False)
    y: str = field(default="", kw_only=False)
    front: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "metric", self.y)

    def _about(self, study: Study) -> str:
        return f"{super()._about(study)} against {words(self.x, _axis(study, self.x))}"

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("x", [self.x], [*study.metrics, *study.nuisance_names(), "seconds"])

        for name in (self.x, self.metric) if self.front else ():
            if name not in study.metrics or study.metrics[name].better is None:
                raise InvalidStudy(
                    f"figure {self.name!r} draws the front over {name!r}, which has no better side; "
                    "allowed: metrics with better='high' or 'low'"
                )

    def reads(self, study: Study) -> tuple[str, ...]:
        return tuple(name for name in (self.x, self.metric) if name in study.metrics)

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.lines import Line2D

        colours = palette(study)
        horizontal, vertical = _axis(study, self.x), study.metrics[self.metric]
        rows = rows[rows["phase"] == self.phase]
        if self.x == "seconds" and "seconds" not in rows:
            return blank("no times")
        found = [(title, self._points(study, some)) for title, some in self._split(study, rows)]
        found = [
            (title, some)
            for title, some in found
            if np.isfinite(some[["x", "y"]].to_numpy()).all(axis=1).any()
        ]
        if not found:
            return blank()
        every = pd.concat([some for _, some in found])
        figure, axes = panels(len(found), height=2.1 if len(found) > 1 else alone() + 0.2)
        for ax, (title, some) in zip(axes, found, strict=True):
            ends = {}
            for axis, metric in (("x", horizontal), ("y", vertical)):
                most = 5 if axis == "x" else 9
                ends[axis] = scale(ax, axis, metric, every[axis], every[axis], most)
            drawn = some.assign(x=some["x"].clip(*ends["x"]), y=some["y"].clip(*ends["y"]))
            confirm = self.phase == "confirm"
            for arm in self._arms(study, drawn):
                one, raw = drawn[drawn["arm"] == arm], some[some["arm"] == arm]
                off = ~np.isfinite(raw[["x", "y"]].to_numpy()).all(axis=1)
                ax.plot(one["x"][~off], one["y"][~off], "o", ms=3.0, mew=0, color=colours[arm],
                        alpha=0.35 if confirm else 0.7)  # fmt: skip
                if off.any():  # an unclipped line without points would unsettle the layout
                    ax.plot(one["x"][off], one["y"][off], "x", ms=3.6, mew=0.9,
                            color=colours[arm], clip_on=False)  # fmt: skip
                if confirm and len(one) > 1:
                    x, left, right = np.clip(
                        stats.interval_for_display(raw["x"].to_numpy()), *ends["x"]
                    )
                    y, low, high = np.clip(
                        stats.interval_for_display(raw["y"].to_numpy()), *ends["y"]
                    )
                    ax.plot([left, right], [y, y], color=colours[arm], lw=1.2)
                    ax.plot([x, x], [low, high], color=colours[arm], lw=1.2)
                    ax.plot(x, y, "o", ms=5, color=colours[arm], mec=PAPER, mew=0.7, zorder=3)
            if self.front:
                edge_x, edge_y = pareto(some, horizontal.better, vertical.better)
                ax.plot(edge_x, edge_y, color=INK, lw=0.8, alpha=0.6, drawstyle="steps-post",
                        zorder=1)  # fmt: skip
            for axis in ("x", "y"):
                mark_edges(ax, ends[axis], some.assign(value=some[axis]), axis)
            ax.set(
                title=title, xlabel=words(self.x, horizontal), ylabel=words(self.metric, vertical)
            )
        outer(axes, share_y=True)
        marks: list[Any] = []
        if self.front:
            marks.append(Line2D([], [], color=INK, lw=0.8, alpha=0.6, label="Pareto front"))
        arms = self._arms(study, every)
        handles = [
            Line2D([], [], ls="", marker="o", ms=5, color=colours[a], label=study.label(a))
            for a in arms
        ]
        figure.legend(handles=[*handles, *marks], loc="outside lower center", ncols=5)
        return figure

    def _points(self, study: Study, rows: pd.DataFrame) -> pd.DataFrame:
        """Columns arm, trial, diverged, x, y: one row a trial that has both."""
        points = final(study, rows, self.metric)
        points = points.assign(y=points["value"].astype(float))
        if self.x in study.metrics:
            other = final(study, rows, self.x).set_index("trial")["value"]
            points["x"] = points["trial"].map(other).astype(float)
        else:
            points["x"] = points[self.x].astype(float)
        points["diverged"] = points["status"] == "diverged"
        return points.loc[
            points[["x", "y"]].notna().all(axis=1), ["arm", "trial", "diverged", "x", "y"]
        ]


def pareto(points: pd.DataFrame, x: str | None, y: str | None) -> tuple[Any, Any]:
    """The finite points that no other beats on both sides, from the best x on: arrays x and y.

    Args:
        x, y: Which side is better, "high" or "low".
    """
    values = points[["x", "y"]].to_numpy(dtype=float)
    values = values[np.isfinite(values).all(axis=1)]
    signs = np.array([1.0 if side == "low" else -1.0 for side in (x, y)])
    costs = values * signs  # (trials, 2), less is better
    costs = costs[np.lexsort((costs[:, 1], costs[:, 0]))]
    before = np.minimum.accumulate(np.concatenate([[math.inf], costs[:-1, 1]]))
    front = costs[costs[:, 1] < before] * signs
    return front[:, 0], front[:, 1]


def _axis(study: Study, name: str) -> Metric:
    """The metric, or a nuisance as one: logarithmic where it is drawn so."""
    if name in study.metrics:
        return study.metrics[name]
    if name == "seconds":
        return Metric("seconds", better="low", log=True, label="time of a trial")
    spaces = [study.nuisance, *(arm.nuisance for arm in study.arms.values())]
    drawn = next(space[name] for space in spaces if name in space)
    return Metric("", log=bool(getattr(drawn, "log", False)))
