"""What users hand over as data, read as arrays: pairs of arrays or tensors, frames, datasets.

Everything is checked here, and what cannot be used is refused in one line that shows it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from harness.study import DataError

HUGGING_FACE = "hf:"
# The names that splits have, in the order in which they are trained, validated and tested on.
NAMES = (("train", "training"), ("valid", "validation", "val", "dev"), ("test", "testing"))
FORMS = (
    "(x, y) of arrays or tensors, a frame with target=, a torch Dataset, two or three of these (train, "
    "valid, test), 'hf:<id>', or a function that returns one of them"
)


@dataclass(frozen=True)
class Reader:
    """Reads what users hand over.

    Args:
        name: What the data set is called, in errors.
        target: The column, or columns, of y in frames.
        task: "classification", "regression", or None where the type of y tells.
    """

    name: str
    target: str | tuple[str, ...] | None = None
    task: str | None = None

    def error(self, words: str) -> DataError:
        """Of this data set, on one line."""
        return DataError(f"data set {self.name!r}: {' '.join(words.split())}")

    def splits(self, source: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inputs and targets of each split: one that is still to be split, training and test, or
        all three.

        Raises:
            DataError: it cannot be used, or could not be made.
        """
        given = self._given(source)
        if isinstance(given, Mapping):
            given = self._by_name(given)
        elif not self._are_splits(given):
            given = (given,)
        where = {1: ("",), 2: (" of the training split", " of the test split")}.get(
            len(given),
            tuple(f" of the {name} split" for name in ("training", "validation", "test")),
        )
        pairs = [self._pair(one, place) for one, place in zip(given, where, strict=True)]
        return self._alike(pairs, where)

    def _given(self, source: Any) -> Any:
        if isinstance(source, str) and source.startswith(HUGGING_FACE):
            return self._hugging_face(source)
        if not callable(source) or isinstance(source, Dataset):
            return source
        try:
            return source()
        except DataError:
            raise
        except Exception as error:
            raise self.error(f"its function raises {type(error).__name__}: {error}") from error

    def _hugging_face(self, source: str) -> Any:
        try:
            library: Any = importlib.import_module("datasets")
        except ImportError:
            raise self.error(
                f"{source!r} needs the package datasets, which is not installed; pip install datasets"
            ) from None
        try:
            return library.load_dataset(source.removeprefix(HUGGING_FACE))
        except Exception as error:  # whatever the library raises, the remedy is the same
            raise self.error(
                f"{source!r} cannot be loaded ({type(error).__name__}: {str(error)[:200]}); allowed: an "
                "id of huggingface.co/datasets, at hand or to be downloaded"
            ) from None

    def _by_name(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        named = [next((given[n] for n in names if n in given), None) for names in NAMES]
        found = tuple(one for one in named if one is not None)
        if named[0] is None or (named[1] is not None and named[2] is None):
            raise self.error(
                f"its splits are {', '.join(map(str, given)) or '(none)'}; allowed: train; train and "
                "test; train, valid and test"
            )
        return found

    def _are_splits(self, given: Any) -> bool:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            return False
        return all(
            isinstance(one, tuple | Dataset)
            or _is_columns(one)
            or (_is_frame(one) and self.target is not None)
            for one in given
        )

    # --- one split -------------------------------------------------------------------------------

    def _pair(self, given: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Checked inputs and targets of one split."""
        if _is_frame(given) or _is_columns(given):
            x, y = self._columns(given, where)
            return self._checked(x, y, where)
        if isinstance(given, Dataset):
            x, y = self._items(given, where)
        elif isinstance(given, tuple | list) and len(given) == 2:
            x, y = (self._array(part, f"{n}{where}") for n, part in zip("xy", given, strict=True))
            if _is_frame(given[0]):
                x = x.astype(np.float64)
        else:
            raise self.error(f"its source{where} is {_shown(given)}; allowed: {FORMS}")
        return self._checked(x, y, where)

    def _array(self, given: Any, what: str) -> np.ndarray:
        if _is_frame(given):
            return np.stack([self._column(given, name, what) for name in given.columns], 1)
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

    def _columns(self, given: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
        """x (n, F) and y of a frame, or of columns that hold arrays."""
        names = [*(given.columns if _is_frame(given) else given.column_names)]
        targets = (self.target,) if isinstance(self.target, str) else self.target or ()
        if not targets or any(target not in names for target in targets):
            raise self.error(
                f"target={self.target!r}; allowed{where}: a column, or several, of "
                f"{', '.join(map(str, names))}"
            )
        inputs = [name for name in names if name not in targets]
        if not inputs:
            raise self.error(f"it has no column but the target{where}; allowed: at least one")
        x, y = ([self._column(given, name, where) for name in part] for part in (inputs, targets))
        if len(x) == 1 and x[0].ndim > 1:  # images, or sequences
            return x[0], _side_by_side(y)
        return _side_by_side(x, keep=True).astype(np.float64), _side_by_side(y)

    def _column(self, given: Any, name: Any, where: str) -> np.ndarray:
        what = f"column {name!r}{where}"
        if _is_frame(given):
            return self._array(given[name].to_numpy(), what)
        return self._stack([np.asarray(one) for one in given[name]], what)

    def _items(self, given: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
        """x and y of a torch Dataset, each of whose items is read once."""
        if type(given) is TensorDataset and len(given.tensors) == 2:
            x, y = (self._array(p, f"{n}{where}") for n, p in zip("xy", given.tensors, strict=True))
            return x, y
        every = (
            given if isinstance(given, IterableDataset) else (given[i] for i in range(len(given)))
        )
        xs: list[np.ndarray] = []
        ys: list[np.ndarray] = []
        for number, item in enumerate(every):
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise self.error(f"item {number}{where} is {_shown(item)}; allowed: (x, y)")
            for part, parts in zip(item, (xs, ys), strict=True):
                parts.append(np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part))
        return self._stack(xs, f"x{where}"), self._stack(ys, f"y{where}")

    def _stack(self, items: Sequence[np.ndarray], what: str) -> np.ndarray:
        for number, item in enumerate(items):
            if item.shape != items[0].shape:
                raise self.error(
                    f"row {number} of {what} has shape {item.shape} and row 0 {items[0].shape}; allowed: "
                    "one shape"
                )
        return self._array(np.stack(items) if items else np.zeros(0), what)

    # --- numbers of the right kind ---------------------------------------------------------------

    def _checked(self, x: np.ndarray, y: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
        if x.ndim < 2:
            raise self.error(
                f"x{where} has shape {x.shape}; allowed: (n, F), (n, T, F) …, as x.reshape(-1, 1) has"
            )
        if y.ndim < 1 or len(x) != len(y):
            raise self.error(
                f"x{where} has {len(x)} rows and y {len(y) if y.ndim else 'none'}; allowed: as many"
            )
        return self._inputs(x, f"x{where}"), self._targets(y, f"y{where}")

    def _inputs(self, x: np.ndarray, what: str) -> np.ndarray:
        """int64 (n, T) as it is, for that is what an embedding reads; bytes as they are, which take
        a quarter of the room; all else as float32."""
        if x.dtype == np.int64 and x.ndim == 2:
            self._none(x < 0, x, what, "token numbers (int64) of at least 0, or floats")
            return x
        return x if x.dtype == np.uint8 else self._finite(x, what)

    def _targets(self, y: np.ndarray, what: str) -> np.ndarray:
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

    def _alike(
        self, pairs: list[tuple[np.ndarray, np.ndarray]], where: Iterable[str]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """The splits, all of one type and one shape a row."""
        if len({x.dtype for x, _ in pairs} - {np.dtype(np.int64)}) > 1:  # bytes beside floats
            pairs = [(x.astype(np.float32) if x.dtype == np.uint8 else x, y) for x, y in pairs]
        first = pairs[0]
        for pair, place in zip(pairs, where, strict=True):
            for what, one, other in zip("xy", pair, first, strict=True):
                if (one.shape[1:], one.dtype) != (other.shape[1:], other.dtype):
                    raise self.error(
                        f"a row of {what}{place} is {one.dtype} of shape {one.shape[1:]}, of the training "
                        f"split {other.dtype} of shape {other.shape[1:]}; allowed: all alike"
                    )
        return pairs


def _is_frame(value: Any) -> bool:
    """A pandas frame, told without importing pandas."""
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _is_columns(value: Any) -> bool:
    """A split of Hugging Face's."""
    return hasattr(value, "column_names") and hasattr(value, "features")


def _side_by_side(columns: Sequence[np.ndarray], keep: bool = False) -> np.ndarray:
    """(n, F); one column alone is (n,), unless it is to `keep` its place."""
    return np.stack(columns, 1) if len(columns) > 1 or keep else columns[0]


SHOWN = 60  # characters of a value


def _shown(value: Any) -> str:
    """A value in few words."""
    shape = getattr(value, "shape", None)
    text = f"of shape {tuple(shape)}" if shape else " ".join(repr(value).split())
    return f"{type(value).__name__} {text if len(text) <= SHOWN else f'{text[:SHOWN]} …'}"


def _first(values: np.ndarray) -> str:
    """The first of some values, as Python writes it."""
    return repr(values.ravel()[:1].tolist()[0])[:SHOWN] if values.size else "nothing"
