"""Models: ordinary `nn.Module`s, trained alone or fused without knowing it. Layer 2.

Anything built of linear, convolution, normalisation, embedding, activation and recurrent cells in
plain tensor operations will do; study files may define their own beside their `trial`.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from harness.surfaces import Descent

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "softplus": nn.Softplus,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class MLP(nn.Module):
    """A feed-forward network with one activation between layers (ECNU, "Simple Feedforward
    Network").

    Args:
        widths: Units of input, hidden and output layers, e.g. (64, 64, 64, 10).
        activation: A key of `ACTIVATIONS`.

    Shapes: input (B, widths[0]) or anything that flattens to it; output (B, widths[-1]) logits.
    """

    def __init__(self, widths: tuple[int, ...], activation: str = "relu") -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(1))  # (B, ...) -> (B, features)
        return out


__all__ = ["ACTIVATIONS", "MLP", "Descent"]
