"""A metric across the levels of a factor: as lines, and as a table of colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from harness.figures.axes import (
    Label,
    end_labels,
    legend,
    mark_edges,
    outer,
    scale,
    thin,
    within,
    words,
)
from harness.figures.base import Measured, as_word
from harness.figures.theme import INK, PAPER, At, alone, blank, dashes, palette, panels, width
from harness.figures.values import centres, final
from harness.ledger.results import at
from harness.study import InvalidStudy, Metric, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Reference = float | Callable[[Any], float]


@dataclass(frozen=True, kw_only=True)
class _Along(Measured):
    """A metric along the levels of a factor.

    Args:
        factor: The factor along the axis.
        levels: Which of its levels, in order; by default all.
        panels: A further factor, whose levels are the panels; by default the one that `where`
            leaves open, if any.
        at: "end" (the last value of a trial), "start" (the first), or a step.
    """

    factor: str = field(default="", kw_only=False)
    panels: str | None = None
    at: At = "end"

    def axis(self) -> str:
        return self.factor

    def facet(self, study: Study) -> str | None:
        return self.panels or self._free(study)

    def _about(self, study: Study) -> str:
        return f"{super()._about(study)} by {self.factor.replace('_', ' ')}, with 95 % intervals"


@dataclass(frozen=True, kw_only=True)
class Across(_Along):
    """A metric against the levels of a factor: a dot and a 95 % interval a level, a line an arm.

    Args:
        log_x: Whether numeric levels lie on a logarithmic axis; by default where the largest is
            at least eight times the smallest. Words and truth values lie evenly apart.
        reference: Labelled lines: a value, or a function of the level.
    """

    log_x: bool | None = None
    reference: Mapping[str, Reference] = field(default_factory=dict)

    crowd: ClassVar = 6

    def validate(self, study: Study) -> None:
        super().validate(study)
        if self.log_x:
            levels: Any = study.vary[self.factor]
            if not _numeric(levels) or min(levels) <= 0:
                raise InvalidStudy(
                    f"figure {self.name!r} has log_x=True over {self.factor} "
                    f"{', '.join(map(str, levels))}; allowed: positive numbers"
                )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.lines import Line2D

        metric, colours, dash = study.metrics[self.metric], palette(study), dashes(study)
        found, levels = _tables(self, study, rows)
        if not found:
            return blank()
        place = _places(levels, self.log_x)
        held = {study.held(self.factor, level): x for level, x in place.items()}
        every = pd.concat([table for _, table in found])
        lines = [
            (label, [float(ref(level)) if callable(ref) else ref for level in levels])
            for label, ref in self.reference.items()
        ]
        bars = within(metric, pd.concat([every["low"], every["high"]]))
        drawn = pd.Series([y for _, some in lines for y in some], dtype=float)
        seen = pd.concat([every["centre"], bars, drawn])
        arms = self._arms(study, every)
        height = 1.9 if len(found) > 1 else alone()
        figure, axes = panels(len(found), height=height)
        columns = axes[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        apart = min(np.diff(sorted(place.values())), default=1.0)
        reach = max(place.values()) - min(place.values())
        step = min(0.3 * apart / max(len(arms), 1), 0.012 * reach)
        shift = {arm: (i - (len(arms) - 1) / 2) * step for i, arm in enumerate(arms)}
        partly = False
        for ax, (title, table) in zip(axes, found, strict=True):
            ends = scale(ax, "y", metric, seen, every["centre"])
            labels: list[Label] = []
            for arm in arms:
                one = table[table["arm"] == arm]
                if not len(one):
                    continue
                x = one[self.factor].map(held).to_numpy(dtype=float) + shift[arm]
                y = one["centre"].clip(*ends).to_numpy()
                finite = np.isfinite(one["centre"].to_numpy(dtype=float))
                ax.plot(x, y, color=colours[arm], lw=1.2, dashes=dash[arm] or (None, None))
                ax.vlines(x[finite], one["low"].clip(*ends)[finite], one["high"].clip(*ends)[finite],
                          color=colours[arm], lw=1.0, alpha=0.75)  # fmt: skip
                some = finite & ((one["diverged"] + one["never"]) > 0).to_numpy()
                partly |= bool(some.any())
                shapes: list[tuple[Any, dict[str, Any]]] = [
                    (
                        finite & ~some,
                        {"marker": "o", "mec": PAPER, "mfc": colours[arm], "mew": 0.6},
                    ),
                    (some, {"marker": "o", "mec": colours[arm], "mfc": PAPER, "mew": 1.0}),
                    (~finite, {"marker": "x", "mec": colours[arm], "mew": 1.1}),
                ]
                for marks, look in shapes:
                    if marks.any():
                        ax.plot(x[marks], y[marks], ls="", ms=4.4, clip_on=False, zorder=3, **look)
                labels.append((study.label(arm), colours[arm], float(x[-1]), float(y[-1])))
            xs = [place[level] for level in levels]
            for label, heights in lines:
                ax.plot(xs, heights, color=INK, lw=0.8, ls=(0, (3, 2)), alpha=0.7, zorder=1)
                labels.append((label, INK, xs[-1], heights[-1]))
            pad = 0.02 * reach + max(shift.values()) or 0.5
            ax.set_xlim(min(xs) - pad, max(xs) + pad)
            mark_edges(ax, ends, _infinite(every))
            ax.set_xticks(*thin(xs, [as_word(v) for v in levels], (width() - 1.2) / columns - 0.5))
            ax.set(
                title=title, xlabel=self.factor.replace("_", " "), ylabel=words(self.metric, metric)
            )
        outer(axes, share_y=True)
        complete = len(labels) == len(arms) + len(lines) and len(found) <= columns
        more = [Line2D([], [], ls="", marker="o", ms=4.4, mfc=PAPER, mec=INK, label=PARTLY)]
        more = more if partly else []
        if complete and end_labels(axes[-1], labels, height - 0.6):
            if more:
                figure.legend(handles=more, loc="outside lower center")
        else:
            dashed = [
                Line2D([], [], color=INK, lw=0.8, ls=(0, (3, 2)), label=label) for label, _ in lines
            ]
            legend(figure, study, arms, [*dashed, *more])
        return figure


@dataclass(frozen=True, kw_only=True)
class Heat(_Along):
    """Arms down, levels of a factor across; in each coloured cell the value and its interval."""

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        metric = study.metrics[self.metric]
        found, levels = _tables(self, study, rows)
        if not found:
            return blank()
        every = pd.concat([table for _, table in found])
        arms = self._arms(study, every)
        centre = every["centre"]
        seen = centre[np.isfinite(centre) & ((centre > 0) if metric.log else True)]
        to = np.log10 if metric.log else np.asarray
        low, high = (float(to(v)) for v in (seen.min(), seen.max())) if len(seen) else (0.0, 1.0)
        colours = colormaps["viridis"]
        columns = min(len(found), 1 if len(levels) > 5 else 2 if len(levels) > 3 else 3)
        figure, axes = panels(
            len(found), columns=columns, height=0.55 + 0.31 * len(arms), legend=0.25
        )
        columns = axes[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
        room = (
            (width() - 0.6 - 0.075 * max(len(study.label(a)) for a in arms)) / columns / len(levels)
        )
        for ax, (title, table) in zip(axes, found, strict=True):
            cells = table.set_index(["arm", self.factor])
            for row, arm in enumerate(arms):
                for column, level in enumerate(study.held(self.factor, one) for one in levels):
                    if (arm, level) not in cells.index:
                        ax.text(column, row, "–", ha="center", va="center", fontsize=7, alpha=0.6)
                        continue
                    cell = cells.loc[(arm, level)]
                    value = cell["centre"]
                    if not np.isfinite(value) or (metric.log and value <= 0):
                        share = 0.0 if metric.better != "low" else 1.0
                    else:
                        share = (float(to(value)) - low) / ((high - low) or 1.0)
                    if metric.better == "low":
                        share = 1 - share
                    red, green, blue, _ = colours(0.04 + 0.94 * share)
                    ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, lw=1.2, ec=PAPER,
                                           fc=(red, green, blue)))  # fmt: skip
                    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                    above, below = _cell(cell, metric, room)
                    for text, y, size in ((above, row - (0.16 if below else 0), 7.5),
                                          (below, row + 0.24, 6.5)):  # fmt: skip
                        ax.text(column, y, text, ha="center", va="center", fontsize=size,
                                color="#fbfbfd" if dark else "#16171c")  # fmt: skip
            ax.set(xlim=(-0.5, len(levels) - 0.5), ylim=(len(arms) - 0.5, -0.5), title=title,
                   xlabel=self.factor.replace("_", " "))  # fmt: skip
            ax.set_xticks(range(len(levels)), [as_word(v) for v in levels])
            ax.set_yticks(range(len(arms)), [study.label(arm) for arm in arms])
            ax.tick_params(length=0)
            ax.grid(visible=False)
            for spine in ax.spines.values():
                spine.set_visible(False)
        outer(axes, share_y=True)
        note = words(self.metric, metric)
        note += "" if metric.better is None else "; brighter is better"
        figure.supxlabel(note + "; below it the 95 % interval", fontsize=7)
        return figure


PARTLY = "some of its trials diverged or never got there"


def _tables(
    spec: _Along, study: Study, rows: pd.DataFrame
) -> tuple[list[tuple[str, pd.DataFrame]], list[Any]]:
    """Each panel's title and centres by arm and level; and the levels that have any."""
    worse = -math.inf if study.metrics[spec.metric].better != "low" else math.inf
    rows = rows[rows["phase"] == spec.phase]
    wanted = [v for v in spec.levels or study.vary[spec.factor] if at(rows[spec.factor], v).any()]
    held = [study.held(spec.factor, level) for level in wanted]
    found = []
    for title, some in spec._split(study, rows[rows[spec.factor].isin(held)]):
        values = final(study, some, spec.metric, spec.at)
        values = values[values["value"].notna() | (values["status"] == "diverged")]
        table = centres(values, ["arm", spec.factor], worse)
        order = table[spec.factor].map(held.index)
        found.append((title, table.iloc[np.argsort(order.to_numpy(), kind="stable")]))
    found = [(title, table) for title, table in found if len(table)]
    if not any(np.isfinite(table["centre"]).any() for _, table in found):
        return [], []
    return found, wanted


