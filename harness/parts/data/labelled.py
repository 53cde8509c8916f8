"""Sequences with a label at every step, of which it is known what a network must have read for it.

Arrays are drawn by numpy's generator, for a study to hand to `Data.of`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def apart(
    make: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]],
    sizes: tuple[int, ...],
) -> tuple[Any, ...]:
    """Training, validation and test sequences (x, y) of their own generators: as many as `sizes` says,
    less those of the others that stand in training."""
    splits = [make(np.random.default_rng(seed), n) for seed, n in enumerate(sizes)]
    seen = {row.tobytes() for row in splits[0][0]}
    others = []
    for x, y in splits[1:]:
        kept = [row.tobytes() not in seen for row in x]
        others.append((x[kept], y[kept]))
    return (splits[0], *others)


def events(
    random: np.random.Generator, n: int, steps: int, chance: float, noise: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events of two kinds, drawn by a fair coin, which stand at the first and the last step and
    with a chance at each between, under normal noise of a standard deviation.

    Returns:
        x (n, steps, 2) float32, a 1 for the kind of an event and zeros without; the kinds (n, steps
        - 1) int64 of the latest event of each step but the last, which may be its own, and of
        the next one after it.
    """
    there = random.random((n, steps)) < chance
    there[:, [0, -1]] = True
    kind, t = random.integers(0, 2, (n, steps)), np.arange(steps)
    latest = np.maximum.accumulate(np.where(there, t, 0), 1)[:, :-1]
    following = np.minimum.accumulate(np.where(there, t, steps)[:, ::-1], 1)[:, -2::-1]
    x = (there[..., None] & (kind[..., None] == [0, 1])) + noise * random.normal(size=(n, steps, 2))
    of = (np.take_along_axis(kind, place, 1) for place in (latest, following))
    return (x.astype(np.float32), *of)


def known(steps: int, chance: float, before: int, after: int) -> float:
    """The best accuracy on latest and next event together, in the mean over steps, of what sees a
    step, so many steps before it and so many after: an event that it does not see is a coin."""
    t = np.arange(steps - 1)
    latest = np.where(t > before, (1 - chance) ** (before + 1), 0)  # unseen
    following = np.where(t + after < steps - 1, (1 - chance) ** after, 0)
    return float(((1 - latest / 2) * (1 - following / 2)).mean())


def fifths(random: np.random.Generator, n: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Major triads that go up or down a fifth at each step, by a fair coin.

    The two that may follow have no note in common: from what came before, six notes are open, 6 ln 2
    nats as zeros and ones. A chord between two known ones is open half of the time.

    Returns:
        x (n, steps, 12) float32, a chord's notes; their roots (n, steps) int64.
    """
    walk = random.integers(0, 2, (n, steps)) * 2 - 1
    root = 7 * (random.integers(0, 12, (n, 1)) + walk.cumsum(1)) % 12
    x = (root[..., None, None] + [0, 4, 7]) % 12 == np.arange(12)[:, None]  # (n, steps, 12, 3)
    return x.any(3).astype(np.float32), root


def joined(
    random: np.random.Generator, x: np.ndarray, y: np.ndarray, many: int, frame: int
) -> tuple[np.ndarray, np.ndarray]:
    """Signals one after another, `many` at a time, read a frame a step, of which a stretch that is one
    signal shorter begins at any frame of the first.

    Args:
        x, y: Signals (n, numbers) and their labels (n,).
        many: Signals in a row, of which n is a multiple.
        frame: Numbers of a frame, of which those of a signal are a multiple.

    Returns:
        x (n / many, steps, frame), y (n / many, steps): the label of the signal that a frame is of.
    """
    each = x.shape[1] // frame
    x, y = x.reshape(-1, many * each, frame), y.reshape(-1, many).repeat(each, 1)
    kept = random.integers(0, each + 1, (len(x), 1)) + np.arange((many - 1) * each)
    rows = np.arange(len(x))[:, None]
    return x[rows, kept], y[rows, kept]
