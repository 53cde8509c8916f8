"""Differentiable architecture search, really trained.

DARTS (Liu et al. 2019): on every edge of a cell all operations are done, weighted by a softmax of
architecture parameters α, so that these have gradients too. Weights are learnt on one half of the
training split and α on the other, in turn; at the end the strongest operations are kept.

Departures: the cells of `harness.nas.network`, whose nodes are normalised and whose convolutions are
not; each operation occurs once a cell; cells share α; a cell keeps the strongest `most_edges` edges
of its space, in place of two into each node; Adam for the weights, as for the table. The rate of α
lets it move as far as the 50 epochs of 390 updates at 3e-4 of the paper did.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from harness.nas.network import Convolutions, ReadOut, Stem, normalised, pooling
from harness.nas.space import MAP, Architecture, Hyperparameters, Space, pairs
from harness.parts import data, keyed
from harness.study import BadInput

ORDERS = ("first", "second", "joint")
# Passes forward and backward through the supernet for each batch of weights and of α together: the
# gradient through an unrolled step counts as the paper's approximation of it.
PASSES = {"first": 2, "second": 5, "joint": 2}
MOVE = 3e-4 * 50 * 390  # how far α may go in all
SIZES = {"conv1": 1, "conv3": 3}


class MixedCell(nn.Module):
    """A cell all of whose edges carry all operations.

    Args:
        space: Names operations and nodes.
        width: Channels.

    Shapes: (B, width, `MAP`, `MAP`) to the same, with weights (edges, operations).
    """

    near: Tensor

    def __init__(self, space: Space, width: int) -> None:
        super().__init__()
        self.operations = space.operations
        self.nodes = space.nodes
        self.place = {pair: number for number, pair in enumerate(pairs(space.nodes))}
        self.convolutions = nn.ModuleDict(
            {
                f"{name}_{start}": Convolutions([SIZES[name]] * (space.nodes - 1 - start), width)
                for name in SIZES
                if name in space.operations
                for start in range(space.nodes - 1)
            }
        )
        self.register_buffer("near", pooling(MAP).clone())

    def forward(self, z: Tensor, weights: Tensor) -> Tensor:
        brought: list[list[Tensor]] = [[] for _ in range(self.nodes)]
        for start in range(self.nodes - 1):
            if start:
                z = normalised(sum(brought[start][1:], brought[start][0]))
            done = {"skip": [z] * self.nodes}
            if "pool" in self.operations:
                pooled = (z.flatten(2) @ self.near).view_as(z)  # (B, width, MAP²) and back
                done["pool"] = [pooled] * self.nodes
            for name in SIZES:
                if name in self.operations:
                    done[name] = self.convolutions[f"{name}_{start}"](z)
            for number, end in enumerate(range(start + 1, self.nodes)):
                edge = weights[self.place[start, end]]
                for share, name in zip(edge, self.operations, strict=True):
                    if name != "none":
                        brought[end].append(share * done[name][number])
        return normalised(sum(brought[-1][1:], brought[-1][0]))


class Supernet(nn.Module):
    """A patch stem, cells of all operations, and a read-out, as in `harness.nas.network.ConvNet`.

    Args:
        space: Of one depth and one width.

    Shapes: images (B, …) and α (edges, operations) to (B, `CLASSES`) logits.

    Raises:
        BadInput: the space has several depths or widths.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        if len(space.depths) > 1 or len(space.widths) > 1:
            raise BadInput(
                f"a supernet's space has depths {space.depths} and widths {space.widths}; allowed: "
                "one of each"
            )
        (depth,), (width,) = space.depths, space.widths
        self.stem = Stem(space.side, width)
        self.cells = nn.ModuleList([MixedCell(space, width) for _ in range(depth)])
        self.out = ReadOut(width)

    def forward(self, x: Tensor, alpha: Tensor) -> Tensor:
        z = normalised(self.stem(x))
        weights = alpha.softmax(1)
        for cell in self.cells:
            z = cell(z, weights)
        out: Tensor = self.out(z)
        return out


