"""What a recorded function is: a list of operations on numbered values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from harness.engine.trees import TREES
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

    def inputs(self) -> list[Ref]:
        """The values that it reads."""
        found = refs(self.args)
        return found + refs(self.kwargs) if self.kwargs else found

    def written(self) -> list[Ref]:
        """The values that it writes to."""
        says = self.says
        if not says.written:
            return []
        given = {**dict(zip(says.arguments, self.args, strict=False)), **self.kwargs}
        return refs([given.get(name) for name in says.arguments if name in says.written])


def refs(value: Any) -> list[Ref]:
    """The values of the list among others."""
    found: list[Ref] = []
    _gather(value, found)
    return found


def _gather(tree: Any, found: list[Ref]) -> None:
    # as `leaves`, which hands each value through a generator a level
    if isinstance(tree, Ref):
        found.append(tree)
    elif isinstance(tree, TREES):
        for one in tree.values() if isinstance(tree, dict) else tree:
            if isinstance(one, Ref):
                found.append(one)
            elif isinstance(one, TREES):
                _gather(one, found)


def last_uses(ops: list[Op]) -> dict[Ref, int]:
    """The place of the operation that uses each value last."""
    return {ref: place for place, op in enumerate(ops) for ref in (*op.inputs(), *op.outs) if ref}
