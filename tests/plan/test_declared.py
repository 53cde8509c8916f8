"""A trial is declared once in a process that drives a run, whoever asks."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch

from harness.engine.training import Training
from harness.execution.prepare import check_data, work_of
from harness.plan.declared import Declarations
from harness.plan.packing import Packer
from harness.plan.plan import Plan
from harness.study import BadInput, Source, Study, Trial, catalog


def counted(project: Path, old: str = "", new: str = "") -> tuple[Study, Source, Counter[str]]:
    """The tiny study, and how often each of its trials was declared."""
    text = (project / "studies" / "tiny.py").read_text()
    assert old in text
    source = Source("tiny", "tiny.py", text.replace(old, new))
    study, calls = catalog.load(source), Counter[str]()

    def trial(t: Trial) -> Training:
        calls[t.key] += 1
        return study.trial(t)

    trial.__name__ = "trial"
    return dataclasses.replace(study, trial=trial), source, calls


def test_a_trial_is_declared_once_by_check_forecast_and_packing(project: Path) -> None:
    study, source, calls = counted(project)
    plan, declared = Plan(study, source, "smoke"), Declarations(study)
    assert check_data(plan, declared)["precision"] == "float32"
    assert work_of(plan, source, declared) > 0
    trials = plan.ready()
    packer = Packer(declared)
    for _ in range(2):
        assert sum(len(pack.trials) for pack in packer.pack(trials)) == len(trials) == 8
    assert {calls[trial.key] for trial in trials} == {1}
    declared.forget(trials)
    packer.pack(trials[:1])
    assert calls[trials[0].key] == 2


def test_models_are_tried_on_one_thread_as_packs_are_trained(project: Path, monkeypatch) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    threads = []
    monkeypatch.setattr(
        Training, "why_alone", lambda self: threads.append(torch.get_num_threads()) or ""
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Packer(Declarations(study)).pack(Plan(study, source, "smoke").ready())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads and set(threads) == {1}


def test_what_comes_is_what_is_handed_out(project: Path) -> None:
    study, source, _ = counted(project)
    plan = Plan(study, source, "smoke")
    coming = plan.coming()
    assert plan.coming() == coming
    assert {trial.arm for trial in plan.samples()} == {"gd", "momentum"}
    assert len(plan.samples()) == 2
    assert plan.ready() == coming
    assert plan.ready() == plan.coming() == []


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ("raise KeyError(t.arm)", "its trial function raises KeyError"),
        ("return ({} for _ in range(2))", "it is a generator of rows"),
        ("return Training(lambda: 1 / 0, Optimizer('sgd'), steps=1)", "its model raises ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_cannot_be_declared_trains_alone_and_says_why(
    project: Path, new: str, why: str
) -> None:
    study, source, _ = counted(project, "    return Training(", f"    {new}\n    return Training(")
    plan, declared = Plan(study, source, "smoke"), Declarations(study)
    check_data(plan, declared)
    packs = Packer(declared).pack(plan.ready())
    assert {(len(pack.trials), pack.lone, pack.cost) for pack in packs} == {(1, why, 1.0)}


def test_bad_input_of_a_trial_ends_the_run_before_it_starts(project: Path) -> None:
    new = "from harness.study import BadInput\n    raise BadInput('no such file')\n    return Training("
    study, source, _ = counted(project, "return Training(", new)
    with pytest.raises(BadInput, match="no such file"):
        check_data(Plan(study, source, "smoke"), Declarations(study))
