"""What is said of claims that their seeds will probably not decide."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from harness.claims import registration
from harness.claims.power import Forecast
from harness.execution import powered
from harness.study import InvalidStudy, Source, catalog
from tests.synthetic import study

STUDY = study()


def forecasts(power: float, needed: int | None = None) -> list[Forecast]:
    return [
        Forecast(claim.id, claim.family, 0.05, "seeds", 8, power=power, needed=needed)
        for claim in STUDY.tested
    ]


def test_a_low_power_is_named_with_the_reason_that_is_given_or_what_it_takes() -> None:
    first, *rest = STUDY.claims
    why = dataclasses.replace(first, underpowered="the long run decides it")
    given = dataclasses.replace(STUDY, claims=(why, *rest))
    count = len(given.claims)
    said = powered.gate(given, forecasts(0.3, 52))
    assert said.startswith(f"gate: power of 80 %: 0 of {count} claims pass; ")
    assert f"{first.id} 30 % (the long run decides it)" in said
    assert said.count("30 % (takes 52 seeds)") == count - 1
    assert "30 % (no number of seeds up to 10,000 would do)" in powered.gate(given, forecasts(0.3))
    whole = f"gate: power of 80 %: {count} of {count} claims pass"
    assert powered.gate(given, forecasts(0.8)) == whole
    unknown = powered.gate(given, forecasts(math.nan))
    assert unknown == f"gate: power of 80 %: 0 of 0 claims pass; {count} cannot be told"


def test_a_run_says_what_its_seeds_can_decide_before_its_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    source = catalog.find("transfer")
    transfer = catalog.load(source)
    assert powered.announced(transfer, source, "smoke", tmp_path) == ""
    line = powered.announced(transfer, source, "default", tmp_path)
    assert line.startswith("gate: power of 80 %: ")
    assert "(effects as in the published run at the default scale)" in line
    paper = powered.announced(transfer, source, "paper", tmp_path)
    assert "(effects unknown, scatter as in the published run at the default scale)" in paper
    own = powered.announced(STUDY, Source("deep", "deep.py", ""), "default", tmp_path)
    assert own == (
        "gate: power of 80 %: unknown, as no rows show how seeds scatter "
        "(a run at the smoke scale does, roughly)"
    )


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
