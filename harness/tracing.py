"""A function of tensors as straight-line code over the operations that it runs. Layer 2.

Function transforms (vmap, grad) do their bookkeeping anew at every call, which for small tensors
costs many times the arithmetic. `trace` runs such a function once, writes down each operation that
reaches the backend, and compiles the list into one Python function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

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

    def inputs(self) -> Iterator[Ref]:
        """The values that it reads."""
        yield from _refs(self.args)
        yield from _refs(self.kwargs)


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _refs(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _refs(one)


def _map(value: Any, fn: Callable[[Any], Any]) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_map(one, fn) for one in value)
    if isinstance(value, dict):
        return {key: _map(one, fn) for key, one in value.items()}
    return fn(value)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation below the function transforms."""

    def __init__(self, inputs: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ops: list[Op] = []
        self.tensors: list[Tensor] = []  # all kept, so that neither ids nor memory are used again
        self.known: dict[int, Ref] = {}
        self.memory: set[int] = set()
        self.constants: dict[Ref, Tensor] = {}
        for tensor in inputs:
            self._name(tensor)

    def _name(self, tensor: Tensor) -> Ref:
        ref = self.known[id(tensor)] = Ref(len(self.tensors))
        self.tensors.append(tensor)
        self.memory.add(tensor.untyped_storage().data_ptr())
        return ref

    def look_up(self, value: Any) -> Any:
        """A tensor's number; a tensor from outside becomes a constant."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self.known:
            pointer = value.untyped_storage().data_ptr()
            if pointer and pointer in self.memory:
                raise Untraceable("a tensor shares memory with one that was made elsewhere")
            ref = self._name(value)
            self.constants[ref] = value
        return self.known[id(value)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten._local_scalar_dense.default:
            raise Untraceable("the function reads a tensor's value")
        given, named = _map(args, self.look_up), _map(kwargs or {}, self.look_up)
        out = func(*args, **(kwargs or {}))
        many = isinstance(out, tuple | list)
        outs = [self._name(one) if isinstance(one, Tensor) else None for one in
                (out if many else [out])]  # fmt: skip
        if any(outs):
            self.ops.append(Op(func, given, named, outs, many))
        return out


def trace(
    fn: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[Callable[[list[Tensor]], Any], int]:
    """Run a function once and make code of what it did.

    Args:
        fn: A function of nested tensors that does the same operations at every call.
        args: Its arguments; tensors that it changes in place are left as they were. The code holds
            for their shapes, strides, types and device.

    Returns:
        The code, which takes the flattened arguments, and the most bytes that it holds at once.

    Raises:
        Untraceable: what the function does depends on the values of tensors.
    """
    leaves, layout = tree_flatten(args)
    copies = [
        torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device).copy_(t)
        for t in leaves
    ]
    recorder = _Recorder(copies)
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with recorder:
            result = fn(*tree_unflatten(copies, layout))
    finally:
        torch.set_autocast_cache_enabled(cached)
    out, spec = tree_flatten(result)
    returned = [recorder.look_up(one) for one in out]
    ops, returned, same = simplify(recorder.ops, returned, [t.shape for t in recorder.tensors])
    kept = {*_refs(returned), *recorder.constants, *map(Ref, range(len(leaves)))}
    in_place(ops, kept, recorder.tensors, same)
    ops = accumulate(ops, kept, [t.shape for t in recorder.tensors])
    run = _compiled(ops, returned, [Ref(n) for n in range(len(leaves))], recorder.constants)
    sizes = [t.nbytes for t in recorder.tensors]
    return lambda given: tree_unflatten(run(*given), spec), most_bytes(ops, sizes)


VIEWS = {aten.view.default, aten._unsafe_view.default, aten.expand.default, aten.detach.default,
         aten.alias.default}  # fmt: skip


def simplify(
    ops: list[Op], returned: list[Any], shapes: list[torch.Size]
) -> tuple[list[Op], list[Any], dict[Ref, Ref]]:
    """Take out what transforms leave behind: views that change no shape, products with one, double
    transposes, and what nothing uses.

    Returns:
        The operations, what is returned, and which value stands for each that was taken out.
    """
    same: dict[Ref, Ref] = {}  # a value to the one that it equals
    made: dict[Ref, Op] = {}

    def earliest(value: Any) -> Any:
        return same.get(value, value) if isinstance(value, Ref) else value

    kept = []
    for op in ops:
        op.args, op.kwargs = _map(op.args, earliest), _map(op.kwargs, earliest)
        out, source = op.outs[0], op.args[0] if op.args else None
        if isinstance(source, Ref) and isinstance(out, Ref) and not op.many:
            before = made.get(source)
            if shapes[source.number] == shapes[out.number] and (
                op.target in VIEWS or (op.target is aten.mul.Scalar and op.args[1:] == (1,))
            ):
                same[out] = source
                continue
            if (
                op.target is aten.transpose.int
                and before is not None
                and before.target is aten.transpose.int
                and before.args[1:] == op.args[1:]
            ):
                same[out] = before.args[0]
                continue
            made[out] = op
        kept.append(op)
    returned = [earliest(value) for value in returned]
    needed = set(_refs(returned))
    alive = []
    for op in reversed(kept):
        if op.target._schema.is_mutable or any(out in needed for out in op.outs):
            alive.append(op)
            needed.update(op.inputs())
    return alive[::-1], returned, same


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
        for ref, place in _last_uses(ops).items():
            pointer = self.home[ref.number]
            self.last[pointer] = max(place, self.last[pointer])
        self.held |= {self.home[ref.number] for ref in kept}

    def like(self, ref: Ref) -> Any:
        tensor = self.tensors[ref.number]
        return (tensor.shape, tensor.stride(), tensor.dtype) if tensor.is_contiguous() else None

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
    for place, op in enumerate(ops):
        if op.target is not aten.add_.Tensor or op.kwargs or not isinstance(op.args[1], Ref):
            continue
        product = op.args[1]
        at = made.get(product, -1)
        if at < 0 or ops[at].target is not aten.bmm.default:
            continue
        used_once = uses[product] == 1 and product not in kept
        # the factors must still be what they were when they were multiplied
        untouched = not any(ops[n].target._schema.is_mutable for n in range(at + 1, place))
        if used_once and untouched:
            op.target = aten.addcmul_.default if outer(ops[at]) else aten.baddbmm_.default
            op.args = (op.args[0], *ops[at].args)
            gone.add(at)
    for op in ops:
        if op.target is aten.bmm.default and outer(op):
            op.target = aten.mul.Tensor
    return [op for place, op in enumerate(ops) if place not in gone]


def _last_uses(ops: list[Op]) -> dict[Ref, int]:
    return {ref: place for place, op in enumerate(ops) for ref in (*op.inputs(), *op.outs) if ref}


def most_bytes(ops: list[Op], sizes: list[int]) -> int:
    """The largest sum of values alive at once; views cost nothing."""
    last, live, most = _last_uses(ops), 0, 0
    cost: dict[Ref, int] = {}
    ending: dict[int, list[Ref]] = {}
    for ref, place in last.items():
        ending.setdefault(place, []).append(ref)
    for place, op in enumerate(ops):
        view = any(r.alias_info is not None for r in op.target._schema.returns)
        for out in op.outs:
            if out is not None:
                cost[out] = 0 if view else sizes[out.number]
                live += cost[out]
        most = max(most, live)
        live -= sum(cost.get(ref, 0) for ref in ending.get(place, ()))
    return most


def _compiled(
    ops: list[Op], returned: list[Any], inputs: list[Ref], constants: dict[Ref, Tensor]
) -> Callable[..., list[Tensor]]:
    """One Python function: each operation bound beforehand, each value dropped after its last
    use."""
    last, lines = _last_uses(ops), []
    bound: dict[str, Any] = {f"v{ref.number}": tensor for ref, tensor in constants.items()}
    ending: dict[int, list[str]] = {}
    kept = {*_refs(returned), *constants}
    for ref, place in last.items():
        if ref not in kept:
            ending.setdefault(place, []).append(f"v{ref.number}")

    def told(value: Any) -> str:
        if isinstance(value, Ref):
            return f"v{value.number}"
        if isinstance(value, tuple | list):
            inner = "".join(f"{told(one)}, " for one in value)
            return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
        if value is None or type(value) in (bool, int):
            return repr(value)
        bound[f"c{len(bound)}"] = value  # floats that may be infinite, types, devices
        return f"c{len(bound) - 1}"

    names: dict[Any, str] = {}
    for place, op in enumerate(ops):
        if op.target not in names:
            names[op.target] = f"f{len(names)}"
            bound[names[op.target]] = getattr(op.target, "_op", op.target)
        given = [told(one) for one in op.args]
        given += [f"{key}={told(value)}" for key, value in op.kwargs.items()]
        outs = ["_" if out is None else told(out) for out in op.outs]
        left = f"{', '.join(outs)}," if op.many else outs[0]
        lines.append(f"    {left} = {names[op.target]}({', '.join(given)})")
        if dead := ending.get(place):
            lines.append(f"    {' = '.join(dead)} = None")
    lines.append(f"    return {told(returned)}")
    head = f"def run({', '.join(told(ref) for ref in inputs)}):"
    exec(compile("\n".join([head, *lines]), "<pack>", "exec"), bound)  # noqa: S102 - our own text
    run: Callable[..., list[Tensor]] = bound["run"]
    return run
