"""What is said of claims that their seeds will probably not decide."""

from __future__ import annotations

import dataclasses

import pytest

from harness.app import powering
from harness.claims import registration
from harness.study import InvalidStudy, Source
from tests.synthetic import study

STUDY = study()


def told(power: float | None) -> list[dict[str, object]]:
    return [{"claim": claim.id, "power": power} for claim in STUDY.claims]


def test_a_low_power_is_named_with_the_reason_that_is_given() -> None:
    first, *rest = STUDY.claims
    why = dataclasses.replace(first, underpowered="the long run decides it")
    given = dataclasses.replace(STUDY, claims=(why, *rest))
    count = len(given.claims)
    said = powering.gate(given, told(0.3))
    assert said.startswith(f"gate: power of 80 %: 0 of {count} claims pass; ")
    assert f"{first.id} 30 % (the long run decides it)" in said
    assert said.count("30 % (not said why)") == count - 1
    assert powering.gate(given, told(0.8)) == f"gate: power of 80 %: {count} of {count} claims pass"
    assert powering.gate(given, told(None)) == "gate: power of 80 %: 0 of 0 claims pass"


def test_the_reason_is_registered() -> None:
    source = Source("deep", "deep.py", "")
    scale = next(iter(STUDY.budgets))
    first, *rest = STUDY.claims
    given = dataclasses.replace(first, underpowered="the long run decides it")
    before, after = (
        registration.entry(dataclasses.replace(STUDY, claims=(one, *rest)), source, scale, "", 0)
        for one in (first, given)
    )
    assert before["hash"] != after["hash"]
    changed = [id_ for id_, one in before["claims"].items() if one != after["claims"][id_]]
    assert changed == [first.id]
    with pytest.raises(InvalidStudy, match=r"Claim\.underpowered"):
        dataclasses.replace(first, underpowered=3)  # type: ignore[arg-type]
