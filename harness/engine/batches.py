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
        each: Holds in `read`, for each stream, the keys of the permutations; the examples that each
            trial has, where they differ (`subset`); and those of the coming update (`chosen`), where
            a graph finds them.
        device: Where the data are read.
        stage: The stage that reads them: each has permutations of its own.
        first: Batches that were read in the stages before.
        stream: "batches", or "beside" of data that are read beside others.

    Attributes:
        splits: The data set, without the test split where that is sealed; None without data.
        steps: Of the coming update's sequences, where they are cut short.
        beside: What is read beside these, if anything is.
    """

    def __init__(
        self, trainings: Sequence[Training], seeds: Sequence[int], each: Lanes, device: str,
        stage: int = 0, first: int = 0, stream: str = "batches",
    ) -> None:  # fmt: skip
        self.one, self.each, self.first, self.stream = trainings[0], each, first, stream
        if stream == "batches":
            each.read = {}
        data, sealed = self.one.data, self.one.sealed
        self.splits = None if data is None else data_.load(data, device, sealed)
        self.buckets = self._by_length()
        self.steps: int | None = None
        keys = keyed.keys(list(seeds), stream, device)
        subset = self._subset(trainings, device)
        if data is not None and self.one.members is not None and self.one.members.bag:
            n = data_.train_size(data)
            drawn = keyed.places(keyed.keys(list(seeds), "bag", device), n, n)  # (K, n)
            subset = drawn if subset is None else subset.gather(1, drawn)
        each.read[stream] = {"keys": keyed.mix(keys, stage) if stage else keys, "subset": subset}
        others = [t.aside for t in trainings if t.aside is not None]
        self.beside = (
            Batches(others, seeds, each, device, stage, first, "beside") if others else None
        )
        self.forget()

    @property
    def _own(self) -> dict[str, Tensor | None]:
        own: dict[str, Tensor | None] = self.each.read[self.stream]
        return own

    @property
    def subset(self) -> Tensor | None:
        """(K, n) each trial's own training examples; None where all share the first ones."""
        return self._own["subset"]

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
        self._own["chosen"] = None
        if self.beside:
            self.beside.forget()

    def of(self, epoch: int) -> Tensor:
        """(updates, K, B) indices of one epoch."""
        if self._epoch != epoch:
            assert self.one.data is not None and self.one.batch_size is not None
            n, updates = data_.train_size(self.one.data), self.one.epoch
            size = min(self.one.batch_size, n)
            keys = self._own["keys"]
            assert keys is not None
            order = keyed.permutation(keyed.mix(keys, epoch), n)  # (K, n)
            if self.subset is not None:
                order = self.subset.gather(1, order)
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
        own = self._own
        if (there := own["chosen"]) is None:
            there = own["chosen"] = chosen.clone()
        there.copy_(chosen)
        if self.beside:
            self.beside.choose(turn)

    def take(self) -> tuple[Tensor, ...]:
        """Inputs and targets (K, B, ...) of the coming update, then those beside; nothing without
        data."""
        chosen = self._own["chosen"]  # (K, B)
        if self.splits is None or chosen is None:
            return ()
        rows, shape = chosen.flatten(), chosen.shape
        taken = tuple(
            part.index_select(0, rows).view(*shape, *part.shape[1:])  # (K B, ...) -> (K, B, ...)
            for part in (cut(part, self.steps) for part in self.splits.train)
        )
        return (*taken, *self.beside.take()) if self.beside else taken
