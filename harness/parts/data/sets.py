"""Data sets behind one interface, split once and for all.

A `Data` names a data set, and how many training examples of it are used; `load` turns it into
tensors. The test split is fixed and the validation split is drawn once from the rest, so that seeds
vary initialisation, batches and which examples are trained on, never what is tested on. `Data.of`
makes one of one's own.

`share` and `adopt` hand what one process has read, or made, to others.
"""

from __future__ import annotations

import functools
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from harness.parts.data import files, images, measured, nab, own, sequences, signals
from harness.parts.data.sources import Columns, Reader
from harness.parts.data.splitting import Recipe
from harness.study import DataError


@dataclass(frozen=True)
class Data:
    """A named data set: images, "digits", "mnist_5k", "mnist", "fashion_mnist"; signals, "mnist1d",
    "mnist1d_shuffled"; sequences, "jsb_chorales", "tinyshakespeare", and of any length
    "temporal_order", "adding", "copy", "recall", "echo", "reverse"; series of any length, "nab"; series
    to be forecast, "etth1_24" and "etth1_96", so many hours ahead; or one's own (`of`). See
    `harness.parts.data`.

    Args:
        name: Which.
        train: How many training examples to use (None: all).
        draw: The number of a random subset, which may differ between trials of a pack; None takes
            the first `train` examples. The same number is the same subset in every trial, and a
            smaller one is part of a larger one, so that arms and sizes can be paired.
        length: Steps of a sequence, points of a series, for data sets that come at any length; of
            series to be forecast those that are read.
        own: The content of one's own.
        after: Training examples that are passed over, so that two parts of a split have none in
            common: labelled and unlabelled, weights' and architecture's.

    Raises:
        DataError: an unknown name, more examples than there are, or an impossible length.
    """

    name: str
    train: int | None = None
    draw: int | None = None
    length: int | None = None
    own: own.Own | None = None
    after: int = 0

    @classmethod
    def of(
        cls, source: Any, *, name: str = "mine",
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2), seed: int = 0,
        target: Columns | None = None, inputs: Columns | None = None, task: str | None = None,
        standardize: bool = False, duplicates: str = "refuse",
    ) -> Data:  # fmt: skip
        """A data set of one's own, declared at the top level of a study file, or in a notebook.

        Its content is made when it is first asked for, once, and workers are handed it. A digest of
        it is in every key: other numbers are another data set, whatever they are called. Of it,
        ``dataclasses.replace(MINE, train=100, draw=t.seed)`` is a random part.

        Shapes: x (n, F), (n, T, F), images … float32, or (n, T) int64 token numbers; y (n,) int64
        classes, (n, T) int64 for sequences, or (n,), (n, k) … float32. Bytes are floats of 0 to 255.

        Several inputs are a tuple of arrays or a dict of them, ``((a, b), y)``: the module is called
        with them in this order, ``module(a, b)``, and a `Loss` gets ``fn(module, a, b, y)``. A dict's
        names are for errors, and a module whose parameters have these names in another order is
        refused. Among several, whole numbers stay int64 (n, ...) and truth values bool. Several
        targets are declared likewise: an objective is given them in order (`Objective.targets`).

        Args:
            source: (x, y) of arrays or tensors, a frame or a dict of arrays with its `target`, a torch
                `Dataset` (each item is read once), "hf:<id>" with its `target` (needs the package
                datasets); a tuple of two or three of these, which train, validate and test; or a
                function of no arguments that returns one of them.
            name: What it is called in reports. Two data sets of a study have two names.
            fractions: Of rows that train, validate and test, where there is one split; where there
                are two, of the first's that train and validate.
            seed: Of that split, which is by class where there are classes. Trials' seeds do not
                change it.
            target: The column of y; a tuple of columns, which stand side by side; or a dict of
                such, of which each is a target.
            inputs: The columns of x, in the same way: ``{"ids": "ids", "rest": ("age", "size")}``
                is two inputs. By default all others, side by side; in a dict of arrays each by itself.
            task: "classification" or "regression", where the type of y is not to decide (whole
                numbers are classes).
            standardize: Whether each column of x (n, F) is to have mean 0 and standard deviation 1 in
                the training split; of several inputs, of those that are floats (n, F).
            duplicates: "refuse", or "allow" inputs that stand in the test split and in training, too;
                the report then says how many.

        Raises:
            DataError: at once for arguments; for the content when it is made: a value that is not
                finite, an empty split, x and y of different lengths, splits of unlike shapes, labels
                of the wrong type, test rows that stand in training.
        """
        try:
            three = tuple(float(one) for one in fractions)
        except (TypeError, ValueError):
            three = ()
        plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name)
        for holds, what, value, allowed in (
            (plain and name not in _shelf(), "name", name,
             f"letters, digits, '-', '_' and '.', none of {', '.join(_shelf())}"),
            (len(three) == 3 and min(three) > 0 and math.isclose(sum(three), 1), "fractions",
             fractions, "three numbers above 0 that sum to 1"),
            (isinstance(seed, int), "seed", seed, "an integer"),
            (task in (None, "classification", "regression"), "task", task,
             "'classification', 'regression', None"),
            (inputs is None or target is not None, "inputs", inputs,
             "columns, where target= says which are targets"),
            (duplicates in ("refuse", "allow"), "duplicates", duplicates, "'refuse', 'allow'"),
        ):  # fmt: skip
            if not holds:
                raise DataError(f"Data.of has {what}={value!r}; allowed: {allowed}")
        reader = Reader(name, task, target, inputs)
        recipe = Recipe(
            reader, source, (three[0], three[1], three[2]), seed, duplicates, bool(standardize)
        )
        return cls(name, own=own.declared(name, recipe))

    def __post_init__(self) -> None:
        if self.own is None and self.name not in _shelf():
            names = ", ".join(_shelf())
            raise DataError(f"data set {self.name!r}; allowed: {names}, or one's own by Data.of")
        shortest = {nab.NAME: nab.SHORTEST, **sequences.SHORTEST}.get(self.name)
        if (self.length or 0) < (shortest or 0) or (self.length is not None and shortest is None):
            allowed = "None" if shortest is None else f"at least {shortest}"
            raise DataError(f"length={self.length}; allowed: {allowed} for {self.name}")
        if self.after and (not 0 < self.after < self.most or self.draw is not None):
            allowed = f"0 to {self.most - 1} for {self.name}, and no random subset"
            raise DataError(f"after={self.after}; allowed: {allowed}")
        if self.train is not None and not 0 < self.train <= self.most - self.after:
            raise DataError(
                f"train={self.train}; allowed: 1 to {self.most - self.after} for {self.name}"
            )

    @property
    def most(self) -> int:
        """Training examples that there are."""
        if self.own is not None:
            return len(self.own.content.arrays[0])
        return SIZES.get(self.name) or sequences.train_size(self.name, self.length)

    @property
    def parts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What its inputs are called, and its targets."""
        return (("x",), ("y",)) if self.own is None else self.own.parts


# Training examples of each data set of images, of signals and of series.
SIZES = {
    "digits": 1077, "mnist_5k": 2_500, "mnist": 50_000, "fashion_mnist": 50_000,
    "mnist1d": signals.MADE[0], "mnist1d_shuffled": signals.MADE[0], nab.NAME: len(nab.SERIES),
}  # fmt: skip


def _shelf() -> tuple[str, ...]:
    """The names of all data sets that need not be handed over."""
    return (*SIZES, *sequences.NAMES)


@dataclass(frozen=True)
class Splits:
    """Inputs x (n, ...) float32 and targets y (n,) int64 of the three splits; of sequences what
    `harness.parts.data.sequences` says, of one's own what `Data.of` says, inputs first."""

    train: tuple[Tensor, ...]
    valid: tuple[Tensor, ...]
    test: tuple[Tensor, ...]


