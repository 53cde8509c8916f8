"""What nobody registered stands apart: an estimate with its interval, and no verdict."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pandas as pd

import harness as package
from harness.app import conformance
from harness.claims import explore, gated, higher, judge, registration
from harness.study import Source
from tests.claims.test_claims import CHECKS, make
from tests.conftest import harness

RUN = ("run", "tiny", "--scale", "smoke", "--inline")


def test_an_exploratory_claim_is_estimated_and_neither_judged_nor_corrected_for() -> None:
    study = make(CHECKS["higher"], CHECKS["lower"])
    first, second = study.claims
    some = dataclasses.replace(study, claims=(first, dataclasses.replace(second, exploratory=True)))
    frame = pd.concat([claim.check.planted(study, 12, True) for claim in study.claims[:1]])
    (alone,) = judge(make(CHECKS["higher"]), frame)
    assert repr(judge(some, frame)) == repr([alone])
    (found,) = explore(some, frame)
    (tested,) = judge(make(CHECKS["lower"]), frame)
    assert found.verdict == "exploratory"
    assert math.isnan(found.p)
    assert (found.effect, found.low, found.high) == (tested.effect, tested.low, tested.high)
    assert gated(some, "smoke").keys() == {first.id}
    assert conformance.falsifiable(some, Source("s", "s.py", ""), frame) == ""


def test_it_is_not_registered_and_one_that_becomes_a_test_later_is_marked() -> None:
    study = make(CHECKS["higher"], CHECKS["lower"])
    first, second = study.claims
    source = Source("s", "s.py", "")
    without = registration.entry(
        dataclasses.replace(study, claims=(first,)), source, "smoke", "t1", 0
    )
    explored = dataclasses.replace(
        study, claims=(first, dataclasses.replace(second, exploratory=True))
    )
    entry = registration.entry(explored, source, "smoke", "t1", 0)
    assert entry == without
    now = registration.entry(study, source, "smoke", "", 9)
    changed = registration.summary([entry], now)["claims_changed"]
    assert [(one["id"], one["what"]) for one in changed] == [(second.id, "added")]
    back = registration.summary([now | {"trials": 0, "at": "t0"}], entry | {"trials": 9})
    assert [(one["id"], one["what"]) for one in back["claims_changed"]] == [(second.id, "removed")]


def test_reports_board_and_notebook_show_it_apart(project: Path) -> None:
    path = project / "studies" / "tiny.py"
    text = path.read_text()
    more = text.replace(
        'id="faster",\n        ),',
        'id="faster",\n        ),\n        Claim("Momentum ends lower.", "[1]", '
        'ratio_below("loss", 1.0, arm="momentum", than="gd"), id="lower", exploratory=True),',
    )
    assert more != text
    path.write_text(more)
    assert harness(*RUN).returncode == 0
    folder = project / "reports" / "tiny" / "smoke"
    document = json.loads((folder / "verdicts.json").read_text())
    assert [one["id"] for one in document["claims"]] == ["faster"]
    (one,) = document["exploratory"]
    assert (one["id"], one["n"]) == ("lower", 6)
    assert one["low"] <= one["effect"] <= one["high"]
    for page in (folder / "report.html", project / "reports" / "index.html"):
        assert "Momentum ends lower." in page.read_text().partition('id="exploratory"')[2]
    assert "exploratory: Momentum ends lower." in harness("show", "tiny").stdout
    assert harness("verify", "tiny", "--scale", "smoke").returncode == 0

    here = package.results("tiny", "smoke")
    added = here.explore("It ends higher.", higher("loss", arm="momentum", than="gd"))
    assert [one.statement for one in added.explored] == ["Momentum ends lower.", "It ends higher."]
    assert added.verdicts == here.verdicts
    assert "It ends higher." in repr(added).partition("exploratory, without a verdict:")[2]
    assert "It ends higher." not in repr(here)
    assert "It ends higher." in added._repr_html_()
    assert "It ends higher." in added.report.read_text()
    assert harness("verify", "tiny", "--scale", "smoke").returncode == 0
