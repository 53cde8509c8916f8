"""Results and verdicts as one self-contained page, its PDF and its data files. Layer 5.

The only importer of jinja2 and of the PDF engine. Every sentence, table and bar is written from
the same `Results` and `Verdict` values, so that prose and plots cannot disagree, and building
twice from the same values gives the same bytes.
"""

from __future__ import annotations

import datetime
import functools
import io
import itertools
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import figures
from harness.claims import Check, Difference, Everywhere, Ratio, Verdict
from harness.results import STATUSES, Results
from harness.study import Claim, Study

__all__ = ["answer", "html", "note", "pdf", "verdicts_json", "write", "write_index"]

TRIALS_SHOWN = 300
ERRORS_SHOWN = 10
WIDE_CELLS = 8  # more cells than this turn the table of tuned settings on its side
OUTCOMES = ("supported", "refuted", "inconclusive")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TEMPLATES = Path(__file__).parent / "templates"


# --- numbers in words ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """How a claim's numbers are printed: multiplied, rounded, signed and with which unit."""

    unit: str
    factor: float = 1.0
    signed: bool = False
    log: bool = False
    steps: bool = False

    def digits(self, value: float, places: int | None = None) -> str:
        """The number alone: with so many decimals, or three significant digits."""
        if math.isnan(value):
            return "—"
        if math.isinf(value):
            return "never" if self.steps and value > 0 else "∞" if value > 0 else "−∞"
        value *= self.factor
        text = digits(value) if places is None else f"{value:,.{places}f}".replace("-", "−")
        if not text.strip("−0."):  # rounded to zero: no sign
            return text.lstrip("−")
        return f"+{text}" if self.signed and value > 0 else text

    def places(self, verdict: Verdict) -> int | None:
        """Decimals that resolve a verdict's interval to two digits; None where there is none."""
        width = (verdict.high - verdict.low) * self.factor
        size = max(abs(verdict.effect * self.factor), width)
        if not math.isfinite(size) or not width > 1e-4 or size >= 1e6:
            return None
        return max(0, 1 - math.floor(math.log10(width)))

    def words(self, value: float, places: int | None = None) -> str:
        """The number with its unit, as a sentence has it."""
        text = self.digits(value, places)
        if not self.unit or text in ("never", "—"):
            return text
        if self.unit == "×":
            return text + "×"
        unit = self.unit
        if unit in ("points", "steps", "decades") and text.strip("+−") == "1":
            unit = unit[:-1]
        return f"{text} {unit}"


def digits(value: float) -> str:
    """Three significant digits; whole thousands with a comma, tiny and huge as powers of ten."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-3:
        lead, exponent = f"{value:.2e}".split("e")
        power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{lead.rstrip('0').rstrip('.')}×10{power}"
    elif size >= 99.95:
        text = f"{value:,.0f}"
    else:
        text = f"{float(f'{value:.3g}'):.{max(0, 2 - math.floor(math.log10(size)))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def scale_of(verdict: Verdict, study: Study) -> Scale:
    """How a verdict's numbers are printed, from what its check measures."""
    check = _check(verdict, study)
    ratio = isinstance(check, Ratio) or verdict.unit.startswith("ratio")
    difference = isinstance(check, Difference) and not isinstance(check, Ratio)
    if ratio:
        return Scale("×", log=True)
    if verdict.unit == "fraction":
        return Scale("points" if difference else "%", 100.0, difference)
    return Scale(verdict.unit, signed=difference, steps=verdict.unit == "steps")


def _check(verdict: Verdict, study: Study) -> Check | None:
    """The (innermost) check that a verdict came from."""
    check: Check | None = next((c.check for c in study.claims if c.id == verdict.id), None)
    while isinstance(check, Everywhere):
        check = check.checks[0]
    return check


def _p(value: float) -> str:
    return "—" if math.isnan(value) else "<\u00a00.001" if value < 0.001 else f"{value:.2g}"


def _asked(verdict: Verdict, scale: Scale, short: bool = False) -> str:
    """What the claim asks for: "more than 2 points", or "> +2" for a table."""
    if verdict.direction == "within":
        plain = Scale(scale.unit, scale.factor)
        return (
            f"± {plain.digits(verdict.margin)}"
            if short
            else f"within ± {plain.words(verdict.margin)}"
        )
    if short:
        return f"{'>' if verdict.direction == 'above' else '<'} {scale.digits(verdict.margin)}"
    return (
        f"{'more' if verdict.direction == 'above' else 'less'} than {scale.words(verdict.margin)}"
    )


