"""Layers that stand in for torch's in every pack: whatever else a pack holds, a trial's numbers are its
own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.parts import keyed

USES = "_uses"  # of a dropout layer, in the forward pass so far


class Dropout(nn.Module):
    """Dropout whose mask is a function of a key; takes the place of torch's in every pack.

    Each unit (or channel) is zero with probability `rate` and otherwise divided by 1 - rate
    (Srivastava et al. 2014, inverted). The rate may differ between trials. A layer that is used
    several times in a forward pass draws a mask at each use.
    """

    rate: Tensor
    key: Tensor
    uncounted = (USES,)  # no state of the author's

    def __init__(self, rate: float, layer: int, channels: bool, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate is {rate}; allowed: at least 0 and below 1")
        self.layer, self.channels, self.inplace = layer, channels, inplace
        self.register_buffer("rate", torch.tensor(float(rate)))
        self.register_buffer("key", torch.zeros((), dtype=torch.int64))
        self.__dict__[USES] = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = x.shape[:2] if self.channels else x.shape
        key = keyed.mix(self.key, self.layer).unsqueeze(0)  # () -> (1,)
        if used := self.__dict__[USES]:
            key = keyed.mix(key, used)
        self.__dict__[USES] = used + 1
        kept = keyed.kept(key, math.prod(shape), self.rate).view(shape)  # (1, n) -> (B, ...)
        kept = kept.view(*shape, *(1,) * (x.dim() - len(shape))).to(x.dtype)
        return x.mul_(kept) if self.inplace else x * kept


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors in plain operations (Ioffe & Szegedy 2015).

    torch's kernel lays the units of all lanes side by side and takes what is left over beside full
    vector registers another way, so that a trial's last bits would depend on its place in a pack.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            return super().forward(x)
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return self._affine((x - self.running_mean) * (self.running_var + self.eps).rsqrt())
        if len(x) < 2:
            raise ValueError(f"batch normalisation of {len(x)} examples; allowed: at least 2")
        mean = x.mean(0)  # (B, C) -> (C,)
        centred = x - mean
        variance = (centred * centred).mean(0)
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            rate = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
            unbiased = variance.detach() * (len(x) / (len(x) - 1))
            self.running_mean.mul_(1 - rate).add_(mean.detach() * rate)
            self.running_var.mul_(1 - rate).add_(unbiased * rate)
        return self._affine(centred * (variance + self.eps).rsqrt())

    def _affine(self, out: Tensor) -> Tensor:
        return out if self.weight is None else out * self.weight + self.bias


REGISTER = 16  # floats of a vector register


class Head(nn.Linear):
    """A last layer whose few outputs lie apart in memory, and the examples side by side.

    On a CPU such a product takes half the time, and what follows (a softmax, above all) works on
    full vector registers: ten classes fill none. Nor do its last bits depend on where in memory a
    trial lies, as those of the product the usual way round do for fewer than twelve outputs, and
    those of this one for fewer than four.
    """

    @staticmethod
    def fits(layer: nn.Module) -> bool:
        return type(layer) is nn.Linear and 4 <= layer.out_features < REGISTER <= layer.in_features

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or len(x) < REGISTER or x.device.type != "cpu":
            return super().forward(x)
        out = self.weight @ x.t()  # (C, F), (F, B) -> (C, B)
        return (out if self.bias is None else out + self.bias.unsqueeze(1)).t()
