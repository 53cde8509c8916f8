"""What a module does besides computing: a program would do such things once, while it is traced.

It is run a few times by itself, and held to what it was before: does it draw random numbers, keep
something in Python, read the clock, change something outside, write to what it is given?
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import itertools
import random as python_random
import sys
import types
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.engine.authored import by_author
from harness.engine.building import Builder, begin, build
from harness.engine.lowering import Lowered
from harness.engine.structure import digest, kept, layout, told
from harness.engine.trees import mapped
from harness.parts.draws import keyed_by
from harness.parts.objectives import Objective, parted

OUTSIDE = "its module changes something outside itself"
CLOCKS = ("time", "datetime", "secrets", "uuid")


def run(
    module: nn.Module, objective: Objective, batch: tuple[Tensor, ...], training: bool
) -> Tensor:
    """The loss of the first lane's batch, by the module itself."""
    begin(module).train(training)
    with drawn(training):
        inputs, targets = parted(objective, tuple(part[0] for part in batch))
        output = module(*(x.clone() for x in inputs))
    return objective.loss(mapped(output, Tensor.float), *targets)


@contextlib.contextmanager
def drawn(training: bool, key: Tensor | None = None) -> Iterator[None]:
    """Within, what is drawn is of a key, as in a pack, and in training so are the masks of dropout
    that is called as a function; all else is torch's."""
    zero = torch.zeros((), dtype=torch.int64)
    own = zero if key is None or not training else key
    masked = Lowered(key, products=False) if training else contextlib.nullcontext()
    with keyed_by(own), masked:
        yield


def unlike(model: Builder, alone: list[nn.Module]) -> str:
    """What one copy for all lanes would get wrong."""
    if [*_numbers(build(model, 0))] != [*_numbers(alone[0])]:
        return "its module is not built alike twice from one seed"
    if any(layout(other) != layout(alone[0]) for other in alone):
        return "its parameters differ in shape or kind from seed to seed"
    name = _changed(*(dict(kept(module)) for module in alone))
    if name:
        return f"what it keeps as {name} differs from seed to seed; register it as a buffer"
    return ""


def _numbers(module: nn.Module) -> Iterator[Hashable]:
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        yield name, told(tensor)


def _changed(before: dict[Any, Hashable], after: dict[Any, Hashable]) -> str:
    """The first name whose value differs."""
    for name in sorted({*before, *after}, key=str):
        if before.get(name) != after.get(name):
            return str(name)
    return ""


def watched(model: Builder, objective: Objective, batch: tuple[Tensor, ...]) -> str:
    """What the module does that a program would do only once."""
    module = build(model, 0)
    seen = _Seen()
    with seen:  # which of the author's code runs
        run(module, objective, batch, True)
        run(module, objective, batch, False)
    if seen.clock:
        return f"its module calls {seen.clock}"
    for training in (True, False):
        outside = {**seen.state(), **_classes(module)}
        inside, generators = dict(kept(module)), _generators()
        given = tuple(part.clone() for part in batch)
        _run_on(module, objective, given, training)
        drawn = _changed(generators, _generators())
        if drawn:
            return f"its module draws random numbers of its own ({drawn})"
        name = _changed(inside, dict(kept(module)))
        if name:
            return f"its module keeps something in Python while it runs ({name})"
        name = _changed(outside, {**seen.state(), **_classes(module)})
        if name:
            return f"{OUTSIDE} ({name})"
        if any(not torch.equal(a, b) for a, b in zip(batch, given, strict=True)):
            return "its module writes to what it is given"
    return ""


def _run_on(
    module: nn.Module, objective: Objective, given: tuple[Tensor, ...], training: bool
) -> None:
    begin(module).train(training)
    with drawn(training):
        inputs, targets = parted(objective, tuple(part[0] for part in given))
        output = module(*inputs)  # the very tensors, to see if they change
    objective.loss(mapped(output, Tensor.float), *targets)


def _generators() -> dict[str, Hashable]:
    return {
        "torch": digest(torch.get_rng_state().numpy().tobytes()),
        "random": digest(repr(python_random.getstate()).encode()),
        "numpy": digest(repr(np.random.get_state()).encode()),
    }


def _classes(module: nn.Module) -> dict[str, Hashable]:
    """What the author's classes hold besides functions."""
    kinds = {base for child in module.modules() for base in type(child).__mro__}
    return {
        f"{kind.__qualname__}.{name}": told(value)
        for kind in kinds
        if not kind.__module__.startswith(("torch.", "builtins"))
        for name, value in list(vars(kind).items())
        if not name.startswith("__") and not isinstance(value, types.FunctionType | property)
    }


class _Seen:
    """Which functions of the author's run, and whether any of them asks for the time."""

    def __init__(self) -> None:
        self.code: dict[types.CodeType, dict[str, Any]] = {}
        self.cells: dict[tuple[types.CodeType, str], Any] = {}
        self.clock = ""

    def __enter__(self) -> None:
        # others may be called when garbage is collected, and ask for the time: no code of the author's
        self._collects = gc.isenabled()
        gc.disable()
        self._mine = sys.getprofile() is None  # where a profiler is at work, it goes on
        if self._mine:
            sys.setprofile(self._note)

    def __exit__(self, *_: object) -> None:
        if self._mine:
            sys.setprofile(None)
        if self._collects:
            gc.enable()

    def _note(self, frame: types.FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "c_call" and by_author(code.co_filename):
            owner = getattr(arg, "__module__", None) or type(getattr(arg, "__self__", 0)).__module__
            if str(owner).split(".")[0] in CLOCKS:
                self.clock = f"{owner}.{arg.__name__}"
        elif event == "return" and code not in self.code and by_author(code.co_filename):
            self.code[code] = frame.f_globals
            for name in code.co_freevars:
                with contextlib.suppress(KeyError, ValueError):
                    self.cells[code, name] = frame.f_locals[name]

    def state(self) -> dict[str, Hashable]:
        """What this code refers to outside of itself: globals, and what it closes over."""
        found = {}
        for code, names in self.code.items():
            for name in code.co_names:
                value = names.get(name)
                if not callable(value) and not inspect.ismodule(value):
                    found[f"{code.co_qualname}: {name}"] = told(value)
        for (code, name), value in self.cells.items():
            if not callable(value):
                found[f"{code.co_qualname}: {name}"] = told(value)
        return found
