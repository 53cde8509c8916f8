"""How far a linear recurrent network's loss is from the likelihood of a state-space model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.parts.models.state_space import drawn, exact_nats, network_nats
from harness.parts.probes.moment import Moment


@dataclass(frozen=True)
class Likelihood:
    """Of 2,000 series of `drawn`, the same for all: by how much at most the network's loss is off
    their exact negative log-likelihood (``apart``, nats); and by how much in the mean the loss
    (``excess``) and SNU's product of integrals over one transition (``product``) are above it, in
    nats a step. States before that transition are the network's.

    Args:
        noise: That of what is drawn.
        steps: Of a series.
    """

    noise: float
    steps: int
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        normals = np.random.default_rng(0).standard_normal((2000, self.steps, 2))
        x, lanes = drawn(torch.from_numpy(normals), self.noise), []
        exact = exact_nats(x, self.noise)  # (n,) float64
        numbers = (pack.params[n].double().cpu() for n in ("decay", "drive", "log_variance"))
        for decay, drive, log in zip(*numbers, strict=True):
            loss = network_nats(x, decay, drive, log.exp())
            product = network_nats(x, decay, drive, log.exp() + self.noise**2)
            means = ((one - exact).mean() / self.steps for one in (loss, product))
            lanes.append(torch.stack([(loss - exact).abs().max(), *means]))
        found = torch.stack(lanes, 1).float().to(pack.loss.device)  # (3, K)
        return dict(zip(("apart", "excess", "product"), found, strict=True))
