"""Rows that are folded while a run goes on come back as they were."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.engine.outcome import Outcome
from harness.ledger import folded, rows
from harness.plan.plan import Plan
from harness.study import catalog

VALUES = st.lists(st.floats(width=64), min_size=1, max_size=4)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None
)
@given(packs=st.lists(VALUES, max_size=6), together=st.integers(1, 12))
def test_rows_are_the_same_to_the_last_bit(
    project: Path, monkeypatch: pytest.MonkeyPatch, packs: list[list[float]], together: int
) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = Plan(study, source, "smoke").ready()[:2]
    monkeypatch.setattr(folded, "TOGETHER", together)
    kept, frames = folded.Folded(study), []
    for number, losses in enumerate(packs):
        good = Outcome("finished", [*range(len(losses))], {"loss": losses}, "", 0.5)
        failed = Outcome("failed", error="no\nroom")
        frames.append(rows.frame_of(study, f"p{number}", trials, [good, failed]))
        kept.add(frames[-1])
    whole = pd.concat(frames, ignore_index=True) if frames else rows.empty(study)
    pd.testing.assert_frame_equal(kept.frame(), whole, check_exact=True)
