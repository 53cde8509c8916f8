"""What was done, and where it departs from what was meant, in sentences written from the study."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from harness.claims import LEVEL, Verdict
from harness.ledger import provenance
from harness.ledger.results import Results
from harness.report import numbers, quoting, tables, words
from harness.report.ends import ends, told
from harness.report.numbers import level, plain, setting
from harness.study import Study, few, range_of

SAMPLERS = {"qmc": "a scrambled Sobol sequence", "random": "random draws", "tpe": "TPE"}
VERSIONS = ("python", "torch", "numpy", "scipy", "optuna", "ray", "mlflow")
ERRORS_SHOWN = 5


def methods(results: Results, verdicts: list[Verdict]) -> list[str]:
    """Paragraphs on question, arms and factors, registration, tuning, verdicts, and what ran where."""
    return [
        _design(results),
        _registered(results, len(verdicts)),
        _tuned(results),
        _decided(results, verdicts),
        _ran(results),
    ]


def _design(results: Results) -> str:
    study = results.study
    arms = few([study.label(arm) for arm in study.arms])
    narrowed = study.budget(results.scale).settings
    factors = [
        f"{plain(name)} ({few([setting(v) for v in narrowed.get(name, levels)])})"
        for name, levels in study.vary.items()
    ]
    across = f", across {'; '.join(factors)}" if factors else ""
    cells = len(study.cells(results.scale))
    return (
        f"The study {study.name} asks: {study.question.strip()} It compares "
        f"{_count(len(study.arms), 'arm')} ({arms}){across}: "
        f"{_count(cells, 'combination')} of an arm and a cell at the {results.scale} scale."
    )


def _registered(results: Results, claims: int) -> str:
    if not claims:
        return "The study makes no claims."
    info = results.info
    when = numbers.moment(str(info.get("registered_at") or ""))
    changed = words.changed(words.changes(results))
    text = (
        f"{_count(claims, 'claim was', 'claims were')} written down, with margin, source and test"
    )
    if when and not changed:
        text += f", before the first trial of this run, on {when}"
    text += (
        f" (digest of the registration: {quoting.digest(info)})." if quoting.digest(info) else "."
    )
    return f"{text} {changed}".strip()


def _tuned(results: Results) -> str:
    study, budget = results.study, results.study.budget(results.scale)
    spaces = _spaces(study)
    seeds = str(budget.looks[0])
    if len(budget.looks) > 1:
        seeds += f" to {budget.most_seeds}"
    shared = (
        "Seeds are shared by all arms, so that differences and ratios are paired by seed; the unit of "
        "replication is one seed, unless a claim names another."
    )
    if not spaces or not budget.draws:
        return f"Nothing was tuned; every arm was trained on {seeds} seeds a cell. {shared}"
    scores = [study.metrics[name].label or plain(name) for name in study.select]
    first = "" if len(scores) == 1 else "the first of these that the cell reports: "
    text = (
        f"For every arm in every cell the same number of settings was drawn, {budget.draws}, by "
        f"{SAMPLERS[study.sampler]}: {'; '.join(spaces)}. They were scored by {first}{', '.join(scores)}."
    )
    if not budget.looks[0]:
        return f"{text} Claims read this search itself. {shared}"
    if budget.finalists:
        text += (
            f" The best {budget.finalists} of each arm and cell were trained on {budget.final_seeds} "
            "further seeds each, and the best mean won."
        )
    else:
        text += " The best draw won."
    text += f" Winners were confirmed on {seeds} fresh seeds, which the claims read."
    if budget.searched:
        places = few([plain(setting(level)) for level in budget.searched], most=8)
        text += f" Nothing was confirmed in {places}: claims read the search itself."
    if len(budget.looks) > 1:
        text += (
            f" Open claims were looked at after {few(budget.looks)} seeds a cell; the error that is "
            "allowed is spent over the looks, and a claim keeps the verdict of the look that decided it."
        )
    if budget.futility:
        text += (
            f" A claim that the last look would decide with a probability under {100 * budget.futility:g} % "
            "got no more of them."
        )
    return f"{text} {shared}"


def _spaces(study: Study) -> list[str]:
    """What is drawn, and from where; of an arm alone, or held by one, with the arm's name."""
    found = [f"{plain(name)} {range_of(one)}" for name, one in study.nuisance.items()]
    for name, arm in study.arms.items():
        own = [f"{plain(n)} {range_of(one)}" for n, one in arm.nuisance.items()]
        own += [f"{plain(n)} held at {setting(value)}" for n, value in arm.held.items()]
        found += [f"for {study.label(name)} {', '.join(own)}"] if own else []
    return found


