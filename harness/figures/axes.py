"""Axes: their limits, numbers, words and legends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.figures.theme import INK, dashes, narrow, palette
from harness.study import Metric, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray


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


def within(metric: Metric, bars: pd.Series) -> pd.Series:
    """Ends of intervals as far as they may stretch an axis: a fraction stays between 0 and 1."""
    return bars.clip(0.0, 1.0) if metric.unit == "fraction" else bars


def scale(
    ax: Axes,
    axis: str,
    metric: Metric,
    seen: pd.Series,
    every: pd.Series | None = None,
    most: int = 9,
) -> tuple[float, float]:
    """Set up an axis for a metric: its scale, its limits and its numbers.

    Args:
        seen: What lies inside its limits, as far as it has a place on the axis.
        every: With what has none; by default the same.
        most: Numbers on a logarithmic axis.

    Returns:
        Where -inf and +inf of `every` are drawn.
    """
    log = metric.log
    seen = seen[np.isfinite(seen) & ((seen > 0) if log else True)]
    if log:
        getattr(ax, f"set_{axis}scale")("log")
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
    numbers(ax, axis, metric, most)
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


def plain_powers(ax: Axes) -> None:
    """Powers of ten in words of ours on log axes that still have matplotlib's labels, whose markup
    nobody reads here."""
    from matplotlib.ticker import FuncFormatter, LogFormatter

    for one in (ax.xaxis, ax.yaxis):
        if one.get_scale() == "log" and isinstance(one.get_major_formatter(), LogFormatter):
            one.set_major_formatter(FuncFormatter(lambda v, _: _power(v)))


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


SHORT = 16  # letters of a name that fits beside a panel on a card
Label = tuple[str, str, float, float]  # text, colour, and where its line ends: x, y


def spread(wanted: Array, gap: float) -> Array:
    """Places from 0 to 1 near those wanted and at least `gap` apart, in the same order.

    Least squares under that constraint: what lies too close is pooled into blocks.
    """
    order = np.argsort(wanted, kind="stable")
    room = np.arange(len(wanted)) * gap
    # without its own gaps each place may only not fall below the one before
    blocks: list[tuple[float, int]] = []  # mean, size
    for value in wanted[order] - room:
        mean, size = float(value), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    level = np.repeat([mean for mean, _ in blocks], [size for _, size in blocks])
    placed = np.empty(len(wanted))
    placed[order] = np.clip(level, 0, 1 - room[-1]) + room
    return placed


def end_labels(ax: Axes, labels: list[Label], height: float) -> bool:
    """Name each line at its end, moved apart; False (and nothing drawn) where they do not fit.

    Args:
        labels: What to write, its colour, and the data point it belongs to.
        height: Inches of the axes.
    """
    gap = 9.3 / (72 * height)  # a line of type, as a share of the axes
    if not labels or (len(labels) - 1) * gap > 1:
        return False
    if narrow() and max(len(text) for text, *_ in labels) > SHORT:
        return False
    scale = np.log10 if ax.get_yscale() == "log" else np.asarray
    bottom, top = (float(scale(y)) for y in ax.get_ylim())
    ends = np.array([y for *_, y in labels])
    wanted = np.clip((scale(ends) - bottom) / (top - bottom), 0, 1)
    ax.set_xlim(right=max(ax.get_xlim()[1], *(x for _, _, x, _ in labels)))
    for (text, colour, x, _), y, place in zip(labels, wanted, spread(wanted, gap), strict=True):
        ax.annotate(
            text, (x, y), (1.035, place), textcoords="axes fraction",
            xycoords=("data", "axes fraction"), va="center", fontsize=7, color=colour,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.5, "color": colour, "alpha": 0.6,
                        "shrinkA": 1, "shrinkB": 1, "relpos": (0, 0.5)},
        )  # fmt: skip
    return True


def edge(ax: Axes, axis: str, at: float, word: str) -> None:
    """A dotted line at an end of an axis, where what is not a number is drawn, and its name.

    To be called once the axis has its numbers: those beside the line are taken away.
    """
    along = ax.axvline if axis == "x" else ax.axhline
    # limits of a log axis are rounded: a clipped line could vanish
    low, high = getattr(ax, f"get_{axis}lim")()
    scale = np.log10 if getattr(ax, f"get_{axis}scale")() == "log" else np.asarray
    one = ax.xaxis if axis == "x" else ax.yaxis
    far_enough = [
        float(tick)
        for tick in one.get_majorticklocs()
        if low <= tick <= high
        and abs(scale(tick) - scale(at)) > 0.07 * abs(scale(high) - scale(low))
    ]
    one.set_ticks(far_enough)  # a number beside the edge would seem to be its value
    along(at, color=INK, lw=0.6, ls=(0, (1, 2)), alpha=0.7, zorder=0, clip_on=False)
    if axis == "x":  # along the line at its top
        far = at == ax.get_xlim()[1]
        ax.annotate(word, (at, 1), (-2 if far else 2, -1), xycoords=ax.get_xaxis_transform(),
                    textcoords="offset points", ha="right" if far else "left", va="top",
                    rotation=90, fontsize=7, style="italic")  # fmt: skip
    else:  # on the line's inner side at its left
        far = at == ax.get_ylim()[1]
        ax.annotate(word, (0, at), (2, -2 if far else 2), xycoords=ax.get_yaxis_transform(),
                    textcoords="offset points", ha="left", va="top" if far else "bottom",
                    fontsize=7, style="italic")  # fmt: skip


def mark_edges(ax: Axes, ends: tuple[float, float], values: pd.DataFrame, axis: str = "y") -> None:
    """Draw and name the ends of an axis that values of -inf or inf are drawn at.

    Args:
        values: Columns value, and diverged (whether that is why).
    """
    for end, infinite in zip(ends, (-math.inf, math.inf), strict=True):
        at = values[values["value"] == infinite]
        if len(at):
            names = ["never"] if (~at["diverged"]).any() else []
            names += ["diverged"] if at["diverged"].any() else []
            edge(ax, axis, end, " or ".join(names))


def thin(
    ticks: Sequence[float], names: Sequence[str], inches: float
) -> tuple[list[float], list[str]]:
    """The ticks whose labels fit beside each other on an axis `inches` long, the last one always."""
    width = (max(ticks) - min(ticks)) or 1.0
    kept: list[tuple[float, str]] = []
    for tick, name in sorted(zip(ticks, names, strict=True), reverse=True):
        if kept:
            room = (kept[-1][0] - tick) / width * inches * 72
            if room < 4.6 * (len(name) + len(kept[-1][1])) / 2 + 4:
                continue
        kept.append((tick, name))
    return [tick for tick, _ in kept], [name for _, name in kept]
