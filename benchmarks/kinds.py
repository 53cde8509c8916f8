"""Kinds of modules that people write, each as a small classifier of 64 numbers into ten classes.

`KINDS` maps a name to what builds the module and whether it is expected to fuse. What cannot fuse
must train alone, as plain PyTorch would; `python -m benchmarks.vouch` holds every one to that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

FUSED, ALONE = True, False
KINDS: dict[str, tuple[Callable[[], nn.Module], bool]] = {}


def kind(name: str, fused: bool = FUSED) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Lists a class of modules under a name."""

    def listed(cls: type[nn.Module]) -> type[nn.Module]:
        KINDS[name] = (cls, fused)
        return cls

    return listed


class Between(nn.Module):
    """Linear, some layer of 16 units, linear."""

    def __init__(self, middle: Callable[[], nn.Module], units: int = 16) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(64, 16), middle(), nn.Linear(units, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)).flatten(1))


MIDDLES: dict[str, tuple[Callable[[], nn.Module], int, bool]] = {
    "ReLU": (nn.ReLU, 16, FUSED), "ReLU in place": (partial(nn.ReLU, inplace=True), 16, FUSED),
    "tanh": (nn.Tanh, 16, FUSED), "sigmoid": (nn.Sigmoid, 16, FUSED), "GELU": (nn.GELU, 16, FUSED),
    "SiLU": (nn.SiLU, 16, FUSED), "ELU": (nn.ELU, 16, FUSED), "SELU": (nn.SELU, 16, FUSED),
    "softplus": (nn.Softplus, 16, FUSED), "Mish": (nn.Mish, 16, FUSED),
    "leaky ReLU": (nn.LeakyReLU, 16, FUSED), "PReLU": (nn.PReLU, 16, FUSED),
    "hardswish": (nn.Hardswish, 16, FUSED), "GLU": (nn.GLU, 8, FUSED),
    "softmax": (partial(nn.Softmax, dim=-1), 16, FUSED),
    "layer normalisation": (partial(nn.LayerNorm, 16), 16, FUSED),
    "group normalisation": (partial(nn.GroupNorm, 4, 16), 16, FUSED),
    "RMS normalisation": (partial(nn.RMSNorm, 16), 16, FUSED),
    "batch normalisation": (partial(nn.BatchNorm1d, 16), 16, FUSED),
    "batch normalisation, no statistics": (
        partial(nn.BatchNorm1d, 16, track_running_stats=False), 16, FUSED),
    "dropout": (partial(nn.Dropout, 0.3), 16, FUSED),
    "dropout in place": (partial(nn.Dropout, 0.3, inplace=True), 16, FUSED),
    "alpha dropout": (partial(nn.AlphaDropout, 0.2), 16, ALONE),
    "randomized ReLU": (nn.RReLU, 16, ALONE),
    "max pooling": (partial(nn.MaxPool1d, 2), 8, FUSED),
    "weight normalisation": (
        lambda: parametrizations.weight_norm(nn.Linear(16, 16)), 16, ALONE),
    "orthogonal weights": (lambda: parametrizations.orthogonal(nn.Linear(16, 16)), 16, FUSED),
    "spectral normalisation": (
        lambda: parametrizations.spectral_norm(nn.Linear(16, 16)), 16, ALONE),
}  # fmt: skip
for _name, (_middle, _units, _fused) in MIDDLES.items():
    KINDS[_name] = (partial(Between, _middle, _units), _fused)


class Images(nn.Module):
    """Layers of 8x8 images, then a linear one."""

    def __init__(self, layers: Callable[[], list[nn.Module]], units: int) -> None:
        super().__init__()
        self.layers, self.last = nn.Sequential(*layers()), nn.Linear(units, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x.view(-1, 1, 8, 8)).flatten(1))


IMAGES: dict[str, tuple[Callable[[], list[nn.Module]], int, bool]] = {
    "convolution": (lambda: [nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)], 64, FUSED),
    "strided convolution": (lambda: [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU()], 64, FUSED),
    "dilated convolution": (lambda: [nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU()], 64, FUSED),
    "circular convolution": (
        lambda: [nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.ReLU()], 256, FUSED),
    "depthwise convolution": (
        lambda: [nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU()], 64, FUSED),
    "transposed convolution": (
        lambda: [nn.Conv2d(1, 2, 3, stride=2, padding=1),
                 nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1), nn.ReLU()], 128, FUSED),
    "batch normalisation of images": (
        lambda: [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)], 36, FUSED),
    "instance normalisation": (
        lambda: [nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU(),
                 nn.MaxPool2d(2)], 36, FUSED),
    "dropout of channels": (
        lambda: [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout2d(0.3), nn.MaxPool2d(2)], 36, FUSED),
    "global pooling": (
        lambda: [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)], 8, FUSED),
    "unfolded patches": (lambda: [nn.Unfold(4, stride=4)], 64, FUSED),
    "upsampling": (lambda: [nn.AvgPool2d(2), nn.Upsample(scale_factor=2)], 64, FUSED),
    "pixel shuffle": (lambda: [nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2)], 256, FUSED),
}  # fmt: skip
for _name, (_layers, _units, _fused) in IMAGES.items():
    KINDS[_name] = (partial(Images, _layers, _units), _fused)


