"""What must be so before the first trial: a claim that fails it is not judged, and costs nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.claims import above, gated, gates, higher, judge, judged, registration, statistic
from harness.study import (
    Arm,
    Budget,
    By,
    Claim,
    Float,
    Gate,
    InvalidStudy,
    Metric,
    Source,
    Study,
    catalog,
)
from tests.conftest import harness

RATE = Float(1e-3, 1.0, log=True)


def made(check: Any, *more: Claim, seeds: int = 8, **changes: Any) -> Study:
    fields: dict[str, Any] = {
        "question": "Which?", "trial": print, "name": "s", "arms": {"a": {}, "b": {}, "c": {}},
        "vary": {"size": (1, 2)}, "nuisance": {"lr": RATE}, "select": ("acc",),
        "metrics": {"acc": Metric("fraction", better="high")},
        "budgets": {"default": Budget(4, seeds), "smoke": Budget(1, 2)},
        "claims": (Claim("It is.", "A deck", check, id="one"), *more),
    } | changes  # fmt: skip
    return Study(**fields)


BETTER = higher("acc", arm="a", than="b", by=0.1, size=1)


def test_what_is_fair_is_judged() -> None:
    assert gated(made(BETTER), "default") == {}


def test_too_few_seeds_are_told_before_any_trial() -> None:
    study = made(BETTER)
    assert gated(study, "smoke") == {"one": "2 seeds; at least 5 are needed"}
    grown = made(BETTER, budgets={"default": Budget(4, 3, most_seeds=6)})
    assert gated(grown, "default") == {}


@pytest.mark.parametrize(
    ("each", "why"), [(False, {"one": "5 seeds; at least 6 are needed"}), (True, {})]
)
def test_seeds_that_no_bootstrap_can_decide_by_are_told(each: bool, why: dict[str, str]) -> None:
    check = statistic(
        lambda table: float(table["a", 1].mean()), 0.5, metric="acc", unit="fraction", words="what a has",
        example=lambda study, seeds, hold: pd.DataFrame(), each=each,
    )  # fmt: skip
    assert gated(made(check, seeds=5), "default") == why
    assert gated(made(check, seeds=6), "default") == {}


UNLIKE = {
    "other ranges": {
        "nuisance": {},
        "arms": {
            "a": Arm(nuisance={"lr": RATE}), "b": Arm(nuisance={"lr": Float(1e-3, 1e-2)}), "c": {}
        },
    },
    "one is not tuned": {
        "nuisance": {}, "arms": {"a": Arm(nuisance={"lr": RATE}), "b": {"lr": 0.1}, "c": {}}
    },
}  # fmt: skip


def test_what_a_scale_does_not_run_is_told_before_any_trial() -> None:
    some = {"default": Budget(4, 8), "paper": Budget(4, 8, size=(2,))}
    study = made(BETTER, budgets=some)
    assert gated(study, "default") == {}
    assert gated(study, "paper") == {"one": "some of what it reads is not run at the paper scale"}
    assert (
        gated(made(higher("acc", arm="a", than="b", by=0.1, size=2), budgets=some), "paper") == {}
    )
    without = made(BETTER, include=lambda arm, cell: arm != "b")
    assert {*gated(without, "default")} == {"one"}


@pytest.mark.parametrize("which", UNLIKE)
def test_sides_that_are_tuned_differently_are_told(which: str) -> None:
    study = made(BETTER, **UNLIKE[which])
    assert "lr is" in gated(study, "default")["one"]
    other = made(above("acc", 0.5, arm="c", size=1), **UNLIKE[which])  # it reads neither
    assert gated(other, "default") == {}


def test_a_setting_that_is_held_on_purpose_is_fair() -> None:
    arms = {"a": {}, "b": Arm(held={"lr": 0.1}), "c": {}}
    assert gated(made(BETTER, arms=arms), "default") == {}


def test_cells_with_other_numbers_of_draws_are_not_alike() -> None:
    check = dataclasses.replace(BETTER, against=(("size", 2),))
    draws = By("size", {1: 4, 2: 8})
    study = made(check, budgets={"default": Budget(draws, 8)})
    assert gated(study, "default") == {"one": "a has 4 draws and b 8"}
    assert gated(made(BETTER, budgets={"default": Budget(draws, 8)}), "default") == {}


def test_a_control_must_run_where_the_claim_reads() -> None:
    claim = Claim("It is.", "A deck", BETTER, id="two", control="c")
    study = made(BETTER, claim, include=lambda arm, cell: arm != "c" or cell["size"] == 2)
    assert gated(study, "default") == {"two": "control c does not run at size=1"}
    assert gated(made(BETTER, claim), "default") == {}
    with pytest.raises(InvalidStudy, match="control of claim 'two' is 'd'; allowed: a, b, c"):
        made(BETTER, dataclasses.replace(claim, control="d"))


def test_a_study_and_a_claim_have_gates_of_their_own() -> None:
    gate = Gate("enough sizes", lambda study, scale: f"{len(study.vary['size'])} sizes at {scale}")
    claim = Claim("It is.", "A deck", BETTER, id="two", gates=(gate,))
    assert gated(made(BETTER, claim), "default") == {"two": "2 sizes at default"}
    assert {*gated(made(BETTER, claim, gates=(gate,)), "default")} == {"one", "two"}
    passing = Gate("anything", lambda study, scale: None)
    study = made(BETTER, claim, gates=(passing,))
    assert [one.name for one in gates(study, "default")][-2:] == ["anything", "enough sizes"]
    with pytest.raises(InvalidStudy, match=r"Claim.gates is .*; allowed: a tuple of harness.Gate"):
        Claim("It is.", "A deck", BETTER, gates=(print,))  # type: ignore[arg-type]


def test_a_claim_behind_a_gate_is_not_judged_and_not_corrected_for() -> None:
    gate = Gate("never", lambda study, scale: "it never is")
    other = Claim("It is.", "A deck", higher("acc", arm="a", than="c", by=0.1, size=2),
                  id="two", gates=(gate,))  # fmt: skip
    study = made(BETTER, other)
    frame = pd.concat([claim.check.planted(study, 8, True) for claim in study.claims])
    one, two = judged(study, "default", frame)
    (alone,) = judge(made(BETTER), frame)
    assert (one.verdict, one.p, one.low) == ("supported", alone.p, alone.low)
    assert judge(study, frame)[0].p > alone.p
    assert (two.verdict, two.n, two.gate) == ("inconclusive", 0, "it never is")
    assert two.reason == "not judged: it never is"


STUDY = """
from harness import Budget, Claim, Gate, Metric, Study
from harness.claims import above

