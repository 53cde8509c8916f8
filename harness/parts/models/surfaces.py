"""Two-dimensional test functions for optimizers.

Each has the start, bounds and minimum that public galleries of test functions use, so that our
trajectories can be laid beside theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

TWO_PI = 2 * math.pi


@dataclass(frozen=True)
class Surface:
    """A function of the plane and how descent on it is judged.

    Args:
        fn: ``(x, y) -> z``, elementwise on tensors of any shape.
        start: Where descent begins.
        jitter: Standard deviation of the start's jitter, (x, y).
        bounds: (x low, x high, y low, y high) of the plotted window.
        minima: Points with the least value; empty where there is none (a saddle).
        floor: The least value, or for a saddle the value of its flat point.
        target: Descent has arrived when fn falls to ``floor + target``.
        source: Where function, start and bounds come from.
    """

    fn: Callable[[Tensor, Tensor], Tensor]
    start: tuple[float, float]
    jitter: tuple[float, float]
    bounds: tuple[float, float, float, float]
    minima: tuple[tuple[float, float], ...]
    floor: float
    target: float
    source: str


def _beale(x: Tensor, y: Tensor) -> Tensor:
    y2 = y * y
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y2) ** 2 + (2.625 - x + x * y2 * y) ** 2


def _rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


def _valley(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (0.02 * x * x + 2.0 * y * y)  # eigenvalues 0.02 and 2: condition number 100


def _square(u: Tensor, reach: float = 10.0) -> Tensor:
    """u^2, continued linearly where |u| > reach, so that what runs away does not overflow."""
    size = u.abs()
    return torch.where(size <= reach, u * u, 2 * reach * size - reach * reach)


def _saddle(x: Tensor, y: Tensor) -> Tensor:
    # Unbounded x^2 - y^2 would overflow after a fast escape, and count it as a divergence.
    return _square(x) - _square(y)


def _himmelblau(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def _rastrigin(x: Tensor, y: Tensor) -> Tensor:
    wave = torch.cos(TWO_PI * x) + torch.cos(TWO_PI * y)
    return 20 + x * x + y * y - 10 * wave


SURFACES: dict[str, Surface] = {
    "beale": Surface(
        _beale, (2.0, 1.7), (0.05, 0.05), (-4.5, 4.5, -4.5, 4.5), ((3.0, 0.5),), 0.0, 1e-3,
        "Beale 1958; start (2, 1.7)",
    ),
    "rosenbrock": Surface(
        _rosenbrock, (-2.0, 2.0), (0.05, 0.05), (-2.5, 2.0, -1.0, 3.0), ((1.0, 1.0),), 0.0, 1e-2,
        "Rosenbrock 1960; start (-2, 2)",
    ),
    "valley": Surface(
        _valley, (-10.0, 1.0), (0.5, 0.05), (-11.0, 3.0, -2.0, 2.0), ((0.0, 0.0),), 0.0, 1e-3,
        "quadratic with condition number 100 (Polyak 1964)",
    ),
    "saddle": Surface(
        _saddle, (-1.0, 1e-3), (0.05, 2e-4), (-1.5, 1.5, -1.5, 1.5), (), 0.0, -1.0,
        "x^2 - y^2, linear beyond 10; started 0.001 off the ridge; escaped at f <= -1",
    ),
    "himmelblau": Surface(
        _himmelblau, (0.0, -4.5), (0.05, 0.05), (-5.0, 5.0, -5.0, 5.0),
        ((3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)),
        0.0, 1e-3, "Himmelblau 1972",
    ),
    "rastrigin": Surface(
        _rastrigin, (-2.0, 3.5), (0.05, 0.05), (-4.5, 4.5, -4.5, 4.5), ((0.0, 0.0),), 0.0, 1e-2,
        "Rastrigin 1974; start (-2, 3.5)",
    ),
}  # fmt: skip


class Descent(nn.Module):
    """A point on a surface: two parameters whose forward pass is the surface's value.

    Shapes: parameter ``xy`` (2,); output a scalar.
    """

    def __init__(self, surface: str) -> None:
        super().__init__()
        if surface not in SURFACES:
            raise ValueError(f"surface is {surface!r}; allowed: {', '.join(SURFACES)}")
        self.surface = SURFACES[surface]
        noise = torch.randn(2) * torch.tensor(self.surface.jitter)
        self.xy = nn.Parameter(torch.tensor(self.surface.start) + noise)

    def forward(self) -> Tensor:
        x, y = self.xy.unbind()
        return self.surface.fn(x, y)
