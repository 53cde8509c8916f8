"""Sentences about verdicts, made from their numbers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from harness.claims import Check, Difference, Everywhere, Ratio, Verdict, amended, shown
from harness.ledger.results import Results
from harness.report import numbers
from harness.report.numbers import Scale
from harness.study import Claim, Study, of_test

UNTOLD = "What it would have said as first registered cannot be told: {}."
ONCE = f"What the claims would have said as first registered cannot be told: {amended.BUDGET}."
OUTCOMES = ("supported", "refuted", "inconclusive", "not judged")


def title(study: Study) -> str:
    return study.title or numbers.plain(study.name).capitalize()


def commit(info: Mapping[str, Any], length: int = 12) -> str:
    """The commit a run was made at, and whether files differed from it."""
    text = str(info.get("commit") or "unknown")[:length]
    return f"{text} with local changes" if info.get("dirty") else text


def device(info: Mapping[str, Any]) -> str:
    """The GPU where there is one, else the CPU."""
    known = info.get("provenance") or {}
    gpu = str(known.get("gpu") or "")
    if gpu and gpu.lower() not in ("none", "no"):
        return gpu
    return str(known.get("cpu") or known.get("device") or "unknown")


def cost(results: Results) -> str:
    """What all trials took together: each one's share of its pack, on one core or one GPU."""
    spent = float(results.trials["seconds"].fillna(0.0).sum()) if len(results.trials) else 0.0
    on_gpu = (results.info.get("provenance") or {}).get("device") == "cuda"
    kind = "GPU" if on_gpu else "core"
    if spent >= 36000:
        return f"{spent / 3600:,.0f} {kind}-hours"
    return f"{spent:,.0f} {kind}-seconds" if spent >= 10 else f"{spent:.1f} {kind}-seconds"


def size(svg: str) -> tuple[str, str] | None:
    """Width and height of a drawing, in its own units."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg[:4000])
    return (found[1], found[2]) if found else None


# --- one verdict --------------------------------------------------------------------------------


def claim_of(verdict: Verdict, study: Study) -> Claim | None:
    """The claim that a verdict judges; None where the study no longer has it."""
    return next((claim for claim in study.claims if claim.id == verdict.id), None)


def check_of(verdict: Verdict, study: Study) -> Check | None:
    """The check whose numbers a verdict shows: of several, the weakest."""
    claim = claim_of(verdict, study)
    return shown(claim.check, verdict.weakest) if claim else None


def weakest(verdict: Verdict, study: Study) -> str:
    """What the weakest of several checks measures; "" where the claim has but one."""
    check = check_of(verdict, study)
    return check.quantity(study) if check and verdict.weakest else ""


def scale_of(verdict: Verdict, study: Study) -> Scale:
    """How a verdict's numbers are printed, from what its check measures; of several checks, the one
    whose numbers they are."""
    return scale_for(check_of(verdict, study), verdict.unit)


def scale_for(check: Check | None, unit: str) -> Scale:
    """How the numbers of a check are printed."""
    difference = isinstance(check, Difference) and not isinstance(check, Ratio)
    if isinstance(check, Ratio) or unit.startswith("ratio"):
        return Scale("×", log=True)
    if unit == "fraction":
        return Scale("points" if difference else "%", 100.0, difference)
    if unit == "%" and difference:
        return Scale("points", signed=True)
    return Scale(unit, signed=difference, steps=unit == "steps")


def places(verdict: Verdict, scale: Scale) -> int | None:
    """Decimals that a verdict's numbers are printed with."""
    return scale.places(verdict.effect, verdict.low, verdict.high)


def effect(verdict: Verdict, scale: Scale) -> str:
    return scale.words(verdict.effect, places(verdict, scale)) if verdict.n else "—"


def interval(verdict: Verdict, scale: Scale) -> str:
    if not verdict.n:
        return "—"
    decimals = places(verdict, scale)
    return f"{scale.digits(verdict.low, decimals)} to {scale.digits(verdict.high, decimals)}"


