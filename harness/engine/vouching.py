"""Whether a fused program is what its author wrote: it is tried before it trains.

`vouch` runs a structure's program beside the author's own module in plain PyTorch, over a few
updates and in both modes, and compares losses, gradients, buffers and scores. It also watches what
the module does besides: draw random numbers, keep something in Python, read the clock, write to
what it is given. A program could do such things once, while it is traced, and never again. What
differs or cannot be compared trains alone, as plain PyTorch would.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import itertools
import json
import os
import random as python_random
import re
import sys
import sysconfig
import types
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from harness import durable
from harness.engine.building import Builder, Tensors, begin, build, drawing, sow
from harness.engine.looped import Looped
from harness.engine.lowering import Lowered
from harness.engine.program import Program
from harness.engine.structure import digest, kept, layout, told
from harness.parts import keyed
from harness.parts.models.layers import Dropout
from harness.parts.objectives import Objective

UPDATES = 3  # that are compared; in the last one the module runs anew, after its traced code
LANES = 2
NEAR = 2e-4  # relative difference of a tensor that rounding may explain
RATE = 0.02  # of the steps between them
SHORT = 8  # steps of a sequence that are looked at, where the module takes so few
CLOCKS = ("time", "datetime", "secrets", "uuid")


@dataclass(frozen=True)
class Vouched:
    """What was found.

    Args:
        why: Why trials of this structure train alone, or nothing if they fuse.
        idle: Parameters that no loss depends on: an optimizer never moves them.
    """

    why: str = ""
    idle: frozenset[str] = frozenset()


def vouch(model: Builder, objective: Objective, examples: tuple[Tensor, ...], size: int) -> Vouched:
    """Whether a program of this model trains as the model would by itself.

    Args:
        model: Builds the module.
        objective: Its loss.
        examples: Inputs and targets (n, ...); empty without data.
        size: Examples of an update.
    """
    parts = _batches(examples, size)
    with drawing():
        try:
            alone = [build(model, seed) for seed in range(LANES)]
            parts = _shortened(build(model, 0), objective, parts)
            with drawing(0):
                _run(build(model, 0), objective, parts[0], True)
        except Exception:
            return Vouched()  # its own faults show when it is trained
        why = _unlike(model, alone) or _watched(model, objective, parts[0])
        if why:
            return Vouched(why)
        return _compared(model, alone, objective, parts)


def _batches(examples: tuple[Tensor, ...], size: int) -> list[tuple[Tensor, ...]]:
    """Inputs and targets (LANES, B, ...) of each update that is compared."""
    if not examples:
        return [()] * UPDATES
    n = max(1, min(size, len(examples[0])))
    rows = torch.arange(UPDATES * LANES * n).remainder(len(examples[0])).view(UPDATES, LANES, n)
    return [tuple(part[chosen] for part in examples) for chosen in rows]


def _shortened(
    module: nn.Module, objective: Objective, parts: list[tuple[Tensor, ...]]
) -> list[tuple[Tensor, ...]]:
    """Sequences (LANES, B, T, F) cut short, where the module takes them: all steps are alike."""
    if not parts[0] or parts[0][0].dim() != 4 or parts[0][0].shape[2] <= SHORT:
        return parts
    short = [
        tuple(part[:, :, :SHORT] if part.dim() == 4 else part for part in batch) for batch in parts
    ]
    with contextlib.suppress(Exception), torch.no_grad(), drawing(0):
        _run(module, objective, short[0], False)
        return short
    return parts


def _run(
    module: nn.Module, objective: Objective, batch: tuple[Tensor, ...], training: bool
) -> Tensor:
    """The loss of the first lane's batch, by the module itself."""
    begin(module).train(training)
    with _masked() if training else contextlib.nullcontext():
        output = module(*(part[0].clone() for part in batch[:1]))
    return objective.loss(output.float(), *(part[0] for part in batch[1:]))


def _masked(key: Tensor | None = None) -> Lowered:
    """Dropout that is called as a function has masks of a key, in a pack and here; all else is
    torch's."""
    return Lowered(key, products=False)


# --- what a module does besides ------------------------------------------------------------------


def _unlike(model: Builder, alone: list[nn.Module]) -> str:
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


def _watched(model: Builder, objective: Objective, batch: tuple[Tensor, ...]) -> str:
    """What the module does that a program would do only once."""
    module = build(model, 0)
    seen = _Seen()
    with seen:  # which of the author's code runs
        _run(module, objective, batch, True)
        _run(module, objective, batch, False)
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
            return f"its module changes something outside itself ({name})"
        if any(not torch.equal(a, b) for a, b in zip(batch, given, strict=True)):
            return "its module writes to what it is given"
    return ""


def _run_on(
    module: nn.Module, objective: Objective, given: tuple[Tensor, ...], training: bool
) -> None:
    begin(module).train(training)
    with _masked() if training else contextlib.nullcontext():
        output = module(*(part[0] for part in given[:1]))  # the very tensors, to see if they change
    objective.loss(output.float(), *(part[0] for part in given[1:]))


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


