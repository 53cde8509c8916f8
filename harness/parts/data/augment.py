"""Augmentation: training images moved a little, anew at every update.

Declared as `Training(augment=Augment(shift=1, turn=10))` and applied where input noise is. Each
example's shift and turn are functions of the trial's key, and its numbers may differ in a pack.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from harness.parts import keyed


@dataclass(frozen=True)
class Augment:
    """Random shifts and rotations (Overview, "Dataset Expansion"; Simard et al. 2003).

    Args:
        shift: Each image is shifted by up to this many pixels along each axis.
        turn: And rotated about its centre by up to this many degrees, either way.

    Raises:
        ValueError: a negative number.
    """

    shift: float = 0.0
    turn: float = 0.0
    numbers: ClassVar[tuple[str, ...]] = ("shift", "turn")

    def __post_init__(self) -> None:
        if not (self.shift >= 0 and self.turn >= 0):
            raise ValueError(f"{self}; allowed: a shift and a turn of at least 0")


def moved(x: Tensor, key: Tensor, shift: Tensor, turn: Tensor) -> Tensor:
    """One trial's batch, each image moved by its own random shift and turn.

    Args:
        x: (B, H W) square, (B, H, W) or (B, C, H, W).
        key: (), int64.
        shift, turn: () pixels and degrees, as in `Augment`.
    """
    drawn = keyed.uniform(key.unsqueeze(0), 3 * len(x)).view(3, -1) * 2 - 1  # (1, 3 B) -> (3, B)
    return warp(x, drawn[0] * shift, drawn[1] * shift, drawn[2] * turn)


def warp(x: Tensor, right: Tensor, down: Tensor, turn: Tensor) -> Tensor:
    """Images turned anticlockwise about their centres and then shifted; bilinear between pixels,
    zeros where nothing was.

    Args:
        x: (B, H W) square, (B, H, W) or (B, C, H, W).
        right, down: (B,) pixels.
        turn: (B,) degrees.

    Raises:
        ValueError: flat images that are not square.
    """
    images = _images(x)
    height, width = images.shape[2:]
    # where each pixel of the result, counted from the centre, comes from
    across = torch.arange(width, device=x.device) - (width - 1) / 2
    along = torch.arange(height, device=x.device) - (height - 1) / 2
    to_right = across - right.view(-1, 1, 1)  # (B, 1, W)
    to_down = along.unsqueeze(1) - down.view(-1, 1, 1)  # (B, H, 1)
    angle = (turn * (math.pi / 180)).view(-1, 1, 1)
    cos, sin = angle.cos(), angle.sin()
    from_x = cos * to_right - sin * to_down  # (B, H, W)
    from_y = sin * to_right + cos * to_down
    grid = torch.stack([from_x * (2 / width), from_y * (2 / height)], -1)  # (B, H, W, 2)
    out = functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    return out.reshape(x.shape)  # (B, C, H, W) -> as it came


def _images(x: Tensor) -> Tensor:
    """As (B, C, H, W)."""
    if x.dim() == 4:
        return x
    if x.dim() == 3:
        return x.unsqueeze(1)  # (B, H, W) -> (B, 1, H, W)
    side = math.isqrt(x.shape[1])
    if x.dim() != 2 or side * side != x.shape[1]:
        raise ValueError(
            f"inputs of shape {tuple(x.shape)} cannot be moved; allowed: (B, H W) square, "
            "(B, H, W) or (B, C, H, W)"
        )
    return x.view(-1, 1, side, side)  # (B, H W) -> (B, 1, H, W)
