"""A study's outcome for other programs (JSON) and for the tracked run's note (Markdown)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.claims import Beside, Verdict, explore
from harness.ledger.results import Results
from harness.report import numbers, words
from harness.report.quoting import quote
from harness.study import Study


def verdicts_json(results: Results, verdicts: list[Verdict]) -> dict[str, Any]:
    """The study's outcome as strict JSON values; NaN and infinities are null."""
    info, study = results.info, results.study
    machine = f"{words.device(info)}, {(info.get('provenance') or {}).get('cores', '?')} cores"
    late = {change["id"]: change for change in info.get("claims_changed") or ()}
    then, firsts = words.as_first(results)
    return {
        "study": study.name,
        "scale": results.scale,
        "title": words.title(study),
        "question": study.question,
        "answer": words.answer(results, verdicts),
        "partial": bool(info.get("partial")),
        "commit": info.get("commit"),
        "started_at": info.get("started_at"),
        "finished_at": info.get("finished_at"),
        "registered_at": info.get("registered_at"),
        "claims_hash": info.get("claims_hash"),
        "seconds": info.get("seconds"),
        "cost": words.cost(results),
        "machine": machine,
        "figures": [figure.name for figure in study.figures],
        "trials": results.counts,
        "test_scored": results.test_scored,
        "exploratory": [_explored(one, study) for one in explore(study, results.timed)],
        "claims": [
            {
                "id": v.id,
                "statement": v.statement,
                "source": v.source,
                "cites": words.cites(words.claim_of(v, study), study),
                "verdict": v.verdict,
                "effect": _finite(v.effect),
                "low": _finite(v.low),
                "high": _finite(v.high),
                "p": _finite(v.p),
                "margin": _finite(v.margin),
                "unit": v.unit,
                "n": v.n,
                "level": v.level,
                "replication": v.replication,
                "timed": v.timed,
                "test": v.test,
                "direction": v.direction,
                "quantity": v.quantity,
                "weakest": words.weakest(v, study) or None,
                "reason": v.reason,
                "gate": v.gate,
                "improvement": _beside(v.improvement),
                "middle": v.middle,
                "published": known._asdict() if (known := words.published(v)) else None,
                "figure": v.figure,
                "changed_late": v.id in late,
                "amended": _amended(late.get(v.id), firsts.get(v.id), then),
                "words": words.in_words(v, study),
                "quote": quote(results, v),
            }
            for v in verdicts
        ],
    }


def _explored(found: Verdict, study: Study) -> dict[str, Any]:
    """An estimate of what nobody has registered."""
    return {
        "id": found.id, "statement": found.statement, "source": found.source,
        "effect": _finite(found.effect), "low": _finite(found.low), "high": _finite(found.high),
        "unit": found.unit, "n": found.n, "test": found.test, "quantity": found.quantity,
        "reason": found.reason, "words": words.in_words(found, study),
    }  # fmt: skip


def _amended(
    change: Mapping[str, Any] | None, found: Verdict | str | None, then: Study
) -> dict[str, Any] | None:
    """How a claim was changed after trials existed, and what it would have said before; or None."""
    if change is None and found is None:
        return None
    told = {name: (change or {}).get(name) for name in ("what", "at", "trials", "reason")}
    first = None
    if isinstance(found, Verdict):
        first = {"verdict": found.verdict, "margin": _finite(found.margin), "n": found.n} | {
            name: _finite(getattr(found, name)) for name in ("effect", "low", "high", "p")
        }
    return {**told, "first": first, "words": words.first(found, then)}


def _beside(found: Beside | None) -> dict[str, float | None] | None:
    return {name: _finite(value) for name, value in found._asdict().items()} if found else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def note(results: Results, verdicts: list[Verdict]) -> str:
    """The Markdown note of the study's tracked run."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

    counts, info, study = results.counts, results.info, results.study
    lines = [f"## {cell(words.title(study))}, {results.scale} scale", ""]
    lines += [f"**{cell(study.question)}**", "", cell(words.answer(results, verdicts)), ""]
    if verdicts:
        lines += ["| claim | verdict | effect | interval | margin | unit | n | p |"]
        lines += ["|---|---|--:|---|---|---|--:|--:|"]
    for v in verdicts:
        scale = words.scale_of(v, study)
        cells = [
            v.statement, f"**{v.verdict}**", scale.digits(v.effect, words.places(v, scale)),
            words.interval(v, scale), words.asked(v, scale, short=True), scale.unit, str(v.n),
            numbers.probability(v.p),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    lines += [
        "",
        f"Trials: {counts['finished']} finished, {counts['diverged']} diverged, "
        f"{counts['failed']} failed, of {counts['planned']} planned.",
        "",
        *([cell(tested), ""] if (tested := words.tested(results)) else []),
        f"Reproduce at commit `{cell(words.commit(info))}`:",
        "",
        f"    make study NAME={study.name} SCALE={results.scale}",
        "",
    ]
    return "\n".join(lines)
