"""Restricted Boltzmann machines, trained by contrastive divergence (Hinton 2002)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.parts.draws import uniform


class RBM(nn.Module):
    """Binary visible and hidden units v, h of energy ``-b v - c h - h W v``, and no connections
    within either.

    Args:
        visible, hidden: How many.
        std: Standard deviation of the normal that weights are drawn from; biases are 0.

    Shapes: visible (B, V), hidden (B, H). As a layer, it maps visible units to the expected hidden
    ones.
    """

    def __init__(self, visible: int, hidden: int, std: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden, visible) * std)
        self.b, self.c = nn.Parameter(torch.zeros(visible)), nn.Parameter(torch.zeros(hidden))

    def forward(self, v: Tensor) -> Tensor:
        """The expected hidden units, which given v are independent: σ(W v + c)."""
        return F.linear(v, self.weight, self.c).sigmoid()

    def down(self, h: Tensor) -> Tensor:
        """The expected visible units given hidden ones: σ(Wᵀ h + b)."""
        return F.linear(h, self.weight.t(), self.b).sigmoid()

    def free(self, v: Tensor) -> Tensor:
        """The free energy -log Σ_h exp(-energy) of visible units, (B,): p(v) is proportional to
        exp(-free)."""
        return -(v * self.b).sum(-1) - F.softplus(F.linear(v, self.weight, self.c)).sum(-1)

    def log_partition(self) -> Tensor:
        """The log of what makes probabilities of exp(-energy), (), summed over all states: 2 to the
        number of visible units, or of hidden ones where there are fewer."""
        if len(self.b) <= len(self.c):
            return (-self.free(states(len(self.b), self.b.device))).logsumexp(0)
        h = states(len(self.c), self.c.device)
        return (h @ self.c + F.softplus(F.linear(h, self.weight.t(), self.b)).sum(-1)).logsumexp(0)


def states(units: int, device: torch.device | None = None) -> Tensor:
    """All states of some binary units, (2^units, units), counted upwards."""
    places = torch.arange(units - 1, -1, -1, device=device)
    return (torch.arange(2**units, device=device).unsqueeze(1) >> places & 1).float()


def divergence(rbm: RBM, v: Tensor, steps: int = 1) -> Tensor:
    """A scalar whose gradient is that of contrastive divergence: the free energy of the data less
    that of what a Gibbs chain that starts at them draws (CD-k; Hinton 2010, section 2).

    By the weights it is ``E[σ(W v + c) vᵀ]`` of what was drawn, less that of the data.

    Args:
        rbm: The machine.
        v: Data (B, V) in [0, 1].
        steps: k. Hidden units are drawn, and so are visible ones but for the last, which are their
            expectations (Hinton 2010, section 3).
    """
    seen = v
    with torch.no_grad():
        for step in range(steps):
            hidden = (uniform(len(v), len(rbm.c)) < rbm(seen)).float()
            seen = rbm.down(hidden)
            if step + 1 < steps:
                seen = (uniform(*seen.shape) < seen).float()
    return (rbm.free(v) - rbm.free(seen.detach())).mean()