def sentence(verdict: Verdict, study: Study) -> str:
    """A claim's outcome in words, made from its numbers alone."""
    scale = scale_of(verdict, study)
    if not verdict.n or math.isnan(verdict.effect):
        return f"Not decided: {verdict.reason or 'nothing was measured'}."
    quantity = verdict.quantity or "The effect"
    claim = next((c for c in study.claims if c.id == verdict.id), None)
    if claim is not None and isinstance(claim.check, Everywhere):
        weakest = verdict.reason.split("; ")[0].removeprefix("weakest: ")
        quantity = f"In the least favourable of {len(claim.check.checks)} places, {weakest}"
    effect = scale.words(verdict.effect, scale.places(verdict))
    return (
        f"{quantity[0].upper()}{quantity[1:]}: {effect}, interval {_interval(verdict, scale)}, over "
        f"{verdict.n} seeds. The claim asks for {_asked(verdict, scale)}; {_position(verdict)}."
    )


def _position(verdict: Verdict) -> str:
    """Where the interval lies relative to what is claimed."""
    low, high, margin = verdict.low, verdict.high, verdict.margin
    if verdict.direction == "within":
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
        where = ("inside that band", "outside that band", "an edge of that band")
    else:
        above, below = low > margin, high < margin
        inside, outside = (above, below) if verdict.direction == "above" else (below, above)
        where = ("on that side", "on the other side", "that margin")
    if verdict.verdict == "supported" and inside:
        return f"the whole interval lies {where[0]}"
    if verdict.verdict == "refuted" and outside:
        return f"the whole interval lies {where[1]}"
    if verdict.verdict == "inconclusive" and not inside and not outside:
        return f"the interval takes in {where[2]}, so the trials decide neither way"
    return f"the corrected p is {_p(verdict.p)}"


def answer(results: Results, verdicts: list[Verdict]) -> str:
    """The study's answer in one sentence, counted from its verdicts."""
    if not verdicts:
        return "The study makes no claims; its figures show what was measured."
    by = {outcome: [v for v in verdicts if v.verdict == outcome] for outcome in OUTCOMES}
    held, against, open_ = (len(by[outcome]) for outcome in OUTCOMES)
    total = len(verdicts)
    if total == 1:
        word = {"supported": "holds", "refuted": "is refuted", "inconclusive": "stays undecided"}
        text = f"The one claim {word[verdicts[0].verdict]}: {_quoted(verdicts)}."
    elif held == total:
        text = f"All {total} claims hold."
    elif against == total:
        text = f"All {total} claims are refuted."
    elif open_ == total:
        text = f"None of the {total} claims could be decided."
    else:
        parts = [f"{held or 'none'} of {total} claims {'holds' if held == 1 else 'hold'}"]
        if against:
            parts.append(f"{against} {'is' if against == 1 else 'are'} refuted")
        if open_:
            parts.append(f"{open_} {'stays' if open_ == 1 else 'stay'} undecided")
        text = _listed(parts)
        text = text[0].upper() + text[1:]
        if 0 < against <= 3:
            text += f"; {'what does' if against == 1 else 'those that do'} not hold: "
            text += _quoted(by["refuted"])
        text += "."
    if results.info.get("partial"):
        text = f"So far, from an unfinished run: {text[0].lower()}{text[1:]}"
    return text


def _quoted(verdicts: list[Verdict]) -> str:
    return _listed([f"“{v.statement.strip().rstrip('.')}”" for v in verdicts])


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def _moment(iso: str) -> str:
    """An ISO time as "20 Nov 2026, 10:06 UTC", or as it came where it is no ISO time."""
    try:
        when = datetime.datetime.fromisoformat(iso)
    except ValueError:
        return iso
    if when.tzinfo is not None:
        when = when.astimezone(datetime.UTC)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"


