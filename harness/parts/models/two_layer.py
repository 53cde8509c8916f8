"""A network of one hidden layer in the two scalings that wide networks are studied in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class TwoLayer(nn.Module):
    """``scale Σ_j a_j tanh(w_j x / √inputs)``, whose weights start from N(0, 1) and are kept as they
    started, in buffers.

    Args:
        inputs: Numbers read.
        width: Hidden units.
        mean_field: Whether the scale is 1/width, at which features are learned however wide it is,
            under a rate in proportion to the width (Mei et al. 2018); else it is 1/√width, at which
            it learns ever less of them (Jacot et al. 2018).
        mean, spread: What is taken from all inputs, and what they are then divided by.

    Shapes: input (B, ...) that flattens to (B, inputs); output (B,).
    """

    w_start: Tensor
    a_start: Tensor
    scale: Tensor

    def __init__(
        self, inputs: int, width: int, mean_field: bool = False, mean: float = 0.0, spread: float = 1.0
    ) -> None:  # fmt: skip
        super().__init__()
        self.w, self.a = nn.Parameter(torch.randn(width, inputs)), nn.Parameter(torch.randn(width))
        self.register_buffer("w_start", self.w.detach().clone())
        self.register_buffer("a_start", self.a.detach().clone())
        self.register_buffer("scale", torch.tensor(1 / width if mean_field else width**-0.5))
        self.mean, self.spread = mean, spread

    def reads(self, x: Tensor) -> Tensor:
        """(B, inputs), so scaled that a unit's sum is ``w_j`` times it."""
        return (x.flatten(1) - self.mean) / (self.spread * math.sqrt(self.w.shape[1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (torch.tanh(self.reads(x) @ self.w.t()) @ self.a)


def kernels(
    x: Tensor, w: Tensor, a: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a `TwoLayer` of weights w (width, inputs) and a (width,) makes of what it `reads`, x (B,
    inputs).

    Returns:
        Features (B, width), their kernel (B, B), its tangent kernel (B, B): products of the
        derivatives of two outputs by all weights; and the outputs (B,).
    """
    features = torch.tanh(x @ w.t())
    kernel, slopes = features @ features.t(), (1 - features.square()) * a
    tangent = scale**2 * (kernel + (x @ x.t()) * (slopes @ slopes.t()))
    return features, kernel, tangent, scale * (features @ a)
