"""Axes: their limits, numbers, words and legends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.figures.theme import dashes, palette
from harness.study import Metric, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def floor_of(metric: Metric, values: pd.Series) -> float:
    """What a log axis draws a zero at: the least positive value."""
    if not metric.log:
        return -math.inf
    positive = values[values > 0]
    return float(positive.min()) if len(positive) else 1e-12


def words(name: str, metric: Metric) -> str:
    """A metric's axis label: its words and, where it adds something, its unit."""
    label = metric.label or name.replace("_", " ")
    unit = "%" if metric.unit == "fraction" else metric.unit
    return label if not unit or unit in label or len(unit) > 16 else f"{label} ({unit})"


def limits(
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


def numbers(ax: Axes, axis: str, metric: Metric, most: int = 9) -> None:
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


def outer(axes: list[Axes], share_y: bool = False) -> None:
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


def legend(figure: Figure, study: Study, arms: list[str], more: Sequence[Any] = ()) -> None:
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


def end_labels(ax: Axes, study: Study, lines: pd.DataFrame) -> bool:
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
