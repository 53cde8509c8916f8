"""Packs in flight: saved while they train, and gone on with.

A save is made at the beginning of an update, of all that a pack holds (`PackInFlight.state`), every
few minutes and where the run is to end. Randomness is keyed by counters, so that a pack that goes on
from there trains as if it had never stopped: on the CPU bitwise.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from harness.engine import saved
from harness.engine.outcome import Outcome
from harness.engine.saved import SUFFIX, Refused, Saved
from harness.engine.structure import digest

State = Mapping[str, Any]  # of a pack: see `PackInFlight.state`
EVERY = 120.0  # seconds of training between two saves, at least
TIMES = 100  # and at least so many times what the latest has taken: saves cost 1 % of training


class Landed(BaseException):
    """The run is to end, and what has been trained of this pack is saved."""


@dataclass(frozen=True)
class Earlier:
    """A pack as it was saved.

    Args:
        about: What its file says of itself.
        state: Of the pack: see `PackInFlight.state`.
        places: The place among the wanted trials of each of its lanes that is wanted.
    """

    about: Saved
    state: State
    places: Mapping[int, int]

    @property
    def share(self) -> float:
        """Seconds that it has been trained for, of each trial."""
        return self.about.seconds / len(self.about.keys)

    def outcomes(self) -> dict[int, Outcome]:
        """By place, of the wanted trials that had ended."""
        done = self.state["done"]
        return {self.places[n]: Outcome(**one) for n, one in done.items() if n in self.places}


@dataclass
class Flight:
    """Where one pack is saved.

    Args:
        folder: Where its file lies, which is there.
        label: The name of its file.
        keys: Of its trials.
        device: The kind of device that they train on.
        over: Whether the run is to end.
        source: A file to go on from, of a pack that these trials were in.
        held: Within, nothing interrupts training but `over`.
    """

    folder: Path
    label: str
    keys: tuple[str, ...]
    device: str
    over: Callable[[], bool] = lambda: False
    source: Path | None = None
    held: Callable[[], AbstractContextManager[Any]] = nullcontext
    seconds: float = field(default=0.0, init=False)  # trained before
    _began: float = field(init=False)
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._due = self._began + EVERY

    @property
    def path(self) -> Path:
        """The pack's file, which may not be there."""
        return self.folder / f"{self.label}{SUFFIX}"

    def part(self, lanes: Sequence[int]) -> Flight:
        """That of some of the trials, which train as a pack of their own."""
        keys = tuple(self.keys[lane] for lane in lanes)
        label = self.label
        if {*keys} != {*self.keys}:
            label = f"{label}-{digest(repr(sorted(keys)).encode())[:12]}"
        source = self.path if self.path.is_file() else self.source
        return dataclasses.replace(self, label=label, keys=keys, source=source)

    def earlier(self) -> Earlier | None:
        """The pack as it was saved last; None where it was not, or that is of no use here."""
        for path in filter(None, (self.path, self.source)):
            with contextlib.suppress(Refused):
                return self._of(path)
        return None

    def _of(self, path: Path) -> Earlier:
        about, tree, numbers = saved.read(path)
        if (about.code, about.device) != (saved.code(), self.device):
            raise Refused(f"{path.name} was made by other code")
        left: dict[str, list[int]] = {}
        for place, key in enumerate(self.keys):
            left.setdefault(key, []).append(place)
        places = {n: left[key].pop(0) for n, key in enumerate(about.keys) if left.get(key)}
        if {*self.keys} - {*about.keys}:
            raise Refused(f"{path.name} is of other trials")
        try:
            state = thawed(tree, numbers, self.device)
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise Refused(f"{path.name} is damaged") from error
        return Earlier(about, state, places)

    def look(self, step: int, updates: int, state: Callable[[], State | None]) -> None:
        """Before each update: save what `state` gives where that is due, or where the run ends.

        Raises:
            Landed: the run is to end.
        """
        if self.over():
            self.save(step, updates, state())
            raise Landed
        if time.monotonic() >= self._due:
            self.save(step, updates, state())

    def ended(self, updates: int, outcomes: Sequence[Outcome]) -> None:
        """Save how the trials ended, where a kill before that is recorded would cost minutes."""
        if time.monotonic() - self._began >= EVERY:
            done = {n: dataclasses.asdict(one) for n, one in enumerate(outcomes)}
            self.save(updates, updates, {"each": {"lanes": []}, "done": done})

    def save(self, step: int, updates: int, state: State | None) -> None:
        """Write the file. A disk that takes none costs the save; a pack that has no state has none."""
        began = time.monotonic()
        self._due = math.inf
        if state is None:
            return
        about = Saved(self.keys, self.device, saved.code(), step, updates, self.spent)
        tree, tensors = frozen(state)

        def fill(file: IO[bytes]) -> None:
            for tensor in tensors:
                file.write(_bytes(tensor))

        with contextlib.suppress(OSError):
            saved.write(self.path, about, tree, fill)
        now = time.monotonic()
        self._due = now + max(EVERY, TIMES * (now - began))

    @property
    def spent(self) -> float:
        """Seconds that the pack has been trained for."""
        return self.seconds + time.monotonic() - self._began


# --- values --------------------------------------------------------------------------------------


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def frozen(tree: Any) -> tuple[Any, list[Tensor]]:
    """A tree as JSON, in which each tensor is its type, its shape and where its bytes begin; and
    the tensors in the order of their bytes. A tensor in several places is one.

    Raises:
        TypeError: it holds something that is no tensor, number, text, list, tuple or dictionary.
    """
    tensors: list[Tensor] = []
    told: dict[int, Any] = {}
    size = 0

    def told_of(value: Any) -> Any:
        nonlocal size
        if isinstance(value, Tensor):
            if id(value) not in told:
                name = str(value.dtype).removeprefix("torch.")
                told[id(value)] = {"type": name, "shape": [*value.shape], "at": size}
                tensors.append(value)
                size += value.numel() * value.element_size()
            return told[id(value)]
        if isinstance(value, dict):
            return {"items": [[told_of(key), told_of(one)] for key, one in value.items()]}
        if isinstance(value, tuple | list):
            return {type(value).__name__: [told_of(one) for one in value]}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a {type(value).__name__} cannot be saved")

    return told_of(tree), tensors


def thawed(tree: Any, numbers: bytearray, device: str) -> Any:
    """The tree again, its tensors on a device; what was one tensor is one."""
    made: dict[int, Tensor] = {}

    def made_of(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "items" in value:
            return {made_of(key): made_of(one) for key, one in value["items"]}
        if "list" in value:
            return [made_of(one) for one in value["list"]]
        if "tuple" in value:
            return tuple(made_of(one) for one in value["tuple"])
        return tensor(value)

    def tensor(said: dict[str, Any]) -> Tensor:
        kind, shape, at = getattr(torch, said["type"]), torch.Size(said["shape"]), said["at"]
        if not shape.numel():
            return torch.empty(shape, dtype=kind, device=device)
        if at not in made:
            size = shape.numel() * kind.itemsize
            read = torch.frombuffer(numbers, dtype=torch.uint8, offset=at, count=size)
            # memory of its own begins where any type may
            made[at] = read.clone().view(kind).view(shape).to(device)
        return made[at]

    return made_of(tree)
