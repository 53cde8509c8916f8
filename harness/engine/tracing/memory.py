"""Where values lie: operations that write over what nothing reads any more."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import torch
from torch import Tensor

from harness.engine.tracing.operations import Op, Ref, aten, last_uses

# Operations that may write over their first argument, or over the second by the same token.
_OVER: dict[Any, Any] = {
    getattr(aten, name).__getattr__(kind): getattr(aten, f"{name}_").__getattr__(kind)
    for name, kinds in {
        "add": ("Tensor", "Scalar"), "sub": ("Tensor", "Scalar"), "mul": ("Tensor", "Scalar"),
        "div": ("Tensor", "Scalar"), "relu": ("default",), "sigmoid": ("default",),
        "tanh": ("default",), "exp": ("default",), "neg": ("default",), "sqrt": ("default",),
        "rsqrt": ("default",),
    }.items()
    for kind in kinds
}  # fmt: skip
_EITHER = {aten.add.Tensor, aten.mul.Tensor}
_BACKWARD: dict[Any, Any] = {
    aten.threshold_backward.default: aten.threshold_backward.grad_input,
    aten.sigmoid_backward.default: aten.sigmoid_backward.grad_input,
    aten.tanh_backward.default: aten.tanh_backward.grad_input,
}


LARGE = 2**14  # numbers of a matrix from which its product is made where it is to lie


class _Memory:
    """Which values share memory, and until which operation that is needed."""

    def __init__(
        self, ops: list[Op], kept: set[Ref], tensors: list[Tensor], same: dict[Ref, Ref]
    ) -> None:
        self.tensors = tensors
        self.home = [t.untyped_storage().data_ptr() for t in tensors]  # views share one
        self.members: dict[int, list[int]] = {}
        for number, pointer in enumerate(self.home):
            self.members.setdefault(pointer, []).append(number)
        self.last: dict[int, int] = dict.fromkeys(self.members, -1)
        self.held: set[int] = set()
        for out, source in same.items():  # a product with one was a copy, and is none now
            self.merge(out, source)
        for ref, place in last_uses(ops).items():
            pointer = self.home[ref.number]
            self.last[pointer] = max(place, self.last[pointer])
        self.held |= {self.home[ref.number] for ref in kept}

    def like(self, ref: Ref) -> Any:
        tensor = self.tensors[ref.number]
        order = sorted(range(tensor.dim()), key=tensor.stride, reverse=True)
        if not tensor.permute(order).is_contiguous():  # it repeats itself, or leaves gaps
            return None
        return (tensor.shape, tensor.stride(), tensor.dtype)

    def dies(self, value: Any, place: int) -> bool:
        """Whether nothing reads a value's memory after this operation."""
        if not isinstance(value, Ref):
            return False
        pointer = self.home[value.number]
        return pointer not in self.held and self.last[pointer] <= place

    def merge(self, out: Ref, into: Ref) -> None:
        """From here on the two are one memory."""
        gone, stays = self.home[out.number], self.home[into.number]
        if gone == stays:
            return
        for number in self.members[gone]:
            self.home[number] = stays
        self.members[stays] += self.members.pop(gone)
        self.last[stays] = max(self.last[stays], self.last[gone])
        if gone in self.held:
            self.held.add(stays)


def soon(ops: list[Op], tensors: list[Tensor]) -> list[Op]:
    """Copy what is but copied out, as gradients are, where it was made, not where the function ends:
    there it is in the processor's cache, and from there on others may have its memory."""

    def home(ref: Ref) -> int:
        return tensors[ref.number].untyped_storage().data_ptr()

    read = Counter(home(ref) for op in ops for ref in op.inputs())
    written = {home(ref) for op in ops for ref in op.written()}
    made = {out: place for place, op in enumerate(ops) for out in op.outs if out is not None}
    copies: dict[Ref, list[Op]] = {}
    rest = []
    for op in ops:
        if op.target is aten.copy_.default and len(op.args) == 2 and not op.kwargs:
            into, value = op.args
            there = made.get(into, -1) < made.get(value, -1)  # before the value is
            if read[home(into)] == 1 and there and home(value) not in written:
                copies.setdefault(value, []).append(op)
                continue
        rest.append(op)
    return [
        one
        for op in rest
        for one in (op, *(copy for out in op.outs if out for copy in copies.get(out, ())))
    ]


def placed(ops: list[Op], kept: set[Ref], tensors: list[Tensor]) -> list[Op]:
    """Make large products that are but copied, as gradients of weights are, where they are to lie:
    the copy would be as far to go again. The numbers are the same.

    Not on a GPU, where which kernel is chosen may depend on where the product lies.
    """

    def home(ref: Ref) -> int:
        return tensors[ref.number].untyped_storage().data_ptr()

    uses = Counter(ref for op in ops for ref in op.inputs())
    left: list[Op] = []
    for op in ops:
        product = left[-1] if left else op
        if op.target is aten.copy_.default and product.target is aten.bmm.default:
            into, value = op.args
            lies, here = (tensors[ref.number] for ref in (into, value))
            if (
                product.outs == [value]
                and uses[value] == 1
                and value not in kept
                and here.device.type == "cpu"
                and (lies.shape, lies.dtype) == (here.shape, here.dtype)
                and lies[0].is_contiguous()
                and lies[0].numel() >= LARGE
                and home(into) not in map(home, product.inputs())
            ):
                left[-1] = Op(aten.bmm.out, product.args, {"out": into}, op.outs, False)
                continue
        left.append(op)
    return left


