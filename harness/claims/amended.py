"""What claims that were changed after trials existed would have said as they were first registered.

A check is registered as plain data, so that it can be made again where only numbers and names were
changed: margins, arms, places, kinds of check. The code of a function is registered as a hash: where
that is another now, the first check cannot be made again, and that is what is said.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from harness.claims.checks import Check
from harness.claims.gates import gated
from harness.claims.judge import judge
from harness.claims.registration import describe
from harness.claims.verdicts import Verdict
from harness.study import Claim, InvalidStudy, Study

UNKNOWN = "it was registered before checks were kept"
CODE = "its code has changed since"
BUDGET = "the budget's draws or settings have changed since"


class _Gone(Exception):
    """The check cannot be made again; the text says why."""


def as_first(
    study: Study, scale: str, frame: pd.DataFrame, amended: Mapping[str, Any]
) -> tuple[Study, dict[str, Verdict | str]]:
    """The verdicts on claims that were changed late, as they were first registered.

    They are judged beside the other claims as these are now, on the seeds of the budget of then.

    Args:
        amended: Of `registration.summary`.

    Returns:
        The study with its claims of then, and by the claim's id the verdict, or why there can be
        none. Where seeds were changed, that is of every claim.
    """
    before, now = amended["budget"]
    if _but_seeds(before) != _but_seeds(now):
        return study, dict.fromkeys((claim.id for claim in study.tested), BUDGET)
    told: dict[str, Verdict | str] = {}
    claims = []
    for claim in study.tested:
        if claim.id not in amended["claims"]:
            claims.append(claim)
            continue
        try:
            claims.append(_before(study, claim, *amended["claims"][claim.id]))
        except _Gone as why:
            told[claim.id] = str(why)
    then = dataclasses.replace(study, claims=tuple(claims))
    looks = amended["looks"]
    some = frame[(frame["phase"] != "confirm") | (frame["seed"] < looks[-1])] if looks else frame
    wanted = {*amended["claims"]} if before == now else {claim.id for claim in claims}
    verdicts = judge(then, some, looks=looks, gated=gated(then, scale))
    return then, told | {v.id: v for v in verdicts if v.id in wanted}


def _but_seeds(budget: str) -> str:
    return re.sub(r"\b(most_)?seeds=\d+(, )?", "", budget)


def _before(study: Study, claim: Claim, then: Any, now: Any) -> Claim:
    """A claim as it was, from its first check as plain data and that of now."""
    if then is None:
        raise _Gone(UNKNOWN)
    check = _made(then, now, claim.check)
    same = json.dumps(describe(check, ""), default=repr)
    try:
        check.validate(study)
    except (InvalidStudy, AttributeError, TypeError) as error:
        raise _Gone(f"the study does not have what it reads any more: {error}") from None
    if _plain(json.loads(same)) != _plain(then):
        raise _Gone(CODE)
    return dataclasses.replace(claim, check=check)


def _plain(value: Any) -> Any:
    """Plain data without what functions are told by."""
    if isinstance(value, Mapping):
        called = {name for kind in _kinds() if kind.__name__ == value.get("check")
                  for name in _called(kind)}  # fmt: skip
        return {name: _plain(one) for name, one in value.items() if name not in called}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _made(then: Any, now: Any, live: Any) -> Any:
    """A value of a check out of plain data; functions are those of now, where they are the same.

    Args:
        then, now: Plain data of the first check and of the one of now.
        live: The one of now.
    """
    if isinstance(then, list):
        return tuple(
            _made(one, _at(now, place), _at(live, place)) for place, one in enumerate(then)
        )
    if not isinstance(then, Mapping):
        return then
    kind = next((one for one in _kinds() if one.__name__ == then.get("check")), None)
    if kind is None:
        raise _Gone(CODE)
    was = now if isinstance(now, Mapping) else {}
    values = {}
    for name in (one.name for one in dataclasses.fields(kind)):
        if name not in then:
            continue  # a field of later versions: its default is what was meant
        if name not in _called(kind):
            values[name] = _made(then[name], was.get(name), getattr(live, name, None))
        elif name == "example" or then[name] == was.get(name):  # no verdict goes by an example
            values[name] = getattr(live, name, None)
        else:
            raise _Gone(CODE)
    try:
        return kind(**values)
    except TypeError:
        raise _Gone(CODE) from None


def _at(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list | tuple) and place < len(value) else None


def _called(kind: type[Check]) -> set[str]:
    """The fields of a kind of check that are functions."""
    return {one.name for one in dataclasses.fields(kind) if "Callable" in str(one.type)}


def _kinds(kind: type[Check] = Check) -> Iterator[type[Check]]:
    """Every kind of check."""
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds(one)