def _setting(value: Any) -> str:
    """A setting as tables print it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "—" if math.isnan(value) else f"{value:.6g}".replace("-", "−")
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_setting, value))
    return "none" if value is None else str(value)


def _settings(mapping: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_setting(v)}" for name, v in mapping.items())


# --- the contract's files -----------------------------------------------------------------------


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def verdicts_json(results: Results, verdicts: list[Verdict]) -> dict[str, Any]:
    """The study's outcome as strict JSON values; NaN and infinities are null."""
    info = results.info
    return {
        "study": results.study.name,
        "scale": results.scale,
        "title": _title(results.study),
        "question": results.study.question,
        "answer": answer(results, verdicts),
        "partial": bool(info.get("partial")),
        "commit": info.get("commit"),
        "started_at": info.get("started_at"),
        "finished_at": info.get("finished_at"),
        "seconds": info.get("seconds"),
        "machine": f"{_device(info)}, {(info.get('provenance') or {}).get('cores', '?')} cores",
        "figures": [figure.name for figure in results.study.figures],
        "trials": results.counts,
        "claims": [
            {
                "id": v.id,
                "statement": v.statement,
                "source": v.source,
                "verdict": v.verdict,
                "effect": _finite(v.effect),
                "low": _finite(v.low),
                "high": _finite(v.high),
                "p": _finite(v.p),
                "margin": _finite(v.margin),
                "unit": v.unit,
                "n": v.n,
                "direction": v.direction,
                "quantity": v.quantity,
                "reason": v.reason,
                "words": in_words(v, results.study),
            }
            for v in verdicts
        ],
    }


def note(results: Results, verdicts: list[Verdict]) -> str:
    """The Markdown note of the study's tracked run."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    counts, info = results.counts, results.info
    lines = [f"## {cell(_title(results.study))}, {results.scale} scale", ""]
    lines += [f"**{cell(results.study.question)}**", "", cell(answer(results, verdicts)), ""]
    if verdicts:
        lines += ["| claim | verdict | effect | interval | margin | unit | n | p |"]
        lines += ["|---|---|--:|---|---|---|--:|--:|"]
    for v in verdicts:
        scale = scale_of(v, results.study)
        cells = [
            v.statement, f"**{v.verdict}**", scale.digits(v.effect, scale.places(v)), _interval(v, scale),
            _asked(v, scale, short=True), scale.unit, str(v.n), _p(v.p),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    lines += [
        "",
        f"Trials: {counts['finished']} finished, {counts['diverged']} diverged, "
        f"{counts['failed']} failed, of {counts['planned']} planned.",
        "",
        f"Reproduce at commit `{cell(_commit(info))}`:",
        "",
        f"    make study NAME={results.study.name} SCALE={results.scale}",
        "",
    ]
    return "\n".join(lines)


def _interval(verdict: Verdict, scale: Scale) -> str:
    if not verdict.n:
        return "—"
    places = scale.places(verdict)
    return f"{scale.digits(verdict.low, places)} to {scale.digits(verdict.high, places)}"


def in_words(verdict: Verdict, study: Study) -> tuple[str, str, str]:
    """Effect, interval and what is claimed, as tables print them."""
    scale = scale_of(verdict, study)
    effect = scale.words(verdict.effect, scale.places(verdict)) if verdict.n else "—"
    return effect, _interval(verdict, scale), _asked(verdict, scale, short=True)


def _title(study: Study) -> str:
    return study.title or study.name.replace("_", " ").capitalize()


def _commit(info: Mapping[str, Any], length: int = 12) -> str:
    commit = str(info.get("commit") or "unknown")[:length]
    return f"{commit} with local changes" if info.get("dirty") else commit


# --- the page -----------------------------------------------------------------------------------


def bar(verdict: Verdict, scale: Scale) -> str:
    """A drawn interval against the claim's margin, the claimed side shaded: SVG, or "" for none."""
    if not verdict.n or math.isnan(verdict.effect):
        return ""
    margins = (
        [verdict.margin] if verdict.direction != "within" else [-verdict.margin, verdict.margin]
    )
    neutral = [1.0] if scale.log else [0.0] if scale.signed else []
    known = [verdict.effect, verdict.low, verdict.high, *margins, *neutral]
    known = [v for v in known if math.isfinite(v) and (v > 0 or not scale.log)]

    def to(value: float) -> float:
        if not scale.log:
            return value
        return math.log(value) if value > 0 else -math.inf

    low, high = min(map(to, known)), max(map(to, known))
    pad = 0.14 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = low - pad, high + pad
    width, left, right, middle = 360, 6, 354, 27

    def at(value: float) -> float:
        share = (to(value) - low) / (high - low)
        return round(left + (right - left) * min(1.0, max(0.0, share)), 1)

    edges = [at(m) for m in margins]
    if verdict.direction == "within":
        shade = (edges[0], edges[1])
    else:
        shade = (edges[0], right) if verdict.direction == "above" else (left, edges[0])
    x0, x1, x = at(verdict.low), at(verdict.high), at(verdict.effect)
    effect = scale.words(verdict.effect, scale.places(verdict))
    label = (
        f"{verdict.verdict}: {effect}, {_interval(verdict, scale)}; "
        f"claimed {_asked(verdict, scale)}"
    )
    parts = [
        f'<svg class="bar {verdict.verdict}" viewBox="0 0 {width} 58" role="img" '
        f'aria-label="{_escaped(label)}">',
        f'<rect class="claimed" x="{shade[0]}" y="10" width="{round(shade[1] - shade[0], 1)}" '
        'height="34"/>',
        f'<path class="axis" d="M{left} 44H{right}"/>',
    ]
    for value in neutral:
        if value not in margins:
            parts.append(f'<path class="neutral" d="M{at(value)} 10V44"/>')
            if all(abs(at(value) - edge) > 52 for edge in edges):
                parts.append(_text(at(value), 55, "1×" if scale.log else "0", "soft"))
    for value, edge in zip(margins, edges, strict=True):
        parts.append(f'<path class="margin" d="M{edge} 10V44"/>')
        if len(edges) == 1 or edges[1] - edges[0] > 60 or value > 0:
            plain = scale if verdict.direction != "within" else Scale(scale.unit, scale.factor)
            parts.append(_text(edge, 55, plain.words(value), "soft"))
    parts.append(f'<path class="interval" d="M{x0} {middle}H{x1}"/>')
    for end, value, turn in ((x0, verdict.low, 1), (x1, verdict.high, -1)):
        inside = math.isfinite(value) and (value > 0 or not scale.log)
        cap = f"M{end} {middle - 5}V{middle + 5}"
        arrow = f"M{end + 5 * turn} {middle - 4}L{end} {middle}L{end + 5 * turn} {middle + 4}"
        parts.append(f'<path class="interval" d="{cap if inside else arrow}"/>')
    parts.append(f'<circle class="dot" cx="{x}" cy="{middle}" r="4.5"/>')
    parts.append(_text(x, 7.5, effect, "value"))
    return "".join(parts) + "</svg>"