class Sealed(Exception):
    """Something of the test split was asked for where that is sealed."""


class SealedSplits(Splits):
    """Splits of a trial that is to know nothing of the test split, which has not been loaded."""

    def __init__(self, train: tuple[Tensor, ...], valid: tuple[Tensor, ...]) -> None:
        object.__setattr__(self, "train", train)
        object.__setattr__(self, "valid", valid)

    def __getattr__(self, name: str) -> tuple[Tensor, ...]:
        if name == "test":
            raise Sealed("the test split is sealed; allowed: the training and the validation split")
        raise AttributeError(name)


def load(data: Data, device: str = "cpu", sealed: bool = False) -> Splits:
    """The splits of a data set as tensors on a device, kept for the life of the process.

    A random subset (`Data.draw`) is the business of whoever draws it: the training split is whole.

    Args:
        data, device: Which, and where.
        sealed: Whether to leave the test split where it is: see `SealedSplits`.

    Raises:
        DataError: a file is missing or is not the pinned one, or one's own cannot be used.
    """
    train, valid = (_split(data.name, data.length, data.own, device, n) for n in (0, 1))
    if data.draw is None and (data.after or data.train is not None):
        train = tuple(part[data.after : data.after + train_size(data)] for part in train)
    if sealed:
        return SealedSplits(train, valid)
    return Splits(train, valid, _split(data.name, data.length, data.own, device, 2))


