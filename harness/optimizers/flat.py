"""Parameters of K trials in one tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Flat:
    """Named tensors (K, ...) of K trials side by side in one (K, P) tensor.

    Args:
        tensors: name to (K, ...) tensor; copied. `views` are windows into the one tensor `all`.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.shapes = {name: t.shape[1:] for name, t in tensors.items()}
        parts = [t.detach().flatten(1) for t in tensors.values()]  # (K, ...) -> (K, p)
        self.all = torch.cat(parts, 1) if parts else torch.zeros(0, 0)
        self.views = self.cut(self.all)

    def cut(self, flat: Tensor) -> dict[str, Tensor]:
        """(K, P) as named windows (K, ...)."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        return {
            name: part.view(len(flat), *shape)  # (K, p) -> (K, ...)
            for (name, shape), part in zip(
                self.shapes.items(), torch.split(flat, sizes, 1), strict=True
            )
        }

    def keep(self, lanes: Tensor) -> None:
        """Keep only these trials, in this order."""
        self.all = self.all[lanes].contiguous()
        self.views = self.cut(self.all)
