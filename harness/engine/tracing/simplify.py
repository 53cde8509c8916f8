"""Less to do for the same numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from harness.engine.tracing.operations import Op, Ref, aten, refs
from harness.engine.trees import mapped

VIEWS = {aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.detach.default,
         aten.alias.default}  # fmt: skip
# What follows from shapes alone.
_FILLED = {
    aten.ones_like.default, aten.zeros_like.default, aten.full_like.default,
    aten.new_zeros.default, aten.new_ones.default, aten.new_full.default,
}  # fmt: skip
MOST_KEPT = 2**20  # bytes of a value that is worked out once and kept
# A product with a number, and the same with a tensor of no dimensions: read in half the time.
_WITH_TENSOR = {
    aten.mul.Scalar: aten.mul.Tensor, aten.div.Scalar: aten.div.Tensor,
    aten.add.Scalar: aten.add.Tensor, aten.sub.Scalar: aten.sub.Tensor,
    aten.rsub.Scalar: aten.sub.Tensor,
}  # fmt: skip


class Simplified:
    """A list of operations without what transforms leave behind: what follows from constants,
    views that change no shape, products and powers with one, double transposes, what was worked
    out before, and what nothing uses. Every number stays what it was, to the bit, but those of a
    product whose transpose was taken: it is worked out the other way round.

    Args:
        ops: As recorded; changed.
        returned: The values that are returned, nested as they are.
        tensors: A tensor of each value, as it was when recorded; values are added.
        constants: Values from outside; those that follow from them are added.

    Attributes:
        same: Which value stands for each that was taken out.
    """

    def __init__(
        self,
        ops: list[Op],
        returned: Any,
        tensors: list[Tensor],
        constants: dict[Ref, Tensor],
    ) -> None:
        self.tensors, self.constants = tensors, constants
        self.same: dict[Ref, Ref] = {}
        self._made: dict[Ref, Op] = {}
        self._seen: dict[Any, Op] = {}
        self._otherwise: set[Ref] = set()  # values that may lie otherwise than when recorded
        self._memory = [_memory(tensor) for tensor in tensors]
        # what some operation writes to
        self._changing = {self._memory[ref.number] for op in ops for ref in op.written()}
        kept = [op for op in ops if not self._known(op)]
        self.returned = mapped(returned, self._earliest)
        turned = self._turned(_used(kept, self.returned))
        self.ops = _used(self._viewed(turned), self.returned)

    def _turned(self, ops: list[Op]) -> list[Op]:
        """The transpose of a product as a product of transposes, so that it lies in order."""
        uses = Counter(ref for op in ops for ref in op.inputs())
        made = {out: op for op in ops for out in op.outs if out is not None}
        turned: list[Op] = []
        for op in ops:
            out = op.outs[0]
            flips = (op.target, op.args[1:]) == (aten.transpose.int, (1, 2))
            product = made.get(op.args[0]) if flips else None
            if (
                out is None
                or product is None
                or product.target is not aten.bmm.default
                or uses[op.args[0]] > 1
                or not self._still(*product.inputs(), out)
            ):
                turned.append(op)
                continue
            factors = []
            for factor in reversed(product.args):
                before = made.get(factor)
                if before is not None and (before.target, before.args[1:]) == (op.target, (1, 2)):
                    factors.append(before.args[0])
                else:
                    factors.append(self._new(self.tensors[factor.number].transpose(1, 2)))
                    turned.append(Op(op.target, (factor, 1, 2), {}, [factors[-1]], False))
            was = self.tensors[out.number]
            here = torch.empty_like(was, memory_format=torch.contiguous_format)
            self.tensors[out.number], self._memory[out.number] = here, _memory(here)
            turned.append(Op(product.target, tuple(factors), {}, [out], False))
            self._otherwise.add(out)
        return turned

    def _viewed(self, ops: list[Op]) -> list[Op]:
        """Views of what may lie otherwise as reshapes, which copy where there is no such view."""
        for op in ops:
            if self._otherwise.isdisjoint(op.inputs()):
                continue
            if op.target is aten.view.default and self._still(*op.inputs(), *op.outs):
                op.target = aten.reshape.default
            self._otherwise.update(out for out in op.outs if out is not None)
        return ops

    def _new(self, value: Tensor) -> Ref:
        self.tensors.append(value)
        self._memory.append(_memory(value))
        return Ref(len(self.tensors) - 1)

    def _earliest(self, value: Any) -> Any:
        return self.same.get(value, value) if isinstance(value, Ref) else value

    def _still(self, *values: Ref | None) -> bool:
        """Whether nothing ever writes to these values' memory."""
        for value in values:
            if value is not None and self._memory[value.number] in self._changing:
                return False
        return True

    def _known(self, op: Op) -> bool:
        """Whether an operation need not be run, because its value is known otherwise."""
        op.args, op.kwargs = mapped(op.args, self._earliest), mapped(op.kwargs, self._earliest)
        if op.says.written:
            return False
        if self._constant(op):
            return True
        out = op.outs[0]
        if out is not None and not op.many and (equal := self._equal(op, out)) is not None:
            self.same[out] = equal
            return True
        self._rewrite(op)
        return self._again(op)

    def _constant(self, op: Op) -> bool:
        """Keep a value that follows from constants or shapes."""
        inputs = set(op.inputs())
        outs = [out for out in op.outs if out is not None]
        size = sum(self.tensors[out.number].untyped_storage().nbytes() for out in outs)
        if (
            not (op.target in _FILLED or inputs <= self.constants.keys())
            or torch.Tag.nondeterministic_seeded in op.target.tags
            or not self._still(*inputs, *outs)
            or size > MOST_KEPT
        ):
            return False
        self.constants.update({out: self.tensors[out.number] for out in outs})
        return True

    def _equal(self, op: Op, out: Ref) -> Ref | None:
        """The value that an operation of one output repeats, if it does."""
        if not op.args or not isinstance(op.args[0], Ref):
            return None
        source = op.args[0]
        before = self._made.get(source)
        if (
            op.target is aten.transpose.int
            and before is not None
            and before.target is aten.transpose.int
            and before.args[1:] == op.args[1:]
        ):
            first = before.args[0]
            assert isinstance(first, Ref)
            return first
        for source in op.inputs():
            was, now = self.tensors[source.number], self.tensors[out.number]
            if was.shape == now.shape and was.dtype == now.dtype:
                if op.target in VIEWS or (
                    op.target is aten.permute.default and list(op.args[1]) == list(range(now.dim()))
                ):
                    return source
                # a copy: it must not follow what is written to the original later
                if self._still(source, out) and self._one_with(op, source):
                    if was.stride() != now.stride():
                        self._otherwise.add(source)
                    return source
        return None

    def _one_with(self, op: Op, source: Ref) -> bool:
        """Whether an operation multiplies a value by one, or raises it to the first power."""
        if op.kwargs or len(op.args) != 2:
            return False
        first, second = op.args
        if op.target in (aten.mul.Scalar, aten.pow.Tensor_Scalar):
            return first == source and not isinstance(second, Ref) and second == 1
        if op.target is not aten.mul.Tensor:
            return False
        other = second if first == source else first
        factor = self.constants.get(other) if isinstance(other, Ref) else None
        return factor is not None and bool((factor == 1).all())

    def _rewrite(self, op: Op) -> None:
        """A square as a product, and a number as a tensor."""
        if op.kwargs or len(op.args) != 2 or not isinstance(op.args[0], Ref):
            return
        value, number = op.args
        if isinstance(number, Ref) or op.outs[0] is None:
            return
        kind = self.tensors[op.outs[0].number].dtype
        if op.target is aten.pow.Tensor_Scalar and number == 2:
            op.target, op.args = aten.mul.Tensor, (value, value)
        elif (
            op.target in _WITH_TENSOR
            and kind in (torch.float32, torch.float64)
            and self.tensors[value.number].dtype == kind
        ):
            constant = self._new(torch.tensor(float(number), dtype=kind))
            self.constants[constant] = self.tensors[constant.number]
            turned = op.target is aten.rsub.Scalar
            op.target = _WITH_TENSOR[op.target]
            op.args = (constant, value) if turned else (value, constant)

    def _again(self, op: Op) -> bool:
        """Whether the same operation on the same values was met before."""
        for out in op.outs:
            if out is not None:
                self._made[out] = op
        if torch.Tag.nondeterministic_seeded in op.target.tags:
            return False
        if not self._still(*op.inputs(), *op.outs):
            return False
        key = (op.target, repr(op.args), repr(op.kwargs))
        before = self._seen.setdefault(key, op)
        if before is op:
            return False
        self.same.update(
            {
                out: first
                for out, first in zip(op.outs, before.outs, strict=True)
                if out is not None and first is not None
            }
        )
        return True


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _used(ops: list[Op], returned: Any) -> list[Op]:
    """Without what nothing uses."""
    needed, alive = set(refs(returned)), []
    for op in reversed(ops):
        if op.says.written or any(out in needed for out in op.outs):
            alive.append(op)
            needed.update(op.inputs())
    return alive[::-1]
