"""A reservoir of random units that are never trained, and what reads it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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
        largest = torch.linalg.eigvals(random).abs().max()
        # transposed, as states lie in rows; a reservoir without any circle stays at zero
        within = random.mT * torch.where(largest > 0, radius / largest, 0.0)
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
        states = self.states(x)  # T of (B, units)
        if len(states) <= self.washout:
            raise ValueError(
                f"EchoState has washout={self.washout} and {len(states)} steps; allowed: more steps"
            )
        out: Tensor = self.readout(
            torch.stack(states[self.washout :], 1) if self.every_step else states[-1]
        )
        return out

    def states(self, x: Tensor) -> list[Tensor]:
        """(B, T, inputs) to T of (B, units), from zero."""
        driven = nn.functional.linear(x, self.into, self.bias)  # (B, T, units)
        h = torch.zeros_like(driven[:, 0])
        found = []
        for now in driven.unbind(1):
            h = torch.lerp(h, torch.tanh(now + h @ self.within), self.leak)
            found.append(h)
        return found
