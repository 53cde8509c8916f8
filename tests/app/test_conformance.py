"""What is wrong with a study is said before it is run."""

from __future__ import annotations

import pytest

from harness.app import conformance
from harness.study import Source, catalog

TUNED = """
from functools import partial

from harness import Budget, Data, Float, Metric, Optimizer, Study, Training
from harness.parts.models import MLP
from harness.parts.probes.generalization import Calibration


def trial(t):
    return Training(
        partial(MLP, (64, 10)), Optimizer("adam", lr=t["lr"]), Data("digits", 64), steps=2, batch_size=32,
        probes=(Calibration(),),
    )


STUDY = Study(
    question="Which?", trial=trial, arms={"a": {}}, nuisance={"lr": Float(1e-3, 1e-1)}, select=("SELECT",),
    metrics={name: Metric("%", better="low") for name in ("valid_loss", "test_loss", "calibration_error")},
    budgets={"smoke": Budget(draws=2, seeds=SEEDS)},
)
"""
SILENT = (
    "arm 'a' is tuned and reports none of calibration_error; a probe that asks for the test split"
)
UNREAD = (
    "no trial reports test_loss, calibration_error, which Study.metrics declares; the test split is "
    "sealed before the confirm phase, where no claim reads it"
)


@pytest.mark.parametrize(
    ("select", "seeds", "said"),
    [("valid_loss", 5, ""), ("calibration_error", 5, SILENT), ("valid_loss", 0, UNREAD)],
)
def test_what_is_sealed_can_choose_nothing_and_is_nowhere_without_fresh_seeds(
    select: str, seeds: int, said: str
) -> None:
    source = Source("s", "s.py", TUNED.replace("SELECT", select).replace("SEEDS", str(seeds)))
    study = catalog.load(source)
    wrong = conformance.ended(study, source, conformance.trained(study, source))
    assert wrong.startswith(said)
    assert bool(wrong) == bool(said)
