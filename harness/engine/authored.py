"""The author's code that a module runs, apart from what libraries do."""

from __future__ import annotations

import inspect
import os
import sysconfig
import types
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from harness.engine.structure import digest, told
from harness.study.catalog import SHIPPED

PACKAGE = os.path.dirname(os.path.dirname(__file__))  # this one, too, is a library

_LIBRARY = tuple(
    os.path.realpath(path) + os.sep
    for path in (
        os.path.dirname(torch.__file__), sysconfig.get_path("stdlib"), PACKAGE,
        os.path.dirname(np.__file__),
    )
)  # fmt: skip


def by_author(file: str) -> bool:
    """Whether a file is the author's, and not a library's."""
    path = os.path.realpath(file)
    ours = path.startswith(f"{SHIPPED}{os.sep}")  # in a wheel they lie inside of this package
    return ours or (not path.startswith(_LIBRARY) and not file.startswith("<frozen"))


def authored(kinds: Iterable[type]) -> str:
    """A digest of the author's code that modules of these classes run: the classes, and every
    function, class and value outside of them that they name."""
    seen: dict[int, Any] = {}
    told_of: list[Hashable] = []
    waiting: list[Any] = [*kinds]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept, so that no other thing gets its number
        if isinstance(thing, type):
            if thing.__module__.split(".")[0] in ("torch", "builtins"):
                continue
            waiting += thing.__bases__
            for name, value in sorted(vars(thing).items()):
                inner = getattr(value, "__func__", getattr(value, "fget", value))
                if isinstance(inner, types.FunctionType):
                    waiting.append(inner)
                elif not name.startswith("__"):
                    told_of.append((thing.__qualname__, name, told(value)))
        elif isinstance(thing, types.FunctionType):
            told_of.append(told(thing))
            waiting += _named(thing)
        else:
            told_of.append(told(thing))
    return digest("\n".join(sorted(map(repr, told_of))).encode())


def _named(function: types.FunctionType) -> Iterator[Any]:
    """What a function's code names among its globals, and in modules of the author's."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names |= {*code.co_names}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    for name in sorted(names):
        value = function.__globals__.get(name)
        if inspect.ismodule(value):
            if by_author(getattr(value, "__file__", None) or "<frozen"):
                yield from (vars(value)[part] for part in sorted(names & vars(value).keys()))
        elif value is not None:
            yield value
