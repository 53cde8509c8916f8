"""A budget may confirm the winners of some cells alone: of the others the search itself is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.claims.gates import gated
from harness.claims.power import planned
from harness.execution import session
from harness.plan.plan import Plan
from harness.study import Claim, Study, catalog
from tests.conftest import TINY, harness

CHANGES = {
    "import Arm, Budget,": "import Arm, Budget, By,",
    '    nuisance={"lr"': '    vary={"task": ("searched", "judged")},\n    nuisance={"lr"',
    'than="gd"), id="faster",\n        ),': 'than="gd", task="judged"), id="faster",\n        ),\n'
    '        Claim("It is slower where nothing is confirmed.", "[1] Heading",\n'
    '            ratio_above("steps_to_target", 1.0, arm="momentum", than="gd", task="searched"), id="unread"),',
    "import ratio_below": "import ratio_above, ratio_below",
    'metric="steps_to_target"),)': 'metric="steps_to_target", factor="task"),)',
    "Budget(draws=4, seeds=6)": 'Budget(4, By("task", {"searched": 0, "judged": 6}), most_seeds=12, finalists=2)',
}


def test_no_seed_is_spent_where_claims_read_the_search(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TINY
    for old, new in CHANGES.items():
        assert old in text, old
        text = text.replace(old, new)
    (project / "studies" / "tiny.py").write_text(text)
    source = catalog.find("tiny")
    study = catalog.load(source)
    plan = Plan(study, source, "smoke")
    assert (plan.planned, plan.most) == (2 * (4 + 4 + 6 + 6), 2 * (4 + 4 + 6 + 12))
    assert gated(study, "smoke") == {
        "unread": "some of what it reads is not run at the smoke scale"
    }
    assert [planned(study, claim.check, "smoke") for claim in study.tested] == [12, 0]
    assert plan.extend(lambda arm, cell: True) == 2 * 6

    asked: list[int] = []

    def counted(study: Study, frame: pd.DataFrame, *others: Any) -> list[Claim]:
        asked.append(frame.loc[frame["phase"] == "confirm", "seed"].nunique())
        return list(study.tested)

    monkeypatch.setattr(session, "undecided", counted)
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / "reports" / "tiny" / "smoke"
    rows = pd.read_parquet(folder / "rows.parquet")
    counts = rows.groupby(["task", "phase"], observed=True)["trial"].nunique().to_dict()
    assert counts == {
        ("searched", "tune"): 8, ("judged", "tune"): 8, ("judged", "final"): 12, ("judged", "confirm"): 24,
    }  # fmt: skip
    assert asked == [6]  # and not after the last look
    assert (
        "In searched there are none: claims read the draws themselves."
        in (folder / "report.html").read_text()
    )
    checked = harness("verify", "tiny", "--scale", "smoke")
    assert "planned trials" in checked.stdout
    assert not [
        line for line in checked.stdout.splitlines() if "planned trials" in line and "✕" in line
    ]