class Base(nn.Module):
    """Two linear layers, for what is done between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


KINDS["two linear layers"] = (Base, FUSED)


@kind("signal convolution")
class Signal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.d, self.b = (
            nn.Conv1d(1, 6, 5, stride=2),
            nn.Conv1d(6, 6, 3),
            nn.Linear(168, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.b(F.relu(self.d(F.relu(self.c(x.unsqueeze(1))))).flatten(1))


@kind("embedding")
class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e, self.b = nn.Embedding(17, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.e((x * 16).long()).flatten(1))


@kind("bilinear", ALONE)
class Bilinear(Base):
    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Bilinear(16, 16, 8)
        self.b = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        return self.b(self.m(h, h))


@kind("residual block")
class Residual(Base):
    def __init__(self) -> None:
        super().__init__()
        self.m, self.n = nn.Linear(16, 16), nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(h + F.relu(self.n(self.m(h))))


@kind("recurrent cell in plain operations")
class PlainRecurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.h, self.b = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 12)
        for row in x.view(-1, 8, 8).unbind(1):
            h = torch.tanh(self.i(row) + self.h(h))
        return self.b(h)


@kind("recurrent dropout, one layer at each step")
class Sequence(PlainRecurrent):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 12)
        for row in x.view(-1, 8, 8).unbind(1):
            h = torch.tanh(self.i(row) + self.h(self.drop(h)))
        return self.b(h)


class Kernel(nn.Module):
    """torch's own recurrent layers."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.r, self.b = layer(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.r(x.view(-1, 8, 8))[0][:, -1])


KINDS["torch's RNN"] = (partial(Kernel, nn.RNN), ALONE)
KINDS["torch's LSTM"] = (partial(Kernel, nn.LSTM), ALONE)
KINDS["torch's GRU"] = (partial(Kernel, nn.GRU), ALONE)


@kind("attention by hand")
class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.b = nn.Linear(8, 24), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.view(-1, 8, 8)).chunk(3, -1)
        return self.b((torch.softmax(q @ k.mT / 8**0.5, -1) @ v).mean(1))


@kind("mixture of experts, soft")
class Experts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.each = nn.Linear(64, 3), nn.ModuleList(nn.Linear(64, 10) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        said = torch.stack([one(x) for one in self.each], -1)
        return (said * torch.softmax(self.gate(x), -1).unsqueeze(1)).sum(-1)


@kind("maxout")
class Maxout(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).unflatten(1, (16, 1)).amax(-1))


@kind("gated by top values")
class Top(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(h * (h >= h.topk(4, -1).values[:, -1:]))


@kind("Fourier features")
class Fourier(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(torch.fft.rfft(x).abs().repeat(1, 2)[:, :64])))


@kind("einsum")
class Einsum(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bi,oi->bo", torch.tanh(self.a(x)), self.b.weight) + self.b.bias


@kind("double precision inside")
class Double(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 10).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x.double()).float()


@kind("a scalar that is trained")
class Temperature(Base):
    def __init__(self) -> None:
        super().__init__()
        self.t = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.t


@kind("lists and dictionaries of layers")
class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d = nn.ModuleDict({"x": nn.Linear(64, 12), "y": nn.Linear(64, 12)})
        self.p = nn.ParameterList([nn.Parameter(torch.ones(12)) for _ in range(2)])
        self.b = nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.d["x"](x) * self.p[0] + self.d["y"](x) * self.p[1]))


# --- parameters ----------------------------------------------------------------------------------


@kind("a layer that is frozen")
class Frozen(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a.requires_grad_(False)


@kind("a bias that is frozen")
class FrozenBias(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a.bias.requires_grad_(False)


@kind("two layers with one weight")
class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.c, self.b = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.c.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.c(torch.tanh(self.a(x)))))


@kind("a weight used transposed")
class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 16), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(F.linear(torch.tanh(self.a(x)), self.a.weight.t())))


@kind("one layer used twice")
class Twice(Base):
    def __init__(self) -> None:
        super().__init__()
        self.m = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.m(torch.tanh(self.m(torch.tanh(self.a(x)))))))


@kind("one module in two places")
class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.2), nn.Tanh())
        self.net = nn.Sequential(nn.Linear(64, 16), block, block, nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@kind("one dropout used twice")
class TwiceDropped(Base):
    def __init__(self) -> None:
        super().__init__()
        self.drop, self.m = nn.Dropout(0.4), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.drop(torch.tanh(self.m(self.drop(torch.tanh(self.a(x)))))))


@kind("a parameter that nothing uses")
class Unused(Base):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(16, 16)


