"""Winning draws at an end of what was drawn: a wider range might have better ones.

A range that is too narrow for one arm and wide enough for another makes a comparison unfair, and no
verdict's interval shows it; so a report says where that may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from harness.claims import Check, Verdict
from harness.ledger.results import Results
from harness.report import numbers, words
from harness.study import Study, range_of

FEWEST = 3  # draws that have an inside
NAMED = 6  # of a kind that a sentence names


class End(NamedTuple):
    """A setting of an arm's winner in a cell that is the lowest or the highest of those drawn."""

    arm: str
    cell: Mapping[str, Any]
    name: str
    value: float
    which: str  # "lowest" or "highest"
    drawn: int  # how many there were


class Ends(NamedTuple):
    """Those of a run, and how many arms and cells could have had one."""

    found: list[End]
    among: int


def ends(results: Results) -> Ends:
    """All of a run. Choices have no ends, and fewer than three draws no inside."""
    study, found, among = results.study, [], 0
    tune = results.trials[results.trials["phase"] == "tune"]
    places = ["arm", *study.vary]
    drawn = dict(iter(tune.groupby(places, dropna=False)))
    for won in results.winners().to_dict("records"):
        arm, cell = str(won["arm"]), {factor: won[factor] for factor in study.vary}
        rows = drawn.get((arm, *cell.values()))
        ranges = [n for n, space in study.space(arm).items() if not hasattr(space, "choices")]
        tried = {n: sorted(set(rows[n].dropna())) for n in ranges} if rows is not None else {}
        tried = {n: values for n, values in tried.items() if len(values) >= FEWEST}
        among += bool(tried)
        for name, values in tried.items():
            for which, end in (("lowest", values[0]), ("highest", values[-1])):
                if won[name] == end:
                    found.append(End(arm, cell, name, float(end), which, len(values)))
    return Ends(found, among)


def of_claim(found: Iterable[End], verdict: Verdict, study: Study) -> list[End]:
    """Those of the arms and cells that a claim reads on fresh seeds, after some training."""
    claim = words.claim_of(verdict, study)
    read = [
        (arm, {factor: study.held(factor, level) for factor, level in where.items()}.items())
        for check in (_each(claim.check) if claim else ())
        if check.phase == "confirm" and check.at != "start"
        for arm, where in check.places(study)
    ]
    return [
        one
        for one in found
        if any(one.arm == arm and where <= one.cell.items() for arm, where in read)
    ]


def _each(check: Check) -> list[Check]:
    """The simple checks that one is made of."""
    return [one for part in getattr(check, "checks", ()) for one in _each(part)] or [check]


def told(found: Sequence[End], study: Study) -> str:
    """In words: "lr 0.0904, the highest of 6 drawn from 0.01 to 0.1 (log): GRU · CIFG (order)"."""
    alike: dict[str, dict[str, list[str]]] = {}
    for one in found:
        space = {**study.nuisance, **study.arms[one.arm].nuisance}[one.name]
        what = (
            f"{numbers.plain(one.name)} {numbers.digits(one.value)}, the {one.which} of {one.drawn} "
            f"drawn from {range_of(space)}"
        )
        cell = ", ".join(numbers.level(f, v) for f, v in one.cell.items())
        alike.setdefault(what, {}).setdefault(cell, []).append(study.label(one.arm))
    parts = []
    for what, places in alike.items():
        arms = [
            _some(names, " · ") + (f" ({cell})" if cell else "") for cell, names in places.items()
        ]
        parts.append(f"{what}: {_some(arms, ', ')}")
    return _some(parts, "; ")


def _some(parts: Sequence[str], between: str) -> str:
    """All of them, or where there are many the first few and how many more."""
    more = f"{between}{len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return between.join(parts[:NAMED]) + more
