"""Pictures among the numbers of a trial: boundaries, filters, samples, for figures to draw.

A trial's rows are numbers. A picture is eight grey levels a pixel, eight pixels in a number, which
float32 holds exactly: ``map_0``, ``map_1``, … of `Field`. `harness.figures.pictures` draws them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from harness.parts.probes.moment import Moment

LEVELS, PIXELS = 8, 8  # grey levels of a pixel; pixels in a number: 24 bits


def packed(name: str, pixels: Tensor) -> dict[str, Tensor]:
    """Pixels (K, n) from 0 to 1 as metrics (K,), ``<name>_0`` and on; beyond these they are cut."""
    grey = (pixels.clamp(0, 1).nan_to_num() * (LEVELS - 1)).round()
    grey = nn.functional.pad(grey, (0, -pixels.shape[1] % PIXELS))
    weights = LEVELS ** torch.arange(PIXELS, device=grey.device, dtype=grey.dtype)
    numbers = grey.view(len(grey), -1, PIXELS) @ weights  # (K, n) -> (K, n / 8, 8) -> (K, n / 8)
    return {f"{name}_{place}": column for place, column in enumerate(numbers.unbind(1))}


def names(name: str, pixels: int) -> list[str]:
    """The metrics that hold so many pixels."""
    return [f"{name}_{place}" for place in range(math.ceil(pixels / PIXELS))]


def unpacked(numbers: Sequence[float]) -> np.ndarray:
    """(n,) pixels from 0 to 1, of what `packed` made of them; as many as fill the numbers."""
    whole = np.asarray(numbers).astype(np.int64)
    grey = whole[:, None] // LEVELS ** np.arange(PIXELS) % LEVELS  # (n / 8, 8)
    return grey.ravel() / (LEVELS - 1)


@dataclass(frozen=True)
class Field:
    """What a network of two inputs says over the square from -reach to reach, as a picture: the
    probability of the second of two classes, or of one output's sigmoid. Rows go from top to bottom.

    Args:
        reach: Half the square's side, in units of the inputs.
        side: Pixels a side.
        name: What its metrics' names begin with.
    """

    reach: float = 1.0
    side: int = 40
    name: str = "map"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        ticks = (torch.arange(self.side, device=pack.loss.device) + 0.5) / self.side * 2 - 1
        down, right = torch.meshgrid(-ticks * self.reach, ticks * self.reach, indexing="ij")
        places = torch.stack([right.flatten(), down.flatten()], 1)  # (side², 2)

        def said(net: nn.Module) -> Tensor:
            out: Tensor = net(places)  # (side², C)
            return out.softmax(-1)[:, 1] if out.shape[-1] > 1 else out[:, 0].sigmoid()

        return packed(self.name, pack.ask(said))


@dataclass(frozen=True)
class Filters:
    """The weights of some units of a layer that sees square images of one channel, each divided by its
    largest, as a picture of rows by columns of them: grey is zero.

    Args:
        weight: The layer's, (units, side²) or (units, 1, side, side).
        rows, columns: How many, of the first units.
        name: What its metrics' names begin with.
    """

    weight: str
    rows: int = 4
    columns: int = 4
    name: str = "filters"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        first = pack.params[self.weight][:, : self.rows * self.columns].flatten(2)  # (K, n, side²)
        side = math.isqrt(first.shape[2])
        first = first / first.abs().amax(2, keepdim=True)
        tiles = first.view(len(first), self.rows, self.columns, side, side).transpose(2, 3)
        return packed(self.name, (tiles.flatten(1) + 1) / 2)
