"""Running a function once and writing down what it does."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness.engine.tracing.operations import Op, Ref, Untraceable, aten
from harness.engine.trees import mapped
from harness.parts.torch_private import Mode, signature


class Tracer(Mode):  # type: ignore[no-untyped-call]
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
        if signature(func) is None:
            raise Untraceable(f"{func} does not say what it does")
        given, named = mapped(args, self.look_up), mapped(kwargs or {}, self.look_up)
        out = func(*args, **(kwargs or {}))
        many = isinstance(out, tuple | list)
        outs = [self._name(one) if isinstance(one, Tensor) else None for one in
                (out if many else [out])]  # fmt: skip
        if any(outs):
            self.ops.append(Op(func, given, named, outs, many))
        return out
