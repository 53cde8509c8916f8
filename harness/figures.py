"""Figures of a study: frozen specs that draw a frame. Layer 4, the only importer of seaborn.

A study lists specs (`trajectories`, `curves`, `sensitivity`, `intervals`, `custom`); the report
calls ``spec.draw(study, frame)`` and `svg`. Drawing is a pure function of the study and the frame:
the same rows give the same bytes. Every spec draws an empty frame too, and shows what is not a
number (diverged, never reached) at a labelled edge instead of leaving it out.

matplotlib and seaborn are imported where they are used, so that study files stay light.
"""

from __future__ import annotations

import functools
import html
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from harness import stats
from harness.study import PHASES, InvalidStudy, Metric, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Figure_", "curves", "custom", "dashes", "font_folder", "intervals", "palette", "panels",
    "sensitivity", "standalone", "svg", "trajectories",
]  # fmt: skip

WIDTH = 7.2  # inches: the text width of an A4 page
INK, PAPER = "#12131a", "#fdfefd"  # stand-ins, replaced in `svg` by the page's own colours
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

# Found by farthest-point search in OKLab under normal, deuteranopic and protanopic vision, among
# colours with a contrast of at least 2.9 to white and to near-black. Neighbours differ most.
COLOURS = (
    "#116bba", "#ea7714", "#b91f58", "#5ca49a", "#9c87f8", "#bb5111", "#7081b3",
    "#286a73", "#ff617c", "#5c6df1", "#019f65", "#a532a0", "#e25744", "#9b6d8c",
)  # fmt: skip
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.4), (1.2, 1.2), (5, 1.2, 1.2, 1.2))
ARMS_A_DASH = 5
POINTS = 120  # most points a line keeps


def palette(study: Study) -> dict[str, str]:
    """Each arm's colour, the same in every figure of the study."""
    return {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(study.arms)}


