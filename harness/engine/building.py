"""A trial's module, built from its own seed, and what must be equal for two to share a program."""

from __future__ import annotations

import contextlib
import functools
import random as python_random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.engine.structure import described
from harness.parts import keyed
from harness.parts.models.layers import USES, BatchNorm, Dropout, Head

Builder = Callable[[], nn.Module]
Tensors = dict[str, Tensor]


def begin(module: nn.Module) -> nn.Module:
    """A module at the beginning of a forward pass: its dropout layers count their uses anew."""
    for child in module.modules():
        if isinstance(child, Dropout):
            child.__dict__[USES] = 0
    return module


_HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
_CHANNELS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


def _adopt(module: nn.Module) -> nn.Module:
    """Put our layers in the place of torch's where those would depend on what ran before
    (dropout's masks), on a trial's place in the pack (batch normalisation's last bits), or be
    slow (few outputs)."""
    layer, last = 0, module
    put: dict[int, nn.Module] = {}  # a layer that stands in several places is one layer
    for path, child in list(module.named_modules(remove_duplicate=False)):
        last = child
        if type(child) is nn.BatchNorm1d:
            child.__class__ = BatchNorm
        if type(child) in _CHANNELS:
            if id(child) not in put:
                ours = Dropout(child.p, layer, _CHANNELS[type(child)], child.inplace)
                for name in _HOOKS:
                    vars(ours)[name] = vars(child)[name]
                put[id(child)], layer = ours, layer + 1
            if not path:
                return put[id(child)]
            module.set_submodule(path, put[id(child)])
    if Head.fits(last):  # not before an activation: some of torch's want rows side by side
        last.__class__ = Head
    return module


def build(model: Builder, seed: int) -> nn.Module:
    """The module as initialised by its own constructor under the trial's seed, which Python's and
    numpy's generators have as well."""
    return built([model], [seed])[0]


def built(models: Sequence[Builder], seeds: Sequence[int], stage: int = 0) -> list[nn.Module]:
    """`build` of each; at another stage of a training, with other numbers."""
    modules = []
    with drawing():
        for model, seed in zip(models, seeds, strict=True):
            sow(keyed.torch_seed(seed, "init") ^ stage)
            modules.append(_adopt(model()))
    return modules


@contextlib.contextmanager
def drawing(seed: int | None = None) -> Iterator[None]:
    """Within, the generators that belong to the whole process draw from a seed; put back after."""
    before = torch.get_rng_state(), python_random.getstate(), np.random.get_state()
    if seed is not None:
        sow(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        python_random.setstate(before[1])
        np.random.set_state(before[2])


def sow(seed: int) -> None:
    """Seed the generators that belong to the whole process."""
    # not torch.manual_seed, which keeps a stack trace of each call for a CUDA that is not there
    torch.default_generator.manual_seed(seed)
    python_random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


def structure(model: Builder) -> tuple[Any, ...]:
    """The module's types, layout and tensors' shapes, from one build (kept for partials).

    Where thousands of models have few structures, their class may tell them apart unbuilt:
    `alike(…)`, of the arguments that it is built with, is equal for those of one structure only, and
    one of them is built. It counts for the class that defines it, and for none derived from it.
    """
    if isinstance(model, functools.partial):
        with contextlib.suppress(TypeError):  # unhashable arguments: built anew each time
            return _structure_of(model.func, model.args, tuple(sorted(model.keywords.items())))
    return _describe(model)


_ALIKE: dict[tuple[Any, ...], tuple[Any, ...]] = {}


@functools.lru_cache(maxsize=4096, typed=True)
def _structure_of(func: Any, args: tuple[Any, ...], keywords: tuple[Any, ...]) -> tuple[Any, ...]:
    model = functools.partial(func, *args, **dict(keywords))
    if "alike" not in getattr(func, "__dict__", ()):
        return _describe(model)
    key = (func, func.alike(*args, **dict(keywords)))
    if key not in _ALIKE:
        _ALIKE[key] = _describe(model)
    return _ALIKE[key]


def _describe(model: Builder) -> tuple[Any, ...]:
    return described(build(model, 0))
