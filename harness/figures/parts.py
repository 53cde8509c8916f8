"""The part of a figure that shows what a claim reads, as wide as the claim's card."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.figures.base import Custom, Figure_, Measured, as_word, listed, named
from harness.figures.theme import CARD, LETTER, on_card, style, wrapped
from harness.ledger.results import at
from harness.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[str, Mapping[str, Any]]  # an arm, and levels of `vary`

MOST = 3  # panels below each other; a claim that reads more is shown the whole figure
TALL = 6.5  # inches; what would be taller is shown as it is, across the page
SMALLEST = 7.0  # points: 9 px where a card is 327 px wide, on the narrowest of phones


@dataclass(frozen=True)
class Part:
    """What of a figure is drawn for a claim.

    Args:
        figure: The figure's name.
        levels: Names and levels of factors whose panels are kept; all where there are none.
        only: Arms that are kept; all where there are none.
        bold: Arms whose names are set off from others.
    """

    figure: str
    levels: tuple[tuple[str, Any], ...] = ()
    only: tuple[str, ...] = ()
    bold: tuple[str, ...] = ()

    def told(self, study: Study) -> str:
        """Which part it is, in words; "" where it is all of the figure."""
        places = ", ".join(named(factor, level) for factor, level in self.levels)
        arms = listed([study.label(arm) for arm in self.only])
        return ": ".join(filter(None, [places, arms]))


def part(figure: Figure_, study: Study, places: Sequence[Place]) -> Part:
    """The part of a figure that shows arms at places, as a check reads them (`Check.places`).

    A panel is chosen where the places say which; else the whole figure is the part.
    """
    read = tuple(arm for arm in study.arms if arm in {arm for arm, _ in places})
    bold = read if len(read) < len(study.arms) else ()
    if not isinstance(figure, Measured):
        return Part(figure.name, _levels(study, places), bold=bold)
    shown = [
        (arm, where)
        for arm, where in places
        if (figure.arms is None or arm in figure.arms)
        and all(where.get(factor, level) == level for factor, level in figure.where.items())
    ]
    if not shown:
        return Part(figure.name, bold=bold)
    facet = figure.apart(study)
    levels: tuple[tuple[str, Any], ...] = ()
    if facet is not None:
        wanted = {where.get(facet) for _, where in shown}
        drawn = study.vary[facet] if figure.axis() else figure.levels or study.vary[facet]
        if None not in wanted or None in drawn:
            levels = tuple((facet, one) for one in drawn if one in wanted)
        if len(levels) > MOST or len(levels) == len(drawn):
            levels = ()
    arms = tuple(arm for arm in read if arm in {arm for arm, _ in shown})
    there = list(figure.arms or study.arms)
    crowded = figure.crowd is not None and len(there) > max(figure.crowd, len(arms))
    return Part(figure.name, levels, arms if crowded and bold else (), bold)


def _levels(study: Study, places: Sequence[Place]) -> tuple[tuple[str, Any], ...]:
    """What a claim holds fixed at all of its places."""
    first = dict(places[0][1]) if places else {}
    return tuple(
        (factor, level)
        for factor, level in first.items()
        if len(study.vary[factor]) > 1
        and all(factor in where and where[factor] == level for _, where in places)
    )


def drawn(
    figure: Figure_, study: Study, frame: pd.DataFrame, wanted: Part
) -> tuple[Part, Figure | None]:
    """A part of a figure, drawn; and what it came to be.

    Args:
        wanted: From `part`.

    Returns:
        The part that could be told from the others, and its drawing; None where that would be too
        tall for a card.
    """
    with on_card(), style():
        if isinstance(figure, Measured):
            if wanted.only:
                figure = replace(figure, arms=list(wanted.only))
            kept = frame
            for factor in dict.fromkeys(factor for factor, _ in wanted.levels):
                one_of = [level for name, level in wanted.levels if name == factor]
                mask = pd.concat(
                    [pd.Series(at(kept[factor], level), kept.index) for level in one_of], axis=1
                ).any(axis=1)
                kept = kept[mask]
            made = figure.draw(study, kept)
        else:
            made = figure.draw(study, frame)
            chosen = _chosen(made.axes, study, wanted) if isinstance(figure, Custom) else None
            if chosen:
                wanted, panels = chosen
                _keep(made, panels)
            else:
                wanted = replace(wanted, levels=())
        _fit(made, [study.label(arm) for arm in wanted.bold])
        return wanted, made if made.get_size_inches()[1] <= TALL else None


def _chosen(axes: Sequence[Axes], study: Study, wanted: Part) -> tuple[Part, list[Axes]] | None:
    """The panels of a study's own figure that are titled with a level, or the arms, that are wanted.

    Panels are told apart where the title of each names one level of the same factor, or one arm.
    """
    titles = [" ".join(ax.get_title(loc) for loc in ("left", "center", "right")) for ax in axes]
    for factor, level in wanted.levels:
        spoken = {one: _spoken(factor, one) for one in study.vary[factor]}
        if found := _titled_with(titles, spoken, {level}):
            return replace(wanted, levels=((factor, level),)), [axes[i] for i in found]
    labels = {arm: [re.escape(study.label(arm))] for arm in study.arms}
    if found := _titled_with(titles, labels, set(wanted.bold)):
        return replace(wanted, levels=(), only=wanted.bold), [axes[i] for i in found]
    return None


def _titled_with(
    titles: Sequence[str], spoken: Mapping[Any, list[str]], wanted: set[Any]
) -> list[int]:
    """Which titles name what is wanted; none where not each names exactly one, or all do."""
    found = [[one for one, words in spoken.items() if _says(title, words)] for title in titles]
    kept = [i for i, one in enumerate(found) if {*one} & wanted]
    apart = all(len(one) == 1 for one in found)
    return kept if apart and len(kept) < len(titles) else []


def _spoken(factor: str, level: Any) -> list[str]:
    """How a title may name a level: a word alone, a number before or after its factor or unit."""
    if isinstance(level, str):
        return [re.escape(level.replace("_", " "))]
    word, number = re.escape(factor.replace("_", " ")), re.escape(as_word(level))
    return [f"{word} {number}", f"{number} {word}", f"{number} (?:layers|blocks|units|steps)"]


def _says(title: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"(?<![\w.]){one}(?![\w.])", title) for one in words)


def _keep(figure: Figure, kept: Sequence[Axes]) -> None:
    """Leave the other panels out, and give the axes of the rest what theirs had said for all."""
    every = list(figure.axes)
    first = every[0]
    height = (figure.get_size_inches()[1] - 0.45) / _grid(first)[0]
    for ax in kept:
        ax.set_ylabel(ax.get_ylabel() or first.get_ylabel())
        ax.set_xlabel(ax.get_xlabel() or every[-1].get_xlabel())
        if ax.get_ylim() == first.get_ylim():
            ax.tick_params(labelleft=True)
    lines = next(
        (ax.get_legend_handles_labels() for ax in every if ax.get_legend_handles_labels()[0]), None
    )
    own = [ax for ax in kept if ax.get_legend()]
    told = [ax for ax in every if ax.get_legend() and ax not in kept]
    for ax in every:
        if ax not in kept:
            ax.remove()
    if told and not own and lines:
        figure.legend(*lines, loc="outside lower center", ncols=2)
    figure.set_size_inches(CARD, len(kept) * max(height, 1.9) + 0.45)
    fresh = figure.add_gridspec(len(kept), 1)
    for i, ax in enumerate(kept):
        ax.set_subplotspec(fresh[i])


# --- what a page's width holds, on a card ---------------------------------------------------------


def _fit(figure: Figure, bold: Sequence[str]) -> None:
    """Make a drawing readable at the width of a card: sizes, lines of type, legends, names."""
    from matplotlib.text import Text

    figure.canvas.draw_idle()
    for text in figure.findobj(Text):
        if float(text.get_fontsize()) < SMALLEST:
            text.set_fontsize(SMALLEST)
    taller = 0.0
    for legend in [*figure.legends]:
        taller += _fold(figure, legend)
    for ax in figure.axes:
        taller += _titled(ax)
        place, one = ax.get_subplotspec(), figure.axes[0]
        alike = ax.get_ylim() == one.get_ylim() and ax.get_yticks().size
        if place and place.colspan.start == 0 and ax.axison and alike:
            ax.tick_params(labelleft=bool(one.yaxis.get_tick_params()["labelleft"]))
        rows, columns = _grid(ax)
        ax.set_xlabel(wrapped(ax.get_xlabel(), CARD / columns - 0.55, 8))
        ax.set_ylabel(wrapped(ax.get_ylabel(), figure.get_size_inches()[1] / rows - 0.6, 8))
    for told, say in (
        (figure.get_supxlabel(), figure.supxlabel),
        (figure.get_suptitle(), figure.suptitle),
    ):
        if told:
            lines = wrapped(told, CARD - 0.1, SMALLEST)
            say(lines, fontsize=SMALLEST)
            taller += 0.13 * lines.count("\n")
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + taller)
    names = set(bold)
    for text in figure.findobj(Text):
        if text.get_text() in names:
            text.set_fontweight("bold")


def _grid(ax: Axes) -> tuple[int, int]:
    """How many panels stand below and beside each other where these axes do."""
    place = ax.get_subplotspec()
    return place.get_gridspec().get_geometry() if place else (1, 1)


def _fold(figure: Figure, legend: Any) -> float:
    """Put a figure's names below each other where they do not fit; the inches that this adds."""
    names = [text.get_text() for text in legend.get_texts()]
    if not names:
        return 0.0
    room = 0.62 + max(map(len, names)) * LETTER * 7.5 / 72
    columns = max(1, min(len(names), int((CARD + 0.15) / room)))
    handles = legend.legend_handles
    legend.remove()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=columns,
        columnspacing=1.2,
        handlelength=2.0,
    )
    return max(0.0, 0.155 * (math.ceil(len(names) / columns) - 2))


def _titled(ax: Axes) -> float:
    """Put what stands right of a title under the axis where both do not fit; inches that this adds."""
    left, right = ax.get_title("left"), ax.get_title("right")
    room = 72 * (CARD / _grid(ax)[1] - 0.5)
    if left:
        ax.set_title(wrapped(left, room / 72, 8.5), loc="left")
    if right and len(left) * LETTER * 9.5 + len(right) * LETTER * SMALLEST > room:
        ax.set_title("", loc="right")
        lines = wrapped(right, room / 72, SMALLEST)
        ax.set_xlabel(f"{ax.get_xlabel()}\n{lines}" if ax.get_xlabel() else lines)
        return 0.13 * (1 + lines.count("\n"))
    return 0.0
