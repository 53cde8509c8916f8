"""Tasks of memory: sequences of any length that are made here, as many as are wanted.

Training, validation and test sequences are drawn by keys of their own, the same on every machine, so
that a test sequence is always a fresh one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from harness.parts import keyed

# Training, validation and test examples, x and y of each.
Arrays = tuple[np.ndarray, ...]
MADE = (20_000, 1_000, 10_000)  # sequences to train on, to validate and to test


def made(name: str, length: int) -> Arrays:
    """The splits of a task of `TASKS` at a length of at least its shortest."""
    make, _ = TASKS[name]
    found = []
    for split, n in enumerate(MADE):
        key = keyed.mix(keyed.keys([length], "task"), split)  # (1,)
        if name != "temporal_order":  # which had the stream to itself
            key = keyed.mix(key, list(TASKS).index(name))
        found += [part.numpy() for part in make(keyed.mix(key, torch.arange(n)), length)]
    return tuple(found)


def temporal_order(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Which of two symbols came first (Hochreiter & Schmidhuber 1997, task 6a; as in Pascanu et
    al. 2013, whose published code sets the places): among symbols c to f, drawn evenly, an A or B
    stands at one place in [length / 10, 2 length / 10) and another in [5 length / 10, 6 length /
    10). The class is AA, BA, AB or BB.

    Shapes: keys (n,); x (n, length, 6) float32, one 1 a step; y (n,) int64.
    """
    drawn = keyed.uniform(keys, length + 4)  # (n, length + 4)
    symbols = 2 + (drawn[:, :length] * 4).long()
    tenth = length // 10
    first, second = (drawn[:, length : length + 2] * tenth).long().unbind(1)
    a, b = (drawn[:, length + 2 :] * 2).long().unbind(1)  # 0 is A, 1 is B
    rows = torch.arange(len(keys))
    symbols[rows, tenth + first] = a
    symbols[rows, length // 2 + second] = b
    return one_hot(symbols, 6).float(), a + 2 * b


def adding(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The sum of two marked numbers (Hochreiter & Schmidhuber 1997, task 4; as in Le, Jaitly &
    Hinton 2015): numbers drawn evenly from [0, 1), of which one in each half of the sequence is
    marked by a 1. Always to answer 1 has a squared error of 1/6.

    Shapes: keys (n,); x (n, length, 2) float32, number and mark; y (n, 1) float32.
    """
    drawn = keyed.uniform(keys, length + 2)  # (n, length + 2)
    half = length // 2
    first = (drawn[:, length] * half).long()
    second = half + (drawn[:, length + 1] * (length - half)).long()
    rows = torch.arange(len(keys))
    marks = torch.zeros(len(keys), length)
    marks[rows, first] = marks[rows, second] = 1.0
    sums = drawn[rows, first] + drawn[rows, second]
    return torch.stack([drawn[:, :length], marks], 2), sums[:, None]  # (n, length, 2), (n, 1)


COPIED, BLANK, GO = 8, 8, 9  # symbols 0 to 7, and two more


def copy(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """To say symbols again after a delay (Arjovsky, Shah & Bengio 2016; Tallec & Ollivier 2018): m
    of 8 symbols, blanks, a sign to begin, and m more blanks, during which the m symbols are to be
    said in order; before that, the answer is a blank. m is 10, and a quarter of sequences shorter
    than 40. Without memory the best mean loss is m ln 8 / length.

    Shapes: keys (n,); x, y (n, length) int64, below 10 and below 9.
    """
    m = min(10, length // 4)
    symbols = (keyed.uniform(keys, m) * COPIED).long()  # (n, m)
    x = torch.full((len(keys), length), BLANK)
    y = x.clone()
    x[:, :m] = y[:, -m:] = symbols
    x[:, length - m - 1] = GO
    return x, y


def recall(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The first symbol, asked for at the end (as the latching task of Bengio, Simard & Frasconi
    1994): one of four that stand nowhere else, then four others, drawn evenly.

    Shapes: keys (n,); x (n, length, 8) float32, one 1 a step; y (n,) int64.
    """
    symbols = 4 + (keyed.uniform(keys, length) * 4).long()  # (n, length)
    symbols[:, 0] -= 4
    return one_hot(symbols, 8).float(), symbols[:, 0].clone()


def echo(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """To say symbols again once all have been read: 8 of them, drawn evenly.

    Shapes: keys (n,); x, y (n, length) int64, below 8.
    """
    symbols = (keyed.uniform(keys, length) * COPIED).long()
    return symbols, symbols.clone()


def reverse(keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The same, from the last to the first."""
    symbols, same = echo(keys, length)
    return symbols, same.flip(1)


def delays(most: int, length: int = 400) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """White noise to be recalled (Jaeger 2001): numbers drawn evenly from (-1, 1), and at each step
    after the first `most` what they were 1 to `most` steps ago. For `Data.of`: 10 sequences to train
    on, 2 to validate and 10 to test.

    Shapes: x (n, length, 1) float32; y (n, length - most, most) float32.
    """
    u = np.random.default_rng(0).uniform(-1, 1, (22, length, 1)).astype(np.float32)
    y = np.stack([u[:, most - back : length - back, 0] for back in range(1, most + 1)], 2)
    return tuple((u[rows], y[rows]) for rows in (slice(10), slice(10, 12), slice(12, 22)))


# How each is made, and the fewest steps it has; keys go by the places here.
TASKS: dict[str, tuple[Callable[[Tensor, int], tuple[Tensor, Tensor]], int]] = {
    "temporal_order": (temporal_order, 10),
    "adding": (adding, 2),
    "copy": (copy, 8),
    "recall": (recall, 2),
    "echo": (echo, 1),
    "reverse": (reverse, 1),
}
