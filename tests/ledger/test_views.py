"""What MLflow's UI shows of a study: the kind of experiment, its views, a run's inputs and source."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from harness.app.running import numbers
from harness.engine.outcome import Outcome
from harness.ledger import Ledger, Recorder, provenance, views
from harness.plan.plan import Plan
from harness.study import catalog
from tests import synthetic

COMMIT = "0123456789abcdef0123456789abcdef01234567"
INFO: dict[str, Any] = {
    "commit": COMMIT, "plan": "p1",
    "provenance": {"data": "digits 6476b6618351, lines 00aa11bb22cc", "python": "3"},
}  # fmt: skip


def recorded(project: Path, **info: Any) -> Recorder:
    """The tiny study's run with four draws and a confirm trial of each arm."""
    source = catalog.find("tiny")
    study = catalog.load(source)
    ledger = Ledger(project)
    one = Recorder(ledger, study, source, "smoke", INFO | info, False)
    draws = Plan(study, source, "smoke").ready()
    trials = [
        *draws,
        *(dataclasses.replace(t, phase="confirm", key=f"c{t.key}") for t in draws[:1]),
    ]
    ended = [
        Outcome("finished", [0, 1], {"loss": [2.0, 1.0], "steps_to_target": [math.nan, float(n)]})
        for n in range(len(trials))
    ]
    one.add("p1", trials, ended)
    assert one.wait()
    ledger.release()
    return one


def test_an_experiment_of_an_earlier_version_is_described_too(project: Path) -> None:
    client = Ledger(project).client
    experiment = client.create_experiment("tiny", tags={"mine": "1"})
    one = recorded(project)
    tags = client.get_experiment(experiment).tags
    assert one.experiment == experiment
    assert (tags["mlflow.experimentKind"], tags["mine"]) == ("custom_model_development", "1")
    assert "Is momentum faster in the valley?" in tags["mlflow.note.content"]


def test_views_find_the_runs_that_they_name(project: Path) -> None:
    one = recorded(project)
    client = one.ledger.client
    found: dict[str, list[Any]] = {}
    for key, text in client.get_experiment(one.experiment).tags.items():
        if key.startswith(views.VIEW):
            view = json.loads(text)
            state = json.loads(view["state"])
            order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
            found[key.removeprefix(views.VIEW)] = client.search_runs(
                [one.experiment], state["searchFilter"], order_by=[order]
            )
            runs = found[key.removeprefix(views.VIEW)]
            for name in [g["groupByData"] for g in (state["groupBy"] or {}).get("groupByKeys", ())]:
                assert all(name in run.data.params for run in runs)
    assert [run.info.run_id for run in found["harness-runs"]] == [one.run_id]
    steps = [run.data.metrics["steps_to_target"] for run in found["harness-draws"]]
    assert steps == sorted(steps)
    assert len(steps) == 8
    assert {run.data.params["phase"] for run in found["harness-curves"]} == {"confirm"}


def test_a_run_has_its_data_its_user_and_its_source_once(project: Path) -> None:
    recorded(project)
    one = recorded(project)
    assert one.continued
    run = one.ledger.client.get_run(one.run_id)
    inputs = {(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    assert inputs == {("digits", "6476b6618351"), ("lines", "00aa11bb22cc")}
    assert len(run.inputs.dataset_inputs) == 2
    tags = run.data.tags
    assert tags["mlflow.user"]
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("tiny.py", "LOCAL")
    assert tags["mlflow.source.git.commit"] == COMMIT


def test_without_data_or_a_commit_none_are_made_up(project: Path) -> None:
    one = recorded(project, commit="unknown", provenance={"data": "none declared"})
    run = one.ledger.client.get_run(one.run_id)
    assert not run.inputs.dataset_inputs
    assert "mlflow.source.git.commit" not in run.data.tags
    assert provenance.data_of({}) == []


def test_children_have_what_charts_group_by(project: Path) -> None:
    one = recorded(project)
    for run_id in one.run_ids.values():
        run = one.ledger.client.get_run(run_id)
        for name in ("arm", "phase"):
            assert run.data.params[name] == run.data.tags[f"harness.{name}"]


def test_numbers_compare_runs_and_are_finite() -> None:
    results, verdicts = synthetic.small()
    endless = dataclasses.replace(
        verdicts[0], id="endless", effect=math.nan, high=math.inf, low=1.0
    )
    found = numbers(results, [*verdicts, endless])
    counts = [found[name] for name in ("supported", "refuted", "inconclusive")]
    assert sum(counts) == len(verdicts) + 1
    assert all(math.isfinite(value) for value in found.values())
    assert {name for name in found if "endless" in name} == {"claims/endless.low"}
    assert found[f"claims/{verdicts[0].id}.effect"] == verdicts[0].effect
    assert numbers(results, [])["refuted"] == 0
