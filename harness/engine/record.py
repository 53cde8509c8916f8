"""What is measured of a pack, and what becomes of it: rows and outcomes."""

from __future__ import annotations

import dataclasses
import functools
import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.engine.batches import Batches
from harness.engine.buckets import cut, scored_batches
from harness.engine.building import Tensors
from harness.engine.lanes import Lanes
from harness.engine.losses import Losses
from harness.engine.outcome import Outcome
from harness.engine.side import Side
from harness.engine.stopping import Stopping
from harness.engine.training import Training
from harness.parts.data import Sealed
from harness.parts.objectives import parted
from harness.parts.probes import Moment, Probe
from harness.parts.probes.moment import EVAL_ROWS, SealedMetrics

LOSSES = ("train_loss", "valid_loss", "test_loss")


class Measured(Protocol):
    """What is measured: a pack in one of its stages (`harness.engine.pack.PackInFlight`)."""

    one: Training
    leg: Training
    number: int
    begin: int
    sides: list[Side]
    batches: Batches

    @property
    def trained(self) -> Tensors: ...

    @property
    def given(self) -> Tensors: ...


@dataclass
class Record:
    """One row a trial at every recorded step: losses, scores of the splits, probes.

    Args:
        each: Holds what has been `recorded`, by step, and everything that is shown to probes; and at
            the end of which stage a trial was `lost`, whose last update left the finite numbers.
        losses: Of every update so far.
        device: Where all of this is.
    """

    each: Lanes
    losses: Losses
    device: str
    done: dict[int, Outcome] = field(default_factory=dict)  # of lanes that have been left out

    def __post_init__(self) -> None:
        self.each.recorded = {}
        self.each.lost = torch.full((len(self.each.lanes),), math.inf, device=self.device)

    def enter(self, pack: Measured, stopping: Stopping) -> None:
        """What follows is of another stage, whose rows `stopping` is shown."""
        # weakly: the pack holds this record, and its memory is to be free when it ends
        self.pack: Measured = weakref.proxy(pack)
        self.stopping = stopping
        self.one, self.splits = pack.leg, pack.batches.splits
        vars(self).pop("_scored", None)

    @functools.cached_property
    def _scored(self) -> dict[str, list[tuple[slice | Tensor, int | None]]]:
        """What is scored together, of each split."""
        # the same for every pack: sums over other batches would differ in their last bits
        fused = all(side.program.fused for side in self.pack.sides)
        most = EVAL_ROWS[self.device.split(":")[0] if fused else "alone"]
        return {
            split: scored_batches(getattr(self.splits, split)[0], most)
            for split in (("valid",) if self.one.sealed else ("valid", "test"))
        }

    def take(self, step: int) -> None:
        """Measure all trials as they are before this update."""
        each, pack, loss = self.each, self.pack, self.losses.all[step]
        metrics = self._losses(step) | (self._scores() if self.splits is not None else {})
        self.stopping.look(step, metrics)
        ending = each.end == step
        if each.kept is not None and bool(ending.any()):
            metrics |= self._scores()  # of what they have gone back to
        begin = pack.begin + (pack.number > 0)  # where stages meet, the row is of the earlier one
        recorded = [(at, row) for at, row in each.recorded.items() if at >= begin]
        if self.one.sealed:
            metrics = SealedMetrics(metrics)
            recorded = [(at, SealedMetrics(row)) for at, row in recorded]
        steppers, first = [side.stepper for side in pack.sides], pack.sides[0]
        moment = Moment(
            step=step,
            params=pack.trained,
            buffers=pack.given,
            grads={name: part for one in steppers for name, part in one.parts.items()},
            loss=loss,
            losses=self.losses.all[: step + 1],
            metrics=metrics,
            recorded=recorded,
            first_rate=each.first_rate,
            rate=first.stepper.mean_rate,
            program=first.program,
            masks={
                name: part
                for side in pack.sides
                if side.stepper.mask is not None
                for name, part in side.params.cut(side.stepper.mask).items()
            },
            splits=self.splits,
            subset=pack.batches.subset,
        )
        for probe in self.one.probes:
            if not probe.at_end:
                metrics |= self._read(probe, moment)
            elif bool(ending.any()):
                found = self._read(probe, moment)
                metrics |= {n: torch.where(ending, v, torch.nan) for n, v in found.items()}
        if pack.one.stages:
            metrics["stage"] = torch.full_like(loss, float(pack.number))
        each.recorded[step] = {name: value.detach().clone() for name, value in metrics.items()}

    def closed(self, step: int) -> None:
        """A stage has ended with this row, which is the only one that has seen its last update."""
        row = self.each.recorded[step]
        for name in self._finite.intersection(row):
            bad = ~row[name].isfinite() & (self.each.end > step)
            self.each.lost = torch.where(bad, self.each.lost.clamp(max=step), self.each.lost)

    @property
    def _finite(self) -> set[str]:
        """What is finite unless a trial has diverged."""
        return {_of(name, side) for name in LOSSES for side in self.pack.sides}

    @staticmethod
    def _read(probe: Probe, moment: Moment) -> dict[str, Tensor]:
        """What a probe measures: nothing, where it asks for the test split and that is sealed."""
        try:
            return probe.read(moment)
        except Sealed:
            return {}

    def _losses(self, step: int) -> dict[str, Tensor]:
        """Mean training losses of the batches since the last row (before the first: of that batch)."""
        first, *others = self.pack.sides
        since = next(reversed(self.each.recorded), 0)
        if self.splits is None:
            found = {_of("loss", first): self.losses.all[step]}
        else:
            found = {_of("train_loss", first): self.losses.mean(since, max(step, since + 1))}
        for side in others:
            heard = self.each.heard[side.name]
            if step > since:
                found[_of("train_loss", side)] = (heard / ((step - since) * side.turns)).float()
            heard.zero_()
        return found

    def _scores(self) -> dict[str, Tensor]:
        """Loss and accuracy of every trial on whole splits, in evaluation mode."""
        totals: dict[str, Tensor] = {}
        for split, pieces in self._scored.items():
            whole = getattr(self.splits, split)
            for rows, steps in pieces:
                batch = tuple(cut(part, steps)[rows] for part in whole)
                for side in self.pack.sides:
                    part = side.program.score(side.params.views, side.given, batch)
                    if self.one.members is not None:
                        part = self._voted(side, batch, part)
                    for metric, value in part.items():
                        name = _of(f"{split}_{metric}", side)
                        share = value * (len(batch[0]) / len(whole[0]))
                        totals[name] = totals[name] + share if name in totals else share
        return totals

    def _voted(
        self, side: Side, batch: tuple[Tensor, ...], own: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Scores of the trials that the lanes are members of."""
        assert self.one.members is not None
        program = side.program
        inputs, targets = parted(program.objective, batch)
        with torch.no_grad():
            said = program.each(
                lambda params, buffers: program.output(params, buffers, inputs),
                side.params.views, side.given,
            )  # fmt: skip
            return self.one.members.scores(program.objective, said, targets, own)

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
        first_bad = np.minimum(first_bad, self.each.lost.cpu().numpy())
        steps = np.array([*self.each.recorded])
        columns = self._columns()  # each (records, K)
        finite = self._finite
        rows_of = [{}, *self.each.recorded.values()]  # by how many there are up to one
        outcomes = []
        for lane, worst in enumerate(first_bad):
            # what follows an end says nothing
            rows = min(int(np.searchsorted(steps, min(worst, end[lane]))) + 1, len(steps))
            kept = {name: column[:rows, lane] for name, column in columns.items()}
            kept = {name: column for name, column in kept.items() if not np.isnan(column).all()}
            # or the last update left the finite numbers, which only the scores have seen
            lost = [
                n
                for n in finite.intersection(rows_of[rows])
                if not np.isfinite(columns[n][rows - 1, lane])
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


def _of(metric: str, side: Side) -> str:
    """A metric of a player, by its name where there are several."""
    return f"{metric}_{side.name}" if side.name else metric
