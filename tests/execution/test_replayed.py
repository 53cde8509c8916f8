"""What a replay compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import Budget, Float, Metric, Study
from harness.engine.attempt import run_pack
from harness.engine.outcome import Outcome
from harness.execution import replayed
from harness.execution.replayed import sealed_since
from harness.ledger import rows
from harness.study import make_trial
from tests.conftest import harness

STUDY = Study(
    name="s", question="Which?", trial=print, arms={"a": {}}, nuisance={"lr": Float(1e-3, 1.0)},
    select=("valid_loss",), budgets={"smoke": Budget(2, 5)},
    metrics={m: Metric("nats", better="low") for m in ("valid_loss", "test_loss", "gap")},
)  # fmt: skip


def frame(phase: str, status: str = "finished", **metrics: float) -> Any:
    trial = make_trial(STUDY, "smoke", phase, "a", {}, {"lr": 0.1}, 0, "k")
    outcome = Outcome(status, [0, 1], {name: [value, value] for name, value in metrics.items()})
    return rows.frame_of(STUDY, "p", [trial], [outcome])


def test_what_was_recorded_before_it_was_sealed_is_told_apart_from_what_differs() -> None:
    now = {"valid_loss": 1.0}
    before = now | {"test_loss": 2.0, "gap": 1.0}
    for phase, since in (("tune", ["test_loss", "gap"]), ("confirm", [])):
        assert sealed_since(STUDY, frame(phase, **before), frame(phase, **now)) == since
        assert sealed_since(STUDY, frame(phase, **now), frame(phase, **now)) == []
        assert sealed_since(STUDY, frame(phase, **before), frame(phase, **before)) == []
    failed = frame("tune", "failed")
    assert sealed_since(STUDY, frame("tune", **before), failed) == []


@pytest.mark.parametrize("wrong", [(), (0,), (0, 1)])
def test_a_trial_that_differs_alone_is_trained_in_its_place(
    project: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[int, ...]
) -> None:
    """Last bits may depend on a trial's place in its pack, on some processors.

    Args:
        wrong: Which of the trainings that a replay asks for, of one trial and then of its pack,
            measure something else.
    """
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    table = pd.read_csv(project / "reports" / "tiny" / "smoke" / "trials.csv")
    mates = max(table.groupby("pack")["trial"].agg(list), key=len)
    asked: list[list[str]] = []

    def trained(study: Study, trials: list[Any], device: str) -> list[Outcome]:
        asked.append([trial.key for trial in trials])
        outcomes = run_pack(study, trials, device)
        if len(asked) - 1 in wrong:
            for one in outcomes:
                one.metrics["loss"][-1] += 1e-7
        return outcomes

    monkeypatch.setattr(replayed, "run_pack", trained)
    done = harness("replay", mates[-1])
    assert done.returncode == (1 if wrong == (0, 1) else 0), done.stdout + done.stderr
    assert [sorted(keys) for keys in asked] == [[mates[-1]], sorted(mates)][: 1 + bool(wrong)]
    told = "loss: 1 rows differ" if 1 in wrong else "every row is bitwise the same"
    beside = f"beside the {len(mates) - 1} trials of its pack, as then: {told}"
    assert (beside in " ".join(done.stdout.split())) == bool(wrong)
