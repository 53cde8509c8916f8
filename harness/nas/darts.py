"""Differentiable architecture search, really trained.

DARTS (Liu et al. 2019): on every edge of a cell all operations are done, weighted by a softmax of
architecture parameters α, so that these have gradients too. Weights are learnt on one half of the
training split and α on the other, in turn; at the end the strongest operations are kept.

Departures: the cells of `harness.nas.network`, whose nodes are normalised and whose convolutions are
not; each operation occurs once a cell; cells share α; a cell keeps the strongest `most_edges` edges
of its space, in place of two into each node; Adam for the weights, as for the table; the two halves are
the same in every search. The rate of α lets it move as far as the 50 epochs of 390 updates at 3e-4 of
the paper did.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn import functional

from harness.engine.stages import Beside, Player
from harness.engine.training import Training
from harness.nas.network import Convolutions, ReadOut, Stem, normalised, pooling
from harness.nas.space import MAP, Architecture, Hyperparameters, Space, pairs
from harness.parts import data
from harness.parts.objectives import CrossEntropy, Loss
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Moment, Probe
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
                pooled = (z.flatten(2) @ self.near).reshape(z.shape)  # (B, width, MAP²) and back
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

    Shapes: images (B, …) to (B, `CLASSES`) logits; `alpha` is (edges, operations).

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
        self.alpha = nn.Parameter(
            1e-3 * torch.randn(len(pairs(space.nodes)), len(space.operations))
        )

    def forward(self, x: Tensor) -> Tensor:
        z = normalised(self.stem(x))
        weights = self.alpha.softmax(1)
        for cell in self.cells:
            z = cell(z, weights)
        out: Tensor = self.out(z)
        return out


def _of_weights(net: Supernet, x: Tensor, y: Tensor, *_: Tensor) -> Tensor:
    return functional.cross_entropy(net(x), y)


def _of_alpha(net: Supernet, x: Tensor, y: Tensor, other: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(net(other), labels)


def _one_step_on(
    net: Supernet, x: Tensor, y: Tensor, other: Tensor, labels: Tensor, *, rate: Tensor
) -> Tensor:
    """That of α at the weights that a step of gradient descent would lead to."""
    alpha = net.alpha

    def loss(at: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(net, {**at, "alpha": alpha}, (x,)), y)

    weights = {name: w for name, w in net.named_parameters() if name != "alpha"}
    slopes = grad(loss)(weights, x, y)
    return loss({name: w - rate * slopes[name] for name, w in weights.items()}, other, labels)


def relaxed(
    space: Space, source: data.Data, order: str, epochs: int, setting: Hyperparameters,
    probes: tuple[Probe, ...] = (),
) -> Training:  # fmt: skip
    """The training of a supernet and its architecture parameters `alpha`, two players of one training.

    Args:
        space: Of one depth and one width.
        source: The data, no random subset; α learns from their training split, and from no other.
        order: "first" (α's gradient at the present weights), "second" (at the weights one step on),
            or "joint" (weights and α from batches of the same, whole training split).
        epochs: Passes of the weights over their half (of "joint", over the half of the split).
        setting: How the weights are trained.
        probes: What is measured after each epoch (`architectures` says what α stands for).

    Raises:
        BadInput: no such order, or the space has several depths or widths.
    """
    if order not in ORDERS:
        raise BadInput(f"order is {order!r}; allowed: {', '.join(ORDERS)}")
    one = Supernet(space)  # whose mistakes are known here
    half = data.train_size(source) // 2
    ours = replace(source, train=half)
    theirs = replace(ours, after=source.after + half)
    if order == "joint":
        ours = theirs = source
    updates = epochs * (half // setting.batch_size)
    scores = CrossEntropy()
    of_alpha = Loss(_of_alpha, scores)
    if order == "second":
        of_alpha = Loss(_one_step_on, scores, {"rate": setting.lr})
    parts = tuple(f"{part}.*" for part, _ in one.named_children())
    return Training(
        partial(Supernet, space),
        Optimizer("adamw", lr=setting.lr, weight_decay=setting.weight_decay),
        ours,
        beside=Beside(theirs, setting.batch_size),
        steps=updates,
        every=updates // epochs,
        batch_size=setting.batch_size,
        players=(
            Player(
                "alpha", of_alpha, trains="alpha",
                optimizer=Optimizer("adam", lr=MOVE / updates, beta1=0.5, weight_decay=1e-3),
            ),
            Player("weights", Loss(_of_weights, scores), trains=parts),
        ),
        probes=probes,
    )  # fmt: skip


def _mixing(net: nn.Module) -> Tensor:
    assert isinstance(net, Supernet)
    return net.alpha.softmax(1)


def architectures(space: Space, moment: Moment) -> list[Architecture]:
    """Those that α stands for, of the trials that a probe is shown."""
    weights = moment.ask(_mixing)  # (K, edges, operations)
    return [derived(space, own) for own in weights.cpu()]


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
