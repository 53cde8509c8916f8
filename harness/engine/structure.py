"""What a module is made of, as a value that two builds can be compared by.

Trials share one program only where their modules are alike in everything but the numbers of their
parameters and buffers: types, layout, and all that they keep in Python.
"""

from __future__ import annotations

import functools
import hashlib
import random
import re
import types
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# What every module has: hooks count, for they take part in `forward`.
_INNER = frozenset(vars(nn.Module())) - {
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks",
}  # fmt: skip
DEPTH = 12  # of values within values that are looked at


def digest(content: bytes) -> str:
    """Sixteen hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def kept(module: nn.Module) -> tuple[tuple[str, Hashable], ...]:
    """What modules keep beside their parameters and buffers and may use in `forward`: one copy
    serves all lanes, so two models that differ here do not fuse."""
    own = {id(t): n for n, t in enumerate((*module.parameters(), *module.buffers()))}
    return tuple(
        (f"{path}.{name}".lstrip("."), told([*value.values()] if "hooks" in name else value, own))
        for path, child in module.named_modules()
        for name, value in sorted(vars(child).items())
        if name not in _INNER and name not in getattr(child, "uncounted", ()) and not _empty(value)
    )


def _empty(value: Any) -> bool:
    return isinstance(value, dict) and not value


def layout(module: nn.Module) -> tuple[tuple[Any, ...], ...]:
    """Every parameter and buffer by each of its names: shape, type, whether it is trained, and
    which of them it is, for a tensor may have several names."""
    numbers: dict[int, int] = {}
    found = []
    for tensors in (
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    ):
        for name, tensor in tensors:
            number = numbers.setdefault(id(tensor), len(numbers))
            found.append(
                (name, tuple(tensor.shape), str(tensor.dtype), tensor.requires_grad, number)
            )
    return tuple(found)


def described(module: nn.Module) -> tuple[Any, ...]:
    """What must be equal for two modules to share a program."""
    kinds = tuple((path, type(child)) for path, child in module.named_modules())
    return (kinds, repr(module), kept(module), layout(module))


def told(value: Any, own: Mapping[int, int] = MappingProxyType({}), depth: int = 0) -> Hashable:
    """A value as one that can be compared, and does not depend on where in memory it lies.

    Functions count with their code, defaults and what they close over, objects with all that they
    keep, tensors and arrays with their numbers.

    Args:
        value: Anything.
        own: Tensors by their ids that are told by a number alone: a module's own.
        depth: How many values it lies within.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return (type(value).__name__, repr(value))
    if depth > DEPTH:
        return type(value).__qualname__
    tell = functools.partial(told, own=own, depth=depth + 1)
    if isinstance(value, Tensor):
        return ("own", own[id(value)]) if id(value) in own else _of_tensor(value)
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype == object else value.tobytes()
        return ("array", value.shape, str(value.dtype), digest(content))
    if isinstance(value, nn.Module):
        if depth > 3:
            return type(value).__qualname__
        tensors = (*value.named_parameters(), *value.named_buffers())
        return (type(value), kept(value), *((name, tell(t)) for name, t in tensors))
    if isinstance(value, tuple | list):
        return (type(value).__name__, *map(tell, value))
    if isinstance(value, set | frozenset):
        return (type(value).__name__, *sorted(map(repr, map(tell, value))))
    if isinstance(value, Mapping):
        return (type(value).__name__, *((tell(k), tell(v)) for k, v in value.items()))
    if isinstance(value, random.Random):
        return ("Random", digest(repr(value.getstate()).encode()))
    if isinstance(value, np.random.Generator):
        return ("Generator", repr(value.bit_generator.state))
    if isinstance(value, np.random.RandomState):
        return ("RandomState", digest(repr(value.get_state()).encode()))
    if isinstance(value, torch.Generator):
        return ("Generator", _of_tensor(value.get_state()))
    if isinstance(value, functools.partial):
        return ("partial", tell(value.func), tell(value.args), tell(value.keywords))
    if isinstance(value, types.MethodType):
        return ("method", tell(value.__func__))  # its object is told where it is kept
    if isinstance(value, types.FunctionType):
        return _of_function(value, tell)
    name = getattr(value, "__qualname__", None)
    if name is not None:  # classes, and functions of compiled code
        return f"{getattr(value, '__module__', '')}.{name}"
    state = getattr(value, "__dict__", None)
    if state:
        return (type(value), *((name, tell(one)) for name, one in sorted(state.items())))
    return (type(value), re.sub(r" at 0x[0-9a-f]+", "", repr(value)))


def alike(part: Any) -> Hashable:
    """What a part of a training is compared by: itself where its class says what is equal (a
    frozen dataclass does), else all that it keeps."""
    kind: Any = type(part)
    says = kind.__eq__ is not object.__eq__ and kind.__hash__ is not None
    return part if says or not hasattr(part, "__dict__") else told(part)


def _of_tensor(value: Tensor) -> Hashable:
    where = value.device.type
    if where == "meta":
        return ("tensor", tuple(value.shape), str(value.dtype), where)
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return ("tensor", tuple(value.shape), str(value.dtype), where, digest(content))


def _of_function(value: types.FunctionType, tell: Callable[[Any], Hashable]) -> Hashable:
    cells = []
    for cell in value.__closure__ or ():
        try:
            inside = cell.cell_contents
        except ValueError:  # not filled yet
            inside = None
        # what closes over its own module, as a hook does, is told where the module is
        cells.append(type(inside) if isinstance(inside, nn.Module) else tell(inside))
    return (
        value.__module__, value.__qualname__, _of_code(value.__code__),
        tell(value.__defaults__), tell(value.__kwdefaults__), *cells,
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _of_code(code: types.CodeType) -> str:
    inner = [
        _of_code(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts
    ]
    return digest(repr((code.co_code, inner, code.co_names)).encode())