def _text(x: float, y: float, text: str, kind: str) -> str:
    """SVG text kept inside the bar: anchored to the side it is near."""
    reach = 2.9 * len(text)
    anchor = "start" if x < reach else "end" if x > 360 - reach else "middle"
    x = max(2.0, x - 4) if anchor == "start" else min(358.0, x + 4) if anchor == "end" else x
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    import markupsafe

    return str(markupsafe.escape(text))


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(results: Results, verdicts: list[Verdict], drawn: Mapping[str, str]) -> str:
    """The report page: one file, nothing loaded from elsewhere.

    Args:
        results, verdicts: What is reported.
        drawn: Inline SVG of each figure of the study, by name.
    """
    study, info = results.study, results.info
    numbers = {f.name: i for i, f in enumerate(study.figures, 1)}
    claims = {claim.id: claim for claim in study.claims}
    cards: list[dict[str, Any]] = []
    for number, verdict in enumerate(verdicts, 1):
        scale = scale_of(verdict, study)
        cards.append(
            {
                "number": number,
                "v": verdict,
                "effect": scale.digits(verdict.effect, scale.places(verdict)),
                "interval": _interval(verdict, scale),
                "margin": _asked(verdict, scale, short=True),
                "unit": scale.unit,
                "p": _p(verdict.p),
                "bar": bar(verdict, scale),
                "sentence": sentence(verdict, study),
                "reason": _remark(verdict, claims.get(verdict.id)),
                "figure": numbers.get(verdict.figure or ""),
            }
        )
    shown = [
        {
            "number": numbers[figure.name],
            "name": figure.name,
            "caption": figure.caption,
            "svg": drawn[figure.name],
            "claims": [c["number"] for c in cards if c["v"].figure == figure.name],
        }
        for figure in study.figures
    ]
    title = _title(study)
    return str(
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            running=_css_string(f"{title} · {results.scale} scale"),
            css=(TEMPLATES / "style.css").read_text("utf-8"),
            study=study,
            scale=results.scale,
            answer=answer(results, verdicts),
            tally=_tally(v.verdict for v in verdicts),
            counts=results.counts,
            partial=bool(info.get("partial")),
            info=info,
            when=_moment(str(info.get("finished_at") or info.get("started_at") or "")),
            registered=_moment(str(info.get("registered_at") or "")),
            duration=_duration(float(info.get("seconds") or 0.0)),
            device=_device(info),
            commit=_commit(info),
            cards=cards,
            figures=shown,
            arms=_arms(results),
            tuned=_tuned(results),
            fixed=_fixed(results),
            budget=study.budget(results.scale),
            tallies=_by_arm(results),
            errors=_errors(results),
            errors_shown=ERRORS_SHOWN,
            trials=_trials(results),
            provenance=_provenance(results),
        )
    )


