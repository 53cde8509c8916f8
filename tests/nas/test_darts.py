"""Differentiable search: the supernet, the gradient of α, and what is derived from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Data
from harness.nas.darts import SIZES, Supernet, a_step_on, cost, derived, relaxed
from harness.nas.network import ConvNet
from harness.nas.space import HYPERPARAMETERS, Architecture, Space, pairs
from harness.study import BadInput

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
    torch.testing.assert_close(supernet(images, certain(edges)), network(images))


def test_an_unrolled_step_carries_the_gradient_of_alpha() -> None:
    """On quadratics: train ½(w - α)², valid ½(w - 1)²; one step on, the slope is ξ(w' - 1)."""
    w = {"w": torch.tensor(0.3, requires_grad=True)}
    alpha = torch.tensor(0.9, requires_grad=True)
    after = a_step_on(0.5 * (w["w"] - alpha) ** 2, w, 0.1)["w"]
    (slope,) = torch.autograd.grad(0.5 * (after - 1) ** 2, [alpha])
    moved = 0.3 - 0.1 * (0.3 - 0.9)
    assert after.item() == pytest.approx(moved)
    assert slope.item() == pytest.approx(0.1 * (moved - 1))


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


@pytest.mark.parametrize("order", ["first", "second", "joint"])
def test_a_search_learns_and_its_seed_decides(order: str) -> None:
    setting = HYPERPARAMETERS["reference"]

    def run(seed: int) -> list[tuple[Architecture, float]]:
        return list(relaxed(SMALL, Data("digits"), order, 2, setting, seed))

    found = run(0)
    assert found == run(0) and found != run(1)
    assert len(found) == 2 and found[-1][1] < np.log(10)
    assert all(architecture in SMALL for architecture, _ in found)


def test_costs_are_counted_in_trainings() -> None:
    assert cost(SMALL, "second", 4, 9) == pytest.approx(2.5 * cost(SMALL, "first", 4, 9))
    assert cost(SMALL, "first", 9, 9) > 1  # all operations cost more than a few


def test_what_cannot_be_searched_is_said() -> None:
    with pytest.raises(BadInput, match=r"depths \(1, 2\) and widths \(4,\); allowed: one of each"):
        Supernet(Space(("none", "skip", "conv3"), 4, 3, (1, 2), (4,)))
    with pytest.raises(BadInput, match="order is 'third'; allowed: first, second, joint"):
        next(relaxed(SMALL, Data("digits"), "third", 1, HYPERPARAMETERS["reference"], 0))
