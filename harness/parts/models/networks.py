"""Models: ordinary `nn.Module`s, trained alone or fused without knowing it.

Anything built of linear, convolution, normalisation, embedding, activation and recurrent cells in
plain tensor operations will do; study files may define their own beside their `trial`.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from harness.parts.models.surfaces import Descent


class SigmoidTanh(nn.Sigmoid):
    """2σ(2x) - 1, which is tanh(x) (ECNU, "Nonlinear activation functions")."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * torch.sigmoid(2 * x) - 1


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
    "sigmoid_tanh": SigmoidTanh,
}
INITS = ("default", "standard", "xavier", "he")
WIRINGS = ("plain", "residual", "batchnorm")


def initialise(linear: nn.Linear, init: str, gain: float = 1.0) -> None:
    """Draw a layer's weights anew, in place, from torch's default generator.

    Args:
        linear: With n_in inputs and n_out outputs.
        init: "default": torch's own, U[±1/√n_in] for weights and biases alike; with biases of zero
            "standard", U[±1/√n_in] (the heuristic of Glorot & Bengio 2010, eq. 1); "xavier",
            U[±√6/√(n_in + n_out)] (their eq. 16); "he", N(0, 2/n_in) (He et al. 2015, eq. 10).
        gain: What the weights are multiplied by afterwards.

    Raises:
        ValueError: no such initialisation.
    """
    if init not in INITS:
        raise ValueError(f"init is {init!r}; allowed: {', '.join(INITS)}")
    weight = linear.weight
    if init == "standard":
        nn.init.uniform_(weight, -(linear.in_features**-0.5), linear.in_features**-0.5)
    elif init == "xavier":
        nn.init.xavier_uniform_(weight)
    elif init == "he":
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
    with torch.no_grad():
        weight.mul_(gain)
        if init != "default":
            linear.bias.zero_()


class Skip(nn.Sequential):
    """z + f(z), where f is the modules in a row (He et al. 2016, "Identity mappings in deep
    residual networks"; ECNU, "Residual networks"). Shapes: (B, width) to (B, width)."""

    def forward(self, z: Tensor) -> Tensor:
        out = z
        for module in self:
            out = module(out)
        return z + out


class MLP(nn.Module):
    """A feed-forward network with one activation between layers (ECNU, "Simple Feedforward
    Network").

    Args:
        widths: Units of input, hidden and output layers, e.g. (64, 64, 64, 10).
        activation: A key of `ACTIVATIONS`.
        init: How weights are drawn, one of `INITS`; see `initialise`.
        gain: What the drawn weights are multiplied by.
        wiring: One of `WIRINGS`. From a hidden layer's pre-activations z to the next's, "plain" is
            W g(z) + b; "residual" adds z where the widths agree, which keeps the number of layers
            and parameters; "batchnorm" normalises every hidden layer's pre-activations over the
            batch (Ioffe & Szegedy 2015; ECNU, "Batch normalization").

    Shapes: input (B, widths[0]) or anything that flattens to it; output (B, widths[-1]) logits.

    Raises:
        ValueError: no such activation, initialisation or wiring.
    """

    def __init__(
        self, widths: tuple[int, ...], activation: str = "relu", init: str = "default",
        gain: float = 1.0, wiring: str = "plain",
    ) -> None:  # fmt: skip
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; allowed: {', '.join(ACTIVATIONS)}")
        if wiring not in WIRINGS:
            raise ValueError(f"wiring is {wiring!r}; allowed: {', '.join(WIRINGS)}")
        layers: list[nn.Module] = []
        last = len(widths) - 2
        for number, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            linear = nn.Linear(n_in, n_out)
            initialise(linear, init, gain)
            step: list[nn.Module] = [ACTIVATIONS[activation](), linear] if number else [linear]
            if wiring == "batchnorm" and number < last:
                step.append(nn.BatchNorm1d(n_out))
            inside = 0 < number < last and n_in == n_out
            layers += [Skip(*step)] if wiring == "residual" and inside else step
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(1))  # (B, ...) -> (B, features)
        return out


__all__ = ["ACTIVATIONS", "INITS", "MLP", "WIRINGS", "Descent", "SigmoidTanh", "Skip", "initialise"]