def in_place(ops: list[Op], kept: set[Ref], tensors: list[Tensor], same: dict[Ref, Ref]) -> None:
    """Let operations write into memory that nothing reads afterwards: what was just used is in the
    processor's cache, and fresh memory is not. The numbers are the same.

    Args:
        ops: Changed in place.
        kept: Values that must stay: inputs, constants, what is returned.
        tensors: A tensor of each value's shape, strides, type and memory.
        same: Which value stands for each that was taken out.
    """
    memory = _Memory(ops, kept, tensors, same)
    for place, op in enumerate(ops):
        out = op.outs[0]
        if out is not None and not op.kwargs and not op.many:
            _write_over(op, out, place, memory)


def _write_over(op: Op, out: Ref, place: int, memory: _Memory) -> None:
    """Make an elementwise operation write over an argument, if it may."""
    if op.target not in _OVER and op.target not in _BACKWARD:
        return
    like = memory.like(out)
    operands = [one for one in op.args if isinstance(one, Ref)]
    shared = len({memory.home[one.number] for one in operands}) < len(operands)
    if like is None or shared:  # it would be read while it is written
        return
    fits = [memory.dies(one, place) and memory.like(one) == like for one in operands]
    if fits[0] and operands[0] is op.args[0]:
        first = operands[0]
    elif op.target in _EITHER and len(fits) > 1 and fits[1]:
        first = operands[1]
        op.args = (first, op.args[0])
    else:
        return
    if op.target in _BACKWARD:
        op.target, op.kwargs = _BACKWARD[op.target], {"grad_input": first}
    else:
        op.target = _OVER[op.target]
    memory.merge(out, first)


def accumulate(ops: list[Op], kept: set[Ref], shapes: list[torch.Size]) -> list[Op]:
    """Let a sum of matrix products, as every recurrent weight's gradient is, grow where it lies:
    ``s += a @ b`` in one operation in place of two and a matrix between them. A product over one
    term is an outer product, which broadcasting does in a third of the time."""
    uses: dict[Ref, int] = {}
    made: dict[Ref, int] = {}
    for place, op in enumerate(ops):
        for ref in op.inputs():
            uses[ref] = uses.get(ref, 0) + 1
        for out in op.outs:
            if out is not None:
                made[out] = place

    def outer(op: Op) -> bool:
        return int(shapes[op.args[0].number][2]) == 1

    gone: set[int] = set()
    writes = [0, *itertools.accumulate(bool(op.says.written) for op in ops)]  # before each place
    for place, op in enumerate(ops):
        if op.target is not aten.add_.Tensor or op.kwargs or not isinstance(op.args[1], Ref):
            continue
        product = op.args[1]
        at = made.get(product, -1)
        if at < 0 or ops[at].target is not aten.bmm.default:
            continue
        used_once = uses[product] == 1 and product not in kept
        # the factors must still be what they were when they were multiplied
        untouched = writes[place] == writes[at + 1]
        if used_once and untouched:
            op.target = aten.addcmul_.default if outer(ops[at]) else aten.baddbmm_.default
            op.args = (op.args[0], *ops[at].args)
            gone.add(at)
    for op in ops:
        if op.target is aten.bmm.default and outer(op):
            op.target = aten.mul.Tensor
    return [op for place, op in enumerate(ops) if place not in gone]


def most_bytes(ops: list[Op], inputs: list[Ref], tensors: list[Tensor]) -> int:
    """The most memory that operations hold at once beside the inputs'. What a view looks at is held
    as long as the view is; what writes over an argument takes nothing of its own."""
    home: dict[Ref, Ref] = {}
    for op in ops:
        shares = op.says.shares
        written = op.kwargs.get("grad_input", op.kwargs.get("out"))
        into = written or next(iter(op.inputs()), None)
        for out in op.outs:
            if out is not None:
                home[out] = home.get(into, into) if shares and into is not None else out
    last: dict[Ref, int] = {}
    for ref, place in last_uses(ops).items():
        one = home.get(ref, ref)
        last[one] = max(last.get(one, place), place)
    ending: dict[int, list[Ref]] = {}
    live, most, held = 0, 0, set(inputs)
    for ref, place in last.items():
        if ref not in held:
            ending.setdefault(place, []).append(ref)
    for place, op in enumerate(ops):
        for out in op.outs:
            if out is not None and home[out] not in held:
                held.add(home[out])
                live += tensors[home[out].number].nbytes
        most = max(most, live)
        live -= sum(tensors[ref.number].nbytes for ref in ending.get(place, ()) if ref in held)
    return most