def _decided(results: Results, verdicts: list[Verdict]) -> str:
    tests = dict.fromkeys(verdict.test for verdict in verdicts if verdict.test)
    ways = f" Estimates and tests: {'; '.join(tests)}." if tests else ""
    return (
        "A claim is supported where the whole interval lies on the claimed side of its margin, refuted "
        "where it lies wholly on the other side, else inconclusive; “no difference” is two one-sided "
        f"tests against a stated band. {words.correction(results.study)}, at {100 * LEVEL:g} % in all, "
        f"and each interval is drawn at the level that this leaves it.{ways}"
    )


def _ran(results: Results) -> str:
    info, counts = results.info, results.counts
    known: Mapping[str, Any] = info.get("provenance") or {}
    versions = [f"{name} {known[name]}" for name in VERSIONS if known.get(name)]
    cores = f" with {known['cores']} cores" if known.get("cores") else ""
    precision = f" in {known['precision']}" if known.get("precision") else ""
    data = f" Data, with digests: {known['data']}." if known.get("data") else ""
    return (
        f"Of {counts['planned']:,} planned trials {counts['finished']:,} finished, "
        f"{counts['diverged']:,} diverged and {counts['failed']:,} failed. They were trained{precision} on "
        f"{words.device(info)}{cores} in {numbers.duration(float(info.get('seconds') or 0.0))} "
        f"({words.cost(results)}); {', '.join(versions) or 'versions are not known'}.{data} The code is that "
        f"of commit {words.commit(info)}, where `make study NAME={results.study.name} "
        f"SCALE={results.scale}` does the same again."
    )


def departures(results: Results, verdicts: list[Verdict], about: str) -> list[str]:
    """What a reader must know before the verdicts are believed elsewhere, a sentence or two each.

    Args:
        about: What the study's file says of itself; what follows the word "Departures" is listed.
    """
    study, info = results.study, results.info
    found = [text for text in _paragraphs(about) if text.startswith("Departure")]
    found += _cut(study, results.scale)
    fixed = [
        f"{name} {value}{' (this scale)' if changed else ''}"
        for name, value, changed in tables.fixed(results)
    ]
    if fixed:
        found.append(f"Held constant, so that nothing is said of other values: {', '.join(fixed)}.")
    found += _left_out(results)
    found += _at_ends(results)
    found += _lost(results)
    remarks: dict[str, list[str]] = {}
    for number, verdict in enumerate(verdicts, 1):
        if verdict.reason:
            remarks.setdefault(verdict.reason.rstrip("."), []).append(str(number))
    for reason, claims in remarks.items():
        found.append(f"{'Claim' if len(claims) == 1 else 'Claims'} {', '.join(claims)}: {reason}.")
    found += [change["text"] for change in words.changes(results)]
    if info.get("partial"):
        found.append("The run is unfinished: every number may still change.")
    if info.get("dirty"):
        found.append("Files differed from the commit when the trials were trained.")
    if duplicates := (info.get("provenance") or {}).get("duplicates"):
        found.append(f"Tested on what was trained on: {duplicates}.")
    found += [text for text, _ in provenance.elsewhere(info)]
    if (every := int(info.get("every") or 1)) > 1:
        found.append(
            "These are published rows, of each trial the first record, the last and every "
            f"{every}th between: curves are drawn from those."
        )
    return found


