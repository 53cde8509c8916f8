"""Modules drawn from a grammar: what people write, in any combination."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.kinds import BatchedSign as Sign

WIDTH = 12


class _Floor(torch.autograd.Function):
    """Has no batching rule."""

    @staticmethod
    def forward(ctx, x):
        return x.floor()

    @staticmethod
    def backward(ctx, g):
        return 0.5 * g


ACTS = (
    torch.tanh,
    F.relu,
    torch.sigmoid,
    F.silu,
    F.gelu,
    lambda h: F.elu(h),
    lambda h: F.leaky_relu(h),
)
STATEMENTS = (
    "linear", "linear", "linear", "again", "dropout", "same dropout", "layernorm", "batchnorm",
    "residual", "detached", "blocked", "in place", "input", "where", "by value", "skip",
    "counter", "switch", "average", "replaced", "sign", "floor", "loop", "conv", "scale", "constant",
    "softmax", "noise", "gate", "cumulative", "other's buffer", "closure",
)  # fmt: skip
AFTER = ("frozen", "tied", "hook", "bias frozen", "forward hook", "unused")


class Grown(nn.Module):
    """A network of `length` statements drawn by a seed; the weights are drawn by torch's.

    Shapes: input (B, 64); output (B, 10) logits.
    """

    def __init__(self, seed: int, length: int = 5) -> None:
        super().__init__()
        draw = random.Random(seed)
        self.program = [(draw.choice(STATEMENTS), draw.randrange(len(ACTS))) for _ in range(length)]
        self.acts = [act for _, act in self.program]
        self.first, self.last = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 10)
        self.linears = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in self.program)
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(WIDTH) if what == "batchnorm" else nn.LayerNorm(WIDTH)
            for what, _ in self.program
        )
        self.drops = nn.ModuleList(nn.Dropout(0.25) for _ in self.program)
        self.shared = nn.Dropout(0.4)
        self.conv = nn.Conv1d(1, 1, 3, padding=1)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("mean", torch.zeros(WIDTH))
        self.register_buffer("count", torch.zeros(()))
        self.fixed = torch.linspace(0.5, 1.5, WIDTH)
        self.calls = 0
        seen = []
        self.closing = lambda h: (seen.append(1), h * (1 + 0.01 * len(seen)))[1]
        self.after = draw.sample(AFTER, draw.randrange(3))
        if "frozen" in self.after:
            self.first.requires_grad_(False)
        if "bias frozen" in self.after:
            self.last.bias.requires_grad_(False)
        if "tied" in self.after:
            self.linears[-1].weight = self.linears[0].weight
        if "hook" in self.after:
            self.last.weight.register_hook(lambda g: 0.5 * g)
        if "forward hook" in self.after:
            self.first.register_forward_hook(lambda module, args, out: out + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        if any(what == "input" for what, _ in self.program):
            x.mul_(0.9)
        h = self.first(x)
        for place, (what, act) in enumerate(self.program):
            h = self.do(what, ACTS[act], place, h)
        return self.last(h)

    def do(self, what: str, act, place: int, h: Tensor) -> Tensor:
        layer = self.linears[place]
        if what == "linear":
            return act(layer(h))
        if what == "again":
            return act(self.linears[0](h))
        if what == "dropout":
            return self.drops[place](h)
        if what == "same dropout":
            return self.shared(h)
        if what in ("layernorm", "batchnorm"):
            return self.norms[place](h)
        if what == "residual":
            return h + act(layer(h))
        if what == "detached":
            return h + 0.5 * layer(h).detach()
        if what == "blocked":
            with torch.no_grad():
                size = h.abs().mean()
            return h / (1 + size)
        if what == "in place":
            h = layer(h)
            h.mul_(0.5).add_(0.1)
            return torch.tanh(h)
        if what == "where":
            return torch.where(h > 0.1, h, 0.3 * h)
        if what == "by value":
            return 0.5 * h if float(h.detach().abs().mean()) > 0.4 else h
        if what == "skip":
            return h if self.training and random.random() < 0.5 else act(layer(h))
        if what == "counter":
            self.calls += 1
            return h if self.calls % 3 else 0.5 * h
        if what == "switch":
            if self.training:
                self.count.add_(1)
            return h * (1 + 0.1 * (self.count > 3))
        if what == "average":
            if self.training:
                self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
            return h - self.mean
        if what == "replaced":
            if self.training:
                self.mean = 0.9 * self.mean + 0.1 * h.detach().mean(0)
            return h - self.mean
        if what == "sign":
            return h + 0.1 * Sign.apply(layer(h))
        if what == "floor":
            return h + 0.1 * _Floor.apply(layer(h))
        if what == "loop":
            for _ in range(3):
                h = torch.tanh(layer(self.shared(h)))
            return h
        if what == "conv":
            return act(self.conv(h.unsqueeze(1)).squeeze(1))
        if what == "scale":
            return h * self.scale
        if what == "constant":
            return h * self.fixed
        if what == "softmax":
            return h * torch.softmax(layer(h), -1)
        if what == "noise":
            return h + 0.05 * torch.randn_like(h) if self.training else h
        if what == "gate":
            return h * torch.sigmoid(layer(h)) if place % 2 else h * (layer(h) > 0)
        if what == "cumulative":
            return h.cumsum(-1) / WIDTH
        if what == "other's buffer":
            norm = self.norms[place]
            if self.training and isinstance(norm, nn.BatchNorm1d):
                norm.running_mean.zero_()
            return norm(h)
        if what == "closure":
            return self.closing(h)
        return h
