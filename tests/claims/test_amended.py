"""What is changed after trials carries its reason, and what it would have said before."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.claims import Verdict, amended, judge, registration
from harness.study import Budget, Source, Study, catalog
from tests.claims.test_claims import CHECKS, make
from tests.conftest import harness

RUN = ("run", "tiny", "--scale", "smoke", "--inline")
NUMBERS = ("verdict", "effect", "low", "high", "p", "margin", "n")


def edit(project: Path, old: str, new: str) -> None:
    path = project / "studies" / "tiny.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def stated(project: Path) -> dict[str, Any]:
    document = json.loads((project / "reports/tiny/smoke/verdicts.json").read_text())
    return dict(document["claims"][0])


def test_an_amended_claim_says_why_and_what_it_would_have_said(project: Path) -> None:
    assert harness(*RUN).returncode == 0
    first = stated(project)
    assert first["amended"] is None
    edit(project, '"steps_to_target", 1.0', '"steps_to_target", 0.01')
    done = harness(*RUN, "--amend", "The deck says a hundredth.")
    assert done.returncode == 0, done.stdout + done.stderr
    now = stated(project)
    assert now["margin"] == 0.01
    assert now["changed_late"] is True
    assert (now["amended"]["what"], now["amended"]["trials"]) == ("changed", 20)
    assert now["amended"]["reason"] == "The deck says a hundredth."
    assert now["amended"]["first"] == {name: first[name] for name in NUMBERS}
    page = (project / "reports/tiny/smoke/report.html").read_text()
    assert "with the reason “The deck says a hundredth”" in page
    assert f"As first registered it would be {first['verdict']}" in page
    assert (
        f"As first registered it would be {first['verdict']}"
        in (project / "reports/index.html").read_text()
    )
    assert harness("verify", "tiny", "--scale", "smoke").returncode == 0
    again = harness(*RUN, "--amend", "once more")
    assert "no reason was written down" in again.stdout
    assert stated(project)["amended"]["reason"] == "The deck says a hundredth."


def test_without_a_reason_it_runs_and_says_so(project: Path) -> None:
    assert harness(*RUN).returncode == 0
    edit(project, '"steps_to_target", 1.0', '"steps_to_target", 0.9')
    assert harness(*RUN).returncode == 0
    assert stated(project)["amended"]["reason"] == ""
    assert ", without a reason" in (project / "reports/tiny/smoke/report.html").read_text()


def test_more_seeds_are_judged_on_those_of_before(project: Path) -> None:
    assert harness(*RUN).returncode == 0
    first = stated(project)
    edit(project, "draws=4, seeds=6", "draws=4, seeds=9")
    assert harness(*RUN, "--amend", "It was too close.").returncode == 0
    now = stated(project)
    assert (first["n"], now["n"], now["amended"]["first"]["n"]) == (6, 9, 6)
    assert now["amended"]["first"] == {name: first[name] for name in NUMBERS}
    edit(project, "draws=4, seeds=9", "draws=5, seeds=9")
    assert harness(*RUN, "--amend", "And too coarse.").returncode == 0
    assert amended.BUDGET in stated(project)["amended"]["words"]
    page = (project / "reports/tiny/smoke/report.html").read_text("utf-8")
    head, _, cards = page.partition('<article class="card')
    (what,) = re.findall(r"“And too coarse”: (.*?)\.", html.unescape(head))
    assert what == "draws from 4 to 5"  # what is as it was is left out
    told = "as first registered cannot be told"
    assert (head.count(told), cards.count(told)) == (1, 0)  # once for all claims, on top


def enough(check: Any) -> Study:
    return dataclasses.replace(make(check), budgets={"smoke": Budget(0, 12)})


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_made_again_from_what_is_registered(name: str) -> None:
    """Where the check of now has another margin, or is another check altogether."""
    study = enough(CHECKS[name])
    then = registration.entry(study, Source("s", "s.py", ""), "smoke", "", 0)
    plain = json.loads(json.dumps(then["claims"]["claim-0"]["check"], default=repr))
    other = dataclasses.replace(CHECKS[name], margin=0.123)
    called = '"fn"' in json.dumps(plain)  # a function can only be had from the check of now
    for live in [other] if called else [other, CHECKS["above"]]:
        now = enough(live)
        registered = registration.entry(now, Source("s", "s.py", ""), "smoke", "", 0)
        told = json.loads(json.dumps(registered["claims"]["claim-0"]["check"], default=repr))
        changed = {"budget": ["b", "b"], "looks": [12], "claims": {"claim-0": [plain, told]}}
        frame = CHECKS[name].planted(study, 12, True)
        _, found = amended.as_first(now, "smoke", frame, changed)
        (expected,) = judge(study, frame)
        one = found["claim-0"]
        assert isinstance(one, Verdict), one
        assert repr(one) == repr(expected)


STUDY = """
from harness import Budget, Claim, Metric, Study
from harness.claims import above, statistic

def trial(t): ...
def gain(table): return table.mean().mean() / {divisor}

STUDY = Study(
    question="Which?", trial=trial, arms={{"a": {{}}}}, sources={{"[1]": "Deck"}},
    metrics={{"acc": Metric("fraction", better="high")}}, budgets={{"smoke": Budget(0, 6)}},
    claims={{"f": Claim("Statistic.", "[1]", statistic(gain, {margin}, metric="acc", unit="u",
             words="w", example=lambda s, n, hold: None))}},
)
"""


@pytest.mark.parametrize(("divisor", "told"), [(2, False), (1, True)])
def test_code_that_has_changed_cannot_be_judged_again(divisor: int, told: bool) -> None:
    def loaded(**words: Any) -> tuple[Study, dict[str, Any]]:
        source = Source("s", "s.py", STUDY.format(**words))
        study = catalog.load(source)
        return study, registration.entry(study, source, "smoke", "t", 0)

    first, before = loaded(divisor=1, margin=0.5)
    study, now = loaded(divisor=divisor, margin=0.7)
    said = registration.summary([before], {**now, "trials": 5})["amended"]
    rows = pd.DataFrame(
        {"phase": "confirm", "arm": "a", "seed": range(6), "trial": list("abcdef"), "step": 1,
         "status": "finished", "acc": [0.6, 0.61, 0.62, 0.63, 0.64, 0.65]}
    )  # fmt: skip
    _, found = amended.as_first(study, "smoke", rows, said)
    if told:
        assert isinstance(found["f"], Verdict)
        assert found["f"].margin == 0.5
        assert found["f"] == judge(first, rows)[0]
    else:
        assert found["f"] == amended.CODE


def test_what_was_registered_without_its_check_is_said_to_be_unknown() -> None:
    study = enough(CHECKS["above"])
    changed = {"budget": ["b", "b"], "looks": [5], "claims": {"claim-0": [None, {}]}}
    _, found = amended.as_first(study, "smoke", CHECKS["above"].planted(study, 12, True), changed)
    assert found == {"claim-0": amended.UNKNOWN}
