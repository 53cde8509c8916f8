"""The ledger: what is written in bulk is what MLflow's own client writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import catalog, rows
from harness.ledger import Ledger
from harness.packs import Outcome
from harness.plan import Plan
from harness.study import BadInput

INFO = {"commit": "abc", "plan": "p1", "provenance": {"python": "3"}}


def written(project: Path, direct: bool, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = Plan(study, source, "smoke").ready()[:3]
    outcomes = [
        Outcome("finished", list(range(0, 200, 2)), {"loss": [1.0 / (1 + s) for s in range(100)], "steps_to_target": [math.nan] * 99 + [7.0]}),
        Outcome("diverged", [0, 2], {"loss": [1.0, math.inf]}),
        Outcome("failed", error="ValueError: <no>"),
    ]  # fmt: skip
    ledger = Ledger(project, f"sqlite:///{project / ('bulk.db' if direct else 'client.db')}")
    if not direct:
        monkeypatch.setattr(ledger, "store", lambda: None)
    recorder = ledger.start(study, "smoke", INFO, False)
    recorder.add("p1", trials, outcomes)
    recorder.wait()
    found = []
    for trial in trials:
        run = ledger.client.get_run(recorder.run_ids[trial.key])
        tags = dict(run.data.tags)
        assert tags.pop("mlflow.parentRunId") == recorder.run_id
        history = {
            name: [
                (m.step, m.value) for m in ledger.client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        assert run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")
        assert run.info.end_time >= run.info.start_time
        found.append(
            {"tags": tags, "params": run.data.params, "metrics": run.data.metrics, "history": history,
             "status": run.info.status, "name": run.info.run_name, "stage": run.info.lifecycle_stage}
        )  # fmt: skip
    return found


def test_bulk_writes_what_the_client_writes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk, client = (written(project, direct, monkeypatch) for direct in (True, False))
    for ours, theirs in zip(bulk, client, strict=True):
        ours["tags"].pop("mlflow.user")
        theirs["tags"].pop("mlflow.user")
        assert ours == theirs
    assert bulk[0]["metrics"]["loss"] == 1.0 / 100
    assert len(bulk[0]["history"]["loss"]) == 10
    assert bulk[1]["history"]["loss"] == [(0, 1.0)]  # infinities stay in the rows
    assert bulk[2]["status"] == "FAILED"


def test_rows_come_back_and_a_half_written_file_is_passed_over(project: Path) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = Plan(study, source, "smoke").ready()[:4]
    outcomes = [Outcome("finished", [0, 1], {"loss": [2.0, 1.0]}) for _ in trials]
    ledger = Ledger(project)
    recorder = ledger.start(study, "smoke", INFO, False)
    recorder.add("p1", trials[:2], outcomes[:2])
    recorder.add("p2", trials[2:], outcomes[2:])
    recorder.wait()
    (parent,) = ledger.parents("tiny")
    frame = ledger.rows_of(study, parent)
    pd.testing.assert_frame_equal(frame, recorder.frame())
    assert rows.Recorded(study, frame).get(trials[0].key) == outcomes[0]
    assert rows.Recorded(study, frame).get("no such trial") is None
    assert rows.Recorded(study, frame.iloc[:0]).get(trials[0].key) is None
    (broken,) = (project / "mlruns").rglob("p2-*.parquet")
    broken.write_bytes(broken.read_bytes()[:100])
    assert set(ledger.rows_of(study, parent)["trial"]) == {t.key for t in trials[:2]}


def test_the_same_plan_continues_and_another_starts_anew(project: Path) -> None:
    study = catalog.load(catalog.find("tiny"))
    ledger = Ledger(project)
    first = ledger.start(study, "smoke", INFO, False)
    again = ledger.start(study, "smoke", INFO, False)
    assert (again.run_id, again.continued) == (first.run_id, True)
    assert ledger.start(study, "smoke", {**INFO, "plan": "p2"}, False).run_id != first.run_id
    assert ledger.start(study, "smoke", INFO, True).run_id != first.run_id
    assert len(ledger.parents("tiny", "smoke")) == 3
    assert ledger.parents("tiny", "default") == []


def test_a_deleted_experiment_is_restored(project: Path) -> None:
    study = catalog.load(catalog.find("tiny"))
    ledger = Ledger(project)
    recorder = ledger.start(study, "smoke", INFO, False)
    ledger.client.delete_experiment(recorder.experiment)
    assert ledger.start(study, "smoke", INFO, False).experiment == recorder.experiment


def test_a_file_that_is_no_database(project: Path) -> None:
    (project / "mlflow.db").write_text("not a database, and long enough to be looked at" * 50)
    with pytest.raises(BadInput, match="cannot be opened"):
        Ledger(project)
