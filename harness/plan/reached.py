"""Data sets of a study's own that its code can reach: their contents are in every key."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from harness.engine.stages import Beside, Stage
from harness.engine.training import Training
from harness.parts.data import Data, Own
from harness.study import DataError


def reached(function: Any) -> dict[str, Own]:
    """The data sets of one's own, by name, that a study's function can reach by the names that it
    and what it uses have for them: in its own module and in those beside it, never in what is
    installed; within tuples, lists, mappings, partials, classes and objects, too.

    Raises:
        DataError: two that differ have one name.
    """
    home = _head(getattr(function, "__module__", ""))
    found: dict[str, Own] = {}
    seen: dict[int, Any] = {}  # kept, so that no other value takes an address
    waiting = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if not isinstance(value, Data):
            waiting += _within(value, home)
        elif value.own is not None and found.setdefault(value.name, value.own) != value.own:
            raise DataError(
                f"two data sets have the name {value.name!r}; allowed: one each, as in "
                "Data.of(…, name='mine')"
            )
    return dict(sorted(found.items()))


def _head(module: Any) -> str:
    return str(module).partition(".")[0]


def _within(value: Any, home: str) -> Iterator[Any]:
    """What a value holds or names."""
    if isinstance(value, str | bytes | np.ndarray):
        return
    if isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, tuple | list | set | frozenset):
        yield from value
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, types.FunctionType):
        yield from _used(value, home)
    elif isinstance(value, types.ModuleType):
        if _head(value.__name__) == home:
            yield from vars(value).values()
    elif isinstance(value, type):
        if _head(value.__module__) == home:
            yield from (*vars(value).values(), *value.__bases__)
    elif isinstance(value, Training | Stage | Beside) or _head(type(value).__module__) == home:
        yield from (type(value), getattr(value, "__dict__", None))
    else:
        yield getattr(value, "__wrapped__", None)  # of functools.cache


def _used(function: types.FunctionType, home: str) -> Iterator[Any]:
    """What a function's code names, and what it closes over."""
    yield from (function.__defaults__, function.__kwdefaults__, vars(function))
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    if _head(function.__module__) == home:
        names = _names(function.__code__)
        yield from (function.__globals__[name] for name in names if name in function.__globals__)


def _names(code: types.CodeType) -> Iterator[str]:
    """Every name that some code has for what lies outside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