def dashes(study: Study) -> dict[str, tuple[float, ...]]:
    """Each arm's dash pattern in line widths (on, off, …), empty for solid: a second channel."""
    return {arm: DASHES[i // ARMS_A_DASH % len(DASHES)] for i, arm in enumerate(study.arms)}


def font_folder() -> Path:
    """Where matplotlib keeps the fonts it brings, for machines that have none."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


# --- specs --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure_:
    """What every figure has.

    Args:
        name: File name and link target.
        caption: A sentence under the figure.
        metric: What is drawn.
        factor: The factor of `vary` whose levels are the panels; by default the one factor that
            `where` leaves open.
        levels: Which levels, in order; by default all.
        where: Levels that the other factors are held at.
        arms: Which arms; by default all.
        phase: Whose trials curves and intervals read: "confirm", or "tune" in a study whose
            claims read the search itself.
    """

    name: str
    caption: str
    metric: str = ""
    factor: str | None = None
    levels: tuple[Any, ...] | None = None
    where: tuple[tuple[str, Any], ...] = ()
    arms: tuple[str, ...] | None = None
    phase: str = "confirm"
    also: ClassVar[tuple[str, ...]] = ()  # further metrics that are drawn

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):  # it names a file
            raise InvalidStudy(
                f"figure name {self.name!r}; allowed: lower-case letters, digits, '-' and '_'"
            )

    def validate(self, study: Study) -> None:
        """Raise `InvalidStudy` for a name the study does not have, or cells that would be mixed."""
        self._allow("phase", [self.phase], PHASES)
        self._allow("metric", [self.metric] if self.metric else [], study.metrics)
        self._allow("arm", self.arms or (), study.arms)
        self._allow("factor", [self.factor] if self.factor else [], study.vary)
        self._allow("factor", [name for name, _ in self.where], study.vary)
        for factor, level in self.where:
            self._allow(f"{factor} in where", [level], study.vary[factor])
        facet = self.facet(study)
        if self.levels is not None:
            self._allow(f"level of {facet}", self.levels, study.vary[facet] if facet else ())
        mixed = [
            name
            for name, levels in study.vary.items()
            if len(levels) > 1 and name != facet and name not in dict(self.where)
        ]
        if mixed:
            raise InvalidStudy(
                f"figure {self.name!r} would mix cells of {', '.join(mixed)}; allowed: panels "
                "over one factor, and where={…} for the others"
            )

    def _allow(self, what: str, received: Any, allowed: Any) -> None:
        for value in received:
            if value not in allowed:
                raise InvalidStudy(
                    f"figure {self.name!r} names {what} {value!r}; allowed: "
                    f"{', '.join(map(str, allowed)) or '(none)'}"
                )

    def facet(self, study: Study) -> str | None:
        """The factor whose levels are the panels."""
        if self.factor is not None:
            return self.factor
        return next((name for name in study.vary if name not in dict(self.where)), None)

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        """The figure of the frame's rows, or a panel saying that there are none yet."""
        with style():
            wanted = {self.metric, *self.also}
            rows = frame[[c for c in study.columns() if c not in study.metrics or c in wanted]]
            for factor, level in self.where:
                rows = rows[rows[factor] == level]
            if self.arms is not None:
                rows = rows[rows["arm"].isin(self.arms)]
            return self._draw(study, rows) if len(rows) else blank()

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        raise NotImplementedError

    def _panels(self, study: Study, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """A title and the rows of each panel that has any value of the metric."""
        rows = rows[rows[self.metric].notna() | (rows["status"] == "diverged")]
        factor = self.facet(study)
        if factor is None:
            return [("", rows)] if rows[self.metric].notna().any() else []
        found = []
        for level in self.levels or study.vary[factor]:
            some = rows[rows[factor] == level]
            if some[self.metric].notna().any():
                title = level if isinstance(level, str) else f"{factor.replace('_', ' ')} {level}"
                found.append((title.replace("_", " ") if isinstance(level, str) else title, some))
        return found

    def _arms(self, study: Study, rows: pd.DataFrame) -> list[str]:
        """The arms that have rows, in declared order."""
        there = set(rows["arm"].unique())
        return [arm for arm in study.arms if arm in there]


@dataclass(frozen=True)
class Trajectories(Figure_):
    """Paths of one seed over contours of the surfaces they descend."""

    also = ("x", "y")

    def validate(self, study: Study) -> None:
        from harness.surfaces import SURFACES

        super().validate(study)
        self._allow("metric", ("x", "y"), study.metrics)
        factor = self.facet(study)
        levels = self.levels or (study.vary[factor] if factor else ())
        if not any(level in SURFACES for level in levels):
            raise InvalidStudy(
                f"figure {self.name!r} goes over {factor} {', '.join(map(str, levels))}; "
                f"allowed: at least one of {', '.join(SURFACES)}"
            )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from harness.surfaces import SURFACES

        factor = self.facet(study)
        rows = rows[(rows["phase"] == "confirm") & rows["x"].notna() & rows["y"].notna()]
        places = [
            (level, rows[rows[factor] == level])
            for level in self.levels or (study.vary[factor] if factor else ())
            if level in SURFACES
        ]
        places = [(level, some) for level, some in places if len(some)]
        if not places:
            return blank()
        colours, dash = palette(study), dashes(study)
        figure, axes = panels(len(places), height=2.2)
        for ax, (level, some) in zip(axes, places, strict=True):
            surface = SURFACES[level]
            _contours(ax, surface)
            first = some[some["seed"] == some["seed"].min()].sort_values("step", kind="stable")
            for arm in self._arms(study, first):
                path = first.loc[first["arm"] == arm, ["x", "y"]].to_numpy()
                # far outside the window the renderer's clipping loses precision
                path = path[(np.abs(path) < 1e4).all(axis=1)]
                ax.plot(*path.T, color=colours[arm], lw=1.1, dashes=dash[arm] or (None, None))
                if len(path):
                    ax.plot(*path[-1], "o", ms=3.4, color=colours[arm], mec=PAPER, mew=0.5)
            ax.plot(*surface.start, "o", ms=6, mfc="none", mec=INK, mew=1.0, zorder=5)
            for point in surface.minima:
                ax.plot(*point, "*", ms=8, mfc=PAPER, mec=INK, mew=0.7, zorder=5)
            ax.set(xlim=surface.bounds[:2], ylim=surface.bounds[2:], title=str(level))
            ax.grid(visible=False)
        from matplotlib.lines import Line2D

        marks = [
            Line2D([], [], ls="", marker="o", ms=6, mfc="none", mec=INK, label="start"),
            Line2D([], [], ls="", marker="*", ms=8, mfc=PAPER, mec=INK, mew=0.7, label="minimum"),
            Line2D([], [], ls="", marker="o", ms=3.4, color=INK, label="end"),
        ]
        _legend(figure, study, self._arms(study, rows), marks)
        return figure


@dataclass(frozen=True)
class Curves(Figure_):
    """A metric against the step: mean and 95 % band over confirm seeds, a line an arm."""

    step: str = "step"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        import seaborn as sns

        found = self._panels(study, rows[rows["phase"] == self.phase])
        if not found:
            return blank()
        metric, colours = study.metrics[self.metric], palette(study)
        figure, axes = panels(len(found), height=1.9 if len(found) > 1 else 3.2)
        arms = self._arms(study, pd.concat([some for _, some in found]))
        direct = len(found) == 1
        for ax, (title, some) in zip(axes, found, strict=True):
            bands = {arm: _band(some[some["arm"] == arm], metric, self.metric) for arm in arms}
            lines = pd.concat([b.assign(arm=arm) for arm, b in bands.items()])
            lines = lines[np.isfinite(lines["centre"])]
            floor = _floor(metric, lines["centre"])
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
            if metric.log and len(lines):
                ax.set_yscale("log")
            _limits(ax, "y", lines["centre"], metric)
            _numbers(ax, "y", metric)
            _numbers(ax, "x", Metric("steps"))
            ax.set(title=title, xlabel=self.step, ylabel=words(self.metric, metric))
            if direct:
                direct = _end_labels(ax, study, lines)
        _outer(axes)
        if not direct:
            _legend(figure, study, arms)
        return figure


@dataclass(frozen=True)
class Sensitivity(Figure_):
    """The final metric of tune trials against the nuisance, a panel an arm."""

    nuisance: str = "lr"

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("nuisance", [self.nuisance], study.nuisance_names())

    def facet(self, study: Study) -> str | None:
        return self.factor

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
        low = max(low, _floor(metric, finite))
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
            if log:
                ax.set_xscale("log")
            if metric.log:
                ax.set_yscale("log")
            _limits(ax, "y", pd.Series([low, high]), metric)
            worst = (some["value"] > high) if top else (some["value"] < low)
            if worst.any():  # an unclipped line without points would unsettle the layout
                edge = np.full(int(worst.sum()), ax.get_ylim()[1 if top else 0])
                ax.plot(some[name][worst], edge, "x", ms=3.2, mew=0.8, color=colours[arm],
                        clip_on=False)  # fmt: skip
            _limits(ax, "x", values[name], Metric("", log=log))
            _numbers(ax, "y", metric)
            _numbers(ax, "x", Metric("", log=log), most=4)
            ax.set(title=study.label(arm), xlabel=name.replace("_", " "))
        for ax in axes:
            ax.set_ylabel(words(self.metric, metric))
        _outer(axes, share_y=True)
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


@dataclass(frozen=True)
class Intervals(Figure_):
    """A dot and its 95 % interval by arm, best first, with each seed behind it."""

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
                [values["value"], pd.Series([x for c in shown for x in c], dtype=float)]
            )
            seen = seen[np.isfinite(seen)]
            if metric.log:
                ax.set_xscale("log")
                seen = seen[seen > 0]
            edges = _limits(ax, "x", seen, metric, values["value"])
            for place, arm in enumerate(order):
                seeds = values.loc[values["arm"] == arm, "value"].clip(*edges)
                centre, low, high = np.clip(centres[arm], *edges)
                ax.plot(seeds, np.full(len(seeds), place), "o", ms=2.6, mew=0, alpha=0.28,
                        color=colours[arm], clip_on=False)  # fmt: skip
                ax.plot([low, high], [place, place], color=colours[arm], lw=1.6,
                        solid_capstyle="butt")  # fmt: skip
                ax.plot(centre, place, "o", ms=4.6, color=colours[arm], mec=PAPER, mew=0.7,
                        clip_on=False)  # fmt: skip
            for edge, infinite in zip(edges, (-math.inf, math.inf), strict=True):
                at = values[values["value"] == infinite]
                if len(at):
                    ax.axvline(edge, color=INK, lw=0.6, ls=(0, (1, 2)), alpha=0.7, zorder=0)
                    word = "never" if (at["status"] == "finished").any() else "diverged"
                    # along the line at the best end, where no dot of this edge is
                    ax.annotate(word, (edge, 1), (-2 if edge == edges[1] else 2, -1),
                                xycoords=ax.get_xaxis_transform(), textcoords="offset points",
                                ha="right" if edge == edges[1] else "left", va="top",
                                rotation=90, fontsize=7, style="italic")  # fmt: skip
            ax.set_yticks(range(len(order)), [study.label(arm) for arm in order])
            ax.set(ylim=(len(order) - 0.4, -0.6), title=title, xlabel=words(self.metric, metric))
            ax.tick_params(axis="y", length=0)
            ax.spines["left"].set_visible(False)
            ax.grid(axis="y", visible=False)
            _numbers(ax, "x", metric)
        return figure


@dataclass(frozen=True)
class Custom(Figure_):
    """A figure drawn by the study's own function."""

    fn: Callable[[Study, pd.DataFrame, dict[str, str]], Figure] | None = None

    def validate(self, study: Study) -> None:
        if not callable(self.fn):
            raise InvalidStudy(f"figure {self.name!r} has fn={self.fn!r}; allowed: a function")

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        assert self.fn is not None
        with style():
            return self.fn(study, frame, palette(study)) if len(frame) else blank()


def _spec(where: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((where or {}).items())


def trajectories(
    name: str,
    caption: str,
    *,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Figure_:
    """Paths from metrics x and y of the lowest confirm seed, a panel a surface."""
    return Trajectories(name, caption, "x", factor, _tuple(levels), _spec(where), _tuple(arms))


def curves(
    name: str,
    caption: str,
    metric: str,
    *,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    phase: str = "confirm",
    step: str = "step",
) -> Figure_:
    """A metric against the step, a panel a level of `factor`; `step` is the word on the axis."""
    return Curves(
        name, caption, metric, factor, _tuple(levels), _spec(where), _tuple(arms), phase, step
    )


def sensitivity(
    name: str,
    caption: str,
    metric: str,
    nuisance: str = "lr",
    *,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Figure_:
    """The metric of tune trials against a nuisance in the cell `where`, a panel an arm."""
    return Sensitivity(
        name, caption, metric, None, None, _spec(where), _tuple(arms), nuisance=nuisance
    )


def intervals(
    name: str,
    caption: str,
    metric: str,
    *,
    factor: str | None = None,
    levels: Sequence[Any] | None = None,
    arms: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    phase: str = "confirm",
) -> Figure_:
    """The final metric of each arm with its interval, a panel a level of `factor`."""
    return Intervals(
        name, caption, metric, factor, _tuple(levels), _spec(where), _tuple(arms), phase
    )


def custom(
    name: str, caption: str, fn: Callable[[Study, pd.DataFrame, dict[str, str]], Figure]
) -> Figure_:
    """A figure drawn by ``fn(study, frame, palette)``, which starts from `panels`."""
    return Custom(name, caption, fn=fn)


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


# --- numbers ------------------------------------------------------------------------------------


def final(study: Study, rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The last value of a metric, one row a trial.

    Returns:
        Columns arm, the factors, the nuisance, seed, trial, status, value. A diverged trial has
        the metric's worst score; failed trials and those that do not report it are absent.
    """
    columns = ["arm", *study.vary, *study.nuisance_names(), "seed", "trial", "status"]
    done = rows[(rows["status"] == "finished") & rows[metric].notna()]
    last = done.sort_values("step", kind="stable").drop_duplicates("trial", keep="last")
    gone = rows[rows["status"] == "diverged"].drop_duplicates("trial")
    gone = gone[columns].assign(value=study.metrics[metric].worst_value)
    ended = last[columns].assign(value=last[metric].astype(float))
    return pd.concat([part for part in (ended, gone) if len(part)] or [ended])


def _band(rows: pd.DataFrame, metric: Metric, name: str) -> pd.DataFrame:
    """Centre and 95 % interval over trials at each step: columns step, centre, low, high.

    A diverged trial scores worst from its last row on, so that a curve never improves because
    the bad seeds have left it.
    """
    table = rows.pivot_table(index="step", columns="trial", values=name, aggfunc="last")
    gone = rows.loc[rows["status"] == "diverged", "trial"].unique()
    for trial in gone:
        alive = table[trial].notna().to_numpy() if trial in table else np.zeros(len(table), bool)
        last = int(alive.nonzero()[0].max()) if alive.any() else -1
        column = table[trial].to_numpy(copy=True) if trial in table else np.full(len(table), np.nan)
        column[last + 1 :] = metric.worst_value
        table[trial] = column
    stride = max(1, math.ceil(len(table) / POINTS))
    table = table.iloc[::stride] if stride == 1 else pd.concat([table.iloc[:-1:stride], table[-1:]])
    values = table.to_numpy(dtype=float)  # (steps, trials)
    centre, low, high = (np.full(len(table), np.nan) for _ in range(3))
    n = (~np.isnan(values)).sum(axis=1)
    plain = ~np.isinf(values).any(axis=1) & (n > 1)
    if plain.any():
        some, count = values[plain], n[plain]
        centre[plain] = np.nanmean(some, axis=1)
        error = np.nanstd(some, axis=1, ddof=1) / np.sqrt(count)
        half = stats.t_quantile(0.975, count - 1) * error
        low[plain], high[plain] = centre[plain] - half, centre[plain] + half
    for i in np.flatnonzero(~plain):
        centre[i], low[i], high[i] = stats.interval_for_display(values[i])
    return pd.DataFrame({"step": table.index, "centre": centre, "low": low, "high": high})


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


def _floor(metric: Metric, values: pd.Series) -> float:
    """What a log axis draws a zero at: the least positive value."""
    if not metric.log:
        return -math.inf
    positive = values[values > 0]
    return float(positive.min()) if len(positive) else 1e-12


def _distribution(study: Study, name: str) -> Any:
    spaces = [study.nuisance, *(arm.nuisance for arm in study.arms.values())]
    return next(space[name] for space in spaces if name in space)


def _contours(ax: Axes, surface: Any) -> None:
    """Shade and line a surface's levels: logarithmic above its floor, linear for a saddle."""
    import torch

    x0, x1, y0, y1 = surface.bounds
    x, y = np.linspace(x0, x1, 81), np.linspace(y0, y1, 81)
    grid = np.meshgrid(x, y)
    z = surface.fn(*(torch.from_numpy(g) for g in grid)).numpy()
    if surface.minima:
        z = np.log10(z - surface.floor + 1e-3)
    low, high = np.quantile(z, (0.004, 0.985))
    levels = np.linspace(low, high, 10)
    rgb = tuple(int(INK[i : i + 2], 16) / 255 for i in (1, 3, 5))
    shades = [(*rgb, 0.26 * (1 - i / len(levels)) ** 1.3) for i in range(len(levels) + 1)]
    ax.contourf(x, y, z, levels, colors=shades, extend="both")


# --- drawing ------------------------------------------------------------------------------------


@functools.cache
def _style() -> dict[str, Any]:
    import seaborn as sns

    own = {
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
        "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.linewidth": 0.6, "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"], "font.size": 8, "axes.titlesize": 8.5,
        "axes.labelsize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5, "legend.frameon": False, "legend.handlelength": 2.4,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 4,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "axes.axisbelow": True, "grid.color": INK, "grid.alpha": 0.09, "grid.linewidth": 0.6,
        "xtick.major.size": 2.5, "ytick.major.size": 2.5, "xtick.major.width": 0.6,
        "ytick.major.width": 0.6, "xtick.minor.size": 0, "ytick.minor.size": 0,
        "xtick.major.pad": 2.5, "ytick.major.pad": 2.5, "axes.labelpad": 2.5,
        "svg.fonttype": "none", "svg.hashsalt": "harness", "path.simplify_threshold": 0.2,
        "axes.unicode_minus": True, "text.parse_math": False, "lines.solid_joinstyle": "round",
    }  # fmt: skip
    return {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **own}


@contextmanager
def style() -> Iterator[None]:
    """Everything is drawn and saved under this style, whatever the user's own settings are."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_style())
        yield


def panels(
    count: int, *, columns: int | None = None, height: float = 1.9, legend: float = 0.45
) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page with `count` axes, left to right and top to bottom.

    Args:
        count: How many axes.
        columns: How many in a row; by default at most three.
        height: Inches of a row.
        legend: Inches left for a legend below.
    """
    from matplotlib.figure import Figure

    columns = columns or (count if count < 4 else 2 if count == 4 else 3)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, rows * height + legend), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.03)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def blank(text: str = "no rows yet") -> Figure:
    """A low panel that says why there is nothing to see."""
    figure, (ax,) = panels(1, height=0.9, legend=0.0)
    ax.axis("off")
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, style="italic")
    return figure


def words(name: str, metric: Metric) -> str:
    """A metric's axis label: its words and, where it adds something, its unit."""
    label = metric.label or name.replace("_", " ")
    unit = "%" if metric.unit == "fraction" else metric.unit
    return label if not unit or unit in label or len(unit) > 16 else f"{label} ({unit})"


def _limits(
    ax: Axes, axis: str, seen: pd.Series, metric: Metric, every: pd.Series | None = None
) -> tuple[float, float]:
    """Set an axis around what is seen; returns where -inf and +inf of `every` are drawn."""
    log = metric.log
    to = np.log10 if log else (lambda v: v)
    back: Callable[[float], float] = (lambda v: 10.0**v) if log else (lambda v: v)
    low, high = (0.0, 1.0) if not len(seen) else (float(to(seen.min())), float(to(seen.max())))
    if not high - low > 1e-9 * max(1.0, abs(high)):
        pad = 0.5 if log else max(abs(high) * 0.05, 0.05)
        low, high = low - pad, high + pad
    span = high - low
    left, right = low - 0.04 * span, high + 0.04 * span
    if every is not None and (every == -math.inf).any():
        left = low - 0.14 * span
    if every is not None and (every == math.inf).any():
        right = high + 0.14 * span
    getattr(ax, f"set_{axis}lim")(back(left), back(right))
    return back(left), back(right)


def _numbers(ax: Axes, axis: str, metric: Metric, most: int = 9) -> None:
    """Few ticks with short labels: percent for fractions, powers of ten on log axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    one = ax.yaxis if axis == "y" else ax.xaxis
    low, high = sorted(ax.get_ylim() if axis == "y" else ax.get_xlim())
    if one.get_scale() == "log":
        decades = math.log10(high / low)
        few = min(most, 5) if decades > 4 else most
        subs = (1, 2, 5) if decades < 1.5 else (1,)
        narrow = decades < 0.4  # too little for powers of ten: count as on a linear axis
        one.set_major_locator(
            MaxNLocator(3, steps=[1, 2, 5, 10]) if narrow else LogLocator(subs=subs, numticks=few)
        )
        one.set_minor_locator(NullLocator())
        plain = low >= 2e-4 and high < 2e5
        one.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.6g}" if plain else _power(v)))
        return
    one.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=metric.unit == "steps"))
    if metric.unit == "fraction":
        places = 0 if high - low > 0.04 else 1 if high - low > 0.004 else 2
        one.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.{places}f}"))
    else:
        one.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.6g}".replace("-", "−")))


def _power(value: float) -> str:
    """1e-06 as "10⁻⁶", 0.02 as "2·10⁻²", 1 as "1"."""
    exponent = math.floor(math.log10(value) + 1e-9)
    if exponent == 0:
        return f"{value:.6g}"
    lead = round(value / 10**exponent)
    text = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{text}" if lead == 1 else f"{lead}·10{text}"


def _outer(axes: list[Axes], share_y: bool = False) -> None:
    """Keep labels on the outer panels only, and tick labels too where y is shared."""
    for i, ax in enumerate(axes):
        place: Any = ax.get_subplotspec()
        columns = place.get_gridspec().ncols
        if i % columns:
            ax.set_ylabel("")
            if share_y:
                ax.tick_params(labelleft=False)
        if i + columns < len(axes):
            ax.set_xlabel("")
            if share_y:
                ax.tick_params(labelbottom=False)


def _legend(figure: Figure, study: Study, arms: list[str], more: Sequence[Any] = ()) -> None:
    """One legend under all panels: the arms in declared order."""
    from matplotlib.lines import Line2D

    colours, dash = palette(study), dashes(study)
    handles: list[Any] = [
        Line2D(
            [],
            [],
            color=colours[arm],
            lw=1.4,
            dashes=dash[arm] or (None, None),
            label=study.label(arm),
        )
        for arm in arms
    ]
    figure.legend(handles=[*handles, *more], loc="outside lower center", ncols=5, columnspacing=1.4)


def _end_labels(ax: Axes, study: Study, lines: pd.DataFrame) -> bool:
    """Name each line at its end, moved apart; False (and nothing drawn) where they do not fit."""
    ends = lines.groupby("arm", sort=False)[["step", "centre"]].last()
    low, high = ax.get_ylim()
    scale = np.log10 if ax.get_yscale() == "log" else np.asarray
    bottom, top = float(scale(low)), float(scale(high))
    wanted = (scale(ends["centre"].to_numpy()) - bottom) / (top - bottom)
    gap = 0.055
    if len(ends) * gap > 1:
        return False
    order = np.argsort(wanted)
    placed = np.clip(wanted, 0, 1)
    for _ in range(200):  # push neighbours apart until all fit
        apart = np.diff(placed[order])
        close = apart < gap - 1e-6
        if not close.any():
            break
        for i in np.flatnonzero(close):
            push = (gap - apart[i]) / 2 + 1e-4
            placed[order[i]] -= push
            placed[order[i + 1]] += push
        placed = np.clip(placed, 0, 1)
        placed[order] = np.maximum.accumulate(placed[order])
    right = float(lines["step"].max())
    colours = palette(study)
    for (arm, end), y, at in zip(ends.iterrows(), wanted, placed, strict=True):
        colour = colours[str(arm)]
        ax.annotate(
            study.label(str(arm)), (end["step"], y), (1.035, at), textcoords="axes fraction",
            xycoords=("data", "axes fraction"), va="center", fontsize=7, color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "alpha": 0.6,
                        "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5)},
        )  # fmt: skip
    ax.set_xlim(right=right)
    return True


# --- SVG ----------------------------------------------------------------------------------------

JOINS = 'stroke-linejoin="round" stroke-linecap="butt"'
_DARK = "<style>svg{color:#1c1e24}@media(prefers-color-scheme:dark){svg{color:#e4e6ea;--paper:#15171c}}</style>"


def svg(figure: Figure, name: str = "figure", caption: str = "") -> str:
    """The figure as SVG text to stand inline in a page, the same bytes each time.

    Ink becomes the page's text colour and the halo of markers its ``--paper`` colour, so that one
    drawing serves light, dark and print; text stays text.

    Args:
        name: Prefix of the ids, so that several figures can share a page.
        caption: What a screen reader says.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with style():
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # a style element would reach the whole page: its two properties go on the root instead
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.S)
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    text = re.sub(r' d="[^"]*"', _short, text)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _hundredths, tag[0]), text)
    text = text.replace(INK, "currentColor").replace(PAPER, "var(--paper, #fff)")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, text)
    text = re.sub(r"\n\s*", "\n", text)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    assert size is not None
    label = html.escape(caption or name)
    return text.replace(size[0], f'role="img" aria-label="{label}" {size[0]} {JOINS}', 1).strip()


def _rounded(number: str, places: int) -> str:
    return f"{float(number):.{places}f}".rstrip("0").rstrip(".")


def _hundredths(number: re.Match[str]) -> str:
    return _rounded(number[0], 2)


def _short(path: re.Match[str]) -> str:
    """A path's data to a tenth of a point where it is long, so that pages stay light."""
    places = 1 if len(path[0]) > 400 else 2
    return re.sub(r"-?\d+\.\d+", lambda m: _rounded(m[0], places), path[0].replace("\n", ""))


def standalone(inline: str) -> str:
    """An SVG file from `svg`'s text: it chooses its own ink for light and dark pages."""
    head, rest = inline.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{_DARK}{rest}\n'
