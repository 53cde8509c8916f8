"""Packs change nothing but the time."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from harness.engine.outcome import Outcome
from harness.engine.pack import PackInFlight, train
from harness.engine.program import Program
from harness.engine.training import Stop, Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.data.augment import Augment
from harness.parts.models import MLP, Descent
from harness.parts.objectives import CrossEntropy
from harness.parts.optimizers import Optimizer
from harness.parts.probes import EffectiveRate, Moment, Position, RecordTo, StepsTo

pytestmark = pytest.mark.usefixtures("one_thread")


def valley(lr: float, rule: str = "momentum", steps: int = 40) -> Training:
    return Training(
        partial(Descent, "valley"), Optimizer(rule, lr=lr), steps=steps, every=4,
        probes=(Position(), StepsTo(0.5)),
    )  # fmt: skip


def digits(lr: float, rule: str = "adam", epochs: int = 2) -> Training:
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer(rule, lr=lr), data=Data("digits", train=320), epochs=epochs,
        batch_size=32, probes=(RecordTo("valid_accuracy", 0.5, "steps_to_half"), EffectiveRate()),
    )  # fmt: skip


def same(a: Outcome, b: Outcome) -> bool:
    return (
        a.status == b.status
        and a.steps == b.steps
        and a.metrics.keys() == b.metrics.keys()
        and all(np.array_equal(a.metrics[m], b.metrics[m], equal_nan=True) for m in a.metrics)
    )


@pytest.mark.parametrize("make", [valley, digits])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(make, data) -> None:
    lanes = data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=8, unique=True))
    rates = [10 ** (-3 + lane / 4) for lane in lanes]
    together = train([make(lr) for lr in rates], lanes)
    chosen = data.draw(st.integers(0, len(lanes) - 1))
    alone = train([make(rates[chosen])], [lanes[chosen]])[0]
    assert same(together[chosen], alone)


def test_descent_matches_a_plain_loop() -> None:
    outcome = train([valley(0.3), valley(0.1)], [5, 6])[0]
    torch.manual_seed(keyed.torch_seed(5, "init"))
    model = Descent("valley")
    peer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    losses = []
    for _ in range(41):
        peer.zero_grad()
        loss = model()
        losses.append(loss.item())
        loss.backward()
        peer.step()
    assert outcome.steps == list(range(0, 41, 4))
    assert outcome.metrics["loss"] == pytest.approx(losses[::4], rel=1e-5, abs=1e-7)
    outside = [step for step, loss in enumerate(losses) if loss > 0.5]
    assert any(loss <= 0.5 for loss in losses[: outside[-1]])  # it passes through before it stays
    assert outcome.metrics["steps_to_target"][-1] == outside[-1] + 1


def test_steps_to_target_by_hand() -> None:
    columns = [
        [3, 1, 3, 1, 1],
        [1, 1, 1, 1, 1],
        [3, 3, 1, 1, 3],
        [3, math.nan, 1, 1, 1],
        [3, 3, 3, 3, 1],
    ]
    losses = torch.tensor(columns).T
    nothing: Any = None
    moment = Moment(
        step=4, loss=losses[-1], losses=losses, metrics={}, recorded=[], params={}, grads={},
        buffers={}, masks={}, first_rate=None, rate=lambda: losses[-1], program=nothing,
        splits=None, subset=None,
    )  # fmt: skip
    assert StepsTo(2.0).read(moment)["steps_to_target"].tolist() == [3, 0, math.inf, 2, 4]


def test_digits_match_a_plain_loop() -> None:
    training = digits(0.01)
    outcome = train([training, digits(0.02)], [3, 4])[0]
    splits = load(training.data)
    torch.manual_seed(keyed.torch_seed(3, "init"))
    model = MLP((64, 16, 10))
    peer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = splits.train
    for epoch in range(2):
        order = keyed.permutation(keyed.mix(keyed.keys([3], "batches"), epoch), 320)[0]
        for batch in order.split(32):
            peer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            peer.step()
    for split in ("valid", "test"):
        x, y = getattr(splits, split)
        with torch.no_grad():
            output = model(x)
        accuracy = (output.argmax(1) == y).float().mean().item()
        loss = nn.functional.cross_entropy(output, y).item()
        assert outcome.metrics[f"{split}_loss"][-1] == pytest.approx(loss, rel=1e-4)
        assert outcome.metrics[f"{split}_accuracy"][-1] == pytest.approx(accuracy, abs=1e-6)


def test_a_diverging_trial_harms_no_other() -> None:
    calm = train([valley(0.1), valley(0.2)], [0, 1])
    mixed = train([valley(0.1), valley(1e9, steps=40), valley(0.2)], [0, 7, 1])
    assert [o.status for o in mixed] == ["finished", "diverged", "finished"]
    assert same(mixed[0], calm[0])
    assert same(mixed[2], calm[1])
    # its rows end with the one where the loss left the finite numbers
    assert not math.isfinite(mixed[1].metrics["loss"][-1])
    assert all(math.isfinite(v) for v in mixed[1].metrics["loss"][:-1])


def test_signatures_group_what_differs_in_numbers_only() -> None:
    assert valley(0.1).signature() == valley(0.7).signature()
    assert valley(0.1).signature() != valley(0.1, rule="adam").signature()
    assert valley(0.1).signature() != valley(0.1, steps=50).signature()
    other = Training(partial(Descent, "beale"), Optimizer("momentum"), steps=40, every=4,
                     probes=(Position(), StepsTo(0.5)))  # fmt: skip
    assert valley(0.1).signature() != other.signature()
    wide = Training(
        partial(MLP, (64, 17, 10)),
        Optimizer("adam"),
        data=Data("digits", train=320),
        epochs=2,
        batch_size=32,
    )
    assert digits(0.1).signature() != wide.signature()


def test_an_author_module_fuses_unchanged() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.b = nn.Linear(64, 12), nn.LayerNorm(12), nn.Linear(12, 10)

        def forward(self, x):
            return self.b(torch.nn.functional.gelu(self.norm(self.a(x))))

    def own(lr: float) -> Training:
        return Training(
            Own, Optimizer("sgd", lr=lr), data=Data("digits", train=320), epochs=1, batch_size=32
        )

    assert own(0.1).signature() == own(0.2).signature()
    outcomes = train([own(0.1), own(0.2), own(0.3)], [0, 1, 2])
    assert same(outcomes[1], train([own(0.2)], [1])[0])


def test_a_probe_and_an_objective_of_a_plain_class_fuse() -> None:
    """They say nothing of what is equal, so they are compared by what they keep."""

    class Largest:
        at_end = False

        def __init__(self, scale: float) -> None:
            self.scale = scale

        def read(self, pack: Moment) -> dict[str, Tensor]:
            ends = [w.flatten(1).abs().amax(1) for w in pack.params.values()]  # (K, ...) -> (K,)
            return {"largest": self.scale * torch.stack(ends).amax(0)}

    class Doubled(CrossEntropy):
        __eq__, __hash__ = object.__eq__, object.__hash__

        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return 2 * super().loss(output, target)

    def made(lr: float, scale: float = 1.0) -> Training:
        return replace(digits(lr), probes=(Largest(scale),), objective=Doubled())

    assert made(0.1).signature() == made(0.2).signature()
    assert made(0.1).signature() != made(0.1, 2.0).signature()
    outcomes = train([made(0.01), made(0.02)], [0, 1])
    assert same(outcomes[1], train([made(0.02)], [1])[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 5, "epochs": 2}, "allowed: one of them"),
        ({}, "allowed: one of them"),
        ({"steps": 5, "batch_size": 8}, "no data"),
        ({"steps": 0}, "0 updates"),
        ({"steps": 5, "data": Data("digits")}, "batch_size=None"),
    ],
)
def test_mistakes_in_a_training(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        Training(partial(Descent, "valley"), Optimizer("sgd"), **arguments)


def test_models_that_keep_different_things_do_not_fuse() -> None:
    class Block(nn.Module):
        def __init__(self, k: float, act) -> None:
            super().__init__()
            self.k, self.act = k, act

        def forward(self, x):
            return self.k * self.act(x)

    def made(k: float, act) -> Training:
        def model() -> nn.Module:
            return nn.Sequential(nn.Linear(64, 8), Block(k, act), nn.Linear(8, 10))

        return Training(
            model, Optimizer("sgd"), data=Data("digits", train=320), epochs=1, batch_size=32
        )

    one = made(1.0, torch.tanh).signature()
    assert one == made(1.0, torch.tanh).signature()
    assert one != made(0.5, torch.tanh).signature()
    assert one != made(1.0, torch.sigmoid).signature()


def test_what_is_held_of_each_trial_is_cut_with_the_pack() -> None:
    """Whatever holds 11 of something holds three of it after eight trials have been left out:
    a tensor that was forgotten would give trials each other's numbers."""

    def sizes(value: object, seen: set[int]) -> set[int]:
        if id(value) in seen or isinstance(value, str | Program | Training | Outcome):
            return set()
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            return set(value.shape)
        if isinstance(value, dict):
            return set().union(*(sizes(one, seen) for one in value.values()))
        if isinstance(value, list | tuple):
            return {len(value)}.union(*(sizes(one, seen) for one in value))
        return sizes(vars(value), seen) if hasattr(value, "__dict__") else set()

    training = Training(
        lambda: nn.Sequential(nn.Linear(64, 5), nn.Dropout(0.3), nn.BatchNorm1d(5), nn.Linear(5, 10)),
        Optimizer("adam", lr=0.01, l1=1e-4), data=Data("digits", 40, draw=0), epochs=9, batch_size=20,
        noise=0.1, augment=Augment(shift=1.0), stop=Stop("valid_loss", 3, restore=True),
        objective=CrossEntropy(0.1),
    )  # fmt: skip
    pack = PackInFlight([training] * 11, range(11), "cpu")
    for step in range(4):
        pack.update(step)
        pack.record(step)
    assert 11 in sizes(pack, set())
    pack.keep(torch.tensor([0, 3, 5]))
    assert 11 not in sizes(pack, set())
    assert 3 in sizes(pack, set())
    pack.update(4)
