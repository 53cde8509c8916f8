"""What a recorded function is: a list of operations on numbered values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class Untraceable(RuntimeError):
    """The function depends on tensors' values, or reads tensors that no operation made."""


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations before they run."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, for seconds, to keep it from looking in


@dataclass(frozen=True)
class Ref:
    """A value of the list of operations, by its number."""

    number: int


@dataclass
class Op:
    """One operation: ``outs = target(*args, **kwargs)``."""

    target: Any
    args: Any
    kwargs: dict[str, Any]
    outs: list[Ref | None]
    many: bool  # whether the operation returns a sequence

    def inputs(self) -> Iterator[Ref]:
        """The values that it reads."""
        yield from refs(self.args)
        yield from refs(self.kwargs)

    def written(self) -> Iterator[Ref]:
        """The values that it writes to."""
        schema = self.target._schema
        if schema.is_mutable:
            names = [one.name for one in schema.arguments]
            given = {**dict(zip(names, self.args, strict=False)), **self.kwargs}
            for one in schema.arguments:
                if one.alias_info is not None and one.alias_info.is_write:
                    yield from refs(given.get(one.name))


def refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from refs(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from refs(one)


def mapped(value: Any, fn: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(mapped(one, fn) for one in value)
    if isinstance(value, dict):
        return {key: mapped(one, fn) for key, one in value.items()}
    return fn(value)


def last_uses(ops: list[Op]) -> dict[Ref, int]:
    """The place of the operation that uses each value last."""
    return {ref: place for place, op in enumerate(ops) for ref in (*op.inputs(), *op.outs) if ref}
