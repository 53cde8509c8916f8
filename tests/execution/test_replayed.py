"""What a replay compares."""

from __future__ import annotations

from typing import Any

from harness import Budget, Float, Metric, Study
from harness.engine.outcome import Outcome
from harness.execution.replayed import sealed_since
from harness.ledger import rows
from harness.study import make_trial

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
