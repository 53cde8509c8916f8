"""Parts of convolutional networks for images: filters, inception modules, local response normalisation."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional


class LocalResponse(nn.Module):
    """Responses divided by those of neighbouring channels (Krizhevsky et al. 2012, section 3.3), in plain
    operations: x / (k + α Σ x²)^β over `size` channels; k = 2 and β = ¾, as there.

    Args:
        channels: How many there are.
        size: How many of them, around each, are summed over; odd.
        alpha: Theirs is 1e-4, for pixels of up to 255. Of numbers far below 100 it makes hardly any
            difference: at 1e-4 all are divided by about 2^β.
    """

    near: Tensor

    def __init__(self, channels: int, size: int = 5, alpha: float = 1e-4) -> None:
        super().__init__()
        self.alpha = alpha
        place = torch.arange(channels)
        near = (place[:, None] - place).abs() <= size // 2
        self.register_buffer("near", near.float())  # (C, C)

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.square().movedim(1, -1) @ self.near).movedim(-1, 1)  # (B, C, H, W)
        return x / (2 + self.alpha * squares) ** 0.75


def convolution(
    into: int, out: int, size: int, act: type[nn.Module] = nn.ReLU, stride: int = 1,
    norm: bool = False,
) -> nn.Sequential:  # fmt: skip
    """A layer of `out` filters of size x size that keeps a map's side (but for the stride), batch
    normalisation if `norm`, and its activation; He's initialisation, Glorot's for tanh."""
    layer = nn.Conv2d(into, out, size, stride, size // 2)
    if act is nn.Tanh:
        nn.init.xavier_normal_(layer.weight)
    else:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, *([nn.BatchNorm2d(out)] if norm else []), act())


class Inception(nn.Module):
    """(B, into, H, W) to (B, out, H, W): filters of 1x1, of 3x3 and of 5x5 behind fewer of 1x1, and of 1x1
    behind a mean of 3x3, side by side (Szegedy et al. 2014, figure 2b, where it is a maximum).

    Args:
        into: Channels that come in.
        out: Channels of the four branches: 3/8, 3/8, 1/8 and 1/8 of these; a multiple of 16.
        norm: Whether each layer is batch-normalised.
    """

    def __init__(self, into: int, out: int, norm: bool = False) -> None:
        super().__init__()
        layer, part = partial(convolution, norm=norm), out // 16
        self.one, self.after = layer(into, 6 * part, 1), layer(into, 2 * part, 1)
        self.three = nn.Sequential(layer(into, 3 * part, 1), layer(3 * part, 6 * part, 3))
        self.five = nn.Sequential(layer(into, part, 1), layer(part, 2 * part, 5))

    def forward(self, x: Tensor) -> Tensor:
        mean = functional.avg_pool2d(x, 3, 1, 1)
        return torch.cat([self.one(x), self.three(x), self.five(x), self.after(mean)], 1)
