"""Gates: what must be so before the first trial for a claim to be judged at all.

Each is read off the study and its budget alone, so that no result can open or close it. A claim that
fails one is not judged, and takes no share of the level from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.claims.checks import Check, Difference
from harness.claims.compound import Everywhere
from harness.study import Claim, Study, is_level

Asks = Callable[[Study, str, Claim], str | None]  # why a claim fails at a scale


@dataclass(frozen=True)
class Opened:
    """What a gate let through.

    Args:
        name: What it asks for.
        claims: How many claims it was put to.
        failing: Why each that failed did, by the claim's id.
    """

    name: str
    claims: int
    failing: Mapping[str, str]

    def told(self) -> str:
        """In one line."""
        if not self.failing:
            return f"gate: {self.name}: {self.claims} of {self.claims} claims pass"
        whys: dict[str, list[str]] = {}
        for id_, why in self.failing.items():
            whys.setdefault(why, []).append(id_)
        said = "; ".join(f"{', '.join(ids)}: {why}" for why, ids in whys.items())
        return f"gate: {self.name}: {len(self.failing)} of {self.claims} claims not judged: {said}"


def gates(study: Study, scale: str) -> list[Opened]:
    """Every gate of a study at a scale, in the order in which they are asked."""
    found = [_put(study, scale, name, asks, list(study.tested)) for name, asks in ASKED.items()]
    with_control = [claim for claim in study.tested if claim.control]
    if with_control:
        found.append(_put(study, scale, "a control", _control, with_control))
    own = {gate: list(study.tested) for gate in study.gates}
    for claim in study.tested:
        for gate in claim.gates:
            own.setdefault(gate, []).append(claim)
    for gate, claims in own.items():
        why = gate.why_not(study, scale)
        failing = {} if why is None else {claim.id: why for claim in claims}
        found.append(Opened(gate.name, len(claims), failing))
    return found


def gated(study: Study, scale: str) -> dict[str, str]:
    """Why each claim that is not judged at a scale is not, by its id: the first gate that it fails."""
    found: dict[str, str] = {}
    for one in gates(study, scale):
        for id_, why in one.failing.items():
            found.setdefault(id_, why)
    return found


def _put(study: Study, scale: str, name: str, asks: Asks, claims: list[Claim]) -> Opened:
    answers = {claim.id: asks(study, scale, claim) for claim in claims}
    return Opened(name, len(claims), {id_: why for id_, why in answers.items() if why})


def _seeds(study: Study, scale: str, claim: Claim) -> str | None:
    most, least = study.budget(scale).looks[-1], claim.check.least
    if claim.check.phase != "confirm" or claim.check.replication != "seed" or most >= least:
        return None
    return f"{most} seeds; at least {least} are needed"


def _planned(study: Study, scale: str, claim: Claim) -> str | None:
    fresh = claim.check.phase == "confirm" and study.budget(scale).looks[0]
    if all(
        any(not fresh or study.seeds(scale, cell) for cell in _cells(study, scale, arm, where))
        for arm, where in claim.check.places(study)
    ):
        return None
    return f"some of what it reads is not run at the {scale} scale"


def _alike(study: Study, scale: str, claim: Claim) -> str | None:
    return next(_unlike(study, scale, claim.check), None)


def _unlike(study: Study, scale: str, check: Check) -> Iterator[str]:
    """How what a check compares is tuned differently."""
    if isinstance(check, Everywhere):
        for each in check.checks:
            yield from _unlike(study, scale, each)
        return
    places = check.places(study)
    arms = list(dict.fromkeys(arm for arm, _ in places))
    drawn: dict[str, tuple[str, Any]] = {}
    for arm in arms:
        for name, distribution in study.space(arm).items():
            other, first = drawn.setdefault(name, (arm, distribution))
            if first != distribution:
                yield f"{name} is drawn from {first} for {other} and from {distribution} for {arm}"
    for arm in arms:
        if study.space(arm):
            continue
        for name in sorted({*drawn} & {*study.arms[arm].settings}):
            yield (
                f"{name} is tuned for {drawn[name][0]}, and {arm} is not tuned at all; to hold it on "
                "purpose, put it into Study.nuisance and Arm(held=...)"
            )
    if isinstance(check, Difference) and len(places) == 2 and all(map(study.space, arms)):
        (one, where), (other, there) = places
        counts = [_draws(study, scale, one, where), _draws(study, scale, other, there)]
        if counts[0] != counts[1] and all(counts):
            yield f"{one} has {_few(counts[0])} draws and {other} {_few(counts[1])}"


def _draws(study: Study, scale: str, arm: str, where: Mapping[str, Any]) -> set[int]:
    return {study.draws(scale, arm, cell) for cell in _cells(study, scale, arm, where)}


def _few(counts: set[int]) -> str:
    return " or ".join(map(str, sorted(counts)))


def _cells(study: Study, scale: str, arm: str, where: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells that are run of an arm, where some levels are given."""
    return [
        cell
        for one, cell in study.cells(scale)
        if one == arm and all(is_level(cell[factor], level) for factor, level in where.items())
    ]


def _control(study: Study, scale: str, claim: Claim) -> str | None:
    there = [cell for arm, cell in study.cells(scale) if arm == claim.control]
    for arm, where in claim.check.places(study):
        for cell in _cells(study, scale, arm, where):
            if cell not in there:
                here = ", ".join(f"{name}={level}" for name, level in cell.items())
                return f"control {claim.control} does not run" + (f" at {here}" if here else "")
    return None


# What every claim is asked. Another is a line here: why a claim fails at a scale, or None.
ASKED: Mapping[str, Asks] = {
    "seeds enough": _seeds,
    "planned at this scale": _planned,
    "both sides tuned alike": _alike,
}
