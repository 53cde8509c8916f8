"""Which examples each trial of a pack reads at each update."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.engine.buckets import Buckets, cut, lengths
from harness.engine.lanes import Lanes
from harness.engine.training import Training
from harness.parts import data as data_
from harness.parts import keyed


class Batches:
    """Each trial's own permutation of its training examples, epoch by epoch.

    Args:
        trainings, seeds: Of K trials.
        each: Holds the keys of the permutations; the examples that each trial has, where they
            differ (`subset`); and those of the coming update (`chosen`), where a graph finds them.
        device: Where the data are read.
        stage: The stage that reads them: each has permutations of its own.
        first: Batches that were read in the stages before.

    Attributes:
        splits: The data set, without the test split where that is sealed; None without data.
        steps: Of the coming update's sequences, where they are cut short.
    """

    def __init__(
        self, trainings: Sequence[Training], seeds: Sequence[int], each: Lanes, device: str,
        stage: int = 0, first: int = 0,
    ) -> None:  # fmt: skip
        self.one, self.each, self.first = trainings[0], each, first
        data, sealed = self.one.data, self.one.sealed
        self.splits = None if data is None else data_.load(data, device, sealed)
        self.buckets = self._by_length()
        self.steps: int | None = None
        keys = keyed.keys(list(seeds), "batches", device)
        each.batch_keys = keyed.mix(keys, stage) if stage else keys
        each.subset = self._subset(trainings, device)
        if data is not None and self.one.members is not None and self.one.members.bag:
            n = data_.train_size(data)
            drawn = keyed.places(keyed.keys(list(seeds), "bag", device), n, n)  # (K, n)
            each.subset = drawn if each.subset is None else each.subset.gather(1, drawn)
        self.forget()

    def _subset(self, trainings: Sequence[Training], device: str) -> Tensor | None:
        """Each trial's own training examples (K, n), or None where all share the first ones.

        The first n of a permutation that depends on the number of the draw alone: a smaller subset
        is part of a larger one.
        """
        draws = [t.data.draw for t in trainings if t.data is not None and t.data.draw is not None]
        if not draws or self.splits is None or self.one.data is None:
            return None
        keys, pool = keyed.keys(draws, "subset", device), len(self.splits.train[0])
        return keyed.permutation(keys, pool)[:, : data_.train_size(self.one.data)].contiguous()

    def _by_length(self) -> Buckets | None:
        """The training sequences by length, where they are to be read so and differ in it."""
        if self.one.buckets == 1 or self.splits is None or self.one.batch_size is None:
            return None
        x = self.splits.train[0]
        steps = lengths(x)
        if steps is None:
            return None
        return Buckets(steps.cpu(), min(self.one.batch_size, len(x)), self.one.buckets)

    def forget(self) -> None:
        """Work the coming epoch out anew, as for other lanes."""
        self._epoch: int | None = None  # whose batches are at hand
        self._indices = torch.zeros(0)
        self._steps: list[int | None] = []
        self.each.chosen = None

    def of(self, epoch: int) -> Tensor:
        """(updates, K, B) indices of one epoch."""
        if self._epoch != epoch:
            assert self.one.data is not None and self.one.batch_size is not None
            n, updates = data_.train_size(self.one.data), self.one.epoch
            size = min(self.one.batch_size, n)
            order = keyed.permutation(keyed.mix(self.each.batch_keys, epoch), n)  # (K, n)
            if self.each.subset is not None:
                order = self.each.subset.gather(1, order)
            if self.buckets is not None:
                self._indices = self.buckets.batches(order, epoch)
                self._steps = [*self.buckets.steps(epoch)]
            else:
                order = order[:, : updates * size].view(len(order), updates, size)
                self._indices = order.transpose(0, 1).contiguous()  # (updates, K, B)
                self._steps = [None] * updates
            self._epoch = epoch
        return self._indices

    def choose(self, turn: int) -> None:
        """Put the examples of this batch, counted from the first stage's, where `take` finds them."""
        if self.splits is None:
            return
        epoch, place = divmod(turn - self.first, self.one.epoch)
        chosen = self.of(epoch)[place]
        self.steps = self._steps[place]
        if self.each.chosen is None:
            self.each.chosen = chosen.clone()
        self.each.chosen.copy_(chosen)

    def take(self) -> tuple[Tensor, ...]:
        """Inputs and targets (K, B, ...) of the coming update; nothing without data."""
        if self.splits is None:
            return ()
        chosen = self.each.chosen  # (K, B)
        rows, shape = chosen.flatten(), chosen.shape
        return tuple(
            part.index_select(0, rows).view(*shape, *part.shape[1:])  # (K B, ...) -> (K, B, ...)
            for part in (cut(part, self.steps) for part in self.splits.train)
        )