def trial(t): ...
def enough(study, scale): return {answer}

STUDY = Study(
    question="Which?", trial=trial, arms={{"a": {{}}}}, sources={{"[1]": "Deck"}},
    metrics={{"acc": Metric("fraction", better="high")}}, budgets={{"smoke": Budget(0, 5)}},
    claims={{"level": Claim("Level.", "[1]", above("acc", 0.5, arm="a"){more})}}{gates},
)
"""


def entry(answer: str = "None", more: str = "", gates: str = "") -> dict[str, Any]:
    source = Source("s", "s.py", STUDY.format(answer=answer, more=more, gates=gates))
    return registration.entry(catalog.load(source), source, "smoke", "", 0)


def test_gates_are_registered_with_their_code() -> None:
    plain = entry()["hash"]
    assert plain == entry("'no'")["hash"]  # which no claim asks
    own = ", gates=(Gate('g', enough),)"
    hashes = {plain, entry(more=", control='a'")["hash"]}
    for answer in ("None", "'no'"):
        hashes |= {entry(answer, more=own)["hash"], entry(answer, gates=own)["hash"]}
    assert len(hashes) == 6


def test_plan_and_run_say_what_gates_let_through(project: Path) -> None:
    path = project / "studies" / "tiny.py"
    path.write_text(path.read_text().replace("seeds=6", "seeds=3"))
    said = "gate: seeds enough: 1 of 1 claims not judged: faster: 3 seeds; at least 5 are needed"
    assert said in harness("plan", "tiny", "--scale", "smoke").stdout
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert said in done.stdout
    page = (project / "reports/tiny/smoke/report.html").read_text()
    assert "Not judged: 3 seeds; at least 5 are needed." in page
    assert harness("verify", "tiny", "--scale", "smoke").returncode == 0
