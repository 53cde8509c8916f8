"""From a list of operations to one Python function."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.engine.tracing.operations import Op, Ref, last_uses, refs
from harness.engine.trees import mapped
from harness.parts.torch_private import Mode


def compiled(
    ops: list[Op],
    returned: Any,
    inputs: list[Ref],
    constants: dict[Ref, Tensor],
    tensors: list[Tensor],
) -> Callable[..., Any]:
    """One Python function: each operation bound beforehand, each value dropped after its last
    use."""
    last, lines = last_uses(ops), []
    used = {*refs(returned), *(ref for op in ops for ref in op.inputs())}
    bound: dict[str, Any] = {f"v{ref.number}": constants[ref] for ref in used & constants.keys()}
    ending: dict[int, list[str]] = {}
    kept = {*refs(returned), *constants}
    for ref, place in last.items():
        if ref not in kept:
            ending.setdefault(place, []).append(f"v{ref.number}")

    def told(value: Any) -> str:
        if isinstance(value, Ref):
            return f"v{value.number}"
        if isinstance(value, tuple | list):
            inner = "".join(f"{told(one)}, " for one in value)
            return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
        if isinstance(value, dict):
            inner = "".join(f"{key!r}: {told(one)}, " for key, one in value.items())
            return f"{{{inner}}}"
        if value is None or type(value) in (bool, int):
            return repr(value)
        bound[f"c{len(bound)}"] = value  # floats that may be infinite, types, devices
        return f"c{len(bound) - 1}"

    names: dict[Any, str] = {}
    for place, op in enumerate(ops):
        function = quickest(op, tensors)
        if function not in names:
            names[function] = f"f{len(names)}"
            bound[names[function]] = function
        given = [told(one) for one in op.args]
        given += [f"{key}={told(value)}" for key, value in op.kwargs.items()]
        outs = ["_" if out is None else told(out) for out in op.outs]
        left = f"{', '.join(outs)}," if op.many else outs[0]
        lines.append(f"    {left} = {names[function]}({', '.join(given)})")
        if dead := ending.get(place):
            lines.append(f"    {' = '.join(dead)} = None")
    lines.append(f"    return {told(returned)}")
    head = f"def run({', '.join(told(ref) for ref in inputs)}):"
    exec(compile("\n".join([head, *lines]), "<pack>", "exec"), bound)  # noqa: S102 - our own text
    run: Callable[..., Any] = bound["run"]
    return run


_QUICKEST: dict[Any, Callable[..., Any]] = {}


def quickest(op: Op, tensors: list[Tensor]) -> Callable[..., Any]:
    """What calls an operation with the least ado.

    torch's own Python functions read their arguments in two thirds of the time that the registered
    operations take, which for small tensors is most of it. Which of them leads to the same
    operation with the same arguments is found by calling it, once for each kind of arguments.
    """
    kind = (op.target, repr(mapped(op.args, _kind)), repr(mapped(op.kwargs, _kind)))
    if kind not in _QUICKEST:
        found = [getattr(home, op.says.name, None) for home in (torch, torch.Tensor)]
        # what is written in Python takes longer than the registered operation
        quick = [one for one in found if one and not isinstance(one, types.FunctionType)]
        same = [function for function in quick if _leads_to(function, op, tensors)]
        _QUICKEST[kind] = (same or [op.target.op])[0]
    return _QUICKEST[kind]


def _kind(value: Any) -> Any:
    return type(value).__name__


class _Reached(Exception):
    """An operation was reached; it is not run."""


class _Witness(Mode):  # type: ignore[no-untyped-call]
    """Stops at the first operation, and knows which it was."""

    reached: tuple[Any, tuple[Any, ...], dict[str, Any]] | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.reached = func, args, kwargs or {}
        raise _Reached


def _leads_to(function: Callable[..., Any], op: Op, tensors: list[Tensor]) -> bool:
    """Whether a function runs an operation first, and passes on what it was given."""

    def given(value: Any) -> Any:
        return tensors[value.number] if isinstance(value, Ref) else value

    def same(one: Any, other: Any) -> bool:
        if isinstance(one, tuple | list):
            return len(one) == len(other) and all(map(same, one, other))
        return one is other or (not isinstance(one, Tensor) and bool(one == other))

    args, kwargs = mapped(op.args, given), mapped(op.kwargs, given)
    witness = _Witness()  # type: ignore[no-untyped-call]
    try:
        with witness:
            function(*args, **kwargs)
    except _Reached:
        pass
    except (TypeError, ValueError, RuntimeError):  # it takes other arguments
        return False
    if witness.reached is None:
        return False
    func, reached, named = witness.reached
    return (
        func is op.target
        and isinstance(reached, tuple)
        and same(reached, args)
        and named.keys() == kwargs.keys()
        and all(same(named[key], kwargs[key]) for key in kwargs)
    )
