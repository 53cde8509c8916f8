"""Read-only measurements of a pack while it trains. Layer 3.

A probe is a frozen value; `read(pack)` returns ``{metric: (K,) tensor}`` and is called at every
recorded step with the parameters as they are then. Probes never write to what they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from harness.packs import Moment


class Probe(Protocol):
    """What a probe is."""

    def read(self, pack: Moment) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Position:
    """The coordinates of a point on a surface: metrics ``x`` and ``y``."""

    def read(self, pack: Moment) -> dict[str, Tensor]:
        xy = pack.params["xy"]  # (K, 2)
        return {"x": xy[:, 0], "y": xy[:, 1]}


@dataclass(frozen=True)
class Gap:
    """log10 of how far the loss is above its least value: metric ``gap``, in decades.

    Args:
        floor: The least value.
        smallest: Gaps below this count as this; float32 knows no better.
    """

    floor: float
    smallest: float = 1e-10

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {"gap": (pack.loss - self.floor).clamp_min(self.smallest).log10()}


@dataclass(frozen=True)
class StepsTo:
    """The first step from which the training loss stays at or below `target`: infinity if never.

    Reported at the last step, from the loss of *every* step and not only the recorded ones.
    Passing through the target on the way elsewhere is no arrival, so it does not count.
    """

    target: float
    name: str = "steps_to_target"

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if not pack.last:
            return {}
        outside = ~(pack.losses <= self.target)  # (steps + 1, K); NaN is outside
        after_last = len(outside) - outside.flip(0).to(torch.uint8).argmax(0)  # the first maximum
        settled = torch.where(outside.any(0), after_last, 0).float()
        return {self.name: torch.where(outside[-1], torch.inf, settled)}


@dataclass(frozen=True)
class RecordTo:
    """The first recorded step at which a metric has reached a level: infinity where it never did.

    Reported at the last step.
    """

    metric: str
    level: float
    name: str

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if not pack.last:
            return {}
        first = torch.full_like(pack.loss, torch.inf)
        for step, metrics in reversed([*pack.recorded, (pack.step, pack.metrics)]):
            if self.metric in metrics:
                first = torch.where(metrics[self.metric] >= self.level, float(step), first)
        return {self.name: first}


@dataclass(frozen=True)
class EffectiveRate:
    """What multiplies the gradient (averaged with weights |g|), relative to the first step's:
    metric ``rate_kept``. It is 1 for plain descent and falls as AdaGrad's denominator grows
    (Overview, "AdaGrad Optimizer (2)")."""

    name: str = "rate_kept"

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if pack.first_rate is None:  # nothing has been updated yet
            return {}
        return {self.name: pack.rate() / pack.first_rate}