def asked(verdict: Verdict, scale: Scale, short: bool = False) -> str:
    """What the claim asks for: "more than 2 points", or "> +2" for a table."""
    if verdict.direction == "within":
        bare = Scale(scale.unit, scale.factor)
        return (
            f"± {bare.digits(verdict.margin)}"
            if short
            else f"within ± {bare.words(verdict.margin)}"
        )
    if short:
        return f"{'>' if verdict.direction == 'above' else '<'} {scale.digits(verdict.margin)}"
    return (
        f"{'more' if verdict.direction == 'above' else 'less'} than {scale.words(verdict.margin)}"
    )


def in_words(verdict: Verdict, study: Study) -> tuple[str, str, str]:
    """Effect, interval and what is claimed, as tables print them."""
    scale = scale_of(verdict, study)
    return effect(verdict, scale), interval(verdict, scale), asked(verdict, scale, short=True)


def replicates(verdict: Verdict) -> str:
    """ "20 seeds"."""
    unit = verdict.replication
    return f"{verdict.n} {unit if verdict.n == 1 else unit + 's'}"


def sentence(verdict: Verdict, study: Study) -> str:
    """A claim's outcome in words, made from its numbers alone."""
    scale = scale_of(verdict, study)
    if not verdict.n or math.isnan(verdict.effect):
        if verdict.gate:
            return f"Not judged: {verdict.gate}."
        return f"Not decided: {verdict.reason or 'nothing was measured'}."
    quantity = verdict.quantity or "The effect"
    claim = claim_of(verdict, study)
    if claim is not None and isinstance(claim.check, Everywhere):
        count = len(claim.check.checks)
        quantity = f"In the least favourable of {count} places, {weakest(verdict, study)}"
    return (
        f"{quantity[0].upper()}{quantity[1:]}: {effect(verdict, scale)}, interval "
        f"{interval(verdict, scale)}, over {replicates(verdict)}. "
        f"The claim asks for {asked(verdict, scale)}; {_position(verdict)}."
    )


def remark(verdict: Verdict, study: Study) -> str:
    """What the sentence does not already say of a verdict's reason."""
    return verdict.reason if verdict.n and not math.isnan(verdict.effect) else ""


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
    return f"the corrected p is {numbers.probability(verdict.p)}"


def improvement(verdict: Verdict, study: Study) -> str:
    """Of a difference of two arms: how likely one trial of the first beats one of the second."""
    check, found = check_of(verdict, study), verdict.improvement
    if found is None or not isinstance(check, Difference):
        return ""
    percent = Scale("%", 100.0)
    places = percent.places(found.effect, found.low, found.high)
    ends = f"{percent.digits(found.low, places)} to {percent.digits(found.high, places)}"
    return (
        f"{percent.words(found.effect, places)}, interval {ends}: how likely "
        f"{check.improvement(study)}, one trial each"
    )


def middle(verdict: Verdict, study: Study) -> str:
    """Of a mean that values far out may sway: that of the middle half."""
    if verdict.middle is None:
        return ""
    scale = scale_of(verdict, study)
    value = scale.words(verdict.middle, places(verdict, scale))
    return f"{value}: the mean without the quarter at either end, where some lie far out"


def stopping(verdict: Verdict) -> str:
    """Where seeds are added until claims are decided: when this one was; else ""."""
    if not verdict.look:
        return ""
    done = "open after" if verdict.verdict == "inconclusive" else "decided at"
    return (
        f"{done} look {verdict.look}, with {verdict.seeds_used} of at most "
        f"{verdict.seeds_allowed} seeds a cell"
    )


class Known(NamedTuple):
    """What the literature says: words, how it is known ("" where not said), and maybe a number."""

    words: str
    trust: str
    value: float | None


def published(verdict: Verdict) -> Known | None:
    """A verdict's published finding; a plain text says neither how it is known nor a number."""
    found: Any = verdict.published
    if not found:
        return None
    value = getattr(found, "value", None)
    return Known(
        str(getattr(found, "words", found)),
        str(getattr(found, "trust", "")),
        value if value is not None and math.isfinite(value) else None,
    )


