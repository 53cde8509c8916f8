"""A linear recurrent network beside the state-space model that it stands for (SNU, "RNNs as
state-space models")."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.parts.draws import normal

DECAY, DRIVE = 0.75, -0.25  # of the model that series are drawn from; its outputs have variance 1


class Series(nn.Module):
    """() loss of a recurrent network with Gaussian outputs on series that are drawn anew: x^(t) is
    normal around h^(t-1) with variance s, and h^(t) = a h^(t-1) + b x^(t), from h^(0) = 0. The loss
    is the mean over series and steps of the negative log-likelihood. It begins at the truth.

    Args:
        noise: The standard deviation of h^(0) and of the transitions of what is drawn, which the
            network does not have.
        steps, batch: Of a series; series that are drawn.
    """

    noise: Tensor

    def __init__(self, noise: float, steps: int, batch: int) -> None:
        super().__init__()
        self.steps, self.batch = steps, batch
        self.register_buffer("noise", torch.tensor(noise))
        self.decay = nn.Parameter(torch.tensor(DECAY))
        self.drive = nn.Parameter(torch.tensor(DRIVE))
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self) -> Tensor:
        x = drawn(normal(self.batch, self.steps, 2), self.noise)
        return network_nats(x, self.decay, self.drive, self.log_variance.exp()).mean() / self.steps


def drawn(normals: Tensor, noise: Tensor | float) -> Tensor:
    """Series (n, T) of the model with noise in its transitions, of standard normals (n, T, 2)."""
    outer, inner = normals.unbind(2)
    h, series = noise * inner[:, 0], []
    for t in range(normals.shape[1]):
        series.append(h + outer[:, t])
        if t + 1 < normals.shape[1]:
            h = DECAY * h + DRIVE * series[-1] + noise * inner[:, t + 1]
    return torch.stack(series, 1)


def network_nats(x: Tensor, decay: Tensor, drive: Tensor, variance: Tensor | float) -> Tensor:
    """(n,) the network's loss on each series (n, T), summed over its steps."""
    h, squares = torch.zeros_like(x[:, 0]), []
    for now in x.unbind(1):
        squares.append((now - h).square())
        h = decay * h + drive * now
    size = torch.as_tensor(variance, dtype=x.dtype)
    return (torch.stack(squares, 1) / size + (2 * math.pi * size).log()).sum(1) / 2


def exact_nats(x: Tensor, noise: float) -> Tensor:
    """(n,) the negative logarithm of the joint density of each series (n, T) under the model: a normal
    distribution whose covariance is that of what is drawn of each standard normal by itself."""
    steps = x.shape[1]
    basis = torch.eye(2 * steps, dtype=x.dtype).view(2 * steps, steps, 2)
    root = drawn(basis, noise)  # (2 T, T)
    likely = torch.distributions.MultivariateNormal(torch.zeros_like(x[0]), root.mT @ root)
    found: Tensor = -likely.log_prob(x)  # type: ignore[no-untyped-call]
    return found
