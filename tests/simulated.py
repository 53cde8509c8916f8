"""A GPU that is not there: real numbers, worked out on the CPU, under the device's rules.

Tensors of this device report themselves on it and may not meet tensors of the CPU, as on a real
one. A graph is what it is on a real one, too: while it is captured, nothing may be read back or
brought over from the host, and a replay runs the same kernels on the same memory, whatever Python
has changed since. It knows nothing of a GPU's arithmetic, speed, streams or memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # before it could see the stand-ins
import torch._lazy.ts_backend
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from harness.engine.graph import Repeated
from harness.engine.trees import leaves, mapped

aten = torch.ops.aten
NAME = "lazy"  # a kind of device that torch was built with here, as it was not with CUDA
torch._lazy.ts_backend.init()
READS = {aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default}


def on_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


class OnDevice(Tensor):
    """A tensor of the device: the CPU's `inner` in its name."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        made: OnDevice = Tensor._make_wrapper_subclass(
            cls, inner.size(), inner.stride(), inner.storage_offset(), dtype=inner.dtype,
            device=f"{NAME}:0", requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def __repr__(self, **_: Any) -> str:
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation by the device's rules."""
    given = [x for x in leaves((args, kwargs)) if isinstance(x, Tensor)]
    here = [x for x in given if isinstance(x, OnDevice)]
    target = kwargs.get("device")
    moves = func in (aten._to_copy.default, aten.copy_.default)
    if here and not moves:
        strangers = [x for x in given if not isinstance(x, OnDevice) and x.dim()]
        if strangers or (target is not None and not on_gpu(target)):
            raise RuntimeError(f"{func} of tensors on the device and the CPU")
    ends = {isinstance(x, OnDevice) for x in given} | ({on_gpu(target)} if target else set())
    crosses = moves and len(ends) > 1
    if Graph.capturing is not None and (
        func in READS or crosses or (given and not here) or (target and not on_gpu(target))
    ):
        raise RuntimeError(f"{func} while a graph is captured")
    if not here and not on_gpu(target):
        return func(*args, **kwargs)
    Graph.waits += crosses or func in READS
    lands = on_gpu(target) if target is not None else True
    plain = dict(kwargs, device="cpu") if target is not None else kwargs
    inner = mapped((args, plain), lambda x: x.inner if isinstance(x, OnDevice) else x)
    writes = func._schema.is_mutable or func is aten.native_batch_norm.default  # which hides it
    if Graph.capturing is not None and writes:
        Graph.capturing.remember(inner)
    out = func(*inner[0], **inner[1])
    if crosses and func is aten._to_copy.default and out is inner[0][0]:
        out = out.clone()
    if Graph.capturing is not None:
        Graph.capturing.calls.append((func, inner, out))
    if func is aten.copy_.default and not isinstance(args[0], OnDevice):
        return args[0]
    written = {id(x.inner): x for x in here}

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor) or not lands:
            return x
        return written[id(x)] if id(x) in written else OnDevice(x)

    return mapped(out, wrapped)


class Factories(TorchDispatchMode):
    """Tensors that are made on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


class Moves(TorchFunctionMode):
    """`to`, `tensor` and `as_tensor`, which torch refuses before they reach an operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].cpu().tolist()
        if func is Tensor.cpu:
            func, kwargs["device"] = Tensor.to, "cpu"
        if func is Tensor.to:
            given, rest = kwargs, args[1:]
            if rest and isinstance(rest[0], str | torch.device):
                given, rest = {"device": rest[0], **kwargs}, rest[1:]
                given |= {"dtype": rest[0]} if rest and rest[0] is not None else {}
                rest = rest[2:]  # whether the host waits
                given.pop("non_blocking", None)
            device = given.get("device")
            if device is not None and on_gpu(device) != isinstance(args[0], OnDevice):
                given = {name: value for name, value in given.items() if value is not None}
                given.pop("memory_format", None)
                assert not rest and given.keys() <= {"device", "dtype"}, (args, kwargs)
                return aten._to_copy.default(args[0], **{**given, "device": torch.device(device)})
        if func in (torch.tensor, torch.as_tensor) and on_gpu(kwargs.get("device")):
            if isinstance(args[0], OnDevice):
                return args[0]
            device = torch.device(kwargs.pop("device"))
            return aten._to_copy.default(func(*args, **kwargs), device=device)
        return func(*args, **kwargs)


class Graph:
    """In the place of torch.cuda.CUDAGraph."""

    capturing: Graph | None = None
    replays = 0
    waits = 0  # times that the host has waited for the device

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.before: dict[int, tuple[Any, Any]] = {}

    def remember(self, arguments: Any) -> None:
        """What memory holds that is about to be written."""
        for x in leaves(arguments):
            if isinstance(x, Tensor):
                memory = x.untyped_storage()
                self.before.setdefault(memory.data_ptr(), (memory, memory.clone()))

    def undo(self) -> None:
        for memory, held in self.before.values():
            memory.copy_(held)
        self.before.clear()

    def replay(self) -> None:
        Graph.replays += 1
        with torch.no_grad():
            for func, (args, kwargs), out in self.calls:
                found = func(*args, **kwargs)
                for old, new in zip(leaves(out), leaves(found), strict=True):
                    if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


@contextlib.contextmanager
def capture(graph: Graph, pool: Any = None) -> Iterator[None]:
    """In the place of torch.cuda.graph: what is captured has not been run, so it is undone."""
    Graph.capturing = graph
    try:
        yield
    finally:
        Graph.capturing = None
        graph.undo()


@contextlib.contextmanager
def gpu() -> Iterator[str]:
    """While it lasts, the device of the name that it gives is there."""
    Graph.replays = Graph.waits = 0
    stand_in = mock.MagicMock()
    with (
        mock.patch.multiple(
            torch.cuda, CUDAGraph=Graph, graph=capture, Stream=stand_in, stream=stand_in,
            current_stream=stand_in, synchronize=stand_in, manual_seed=stand_in, _lazy_init=stand_in,
            graph_pool_handle=stand_in, set_stream=stand_in, empty_cache=stand_in,
        ),
        mock.patch.object(Repeated, "_aside", None),
        Factories(),
        Moves(),
    ):  # fmt: skip
        yield NAME
