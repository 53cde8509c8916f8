"""A verdict drawn: its interval against the claim's margin, the claimed side shaded."""

from __future__ import annotations

import math
from collections.abc import Callable

import markupsafe

from harness.claims import Verdict
from harness.report import words
from harness.report.numbers import Scale

WIDTH, LEFT, RIGHT = 360, 6, 354  # user units; the axis runs from LEFT to RIGHT
TOP, AXIS, MIDDLE = 10, 44, 27


def bar(verdict: Verdict, scale: Scale) -> str:
    """The drawing as SVG, or "" where nothing was measured.

    Infinite ends of the interval are arrows at the edge; a published value that has a number is a
    hollow diamond beside ours, with how it is known.
    """
    if not verdict.n or math.isnan(verdict.effect):
        return ""
    margins = (
        [verdict.margin] if verdict.direction != "within" else [-verdict.margin, verdict.margin]
    )
    neutral = [1.0] if scale.log else [0.0] if scale.signed else []
    known = words.published(verdict)
    theirs = known.value if known else None
    if theirs is not None and scale.log and theirs <= 0:
        theirs = None  # no place on a logarithmic axis
    ours = [verdict.effect, verdict.low, verdict.high, *margins, *neutral]
    shown = [v for v in [*ours, theirs] if v is not None and math.isfinite(v)]
    at = _axis([v for v in shown if v > 0 or not scale.log], scale.log)
    edges = [at(m) for m in margins]
    if verdict.direction == "within":
        shade = (edges[0], edges[1])
    else:
        shade = (edges[0], RIGHT) if verdict.direction == "above" else (LEFT, edges[0])
    effect = words.effect(verdict, scale)
    label = (
        f"{verdict.verdict}: {effect}, {words.interval(verdict, scale)}; "
        f"claimed {words.asked(verdict, scale)}"
    )
    told = ""
    if known and theirs is not None:
        told = ", ".join(filter(None, [scale.words(theirs), known.trust]))
        label += f"; published {told}"
    height = 58 if theirs is None else 74
    parts = [
        f'<svg class="bar {verdict.verdict}" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{markupsafe.escape(label)}">',
        f'<rect class="claimed" x="{shade[0]}" y="{TOP}" width="{round(shade[1] - shade[0], 1)}" '
        f'height="{AXIS - TOP}"/>',
        f'<path class="axis" d="M{LEFT} {AXIS}H{RIGHT}"/>',
    ]
    if theirs is not None:
        parts.append(f'<path class="reach" d="M{at(theirs)} {MIDDLE + 7}V62"/>')
    for value in neutral:
        if value not in margins:
            parts.append(f'<path class="neutral" d="M{at(value)} {TOP}V{AXIS}"/>')
            if all(abs(at(value) - edge) > 52 for edge in edges):
                parts.append(_text(at(value), 55, "1×" if scale.log else "0", "soft"))
    for value, edge in zip(margins, edges, strict=True):
        parts.append(f'<path class="margin" d="M{edge} {TOP}V{AXIS}"/>')
        if len(edges) == 1 or edges[1] - edges[0] > 60 or value > 0:
            bare = scale if verdict.direction != "within" else Scale(scale.unit, scale.factor)
            parts.append(_text(edge, 55, bare.words(value), "soft"))
    x0, x1, x = at(verdict.low), at(verdict.high), at(verdict.effect)
    parts.append(f'<path class="interval" d="M{x0} {MIDDLE}H{x1}"/>')
    for end, value, turn in ((x0, verdict.low, 1), (x1, verdict.high, -1)):
        inside = math.isfinite(value) and (value > 0 or not scale.log)
        cap = f"M{end} {MIDDLE - 5}V{MIDDLE + 5}"
        arrow = f"M{end + 5 * turn} {MIDDLE - 4}L{end} {MIDDLE}L{end + 5 * turn} {MIDDLE + 4}"
        parts.append(f'<path class="interval" d="{cap if inside else arrow}"/>')
    parts.append(f'<circle class="dot" cx="{x}" cy="{MIDDLE}" r="4.5"/>')
    parts.append(_text(x, 7.5, effect, "value"))
    if theirs is not None:
        there = at(theirs)
        parts.append(f'<path class="diamond" d="M{there} {MIDDLE - 7}l5.5 7l-5.5 7l-5.5 -7z"/>')
        parts.append(_text(there, 71, f"published {told}", "theirs"))
    return "".join(parts) + "</svg>"


