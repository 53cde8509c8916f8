"""What training minimises and how a model is scored.

An objective is a frozen value with `loss(output, target) -> scalar`, used for gradients, and
`scores(output, target) -> {name: scalar}`, used on whole splits. `numbers` names those of its
fields that may differ between trials of a pack.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """Mean negative log-likelihood of a softmax (ECNU, "Output layers and loss functions").

    Args:
        label_smoothing: The share of the target's probability that is spread evenly over all
            classes in training (Szegedy et al. 2016); scores are without it.
    """

    label_smoothing: float | Tensor = 0.0
    numbers: ClassVar[tuple[str, ...]] = ("label_smoothing",)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, classes) logits, target (B,) int64. Returns: scalar, nats."""
        # over classes that lie apart: a softmax of ten side by side fills no vector register
        logs = output.mT.log_softmax(-2)  # (B, C) -> (C, B)
        chosen = logs.gather(-2, target.unsqueeze(-2)).squeeze(-2)  # (C, B) -> (B,)
        if isinstance(self.label_smoothing, float) and self.label_smoothing == 0:
            return -chosen.mean()
        spread = logs.mean(-2) * self.label_smoothing
        return -(chosen * (1 - self.label_smoothing) + spread).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = output.max(-1).indices == target  # argmax is slow where classes lie apart
        return {"loss": CrossEntropy().loss(output, target), "accuracy": hits.float().mean()}


@dataclass(frozen=True)
class Bernoulli:
    """Negative log-likelihood of independent zeros and ones at every step of a sequence, summed
    over them: what models of polyphonic music minimise (Boulanger-Lewandowski et al. 2012).

    The last column of a target is its step's weight: zero beyond the end of the sequence, and
    inside n / (steps of all n sequences together).
    """

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean over sequences of the mean over each one's steps.

        Args: output (B, T, N) logits, target (B, T, N + 1). Returns: scalar, nats a step.
        """
        inside = (target[..., -1] > 0).to(output.dtype)  # (B, T)
        return ((self._steps(output, target) * inside).sum(1) / inside.sum(1)).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The loss, and as `frame_loss` the mean over all steps of the split: a long sequence
        counts for more. Published figures are such means (code of Bai et al. 2018)."""
        frames = (self._steps(output, target) * target[..., -1]).sum(1).mean()
        return {"loss": self.loss(output, target), "frame_loss": frames}

    @staticmethod
    def _steps(output: Tensor, target: Tensor) -> Tensor:
        """(B, T): log(1 + exp(a)) - a y, summed over N, in a form that does not overflow."""
        softplus = output.clamp_min(0) + (-output.abs()).exp().log1p()
        return (softplus - output * target[..., :-1]).sum(-1)


@dataclass(frozen=True)
class Output:
    """The model's output is itself the loss (a point on a surface); there are no data."""

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        return output

    def scores(self, output: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        return {"loss": output}


Objective = CrossEntropy | Bernoulli | Output


def having(objective: Objective, numbers: Mapping[str, Any]) -> Objective:
    """The same objective with other values of its `numbers`, floats or a trial's tensors."""
    return dataclasses.replace(cast(Any, objective), **numbers)  # type: ignore[no-any-return]
