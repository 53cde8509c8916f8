"""Losses against torch's own, within packs and without; and losses that are any function."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import harness
from harness.parts import data as data_
from harness.parts import keyed
from harness.parts.objectives import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    SquaredError,
)

DIGITS = harness.Data("digits", 200)


def _logits(classes: int = 5, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    target = torch.randint(classes, (n,), generator=generator)
    return 3 * torch.randn(n, classes, generator=generator), target


@settings(deadline=None)
@given(st.floats(0, 1), st.lists(st.floats(0.1, 10), min_size=5, max_size=5))
def test_cross_entropy_is_torchs_with_weights_and_smoothing(s: float, weights: list[float]) -> None:
    output, target = _logits()
    for own in ((), tuple(weights)):
        ours = CrossEntropy(s, own).loss(output, target)
        w = torch.tensor(own) if own else None
        theirs = F.cross_entropy(output, target, weight=w, label_smoothing=s)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(st.floats(0.01, 5))
def test_regression_losses_are_torchs(number: float) -> None:
    output, _ = _logits()
    target = output.flip(0)
    torch.testing.assert_close(SquaredError().loss(output, target), F.mse_loss(output, target))
    huber = F.huber_loss(output, target, delta=number)
    torch.testing.assert_close(Huber(number).loss(output, target), huber)
    scores = Huber(number).scores(output, target)
    torch.testing.assert_close(scores["absolute_error"], F.l1_loss(output, target))
    torch.testing.assert_close(scores["squared_error"], F.mse_loss(output, target))


@settings(deadline=None)
@given(st.floats(0.1, 5))
def test_hinge_and_binary_losses_are_torchs(number: float) -> None:
    output, target = _logits()
    theirs = F.multi_margin_loss(output, target, margin=number)
    torch.testing.assert_close(Hinge(number).loss(output, target), theirs)
    ones = (output.flip(1) > 0).float()
    theirs = F.binary_cross_entropy_with_logits(output, ones, pos_weight=torch.tensor(number))
    torch.testing.assert_close(BinaryCrossEntropy(number).loss(output, ones), theirs)


def test_one_output_an_example_may_have_an_axis_of_its_own() -> None:
    output, target = torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])
    assert SquaredError().loss(output, target).item() == 2.5
    assert BinaryCrossEntropy().scores(output, target)["accuracy"].item() == 0.5
    with pytest.raises(
        ValueError, match=r"output has shape \(2, 3\) and its target \(2,\); allowed"
    ):
        SquaredError().loss(torch.zeros(2, 3), target)


def test_weights_that_do_not_fit_the_classes_are_refused() -> None:
    output, target = _logits()
    with pytest.raises(
        ValueError, match="CrossEntropy has 2 weights; allowed: one for each of the 5"
    ):
        CrossEntropy(weights=(1.0, 2.0)).loss(output, target)


def _trainings(objective, rates=(0.1, 0.02), model=None) -> list[harness.Training]:
    return [
        harness.Training(
            model or partial(Two, 64), harness.Optimizer("sgd", lr=rate), DIGITS, objective,
            epochs=2, batch_size=20,
        )
        for rate in rates
    ]  # fmt: skip


class Two(nn.Module):
    """Classes, and the picture again."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(inputs, 12), nn.Linear(12, 10)
        self.back = nn.Linear(12, inputs)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.flatten(1)).relu()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        code = self.encode(x)
        return self.head(code), self.back(code)


def both(module: Two, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Two outputs, a method of the module and a penalty."""
    said, back = module(x)
    sparse = module.encode(x).abs().mean()
    return F.cross_entropy(said, y) + F.mse_loss(back, x.flatten(1)) + 0.1 * sparse


def hits(module: Two, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    said, back = module(x)
    right = (said.argmax(-1) == y).float().mean()
    return {"loss": both(module, x, y), "accuracy": right, "back": F.mse_loss(back, x.flatten(1))}


def test_a_loss_that_is_any_function_trains_fused_as_in_a_plain_loop() -> None:
    trainings = _trainings(harness.Loss(both, hits))
    assert trainings[0].why_alone() == ""
    assert trainings[0].signature() == trainings[1].signature()
    outcomes = harness.train(trainings, [3, 4])
    for seed, training, outcome in zip([3, 4], trainings, outcomes, strict=True):
        splits = data_.load(DIGITS)
        torch.manual_seed(keyed.torch_seed(seed, "init"))
        model = Two(64)
        peer = torch.optim.SGD(model.parameters(), lr=training.optimizer.numbers["lr"])
        x, y = splits.train
        for epoch in range(2):
            key = keyed.mix(keyed.keys([seed], "batches"), epoch)
            for batch in keyed.permutation(key, len(x))[0].split(20):
                peer.zero_grad()
                both(model, x[batch], y[batch]).backward()
                peer.step()
        with torch.no_grad():
            expected = hits(model, *splits.valid)
        for name, value in expected.items():
            assert outcome.metrics[f"valid_{name}"][-1] == pytest.approx(value.item(), rel=1e-3)


def test_without_scores_the_loss_is_measured() -> None:
    (outcome,) = harness.train(_trainings(harness.Loss(both), (0.1,)), [0])
    assert {"train_loss", "valid_loss", "test_loss"} == set(outcome.metrics)
    assert outcome.metrics["valid_loss"][-1] < outcome.metrics["valid_loss"][0]


def drawn(module: Two, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Draws random numbers of its own."""
    said, _ = module(x)
    return F.cross_entropy(said + torch.randn_like(said), y)


def test_a_loss_that_no_program_can_repeat_trains_alone() -> None:
    assert "draws random numbers" in _trainings(harness.Loss(drawn))[0].why_alone()


def test_other_functions_do_not_share_a_pack() -> None:
    one, other = (_trainings(harness.Loss(fn), (0.1,))[0] for fn in (both, drawn))
    assert one.signature() != other.signature()


@dataclass(frozen=True)
class Focal:
    """An objective of one's own: any class with a loss, scores and the names of its numbers."""

    gamma: float | torch.Tensor = 2.0
    numbers: ClassVar[tuple[str, ...]] = ("gamma",)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logs = output.log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return -((1 - logs.exp()) ** self.gamma * logs).mean()

    def scores(self, output: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": F.cross_entropy(output, target)}


def test_numbers_of_an_objective_of_ones_own_differ_within_a_pack() -> None:
    from harness.parts.models import MLP

    def training(gamma: float) -> harness.Training:
        return harness.Training(
            partial(MLP, (64, 16, 10)), harness.Optimizer("sgd", lr=0.1), DIGITS, Focal(gamma),
            epochs=1, batch_size=20,
        )  # fmt: skip

    assert training(1.0).signature() == training(2.0).signature()
    together = harness.train([training(1.0), training(2.0), training(5.0)], [0, 0, 0])
    alone = harness.train([training(2.0)], [0])[0]
    assert together[1].metrics == alone.metrics
    losses = [one.metrics["train_loss"][0] for one in together]
    assert losses[0] > losses[1] > losses[2]
