"""Early stopping of the trials of a pack, each by itself."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from harness.engine.flat import Flat
from harness.engine.lanes import Lanes
from harness.engine.training import Training


class Stopping:
    """Notices when trials have waited long enough, and puts them back to their best.

    Args:
        trainings: Of K trials.
        each: Holds `end`, the last step of each, and what has been seen so far.
        flats: The trials' parameters.
        passing: Names among the buffers of what belongs to an update and not to a trial.
        updates: Of all stages.
        device: Where these are.
    """

    def __init__(
        self, trainings: Sequence[Training], each: Lanes, flats: Sequence[Flat],
        passing: Collection[str], updates: int, device: str,
    ) -> None:  # fmt: skip
        self.one, self.each, self.flats, self.passing = trainings[0], each, flats, passing
        size = len(trainings)
        each.patience = torch.tensor(
            [t.stop.patience if t.stop else math.inf for t in trainings], device=device
        )
        each.best = torch.full((size,), math.inf, device=device)
        each.waited = torch.zeros(size, device=device)
        each.end = torch.full((size,), updates, device=device)
        # what each trial goes back to where it ends, if it does: (K, P) each, and buffers (K, ...)
        each.kept, each.kept_buffers = None, {}

    def look(self, step: int, metrics: Mapping[str, Tensor]) -> None:
        """Move `end` to this step for trials that have waited long enough.

        Raises:
            ValueError: nothing is measured by the name of the metric.
        """
        stop, each = self.one.stop, self.each
        if stop is None:
            return
        if stop.metric not in metrics:
            raise ValueError(
                f"Stop.metric is {stop.metric!r}; allowed: {', '.join(sorted(metrics))}"
            )
        value = metrics[stop.metric] * (-1 if stop.better == "high" else 1)
        improved = value < each.best
        each.best = torch.where(improved, value, each.best)
        each.waited = torch.where(improved, 0, each.waited + 1)
        ends = (each.waited >= each.patience) & (each.end > step)
        each.end = torch.where(ends, step, each.end)
        if stop.restore:
            self._keep(improved)
            self._restore(each.end == step)

    def _keep(self, improved: Tensor) -> None:
        """Remember the parameters and running statistics of the trials that are at their best."""
        each = self.each
        if each.kept is None:
            each.kept = tuple(flat.all.clone() for flat in self.flats)
            each.kept_buffers = {
                name: b.clone() for name, b in each.buffers.items() if name not in self.passing
            }
            return
        each.kept = tuple(
            torch.where(improved.unsqueeze(1), flat.all, before)
            for flat, before in zip(self.flats, each.kept, strict=True)
        )
        for name, before in each.kept_buffers.items():
            each.kept_buffers[name] = torch.where(
                _like(improved, before), each.buffers[name], before
            )

    def _restore(self, ending: Tensor) -> None:
        """Put the ending trials back to their best; nothing that they do later counts."""
        each = self.each
        for flat, best in zip(self.flats, each.kept, strict=True):
            flat.all.copy_(torch.where(ending.unsqueeze(1), best, flat.all))
        for name, best in each.kept_buffers.items():
            each.buffers[name].copy_(torch.where(_like(ending, best), best, each.buffers[name]))


def _like(lanes: Tensor, values: Tensor) -> Tensor:
    """(K,) beside (K, ...)."""
    return lanes.view(-1, *(1,) * (values.dim() - 1))
