"""How far training has moved a network from where it started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.parts.models.two_layer import kernels
from harness.parts.probes.moment import Moment


@dataclass(frozen=True)
class Laziness:
    """Of a `TwoLayer` that gradient descent on all training examples has trained on half the mean
    squared error: metrics ``feature_change``, ``kernel_change`` and ``tangent_change``, each the norm
    of the change over the norm at the start; and ``from_linear``, how far its predictions are from
    those of the network that is linear in its weights, over how far these have moved (Lee et al.
    2019, section 2.2). In float64, on the training examples.

    Args:
        rate, steps: Of the descent.
        target: What turns the training split's targets into numbers (B,).
    """

    rate: float
    steps: int
    target: Callable[[Tensor], Tensor]
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        assert pack.train is not None
        x, y = pack.train
        t = self.target(y).double()

        def parts(net: Any) -> tuple[Tensor, ...]:
            return net.reads(x), net.w, net.a, net.w_start, net.a_start, net.scale

        found = pack.ask(parts)
        lanes = [
            self._moved(t, *(part[lane].double() for part in found))
            for lane in range(len(pack.loss))
        ]
        return {name: torch.stack([one[name] for one in lanes]).float() for name in lanes[0]}

    def _moved(
        self, t: Tensor, x: Tensor, w: Tensor, a: Tensor, w_start: Tensor, a_start: Tensor, scale: Tensor
    ) -> dict[str, Tensor]:  # fmt: skip
        *now, out = kernels(x, w, a, scale)
        *start, first = kernels(x, w_start, a_start, scale)
        changes = [
            (one - other).norm() / other.norm() for one, other in zip(now, start, strict=True)
        ]
        sizes, vectors = torch.linalg.eigh(start[-1] * (self.rate / len(t)))
        linear = t + vectors @ ((1 - sizes) ** self.steps * (vectors.t() @ (first - t)))
        names = ("feature_change", "kernel_change", "tangent_change")
        return {
            **dict(zip(names, changes, strict=True)),
            "from_linear": (out - linear).norm() / (linear - first).norm(),
        }