def at_hand(data: Data | str) -> bool:
    """Whether a data set, or the one of a name, can be loaded without a download: it is bundled or
    made here, or its files are in HARNESS_DATA or the cache. Their content is checked when it is
    read."""
    name = data if isinstance(data, str) else data.name
    if name in sequences.FILES:
        file = sequences.FILES[name]
        return files.at_hand(file.folder, file.name)
    if name == nab.NAME:
        return all(files.at_hand(nab.FOLDER, file) for file in nab.FILES)
    return name not in images.IMAGES or all(
        files.at_hand(name, f"{file}.gz") for file in images.FILES
    )


def train_size(data: Data) -> int:
    """Training examples that are used of a data set, known without loading it."""
    return data.most - data.after if data.train is None else data.train


# Training, validation and test examples, x and y of each, as the files have them: images are bytes.
Arrays = own.Arrays
Shared = Mapping[str, Arrays | own.Content]
_ARRAYS: dict[str, Arrays] = {}


def share(mine: Mapping[str, own.Own] = MappingProxyType({})) -> Shared:
    """What this process has read so far, and data sets of one's own, to be handed to others."""
    return {**_ARRAYS, **{name: one.content for name, one in mine.items()}}


def adopt(shared: Shared) -> None:
    """Take over what another process has read or made, and checked, so that nothing is read again:
    data sets of one's own, by their names, before the study file is run that declares them."""
    own.hand({name: one for name, one in shared.items() if isinstance(one, own.Content)})
    _ARRAYS.update({name: one for name, one in shared.items() if isinstance(one, tuple)})


def forget() -> None:
    """Drop everything that was read."""
    _ARRAYS.clear()
    measured.forget()
    own.forget()
    files.forget()
    _split.cache_clear()


# --- reading -------------------------------------------------------------------------------------


@functools.cache
def _split(
    name: str, length: int | None, mine: own.Own | None, device: str, number: int
) -> tuple[Tensor, ...]:
    """Training, validation or test split, by its number: its inputs, then its targets."""
    brightest = {"digits": 16}.get(name, 255) if mine is None else 1
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        arrays = _arrays(name, length) if mine is None else mine.content.arrays
        parts = len(arrays) // 3
        for array in arrays[number * parts : (number + 1) * parts]:
            tensor = torch.from_numpy(array).to(device)
            if tensor.dtype == torch.uint8:  # images and their labels
                tensor = tensor.long() if tensor.dim() == 1 else tensor.float() / brightest
            found.append(tensor)
    return tuple(found)


def _arrays(name: str, length: int | None) -> Arrays:
    key = name if length is None else f"{name} {length}"
    if key not in _ARRAYS:
        _ARRAYS[key] = _read(name, length)
    return _ARRAYS[key]


BUNDLED: dict[str, Callable[[], Arrays]] = {
    "digits": images.digits,
    "mnist_5k": images.mnist_5k,
    "mnist1d": functools.partial(signals.mnist1d, shuffled=False),
    "mnist1d_shuffled": functools.partial(signals.mnist1d, shuffled=True),
}


def _read(name: str, length: int | None) -> Arrays:
    if name in BUNDLED:
        return BUNDLED[name]()
    if name in images.IMAGES:
        return images.images(name)
    if name == nab.NAME:
        contents = {
            file: files.content(nab.FOLDER, file, nab.HOME, digest)
            for file, digest in nab.FILES.items()
        }
        return nab.arrays(contents, length or nab.SHORTEST)
    content = b""
    if name in sequences.FILES:
        file = sequences.FILES[name]
        content = files.content(file.folder, file.name, file.home, file.digest)
    return sequences.arrays(name, content, length)