def relaxed(
    space: Space, source: data.Data, order: str, epochs: int, setting: Hyperparameters, seed: int
) -> Iterator[tuple[Architecture, float]]:
    """Train a supernet and its architecture parameters.

    Args:
        space: Of one depth and one width.
        source: The data; the training split is used, and no other.
        order: "first" (α's gradient at the present weights), "second" (at the weights one step on),
            or "joint" (weights and α together, on the same batches of the whole training split).
        epochs: Passes over the training split.
        setting: How the weights are trained.
        seed: Of weights, halves and batches.

    Yields:
        After each epoch the architecture that α stands for, and the loss of the last batch.
    """
    if order not in ORDERS:
        raise BadInput(f"order is {order!r}; allowed: {', '.join(ORDERS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed.torch_seed(seed, "init"))
        network = Supernet(space)
        alpha = 1e-3 * torch.randn(len(pairs(space.nodes)), len(space.operations))
    alpha.requires_grad_()
    weights = dict(network.named_parameters())
    x, y = data.load(source).train
    rng = np.random.default_rng([seed, 2])
    halves = rng.permutation(len(x))
    size = setting.batch_size
    half = len(x) // 2
    steps = (2 if order == "joint" else 1) * (half // size)
    adam = torch.optim.AdamW(
        weights.values(), lr=setting.lr, weight_decay=setting.weight_decay, fused=True
    )
    of_alpha = torch.optim.Adam(
        [alpha], lr=MOVE / (epochs * steps), betas=(0.5, 0.999), weight_decay=1e-3
    )

    def loss(at: Mapping[str, Tensor], batch: np.ndarray) -> Tensor:
        rows = torch.from_numpy(batch)
        return functional.cross_entropy(
            functional_call(network, dict(at), (x[rows], alpha)), y[rows]
        )

    for _ in range(epochs):
        ours = rng.permutation(halves if order == "joint" else halves[:half])
        theirs = rng.permutation(halves[half:])
        for start in range(0, steps * size, size):
            batch, other = ours[start : start + size], theirs[start : start + size]
            if order != "joint":
                at: Mapping[str, Tensor] = weights
                if order == "second":
                    at = a_step_on(loss(weights, batch), weights, setting.lr)
                (alpha.grad,) = torch.autograd.grad(loss(at, other), [alpha])
                of_alpha.step()
            now = loss(weights, batch)
            learnt = [*weights.values(), *([alpha] if order == "joint" else [])]
            slopes = torch.autograd.grad(now, learnt)
            for value, slope in zip(learnt, slopes, strict=True):
                value.grad = slope
            adam.step()
            if order == "joint":
                of_alpha.step()
        yield derived(space, alpha.detach().softmax(1)), float(now.detach())


def a_step_on(loss: Tensor, weights: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """Weights after one step of gradient descent, as a function of all that the loss depends on."""
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {
        key: value - rate * slope
        for (key, value), slope in zip(weights.items(), slopes, strict=True)
    }


def derived(space: Space, weights: Tensor) -> Architecture:
    """The architecture that mixing weights (edges, operations) stand for: the strongest operation of
    each of the strongest edges, as many as a cell may have, among which something passes.

    "none" is not among the operations that compete (the paper's section 2.4).
    """
    strength, number = weights[:, 1:].max(1)
    count = min(space.most_edges, len(weights))
    best: tuple[float, Architecture] | None = None
    for chosen in itertools.combinations(range(len(weights)), count):
        edges = tuple(
            space.operations[1 + int(number[place])] if place in chosen else "none"
            for place in range(len(weights))
        )
        try:
            found = Architecture(edges, space.depths[0], space.widths[0]).canonical()
        except BadInput:  # nothing passes
            continue
        total = float(strength[list(chosen)].sum())
        if best is None or total > best[0]:
            best = (total, found)
    assert best is not None  # the edge from input to output alone is a way
    return best[1]


def cost(space: Space, order: str, epochs: int, full: int) -> float:
    """What a search costs in full trainings, by multiply-adds: a supernet does all operations, and
    passes over the training split `PASSES` / 2 times an epoch.

    Args:
        full: Epochs of a full training.
    """
    strongest = max(space.operations, key=lambda name: SIZES.get(name, 0))
    (depth,), (width,) = space.depths, space.widths
    every = Architecture((strongest,) * len(pairs(space.nodes)), depth, width)
    mean = np.mean([space.madds(a) for a in space.architectures])
    return float(PASSES[order] / 2 * epochs / full * space.madds(every) / mean)
