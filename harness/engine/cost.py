"""What a module takes: numbers, operations, arithmetic and memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from harness.engine.building import Builder, build, structure
from harness.parts.draws import keyed_by
from harness.parts.torch_private import Mode


def numbers_of(structure: tuple[Any, ...]) -> int:
    """How many numbers a module of this structure holds."""
    each = {number: math.prod(shape) for _, shape, _, _, number in structure[3]}
    return sum(each.values())


@dataclass(frozen=True)
class Work:
    """What a forward pass takes: operations, additions and multiplications of its matrix products
    and convolutions, and bytes that it makes; the latter two for each example, and whatever the
    number of examples, as a matrix is made of kernels."""

    operations: int
    flops: int
    size: int
    flops_once: int
    size_once: int


_WORK: dict[tuple[Any, ...], Work] = {}


class Counted(Mode):  # type: ignore[no-untyped-call]
    """Counts what reaches the backend."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = self.size = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        read, made = _tensors(args), _tensors((out,))
        places = {one.data_ptr() for one in read}
        self.size += sum(one.nbytes for one in made if one.data_ptr() not in places)  # no views
        self.flops += _flops(func, args, kwargs or {}, out)
        return out


# What trains and is done in many operations where one is called, and how many more: see `lowering`,
# and the means and gradients of what is normalised, of which each has one root.
MORE = {"aten.convolution.default": 40, "aten.rsqrt.default": 15}


class _Told(Counted):  # type: ignore[no-untyped-call]
    """Counts the operations of training, too."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations += MORE.get(str(func), 0)
        return super().__torch_dispatch__(func, types, args, kwargs)


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
    return found


_formula = functools.cache(lambda func: flop_registry.get(func.overloadpacket))
_FLOPS: dict[tuple[Any, ...], int] = {}


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """By torch's formula, which sees shapes alone: asked once for each."""
    formula = _formula(func)
    if formula is None:
        return 0
    if kwargs:
        return int(formula(*args, **kwargs, out_val=out))
    key = (func, *(one.shape if isinstance(one, Tensor) else repr(one) for one in args))
    if key not in _FLOPS:
        _FLOPS[key] = int(formula(*args, out_val=out))
    return _FLOPS[key]


def work_of(model: Builder, example: tuple[Tensor, ...]) -> Work:
    """The work of a module on an example, (1, ...) of each input, counted once for each structure
    and shapes."""
    key = (structure(model), tuple(x.shape for x in example))
    if key not in _WORK:
        module = build(model, 0).eval()
        zero = torch.zeros((), dtype=torch.int64)
        with torch.no_grad(), keyed_by(zero), _Told() as one:
            module(*example)
        with torch.no_grad(), keyed_by(zero), Counted() as two:
            module(*(torch.cat([x, x]) for x in example))
        flops, size = max(0, two.flops - one.flops), max(0, two.size - one.size)
        once = max(0, one.flops - flops), max(0, one.size - size)
        _WORK[key] = Work(one.operations, flops, size, *once)
    return _WORK[key]
