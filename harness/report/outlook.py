"""What would change a verdict: seeds, margin and scale, in sentences made from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.claims import Check, Everywhere, Statistic, Verdict, shown
from harness.claims.power import MOST, POWER, Forecast, of_claim, planned
from harness.ledger.results import Results
from harness.report import numbers, words
from harness.report.numbers import Scale
from harness.study import Study


def after(results: Results, verdicts: Sequence[Verdict]) -> dict[str, Forecast]:
    """What the trials of claims could have decided, at the levels of their intervals.

    Returns:
        A forecast by a claim's id; of those alone that were looked at, and that can be forecast. Of
        a plain function, which takes long to draw again, only where it is open.
    """
    study, frame, found = results.study, results.timed, {}
    for verdict in verdicts:
        claim = words.claim_of(verdict, study)
        if claim is None or not verdict.n or not verdict.level:
            continue
        open_ = verdict.verdict == "inconclusive"
        if not open_ and isinstance(claim.check, Statistic):
            continue
        confirmed = claim.check.phase == "confirm"
        count = verdict.n if confirmed else planned(study, claim.check, results.scale)
        one = of_claim(study, claim, frame, count, verdict.level, further=open_)
        if not one.why:
            found[claim.id] = one
    return found


def change(verdict: Verdict, found: Forecast | None, results: Results) -> str:
    """What would change a verdict, in one to three short sentences.

    Args:
        found: From `after`, where there is one.
    """
    study = results.study
    if not verdict.n or math.isnan(verdict.effect):
        told = ["Trials that have what it lacks"]
    elif verdict.verdict == "inconclusive":
        told = [sentence(found, study).rstrip(".")] if found else ["More seeds, or a larger effect"]
    else:
        told = [_margin(verdict, study), _seeds(found)]
    return " ".join(f"{one}." for one in [*told, _scales(results)] if one)


def _margin(verdict: Verdict, study: Study) -> str:
    """How far the margin of a decided claim would have to move; "" where none would do."""
    scale, claim = words.scale_of(verdict, study), words.claim_of(verdict, study)
    held, low, high, margin = (
        verdict.verdict == "supported",
        verdict.low,
        verdict.high,
        verdict.margin,
    )
    if verdict.direction == "within":
        near, far = sorted((abs(low), abs(high)))
        near = 0.0 if low <= 0 <= high else near
        bounds = (far, near) if held else (near, far)
        inside = far < margin if held else near > margin
        if not inside:
            return ""
        scale, word = Scale(scale.unit, scale.factor), "narrower than ±" if held else "wider than ±"
    else:
        up = (verdict.direction == "above") == held
        bounds = (low, high) if up else (high, low)
        if (bounds[0] <= margin) if up else (bounds[0] >= margin):
            return ""
        word = "over" if up else "under"
    # of several checks one decides against a claim, and others may when it does not
    several = claim is not None and isinstance(claim.check, Everywhere) and not held
    outcomes = ("leave it open", "" if several else "refute it" if held else "support it")
    least = 0.0 if scale.log or verdict.direction == "within" else -math.inf
    known = [
        (bound, what)
        for bound, what in zip(bounds, outcomes, strict=True)
        if what and math.isfinite(bound) and bound > least
    ]
    decimals = words.places(verdict, scale)
    if len({scale.words(bound, decimals) for bound, _ in known}) < len(known):
        known = known[1:]  # the interval has no length
    if not known:
        return ""
    *first, (bound, what) = known
    told = [f"{word} {scale.digits(one, decimals)} would {result}" for one, result in first]
    would = "" if told else "would "
    return f"A margin {', '.join([*told, f'{word} {scale.words(bound, decimals)} {would}{what}'])}"


def _seeds(found: Forecast | None) -> str:
    """How often so many seeds or draws decide what was seen; "" where that is not known."""
    if found is None or math.isnan(found.power) or not math.isfinite(found.truth):
        return ""
    power = f"{100 * found.power:.0f} %"
    return f"Its {found.planned:,} {found.unit} decide such an effect in {power} of runs"


def _scales(results: Results) -> str:
    """That the scale of the papers may differ, and in what; "" at that scale, or without it."""
    study = results.study
    if results.scale == "paper" or "paper" not in study.budgets:
        return ""
    here = {**study.fixed, **study.budget(results.scale).settings}
    other = {
        name: value
        for name, value in study.budget("paper").settings.items()
        if isinstance(value, str | int | float) and here.get(name) != value
    }
    some = dict(sorted(other.items(), key=lambda one: not isinstance(one[1], str))[:2])
    return f"The paper scale{f' ({numbers.settings(some)})' if some else ''} may differ"


def sentence(found: Forecast, study: Study) -> str:
    """What the trials of an undecided claim could have decided, and what it would take."""
    scale = _scale(found, study)
    text = f"{found.planned:,} {found.unit} {_decides(found, study)} in {100 * POWER:.0f} % of runs"
    seen = f"the effect seen, {scale.words(found.truth)},"
    if found.needed is None:
        open_ = math.isinf(found.low) != math.isinf(found.high)
        why = "some have no finite score" if open_ else f"{seen} lies too near the margin"
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
