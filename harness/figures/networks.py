"""A space of architectures: each against its size, and the cells of the best as graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.figures.axes import scale, words
from harness.figures.base import Measured, fixed
from harness.figures.theme import COLOURS, INK, PAPER, alone, blank, panels
from harness.figures.values import final
from harness.nas.space import OPERATIONS, Architecture, pairs
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# How an operation is drawn: colour, width, dashes.
LOOKS: dict[str, tuple[str, float, Any]] = {
    "skip": (COLOURS[6], 1.0, (0, (1.2, 1.2))),
    "pool": (COLOURS[3], 1.6, (0, (4, 1.4))),
    "conv1": (COLOURS[1], 1.6, "-"),
    "conv3": (COLOURS[0], 2.6, "-"),
}
NAMES = {
    "skip": "skip",
    "pool": "pooling",
    "conv1": "convolution, 1x1",
    "conv3": "convolution, 3x3",
}


@dataclass(frozen=True, kw_only=True)
class _Architectures(Measured):
    """Means over the seeds of one arm, an architecture each.

    Args:
        arm: Whose trials.
        factor: The factor of `vary` whose levels name architectures.
    """

    arm: str
    factor: str = "architecture"
    levels: None = fixed()
    arms: None = fixed()

    def validate(self, study: Study) -> None:
        super().validate(study)
        if self.factor not in study.vary:
            raise InvalidStudy(
                f"figure {self.name!r} reads architectures from factor {self.factor!r}; allowed: "
                f"{', '.join(study.vary) or '(none)'}"
            )
        self._allow("arm", [self.arm], study.arms)

    def apart(self, study: Study) -> None:
        return None

    def means(self, study: Study, rows: pd.DataFrame, metric: str) -> pd.Series:
        """The mean over seeds of a final metric, by name of the architecture."""
        rows = rows[(rows["arm"] == self.arm) & (rows["phase"] == self.phase)]
        values: pd.Series = final(study, rows, metric).groupby(self.factor)["value"].mean()
        return values


@dataclass(frozen=True, kw_only=True)
class Space(_Architectures):
    """A dot an architecture: a metric against another, coloured by how often an operation occurs.

    Args:
        x: The other metric.
        operation: Whose number of edges gives the colour.
    """

    x: str = "params"
    operation: str = "conv3"

    def validate(self, study: Study) -> None:
        super().validate(study)
        self._allow("x", [self.x], study.metrics)
        self._allow("operation", [self.operation], OPERATIONS)

    def reads(self, study: Study) -> tuple[str, ...]:
        return (self.x, self.metric)

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap

        table = pd.DataFrame(
            {name: self.means(study, rows, name) for name in (self.x, self.metric)}
        ).dropna()
        if not len(table):
            return blank()
        counts = np.array(
            [Architecture.parse(str(name)).edges.count(self.operation) for name in table.index]
        )
        figure, (ax,) = panels(1, height=alone() + 0.2, legend=0.0)
        for axis, name in (("x", self.x), ("y", self.metric)):
            scale(ax, axis, study.metrics[name], table[name])
        shades = LinearSegmentedColormap.from_list("shades", [COLOURS[1], COLOURS[4], COLOURS[0]])
        levels = np.arange(counts.max() + 2) - 0.5
        norm = BoundaryNorm(levels, shades.N)
        order = np.random.default_rng(0).permutation(len(table))  # no colour lies on top
        ax.scatter(
            table[self.x].to_numpy()[order], table[self.metric].to_numpy()[order], s=7, lw=0,
            alpha=0.6, c=counts[order], cmap=shades, norm=norm,
        )  # fmt: skip
        bar = figure.colorbar(
            ScalarMappable(norm, shades), ax=ax, ticks=np.arange(counts.max() + 1), aspect=30,
            pad=0.02,
        )  # fmt: skip
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(f"edges with {NAMES.get(self.operation, self.operation)}")
        ax.set(
            xlabel=words(self.x, study.metrics[self.x]),
            ylabel=words(self.metric, study.metrics[self.metric]),
        )
        return figure


@dataclass(frozen=True, kw_only=True)
class Genotypes(_Architectures):
    """The cells of the `count` - 1 best architectures by a metric and of the worst, as graphs: their
    genotypes (Liu et al. 2019, figure 4)."""

    count: int = 6

    def validate(self, study: Study) -> None:
        super().validate(study)
        if study.metrics[self.metric].better is None or self.count < 2:
            raise InvalidStudy(
                f"figure {self.name!r} ranks {self.count} cells by {self.metric!r}; allowed: at "
                "least 2, and a metric with better='high' or 'low'"
            )

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        from matplotlib.lines import Line2D

        metric = study.metrics[self.metric]
        ranked = self.means(study, rows, self.metric).dropna()
        ranked = ranked.sort_values(ascending=metric.better == "low", kind="stable")
        if not len(ranked):
            return blank()
        chosen = list(dict.fromkeys([*range(min(self.count - 1, len(ranked))), len(ranked) - 1]))
        figure, axes = panels(len(chosen), height=1.2)
        seen: dict[str, None] = {}
        for ax, place in zip(axes, chosen, strict=True):
            architecture = Architecture.parse(str(ranked.index[place]))
            seen |= dict.fromkeys(architecture.edges)
            graph(ax, architecture)
            value = float(ranked.iloc[place])
            score = f"{100 * value:.2f} %" if metric.unit == "fraction" else f"{value:.4g}"
            rank = "last" if place == len(ranked) - 1 else f"{place + 1}."
            ax.set_title(f"{rank} {score}")
            cells = "1 cell" if architecture.depth == 1 else f"{architecture.depth} cells"
            ax.set_title(
                f"{cells}, width {architecture.width}", loc="right", fontsize=6.5,
                style="italic", weight="normal",
            )  # fmt: skip
        handles = [
            Line2D([], [], color=colour, lw=width, ls=dash, label=NAMES[name])
            for name, (colour, width, dash) in LOOKS.items()
            if name in seen
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        return figure


def graph(ax: Axes, architecture: Architecture) -> None:
    """A cell's nodes in a row from input to output, and its operations as arrows."""
    from matplotlib.patches import FancyArrowPatch

    nodes = architecture.nodes
    used = {0, nodes - 1}
    for (start, end), operation in zip(pairs(nodes), architecture.edges, strict=True):
        if operation == "none":
            continue
        used |= {start, end}
        colour, width, dash = LOOKS[operation]
        over = end - start  # an edge that passes nodes by bends around them, the odd ones below
        bend = 0.0 if over == 1 else -0.45 if (start + over) % 2 else 0.45
        ax.add_patch(
            FancyArrowPatch(
                (start, 0), (end, 0), connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
                mutation_scale=8, shrinkA=6, shrinkB=6, color=colour, lw=width, ls=dash,
            )
        )  # fmt: skip
    for node in sorted(used):
        word = {0: "in", nodes - 1: "out"}.get(node, "")
        ax.plot(node, 0, "o", ms=11, color=PAPER, mec=INK, mew=0.8, zorder=3)
        ax.text(node, 0, word, ha="center", va="center", fontsize=5.5, zorder=4)
    ax.set(xlim=(-0.3, nodes - 0.7), ylim=(-0.6, 0.75))
    ax.axis("off")