def _infinite(table: pd.DataFrame) -> pd.DataFrame:
    """What `mark_edges` reads: each centre, and whether it is divergence that made it so."""
    return pd.DataFrame({"value": table["centre"], "diverged": table["diverged"] > table["never"]})


def _numeric(levels: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)


def _places(levels: Sequence[Any], log: bool | None) -> dict[Any, float]:
    """Where each level lies: its value, its power of ten, or its number in the list."""
    if not _numeric(levels):
        return {level: float(i) for i, level in enumerate(levels)}
    if log is None:
        log = min(levels) > 0 and max(levels) >= 8 * min(levels)
    return {level: math.log10(level) if log else float(level) for level in levels}


def _cell(cell: Any, metric: Metric, room: float) -> tuple[str, str]:
    """The two lines of text in a cell `room` inches wide."""
    gone, n, value = int(cell["diverged"]), int(cell["n"]), float(cell["centre"])
    wide = room > 0.72
    if not math.isfinite(value):
        return ("diverged" if gone >= cell["never"] else "never") if room > 0.5 else "×", ""
    factor = 100.0 if metric.unit == "fraction" else 1.0
    text = f"{factor * value:.1f}" if factor == 100 else f"{value:.3g}".replace("-", "−")
    if gone:
        return text, f"{gone} of {n} diverged" if wide and room > 0.95 else f"{gone}/{n} ×"
    low, high = float(cell["low"]), float(cell["high"])
    if n < 2 or not math.isfinite(high - low):
        return text, ""
    below, above = (
        f"±{factor * side:.1f}" if factor == 100 else f"±{side:.2g}"
        for side in (value - low, high - value)
    )
    if wide and below != above:
        ends = (f"{factor * x:.1f}" if factor == 100 else f"{x:.3g}" for x in (low, high))
        return text, "–".join(ends)
    return text, max((value - low, below), (high - value, above))[1]  # no room: the longer side
