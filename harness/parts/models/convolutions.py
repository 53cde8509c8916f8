"""What convolutional networks have beside convolutions: pooling by two, and a layer that does not share
its weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOLS = ("max", "average", "blurred")


class Pool(nn.Module):
    """Pooling by two along one axis or two, in operations that cost little in packs.

    Args:
        kind: "max" or "average" of two neighbours, as torch's layers have them; "blurred": the
            maximum of each and the next, and of these every second one of the running means with
            weights 1, 2, 1 (Zhang 2019, Tri-3); beyond the borders are zeros.

    Shapes: (B, C, n) to (B, C, n / 2), or (B, C, h, w) to (B, C, h / 2, w / 2); even sizes.

    Raises:
        ValueError: no such kind, or odd sizes.
    """

    def __init__(self, kind: str = "max") -> None:
        super().__init__()
        if kind not in POOLS:
            raise ValueError(f"pooling is {kind!r}; allowed: {', '.join(POOLS)}")
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if any(size % 2 for size in x.shape[2:]):
            raise ValueError(f"pooling by two of {tuple(x.shape[2:])}; allowed: even sizes")
        x = self._halved(x)
        return self._halved(x.mT).mT if x.dim() == 4 else x

    def _halved(self, x: Tensor) -> Tensor:
        """Along the last axis."""
        if self.kind == "average":
            return (x[..., ::2] + x[..., 1::2]) / 2
        if self.kind == "max":
            return torch.maximum(x[..., ::2], x[..., 1::2])
        tops = torch.maximum(x, F.pad(x, (0, 1))[..., 1:])
        beyond = F.pad(tops, (1, 1))
        return (beyond[..., :-2:2] + 2 * beyond[..., 1:-1:2] + beyond[..., 2::2]) / 4


class Local1d(nn.Module):
    """A convolution that does not share its weights: each place has a kernel of its own.

    Weights and biases are drawn as those of `torch.nn.Conv1d`.

    Args:
        inside, outside: Channels.
        width: Places that a kernel covers.
        length: Places of the input.
        stride, padding: As of a convolution; padding is with zeros.

    Shapes: (B, inside, length) to (B, outside, (length + 2 padding - width) // stride + 1).
    """

    def __init__(
        self, inside: int, outside: int, width: int, length: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.width, self.stride, self.padding = width, stride, padding
        places, bound = (length + 2 * padding - width) // stride + 1, (inside * width) ** -0.5
        self.span = (places - 1) * stride + 1  # places that one weight of all kernels sees
        self.weight = nn.Parameter(torch.empty(places, outside, inside * width))
        self.bias = nn.Parameter(torch.empty(places, outside))
        for drawn in (self.weight, self.bias):
            nn.init.uniform_(drawn, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.padding, self.padding))
        # not by unfold, of which torch has no batched gradient
        each = [x[..., at : at + self.span : self.stride] for at in range(self.width)]
        seen = torch.stack(each, 3).movedim(1, 2).flatten(2)  # (B, C, P, width) -> (B, P, C width)
        return (torch.einsum("bpi,poi->bpo", seen, self.weight) + self.bias).movedim(1, 2)
