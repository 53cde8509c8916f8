"""Trials that are several networks, which vote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F

from harness.engine.outcome import Outcome
from harness.parts import keyed
from harness.parts.objectives import BinaryCrossEntropy, CrossEntropy, Objective

VOTES = ("mean", "majority")


@dataclass(frozen=True)
class Members:
    """One trial is several networks: each has a seed of its own, and they are scored by their vote.

    Args:
        count: How many.
        vote: "mean" of probabilities (of outputs, where they are not classes), or "majority" of
            classes; where as many say one as another, the mean decides.
        bag: Whether each has a bootstrap sample of the training split, as large as that (Breiman 1996).

    Scores of a trial, as ``valid_accuracy``, are those of the vote; ``valid_member_accuracy`` is the
    members' mean, and ``valid_disagreement``, of classes, the share of pairs of members that differ.
    All else that is measured is the members' mean.
    """

    count: int
    vote: str = "mean"
    bag: bool = False

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"Members.count is {self.count}; allowed: at least 2")
        if self.vote not in VOTES:
            raise ValueError(f"Members.vote is {self.vote!r}; allowed: {', '.join(VOTES)}")

    def seeds(self, seed: int) -> list[int]:
        """Of the members of a trial."""
        return [keyed.torch_seed(seed, "member") ^ member for member in range(self.count)]

    def scores(
        self, objective: Objective, outputs: Tensor, targets: Sequence[Tensor],
        own: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:  # fmt: skip
        """Of each lane the scores of its trial, (K M,).

        Args:
            objective: How outputs are scored.
            outputs: (K M, n, ...) of each member, those of a trial beside each other.
            targets: (n, ...) each.
            own: Scores (K M,) of each member by itself.
        """
        each = outputs.view(-1, self.count, *outputs.shape[1:])  # (K, M, n, ...)
        voted = torch.stack([self._voted(objective, one) for one in each])
        found = dict(vmap(lambda said: dict(objective.scores(said, *targets)))(voted))
        for name, value in own.items():
            found[f"member_{name}"] = value.view(-1, self.count).double().mean(1).float()
        if isinstance(objective, CrossEntropy):
            alike = torch.stack([_counts(one) for one in each])  # (K, n, C)
            pairs = self.count * (self.count - 1)
            found["disagreement"] = 1 - (alike * (alike - 1)).sum(2).div(pairs).mean(1)
        return {name: value.repeat_interleave(self.count) for name, value in found.items()}

    def _voted(self, objective: Objective, outputs: Tensor) -> Tensor:
        """One trial's outputs (M, n, ...) as one (n, ...)."""
        if isinstance(objective, CrossEntropy):
            mean = outputs.softmax(-1).mean(0)  # (n, C)
            if self.vote == "majority":  # shares of the vote, with the mean as one more
                return ((_counts(outputs) + mean) / (self.count + 1)).log()
            return mean.log()
        if isinstance(objective, BinaryCrossEntropy):
            return outputs.sigmoid().mean(0).logit()
        return outputs.mean(0)

    def together(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Outcomes of K trials from those of their members."""
        groups = [
            outcomes[start : start + self.count] for start in range(0, len(outcomes), self.count)
        ]
        return [_joined(group) for group in groups]


def _counts(outputs: Tensor) -> Tensor:
    """How many of the members say each class: (M, n, C) to (n, C)."""
    return F.one_hot(outputs.argmax(-1), outputs.shape[-1]).sum(0).to(outputs.dtype)


def _joined(group: Sequence[Outcome]) -> Outcome:
    """One trial: it has diverged where one of its members has, and ends with the first."""
    steps = min((one.steps for one in group), key=len)
    names = [name for name in group[0].metrics if all(name in one.metrics for one in group)]
    metrics = {}
    for name in names:
        columns = np.array([one.metrics[name][: len(steps)] for one in group])  # (M, records)
        alike = np.array_equal(columns, np.broadcast_to(columns[0], columns.shape), equal_nan=True)
        metrics[name] = (columns[0] if alike else columns.mean(0)).tolist()
    status = next((one.status for one in group if one.status != "finished"), "finished")
    return Outcome(status, steps, metrics, seconds=sum(one.seconds for one in group))