def notes(about: str) -> list[str]:
    """The rest of what a study's file says of itself."""
    return [text for text in _paragraphs(about) if not text.startswith("Departure")]


def _paragraphs(about: str) -> list[str]:
    """Paragraphs, and the points of lists each as one."""
    blocks = re.split(r"\n\s*\n|\n(?=- )", about)
    return [" ".join(block.removeprefix("- ").split()) for block in blocks if block.strip()]


def _cut(study: Study, scale: str) -> list[str]:
    """What a scale has less of than the paper scale, or other."""
    if scale == "paper" or "paper" not in study.budgets:
        return []
    here, there = study.budget(scale), study.budget("paper")
    counts = ["draws", "finalists", "seeds"]
    counts += ["final_seeds"] if here.finalists and there.finalists else []
    counts += ["most_seeds"] if len(here.looks) > 1 or len(there.looks) > 1 else []
    counts += ["futility"] if here.futility or there.futility else []
    pairs = [(name, getattr(here, name), getattr(there, name)) for name in counts]
    names = dict.fromkeys([*here.settings, *there.settings])
    absent = []
    for name in names:
        mine = here.settings.get(name, study.fixed.get(name, study.vary.get(name)))
        theirs = there.settings.get(name, study.fixed.get(name, study.vary.get(name)))
        if name in study.vary:
            gone = [v for v in theirs if v not in mine]
            absent += [f"{plain(name)} {few(gone, setting, most=8)}"] if gone else []
        else:
            pairs.append((name, mine, theirs))
    changed = [
        f"{plain(name)} {setting(mine)} ({setting(theirs)})"
        for name, mine, theirs in pairs
        if mine != theirs
    ]
    found = []
    if changed:
        found.append(f"At the {scale} scale, in brackets at the paper scale: {', '.join(changed)}.")
    if absent:
        found.append(f"Levels that only the paper scale has: {'; '.join(absent)}.")
    return found


def _left_out(results: Results) -> list[str]:
    """Which arms were not trained in which cells."""
    study, trained = results.study, results.trials
    there = set(trained[["arm", *study.vary]].itertuples(index=False, name=None))
    absent: dict[str, list[str]] = {}
    for arm, cell in study.cells(results.scale):
        place = (arm, *(study.held(name, value) for name, value in cell.items()))
        if place not in there:
            where = ", ".join(itertools.starmap(level, cell.items())) or "at all"
            needs = study.needed(results.scale, arm, cell)
            where += f" (needs {needs}, which was not at hand)" if needs else ""
            absent.setdefault(where, []).append(study.label(arm))
    return [f"Not trained, {where}: {few(arms)}." for where, arms in absent.items()]


def _at_ends(results: Results) -> list[str]:
    """Winners that are the lowest or highest of those drawn."""
    found, among = ends(results)
    if not found:
        return []
    places = len({(one.arm, *one.cell.values()) for one in found})
    return [
        f"In {places:,} of {among:,} tuned combinations of an arm and a cell the setting that won is at an "
        f"end of what was drawn, so that a wider range, or more draws, might have a better one: {told(found, results.study)}."
    ]


def _lost(results: Results) -> list[str]:
    """Trials that diverged or failed, by arm, and why they failed."""
    study, found = results.study, []
    rules = {
        "diverged": "a diverged trial counts with the worst score",
        "failed": "a failed one is left out, and named where a claim misses it",
    }
    for status, rule in rules.items():
        arms = results.trials.loc[results.trials["status"] == status, "arm"].value_counts()
        by = [f"{study.label(arm)} {arms[arm]:,}" for arm in study.arms if arm in arms.index]
        if by:
            count = _count(int(arms.sum()), f"trial {status}", f"trials {status}")
            found.append(f"{count} ({few(by)}); {rule}.")
    for text, times in tables.errors(results)[:ERRORS_SHOWN]:
        found.append(f"{_count(times, 'trial')} failed with `{text.replace('`', chr(39))}`.")
    return found


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