def within(claim: Mapping[str, Any]) -> str:
    """Whether what the literature reports lies in a claim's interval, as its verdicts.json has both.

    Returns:
        "yes", "no", or "" where the one has no number in the unit of the effect or the other no end.
    """
    value = (claim.get("published") or {}).get("value")
    low, high = claim.get("low"), claim.get("high")
    if value is None or claim.get("effect") is None or (low is None and high is None):
        return ""
    inside = (-math.inf if low is None else low) <= value <= (math.inf if high is None else high)
    return "yes" if inside else "no"


def cites(claim: Claim | None, study: Study) -> list[str]:
    """The decks and papers that a claim's source names."""
    if claim is None:
        return []
    tags = dict.fromkeys(re.findall(r"\[\w+\]", claim.source))
    return [str(study.sources[tag]) for tag in tags if tag in study.sources]


def changes(results: Results) -> list[dict[str, str]]:
    """What was claimed differently once trials existed: the claim's id ("" for the budget), and a sentence.

    A change made then could have been made in the light of the results.
    """
    found = []
    for change in results.info.get("claims_changed") or ():
        id_, what = str(change.get("id") or ""), str(change.get("what"))
        trials, at = int(change.get("trials") or 0), str(change.get("at") or "")
        statement = str(change.get("statement") or "")
        since = f"when {trials:,} {'trial' if trials == 1 else 'trials'} had run"
        since += f" ({numbers.moment(at)})" if at else ""
        if "reason" in change:
            why = str(change["reason"]).strip().rstrip(".")
            since += f", with the reason “{why}”" if why else ", without a reason"
        if what == "budget":
            text = f"The budget was changed {since}: {statement}."
        elif what == "families":
            text = f"The families of claims were changed {since}: {statement}."
        elif what == "removed":
            text = (
                f"The claim “{statement.rstrip('.')}” was removed after {trials:,} trials had run."
            )
        else:
            text = f"Claim {id_} was {what} {since}."
        here = f"This claim was {what} {since}."  # on its own card
        found.append({"id": id_, "what": what, "text": text, "here": here})
    return found


def as_first(results: Results) -> tuple[Study, dict[str, Verdict | str]]:
    """What claims that were changed late would have said as first registered: see
    `claims.amended.as_first`."""
    info = results.info
    if not info.get("amended"):
        return results.study, {}
    return amended.as_first(results.study, results.scale, results.timed, info["amended"])


def first(found: Verdict | str | None, then: Study) -> str:
    """The same in a sentence, of one claim; "" where there is nothing to say."""
    if found is None:
        return ""
    if isinstance(found, str):
        return UNTOLD.format(found)
    if found.gate:
        return f"As first registered it would not have been judged: {found.gate}."
    shown, between, claimed = in_words(found, then)
    return (
        f"As first registered it would be {found.verdict}: {shown}, interval {between}, over "
        f"{replicates(found)}, where {claimed} was claimed."
    )


def first_of_all(firsts: Mapping[str, Verdict | str]) -> str:
    """The same in one sentence, where nothing can be told of any claim as the budget was changed;
    else ""."""
    return ONCE if amended.BUDGET in firsts.values() else ""


