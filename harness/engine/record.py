"""What is measured of a pack, and what becomes of it: rows and outcomes."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.engine.buckets import cut, scored_batches
from harness.engine.flat import Flat
from harness.engine.lanes import Lanes
from harness.engine.losses import Losses
from harness.engine.outcome import Outcome
from harness.engine.program import Computation
from harness.engine.stepper import Stepper
from harness.engine.stopping import Stopping
from harness.engine.training import Training
from harness.parts.data import Sealed, Splits
from harness.parts.probes import Moment, Probe
from harness.parts.probes.moment import EVAL_ROWS, SealedMetrics

LOSSES = ("train_loss", "valid_loss", "test_loss")


@dataclass
class Record:
    """One row a trial at every recorded step: losses, scores of the splits, probes.

    Args:
        one: What all trials of the pack have in common.
        each: Holds what has been `recorded`, by step, and everything that is shown to probes.
        losses: Of every update so far.
        params, stepper, program: What is measured.
        stopping: Is shown every row.
        splits: On what is measured; None without data.
        device: Where all of this is.
    """

    one: Training
    each: Lanes
    losses: Losses
    params: Flat
    stepper: Stepper
    program: Computation
    stopping: Stopping
    splits: Splits | None
    device: str
    done: dict[int, Outcome] = field(default_factory=dict)  # of lanes that have been left out

    def __post_init__(self) -> None:
        self.each.recorded = {}

    @functools.cached_property
    def _scored(self) -> dict[str, list[tuple[slice | Tensor, int | None]]]:
        """What is scored together, of each split."""
        # the same for every pack: sums over other batches would differ in their last bits
        most = EVAL_ROWS[self.device.split(":")[0] if self.program.fused else "alone"]
        return {
            split: scored_batches(getattr(self.splits, split)[0], most)
            for split in (("valid",) if self.one.sealed else ("valid", "test"))
        }

    def take(self, step: int) -> None:
        """Measure all trials as they are before this update."""
        each, loss = self.each, self.losses.all[step]
        if self.splits is None:
            metrics = {"loss": loss}
        else:
            metrics = {"train_loss": self._recent_loss(step)} | self._scores()
        self.stopping.look(step, metrics)
        ending = each.end == step
        if each.kept is not None and bool(ending.any()):
            metrics |= self._scores()  # of what they have gone back to
        recorded = [*each.recorded.items()]
        if self.one.sealed:
            metrics = SealedMetrics(metrics)
            recorded = [(at, SealedMetrics(row)) for at, row in recorded]
        moment = Moment(
            step=step,
            params=self.params.views,
            buffers=each.buffers,
            grads=self.stepper.parts,
            loss=loss,
            losses=self.losses.all[: step + 1],
            metrics=metrics,
            recorded=recorded,
            first_rate=each.first_rate,
            rate=self.stepper.mean_rate,
            program=self.program,
            masks={} if self.stepper.mask is None else self.params.cut(self.stepper.mask),
            splits=self.splits,
            subset=each.subset,
        )
        for probe in self.one.probes:
            if not probe.at_end:
                metrics |= self._read(probe, moment)
            elif bool(ending.any()):
                found = self._read(probe, moment)
                metrics |= {n: torch.where(ending, v, torch.nan) for n, v in found.items()}
        each.recorded[step] = {name: value.detach().clone() for name, value in metrics.items()}

    @staticmethod
    def _read(probe: Probe, moment: Moment) -> dict[str, Tensor]:
        """What a probe measures: nothing, where it asks for the test split and that is sealed."""
        try:
            return probe.read(moment)
        except Sealed:
            return {}

    def _recent_loss(self, step: int) -> Tensor:
        """Mean training loss of the batches since the last row (before the first: of that batch)."""
        since = next(reversed(self.each.recorded), 0)
        return self.losses.mean(since, max(step, since + 1))

    def _scores(self) -> dict[str, Tensor]:
        """Loss and accuracy of every trial on whole splits, in evaluation mode."""
        totals: dict[str, Tensor] = {}
        for split, pieces in self._scored.items():
            whole = getattr(self.splits, split)
            for rows, steps in pieces:
                batch = tuple(cut(part, steps)[rows] for part in whole)
                part = self.program.score(self.params.views, self.each.buffers, batch)
                for metric, value in part.items():
                    name, share = f"{split}_{metric}", value * (len(batch[0]) / len(whole[0]))
                    totals[name] = totals[name] + share if name in totals else share
        return totals

    def leave(self, staying: set[int]) -> None:
        """Take down the outcomes of all lanes but these."""
        for lane, outcome in enumerate(self._of_lanes()):
            if lane not in staying:
                self.done[self.each.lanes[lane]] = outcome

    def state(self) -> dict[int, Any]:
        """What has been taken down of lanes that were left out; rows so far are among `each`."""
        return {lane: dataclasses.asdict(outcome) for lane, outcome in self.done.items()}

    def restore(self, state: Mapping[int, Any]) -> None:
        """Have taken down what another had."""
        self.done = {lane: Outcome(**outcome) for lane, outcome in state.items()}

    def outcomes(self) -> list[Outcome]:
        """Rows and status of every trial, on the host, in the order they came in."""
        found = dict(zip(self.each.lanes, self._of_lanes(), strict=True))
        return [outcome for _, outcome in sorted({**found, **self.done}.items())]

    def _of_lanes(self) -> list[Outcome]:
        losses = self.losses.all.cpu().numpy()  # (updates + 1, K)
        end = self.each.end.cpu().numpy()  # (K,)
        inside = np.arange(len(losses))[:, None] <= end
        reached = next(reversed(self.each.recorded), 0)
        bad = ~np.isfinite(losses) & inside & (np.arange(len(losses))[:, None] <= reached)
        first_bad = np.where(bad.any(0), bad.argmax(0), math.inf)  # (K,)
        steps = np.array([*self.each.recorded])
        columns = self._columns()  # each (records, K)
        outcomes = []
        for lane, worst in enumerate(first_bad):
            # what follows an end says nothing
            rows = min(int(np.searchsorted(steps, min(worst, end[lane]))) + 1, len(steps))
            kept = {name: column[:rows, lane] for name, column in columns.items()}
            kept = {name: column for name, column in kept.items() if not np.isnan(column).all()}
            # or the last update left the finite numbers, which only the scores have seen
            lost = [
                n for n in LOSSES if n in columns and not np.isfinite(columns[n][rows - 1, lane])
            ]
            outcomes.append(
                Outcome(
                    "finished" if worst == math.inf and not lost else "diverged",
                    steps[:rows].tolist(),
                    {name: column.tolist() for name, column in kept.items()},
                )
            )
        return outcomes

    def _columns(self) -> dict[str, np.ndarray]:
        """Each metric at every recorded step, (records, K) on the host; NaN where not measured."""
        columns: dict[str, np.ndarray] = {}
        shape = len(self.each.recorded), len(self.each.lanes)
        for number, row in enumerate(self.each.recorded.values()):
            if row:
                stacked = torch.stack([v.float() for v in row.values()]).cpu().numpy()  # (M, K)
                for name, values in zip(row, stacked, strict=True):
                    columns.setdefault(name, np.full(shape, np.nan))[number] = values
        return columns
