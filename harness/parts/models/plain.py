"""Recurrent units without gates, with what is said to lengthen their memory; and where gates start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional

from harness.parts.models.recurrent import Recurrent

ACTS = ("tanh", "sigmoid", "relu")


class Plain(nn.Module):
    """Units without gates, and a linear layer that reads them::

        h = keep h⁻ + (1 - keep) act(R h⁻ + S h⁻ᶠᵃʳ + W x + b)

    Weights start from a normal, biases at zero. A sigmoid is one program with tanh, and `keep` is a
    number, so that leaky units are, too (SNU, "Solution: echo state networks and leaky units").

    Args:
        inputs: Numbers read a step, or, where the input is integers, how many symbols there are.
        units: How many.
        outputs: Numbers put out.
        every_step: Whether there is an output at every step; otherwise there is one at the end.
        act: One of `ACTS`.
        identity: Whether R starts as the identity (with ReLU the IRNN of Le et al. 2015).
        keep: The share of a state that stays at a step, in [0, 1).
        far: How many steps further links go over; 0: there are none. Before the beginning there is
            nothing that they come from.
        near: Whether there are links of one step, R. Without them the output is of the sum of the last
            `far` states, for each comes from inputs of its own.
        std: Standard deviation of the normal.

    Shapes: input (B, T, inputs), or symbols (B, T) int64; output (B, outputs), or (B, T, outputs) with
    `every_step`.
    """

    keep: Tensor
    share: Tensor

    def __init__(
        self, inputs: int, units: int, outputs: int, every_step: bool = False, act: str = "tanh",
        identity: bool = False, keep: float = 0.0, far: int = 0, near: bool = True, std: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value, holds, allowed in (
            ("act", act, act in ACTS, ", ".join(ACTS)),
            ("keep", keep, 0 <= keep < 1 and (act != "relu" or not keep),
             "from 0, below 1; 0 with ReLU"),
            ("far", far, far >= 0, "0 or more"),
        ):  # fmt: skip
            if not holds:
                raise ValueError(f"Plain has {name}={value!r}; allowed: {allowed}")
        self.inputs, self.every_step, self.relu, self.far = inputs, every_step, act == "relu", far
        start = torch.eye(units) if identity else std * torch.randn(units, units)
        self.within = nn.Parameter(start) if near else None
        self.back = nn.Parameter(std * torch.randn(units, units)) if far else None
        self.into, self.out = nn.Linear(inputs, units), nn.Linear(units, outputs)
        for layer in (self.into, self.out):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.register_buffer("keep", torch.tensor(float(keep)))
        self.register_buffer("share", torch.tensor(0.5 if act == "sigmoid" else 1.0))

    def states(self, x: Tensor) -> list[Tensor]:
        """(B, T, inputs) to T of (B, units), from zero."""
        driven = self.into(x)
        h = torch.zeros_like(driven[:, 0])
        found: list[Tensor] = []
        for t, now in enumerate(driven.unbind(1)):
            total = now
            if self.within is not None:
                total = total + functional.linear(h, self.within)
            if self.back is not None and t >= self.far:
                total = total + functional.linear(found[t - self.far], self.back)
            if self.relu:
                h = total.relu()
            else:  # a sigmoid is (1 + tanh(x / 2)) / 2
                value = 1 - self.share + self.share * torch.tanh(self.share * total)
                h = self.keep * h + (1 - self.keep) * value
            found.append(h)
        return found

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            x = (x.unsqueeze(2) == torch.arange(self.inputs, device=x.device)).float()
        h = self.states(x)
        last = h[-1] if self.within is not None else torch.stack(h[-max(1, self.far) :]).sum(0)
        out: Tensor = self.out(torch.stack(h, 1) if self.every_step else last)
        return out


def stretched(net: Plain, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """The loss with the penalty Ω of Pascanu et al. 2013, section 3.3: how far from 1 the ratio is by
    which a step back changes the norm of the gradient by what units sum up, squared, a mean over
    sequences and steps. Of it only the immediate derivative by R is taken, as there. For a `Loss`.

    Args:
        net: Of tanh units that keep nothing and have no further links.
        x, y: Sequences (B, T, inputs), and classes (B,) or numbers (B, outputs).
        weight: Of the penalty, ().
    """
    assert net.within is not None

    def lost(out: Tensor) -> Tensor:
        if y.is_floating_point():
            return (out - y).square().mean()
        return functional.cross_entropy(out, y)

    h = net.states(x)
    said = net.out(h[-1])
    first, *slopes = (1 - state.detach().square() for state in h[::-1])
    back: Tensor = grad(lost)(said.detach()) @ net.out.weight.detach() * first
    backs = []
    for slope in slopes:
        # a ratio has no size, and fifty factors of a half would leave float32
        backs.append(back / back.norm(dim=1, keepdim=True).clamp_min(1e-20))
        back = backs[-1] @ net.within.detach() * slope
    ratios = (torch.stack(backs) @ net.within * torch.stack(slopes)).norm(dim=2)  # (T - 1, B)
    total: Tensor = lost(said) + weight * (ratios - 1).square().mean()
    return total


def gated(
    inputs: int, units: int, outputs: int, every_step: bool = False, forget: float | None = None,
    longest: int = 0,
) -> nn.Module:  # fmt: skip
    """A GRU, or an LSTM without peepholes whose forget gate starts with a bias.

    Args:
        inputs, units, outputs, every_step: As of `Recurrent`.
        forget: The bias; None: a GRU.
        longest: Where given, of at least 2, the bias is ln u of each unit, u even in [1, longest - 1),
            and the input gate's is its negative (chrono; Tallec & Ollivier 2018, section 2).
    """
    kind = "GRU" if forget is None else "NP"
    net = Recurrent(kind, inputs, units, outputs, every_step=every_step)
    if forget is not None:
        biases: Any = net.cells[0].bias  # of input, forget, output gate, candidate
        with torch.no_grad():
            biases.zero_()
            biases[1] = forget
            if longest:
                biases[1] = (1 + (longest - 2) * torch.rand(units)).log()
                biases[0] = -biases[1]
    return net
