"""Whether a fused program is what its author wrote: it is tried before it trains.

`vouch` runs a structure's program beside the author's own module in plain PyTorch, over a few
updates and in both modes, and compares losses, gradients, buffers and scores. Before that the module
is watched for what a program could not repeat (`watching`). What differs or cannot be compared trains
alone, as plain PyTorch would. What was found is kept on this machine, for as long as no code changes
that it depends on.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from harness import durable
from harness.engine.authored import PACKAGE, authored
from harness.engine.building import Builder, Tensors, build, drawing, sow
from harness.engine.looped import Looped
from harness.engine.program import Program
from harness.engine.structure import digest
from harness.engine.watching import drawn, run, unlike, watched
from harness.parts import keyed
from harness.parts.models.layers import Dropout
from harness.parts.objectives import Objective

UPDATES = 3  # that are compared; in the last one the module runs anew, after its traced code
LANES = 2
NEAR = 2e-4  # relative difference of a tensor that rounding may explain
RATE = 0.02  # of the steps between them
SHORT = 8  # steps of a sequence that are looked at, where the module takes so few


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
                run(build(model, 0), objective, parts[0], True)
        except Exception:
            return Vouched()  # its own faults show when it is trained
        why = unlike(model, alone) or watched(model, objective, parts[0])
        if why:
            return Vouched(why)
        return _compared(model, alone, objective, parts)


def _batches(examples: tuple[Tensor, ...], size: int) -> list[tuple[Tensor, ...]]:
    """Inputs and targets (LANES, B, ...) of each update that is compared."""
    if not examples:
        return [()] * UPDATES
    n = max(1, min(size, len(examples[0])))
    rows = torch.arange(UPDATES * LANES * n).view(UPDATES, LANES, n)
    return [tuple(part[chosen.remainder(len(part))] for part in examples) for chosen in rows]


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
        run(module, objective, short[0], False)
        return short
    return parts


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
        lambda lane: drawn(alone[lane].training, now[lane]),
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
        told = {"progress": torch.full((LANES,), (update + 1) / UPDATES / 2)}
        expected = plain.gradients(own, held, batch, told, truth)(batch)
        idle &= {name for lane, name in plain.skipped if lane == 0}
        try:
            with _unbatched_refused():
                numbers = {"mask_key": now, **told}
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
    one = tuple(part[0] for part in batch)
    expected = plain.score(own, held, one)
    found = fused.score(params, buffers, tuple(part.clone() for part in one))
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
        _remember(_file((structure, objective, about, size)), found)
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
        found = _remembered(_file(key))
        if found is None:
            return None
        _FOUND[key] = found
    return _FOUND[key]


def _file(key: tuple[Any, ...]) -> Path:
    kinds = {kind for _, kind in key[0][0]}
    text = repr((key, authored(kinds), _engine()))
    return _folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    # by hand: nodes of a cluster have no package that knows the platform's cache folder
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "harness" / "vouched"


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
    folders = [Path(PACKAGE, name) for name in ("parts", "engine", "nas")]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    texts = [path.read_bytes() for path in files]
    return digest(b"\0".join([*texts, torch.__version__.encode(), sys.version.encode()]))
