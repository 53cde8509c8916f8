"""Rows of one's own, checked: numbers of the right kind, as many of each part, alike in all splits.

What cannot be used is refused in one line that names the part and shows the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.study import DataError


@dataclass(frozen=True)
class Rows:
    """One split.

    Args:
        inputs: What a module is given, (n, ...) each, by what errors call it.
        targets: What its output is held to, in the same way.
    """

    inputs: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.arrays[0])

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Inputs, then targets."""
        return (*self.inputs.values(), *self.targets.values())

    def named(self) -> Iterator[tuple[str, np.ndarray]]:
        """Inputs, then targets, with what errors call them."""
        yield from self.inputs.items()
        yield from self.targets.items()

    def chosen(self, rows: np.ndarray) -> Rows:
        """Some of the rows, by their numbers."""
        return Rows(
            {name: part[rows] for name, part in self.inputs.items()},
            {name: part[rows] for name, part in self.targets.items()},
        )

    def having(self, name: str, values: np.ndarray) -> Rows:
        """The same with other values of an input."""
        return replace(self, inputs=self.inputs | {name: values})


@dataclass(frozen=True)
class Checks:
    """What is asked of a data set's arrays.

    Args:
        name: What the data set is called, in errors.
        task: "classification", "regression", or None where the types of targets tell.
    """

    name: str
    task: str | None = None

    def error(self, words: str) -> DataError:
        """Of this data set, on one line."""
        return DataError(f"data set {self.name!r}: {' '.join(words.split())}")

    def array(self, given: Any, what: str) -> np.ndarray:
        """Numbers, from whatever numpy or torch can make them of."""
        if isinstance(given, Tensor):
            given = given.detach().cpu()
            given = given.float() if given.dtype == torch.bfloat16 else given
        try:
            found = np.asarray(given)
        except (TypeError, ValueError) as error:
            raise self.error(f"{what} is no array ({error}); allowed: numbers") from None
        if found.dtype.kind not in "biuf":
            raise self.error(
                f"{what} holds {_first(found)} (type {found.dtype}); allowed: numbers; "
                "numpy.unique(words, return_inverse=True)[1] numbers words"
            )
        return found

    def stack(self, items: Sequence[np.ndarray], what: str) -> np.ndarray:
        """One array (n, ...) of n."""
        for number, item in enumerate(items):
            if item.shape != items[0].shape:
                raise self.error(
                    f"row {number} of {what} has shape {item.shape} and row 0 {items[0].shape}; allowed: "
                    "one shape"
                )
        return self.array(np.stack(items) if items else np.zeros(0), what)

    def checked(self, rows: Rows, where: str) -> Rows:
        """The rows, in the types that they train in."""
        several = len(rows.inputs) > 1
        first, x = next(iter(rows.inputs.items()))
        if x.ndim < (1 if several else 2):
            allowed = "(n,), (n, F)" if several else "(n, F), (n, T, F)"
            raise self.error(
                f"{first}{where} has shape {x.shape}; allowed: {allowed} …, as x.reshape(-1, 1) has"
            )
        for name, part in rows.named():
            if part.ndim < 1 or len(part) != len(x):
                raise self.error(
                    f"{first}{where} has {len(x)} rows and {name} {len(part) if part.ndim else 'none'}; "
                    "allowed: as many"
                )
        kind = self._one_of_several if several else self._input
        return Rows(
            {name: kind(part, f"{name}{where}") for name, part in rows.inputs.items()},
            {name: self._target(part, f"{name}{where}") for name, part in rows.targets.items()},
        )

    def _input(self, x: np.ndarray, what: str) -> np.ndarray:
        """int64 (n, T) as it is, for that is what an embedding reads; bytes as they are, which take
        a quarter of the room; all else as float32."""
        if x.dtype == np.int64 and x.ndim == 2:
            self._none(x < 0, x, what, "token numbers (int64) of at least 0, or floats")
            return x
        return x if x.dtype == np.uint8 else self._finite(x, what)

    def _one_of_several(self, x: np.ndarray, what: str) -> np.ndarray:
        """Truth values and whole numbers stay what they are, as masks, tokens and lengths do."""
        if x.dtype == np.bool_ or (x.dtype == np.uint8 and x.ndim > 1):
            return x
        if x.dtype.kind not in "iu":
            return self._finite(x, what)
        self._none(x < 0, x, what, "whole numbers of at least 0, or floats")
        return x.astype(np.int64)

    def _target(self, y: np.ndarray, what: str) -> np.ndarray:
        """Whole numbers are classes, int64, unless the task says otherwise; all else float32."""
        if y.dtype.kind == "f" and self.task == "classification":
            raise self.error(
                f"{what} holds {_first(y)} (type {y.dtype}); allowed for classification: whole "
                "numbers, as y.astype('int64') has"
            )
        if y.dtype.kind == "f" or self.task == "regression":
            return self._finite(y, what)
        if y.ndim > 2 or (y.ndim == 2 and y.shape[1] == 1):
            raise self.error(
                f"{what} has shape {y.shape}; allowed for classes: (n,), as y.ravel() has, or (n, T) of "
                "sequences; for numbers: floats"
            )
        y = y.astype(np.int64)
        self._none(y < 0, y, what, "classes from 0 on")
        return y

    def _finite(self, values: np.ndarray, what: str) -> np.ndarray:
        with np.errstate(over="ignore"):
            found = values.astype(np.float32)
        self._none(~np.isfinite(found), values, what, "finite numbers that float32 can hold")
        return found

    def _none(self, bad: np.ndarray, values: np.ndarray, what: str, allowed: str) -> None:
        """Raise for the first value that is marked as bad, if there is one."""
        if not bad.any():
            return
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        shown = ", ".join(map(str, place))
        raise self.error(
            f"{what} holds {values[place]} at [{shown}], {int(bad.sum())} such in all; allowed: {allowed}"
        )

    def alike(self, splits: Sequence[Rows], where: Sequence[str]) -> list[Rows]:
        """The splits, each part of one type and one shape a row."""
        first = splits[0]
        for rows, place in zip(splits, where, strict=True):
            names, others = ([name for name, _ in one.named()] for one in (rows, first))
            if names != others:
                raise self.error(
                    f"the data{place} are {', '.join(names)}, of the training split "
                    f"{', '.join(others)}; allowed: all alike"
                )
        mixed = [  # bytes beside floats
            name
            for name in first.inputs
            if {rows.inputs[name].dtype for rows in splits} == {np.dtype("u1"), np.dtype("f4")}
        ]
        for name in mixed:
            splits = [rows.having(name, rows.inputs[name].astype(np.float32)) for rows in splits]
        first = splits[0]
        for rows, place in zip(splits, where, strict=True):
            for (name, one), other in zip(rows.named(), first.arrays, strict=True):
                if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
                    raise self.error(
                        f"a row of {name}{place} is {one.dtype} of shape {one.shape[1:]}, of the "
                        f"training split {other.dtype} of shape {other.shape[1:]}; allowed: all alike"
                    )
        return list(splits)


def _first(values: np.ndarray) -> str:
    """The first of some values, as Python writes it."""
    return shortened(repr(values.ravel()[:1].tolist()[0])) if values.size else "nothing"


SHOWN = 60  # characters of a value


def shortened(text: str) -> str:
    """What an error has room for."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def shown(value: Any) -> str:
    """A value in few words."""
    shape = getattr(value, "shape", None)
    kind = type(value).__name__
    text = f"of shape {tuple(shape)}" if shape else " ".join(repr(value).split())
    text = shortened(re.sub(r" at 0x[0-9a-f]+", "", text))
    return text if text.startswith((kind, f"<{kind}")) else f"{kind} {text}"
