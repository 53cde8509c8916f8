"""Networks: initialisations by their theory, wirings by hand, activations by their formulas."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness.engine import building
from harness.engine.building import build
from harness.engine.pack import train
from harness.engine.training import Training
from harness.parts.data import Data
from harness.parts.models import ACTIVATIONS, INITS, MLP, SigmoidTanh, Skip
from harness.parts.optimizers import Optimizer

pytestmark = pytest.mark.usefixtures("one_thread")

BOUND = {
    "default": 1 / math.sqrt(300),
    "standard": 1 / math.sqrt(300),
    "xavier": math.sqrt(6 / (300 + 200)),
    "he": math.inf,
}
VARIANCE = {
    "default": 1 / (3 * 300),
    "standard": 1 / (3 * 300),
    "xavier": 2 / (300 + 200),
    "he": 2 / 300,
}


@pytest.mark.parametrize("init", INITS)
def test_initialisations_have_the_spread_of_their_papers(init: str) -> None:
    linear = build(partial(MLP, (300, 200), init=init), 0).layers[0]
    weight = linear.weight.detach()
    assert weight.abs().max() <= BOUND[init]
    assert weight.var().item() == pytest.approx(VARIANCE[init], rel=0.02)  # of 60,000 draws
    assert weight.mean().abs() < 4 * math.sqrt(VARIANCE[init] / weight.numel())
    assert bool(linear.bias.any()) == (init == "default")


@pytest.mark.parametrize("init", INITS)
def test_a_trials_weights_depend_on_its_seed_alone(init: str) -> None:
    model = partial(MLP, (8, 6, 6, 3), "tanh", init)
    first = build(model, 5)
    torch.rand(3)  # whatever else is drawn
    again, other = build(model, 5), build(model, 6)
    for a, b, c in zip(*(m.parameters() for m in (first, again, other)), strict=True):
        assert torch.equal(a, b)
        assert a.dim() < 2 or not torch.equal(a, c)


def test_the_default_is_torchs_own() -> None:
    model, seed = partial(MLP, (8, 6, 3)), 3
    ours = build(model, seed)
    theirs = build(lambda: nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), seed)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_gain_multiplies_weights() -> None:
    plain = build(partial(MLP, (8, 6, 3), "tanh", "xavier"), 0)
    scaled = build(partial(MLP, (8, 6, 3), "tanh", "xavier", 32.0), 0)
    for a, b in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.equal(32 * a, b)


def test_initialisations_fuse_and_wirings_and_activations_do_not() -> None:
    def of(*arguments: object) -> object:
        return building.structure(partial(MLP, (64, 8, 8, 10), *arguments))

    base = of("tanh", "xavier", 1.0, "plain")
    assert of("tanh", "standard", 32.0, "plain") == base
    for other in (("relu", "xavier"), ("tanh", "xavier", 1.0, "residual"),
                  ("tanh", "xavier", 1.0, "batchnorm"), ("sigmoid_tanh", "xavier")):  # fmt: skip
        assert of(*other) != base


def test_wirings_by_hand() -> None:
    x = torch.randn(5, 4)
    plain, residual, norm = (
        build(partial(MLP, (4, 6, 6, 3), "sigmoid", "xavier", 1.0, wiring), 0).eval()
        for wiring in ("plain", "residual", "batchnorm")
    )
    (w1, b1, w2, b2, w3, b3), same = plain.parameters(), residual.parameters()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), same, strict=True))
    z1 = x @ w1.T + b1
    branch = torch.sigmoid(z1) @ w2.T + b2
    for model, z2 in ((plain, branch), (residual, z1 + branch)):
        torch.testing.assert_close(model(x), torch.sigmoid(z2) @ w3.T + b3)
    seen: list[torch.Tensor] = []
    for module in norm.modules():
        if isinstance(module, nn.Sigmoid):
            module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    out = norm.train()(x)
    assert len(seen) == 2
    for z in seen:  # normalised over the batch; eps keeps the variance just under one
        torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=1e-6, rtol=0)
        assert ((z.var(0, unbiased=False) - 1).abs() < 1e-2).all()
    assert out.std(0).min() > 0  # logits are not normalised
    assert not isinstance(norm.layers[-1], nn.BatchNorm1d)


def test_skips_go_where_widths_agree_and_never_around_input_or_output() -> None:
    layers = MLP((6, 6, 6, 4, 4, 4), wiring="residual").layers
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Linear", "Skip", "ReLU", "Linear", "Skip", "ReLU", "Linear"]
    assert all(isinstance(layers[i], Skip) for i in (1, 4))


FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "softsign": lambda x: x / (abs(x) + 1),
    "softplus": lambda x: math.log(math.exp(x) + 1),
    "relu": lambda x: max(0.0, x),
    "leaky_relu": lambda x: x if x >= 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "sigmoid_tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_their_formulas(name: str) -> None:
    points = [-3.0, -0.5, 0.0, 0.25, 2.0]
    found = ACTIVATIONS[name]()(torch.tensor(points)).tolist()
    assert found == pytest.approx([FORMULAS[name](x) for x in points], rel=1e-5, abs=1e-6)


@given(st.floats(-50, 50, width=32))
def test_tanh_is_a_shifted_sigmoid(x: float) -> None:
    assert SigmoidTanh()(torch.tensor(x)).item() == pytest.approx(math.tanh(x), abs=3e-7)


def test_tanh_is_a_shifted_sigmoid_in_training() -> None:
    tanh, shifted = (
        train(
            [
                Training(
                    partial(MLP, (64, 16, 16, 10), name, "xavier"), Optimizer("sgd", lr=0.5),
                    data=Data("digits", train=320), epochs=2, batch_size=32,
                )
            ],
            [0],
        )[0]
        for name in ("tanh", "sigmoid_tanh")
    )  # fmt: skip
    for metric, column in tanh.metrics.items():
        assert shifted.metrics[metric] == pytest.approx(column, rel=1e-4), metric


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "rely"}, "activation is 'rely'; allowed: sigmoid, tanh"),
        ({"init": "glorot"}, "init is 'glorot'; allowed: default, standard, xavier, he"),
        ({"wiring": "dense"}, "wiring is 'dense'; allowed: plain, residual, batchnorm"),
    ],
)
def test_mistakes(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MLP((4, 3, 2), **changes)