_LIBRARY = tuple(
    os.path.realpath(path) + os.sep
    for path in (
        os.path.dirname(torch.__file__), sysconfig.get_path("stdlib"), os.path.dirname(__file__),
        os.path.dirname(np.__file__),
    )
)  # fmt: skip


class _Seen:
    """Which functions of the author's run, and whether any of them asks for the time."""

    def __init__(self) -> None:
        self.code: dict[types.CodeType, dict[str, Any]] = {}
        self.cells: dict[tuple[types.CodeType, str], Any] = {}
        self.clock = ""

    def __enter__(self) -> None:
        self._mine = sys.getprofile() is None  # where a profiler is at work, it goes on
        if self._mine:
            sys.setprofile(self._note)

    def __exit__(self, *_: object) -> None:
        if self._mine:
            sys.setprofile(None)

    def _note(self, frame: types.FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "c_call" and _own(code.co_filename):
            owner = getattr(arg, "__module__", None) or type(getattr(arg, "__self__", 0)).__module__
            if str(owner).split(".")[0] in CLOCKS:
                self.clock = f"{owner}.{arg.__name__}"
        elif event == "return" and code not in self.code and _own(code.co_filename):
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


def _own(file: str) -> bool:
    """Whether a file is the author's, and not a library's."""
    return not os.path.realpath(file).startswith(_LIBRARY) and not file.startswith("<frozen")


# --- beside plain PyTorch ------------------------------------------------------------------------


def _compared(
    model: Builder, alone: list[nn.Module], objective: Objective, parts: list[tuple[Tensor, ...]]
) -> Vouched:
    """A program beside the modules it was made of."""
    modules = [build(model, seed) for seed in range(LANES)]
    params, buffers = _stacked(modules)
    own, held = _stacked(alone)
    keys = keyed.keys(list(range(LANES)), "mask")
    drops = [p for p, m in modules[0].named_modules() if isinstance(m, Dropout)]
    into = {name: torch.zeros_like(w) for name, w in params.items()}
    truth = {name: torch.zeros_like(w) for name, w in own.items()}
    if not params:
        return Vouched()
    now = keys.clone()  # of this update
    plain = Looped(
        alone, objective, "float32", lambda lane, training: sow(lane),
        lambda lane: _masked(now[lane]) if alone[lane].training else contextlib.nullcontext(),
    )  # fmt: skip
    idle = set(params)
    fused = Program(modules[0], objective, "float32")
    for update, batch in enumerate(parts):
        now.copy_(keyed.mix(keys, update))
        for path in drops:
            for group in (buffers, held):
                group[f"{path}.key".lstrip(".")].copy_(now)
        with torch.no_grad():
            for name, w in params.items():
                own[name].copy_(w)
        expected = plain.gradients(own, held, batch, {}, truth)(batch)
        idle &= {name for lane, name in plain.skipped if lane == 0}
        try:
            with _unbatched_refused():
                numbers = {"mask_key": now}
                if update < UPDATES - 1:
                    found = fused.gradients(params, buffers, batch, numbers, into)(batch)
                else:  # once more as it is written, in place of what was traced
                    found = fused.gradient(params, buffers, batch, numbers, into)
                scored = [] if not batch else _both(fused, plain, params, buffers, own, held, batch)
        except Exception as error:
            return Vouched(f"its model cannot be fused ({_said(error)})")
        pairs = [("its loss", found, expected)]
        pairs += [(f"the gradient of {name}", into[name], truth[name]) for name in into]
        pairs += [(f"the buffer {name}", buffers[name], held[name]) for name in buffers]
        for what, a, b in [*pairs, *scored]:
            if not near(a, b):
                return Vouched(f"fused, {what} would not be what plain PyTorch makes it")
        with torch.no_grad():
            for name, w in params.items():
                size = into[name].reshape(LANES, -1).norm(dim=1).clamp_min(1.0)
                w.sub_(RATE * into[name] / size.view(-1, *(1,) * (w.dim() - 1)))
    return Vouched(idle=frozenset(idle))


def _stacked(modules: list[nn.Module]) -> tuple[Tensors, Tensors]:
    """What is trained (LANES, ...), and what is not: buffers and parameters that are frozen."""
    params, buffers = stack_module_state(modules)
    params = {name: w.detach().clone() for name, w in params.items()}
    buffers = {name: b.detach().clone() for name, b in buffers.items()}
    still = {n for n, w in modules[0].named_parameters() if not w.requires_grad}
    return (
        {name: w for name, w in params.items() if name not in still},
        {**buffers, **{name: params[name] for name in still}},
    )


def _both(
    fused: Program, plain: Looped, params: Tensors, buffers: Tensors, own: Tensors, held: Tensors,
    batch: tuple[Tensor, ...],
) -> list[tuple[str, Tensor, Tensor]]:  # fmt: skip
    """Scores of both, on the first lane's examples for all."""
    x, y = (part[0] for part in batch)
    expected = plain.score(own, held, x, y)
    found = fused.score(params, buffers, x.clone(), y)
    return [(f"its {name}", found[name], expected[name]) for name in expected]


def near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors differ by no more than rounding; what is not finite must be alike."""
    a, b = a.detach().double(), b.detach().double()
    if not torch.equal(a.isfinite(), b.isfinite()):
        return False
    a, b = a.nan_to_num(0, 0, 0), b.nan_to_num(0, 0, 0)
    return bool((a - b).norm() <= NEAR * b.norm() + 1e-6 * max(1.0, b.numel() ** 0.5))


@contextlib.contextmanager
def _unbatched_refused() -> Iterator[None]:
    """vmap runs what it cannot batch lane by lane, and slowly: of which it warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "There is a performance drop .* batching rule")
        yield


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    unbatched = re.search(r"batching rule for (\S+)\. ", lines[0])
    return (f"{unbatched[1]} cannot be batched" if unbatched else lines[0])[:120]


