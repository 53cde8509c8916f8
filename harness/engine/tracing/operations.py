"""What a recorded function is: a list of operations on numbered values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from harness.engine.trees import leaves
from harness.parts.torch_private import Signature, signature

aten = torch.ops.aten


class Untraceable(RuntimeError):
    """The function depends on tensors' values, or reads tensors that no operation made."""


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

    @property
    def says(self) -> Signature:
        """What the operation says of itself."""
        found = signature(self.target)
        assert found is not None, "what says nothing is not recorded"
        return found

    def inputs(self) -> Iterator[Ref]:
        """The values that it reads."""
        yield from refs(self.args)
        yield from refs(self.kwargs)

    def written(self) -> Iterator[Ref]:
        """The values that it writes to."""
        says = self.says
        if says.written:
            given = {**dict(zip(says.arguments, self.args, strict=False)), **self.kwargs}
            yield from refs([given.get(name) for name in says.arguments if name in says.written])


def refs(value: Any) -> Iterator[Ref]:
    """The values of the list among others."""
    return (one for one in leaves(value) if isinstance(one, Ref))


def last_uses(ops: list[Op]) -> dict[Ref, int]:
    """The place of the operation that uses each value last."""
    return {ref: place for place, op in enumerate(ops) for ref in (*op.inputs(), *op.outs) if ref}
