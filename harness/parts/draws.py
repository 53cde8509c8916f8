"""Random numbers for a loss, or a module, to draw: noise, codes, what is hidden, coins; and how far
training has come, for weights that ramp.

They are functions of the trial's seed and the update, as dropout's masks are, so that what draws them
fuses, and a trial's rows are the same in any pack. What is scored draws the same numbers each time,
for every batch of examples that is scored at once.
Outside of training they are drawn from torch's generator, as in a plain loop.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.parts import keyed

DRAWN = 1 << 40  # far from the words of dropout's masks


class Source:
    """What draws come from: a key () int64, and how many there have been."""

    def __init__(self, key: Tensor) -> None:
        self.key, self.drawn = key, 0

    def next(self) -> Tensor:
        """(1,) int64, another at each call."""
        key = keyed.mix(self.key, DRAWN + self.drawn)
        self.drawn += 1
        return key.unsqueeze(0)


_SOURCES: list[Source] = []


@contextlib.contextmanager
def keyed_by(key: Tensor) -> Iterator[Source]:
    """Within, what is drawn is a function of a key, () int64."""
    _SOURCES.append(Source(key))
    try:
        yield _SOURCES[-1]
    finally:
        _SOURCES.pop()


class Told:
    """How far training has come, () float32, and how often that was asked for."""

    def __init__(self, share: Tensor) -> None:
        self.share, self.asked = share, 0


_TOLD: list[Told] = []


@contextlib.contextmanager
def trained(share: Tensor) -> Iterator[Told]:
    """Within, `progress` is this."""
    _TOLD.append(Told(share))
    try:
        yield _TOLD[-1]
    finally:
        _TOLD.pop()


def progress() -> Tensor:
    """The share of its stage that a trial has trained, () float32: 0 at the first update and below 1
    at the last, and 1 where it is scored, and outside of training."""
    if not _TOLD:
        return torch.ones(())
    _TOLD[-1].asked += 1
    return _TOLD[-1].share


def uniform(*shape: int) -> Tensor:
    """Of a shape, float32 in [0, 1)."""
    if not _SOURCES:
        return torch.rand(shape)
    return keyed.uniform(_SOURCES[-1].next(), math.prod(shape)).view(shape)


def normal(*shape: int) -> Tensor:
    """Of a shape, float32, of mean 0 and variance 1."""
    if not _SOURCES:
        return torch.randn(shape)
    return keyed.normal(_SOURCES[-1].next(), math.prod(shape)).view(shape)
