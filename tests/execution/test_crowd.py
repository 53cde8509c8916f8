"""A small run on a simulated crowd of workers: see `benchmarks.cluster`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import cluster
from benchmarks.soak import FLAT
from harness.execution.nodes import Machines


def test_a_driver_keeps_up_and_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    seen = cluster.measure(1000, 50, (1.0,), store=True)  # raises where the store has not all
    assert seen.planned == 1000 and seen.packs >= 100
    assert seen.growth <= FLAT
    assert 0 <= seen.idle < 1


def test_slow_nodes_are_waited_for_less_with_graded_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = cluster.SPEEDS[cluster.MIXED]
    graded = cluster.measure(4000, 96, kinds, store=False)
    monkeypatch.setattr(Machines, "uneven", False)
    alike = cluster.measure(4000, 96, kinds, store=False)
    assert graded.planned == alike.planned == 4000
    assert graded.idle < alike.idle and graded.length < alike.length  # on the simulation's clock
