"""Sentences about what a number of seeds can decide, made from forecasts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.claims import Check, Verdict, shown
from harness.claims.power import MOST, POWER, Forecast, of_claim, planned
from harness.ledger.results import Results
from harness.report import words
from harness.report.numbers import Scale
from harness.study import Study


def after(results: Results, verdicts: Sequence[Verdict]) -> dict[str, Forecast]:
    """What the trials of undecided claims could have decided, at the levels of their intervals.

    Returns:
        A forecast by a claim's id; of those alone that were looked at, and that can be forecast.
    """
    study, frame, found = results.study, results.timed, {}
    for verdict in verdicts:
        claim = words.claim_of(verdict, study)
        if claim is None or verdict.verdict != "inconclusive" or not verdict.n or not verdict.level:
            continue
        confirmed = claim.check.phase == "confirm"
        count = verdict.n if confirmed else planned(study, claim.check, results.scale)
        one = of_claim(study, claim, frame, count, verdict.level)
        if not one.why:
            found[claim.id] = one
    return found


def sentence(found: Forecast, study: Study) -> str:
    """What the trials of an undecided claim could have decided, and what it would take."""
    scale = _scale(found, study)
    text = f"{found.planned:,} {found.unit} {_decides(found, study)} in {100 * POWER:.0f} % of runs"
    seen = f"the effect seen, {scale.words(found.truth)},"
    if found.needed is None:
        open_ = math.isinf(found.low) != math.isinf(found.high)
        why = "some have no finite score" if open_ else f"{seen} lies at the margin"
        return f"{text}; no number of {found.unit} up to {MOST:,} would do, as {why}."
    if found.needed <= found.planned:
        return f"{text}; {seen} is decided by so many in {100 * found.power:.0f} %."
    return f"{text}; {seen} takes about {float(f'{found.needed:.2g}'):,.0f} {found.unit}."


def _decides(found: Forecast, study: Study) -> str:
    """What is decided, in words: "decide effects under −2 or over +3 points"."""
    scale = _scale(found, study)
    if _check(found, study).direction == "within":
        bare = Scale(scale.unit, scale.factor)
        inside = "no effect" if math.isnan(found.low) else f"effects under {bare.words(found.low)}"
        outside = f"those over {bare.words(found.high)}" if math.isfinite(found.high) else "none"
        return f"show {inside} to lie inside the band and {outside} to lie outside"
    bounds = (("under", found.low), ("over", found.high))
    sides = [
        (word, value)
        for word, value in bounds
        if math.isfinite(value) and (value > 0 or not scale.log)
    ]
    if not sides:
        return "decide no effect"
    *first, (word, last) = sides
    told = [f"{word} {scale.digits(value)}" for word, value in first]
    return f"decide effects {' or '.join([*told, f'{word} {scale.words(last)}'])}"


def row(found: Forecast, study: Study, seen: bool) -> dict[str, str]:
    """A forecast as a line of a table has it."""
    check, scale = _check(found, study), _scale(found, study)
    unit = found.unit
    known = "" if math.isnan(found.truth) else scale.digits(found.truth)
    needed = "" if found.needed is None else f"{found.needed:,} {unit}"
    if known and found.needed is None:
        needed = f"over {MOST:,} {unit}"
    if check.direction == "within":
        bare = Scale(scale.unit, scale.factor)
        low = "none" if math.isnan(found.low) else f"± {bare.digits(found.low)}"
        decides = f"inside {low}, outside ± {bare.digits(found.high)}"
    else:
        decides = f"≤ {scale.digits(found.low)}, ≥ {scale.digits(found.high)}"
    return {
        "family": found.family,
        "level": f"{found.level:.2g}",
        "planned": f"{found.planned:,} {unit}",
        "margin": "" if found.why else scale.words(found.margin),
        "decides": found.why or decides,
        "effect": known if seen or not known else f"{known} (if alike)",
        "power": "" if math.isnan(found.power) else f"{100 * found.power:.0f} %",
        "needed": needed,
    }


def _check(found: Forecast, study: Study) -> Check:
    claim = next(claim for claim in study.claims if claim.id == found.claim)
    return shown(claim.check, found.weakest)


def _scale(found: Forecast, study: Study) -> Scale:
    check = _check(found, study)
    return words.scale_for(check, check.unit(study))
