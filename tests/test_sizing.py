"""Pack sizes are measured once, remembered, and bounded by memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from harness import catalog, sizing
from harness.models import Descent
from harness.optimizers import Optimizer
from harness.packs import Training
from harness.plan import Packer, Plan

TRAINING = Training(partial(Descent, "valley"), Optimizer("sgd"), steps=400)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sizing, "_file", lambda: tmp_path / "deep" / "pack-sizes.json")
    return tmp_path / "deep" / "pack-sizes.json"


def rates(monkeypatch, table: dict[int, float], most: int = 0) -> list[int]:
    asked: list[int] = []

    def rate(training, device, size):
        asked.append(size)
        if size not in table:
            raise RuntimeError("out of memory")
        return table[size], most

    monkeypatch.setattr(sizing, "_rate", rate)
    return asked


def test_doubles_until_throughput_stops_growing(cache: Path, monkeypatch) -> None:
    asked = rates(monkeypatch, {8: 10, 16: 18, 32: 30, 64: 31, 128: 99})
    assert sizing.measured(TRAINING, "cpu") == 32
    assert asked == [8, 16, 32, 64]
    assert sizing.measured(TRAINING, "cpu") == 32  # remembered
    assert sizing.remembered(TRAINING, "cpu") == 32
    assert len(asked) == 4
    other = Training(partial(Descent, "beale"), Optimizer("sgd"), steps=400)
    assert sizing.remembered(other, "cpu") == sizing.PACK_SIZE


def test_stops_where_memory_ends(cache: Path, monkeypatch) -> None:
    rates(monkeypatch, {8: 10, 16: 18})
    assert sizing.measured(TRAINING, "cpu") == 16


def test_leaves_memory_to_other_workers(cache: Path, monkeypatch) -> None:
    rates(monkeypatch, dict.fromkeys(sizing.SIZES, 0.0) | {8: 1, 16: 2, 32: 4}, most=100)
    monkeypatch.setattr(sizing, "free_memory", lambda device: 1000)
    assert sizing.measured(TRAINING, "cpu", workers=4) == 8


def test_a_spoilt_memory_is_no_memory(cache: Path, monkeypatch) -> None:
    cache.parent.mkdir()
    cache.write_text("[oh")
    assert sizing.remembered(TRAINING, "cpu") == sizing.PACK_SIZE
    rates(monkeypatch, {8: 1})
    assert sizing.measured(TRAINING, "cpu") == 8


def test_what_does_not_fit_now_is_not_remembered(cache: Path, monkeypatch) -> None:
    asked = rates(monkeypatch, {})
    assert sizing.measured(TRAINING, "cpu") == 8
    assert sizing.measured(TRAINING, "cpu") == 8
    assert asked == [8, 8]
    assert not cache.exists()


def test_a_real_measurement(cache: Path) -> None:
    assert sizing.measured(TRAINING, "cpu") in sizing.SIZES
    assert cache.is_file()


def test_the_packer_asks_only_where_it_pays_and_gives_every_worker_some(
    cache: Path, project: Path, monkeypatch
) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm == "gd"] * 8  # 32 trials
    monkeypatch.setattr(sizing, "measured", lambda *a: pytest.fail("too little work to measure"))
    monkeypatch.setattr(sizing, "remembered", lambda *a: 64)
    sizes = [len(p.trials) for p in Packer(study, None, 4, measure=True).pack(trials)]
    assert sizes == [8, 8, 8, 8]
    monkeypatch.setattr("harness.plan.MEASURE_FROM", 0.0)
    monkeypatch.setattr(sizing, "measured", lambda *a: 16)
    assert [len(p.trials) for p in Packer(study, None, 1, measure=True).pack(trials)] == [16, 16]
    assert [len(p.trials) for p in Packer(study, 5).pack(trials)] == [5, 5, 5, 5, 5, 5, 2]