# --- remembered ----------------------------------------------------------------------------------

_FOUND: dict[tuple[Any, ...], Vouched] = {}
KEEP = 4096


def vouched(
    structure: tuple[Any, ...], model: Builder, objective: Objective, about: Hashable,
    examples: Callable[[], tuple[Tensor, ...]], size: int,
) -> Vouched:  # fmt: skip
    """`vouch`, once for each structure, objective, data set (`about`) and version of all code: what
    was found is kept on this machine."""
    found = vouched_before(structure, model, objective, about, examples, size)
    if found is None:
        found = vouch(model, objective, examples(), size)
        _remember(_file((structure, objective, about, size), model), found)
        _FOUND[structure, objective, about, size] = found
    return found


def vouched_before(
    structure: tuple[Any, ...], model: Builder, objective: Objective, about: Hashable,
    examples: Callable[[], tuple[Tensor, ...]], size: int,
) -> Vouched | None:  # fmt: skip
    """What `vouched` has found before, if it has."""
    key = (structure, objective, about, size)
    if key not in _FOUND:
        while len(_FOUND) >= KEEP:
            _FOUND.pop(next(iter(_FOUND)))
        found = _remembered(_file(key, model))
        if found is None:
            return None
        _FOUND[key] = found
    return _FOUND[key]


def _file(key: tuple[Any, ...], model: Builder) -> Path:
    text = repr((key, authored(build(model, 0)), _engine()))
    return _folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    import pooch  # for the platform's cache folder

    return Path(pooch.os_cache("harness")) / "vouched"


def _remembered(file: Path) -> Vouched | None:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return Vouched(str(said["why"]), frozenset(map(str, said["idle"])))
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours
        return None


def _remember(file: Path, found: Vouched) -> None:
    """Whole or not at all; a folder that cannot be written costs only trying again."""
    with contextlib.suppress(OSError):
        text = json.dumps({"why": found.why, "idle": sorted(found.idle)})
        durable.write(file, lambda part: part.write_text(text, encoding="utf-8"))


@functools.cache
def _engine() -> str:
    """Of all code that decides what a program is."""
    here = Path(__file__).parent
    texts = [path.read_bytes() for path in sorted(here.rglob("*.py"))]
    return digest(b"\0".join([*texts, torch.__version__.encode(), sys.version.encode()]))


def authored(module: nn.Module) -> str:
    """A digest of the author's code that a module runs: its classes, and every function, class and
    value outside of them that they name."""
    seen: dict[int, Any] = {}
    told_of: list[Hashable] = []
    waiting: list[Any] = [type(child) for child in module.modules()]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept, so that no other thing gets its number
        if isinstance(thing, type):
            if thing.__module__.split(".")[0] in ("torch", "builtins"):
                continue
            waiting += thing.__bases__
            for name, value in sorted(vars(thing).items()):
                inner = getattr(value, "__func__", getattr(value, "fget", value))
                if isinstance(inner, types.FunctionType):
                    waiting.append(inner)
                elif not name.startswith("__"):
                    told_of.append((thing.__qualname__, name, told(value)))
        elif isinstance(thing, types.FunctionType):
            told_of.append(told(thing))
            waiting += _named(thing)
        else:
            told_of.append(told(thing))
    return digest("\n".join(sorted(map(repr, told_of))).encode())


def _named(function: types.FunctionType) -> Iterator[Any]:
    """What a function's code names among its globals, and in modules of the author's."""
    names: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names |= {*code.co_names}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    for name in sorted(names):
        value = function.__globals__.get(name)
        if inspect.ismodule(value):
            if _own(getattr(value, "__file__", None) or "<frozen"):
                yield from (vars(value)[part] for part in sorted(names & vars(value).keys()))
        elif value is not None:
            yield value
