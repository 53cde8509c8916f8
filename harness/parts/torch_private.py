"""What is used of torch that torch does not promise to keep: one function for each thing, with what
happens without it. All else in this package goes by names that torch documents."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Batch normalisation of any dimension, and what authors derive from it: torch gives the class that
# they share no other name.
BATCH_NORM: type[nn.Module] = nn.modules.batchnorm._BatchNorm


class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees operations before they run. torch's notes on extending it name the class where it lies.

    `_should_skip_dynamo` keeps torch from importing its compiler, for seconds, so that it does not
    look in. A torch that does not ask for it imports the compiler, and the numbers are the same.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@dataclass(frozen=True)
class Signature:
    """What an operation says of itself.

    Args:
        name: Without its overload: "add_".
        arguments: Their names, in order.
        written: Those that it writes to.
        shares: Whether what it returns may lie in its arguments' memory.
    """

    name: str
    arguments: tuple[str, ...]
    written: frozenset[str]
    shares: bool


@functools.cache
def signature(op: Any) -> Signature | None:
    """Of a registered operation ("aten.add_.Tensor"); None where torch does not say.

    Needed to know what may be left out, merged or reordered in traced code; torch has no public
    name for it. Without it nothing is traced, and functions run as they are written: the same
    numbers but for last bits, more slowly.
    """
    schema = getattr(op, "_schema", None)
    if schema is None:
        return None
    written = {a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write}
    return Signature(
        schema.name.partition("::")[2],
        tuple(a.name for a in schema.arguments),
        frozenset(written),
        any(result.alias_info is not None for result in schema.returns),
    )


Rows = Sequence[Tensor]
KERNELS = {"adam": "_fused_adam_", "adamw": "_fused_adamw_", "sgd": "_fused_sgd_"}


def adam(decoupled: bool) -> Callable[..., None]:
    """torch's own kernel of Adam, or with `decoupled` weight decay of AdamW, on rows of tensors::

        kernel(w, g, m, v, [], steps, lr=…, beta1=…, beta2=…, weight_decay=…, eps=…,
               amsgrad=False, maximize=False)

    `steps` count from one and stay as they are. Called at every update for a few trials each, where
    the way through `torch.optim` takes longer than the kernel. Without it, that way is gone: the
    same kernel and the same numbers.
    """
    rule = "adamw" if decoupled else "adam"
    kernel: Callable[..., None] | None = getattr(torch, KERNELS[rule], None)
    return kernel or functools.partial(_public_adam, rule)


def _public_adam(
    rule: str, w: Rows, g: Rows, m: Rows, v: Rows, most: Rows, steps: Rows, **numbers: Any
) -> None:
    step = getattr(importlib.import_module(f"torch.optim.{rule}"), rule)
    before = [t - 1 for t in steps]  # it counts them up
    step(list(w), list(g), list(m), list(v), list(most), before, fused=True, **numbers)


def sgd() -> Callable[..., None]:
    """torch's own kernel of SGD, with momentum or without, on rows of tensors::

        kernel(w, g, v, lr=…, momentum=…, weight_decay=…, dampening=0.0, nesterov=…,
               maximize=False, is_first_step=False)

    Each v is zeros at first; without momentum there are none. As of `adam`.
    """
    kernel: Callable[..., None] | None = getattr(torch, KERNELS["sgd"], None)
    return kernel or _public_sgd


def _public_sgd(w: Rows, g: Rows, v: Rows, is_first_step: bool, **numbers: Any) -> None:
    step = importlib.import_module("torch.optim.sgd").sgd
    kept: list[Tensor | None] = [*v] if v else [None] * len(w)
    step(list(w), list(g), kept, fused=True, **numbers)


def registers(module: nn.Module) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
    """The very dictionaries in which a module itself keeps its parameters and buffers.

    A tensor that is put there takes another's place, whatever the author's `__setattr__` does and
    without being registered as a new one. There is no fallback: torch's modules are made of them.
    """
    return module._parameters, module._buffers  # type: ignore[return-value]
