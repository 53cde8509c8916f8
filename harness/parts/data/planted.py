"""Time series with outliers that are put there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PLANTED = (1000, 300, 3000)  # points to train on, to validate and to test
SERIES = ("spikes", "shapes")


def planted(kind: str, seed: int) -> tuple[Tensor, ...]:
    """A periodic series of three harmonics and noise, of mean 0 and variance 1, and its outliers.

    Args:
        kind: "spikes": 60 points of the test part are moved by 1.5 to 3. "shapes": in 24 stretches
            of 16 points the harmonics are out of phase: values and their differences are distributed
            as ever, and only the curve is another.
        seed: Period, harmonics, noise and places go by it.

    Returns:
        Training, validation and test part, (n,) float32 each, and the labels (n,) of the last.
    """
    drawn, n = np.random.default_rng([seed, SERIES.index(kind)]), sum(PLANTED)
    period, heights = drawn.uniform(14, 22), np.array([1.0, 0.8, 0.5])
    phases, turns = drawn.uniform(0, 2 * np.pi, 3), np.zeros((n, 3))
    labels, test = np.zeros(n, np.float32), n - PLANTED[2]
    moved = np.zeros(n)
    if kind == "spikes":
        places = test + drawn.choice(PLANTED[2], 60, replace=False)
        moved[places] = drawn.uniform(1.5, 3, 60) * drawn.choice([-1, 1], 60)
        labels[places] = 1
    else:
        ramp = np.minimum(1, np.minimum(np.arange(1, 17), np.arange(16, 0, -1)) / 4)
        for slot in range(24):
            start = test + slot * PLANTED[2] // 24 + drawn.integers(20, 100)
            turn = drawn.uniform(np.pi / 2, np.pi, 3) * drawn.choice([-1, 1], 3)
            turns[start : start + 16] = ramp[:, None] * turn
            labels[start : start + 16] = 1
    angles = 2 * np.pi * np.arange(n)[:, None] / period * np.array([1, 2, 3]) + phases + turns
    clean = (heights * np.sin(angles)).sum(1) / np.sqrt((heights**2).sum() / 2)
    series = (clean + moved + 0.1 * drawn.normal(size=n)).astype(np.float32)
    parts = np.split(series, np.cumsum(PLANTED[:2]))
    return (*map(torch.from_numpy, parts), torch.from_numpy(labels[test:]))
