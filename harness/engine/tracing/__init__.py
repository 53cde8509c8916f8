"""A function of tensors as straight-line code over the operations that it runs.

Function transforms (vmap, grad) do their bookkeeping anew at every call, which for small tensors
costs many times the arithmetic. `trace` runs such a function once, writes down each operation that
reaches the backend (`recording`), takes out what is not needed (`simplify`), lets values share
memory (`memory`), and compiles the list into one Python function (`code`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.engine.tracing.code import compiled
from harness.engine.tracing.memory import accumulate, in_place, most_bytes, placed, soon
from harness.engine.tracing.operations import Op, Ref, Untraceable, refs
from harness.engine.tracing.recording import Tracer
from harness.engine.tracing.simplify import Simplified
from harness.engine.trees import filled, leaves, mapped

__all__ = ["Op", "Ref", "Simplified", "Untraceable", "trace"]


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
    given = [*leaves(args)]
    copies = [
        torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=t.device).copy_(t)
        for t in given
    ]
    recorder = Tracer(copies)
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with recorder:
            result = fn(*filled(args, copies))
    finally:
        torch.set_autocast_cache_enabled(cached)
    returned = mapped(result, recorder.look_up)
    tensors, inputs = recorder.tensors, [Ref(n) for n in range(len(given))]
    less = Simplified(recorder.ops, returned, tensors, recorder.constants)
    kept = {*refs(less.returned), *recorder.constants, *inputs}
    ops = soon(less.ops, tensors)
    in_place(ops, kept, tensors, less.same)
    ops = placed(accumulate(ops, kept, [t.shape for t in tensors]), kept, tensors)
    run = compiled(ops, less.returned, inputs, recorder.constants, tensors)
    return lambda values: run(*values), most_bytes(ops, [*inputs, *recorder.constants], tensors)