def _remark(verdict: Verdict, claim: Claim | None) -> str:
    """What the sentence does not already say of a verdict's reason."""
    reason = verdict.reason
    if not verdict.n or math.isnan(verdict.effect):
        return ""
    if claim is not None and isinstance(claim.check, Everywhere):
        reason = "; ".join(reason.split("; ")[1:])
    return reason


def _css_string(text: str) -> str:
    """Text as a CSS string that can neither end the string nor the style element."""
    safe = "".join(c if c.isalnum() or c in " .,·-" else f"\\{ord(c):x} " for c in text)
    return f'"{safe}"'


def _tally(outcomes: Iterable[str]) -> list[tuple[str, int]]:
    found = list(outcomes)
    return [(name, found.count(name)) for name in OUTCOMES if name in found]


def _device(info: Mapping[str, Any]) -> str:
    known = info.get("provenance") or {}
    gpu = str(known.get("gpu") or "")
    if gpu and gpu.lower() not in ("none", "no"):
        return gpu
    return str(known.get("cpu") or known.get("device") or "unknown")


def _arms(results: Results) -> list[dict[str, str]]:
    study = results.study
    return [
        {
            "label": study.label(name),
            "settings": _settings(arm.settings) or "—",
            "held": _settings(arm.held),
        }
        for name, arm in study.arms.items()
    ]


def _tuned(results: Results) -> dict[str, Any] | None:
    """The tuned settings as a table: arms down and cells across, or one row each where many."""
    study, table = results.study, results.winners()
    names = study.nuisance_names()
    if not len(table):
        return None
    rows: dict[tuple[str, tuple[Any, ...]], list[tuple[str, str]]] = {}
    for record in table.to_dict("records"):
        arm = str(record["arm"])
        held = study.arms[arm].held
        chosen = [
            (name.replace("_", " "), _drawn(record[name]) + (" held" if name in held else ""))
            for name in names
            if record[name] == record[name] and record[name] is not None
        ]
        rows[arm, tuple(record[factor] for factor in study.vary)] = chosen
    cells = list(dict.fromkeys(cell for _, cell in rows))
    arms = list(dict.fromkeys(arm for arm, _ in rows))
    heads = [", ".join(_level(f, v) for f, v in zip(study.vary, c, strict=True)) for c in cells]
    if len(cells) <= WIDE_CELLS:
        body = [(study.label(arm), [rows.get((arm, cell), []) for cell in cells]) for arm in arms]
        return {"wide": True, "heads": heads, "rows": body}
    body = [
        (study.label(arm), [[("", head)], rows[arm, cell]])
        for arm, (cell, head) in itertools.product(arms, zip(cells, heads, strict=True))
        if (arm, cell) in rows
    ]
    return {"wide": False, "heads": ["cell", "chosen"], "rows": body}


def _drawn(value: Any) -> str:
    return digits(value) if isinstance(value, float) else _setting(value)


def _level(factor: str, value: Any) -> str:
    return value if isinstance(value, str) else f"{factor.replace('_', ' ')} {_setting(value)}"


