"""How far a trial has come: levels, records, rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from harness.parts.probes.moment import Moment, Probe
from harness.study import of_test


@dataclass(frozen=True)
class Position:
    """The coordinates of a point on a surface: metrics ``x`` and ``y``."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        xy = pack.params["xy"]  # (K, 2)
        return {"x": xy[:, 0], "y": xy[:, 1]}


@dataclass(frozen=True)
class Kept:
    """Numbers that the model keeps in buffers of its own, () each: metrics of the same names.

    Args:
        names: The buffers.
    """

    names: tuple[str, ...]
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {name: pack.buffers[name] for name in self.names}


@dataclass(frozen=True)
class Gap:
    """log10 of how far the loss is above its least value: metric ``gap``, in decades.

    Args:
        floor: The least value.
        smallest: Gaps below this count as this; float32 knows no better.
    """

    floor: float
    smallest: float = 1e-10
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {"gap": (pack.loss - self.floor).clamp_min(self.smallest).log10()}


@dataclass(frozen=True)
class StepsTo:
    """The first step from which the training loss stays at or below `target`: infinity if never.

    Reported at the end, from the loss of *every* step and not only the recorded ones. Passing
    through the target on the way elsewhere is no arrival, so it does not count.
    """

    target: float
    name: str = "steps_to_target"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        outside = ~(pack.losses <= self.target)  # (steps + 1, K); NaN is outside
        after_last = len(outside) - outside.flip(0).to(torch.uint8).argmax(0)  # the first maximum
        settled = torch.where(outside.any(0), after_last, 0).float()
        return {self.name: torch.where(outside[-1], torch.inf, settled)}


@dataclass(frozen=True)
class RecordTo:
    """The first recorded step at which a metric has reached a level: infinity where it never did.

    Reported at the end.

    Args:
        metric, level: What has to reach what.
        name: The metric to report.
        per: Steps that count as one: an epoch's, for a number of epochs.
    """

    metric: str
    level: float
    name: str
    per: float = 1.0
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        first = torch.full_like(pack.loss, torch.inf)
        for step, metrics in reversed([*pack.recorded, (pack.step, pack.metrics)]):
            if self.metric in metrics:
                reached = metrics[self.metric] >= self.level
                first = torch.where(reached, step / self.per, first)
        return {self.name: first}


@dataclass(frozen=True)
class Best:
    """Other metrics at the recorded step where one was best: ``best_test_loss`` is the test loss
    where the validation loss was lowest. Reported at the end.

    Args:
        by: The metric that chooses; never one of the test split.
        take: The metrics to report, those of the test split where it is not sealed; ``best_step``
            is reported too.
        better: Which direction of `by` is better.
    """

    by: str = "valid_loss"
    take: tuple[str, ...] = ("valid_loss", "test_loss")
    better: str = "low"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        rows = [*pack.recorded, (pack.step, pack.metrics)]
        sign = -1 if self.better == "high" else 1
        score = torch.stack([row[self.by] * sign for _, row in rows])  # (records, K)
        best = score.nan_to_num(torch.inf, torch.inf, -torch.inf).argmin(0, keepdim=True)  # (1, K)
        steps = torch.tensor([float(step) for step, _ in rows], device=score.device)
        found = {"best_step": steps[best[0]]}
        for name in self.take:
            if pack.sealed and of_test(name):
                continue
            column = torch.stack([row[name] for _, row in rows])  # (records, K)
            found[f"best_{name}"] = column.gather(0, best)[0]
        return found


@dataclass(frozen=True)
class EffectiveRate:
    """What multiplies the gradient (averaged with weights |g|), relative to the first step's:
    metric ``rate_kept``. It is 1 for plain descent and falls as AdaGrad's denominator grows
    (Overview, "AdaGrad Optimizer (2)")."""

    name: str = "rate_kept"
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if pack.first_rate is None:  # nothing has been updated yet
            return {}
        return {self.name: pack.rate() / pack.first_rate}


@dataclass(frozen=True)
class Every:
    """Another probe at every n-th recorded row only, from the first on: what costs a pass of its
    own through the network is seldom worth one at each."""

    records: int
    probe: Probe
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {} if len(pack.recorded) % self.records else self.probe.read(pack)
