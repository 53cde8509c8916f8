"""The network of an `Architecture`: a stem, cells in a row, a read-out.

Networks of equal depth and width whose convolutions lie on the same edges are one program: which of
the other edges are skips, pools or not there, and how far a convolution reaches, are buffers.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.nas.space import CLASSES, CONVOLUTIONS, MAP, QUADRANTS, Architecture, Space, pairs


def normalised(z: Tensor) -> Tensor:
    """ReLU of maps (B, …) brought to mean 0 and variance 1 in each example: layer normalisation
    (Ba et al. 2016) without gain and bias, so that no example depends on its batch."""
    flat = z.flatten(1)
    return functional.layer_norm(flat, flat.shape[1:]).relu().reshape(z.shape)


@functools.cache
def pooling(side: int) -> Tensor:
    """The mean over each position's 3x3 neighbours, itself among them, those beyond the border left
    out, as a matrix (side², side²) by which flattened maps are multiplied."""
    beside = (torch.arange(side)[:, None] - torch.arange(side)).abs() <= 1  # (side, side)
    near = torch.kron(beside.float(), beside.float())  # rows and columns: (side², side²)
    return near / near.sum(0)


@functools.cache
def taps(side: int) -> Tensor:
    """Which position a 3x3 kernel's numbers read at each position of a map, with zeros beyond the
    border: (9, side⁴) of ones where number t at position p reads position q, and zeros."""
    beside = torch.arange(side)[:, None] - torch.arange(side)  # (p, q): how far q is before p
    step = (beside == torch.tensor([1, 0, -1])[:, None, None]).float()  # (3, side, side)
    both = torch.einsum("apq,brs->abprqs", step, step)  # rows and columns
    return both.reshape(9, -1)


@functools.cache
def strips(side: int) -> Tensor:
    """At which numbers of a strip of an image (side / MAP rows) each number of a patch lies, for
    every patch of it: (patch², patch · side · MAP) of ones and zeros."""
    patch = side // MAP
    row, column = torch.eye(patch), torch.eye(side).view(side, MAP, patch)
    lies = torch.einsum("ab,xcd->adbxc", row, column)
    return lies.reshape(patch * patch, -1)


class Convolutions(nn.Module):
    """The convolutions that leave one node, as one: 3x3, or 3x3 with all but the centre masked,
    which is 1x1. No bias. Drawn from N(0, 2 / fan-in) (He et al. 2015, eq. 10).

    A map is small, so that the convolution is done as the product with a matrix that its weights
    are laid out in: many zeros, but many times as fast as a library's convolution of four channels.

    Args:
        sizes: 3 or 1 for each.
        width: Channels in, and out of each.

    Shapes: (B, width, `MAP`, `MAP`) to one such a convolution.
    """

    reach: Tensor
    taps: Tensor

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
        self.register_buffer("taps", taps(MAP).clone())

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        weight = (self.weight * self.reach).flatten(2) @ self.taps  # (out, in, p q)
        weight = weight.reshape(*weight.shape[:2], MAP * MAP, -1).transpose(1, 2)  # (out, p, in, q)
        out = functional.linear(z.flatten(1), weight.flatten(2).flatten(0, 1))  # (B, out p)
        return torch.split(out.reshape(len(z), -1, MAP, MAP), self.width, 1)


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
        self.register_buffer("near", pooling(MAP).clone())

    def forward(self, z: Tensor) -> Tensor:
        brought: list[list[Tensor]] = [[] for _ in range(len(self.others) + 1)]
        convolutions = iter(self.convolutions)
        for start, (convolved, others) in enumerate(zip(self.convolved, self.others, strict=True)):
            if convolved:
                for end, part in zip(convolved, next(convolutions)(z), strict=True):
                    brought[end].append(part)
            if others:
                pooled = (z.flatten(2) @ self.near).reshape(z.shape)  # (B, width, MAP²) and back
                for end, edge in others:
                    brought[end].append(z * self.skip[edge] + pooled * self.pool[edge])
            z = normalised(sum(brought[start + 1][1:], brought[start + 1][0]))
        return z


class Stem(nn.Linear):
    """The same linear map of every patch of an image: `MAP`² patches side by side.

    No image is cut up for it: a strip of patches, as high as one and as wide as the image, is
    multiplied by one matrix, which has the patch's weights at each place and zeros beside them.

    Args:
        side: Of the images.
        width: Channels out.

    Shapes: (B, …) images of side² numbers to (B, width, `MAP`, `MAP`).
    """

    strips: Tensor

    def __init__(self, side: int, width: int) -> None:
        super().__init__((side // MAP) ** 2, width)
        self.register_buffer("strips", strips(side).clone())

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight @ self.strips).reshape(self.out_features, -1, MAP)
        weight = weight.transpose(0, 1).flatten(1)  # (width, strip, MAP) -> (strip, width MAP)
        bias = self.bias.unsqueeze(1).expand(-1, MAP).flatten()  # (width,) -> (width MAP,)
        z = x.reshape(len(x), MAP, -1) @ weight + bias  # (B, MAP, width MAP)
        return z.reshape(len(x), MAP, -1, MAP).transpose(1, 2)


class ReadOut(nn.Linear):
    """A linear map of each channel's means over the quadrants of the map.

    The means are a fixed linear map, which is put before the weights and not before the maps: those
    are many more numbers.

    Args:
        width: Channels in.

    Shapes: (B, width, `MAP`, `MAP`) to (B, `CLASSES`).
    """

    means: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(QUADRANTS * width, CLASSES)
        half = torch.arange(MAP) // (MAP // 2)
        of = (2 * half[:, None] + half).flatten()  # the quadrant of each position
        own = (of == torch.arange(QUADRANTS)[:, None]).float()
        self.register_buffer("means", own / own.sum(1, keepdim=True))  # (QUADRANTS, MAP²)

    def forward(self, z: Tensor) -> Tensor:
        weight = self.weight.reshape(CLASSES, -1, QUADRANTS) @ self.means  # (CLASSES, width, MAP²)
        return functional.linear(z.flatten(1), weight.flatten(1), self.bias)


class ConvNet(nn.Module):
    """A patch stem, `depth` cells, the mean over each quadrant, a linear read-out.

    Args:
        space: Tells the side of its images, and what the network costs: buffers `params` and
            `madds`, which `harness.parts.probes.Kept` reports.
        architecture: One of the space.

    Shapes: (B, …) images of side² numbers to (B, `CLASSES`) logits.
    """

    def __init__(self, space: Space, architecture: Architecture) -> None:
        super().__init__()
        self.stem = Stem(space.side, architecture.width)
        self.cells = nn.Sequential(*[Cell(architecture) for _ in range(architecture.depth)])
        self.out = ReadOut(architecture.width)
        for name in ("params", "madds"):
            cost = getattr(space, name)(architecture)
            self.register_buffer(name, torch.tensor(float(cost)))

    @staticmethod
    def alike(space: Space, architecture: Architecture) -> tuple[int, int, int, tuple[bool, ...]]:
        """Equal for networks of one structure: see `harness.engine.building.structure`."""
        convolved = tuple(edge in CONVOLUTIONS for edge in architecture.edges)
        return space.side, architecture.depth, architecture.width, convolved

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.cells(normalised(self.stem(x))))
        return out
