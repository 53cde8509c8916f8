"""Data sets behind one interface, split once and for all.

A `Data` names a data set, and how many training examples of it are used; `load` turns it into
tensors. The test split is fixed and the validation split is drawn once from the rest, so that seeds
vary initialisation, batches and which examples are trained on, never what is tested on.

`share` and `adopt` hand what one process has read to others.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.parts.data import files, images, measured, sequences
from harness.study import DataError


@dataclass(frozen=True)
class Data:
    """A named data set: "digits", "mnist", "fashion_mnist", or sequences: "jsb_chorales",
    "tinyshakespeare", "temporal_order" (see `harness.parts.data.sequences`).

    Args:
        name: Which.
        train: How many training examples to use (None: all).
        draw: The number of a random subset, which may differ between trials of a pack; None takes
            the first `train` examples. The same number is the same subset in every trial, and a
            smaller one is part of a larger one, so that arms and sizes can be paired.
        length: Steps of a sequence, for data sets that come at any length.

    Raises:
        DataError: an unknown name, more examples than there are, or an impossible length.
    """

    name: str
    train: int | None = None
    draw: int | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        if self.name not in (*SIZES, *sequences.NAMES):
            names = ", ".join((*SIZES, *sequences.NAMES))
            raise DataError(f"data set {self.name!r}; allowed: {names}")
        shortest = sequences.SHORTEST.get(self.name)
        if (self.length or 0) < (shortest or 0) or (self.length is not None and shortest is None):
            allowed = "None" if shortest is None else f"at least {shortest}"
            raise DataError(f"length={self.length}; allowed: {allowed} for {self.name}")
        if self.train is not None and not 0 < self.train <= self.most:
            raise DataError(f"train={self.train}; allowed: 1 to {self.most} for {self.name}")

    @property
    def most(self) -> int:
        """Training examples that there are."""
        return SIZES.get(self.name) or sequences.train_size(self.name, self.length)


# Training examples of each data set of images.
SIZES = {"digits": 1077, "mnist": 50_000, "fashion_mnist": 50_000}


@dataclass(frozen=True)
class Splits:
    """Inputs x (n, ...) float32 and targets y (n,) int64 of the three splits; of sequences what
    `harness.parts.data.sequences` says."""

    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(data: Data, device: str = "cpu") -> Splits:
    """The splits of a data set as tensors on a device, kept for the life of the process.

    A random subset (`Data.draw`) is the business of whoever draws it: the training split is whole.

    Raises:
        DataError: a file is missing or is not the pinned one.
    """
    splits = _splits(data.name, data.length, device)
    if data.train is None or data.draw is not None:
        return splits
    x, y = splits.train
    return Splits((x[: data.train], y[: data.train]), splits.valid, splits.test)


def at_hand(data: Data) -> bool:
    """Whether a data set can be loaded without a download: it is bundled or made here, or its files
    are in HARNESS_DATA or the cache. Their content is checked when it is read."""
    if data.name in sequences.FILES:
        file = sequences.FILES[data.name]
        return files.at_hand(file.folder, file.name)
    return data.name not in images.IMAGES or all(
        files.at_hand(data.name, f"{file}.gz") for file in images.FILES
    )


def train_size(data: Data) -> int:
    """Training examples that are used of a data set, known without loading it."""
    return data.most if data.train is None else data.train


# Training, validation and test examples, x and y of each, as the files have them: images are bytes.
Arrays = tuple[np.ndarray, ...]
_ARRAYS: dict[str, Arrays] = {}


def share() -> dict[str, Arrays]:
    """What this process has read so far, to be handed to others."""
    return dict(_ARRAYS)


def adopt(shared: Mapping[str, Arrays]) -> None:
    """Take over what another process has read and checked, so that nothing is read again."""
    _ARRAYS.update(shared)


def forget() -> None:
    """Drop everything that was read."""
    _ARRAYS.clear()
    measured.forget()
    _splits.cache_clear()


# --- reading -------------------------------------------------------------------------------------


@functools.cache
def _splits(name: str, length: int | None, device: str) -> Splits:
    key = name if length is None else f"{name} {length}"
    if key not in _ARRAYS:
        _ARRAYS[key] = _read(name, length)
    brightest = 16 if name == "digits" else 255
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        for array in _ARRAYS[key]:
            tensor = torch.from_numpy(array).to(device)
            if tensor.dtype == torch.uint8:  # images and their labels
                tensor = tensor.long() if tensor.dim() == 1 else tensor.float() / brightest
            found.append(tensor)
    train_x, train_y, valid_x, valid_y, test_x, test_y = found
    return Splits((train_x, train_y), (valid_x, valid_y), (test_x, test_y))


def _read(name: str, length: int | None) -> Arrays:
    if name == "digits":
        return images.digits()
    if name in images.IMAGES:
        return images.images(name)
    content = b""
    if name in sequences.FILES:
        file = sequences.FILES[name]
        content = files.content(file.folder, file.name, file.home, file.digest)
    return sequences.arrays(name, content, length)
