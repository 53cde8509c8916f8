"""Two runs side by side: what is shared, what changed, and what is said to differ."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from harness.ledger.results import Results
from harness.report.compare import compare
from tests.claims.test_registration import edit
from tests.conftest import harness


def run() -> None:
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr


def test_runs_that_share_some_trials(project: Path) -> None:
    run()
    edit(project, '"gd": {"rule": "sgd"}', '"gd": {"rule": "momentum"}')
    run()
    done = harness("compare", "tiny@smoke~1", "tiny@smoke", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["trials"] == {"a": 20, "b": 20, "shared": 10, "shared that differ": 0}
    assert found["rows"] == {}
    assert "plan" in found["differs"]
    assert "torch" not in found["differs"]
    (claim,) = found["verdicts"]
    assert claim["b"]["effect"] == 1.0  # the two arms are now the same rule
    assert claim["shift"] == pytest.approx(1.0 - claim["a"]["effect"])
    printed = harness("compare", "tiny@smoke~1", "tiny@smoke").stdout
    assert "10 trials are the same in both (of 20 and 20)" in printed
    assert "Momentum needs fewer steps." in printed


def test_a_run_compared_with_itself_by_id(project: Path) -> None:
    run()
    from harness.execution import find_run

    _, _, id_ = find_run("tiny@smoke", project)
    found = json.loads(harness("compare", id_[:8], "tiny@smoke", "--json").stdout)
    assert found["differs"] == {}
    assert not any(one["changed"] for one in found["verdicts"])
    assert found["trials"]["shared"] == 20


@pytest.mark.parametrize("words", ["nothing", "tiny@smoke~3", "tiny@huge", "tiny~x"])
def test_no_such_run(project: Path, words: str) -> None:
    run()
    done = harness("compare", words, "tiny@smoke")
    assert done.returncode == 2
    assert words.split("~")[0] in done.stderr.replace("\n", " ")
    assert "allowed" in done.stderr


def test_rows_that_differ_under_the_same_key_are_counted(project: Path) -> None:
    run()
    from harness.execution import recall
    from harness.study import catalog

    source = catalog.find("tiny")
    study = catalog.load(source)
    one = recall(study, source, "smoke", project)
    frame: pd.DataFrame = one.frame.copy()
    frame.loc[(frame["trial"] == frame["trial"].iloc[0]), "loss"] += 1.0
    other = Results(study, "smoke", frame, one.trials, one.info)
    made = compare(one, other)
    assert made.trials["shared that differ"] == 1
    assert made.rows == {"loss": 1}