def stated_first(claims: Iterable[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The same of a verdicts file's claims: what is said once, of all, or "", and what of each."""
    each = [str((claim.get("amended") or {}).get("words") or "") for claim in claims]
    return (ONCE, [""] * len(each)) if UNTOLD.format(amended.BUDGET) in each else ("", each)


def changed(found: list[dict[str, str]]) -> str:
    """All changes in one sentence, or "" where nothing was changed late."""
    if len(found) == 1:
        return found[0]["text"]
    counts = {
        what: [c["what"] for c in found].count(what) for what in ("added", "changed", "removed")
    }
    parts = [
        f"{n} {'claim was' if n == 1 else 'claims were'} {what}" for what, n in counts.items() if n
    ]
    if any(c["what"] == "budget" for c in found):
        parts.append("the budget was changed")
    if any(c["what"] == "families" for c in found):
        parts.append("their families were changed")
    return f"{_listed(parts)} when trials had already run." if parts else ""


def tested(results: Results) -> str:
    """How often the test split was scored, and when; "" where no metric is of it."""
    study, found = results.study, results.test_scored
    if not any(map(of_test, study.metrics)):
        return ""
    total = sum(found.values())
    if not total:
        return "The test split was not scored."
    # of published rows some are left out
    least = "at least " if results.info.get("every", 1) > 1 else ""
    times = "once" if total == 1 else f"{total:,} times"
    text = f"The test split was scored {least}{times} (trials × records)"
    if [*found] == ["confirm"]:
        return f"{text}, in the confirm phase only."
    shares = [f"{count:,} in the {phase} phase" for phase, count in found.items()]
    text += f", {_listed(shares) if len(found) > 1 else f'all in the {next(iter(found))} phase'}"
    if read := [phase for phase in found if phase in study.unsealed]:
        claims = {id_ for phase in read for id_ in study.unsealed[phase]}
        some = "a claim reads" if len(claims) == 1 else f"{len(claims)} claims read"
        text += f"; {some} the {_phases(read)}"
    if more := [phase for phase in found if study.sealed(phase)]:
        text += f"; no claim reads the {_phases(more)}, and a run now would not score it there"
    return f"{text}."


ORDERS = {
    "holm": "in Holm’s order",
    "sequence": "one after the other as declared",
    "bonferroni": "each with an equal part",
}


def correction(study: Study) -> str:
    """How a study's claims are corrected, in words; families by their claims' numbers."""
    if not study.families:
        return "All claims of the study are corrected together with Holm’s procedure"
    parts = []
    for name, (family, members) in zip(study.families, study.grouped(), strict=True):
        which = ", ".join(str(i + 1) for i in members) or "none"
        parts.append(
            f"{numbers.plain(name)} ({100 * family.share:.0f} % of the allowed error, {ORDERS[family.order]}; "
            f"claims {which})"
        )
    return (
        f"Claims are corrected in families declared in advance: {_listed(parts)}. What decided "
        "claims held passes to open ones, and a decided family’s to the next (Bretz et al. 2009)"
    )


def _phases(names: list[str]) -> str:
    return f"{_listed(names)} {'phase' if len(names) == 1 else 'phases'}"


# --- all verdicts -------------------------------------------------------------------------------


def outcome(claim: Mapping[str, Any]) -> str:
    """What readers are told of a claim in `verdicts.json`, as `Verdict.word`."""
    return "not judged" if claim.get("gate") else str(claim["verdict"])


def tally(outcomes: Iterable[str]) -> list[tuple[str, int]]:
    """How often each outcome came, in a fixed order, those that did not left out."""
    found = list(outcomes)
    return [(name, found.count(name)) for name in OUTCOMES if name in found]


def answer(results: Results, verdicts: list[Verdict]) -> str:
    """The study's answer in one sentence, counted from its verdicts."""
    if not verdicts:
        return "The study makes no claims; its figures show what was measured."
    by = {outcome: [v for v in verdicts if v.word == outcome] for outcome in OUTCOMES}
    held, against, open_, closed = (len(by[outcome]) for outcome in OUTCOMES)
    total = len(verdicts)
    if total == 1:
        word = {
            "supported": "holds",
            "refuted": "is refuted",
            "inconclusive": "stays undecided",
            "not judged": "is not judged at this scale",
        }
        text = f"The one claim {word[verdicts[0].word]}: {_quoted(verdicts)}."
    elif held == total:
        text = f"All {total} claims hold."
    elif against == total:
        text = f"All {total} claims are refuted."
    elif closed == total:
        text = f"None of the {total} claims is judged at this scale."
    elif open_ == total:
        text = f"None of the {total} claims could be decided."
    else:
        parts = [f"{held or 'none'} of {total} claims {'holds' if held == 1 else 'hold'}"]
        if against:
            parts.append(f"{against} {'is' if against == 1 else 'are'} refuted")
        if open_:
            parts.append(f"{open_} {'stays' if open_ == 1 else 'stay'} undecided")
        if closed:
            parts.append(f"{closed} {'is' if closed == 1 else 'are'} not judged at this scale")
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
