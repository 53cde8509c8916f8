"""From what was read to a data set's content: split once and for all, scaled, held to be fair."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.parts import keyed
from harness.parts.data.own import Content, digest
from harness.parts.data.sources import Reader

SPLITS = ("training", "validation", "test")
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """How content is made of what users hand over: the arguments of `Data.of`."""

    reader: Reader
    source: Any
    fractions: tuple[float, float, float]
    seed: int
    duplicates: str
    standardize: bool

    def __call__(self) -> Content:
        """The content.

        Raises:
            DataError: it cannot be used.
        """
        splits = self._three(self.reader.splits(self.source))
        for name, (x, _) in zip(SPLITS, splits, strict=True):
            if not len(x):
                raise self.reader.error(f"its {name} split has 0 rows; allowed: at least 1")
        caution = self._unseen(splits[0][0], splits[2][0])
        if self.standardize:
            splits = self._standardized(splits)
        # copies: what a user's arrays become later is no part of it
        arrays = tuple(np.array(part, order="C") for pair in splits for part in pair)
        return Content(arrays, digest(arrays), caution)

    def _three(self, splits: list[Pair]) -> list[Pair]:
        """Training, validation and test split: what is missing is drawn from the first."""
        if len(splits) == 3:
            return splits
        (x, y), rest = splits[0], splits[1:]
        shares = self.fractions if not rest else self.fractions[:2]
        parts = split(y, tuple(one / sum(shares) for one in shares), self.seed)
        return [*((x[rows], y[rows]) for rows in parts), *rest]

    def _unseen(self, train: np.ndarray, test: np.ndarray) -> str:
        """A caution where test inputs stand in training, too, and that is allowed."""
        seen = set(map(_of_row, train))
        again = sum(row in seen for row in map(_of_row, test))
        if not again:
            return ""
        words = f"{again:,} of {len(test):,} test rows stand in training too"
        if self.duplicates == "refuse":
            raise self.reader.error(f"{words}; allowed: none, or duplicates='allow'")
        return words

    def _standardized(self, splits: list[Pair]) -> list[Pair]:
        x = splits[0][0]
        if x.ndim != 2 or x.dtype == np.int64:
            raise self.reader.error(
                f"standardize=True, where x is {x.dtype} of shape {x.shape}; allowed: for floats (n, F)"
            )
        mean, deviation = x.mean(0, np.float64), x.std(0, np.float64)
        deviation[deviation == 0] = 1.0
        return [(((x - mean) / deviation).astype(np.float32), y) for x, y in splits]


def _of_row(row: np.ndarray) -> bytes:
    """Equal for equal rows: 0.0 and -0.0 are."""
    return hashlib.blake2b((row + row.dtype.type(0)).tobytes(), digest_size=16).digest()


def split(y: np.ndarray, shares: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """A random split of rows, by class where there are classes.

    Args:
        y: (n, ...) targets; whole numbers (n,) are classes.
        shares: Of each part; they sum to 1.
        seed: The same one is the same split, on any machine.

    Returns:
        Row numbers of each part, in random order. Every row is in one part. Of each class, and of
        all rows, a part has its share to within one row where the classes allow both.
    """
    order = keyed.permutation(keyed.keys([seed], "split"), len(y))[0].numpy()
    classes = y.ndim == 1 and y.dtype.kind in "iu"
    groups = np.unique(y, return_inverse=True)[1][order] if classes else np.zeros(len(y), np.int64)
    ideal = np.array(shares)
    part_of = np.zeros(len(y), np.int64)
    given, met = np.zeros(len(shares)), 0
    for group in range(int(groups.max(initial=-1)) + 1):
        places = np.flatnonzero(groups == group)
        counts = np.floor(ideal * len(places) + 1e-9)
        met += len(places)
        # what is left over goes where most is missing so far
        missing = ideal * met - given - counts
        left = len(places) - int(counts.sum())
        counts[np.argsort(-missing, kind="stable")[:left]] += 1
        given += counts
        part_of[places] = np.repeat(np.arange(len(shares)), counts.astype(int))
    return [order[part_of == part] for part in range(len(shares))]
