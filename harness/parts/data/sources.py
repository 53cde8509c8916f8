"""What users hand over as data, read as arrays: pairs of arrays or tensors, frames, datasets.

A part of a row (an input or a target) is an array (n, ...). A tuple of arrays, or a dict of them by
name, is several; in frames and dicts of columns, `inputs` and `target` say which columns are which.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from harness.parts.data.rows import Checks, Rows, shown
from harness.study import DataError

HUGGING_FACE = "hf:"
# The names that splits have, in the order in which they are trained, validated and tested on.
NAMES = (("train", "training"), ("valid", "validation", "val", "dev"), ("test", "testing"))
FORMS = (
    "(x, y) of arrays or tensors, a frame with target=, a torch Dataset, two or three of these (train, "
    "valid, test), 'hf:<id>', or a function that returns one of them"
)
PAIRS = "(x, y), where several inputs are a tuple or a dict, ((a, b), y); or a dict, with target="

# One column by its name, several that stand side by side, or by name several parts of these.
Group = str | tuple[str, ...]
Columns = Group | Mapping[str, Group]


@dataclass(frozen=True)
class Reader(Checks):
    """Reads what users hand over.

    Args:
        name, task: As of `Checks`.
        target: The columns of targets, where the source has columns.
        inputs: The columns of inputs; None: all others.
    """

    target: Columns | None = None
    inputs: Columns | None = None

    def splits(self, source: Any) -> list[Rows]:
        """Each split: one that is still to be split, training and test, or all three.

        Raises:
            DataError: it cannot be used, or could not be made.
        """
        given = self._given(source)
        if isinstance(given, Mapping) and not self._are_columns(given):
            given = self._by_name(given)
        elif not self._are_splits(given):
            given = (given,)
        where = {1: ("",), 2: (" of the training split", " of the test split")}.get(
            len(given),
            tuple(f" of the {name} split" for name in ("training", "validation", "test")),
        )
        return self.alike(
            [self._rows(one, place) for one, place in zip(given, where, strict=True)], where
        )

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

    def _are_columns(self, given: Mapping[str, Any]) -> bool:
        """Whether a mapping is of arrays by name, and not of splits."""
        return self.target is not None and not any(name in given for name in NAMES[0])

    def _by_name(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        named = [next((given[n] for n in names if n in given), None) for names in NAMES]
        found = tuple(one for one in named if one is not None)
        if named[0] is None or (named[1] is not None and named[2] is None):
            raise self.error(
                f"its splits are {', '.join(map(str, given)) or '(none)'}; allowed: train; train and "
                "test; train, valid and test; or arrays by name, with target="
            )
        return found

    def _are_splits(self, given: Any) -> bool:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            return False
        return all(
            isinstance(one, tuple | Dataset)
            or _is_columns(one)
            or (self.target is not None and (isinstance(one, Mapping) or _is_frame(one)))
            for one in given
        )

    # --- one split -------------------------------------------------------------------------------

    def _rows(self, given: Any, where: str) -> Rows:
        if isinstance(given, Dataset):
            given = self._items(given, where)
        if _is_frame(given) or _is_columns(given) or isinstance(given, Mapping):
            given = self._of_columns(given, where)
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise self.error(f"its source{where} is {shown(given)}; allowed: {FORMS}")
        x, y = given
        inputs, targets = self._parts(x, "x", where), self._parts(y, "y", where)
        return self.checked(Rows(inputs, targets), where)

    def _parts(self, given: Any, letter: str, where: str) -> dict[str, np.ndarray]:
        """One part or several, by what errors call them."""
        named = {called(letter, at): one for at, one in _several(given).items()}
        if not named:
            raise self.error(f"{letter}{where} is {shown(given)}; allowed: at least one array")
        found = {name: self._array(one, f"{name}{where}") for name, one in named.items()}
        if letter == "x" and len(named) == 1 and _is_frame(*named.values()):
            return {name: x.astype(np.float64) for name, x in found.items()}
        return found

    def _array(self, given: Any, what: str) -> np.ndarray:
        if _is_frame(given):
            return np.stack([self._column(given, name, f" of {what}") for name in given.columns], 1)
        return self.array(given, what)

    def _of_columns(self, given: Any, where: str) -> tuple[Any, Any]:
        """x and y of a frame, of columns that hold arrays, or of a dict of arrays: an array each, or
        several by name."""
        names = _names(given)
        targets = [*_columns_of(self.target)]
        if not targets or any(target not in names for target in targets):
            raise self.error(
                f"target={self.target!r}; allowed{where}: a column, or several, of "
                f"{', '.join(map(str, names))}"
            )
        left = [name for name in names if name not in targets]
        if not left:
            raise self.error(f"it has no column but the target{where}; allowed: at least one")
        unknown = [name for name in _columns_of(self.inputs) if name not in left]
        if unknown:
            raise self.error(
                f"inputs={self.inputs!r}; allowed{where}: columns of {', '.join(map(str, left))}"
            )
        return self._inputs(given, left, where), self._chosen(given, self.target, where)

    def _inputs(self, given: Any, left: list[str], where: str) -> Any:
        if self.inputs is not None:
            x = self._chosen(given, self.inputs, where, keep=True)
        elif isinstance(given, Mapping) and len(left) > 1:
            return {name: self._column(given, name, where) for name in left}
        else:
            x = self._column(given, left[0], where)
            if len(left) > 1 or x.ndim == 1:
                x = self._side_by_side(given, left, where, keep=True)
            else:  # images, or sequences
                return x
        # columns of whole numbers are numbers, where they are all that there is
        return x.astype(np.float64) if isinstance(x, np.ndarray) and _is_table(self.inputs) else x

    def _chosen(self, given: Any, columns: Any, where: str, keep: bool = False) -> Any:
        """An array, or several by name, of the columns that are asked for."""
        if isinstance(columns, Mapping):
            return {
                name: self._chosen(given, group, where, keep) for name, group in columns.items()
            }
        if isinstance(columns, tuple | list):
            return self._side_by_side(given, columns, where, keep)
        return self._column(given, columns, where)

    def _side_by_side(
        self, given: Any, names: Sequence[str], where: str, keep: bool = False
    ) -> np.ndarray:
        """(n, F); one column alone is (n,), unless it is to `keep` its place."""
        columns = [self._column(given, name, where) for name in names]
        shapes = [column.shape for column in columns]
        if len({*shapes}) > 1:
            odd = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
            raise self.error(
                f"columns {names[0]!r} of shape {shapes[0]} and {names[odd]!r} of shape {shapes[odd]}"
                f"{where} cannot stand side by side; allowed: one shape, or several parts, as "
                f"{'inputs' if keep else 'target'}={ {names[0]: names[0], names[odd]: names[odd]} }"
            )
        return np.stack(columns, 1) if len(columns) > 1 or keep else columns[0]

    def _column(self, given: Any, name: Any, where: str) -> np.ndarray:
        what = f"column {name!r}{where}"
        if _is_frame(given):
            return self.array(given[name].to_numpy(), what)
        if isinstance(given, Mapping):
            return self._array(given[name], what)
        return self.stack([np.asarray(one) for one in given[name]], what)

    def _items(self, given: Any, where: str) -> Any:
        """(x, y), or columns by name, of a torch Dataset, each of whose items is read once."""
        if type(given) is TensorDataset and len(given.tensors) == 2:
            return given.tensors
        every = (
            given if isinstance(given, IterableDataset) else (given[i] for i in range(len(given)))
        )
        found: list[dict[Any, list[np.ndarray]]] = []
        for number, item in enumerate(every):
            if isinstance(item, Mapping):
                parts = [item]
            elif isinstance(item, tuple | list) and len(item) == 2:
                parts = [_several(one) for one in item]
            else:
                raise self.error(f"item {number}{where} is {shown(item)}; allowed: {PAIRS}")
            found = found or [{at: [] for at in part} for part in parts]
            if [[*part] for part in parts] != [[*part] for part in found]:
                raise self.error(
                    f"item {number}{where} holds {_listed(parts)}, and item 0 {_listed(found)}; allowed: "
                    "all alike"
                )
            for part, columns in zip(parts, found, strict=True):
                for at, one in part.items():
                    value = one.detach().cpu() if isinstance(one, Tensor) else one
                    columns[at].append(np.asarray(value))
        if not found:
            return np.zeros((0, 1)), np.zeros(0)
        stacks = [
            {at: self.stack(rows, f"{called(letter, at)}{where}") for at, rows in part.items()}
            for letter, part in zip(_letters(found), found, strict=True)
        ]
        return stacks[0] if len(stacks) == 1 else tuple(stacks)


def _several(given: Any) -> Mapping[Any, Any]:
    """The parts of x or of y, by name or number; one alone has None for a name."""
    if isinstance(given, Mapping):
        return given
    if isinstance(given, tuple) and any(getattr(one, "ndim", 0) > 0 for one in given):
        return dict(enumerate(given))
    return {None: given}


def called(letter: str, at: Any) -> str:
    """What errors call a part of x or y."""
    return letter if at is None else f"{letter}[{at!r}]"


def _letters(parts: Sequence[Any]) -> Sequence[str]:
    return "xy" if len(parts) == 2 else ("item",)


def _listed(parts: Sequence[Mapping[Any, Any]]) -> str:
    return ", ".join(
        called(letter, at)
        for letter, part in zip(_letters(parts), parts, strict=True)
        for at in part
    )


def _columns_of(columns: Columns | None) -> list[str]:
    """The names that are asked for."""
    if columns is None:
        return []
    if isinstance(columns, Mapping):
        return [name for group in columns.values() for name in _columns_of(group)]
    return list(columns) if isinstance(columns, tuple | list) else [columns]


def _is_table(columns: Columns | None) -> bool:
    """Whether columns stand side by side in one part."""
    return not isinstance(columns, str | Mapping)


def _names(given: Any) -> list[str]:
    if isinstance(given, Mapping):
        return [*given]
    return [*(given.columns if _is_frame(given) else given.column_names)]


def _is_frame(value: Any) -> bool:
    """A pandas frame, told without importing pandas."""
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _is_columns(value: Any) -> bool:
    """A split of Hugging Face's."""
    return hasattr(value, "column_names") and hasattr(value, "features")
