"""Data sets of which some labels are wrong, as by careless annotators."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.parts.data.sets import Data, load


def mislabelled(name: str, share: float, seed: int = 0) -> tuple[Any, ...]:
    """A data set of classes, for `Data.of`: labels of so many of its training and validation examples
    are drawn anew, uniformly, so that one in so many classes is right by chance. Those of the test
    split are not: what is measured there is what can be known (Ghosh et al. 2017).

    Args:
        name: Of the data set.
        share: Of the labels that are drawn, from 0 to 1.
        seed: Of the generator.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share of labels that are drawn anew is {share!r}; allowed: 0 to 1")
    splits, drawn = load(Data(name)), np.random.default_rng(seed)
    classes = 1 + max(int(part[-1].max()) for part in (splits.train, splits.valid, splits.test))
    found = []
    for split in ("train", "valid", "test"):
        x, y = (part.numpy() for part in getattr(splits, split))
        if split != "test":
            wrong = drawn.random(len(y)) < share
            y = np.where(wrong, drawn.integers(0, classes, len(y)), y)
        found.append((x, y))
    return tuple(found)
