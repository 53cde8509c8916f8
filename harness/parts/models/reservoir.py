"""A reservoir of random units that are never trained, and what reads it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula

# All steps as one operation of torch's: code that is made of a network of thousands of steps is no
# longer than that of one, and nothing is kept of a step but its state.
NAME = "harness::reservoir"
_LIBRARY = torch.library.Library("harness", "FRAGMENT")  # type: ignore[no-untyped-call]


def _run(driven: Tensor, within: Tensor, leak: Tensor) -> Tensor:
    """States of K reservoirs, (K, B, T, H), from zero.

    Args:
        driven: What the input adds, (K, B, T, H).
        within: (K, H, H), from its rows to its columns.
        leak: (K,).
    """
    out = driven.new_empty(driven.shape[2], *driven.shape[:2], driven.shape[3])  # (T, K, B, H)
    h, share = driven.new_zeros(out.shape[1:]), leak.view(-1, 1, 1)
    for now, new in zip(driven.unbind(2), out.unbind(), strict=True):
        torch.baddbmm(now, h, within, out=new)
        new.tanh_()
        h = torch.lerp(h, new, share, out=new)
    return out.permute(1, 2, 0, 3).contiguous()


def _batched(info: Any, in_dims: tuple[int | None, ...], *given: Tensor) -> tuple[Tensor, int]:
    """More lanes."""
    size = info.batch_size
    laid = [
        one.expand(size, *one.shape) if dim is None else one.movedim(dim, 0)
        for one, dim in zip(given, in_dims, strict=True)
    ]
    out: Tensor = _reservoir(*(one.flatten(0, 1) for one in laid))
    return out.view(size, -1, *out.shape[1:]), 0


if not hasattr(torch.ops.harness, "reservoir"):  # once a process
    _SAYS = "reservoir(Tensor driven, Tensor within, Tensor leak) -> Tensor"
    _LIBRARY.define(_SAYS)  # type: ignore[no-untyped-call]
    _LIBRARY.impl("reservoir", _run, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_vmap(NAME, _batched, lib=_LIBRARY)

    @register_flop_formula(torch.ops.harness.reservoir)
    def _flops(driven: Any, within: Any, leak: Any, **_: Any) -> int:
        lanes, examples, steps, units = driven
        return int(2 * lanes * examples * steps * units**2)


_reservoir = torch.ops.harness.reservoir.default


SQUARED = 24  # times: the root of a power so high is within 1e-6 of its limit


def spectral_radius(matrix: Tensor) -> float:
    """The modulus of the largest eigenvalue of a matrix (n, n) float64, as the limit of
    ``|A^m|^(1/m)`` (Gelfand 1941), by squaring: in half the time that all eigenvalues take, or less
    where cores are busy."""
    log, share = 0.0, 1.0
    for _ in range(SQUARED):
        size = float(matrix.norm())
        if not 0 < size < math.inf:
            return size  # a power is zero, or no number
        log, matrix = log + share * math.log(size), matrix / size
        matrix, share = matrix @ matrix, share / 2
    return math.exp(log)


class EchoState(nn.Module):
    """An echo state network: units that are driven by the input and by each other through random
    weights that stay as they are, and a linear layer that reads them (Jaeger 2001; leaky: Jaeger et
    al. 2007)::

        h = (1 - leak) h⁻ + leak tanh(R h⁻ + W x + b)

    R is normal, and scaled so that its largest eigenvalue has the modulus `radius`; W and b are even
    in (-scale, scale). All of them are buffers, so that trials of different numbers share a pack; what
    is trained is `readout`, best at once (``Optimizer("ridge", l2=…)``, ``trains="readout.*"``).

    Args:
        inputs: Numbers read a step.
        units: Of the reservoir.
        outputs: Numbers put out.
        radius: Spectral radius of R, 0 or more.
        leak: How far a step moves a unit, in (0, 1].
        scale: Of the input's weights.
        density: The share of R's weights that are not zero, in (0, 1].
        washout: Steps at the beginning that are read without an output, while the state forgets where
            it began.
        every_step: Whether there is an output at every further step; otherwise there is one at the end.

    Shapes: input (B, T, inputs), or anything that flattens to (B, T inputs); output
    (B, T - washout, outputs), or (B, outputs) at the end.
    """

    into: Tensor
    bias: Tensor
    within: Tensor
    leak: Tensor

    def __init__(
        self, inputs: int, units: int, outputs: int, radius: float = 0.9, leak: float = 1.0,
        scale: float = 1.0, density: float = 1.0, washout: int = 0, every_step: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, value, holds, allowed in (
            ("radius", radius, radius >= 0, "0 or more"),
            ("leak", leak, 0 < leak <= 1, "above 0, up to 1"),
            ("density", density, 0 < density <= 1, "above 0, up to 1"),
            ("washout", washout, washout >= 0, "0 or more"),
        ):
            if not holds:
                raise ValueError(f"EchoState has {name}={value}; allowed: {allowed}")
        self.inputs, self.washout, self.every_step = inputs, washout, every_step
        random = torch.randn(units, units, dtype=torch.float64)
        random = torch.where(torch.rand(units, units) < density, random, 0.0)
        largest = spectral_radius(random)
        # transposed, as states lie in rows; without any circle there is nothing to scale
        within = random.mT * (radius / largest if largest else 1.0)
        self.register_buffer("within", within.float().contiguous())
        self.register_buffer("into", torch.empty(units, inputs).uniform_(-scale, scale))
        self.register_buffer("bias", torch.empty(units).uniform_(-scale, scale))
        self.register_buffer("leak", torch.tensor(float(leak)))
        self.readout = nn.Linear(units, outputs)

    @classmethod
    def alike(
        cls, inputs: int, units: int, outputs: int, radius: float = 0.9, leak: float = 1.0,
        scale: float = 1.0, density: float = 1.0, washout: int = 0, every_step: bool = True,
    ) -> tuple[Any, ...]:  # fmt: skip
        """What of its arguments makes its structure: the others are numbers."""
        return inputs, units, outputs, washout, every_step

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x), -1, self.inputs)  # (B, ...) -> (B, T, inputs)
        if x.shape[1] <= self.washout:
            raise ValueError(
                f"EchoState has washout={self.washout} and {x.shape[1]} steps; allowed: more steps"
            )
        states = self.states(x)[:, self.washout :]  # (B, T - washout, units)
        out: Tensor = self.readout(states if self.every_step else states[:, -1])
        return out

    def states(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, units), from zero."""
        driven = nn.functional.linear(x, self.into, self.bias)  # (B, T, units)
        if not (torch.is_grad_enabled() and driven.requires_grad):
            given = driven, self.within, self.leak
            states: Tensor = _reservoir(*(one.unsqueeze(0) for one in given)).squeeze(0)
            return states
        h, found = torch.zeros_like(driven[:, 0]), []  # something below is trained
        for now in driven.unbind(1):
            h = torch.lerp(h, torch.tanh(now + h @ self.within), self.leak)
            found.append(h)
        return torch.stack(found, 1)
