"""Beside each claim the part of its figure that shows it, drawn at the width of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import markupsafe
import pandas as pd

from harness import figures
from harness.claims import Verdict
from harness.figures.parts import Part, drawn, part
from harness.ledger.results import Results, at
from harness.report import words


@dataclass(frozen=True)
class Panel:
    """What a card shows of a figure.

    Args:
        svg: To stand in the page; where another card has the same already, or where the figure is
            shown whole, a reference to that.
        told: Which part of the figure it is, in words; "" of all of it.
        whole: Whether the figure is shown across the page, as it lies further down.
        beside: The id of the claim on whose card the same drawing stands already, or "".
    """

    svg: str
    told: str = ""
    whole: bool = False
    beside: str = ""


def panels(
    results: Results, verdicts: Sequence[Verdict], whole: Mapping[str, str]
) -> dict[str, Panel]:
    """The panel of each claim that has a figure, and that anything was measured of, by its id.

    Args:
        whole: Inline SVG of each figure of the study, by name; in the page its id is
            "drawn-" and the name.
    """
    study, frame = results.study, results.timed
    by = {figure.name: figure for figure in study.figures}
    made: dict[str, Panel] = {}
    first: dict[Part, tuple[str, str, Panel]] = {}
    for verdict in verdicts:
        figure, check = by.get(verdict.figure or ""), words.check_of(verdict, study)
        if figure is None or check is None:
            continue
        places = check.places(study)
        if not any(_measured(frame, arm, where) for arm, where in places):
            continue
        wanted = part(figure, study, places)
        if wanted in first:
            id_, claim, other = first[wanted]
            made[verdict.id] = other if other.whole else _again(other, id_, claim)
            continue
        became, drawing = drawn(figure, study, frame, wanted)
        told = became.told(study)
        caption = figure.told(study)
        if drawing is None:
            panel = _across(figure.name, whole[figure.name], caption)
        else:
            id_ = f"panel-{len(first) + 1}"
            here = f"{caption} Here: {told}." if told else caption
            svg = figures.svg(drawing, id_, here).replace("<svg", f'<svg id="{id_}"', 1)
            panel = Panel(svg, told)
        first[wanted] = (f"panel-{len(first) + 1}", verdict.id, panel)
        made[verdict.id] = panel
    return made


def _measured(frame: pd.DataFrame, arm: str, where: Mapping[str, Any]) -> bool:
    """Whether there are rows of an arm at a place."""
    there = at(frame["arm"], arm)
    for factor, level in where.items():
        there = there & at(frame[factor], level)
    return bool(there.any())


def _again(panel: Panel, id_: str, claim: str) -> Panel:
    """The same drawing on another card."""
    width, height = words.size(panel.svg) or ("0", "0")
    label = panel.svg.split('aria-label="', 1)[-1].split('"', 1)[0]  # escaped as it is
    return Panel(_use(id_, width, height, label), panel.told, beside=claim)


def _across(name: str, svg: str, caption: str) -> Panel:
    width, height = words.size(svg) or ("0", "0")
    label = str(markupsafe.escape(caption))
    return Panel(_use(f"drawn-{name}", width, height, label), whole=True)


def _use(id_: str, width: str, height: str, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}">'
        f'<use href="#{id_}" width="{width}" height="{height}"/></svg>'
    )
