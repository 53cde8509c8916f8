"""Layer-by-layer measures, held against autograd on an ordinary module."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.engine.building import build
from harness.engine.outcome import Outcome
from harness.engine.pack import train
from harness.engine.training import Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.models import MLP, Skip
from harness.parts.optimizers import Optimizer
from harness.parts.probes import (
    Activations,
    Backpropagated,
    Every,
    GradientNorms,
    Jacobians,
    Moment,
    RecordTo,
)

pytestmark = pytest.mark.usefixtures("one_thread")

DIGITS = Data("digits", train=200)
PROBES = (GradientNorms(), Backpropagated(), Activations(), Jacobians(examples=2, among=16))
MODEL = partial(MLP, (64, 12, 12, 12, 10))


def run(model: Any, seeds: list[int], probes: Any = PROBES, lr: float = 0.1, **more: Any):
    given = {"epochs": 2, "batch_size": 50} | more
    one = Training(model, Optimizer("sgd", lr=lr), data=DIGITS, probes=probes, **given)
    return train([one] * len(seeds), seeds)


def at(outcome: Outcome, record: int = 0) -> dict[str, float]:
    return {name: column[record] for name, column in outcome.metrics.items()}


def spread(values: Tensor) -> float:
    return values.flatten().std().item()


@pytest.mark.parametrize("wiring", ["plain", "residual", "batchnorm"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "softplus", "elu"])
def test_what_probes_say_at_the_start_is_what_autograd_says(activation: str, wiring: str) -> None:
    model, seed = partial(MODEL, activation, "xavier", 1.0, wiring), 7
    found = at(run(model, [seed])[0])
    module = build(model, seed).train()  # batches are normalised as in training
    outputs: list[Tensor] = []
    given: list[Tensor] = []

    def put_out(_: nn.Module, __: Any, out: Tensor) -> None:
        out.retain_grad()
        outputs.append(out)

    functions = [m for m in module.modules() if type(m).__name__.lower() == activation]
    for m in module.modules():
        if isinstance(m, nn.Linear):
            m.register_forward_hook(put_out)
    for m in functions:
        m.register_forward_pre_hook(lambda _, args: given.append(args[0].detach()))
    x, y = load(DIGITS).train
    F.cross_entropy(module(x), y).backward()
    assert len(outputs) == 4
    deltas = [out.grad.norm().item() for out in outputs]
    for number, delta in enumerate(deltas, 1):
        assert found[f"delta_norm_{number}"] == pytest.approx(delta, rel=1e-3)
    assert found["shrink_per_layer"] == pytest.approx((deltas[0] / deltas[2]) ** 0.5, rel=1e-3)
    assert found["signal_change"] == pytest.approx(abs(math.log2(deltas[0] / deltas[2])), abs=2e-3)
    assert len(given) == 3
    for number, z in enumerate(tuple(given), 1):  # calling a function adds to `given`
        z.requires_grad_()
        out = functions[number - 1](z)
        (slope,) = torch.autograd.grad(out.sum(), z)
        out = out.detach()
        # softplus is steepest at the end of the range that the probe looks at, [-10, 10]
        steepest = {"sigmoid": 0.25, "softplus": 1 / (1 + math.exp(-10))}.get(activation, 1.0)
        expected = {
            "act_mean": out.mean(),
            "act_std": spread(out),
            "act_zeros": (out == 0).double().mean(),
            "act_slope": slope.mean(),
            "act_saturated": (slope < 0.05 * steepest).double().mean(),
            "act_dead": (slope == 0).all(0).double().mean(),
        }
        for name, value in expected.items():
            assert found[f"{name}_{number}"] == pytest.approx(float(value), rel=1e-3, abs=1e-4)
    for name in expected:
        layers = [found[f"{name}_{number}"] for number in (1, 2, 3)]
        assert found[name] == pytest.approx(np.mean(layers), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("wiring", ["plain", "residual"])
def test_jacobians_by_their_formula(wiring: str) -> None:
    model = partial(MODEL, "tanh", "xavier", 1.5, wiring)
    found = at(run(model, [3])[0])
    module = build(model, 3)
    weights = [m.weight.detach() for m in module.modules() if isinstance(m, nn.Linear)]
    z = load(DIGITS).train[0][:2] @ weights[0].T
    for number, w in enumerate(weights[1:3], 1):
        slopes = 1 - torch.tanh(z) ** 2
        jacobian = w @ torch.diag_embed(slopes)  # Glorot & Bengio 2010, section 4.2
        z = torch.tanh(z) @ w.T + (z if wiring == "residual" else 0)
        if wiring == "residual":
            jacobian = jacobian + torch.eye(12)
        values = np.linalg.svd(jacobian.double().numpy(), compute_uv=False)  # (examples, units)
        assert found[f"jacobian_mean_{number}"] == pytest.approx(values.mean(), rel=1e-4)
        assert found[f"jacobian_max_{number}"] == pytest.approx(values.max(1).mean(), rel=1e-4)
    assert "jacobian_mean_3" not in found
    assert any(isinstance(m, Skip) for m in module.modules()) == (wiring == "residual")


def test_weight_gradients_of_the_first_batch() -> None:
    model, seed = partial(MODEL, "tanh", "standard"), 2
    found = at(run(model, [seed])[0])
    module = build(model, seed)
    x, y = load(DIGITS).train
    key = keyed.mix(keyed.keys([seed], "batches"), 0)
    batch = keyed.permutation(key, len(x))[0][:50]
    F.cross_entropy(module(x[batch]), y[batch]).backward()
    norms = [w.grad.norm().item() for w in module.parameters() if w.dim() == 2]
    assert [found[f"grad_norm_{i}"] for i in (1, 2, 3, 4)] == pytest.approx(norms, rel=1e-3)
    assert found["grad_spread"] == pytest.approx(max(norms) / min(norms), rel=1e-3)


def test_a_vanished_signal_is_still_measured() -> None:
    deep = partial(MLP, (64, *(8,) * 32, 10), "sigmoid", "standard")
    found = at(run(deep, [0], (Backpropagated(), GradientNorms()), epochs=1)[0])
    assert 0 < found["delta_norm_1"] < 1e-22  # its square is no float32
    assert 0 < found["shrink_per_layer"] < 0.25
    assert 0 < found["grad_norm_1"] < 1e-20


def test_batch_statistics_move_only_in_training() -> None:
    seen: dict[int, Tensor] = {}

    @dataclasses.dataclass(frozen=True)
    class Peek:
        at_end = False

        def read(self, pack: Moment) -> dict[str, Tensor]:
            seen[pack.step] = pack.buffers["layers.1.num_batches_tracked"].clone()
            return {}

    run(partial(MODEL, "relu", "he", 1.0, "batchnorm"), [0, 1], (*PROBES, Peek()))
    # the probes of step 0 run after that step's gradient, which has counted one batch
    assert {step: count.tolist() for step, count in seen.items()} == {
        0: [1, 1], 4: [5, 5], 8: [8, 8],
    }  # fmt: skip


@pytest.mark.parametrize("wiring", ["plain", "residual", "batchnorm"])
def test_measures_do_not_depend_on_the_pack(wiring: str) -> None:
    model = partial(MODEL, "softplus", "he", 1.0, wiring)
    alone, packed = run(model, [4])[0], run(model, [1, 2, 3, 4, 5])[3]
    assert alone.metrics.keys() == packed.metrics.keys()
    for name, column in alone.metrics.items():
        assert np.array_equal(column, packed.metrics[name]), name


def test_a_diverged_trial_is_measured_without_harm_to_others() -> None:
    training = Training(
        partial(MODEL, "relu", "he"), Optimizer("sgd", lr=0.1), data=DIGITS, probes=PROBES,
        epochs=2, batch_size=50,
    )  # fmt: skip
    wild = dataclasses.replace(training, optimizer=Optimizer("sgd", lr=1e6))
    outcomes = train([training, wild, training], [0, 1, 2])
    assert [outcome.status for outcome in outcomes] == ["finished", "diverged", "finished"]
    alone = train([training], [2])[0]
    assert all(np.array_equal(alone.metrics[m], outcomes[2].metrics[m]) for m in alone.metrics)


def test_every_reads_the_first_record_and_each_nth_after_it() -> None:
    outcome = run(MODEL, [0], (Every(3, GradientNorms()),), epochs=7)[0]
    read = [not math.isnan(value) for value in outcome.metrics["grad_norm_1"]]
    assert read == [True, False, False, True, False, False, True, False]


def test_layers_are_picked_by_number_and_means_are_over_all() -> None:
    everything = at(run(MODEL, [0], (Activations(), Jacobians()))[0])
    picked = at(run(MODEL, [0], (Activations(layers=(1, 3, 9)), Jacobians(layers=(2,))))[0])
    assert {name for name in picked if name.startswith("act_std")} == {
        "act_std", "act_std_1", "act_std_3",
    }  # fmt: skip
    assert picked["act_std"] == everything["act_std"]
    assert {name for name in picked if "jacobian" in name} == {
        "jacobian_mean", "jacobian_mean_2", "jacobian_max", "jacobian_max_2",
    }  # fmt: skip


def test_record_to_counts_epochs() -> None:
    steps, epochs = (
        run(
            partial(MODEL, "tanh", "xavier"),
            [0],
            (RecordTo("valid_accuracy", 0.4, "first", per=per),),
            lr=0.5,
            epochs=6,
        )[0]
        for per in (1, 4)
    )
    reached = [v >= 0.4 for v in steps.metrics["valid_accuracy"]].index(True)
    assert reached > 0
    assert steps.metrics["first"][-1] == steps.steps[reached]
    assert epochs.metrics["first"][-1] == reached
