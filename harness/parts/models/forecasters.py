"""What forecasts several series at once: from what was read, (B, back, N), to (B, N, ahead).

`Searchable` is a space of networks as one program: which operation stands on which edge of a block is
a buffer, so that all of them share a pack, or a parameter, so that it has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.parts.data.series import ring
from harness.parts.models.recurrent import Recurrent

OPERATIONS = ("none", "skip", "time", "graph", "mix")
EDGES = 3  # of a block: from its input to its middle, to its end, and from middle to end
BLOCKS = 2
CHAIN = (1, 1)  # the second block reads the first, and is what is read


class OwnPast(nn.Module):
    """A linear forecast of each series from its own past, the same for all of them.

    Args:
        back, ahead: Steps that are read, the last ones, and steps that are said.
    """

    def __init__(self, back: int, ahead: int) -> None:
        super().__init__()
        self.back, self.readout = back, nn.Linear(back, ahead)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(x[:, -self.back :].mT)  # (B, N, back) -> (B, N, ahead)
        return out


class AllPasts(nn.Module):
    """A linear forecast of each series from the past of all.

    Args:
        back, ahead, series: Steps that are read, and said, and N.
    """

    def __init__(self, back: int, ahead: int, series: int) -> None:
        super().__init__()
        self.series, self.readout = series, nn.Linear(back * series, ahead * series)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(x.flatten(1))
        return out.reshape(len(x), self.series, -1)


class DLinear(nn.Module):
    """A linear forecast of a moving average, and one of what is left, added (Zeng et al. 2023); the
    same for all series. The average is over 25 steps, and beyond the ends their values are repeated.

    Args:
        back, ahead: As of `OwnPast`.
        over: Steps of the average, an odd number.
    """

    def __init__(self, back: int, ahead: int, over: int = 25) -> None:
        super().__init__()
        self.back, self.over = back, over
        self.trend, self.rest = nn.Linear(back, ahead), nn.Linear(back, ahead)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, -self.back :].mT  # (B, N, back)
        half = self.over // 2
        ends = x[..., :1].expand(*x.shape[:2], half), x[..., -1:].expand(*x.shape[:2], half)
        smooth = torch.cat([ends[0], x, ends[1]], 2).unfold(2, self.over, 1).mean(3)  # (B, N, back)
        out: Tensor = self.trend(smooth) + self.rest(x - smooth)  # (B, N, ahead)
        return out


class LSTMForecaster(nn.Module):
    """An LSTM that reads all series and says all that is ahead at its end.

    Args:
        back, ahead, series: As of `AllPasts`.
        units: Of the LSTM.
    """

    def __init__(self, back: int, ahead: int, series: int, units: int) -> None:
        super().__init__()
        self.back, self.series = back, series
        self.net = Recurrent("NP", series, units, ahead * series)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x[:, -self.back :])
        return out.reshape(len(x), self.series, -1)


class Block(nn.Module):
    """Three nodes, input, middle and end, that hold (B, T, N, width), and all operations at the first
    two of them. What an operation makes of a node goes into the nodes behind it.

    - time: a causal convolution over three steps (Bai et al. 2018);
    - graph: the mean over a series's neighbours, and a product of channels (Kipf & Welling 2017);
    - mix: the same, with weights of all series that are learnt (a softmax for each; Wu et al. 2019).

    Each of these ends in a ReLU.

    Args:
        graph: (N, N) neighbours, rows that sum to one.
        width: Channels.
    """

    graph: Tensor

    def __init__(self, graph: Tensor, width: int) -> None:
        super().__init__()
        nodes, series = 2, len(graph)
        self.register_buffer("graph", graph)
        self.over_time = nn.Parameter(
            torch.randn(nodes, 3 * width, width) * (2 / (3 * width)) ** 0.5
        )
        self.over_series = nn.Parameter(torch.randn(nodes, 2, width, width) * (2 / width) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(nodes, 3, width))
        self.learnt = nn.Parameter(0.1 * torch.randn(nodes, series, series))

    def forward(self, z: Tensor, weights: Tensor) -> Tensor:
        """Args: z (B, T, N, width); weights (`EDGES`, `OPERATIONS`)."""
        to_middle, to_end, onward = weights.unbind(0)
        first = self._done(0, z)
        middle = _summed(first, to_middle)
        return _summed(first, to_end) + _summed(self._done(1, middle), onward)

    def _done(self, node: int, z: Tensor) -> tuple[Tensor, ...]:
        """What each operation but "none" makes of a node."""
        bias = self.bias[node]
        # one product for all three steps, of which the parts are then moved: to lay what is read three
        # times beside itself takes longer, as does its gradient
        steps = self.over_time[node].view(3, -1, z.shape[3])  # (3, width, width)
        taps = steps.movedim(1, 0).flatten(1)  # (width, 3 width)
        now, one, two = (z @ taps).chunk(3, 3)
        early = [functional.pad(p[:, :-n], (0, 0, 0, 0, n, 0)) for n, p in ((1, one), (2, two))]
        return (
            z,
            (now + bias[0] + early[0] + early[1]).relu(),
            self._spread(z, self.graph, self.over_series[node, 0], bias[1]),
            self._spread(z, self.learnt[node].softmax(1), self.over_series[node, 1], bias[2]),
        )

    @staticmethod
    def _spread(z: Tensor, graph: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Over series and channels at once: a product with one matrix takes half the time of two."""
        both = torch.einsum("mn,cd->ncmd", graph, weight).flatten(2).flatten(0, 1)  # (N C, N C)
        return (z.flatten(2) @ both).view(z.shape).add(bias).relu()