def _fixed(results: Results) -> list[tuple[str, str, bool]]:
    """What was held constant at this scale: name, value, and whether the scale changed it."""
    changed = results.study.budget(results.scale).settings
    values = {**results.study.fixed, **changed}
    return [
        (name.replace("_", " "), _setting(value), name in changed) for name, value in values.items()
    ]


def _by_arm(results: Results) -> list[tuple[str, list[int]]]:
    table = results.trials.groupby(["arm", "status"]).size()
    return [
        (results.study.label(arm), [int(table.get((arm, status), 0)) for status in STATUSES])
        for arm in results.study.arms
    ]


def _errors(results: Results) -> list[tuple[str, int]]:
    """Distinct error texts of failed trials with how often they came, most frequent first."""
    failed = results.trials.loc[results.trials["status"] == "failed", "error"]
    counts: dict[str, int] = {}
    for text in failed.fillna("no message"):
        counts[str(text)] = counts.get(str(text), 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _trials(results: Results) -> dict[str, Any]:
    """The trials a reader looks for first: failed, diverged, confirmed, then tuned."""
    study = results.study
    wanted = {*study.select, *(v.check.metric for v in study.claims)}
    metrics = [name for name in study.metrics if name in wanted][:6]
    first = ["status", "phase", "arm", *study.vary, *study.nuisance_names(), "seed"]
    table = results.trials
    rank = {"failed": 0, "diverged": 1}
    keys = [
        (rank.get(s, 2), p == "tune") for s, p in zip(table["status"], table["phase"], strict=True)
    ]
    order = sorted(range(len(table)), key=keys.__getitem__)
    some = table.iloc[order[:TRIALS_SHOWN]]
    heads = [name.replace("_", " ") for name in [*first, *metrics]]
    rows = [
        [study.label(v) if name == "arm" else _cell(v) for name, v in zip(first, head, strict=True)]
        + [_cell(v) for v in values]
        for head, values in zip(
            some[first].itertuples(index=False), some[metrics].itertuples(index=False), strict=True
        )
    ]
    numeric = [name not in ("status", "phase", "arm", *study.vary) for name in [*first, *metrics]]
    return {"heads": heads, "rows": rows, "numeric": numeric, "total": len(table)}


def _cell(value: Any) -> str:
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return "∞" if value == math.inf else "−∞" if value == -math.inf else f"{value:.4g}"
    return str(value)


def _provenance(results: Results) -> list[tuple[str, str]]:
    info = results.info
    known = {
        "commit": info.get("commit") and _commit(info, 40),
        "plan": info.get("plan"),
        "claims": info.get("claims_hash"),
        "claims written down": info.get("registered_at"),
        "started": info.get("started_at"),
        "finished": info.get("finished_at"),
        "command": info.get("command"),
        "MLflow experiment": info.get("experiment_id"),
        "MLflow run": info.get("run_id"),
    }
    rows = [(name, str(value)) for name, value in known.items() if value]
    return rows + [(str(k), str(v)) for k, v in (info.get("provenance") or {}).items()]


# --- the PDF ------------------------------------------------------------------------------------

_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
<include ignore_missing="yes">{system}</include>
<dir>{folder}</dir><cachedir prefix="xdg">fontconfig</cachedir>
<selectfont><rejectfont>
<glob>{folder}/LastResort*</glob><glob>{folder}/STIX*</glob><glob>{folder}/cm*</glob>
<glob>{folder}/*Display*</glob>
</rejectfont></selectfont>
<alias binding="weak"><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
<alias binding="weak"><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
<alias binding="weak"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@functools.cache
def _engine() -> Any:
    """The PDF engine, with fonts to fall back on: without any it would print blank pages."""
    import plutoprint

    before = os.environ.get("FONTCONFIG_FILE")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fonts.conf")
        system = before or "/etc/fonts/fonts.conf"
        path.write_text(_FONTS.format(system=system, folder=figures.font_folder()), "utf-8")
        os.environ["FONTCONFIG_FILE"] = str(path)
        try:
            book = plutoprint.Book(plutoprint.PAGE_SIZE_A4)
            book.load_html("<p>fonts are read at the first use</p>")
            book.write_to_pdf_stream(io.BytesIO())
        finally:
            os.environ.pop("FONTCONFIG_FILE")
            if before is not None:
                os.environ["FONTCONFIG_FILE"] = before
    return plutoprint


def pdf(page: str, title: str, when: str) -> bytes:
    """A page of `html` as PDF; `when` (ISO) is its creation date, so that bytes repeat."""
    engine = _engine()
    book = engine.Book(engine.PAGE_SIZE_A4, engine.PAGE_MARGINS_NONE, engine.MEDIA_TYPE_PRINT)
    book.load_html(page, base_url="report:/")
    book.set_metadata(engine.PDF_METADATA_TITLE, title)
    for date in (engine.PDF_METADATA_CREATION_DATE, engine.PDF_METADATA_MODIFICATION_DATE):
        book.set_metadata(date, when)
    stream = io.BytesIO()
    book.write_to_pdf_stream(stream)
    return stream.getvalue()


# --- files --------------------------------------------------------------------------------------


def write(results: Results, verdicts: list[Verdict], folder: Path) -> dict[str, Path]:
    """Write report.html, report.pdf, verdicts.json, rows.parquet, trials.csv and figures/*.svg.

    All are made in a folder beside the target first and moved when the last is done, so an error
    leaves the former report as it was.

    Returns:
        The path of each file, by its name under `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, info = results.study, results.info
    drawn = {
        f.name: figures.svg(f.draw(study, results.frame), f.name, f.caption) for f in study.figures
    }
    page = html(results, verdicts, drawn)
    when = str(info.get("finished_at") or info.get("started_at") or "2000-01-01T00:00:00+00:00")
    document = json.dumps(
        verdicts_json(results, verdicts), indent=2, ensure_ascii=False, allow_nan=False
    )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        staged = Path(new)
        (staged / "figures").mkdir()
        (staged / "report.html").write_text(page, "utf-8")
        (staged / "report.pdf").write_bytes(pdf(page, _title(study), when))
        (staged / "verdicts.json").write_text(document + "\n", "utf-8")
        results.frame.to_parquet(
            staged / "rows.parquet", index=False, engine="pyarrow", compression="zstd"
        )
        results.trials.to_csv(staged / "trials.csv", index=False)
        for name, text in drawn.items():
            (staged / "figures" / f"{name}.svg").write_text(figures.standalone(text), "utf-8")
        (folder / "figures").mkdir(exist_ok=True)
        names = sorted(p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file())
        for name in names:
            os.replace(staged / name, folder / name)
    for old in (folder / "figures").glob("*.svg"):
        if old.stem not in drawn:  # of a figure that the study no longer has
            old.unlink()
    return {name: folder / name for name in names}


def write_index(reports_root: Path) -> Path:
    """Write index.html, the board of all studies reported under `reports_root`."""
    entries = []
    for path in sorted(reports_root.glob("*/*/verdicts.json")):
        where = path.parent.relative_to(reports_root).as_posix()
        entry: dict[str, Any] = {"where": where, "error": ""}
        page = path.parent / "report.html"
        entry["link"] = f"{where}/report.html" if page.is_file() else ""
        try:
            found = json.loads(path.read_text("utf-8"))
            entry |= {
                "study": str(found["study"]),
                "title": str(found.get("title") or found["study"]),
                "scale": str(found["scale"]),
                "question": str(found.get("question") or ""),
                "answer": str(found.get("answer") or ""),
                "partial": bool(found.get("partial")),
                "trials": {k: int(v) for k, v in found["trials"].items()},
                "when": _moment(str(found.get("finished_at") or found.get("started_at") or "")),
                "commit": str(found.get("commit") or "")[:12],
                "claims": [(str(c["statement"]), str(c["verdict"])) for c in found["claims"]],
            }
            entry["tally"] = _tally(verdict for _, verdict in entry["claims"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            entry["error"] = f"{type(problem).__name__}: {problem}"
        entries.append(entry)
    css = (TEMPLATES / "style.css").read_text("utf-8")
    text = _environment().get_template("index.html").render(entries=entries, css=css)
    reports_root.mkdir(parents=True, exist_ok=True)
    target = reports_root / "index.html"
    with tempfile.TemporaryDirectory(dir=reports_root, prefix=".new-") as new:
        staged = Path(new, "index.html")
        staged.write_text(text, "utf-8")
        os.replace(staged, target)
    return target