@kind("a hook on a gradient", ALONE)
class Hooked(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a.weight.register_hook(lambda g: 0.1 * g)


@kind("a hook on a layer")
class Watched(Base):
    def __init__(self) -> None:
        super().__init__()
        self.a.register_forward_hook(lambda module, args, out: 2 * out)


# --- gradients -----------------------------------------------------------------------------------


@kind("detached")
class Detached(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        return self.b(h + 0.5 * h.detach())


@kind("a part without gradient")
class Blocked(Base):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            scale = self.a(x).std()
        return self.b(torch.tanh(self.a(x)) / (1 + scale))


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


class BatchedSign(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.sign()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g


@kind("a gradient of one's own", ALONE)
class StraightThrough(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(_Sign.apply(self.a(x)))


@kind("a gradient of one's own, with a batching rule")
class BatchedStraightThrough(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(BatchedSign.apply(self.a(x)))


@kind("recomputed in the backward pass", ALONE)
class Checkpointed(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(lambda y: torch.tanh(self.a(y)), x, use_reentrant=False))


# --- decisions and state in Python ---------------------------------------------------------------


@kind("a decision by a value", ALONE)
class ByValue(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(h / 2 if h.abs().mean().item() > 0.3 else h)


@kind("a decision by where")
class ByWhere(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.b(torch.where(h.abs().mean() > 0.3, h / 2, h))


@kind("stochastic depth", ALONE)
class Stochastic(Residual):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        if self.training and random.random() < 0.5:
            return self.b(h)
        return self.b(h + F.relu(self.n(self.m(h))))


@kind("numpy's random numbers", ALONE)
class NumpyNoise(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * (1 + 0.1 * np.random.rand()))


@kind("noise of its own", ALONE)
class Noise(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 0.1 * torch.randn_like(x) if self.training else x)


@kind("a counter on itself", ALONE)
class Counter(Base):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1.0 if self.calls < 8 else 0.1)


@kind("a counter that is private", ALONE)
class Private(Base):
    def __init__(self) -> None:
        super().__init__()
        self._state = {"calls": 0}

    def forward(self, x: Tensor) -> Tensor:
        self._state["calls"] += 1
        return super().forward(x) * (1.0 if self._state["calls"] < 8 else 0.1)


@kind("a generator of its own", ALONE)
class OwnGenerator(Base):
    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * (1 + 0.2 * self.random.random()))


@kind("a schedule on itself", ALONE)
class Scheduled(Base):
    def __init__(self) -> None:
        super().__init__()
        self.rate = 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.rate *= 0.9
        return super().forward(x) * (1 + self.rate)


@kind("a cache on itself", ALONE)
class Cached(Base):
    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        if self.training:
            before, self.last = self.last, h.mean(0).detach()
            h = h if before is None else h - 0.1 * before
        return self.b(h)


@kind("a buffer that is a counter")
class CountedInBuffer(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().forward(x) / (1 + 0.1 * self.calls)


@kind("a buffer that is replaced", ALONE)
class Replaced(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * h.mean(0).detach()
        return self.b(h - self.mean)


@kind("a buffer of another module")
class Others(Base):
    def __init__(self) -> None:
        super().__init__()
        self.n = nn.BatchNorm1d(16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.n(self.a(x))
        if self.training:
            self.n.running_mean.mul_(0.5)
        return self.b(h)


@kind("a buffer called key")
class Key(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("key", torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)) * self.key)


@kind("in place between layers")
class InPlace(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h += 1
        h.relu_()
        return self.b(h)


@kind("in place on what it is given", ALONE)
class Overwriting(Base):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        return super().forward(x)


@kind("a fixed projection that is no buffer", ALONE)
class Projection(Base):
    def __init__(self) -> None:
        super().__init__()
        self.fixed = torch.randn(64, 64) / 8

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x @ self.fixed)


@kind("a constant that is no buffer")
class Constant(Base):
    def __init__(self) -> None:
        super().__init__()
        self.fixed = torch.linspace(0, 1, 64)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.fixed)


@kind("layers in a plain list", ALONE)
class Hidden(Base):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(16, 16)]

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        for layer in self.layers:
            h = torch.tanh(layer(h))
        return self.b(h)


@kind("a scale drawn in Python when it is built", ALONE)
class Drawn(Base):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 0.5 + random.random()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


COUNTS = {"calls": 0}


@kind("a counter outside", ALONE)
class Outside(Base):
    def forward(self, x: Tensor) -> Tensor:
        COUNTS["calls"] += 1
        return super().forward(x) + 0 * COUNTS["calls"]


@kind("a counter of the class", ALONE)
class OfClass(Base):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(x) + 0 * self.calls


def _closing() -> nn.Module:
    seen = [0.0]

    class Closing(Base):
        def forward(self, x: Tensor) -> Tensor:
            seen[0] += 0
            seen.append(0.0)
            return super().forward(x) + seen[0]

    return Closing()


KINDS["a counter in a closure"] = (_closing, ALONE)


@kind("the time of day", ALONE)
class Clock(Base):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * time.monotonic()
