"""Units without gates by their equations, Ω by autograd, and probes of memory by what is known."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness import Data, Loss, Optimizer, Training
from harness.engine.building import build
from harness.engine.pack import train
from harness.parts.data.tasks import delays
from harness.parts.models import EchoState, Recurrent
from harness.parts.models.plain import Plain, gated, stretched
from harness.parts.objectives import CrossEntropy, SquaredError
from harness.parts.probes.memory import Kept, Powers, Reach, Recalled, Through

pytestmark = pytest.mark.usefixtures("one_thread")
ORDER = Data("temporal_order", 200, length=12)
NOISE = Data.of(partial(delays, 8, 60), name="eight_back", task="regression")


@pytest.mark.parametrize(
    "given",
    [{}, {"act": "sigmoid"}, {"act": "relu", "identity": True}, {"keep": 0.7}, {"far": 3},
     {"far": 3, "near": False}],
)  # fmt: skip
def test_states_are_those_of_the_equations(given: dict[str, Any]) -> None:
    net = build(partial(Plain, 2, 5, 3, std=0.5, **given), 1)
    x = torch.randn(4, 9, 2)
    act = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}[
        given.get("act", "tanh")
    ]
    keep, far = given.get("keep", 0.0), given.get("far", 0)
    states = [torch.zeros(4, 5)]
    for now in x.unbind(1):
        total = net.into(now)
        if net.within is not None:
            total = total + states[-1] @ net.within.T
        if far and len(states) > far:
            total = total + states[-far] @ net.back.T
        states.append(keep * states[-1] + (1 - keep) * act(total))
    for ours, theirs in zip(net.states(x), states[1:], strict=True):
        torch.testing.assert_close(ours, theirs)
    last = states[-1] if net.within is not None else sum(states[-3:])
    torch.testing.assert_close(net(x), net.out(last))


def test_the_identity_and_symbols() -> None:
    net = build(partial(Plain, 6, 5, 3, every_step=True, act="relu", identity=True), 0)
    assert (net.within == torch.eye(5)).all()
    symbols = torch.randint(6, (2, 7))
    one_hot = functional.one_hot(symbols, 6).float()
    assert net(symbols).shape == (2, 7, 3)
    assert (net(symbols) == net(one_hot)).all()


@pytest.mark.parametrize(
    "given", [{"act": "gelu"}, {"keep": 1.0}, {"act": "relu", "keep": 0.5}, {"far": -1}]
)
def test_what_units_refuse(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Plain(2, 3, 1, **given)


@pytest.mark.parametrize("numbers", [False, True])
def test_omega_is_its_definition(numbers: bool) -> None:
    """By autograd: the ratios of norms of the gradient by what units sum up, and of Ω the derivative
    by the recurrent weights with everything else held."""
    net = build(partial(Plain, 6, 5, 4, std=0.5), 3)
    x = torch.randn(7, 6, 6)
    y = torch.randn(7, 4) if numbers else torch.randint(4, (7,))
    lost = functional.mse_loss if numbers else functional.cross_entropy
    sums, h = [], torch.zeros(7, 5)
    for now in x.unbind(1):
        sums.append(net.into(now) + h @ net.within.T)
        h = torch.tanh(sums[-1])
    plain = lost(net.out(h), y)
    deltas = torch.autograd.grad(plain, sums, retain_graph=True)
    weight = net.within.detach().clone().requires_grad_()
    ratios = [
        (later.detach() @ weight * (1 - torch.tanh(now.detach()) ** 2)).norm(dim=1)
        / later.norm(dim=1)
        for now, later in zip(sums, deltas[1:], strict=False)
    ]
    omega = torch.stack([(ratio - 1).square() for ratio in ratios]).mean()
    for now, later, ratio in zip(deltas, deltas[1:], ratios, strict=False):
        torch.testing.assert_close(now.norm(dim=1) / later.norm(dim=1), ratio)
    total = stretched(net, x, y, torch.tensor(2.0))
    torch.testing.assert_close(total, plain + 2 * omega)
    by_weights = (
        torch.autograd.grad(plain, net.within)[0] + 2 * torch.autograd.grad(omega, weight)[0]
    )
    torch.testing.assert_close(torch.autograd.grad(total, net.within)[0], by_weights)


def test_gates_start_where_they_are_told_to() -> None:
    biased = build(partial(gated, 2, 50, 1, forget=-1.0), 0)
    assert isinstance(biased, Recurrent)
    assert biased.cells[0].bias[1].eq(-1).all()
    assert biased.cells[0].bias[[0, 2, 3]].eq(0).all()
    chrono = build(partial(gated, 2, 500, 1, forget=0.0, longest=40), 0).cells[0].bias.detach()
    assert (chrono[0] == -chrono[1]).all()
    lives = chrono[1].exp()
    assert lives.min() >= 1
    assert lives.max() < 39
    assert float(lives.mean()) == pytest.approx(20, abs=2)
    assert build(partial(gated, 2, 5, 1), 0).cells[0].bias.shape == (3, 5)


def test_noise_is_what_it_was() -> None:
    for x, y in delays(8, 60):
        assert y.shape == (len(x), 52, 8)
        for back in range(1, 9):
            assert (y[:, :, back - 1] == x[:, 8 - back : 60 - back, 0]).all()


def one(model: Any, probe: Any, objective: Any = None, data: Data = ORDER) -> Training:
    return Training(
        model, Optimizer("sgd", lr=0.1), data, objective or CrossEntropy(), steps=4, batch_size=32,
        every=4, probes=(probe,),
    )  # fmt: skip


def test_how_far_a_gradient_reaches_is_autograds() -> None:
    model = partial(Plain, 6, 8, 4, std=0.3)
    metrics = train([one(model, Reach(16))], seeds=[5])[0].metrics
    net = build(model, 5)
    from harness.parts.data import load

    x, y = (part[:16] for part in load(ORDER).train)
    x = x.clone().requires_grad_()
    functional.cross_entropy(net(x), y).backward()
    norms = x.grad.square().sum((0, 2)).sqrt()
    ours = [metrics[f"reach_{step}"][0] for step in range(1, 13)]
    np.testing.assert_allclose(ours, (norms / norms[-1]).log10(), atol=1e-4)
    assert math.isnan(metrics["reach_1"][-1])


def test_what_is_kept() -> None:
    metrics = train([one(partial(Plain, 6, 8, 4), Kept())], seeds=[0])[0].metrics
    for split in ("valid", "test"):
        share = max(0.0, (metrics[f"{split}_accuracy"][-1] - 0.25) / 0.75)
        assert metrics[f"{split}_kept"][-1] == pytest.approx(share, abs=1e-6)
        assert metrics[f"{split}_success"][-1] == 0
    assert metrics["survived"][-1] == 1
    adding = Data("adding", 200, length=4)
    found = train(
        [one(partial(Plain, 2, 8, 1), Kept(1 / 6), SquaredError(), adding)], seeds=[0]
    )[0].metrics  # fmt: skip
    kept = max(0.0, 1 - 6 * found["test_loss"][-1])
    assert found["test_kept"][-1] == pytest.approx(kept, abs=1e-6)


def test_a_reservoir_recalls_at_most_its_units() -> None:
    """And one of radius 0 none of what came before."""
    found = train(
        [Training(partial(EchoState, 1, 6, 8, radius, scale=scale, washout=8), Optimizer("ridge", l2=1e-8),
                  NOISE, SquaredError(), epochs=1, batch_size=2, trains="readout.*", probes=(Recalled(),))
         for radius, scale in ((0.0, 0.01), (0.9, 0.1))], seeds=[0, 0],
    )  # fmt: skip
    blind, seeing = (outcome.metrics for outcome in found)
    assert 2 < seeing["test_capacity"][-1] < 6
    assert seeing["test_recall_1"][-1] > 0.8
    assert blind["test_capacity"][-1] < 0.3  # its state is of the present number only
    total = sum(seeing[f"test_recall_{back}"][-1] for back in range(1, 9))
    assert seeing["test_capacity"][-1] == pytest.approx(total, rel=1e-5)


def test_powers_and_bounds() -> None:
    keeps = (0.5, 0.9, 0.99)
    found = train(
        [Training(partial(Through, radius, 60, keeps, 12), Optimizer("sgd", lr=1e-9), steps=1, probes=(Powers(),))
         for radius in (0.8, 1.2)], seeds=[1, 1],
    )  # fmt: skip
    for outcome, radius in zip(found, (0.8, 1.2), strict=True):
        last = {name: column[-1] for name, column in outcome.metrics.items()}
        assert last["gap"] < 1e-11
        assert last["growth"] < 60 * math.log10(radius)
        assert 0 < last["to_bound"] <= 1
        assert last["through"] < last["bound"]
        assert last["half_life"] < 1e-4
    assert found[0].metrics["growth"][-1] < 0 < found[1].metrics["growth"][-1]


def test_units_and_omega_fuse() -> None:
    """Trials of other numbers, in one pack, and the same alone."""
    tanh, leaky, bent = (
        partial(Plain, 6, 8, 4, **given) for given in ({}, {"keep": 0.5}, {"act": "sigmoid"})
    )
    trainings = [one(model, Kept()) for model in (tanh, leaky, bent)]
    trainings += [
        one(tanh, Kept(), Loss(stretched, CrossEntropy(), {"weight": w})) for w in (0.1, 2)
    ]
    assert len({training.signature() for training in trainings}) == 2
    together = train(trainings, seeds=[7] * 5)
    for training, outcome in zip(trainings, together, strict=True):
        (alone,) = train([training], seeds=[7])
        assert alone.metrics["train_loss"][-1] == pytest.approx(
            outcome.metrics["train_loss"][-1], rel=1e-6
        )
