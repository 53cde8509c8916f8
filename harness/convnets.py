"""The network of an `Architecture`: a stem, cells in a row, a read-out. Layer 2.

Networks of equal depth and width whose convolutions lie on the same edges are one program: which of
the other edges are skips, pools or not there, and how far a convolution reaches, are buffers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.architectures import (
    CLASSES,
    CONVOLUTIONS,
    MAP,
    QUADRANTS,
    Architecture,
    Space,
    pairs,
)


def normalised(z: Tensor) -> Tensor:
    """ReLU of maps (B, …) brought to mean 0 and variance 1 in each example: layer normalisation
    (Ba et al. 2016) without gain and bias, so that no example depends on its batch."""
    flat = z.flatten(1)
    return functional.layer_norm(flat, flat.shape[1:]).relu().view_as(z)


def pooling(side: int) -> Tensor:
    """The mean over each position's 3x3 neighbours, itself among them, those beyond the border left
    out, as a matrix (side², side²) by which flattened maps are multiplied."""
    beside = (torch.arange(side)[:, None] - torch.arange(side)).abs() <= 1  # (side, side)
    near = torch.kron(beside.float(), beside.float())  # rows and columns: (side², side²)
    return near / near.sum(0)


def quadrants(z: Tensor) -> Tensor:
    """The mean over each quadrant of maps (B, width, `MAP`, `MAP`): (B, `QUADRANTS` width)."""
    half = MAP // 2
    return z.view(*z.shape[:2], 2, half, 2, half).mean((3, 5)).flatten(1)


class Convolutions(nn.Module):
    """The convolutions that leave one node, as one: 3x3, or 3x3 with all but the centre masked,
    which is 1x1. No bias. Drawn from N(0, 2 / fan-in) (He et al. 2015, eq. 10).

    Args:
        sizes: 3 or 1 for each.
        width: Channels in, and out of each.

    Shapes: (B, width, side, side) to one such a convolution.
    """

    reach: Tensor

    def __init__(self, sizes: list[int], width: int) -> None:
        super().__init__()
        self.width = width
        weights, reaches = [], []
        for size in sizes:
            weights.append(torch.randn(width, width, 3, 3) * (2 / (size * size * width)) ** 0.5)
            centre = torch.zeros(width, 1, 3, 3)
            centre[:, :, 1, 1] = 1
            reaches.append(centre if size == 1 else torch.ones_like(centre))
        self.weight = nn.Parameter(torch.cat(weights))  # (len(sizes) width, width, 3, 3)
        self.register_buffer("reach", torch.cat(reaches))

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        out = functional.conv2d(z, self.weight * self.reach, padding=1)
        return torch.split(out, self.width, 1)


class Cell(nn.Module):
    """Nodes joined by operations; a node is the sum of what its edges bring, normalised.

    Args:
        architecture: Its edges and width.

    Shapes: (B, width, `MAP`, `MAP`) to the same.
    """

    skip: Tensor
    pool: Tensor
    near: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        edges, nodes = architecture.edges, architecture.nodes
        place = {pair: number for number, pair in enumerate(pairs(nodes))}
        self.convolutions = nn.ModuleList()
        self.convolved: list[list[int]] = []  # of each node, those it has convolutions to
        self.others: list[list[tuple[int, int]]] = []  # and the rest, with their edge's place
        for start in range(nodes - 1):
            after = {end: edges[place[start, end]] for end in range(start + 1, nodes)}
            convs = {end: int(edge[-1]) for end, edge in after.items() if edge in CONVOLUTIONS}
            self.convolved.append(list(convs))
            self.others.append([(end, place[start, end]) for end in after if end not in convs])
            if convs:
                self.convolutions.append(Convolutions(list(convs.values()), architecture.width))
        for name in ("skip", "pool"):
            self.register_buffer(name, torch.tensor([float(edge == name) for edge in edges]))
        self.register_buffer("near", pooling(MAP))

    def forward(self, z: Tensor) -> Tensor:
        brought: list[list[Tensor]] = [[] for _ in range(len(self.others) + 1)]
        convolutions = iter(self.convolutions)
        for start, (convolved, others) in enumerate(zip(self.convolved, self.others, strict=True)):
            if convolved:
                for end, part in zip(convolved, next(convolutions)(z), strict=True):
                    brought[end].append(part)
            if others:
                pooled = (z.flatten(2) @ self.near).view_as(z)  # (B, width, MAP²) and back
                for end, edge in others:
                    brought[end].append(z * self.skip[edge] + pooled * self.pool[edge])
            z = normalised(sum(brought[start + 1][1:], brought[start + 1][0]))
        return z


class ConvNet(nn.Module):
    """A patch stem, `depth` cells, the mean over each quadrant, a linear read-out.

    Args:
        space: Tells the side of its images, and what the network costs: buffers `params` and
            `madds`, which `harness.probes.Kept` reports.
        architecture: One of the space.

    Shapes: (B, …) images of side² numbers to (B, `CLASSES`) logits.
    """

    def __init__(self, space: Space, architecture: Architecture) -> None:
        super().__init__()
        self.side, width = space.side, architecture.width
        patch = space.side // MAP
        self.stem = nn.Conv2d(1, width, patch, stride=patch)
        self.cells = nn.Sequential(*[Cell(architecture) for _ in range(architecture.depth)])
        self.out = nn.Linear(QUADRANTS * width, CLASSES)
        for name in ("params", "madds"):
            cost = getattr(space, name)(architecture)
            self.register_buffer(name, torch.tensor(float(cost)))

    def forward(self, x: Tensor) -> Tensor:
        z = normalised(self.stem(x.view(-1, 1, self.side, self.side)))  # (B, width, MAP, MAP)
        out: Tensor = self.out(quadrants(self.cells(z)))
        return out
