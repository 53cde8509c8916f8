"""From what was read to a data set's content: split once and for all, scaled, held to be fair."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.parts import keyed
from harness.parts.data.own import Content, digest
from harness.parts.data.rows import Rows
from harness.parts.data.sources import Reader

SPLITS = ("training", "validation", "test")


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
        for name, one in zip(SPLITS, splits, strict=True):
            if not len(one):
                raise self.reader.error(f"its {name} split has 0 rows; allowed: at least 1")
        caution = self._unseen(splits[0], splits[2])
        if self.standardize:
            splits = self._standardized(splits)
        # copies: what a user's arrays become later is no part of it
        arrays = tuple(np.array(part, order="C") for one in splits for part in one.arrays)
        inputs, targets = tuple(splits[0].inputs), tuple(splits[0].targets)
        known = digest(arrays, len(inputs), len(targets))
        return Content(arrays, known, caution, inputs, targets)

    def _three(self, splits: list[Rows]) -> list[Rows]:
        """Training, validation and test split: what is missing is drawn from the first."""
        if len(splits) == 3:
            return splits
        whole, rest = splits[0], splits[1:]
        shares = self.fractions if not rest else self.fractions[:2]
        y = next(iter(whole.targets.values()))
        parts = split(y, tuple(one / sum(shares) for one in shares), self.seed)
        return [*(whole.chosen(rows) for rows in parts), *rest]

    def _unseen(self, train: Rows, test: Rows) -> str:
        """A caution where test inputs stand in training, too, and that is allowed."""
        seen = set(map(_of_row, zip(*train.inputs.values(), strict=True)))
        rows = map(_of_row, zip(*test.inputs.values(), strict=True))
        again = sum(row in seen for row in rows)
        if not again:
            return ""
        words = f"{again:,} of {len(test):,} test rows stand in training too"
        if self.duplicates == "refuse":
            raise self.reader.error(f"{words}; allowed: none, or duplicates='allow'")
        return words

    def _standardized(self, splits: list[Rows]) -> list[Rows]:
        """Each column of inputs (n, F) of floats with mean 0 and deviation 1 in training."""
        train = splits[0].inputs
        scaled = [n for n, x in train.items() if x.ndim == 2 and x.dtype.kind in "fu"]
        if not scaled:
            shown = ", ".join(
                f"{name} is {x.dtype} of shape {x.shape}" for name, x in train.items()
            )
            raise self.reader.error(f"standardize=True, where {shown}; allowed: for floats (n, F)")
        for name in scaled:
            mean, deviation = train[name].mean(0, np.float64), train[name].std(0, np.float64)
            deviation[deviation == 0] = 1.0
            splits = [
                one.having(name, ((one.inputs[name] - mean) / deviation).astype(np.float32))
                for one in splits
            ]
        return splits


def _of_row(parts: tuple[np.ndarray, ...]) -> bytes:
    """Equal for equal rows: 0.0 and -0.0 are."""
    content = b"".join((part + part.dtype.type(0)).tobytes() for part in parts)
    return hashlib.blake2b(content, digest_size=16).digest()


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
