"""Batches of sequences of like length, so that little is computed beyond their ends.

All trials read the same bucket at the same update, in an order that is new in every epoch; which of
its sequences a trial reads when is the trial's own. So a trial's batches do not depend on what it
is trained beside.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.parts import keyed


def lengths(x: Tensor) -> Tensor | None:
    """Steps (n,) of padded sequences (n, T, ...), whose ends are NaN; None where none is padded."""
    if x.dim() < 3 or not x.is_floating_point():
        return None
    inside = ~x.flatten(2)[..., 0].isnan()  # (n, T)
    return None if bool(inside.all()) else inside.sum(1)


def cut(part: Tensor, steps: int | None) -> Tensor:
    """Sequences (n, T, ...) without what lies beyond so many steps."""
    return part if steps is None or part.dim() < 2 else part[:, :steps]


class Buckets:
    """Training sequences put in buckets by length, nearly equal numbers of batches in each.

    Args:
        lengths: (n,) steps of each sequence.
        size: Sequences a batch.
        count: How many buckets.
    """

    def __init__(self, lengths: Tensor, size: int, count: int) -> None:
        self.lengths, self.size = lengths, size
        self.updates, left = divmod(len(lengths), size)
        self.edges = [round(i * self.updates / count) for i in range(count + 1)]
        # a trial leaves `left` sequences out, so that a place may go to one so much longer
        last = [max(end * size - 1, 0) + left for end in self.edges[1:]]
        self.longest = [int(n) for n in lengths.sort().values[torch.tensor(last)]]

    def order(self, epoch: int) -> list[int]:
        """The places of batches, by bucket, in the order in which all trials read them."""
        key = keyed.mix(keyed.keys([0], "buckets"), epoch)
        return [int(place) for place in keyed.permutation(key, self.updates)[0]]

    def steps(self, epoch: int) -> list[int]:
        """To how many steps each update of an epoch must be padded."""
        ends = self.edges[1:]
        return [
            self.longest[next(i for i, end in enumerate(ends) if place < end)]
            for place in self.order(epoch)
        ]

    def batches(self, order: Tensor, epoch: int) -> Tensor:
        """Batches (updates, K, B) from each trial's own permutation (K, n) of the sequences."""
        order = order[:, : self.updates * self.size]
        by_length = self.lengths.to(order.device)[order].argsort(
            dim=1, stable=True
        )  # (K, m) places
        found = []
        for start, end in zip(self.edges, self.edges[1:], strict=False):
            own = by_length[:, start * self.size : end * self.size].sort(1).values
            found.append(order.gather(1, own).view(len(order), end - start, self.size))
        batches = torch.cat(found, 1).transpose(0, 1)  # (K, updates, B) -> (updates, K, B)
        return batches[torch.tensor(self.order(epoch), device=order.device)].contiguous()


SCORED = 4  # batches that a split of padded sequences is scored in, at least


def scored_batches(x: Tensor, most: int) -> list[tuple[slice | Tensor, int | None]]:
    """Which examples of a split are scored together, and cut to how many steps (None: as they are).
    Sequences are taken in the order of their lengths, so that few are padded to the longest.

    Args:
        x: (n, ...) the split's inputs.
        most: Most examples of a batch.
    """
    steps, count = lengths(x), math.ceil(len(x) / most)
    if steps is None:
        rows = math.ceil(len(x) / count)
        return [(slice(start, start + rows), None) for start in range(0, len(x), rows)]
    rows = math.ceil(len(x) / max(count, SCORED))
    ranked = steps.argsort(stable=True)
    return [(batch, int(steps[batch].max())) for batch in torch.split(ranked, rows)]
