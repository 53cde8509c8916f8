"""What training minimises and how a model is scored. Layer 2.

An objective is a frozen value with `loss(output, target) -> scalar`, used for gradients, and
`scores(output, target) -> {name: scalar}`, used on whole splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """Mean negative log-likelihood of a softmax (ECNU, "Output layers and loss functions")."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, classes) logits, target (B,) int64. Returns: scalar, nats."""
        chosen = output.gather(-1, target.unsqueeze(-1)).squeeze(-1)  # (B, C) -> (B,)
        return (torch.logsumexp(output, -1) - chosen).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = output.argmax(-1) == target
        return {"loss": self.loss(output, target), "accuracy": hits.float().mean()}


@dataclass(frozen=True)
class Output:
    """The model's output is itself the loss (a point on a surface); there are no data."""

    def loss(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        return output

    def scores(self, output: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        return {"loss": output}


Objective = CrossEntropy | Output