def spark(verdict: Verdict, scale: Scale) -> str:
    """The same without numbers, for a column of verdicts: the margin in the middle of every one.

    The claimed side is the right; of a band, the middle. Each is drawn to its own scale.
    """
    if not verdict.n or math.isnan(verdict.effect):
        return ""
    width, height, middle = 120, 16, 60.0

    def off(value: float) -> float:
        """Distance from the margin (or a band's centre), positive towards what is claimed."""
        if scale.log:
            value = math.log(value) if value > 0 else -math.inf
            return (value - math.log(verdict.margin)) * turn
        return (value - (0.0 if verdict.direction == "within" else verdict.margin)) * turn

    turn = -1.0 if verdict.direction == "below" else 1.0
    if scale.log and (verdict.direction == "within" or verdict.margin <= 0):
        return ""
    ends = sorted((off(verdict.low), off(verdict.high)))
    centre = off(verdict.effect)
    known = [abs(v) for v in (*ends, centre) if math.isfinite(v)]
    if verdict.direction == "within":
        known.append(verdict.margin)
    reach = 1.15 * max(known, default=1.0) or 1.0

    def at(value: float) -> float:
        return round(middle + (middle - 4) * min(1.0, max(-1.0, value / reach)), 1)

    edges = [at(-verdict.margin), at(verdict.margin)] if verdict.direction == "within" else [middle]
    shade = (edges[0], edges[-1]) if len(edges) == 2 else (middle, float(width))
    lines = "".join(f"M{edge} 0V{height}" for edge in edges)
    return (
        f'<svg class="spark {verdict.verdict}" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<rect class="claimed" x="{shade[0]}" y="0" width="{round(shade[1] - shade[0], 1)}" '
        f'height="{height}"/><path class="margin" d="{lines}"/>'
        f'<path class="interval" d="M{at(ends[0])} 8H{at(ends[1])}"/>'
        f'<circle class="dot" cx="{at(centre)}" cy="8" r="3.4"/></svg>'
    )


def chance(verdict: Verdict) -> str:
    """`Verdict.improvement` on a line from never to always, with a mark at even; "" without it."""
    if verdict.improvement is None:
        return ""
    effect, low, high = (round(4 + 72 * x, 1) for x in verdict.improvement)
    return (
        '<svg class="chance" viewBox="0 0 80 14" aria-hidden="true">'
        '<path class="axis" d="M4 7H76M4 4V10M76 4V10"/><path class="neutral" d="M40 1V13"/>'
        f'<path class="interval" d="M{low} 7H{high}"/><circle class="dot" cx="{effect}" cy="7" '
        'r="3"/></svg>'
    )


def _axis(shown: list[float], log: bool) -> Callable[[float], float]:
    """From a value to the x at which it is drawn, all of `shown` inside."""

    def to(value: float) -> float:
        if not log:
            return value
        return math.log(value) if value > 0 else -math.inf

    low, high = min(map(to, shown)), max(map(to, shown))
    pad = 0.14 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = low - pad, high + pad

    def at(value: float) -> float:
        share = (to(value) - low) / (high - low)
        return round(LEFT + (RIGHT - LEFT) * min(1.0, max(0.0, share)), 1)

    return at


def _text(x: float, y: float, text: str, kind: str) -> str:
    """SVG text kept inside the bar: anchored to the side it is near."""
    reach = 2.9 * len(text)
    anchor = "start" if x < reach else "end" if x > WIDTH - reach else "middle"
    x = max(2.0, x - 4) if anchor == "start" else min(358.0, x + 4) if anchor == "end" else x
    escaped = markupsafe.escape(text)
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escaped}</text>'