def _summed(done: tuple[Tensor, ...], weights: Tensor) -> Tensor:
    total = done[0] * weights[1]
    for one, weight in zip(done[1:], weights[2:], strict=True):
        total = total + one * weight
    return total


class Searchable(nn.Module):
    """A forecaster of two blocks whose wiring is searched, beside a linear forecast of each series from
    its own past that is added to what it says (Lai et al. 2018). It stands for the space of AutoCTS (Wu et
    al. 2022), made small: what operations there are in a block is micro, how blocks are linked macro.

    Args:
        back, ahead, series: As of `AllPasts`.
        neighbours: How many places before it on a ring those of a series are: `series.ring`.
        cells: For each block the operations on its `EDGES`, of `OPERATIONS`; None: the parameter
            `alpha` (blocks, edges, operations), of which a softmax weighs all of them.
        links: Whether the second block reads the first (1) or the input (0), and whether the second
            block is read at the end (1) or the first (0); None: the parameter `beta` (2, 2), alike.
            Where links are given and cells are not, the blocks share a cell, `alpha` (1, ...).
        width: Channels.

    Shapes: (B, back, N) to (B, N, ahead).
    """

    def __init__(
        self, back: int, ahead: int, series: int, neighbours: Sequence[int],
        cells: Sequence[Sequence[str]] | None, links: Sequence[int] | None = CHAIN, width: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.back = back
        graph = torch.from_numpy(np.float32(ring(series, neighbours)))
        self.stem = nn.Linear(1, width)
        self.blocks = nn.ModuleList(Block(graph, width) for _ in range(BLOCKS))
        self.out, self.own = nn.Linear(width, ahead), nn.Linear(back, ahead)
        if cells is None:
            shape = (1 if links is not None else BLOCKS, EDGES, len(OPERATIONS))
            self.alpha = nn.Parameter(1e-3 * torch.randn(shape))
        else:
            self.register_buffer("cells", torch.stack([one_hot(cell) for cell in cells]))
        if links is None:
            self.beta = nn.Parameter(1e-3 * torch.randn(2, 2))
        else:
            self.register_buffer("links", functional.one_hot(torch.tensor(links), 2).float())

    @classmethod
    def alike(
        cls, back: int, ahead: int, series: int, neighbours: Sequence[int],
        cells: Sequence[Sequence[str]] | None, links: Sequence[int] | None = CHAIN, width: int = 4,
    ) -> tuple[Any, ...]:  # fmt: skip
        """What of its arguments makes its structure: the others are numbers."""
        return back, ahead, series, cells is None, links is None, width

    def mixing(self) -> tuple[Tensor, Tensor]:
        """The weights of operations (blocks, edges, operations) and of links (2, 2)."""
        cells: Any = self.alpha.softmax(2) if hasattr(self, "alpha") else self.cells
        links: Any = self.beta.softmax(1) if hasattr(self, "beta") else self.links
        return cells.expand(BLOCKS, EDGES, len(OPERATIONS)), links

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, -self.back :]
        cells, links = self.mixing()
        z = self.stem(x.unsqueeze(3))  # (B, T, N, width)
        first = self.blocks[0](z, cells[0])
        second = self.blocks[1](z * links[0, 0] + first * links[0, 1], cells[1])
        last = first[:, -1] * links[1, 0] + second[:, -1] * links[1, 1]  # (B, N, width)
        out: Tensor = self.out(last) + self.own(x.mT)  # (B, N, ahead)
        return out


def one_hot(cell: Sequence[str]) -> Tensor:
    """(edges, operations): 1 at each edge's operation, and zeros."""
    places = torch.tensor([OPERATIONS.index(name) for name in cell])
    return functional.one_hot(places, len(OPERATIONS)).float()
