"""Parameters of K trials in one tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

LINE = 16  # floats of a cache line, and of the longest vector register
FEW = 64  # parameters up to which a trial's are laid side by side without a gap


class Flat:
    """Named tensors (K, ...) of K trials side by side in one (K, P) tensor.

    The trials of a larger model each begin at a cache line, with zeros between them: the last bits
    of a product with a single example depend on where in a line its matrix begins.

    Args:
        tensors: name to (K, ...) tensor; copied. `views` are windows into the one tensor `all`.
        apart: Whether each of them begins at a line, too: kernels of a GPU may want that of what
            they are given alone.
    """

    def __init__(self, tensors: Mapping[str, Tensor], apart: bool = False) -> None:
        self.shapes = {name: t.shape[1:] for name, t in tensors.items()}
        self.apart = apart
        self.all = self.lay(tensors)
        self.views = self.cut(self.all)

    def lay(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Named (K, ...) as one (K, P)."""
        if not tensors:
            return torch.zeros(0, 0)
        parts = []
        for t in tensors.values():
            parts.append(t.detach().reshape(len(t), -1))  # (K, ...) -> (K, p)
            if gap := -parts[-1].shape[1] % LINE if self.apart else 0:
                parts.append(parts[0].new_zeros(len(t), gap))
        numbers = sum(part.shape[1] for part in parts)
        if gap := -numbers % LINE if numbers > FEW else 0:
            parts.append(parts[0].new_zeros(len(parts[0]), gap))
        return torch.cat(parts, 1)

    def cut(self, flat: Tensor) -> dict[str, Tensor]:
        """(K, P) as named windows (K, ...)."""
        views, begin = {}, 0
        for name, shape in self.shapes.items():
            end = begin + math.prod(shape)
            views[name] = flat[:, begin:end].view(len(flat), *shape)  # (K, p) -> (K, ...)
            begin = end + (-end % LINE if self.apart else 0)
        return views

    def keep(self, lanes: Tensor) -> None:
        """Keep only these trials, in this order."""
        self.all = self.all[lanes].contiguous() if self.shapes else self.all
        self.views = self.cut(self.all)
