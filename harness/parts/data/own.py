"""Data of one's own: content that is made when it is first asked for, and known by its digest.

A study file is run by every process that trains, and by commands that only read it. So what it
declares by `Data.of` is made where its content is asked for, once a process; a worker does not make
it but is handed it, by the data set's name.

The digest is of the content that trains, of the numbers of all three splits, and never of the code
that made them, of files or of addresses. So the same numbers are the same data set, in any process
and however they were made, and other numbers under an old name are another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.study import DataError

# Training, validation and test examples, inputs and then targets of each.
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Content:
    """What a data set holds.

    Args:
        arrays: Training, validation and test examples, inputs and then targets of each.
        digest: Sixteen hex digits over them: their numbers, types and shapes, and which are inputs.
        caution: What whoever reads results has to know of it, or nothing.
        inputs: What the inputs are called, in errors.
        targets: What the targets are called.
    """

    arrays: Arrays
    digest: str
    caution: str = ""
    inputs: tuple[str, ...] = ("x",)
    targets: tuple[str, ...] = ("y",)


def digest(arrays: Iterable[np.ndarray], inputs: int = 1, targets: int = 1) -> str:
    """Sixteen hex digits over numbers, types and shapes, in order, and over how many of a split's
    arrays are inputs and targets, where there is more than one of either."""
    found = hashlib.sha256()
    if (inputs, targets) != (1, 1):
        found.update(f"{inputs} {targets} ".encode())
    for array in arrays:
        found.update(f"{array.dtype.newbyteorder('<').str} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    return found.hexdigest()[:16]


_HELD: dict[str, Content] = {}  # by digest
_HANDED: dict[str, Content] = {}  # by name: what another process has made


class Own:
    """A data set of one's own: two are equal if their contents are.

    Args:
        name: What it is called.
        make: Gives the content; called at most once.
    """

    def __init__(self, name: str, make: Callable[[], Content]) -> None:
        self.name, self._make = name, make

    @cached_property
    def content(self) -> Content:
        """What it holds.

        Raises:
            DataError: it cannot be made, or cannot be used.
        """
        made = self._make()
        return _HELD.setdefault(made.digest, made)

    @property
    def digest(self) -> str:
        """Of its content."""
        return self.content.digest

    @property
    def parts(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What its inputs are called, and its targets."""
        return self.content.inputs, self.content.targets

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and (self is other or self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Own({self.name!r}, {self.digest!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (held, (self.name, self.digest))


def declared(name: str, make: Callable[[], Content]) -> Own:
    """A data set that is made unless this process has been handed the content of its name."""
    return Own(name, lambda: _HANDED.get(name) or make())


def held(name: str, digest: str) -> Own:
    """The data set of a digest, whose content this process has made or been handed."""

    def find() -> Content:
        if digest not in _HELD:
            raise DataError(
                f"data set {name!r} with digest {digest} is not in this process; allowed: one that "
                "Data.of has made here"
            )
        return _HELD[digest]

    return Own(name, find)


def hand(contents: Mapping[str, Content]) -> None:
    """Let the data sets of these names hold what another process has made."""
    _HANDED.update(contents)
    _HELD.update({content.digest: content for content in contents.values()})


def forget() -> None:
    """Drop what was handed over. What this process has made stays with its data sets."""
    _HANDED.clear()
    _HELD.clear()
