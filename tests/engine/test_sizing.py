"""Pack sizes are forecast, the same each time, and bounded by memory."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.engine import sizing
from harness.engine.training import Training
from harness.parts.data import Data
from harness.parts.models import MLP, Descent
from harness.parts.optimizers import Optimizer
from harness.plan.declared import Declarations
from harness.plan.packing import ROUNDS, SPLIT, Packer, graded
from harness.plan.plan import Plan
from harness.study import catalog

POINT = Training(partial(Descent, "valley"), Optimizer("sgd"), steps=400)


def mlp(width: int, batch: int = 64) -> Training:
    model = partial(MLP, (64, width, 10))
    return Training(model, Optimizer("adam"), data=Data("digits"), batch_size=batch, epochs=2)


def pack_size(one: Training, room: float = math.inf) -> int:
    return sizing.pack_size(one, "cpu", room)


@given(
    base=st.floats(1e-6, 1e3), each=st.floats(1e-6, 1e3), held=st.integers(1, 10**12),
    workers=st.integers(1, 64),
)  # fmt: skip
def test_a_size_that_is_worth_it_and_fits(
    base: float, each: float, held: int, workers: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "seconds", lambda *_: (base, each))
        patch.setattr(sizing, "held", lambda *_: held)
        size = sizing.pack_size(POINT, "cpu", 2**33 / workers)
    assert size in sizing.SIZES
    if size > sizing.SIZES[0]:
        assert size * held * workers <= 2**33

        def rate(n: int) -> float:
            return n / (base + each * n)

        assert rate(size) >= sizing.GAIN * rate(size // 2) * (1 - 1e-9)


def test_what_is_light_comes_in_large_packs() -> None:
    sizes = [pack_size(one) for one in (POINT, mlp(16), mlp(64), mlp(512))]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]
    assert pack_size(mlp(64, 512)) <= pack_size(mlp(64, 8))


def test_memory_bounds_it() -> None:
    fits, each = pack_size(mlp(64)), sizing.held(mlp(64))
    assert pack_size(mlp(64), each * fits / 4) == fits // 4
    assert pack_size(mlp(64), each * fits / 8) == max(8, fits // 8)
    assert pack_size(mlp(64), 1) == sizing.SIZES[0]


def test_more_work_takes_longer() -> None:
    base, each = sizing.seconds(mlp(64))
    longer = sizing.seconds(dataclasses.replace(mlp(64), epochs=4))
    assert longer[0] > base
    assert longer[1] > 1.5 * each
    assert sizing.seconds(mlp(256))[1] > 2 * each
    assert sizing.held(mlp(256)) > 2 * sizing.held(mlp(64))


def test_parameters_that_stay_near_no_core_are_waited_for() -> None:
    steps = {"epochs": None, "steps": 100, "batch_size": 1}
    fits, wide = (dataclasses.replace(mlp(width), **steps) for width in (2**13, 2**15))
    own = 64 * 2**15 + 2**15 + 2**15 * 10 + 10
    read = 100 * sizing.PASSES * 4 * own / sizing.KINDS["cpu"].bytes
    assert read < sizing.seconds(wide)[1] < 3 * read
    assert sizing.seconds(wide)[1] > 1.5 * 4 * sizing.seconds(fits)[1]


def test_the_packer_gives_every_worker_some(project: Path, monkeypatch) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm == "gd"] * 8  # 32 trials
    monkeypatch.setattr(sizing, "pack_size", lambda *a: 64)
    assert [len(p.trials) for p in Packer(Declarations(study), None, 4).pack(trials)] == [
        8,
        8,
        8,
        8,
    ]
    monkeypatch.setattr(sizing, "pack_size", lambda *a: 16)
    assert [len(p.trials) for p in Packer(Declarations(study), None, 1).pack(trials)] == [16, 16]
    assert [len(p.trials) for p in Packer(Declarations(study), 5).pack(trials)] == [
        5,
        5,
        5,
        5,
        5,
        5,
        2,
    ]


@pytest.mark.parametrize(
    ("many", "sizes"), [(8, [8]), (9, [9]), (12, [12]), (13, [7, 6]), (24, [12, 12])]
)
def test_a_few_more_are_not_cut_in_two(project: Path, monkeypatch, many, sizes) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm == "gd"] * 6
    monkeypatch.setattr(sizing, "pack_size", lambda *a: 8)
    packer = Packer(Declarations(study), None, 1)
    assert [len(pack.trials) for pack in packer.pack(trials[:many])] == sizes
    room = 8 * sizing.held(packer.look_up(trials[0]).training)
    small = Packer(Declarations(study), None, 1, room=room)
    assert max(len(pack.trials) for pack in small.pack(trials[:many])) <= 8


def normalised(*norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), *norm, nn.Linear(32, 10))


def convolved() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10)
    )


def test_what_is_many_operations_takes_longer_to_begin_and_to_update() -> None:
    def base(model: partial, epochs: int) -> float:
        data = Data("digits")
        return sizing.seconds(
            Training(model, Optimizer("sgd"), data=data, epochs=epochs, batch_size=64)
        )[0]

    plain, norm = partial(normalised), partial(normalised, nn.BatchNorm1d(32))
    for epochs in (1, 100):
        assert base(plain, epochs) < base(norm, epochs) < base(partial(convolved), epochs)


@given(
    trials=st.integers(1, 5000), most=st.sampled_from(sizing.SIZES), parts=st.floats(0.01, 3000.0)
)
def test_packs_become_smaller_towards_the_end(trials: int, most: int, parts: float) -> None:
    sizes = graded(trials, most, parts)
    assert sum(sizes) == trials and sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= max(SPLIT, trials / parts + 1) or parts < 1
    assert all(SPLIT <= size <= most for size in sizes[:-1]) and sizes[-1] <= most


def test_packs_are_graded_where_workers_differ(project: Path, monkeypatch) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm == "gd"] * 16  # 64 trials
    monkeypatch.setattr(sizing, "pack_size", lambda *a: 64)
    packs = Packer(Declarations(study), None, 1, uneven=True).pack(trials)
    assert ROUNDS == 2 and [len(pack.trials) for pack in packs] == [32, 16, 8, 8]
