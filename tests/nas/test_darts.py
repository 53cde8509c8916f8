"""Differentiable search: the supernet, the gradient of α, and what is derived from it."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from harness.engine.pack import PackInFlight, train
from harness.nas.darts import SIZES, Supernet, architectures, cost, derived, relaxed
from harness.nas.network import ConvNet
from harness.nas.space import HYPERPARAMETERS, Architecture, Space, pairs
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.probes import Moment
from harness.study import BadInput
from tests.engine.test_fusing import same

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = Space(("none", "skip", "pool", "conv1", "conv3"), 4, 4, (2,), (4,))
SMALL = Space(("none", "skip", "conv3"), 4, 3, (1,), (4,))
PAIRS = pairs(4)


def certain(operations: tuple[str, ...]) -> torch.Tensor:
    """α under which each edge carries one operation."""
    alpha = torch.zeros(len(PAIRS), len(SPACE.operations))
    for row, name in zip(alpha, operations, strict=True):
        row[SPACE.operations.index(name)] = 200.0
    return alpha


@pytest.mark.parametrize(
    "edges",
    [
        ("conv3", "skip", "pool", "none", "conv1", "conv3"),
        ("conv1", "conv3", "none", "pool", "conv3", "skip"),
        ("skip", "none", "conv3", "conv3", "none", "conv1"),
    ],
)
def test_a_certain_supernet_is_the_network_itself(edges: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    supernet, network = Supernet(SPACE), ConvNet(SPACE, Architecture(edges, 2, 4))
    network.stem.load_state_dict(supernet.stem.state_dict())
    network.out.load_state_dict(supernet.out.state_dict())
    for mixed, cell in zip(supernet.cells, network.cells, strict=True):
        blocks = iter(cell.convolutions)
        for start in range(3):
            ends = [end for end in range(start + 1, 4) if edges[PAIRS.index((start, end))] in SIZES]
            parts = []
            for end in ends:
                name = edges[PAIRS.index((start, end))]
                whole = mixed.convolutions[f"{name}_{start}"].weight
                parts.append(whole.split(4)[end - start - 1])
            if ends:
                next(blocks).weight.data = torch.cat(parts)
    images = torch.rand(5, 64)
    supernet.alpha.data = certain(edges)
    torch.testing.assert_close(supernet(images), network(images))


def halves() -> tuple[torch.Tensor, ...]:
    """Inputs and classes of both halves of the digits."""
    x, y = load(Data("digits")).train
    half = len(x) // 2
    return x[:half], y[:half], x[half : 2 * half], y[half : 2 * half]


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_search_is_a_plain_loop_on_two_halves(order: str) -> None:
    setting, seed, updates = HYPERPARAMETERS["reference"], 3, 4
    size = setting.batch_size
    training = dataclasses.replace(
        relaxed(SMALL, Data("digits"), order, 1, setting), steps=updates, every=None
    )
    pack = PackInFlight([training] * 2, [seed, seed + 1], "cpu")
    pack.run()
    torch.manual_seed(keyed.torch_seed(seed, "init"))
    net = Supernet(SMALL)
    weights = {name: w for name, w in net.named_parameters() if name != "alpha"}
    adam = torch.optim.AdamW(weights.values(), lr=setting.lr, weight_decay=setting.weight_decay)
    rate = training.players[0].optimizer.numbers["lr"]
    of_alpha = torch.optim.Adam([net.alpha], lr=rate, betas=(0.5, 0.999), weight_decay=1e-3)
    x, y, other, labels = halves()

    def orders(stream: str) -> torch.Tensor:
        return keyed.permutation(keyed.mix(keyed.keys([seed], stream), 0), len(x))[0].split(size)

    ours, theirs = orders("batches"), orders("beside")
    for update in range(updates):
        alphas, mine = (ours[2 * update], theirs[2 * update]), ours[2 * update + 1]
        at = dict(weights)
        if order == "second":
            loss = F.cross_entropy(net(x[alphas[0]]), y[alphas[0]])
            slopes = torch.autograd.grad(loss, [*weights.values()], create_graph=True)
            at = {n: w - setting.lr * g for (n, w), g in zip(weights.items(), slopes, strict=True)}
        said = functional_call(net, {**at, "alpha": net.alpha}, (other[alphas[1]],))
        (net.alpha.grad,) = torch.autograd.grad(
            F.cross_entropy(said, labels[alphas[1]]), [net.alpha]
        )
        of_alpha.step()
        adam.zero_grad()
        F.cross_entropy(net(x[mine]), y[mine]).backward()
        adam.step()
    handed = pack._handed()
    for name, w in net.named_parameters():
        torch.testing.assert_close(handed[name][0], w.detach(), rtol=1e-3, atol=1e-5)


def test_the_strongest_edges_are_kept() -> None:
    weights = torch.full((6, 5), 0.1)
    weights[:, 0] = 0.6  # "none" does not compete
    for place, operation, share in ((0, 4, 0.30), (2, 2, 0.25), (5, 1, 0.20), (3, 3, 0.15)):
        weights[place, operation] = share
    found = derived(SPACE, weights)
    assert found.edges == ("conv3", "none", "pool", "conv1", "none", "skip")
    assert found in SPACE and (found.depth, found.width) == (2, 4)


def test_edges_that_lead_nowhere_are_passed_over() -> None:
    weights = torch.full((6, 3), 0.1)
    weights[[0, 1, 2], 2] = torch.tensor([0.9, 0.8, 0.7])  # the output sees none of these
    weights[5, 1] = 0.2  # (2,3)
    found = derived(SMALL, weights)
    assert found in SMALL and found.paths() == [("conv3", "skip")]


@dataclasses.dataclass(frozen=True)
class Standing:
    """What α stands for, as a number."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, torch.Tensor]:
        found = [SMALL.architectures.index(one) for one in architectures(SMALL, pack)]
        return {"place": torch.tensor(found, dtype=torch.float32)}


@pytest.mark.parametrize("order", ["first", "second", "joint"])
def test_a_search_learns_fuses_and_its_seed_decides(order: str) -> None:
    one = relaxed(SMALL, Data("digits"), order, 2, HYPERPARAMETERS["reference"], (Standing(),))
    assert one.why_alone() == ""
    first, other, again = train([one] * 3, [0, 1, 0], "cpu")
    assert same(first, again) and not same(first, other)
    assert len(first.steps) == 3
    assert first.metrics["train_loss_weights"][-1] < np.log(10)
    assert first.metrics["valid_accuracy_weights"][-1] > 0.15
    assert same(train([one], [1], "cpu")[0], other)


def test_costs_are_counted_in_trainings() -> None:
    assert cost(SMALL, "second", 4, 9) == pytest.approx(2.5 * cost(SMALL, "first", 4, 9))
    assert cost(SMALL, "first", 9, 9) > 1  # all operations cost more than a few


def test_what_cannot_be_searched_is_said() -> None:
    with pytest.raises(BadInput, match=r"depths \(1, 2\) and widths \(4,\); allowed: one of each"):
        Supernet(Space(("none", "skip", "conv3"), 4, 3, (1, 2), (4,)))
    with pytest.raises(BadInput, match="order is 'third'; allowed: first, second, joint"):
        relaxed(SMALL, Data("digits"), "third", 1, HYPERPARAMETERS["reference"])
