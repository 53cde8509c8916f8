"""MNIST-1D: signals of 40 numbers that stand for ten digits, made here (Greydanus & Kobak 2024).

Ten patterns of twelve points are padded, stretched, scaled, moved along, and laid over noise that is
smooth where there is no pattern; then sheared and read at 40 places. Linear models do badly on them
(32 %), dense networks better (68 %), convolutional ones well (94 %), in seconds.

The 4,000 training and 1,000 test signals that were published come first, bit for bit, as the package
mnist1d makes them from its seed; all others are drawn by keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from harness.parts import keyed

# Training, validation and test examples, x and y of each.
Arrays = tuple[np.ndarray, ...]

PUBLISHED, SEED = (4_000, 1_000), 42  # signals to train on and to test, and the seed of all
MADE = (50_000, 2_000, 5_000)  # signals to train on, to validate and to test
LENGTH = 40
POINTS = 72  # at which a signal is drawn before it is read at `LENGTH` places
PADS = range(36, 61)  # zeros after a pattern, before all is stretched to `POINTS`
SHIFTS, SCALE, SMOOTH, ROUGH, SHEAR = 48, 0.4, 0.25, 0.02, 0.75

# The published heights of the ten patterns' points.
PATTERNS = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


@dataclass(frozen=True)
class _Draws:
    """What is random of n signals, one a row."""

    y: np.ndarray  # (n,) digits
    even: np.ndarray  # (n, 3) in [0, 1): padding, scale, shear
    shift: np.ndarray  # (n,) points that a pattern is moved along
    noise: np.ndarray  # (n, 2, POINTS) standard normal: where there is no pattern, and everywhere


def mnist1d(shuffled: bool) -> Arrays:
    """Signals to train on (50,000), to validate (2,000) and to test (5,000), of mean 0 and standard
    deviation 1 over what was published.

    Shapes: x (n, 40) float32, y (n,) int64.

    Args:
        shuffled: Whether the 40 places are permuted, by the permutation that was published: a
            dense network does as well, a convolutional one does not.
    """
    draws, order, places = _published()
    raw = _signals(draws)[order]  # (5000, 40)
    mean, std = raw.mean(), raw.std()
    x, y = (raw - mean) / std, draws.y[order]
    known = {0: (x[: PUBLISHED[0]], y[: PUBLISHED[0]]), 2: (x[PUBLISHED[0] :], y[PUBLISHED[0] :])}
    found: list[np.ndarray] = []
    for split, n in enumerate(MADE):
        first = known.get(split, (x[:0], y[:0]))
        more = _drawn(split, n - len(first[1]))
        xs = np.concatenate([first[0], (_signals(more) - mean) / std])
        xs = xs[:, places] if shuffled else xs
        found += [
            np.ascontiguousarray(xs, np.float32),
            np.concatenate([first[1], more.y]).astype(np.int64),
        ]
    return tuple(found)


def _published() -> tuple[_Draws, np.ndarray, np.ndarray]:
    """The draws of the published signals, the order in which these come, and the permutation of
    the places: in the order in which mnist1d takes them from numpy's old generator."""
    n = sum(PUBLISHED)
    random = np.random.RandomState(SEED)
    even, shift, noise = np.empty((n, 3)), np.empty(n, np.int64), np.empty((n, 2, POINTS))
    for i in range(n):
        even[i, :2] = random.rand(), random.rand()
        shift[i] = random.randint(SHIFTS)
        noise[i] = random.randn(2, POINTS)
        even[i, 2] = random.rand()
    y = np.repeat(np.arange(len(PATTERNS)), n // len(PATTERNS))
    return _Draws(y, even, shift, noise), random.permutation(n), random.permutation(LENGTH)


def _drawn(split: int, n: int) -> _Draws:
    """Further draws of a split: the same however many there are."""
    key = keyed.mix(keyed.keys([SEED], "task"), torch.tensor([split]))  # (1,)
    rows = keyed.mix(key, torch.arange(n))  # (n,)
    even = keyed.uniform(keyed.mix(rows, 0), 5).numpy().astype(np.float64)
    noise = keyed.normal(keyed.mix(rows, 1), 2 * POINTS).numpy().reshape(n, 2, POINTS)
    y = (even[:, 3] * len(PATTERNS)).astype(np.int64)
    return _Draws(y, even[:, :3], (even[:, 4] * SHIFTS).astype(np.int64), noise)


def _signals(draws: _Draws) -> np.ndarray:
    """(n, LENGTH) float64, before they are standardized."""
    pad, scale, shear = draws.even.T
    pattern = _stretched()[draws.y, (pad * len(PADS)).astype(np.int64)]  # (n, POINTS)
    pattern = pattern * (1 + SCALE * (scale - 0.5))[:, None]
    along = (np.arange(POINTS) - draws.shift[:, None]) % POINTS  # (n, POINTS)
    pattern = np.take_along_axis(pattern, along, 1)
    smooth = gaussian_filter1d(SMOOTH * draws.noise[:, 0], 2, axis=1)
    signal = np.where(pattern != 0, pattern, smooth) + ROUGH * draws.noise[:, 1]
    signal = signal - (SHEAR * (shear - 0.5))[:, None] * np.linspace(-0.5, 0.5, POINTS)
    return _read(signal)


def _stretched() -> np.ndarray:
    """(10, len(PADS), POINTS): each pattern after each padding, stretched, and 0 where there is
    none: a hair is added to what is of the pattern."""
    heights = np.asarray(PATTERNS, np.float64)
    heights = heights - heights.mean(1, keepdims=True)
    heights = heights / heights.std(1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6 + 1e-8
    places = np.linspace(0, 1, POINTS)
    return np.stack([
        [np.interp(places, np.linspace(0, 1, len(one) + pad), [*one, *[0.0] * pad]) for pad in PADS]
        for one in heights
    ])  # fmt: skip


def _read(signal: np.ndarray) -> np.ndarray:
    """(n, POINTS) read at LENGTH places, straight between points."""
    place = np.linspace(0, POINTS - 1, LENGTH)
    left = np.minimum(place.astype(np.int64), POINTS - 2)
    part = place - left
    return np.asarray(signal[:, left] + (signal[:, left + 1] - signal[:, left]) * part)
