"""Arms over many tasks: performance profiles, and mean ranks with their critical difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.figures.axes import Label, end_labels, legend, scale
from harness.figures.base import Measured, fixed
from harness.figures.theme import INK, PAPER, alone, blank, dashes, palette, panels, width
from harness.figures.values import final
from harness.ledger.results import at
from harness.study import InvalidStudy, Metric, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 10  # tasks, up to which Friedman's test is only near its level (Demšar 2006, section 3.2.2)


@dataclass(frozen=True, kw_only=True)
class _Tasks(Measured):
    """Arms compared over the levels of a factor, a task each.

    Args:
        factor: The factor whose levels are the tasks, or those of `levels`.
        metrics: What is read: of each task the first of these that its trials report.
    """

    metric: str = fixed("")
    factor: str
    metrics: Sequence[str]
    _sides: ClassVar[tuple[str, ...]] = ("high", "low")

    def axis(self) -> str:
        return self.factor

    def facet(self, study: Study) -> str | None:
        return None

    def reads(self, study: Study) -> tuple[str, ...]:
        return tuple(self.metrics)

    def _names_metric(self, study: Study) -> None:
        self._allow("metric", self.metrics, study.metrics)
        for name in self.metrics:
            if study.metrics[name].better not in self._sides:
                raise InvalidStudy(
                    f"figure {self.name!r} compares by {name!r}, of which better="
                    f"{study.metrics[name].better!r}; allowed: "
                    f"{', '.join(map(repr, self._sides))}"
                )

    def _tables(self, study: Study, rows: pd.DataFrame) -> list[tuple[Metric, pd.DataFrame]]:
        """Of each task the metric that is read, and its final values: a row a seed, a column an
        arm, for the seeds that all arms have."""
        rows = rows[rows["phase"] == self.phase]
        arms, found = self._arms(study, rows), []
        for level in self.levels or study.vary[self.factor]:
            some = rows[at(rows[self.factor], level)]
            name = next((n for n in self.metrics if some[n].notna().any()), None)
            if name is None:
                continue
            table = final(study, some, name).pivot(index="seed", columns="arm", values="value")
            table = table.reindex(columns=arms).dropna()
            if len(table):
                found.append((study.metrics[name], table))
        return found


@dataclass(frozen=True, kw_only=True)
class Profile(_Tasks):
    """Performance profiles (Dolan & Moré 2002): the share of problems that each arm solves at no
    more than so many times the cost of the best arm, a line an arm.

    A problem is one seed of one task, the same for all arms. Where a line begins, at 1, its arm is
    the best; where it ends is what the arm solves at all: what was never reached, or diverged,
    costs infinitely much.
    """

    _sides: ClassVar = ("low",)

    def _about(self, study: Study) -> str:
        over = f"every {self.factor.replace('_', ' ')} and seed"
        return f"the share of problems, {over}, solved within a factor of the best one's cost"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        tables = self._tables(study, rows)
        costs = pd.concat([table for _, table in tables]) if tables else pd.DataFrame()
        if not np.isfinite(costs).any(axis=None):
            return blank()
        if (costs <= 0).any(axis=None):
            return blank("a performance profile needs positive costs")
        found = stats.performance_profile(costs.to_numpy())
        colours, dash = palette(study), dashes(study)
        figure, (ax,) = panels(1, height=alone())
        last = float(found.ratios[-1])
        scale(ax, "x", Metric("", log=True), pd.Series([1.0, max(last, 1.5)]))
        scale(ax, "y", Metric("fraction"), pd.Series([0.0, 1.0]))
        labels: list[Label] = []
        for arm, share in zip(costs.columns, found.solved, strict=True):
            ax.step(found.ratios, share, where="post", color=colours[arm], lw=1.3,
                    dashes=dash[arm] or (None, None))  # fmt: skip
            labels.append((study.label(arm), colours[arm], last, float(share[-1])))
        _band(ax, found.band)
        units = {metric.unit for metric, _ in tables}
        ax.set(
            xlabel=f"times the best one's {units.pop() if len(units) == 1 else 'cost'}",
            ylabel="problems solved (%)",
        )
        tasks = f"{len(tables)} {'task' if len(tables) == 1 else 'tasks'}"
        ax.set_title(f"{found.n} problems: the seeds of {tasks}", loc="right", fontsize=6.5,
                     style="italic", weight="normal")  # fmt: skip
        if not end_labels(ax, labels, height=alone() - 0.5):
            legend(figure, study, list(costs.columns))
        return figure


def _band(ax: Axes, band: float) -> None:
    """How far a line may be off, as a bar in the corner that lines leave free."""
    ax.errorbar(0.955, 0.06 + band, band, transform=ax.transAxes, color=INK, lw=0.9, capsize=2.5)
    ax.text(0.935, 0.06 + band, "95 % band\nof a whole line", transform=ax.transAxes, ha="right",
            va="center", fontsize=7)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ranks(_Tasks):
    """A critical-difference diagram (Demšar 2006): each arm's mean rank over the tasks, the best at
    the left; bars join arms that Nemenyi's test does not tell apart at 5 %.

    Tasks are the blocks, ranked by the centre over seeds that other figures show: seeds of one task
    are not further tasks. Few tasks tell little, which the figure says.
    """

    def _about(self, study: Study) -> str:
        return (
            f"mean ranks over every {self.factor.replace('_', ' ')}, and which arms do not differ"
        )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        tables = self._tables(study, rows)
        if len(tables) < 2 or tables[0][1].shape[1] < 2:
            return blank() if not tables else blank("ranks need two tasks and two arms")
        costs = np.array(
            [
                (1.0 if metric.better == "low" else -1.0)
                * table.apply(lambda column: stats.interval_for_display(column.to_numpy())[0])
                for metric, table in tables
            ]
        )  # (tasks, arms)
        found = stats.friedman(costs, better="low")
        arms = [str(arm) for arm in tables[0][1].columns]
        order = np.argsort(found.mean_ranks, kind="stable")
        groups, half = found.groups(), math.ceil(len(arms) / 2)
        first = 0.55 + 0.22 * len(groups)  # where the first name is, in units of a line, downwards
        bottom, top = first + half - 0.4, -2.4
        figure, (ax,) = panels(1, height=0.18 * (bottom - top), legend=0.3)
        margin = 0.15 + 0.062 * max(len(study.label(arm)) + 5 for arm in arms)  # inches of names
        end = len(arms)
        per_inch = (end - 1) / (width() - 0.2 - 2 * margin)
        ax.set(xlim=(1 - margin * per_inch, end + margin * per_inch), ylim=(bottom, top),
               xticks=[], yticks=[])  # fmt: skip
        ax.axis("off")
        ax.plot([1, end], [0, 0], color=INK, lw=0.8)
        for rank in range(1, end + 1):
            ax.plot([rank, rank], [0, -0.18], color=INK, lw=0.8)
            ax.text(rank, -0.3, str(rank), ha="center", va="bottom", fontsize=7.5)
        _names(ax, study, [(arms[i], float(found.mean_ranks[i])) for i in order], first, per_inch)
        for place, group in enumerate(groups):
            ends = found.mean_ranks[list(group)]
            y = 0.35 + 0.22 * place
            ax.plot([ends.min() - 0.03, ends.max() + 0.03], [y, y], color=INK, lw=2.4,
                    solid_capstyle="butt", zorder=2)  # fmt: skip
        reach = min(found.critical_difference, end - 1)
        ax.errorbar(1 + reach / 2, -1.45, xerr=reach / 2, color=INK, lw=0.9, capsize=2.5)
        said = f"critical difference {found.critical_difference:.1f}"
        said += "" if reach == found.critical_difference else ", more than there are ranks"
        ax.text(1 + reach / 2, -1.62, said, ha="center", va="bottom", fontsize=7)
        p = "under 0.001" if found.p < 0.001 else f"{found.p:.2g}"
        few = ", which are few: only large differences can show" if found.tasks <= FEW else ""
        figure.supxlabel(
            f"mean rank over {found.tasks} tasks{few}; Friedman's p {p}; a bar joins what Nemenyi's "
            "test does not tell apart",
            fontsize=7,
        )
        return figure


def _names(
    ax: Axes, study: Study, ranked: list[tuple[str, float]], first: float, per_inch: float
) -> None:
    """Each arm's name beside the axis, the better half at the left, and a line from its rank."""
    colours, half = palette(study), math.ceil(len(ranked) / 2)
    for place, (arm, rank) in enumerate(ranked):
        left = place < half
        y = first + (place if left else len(ranked) - 1 - place)
        x = 1 - 0.12 * per_inch if left else len(ranked) + 0.12 * per_inch
        ax.plot([rank, rank, x], [0, y, y], color=colours[arm], lw=1.0, zorder=1)
        ax.plot(rank, 0, "o", ms=4.2, color=colours[arm], mec=PAPER, mew=0.6, zorder=3)
        name = study.label(arm)
        ax.text(x + (-0.05 if left else 0.05) * per_inch, y,
                f"{name}  {rank:.1f}" if left else f"{rank:.1f}  {name}",
                ha="right" if left else "left", va="center", fontsize=7.5)  # fmt: skip
