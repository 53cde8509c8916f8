"""What runs in Ray's worker processes: an actor that trains packs. Imports no more than it needs."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from harness.engine.attempt import run_pack
from harness.engine.flight import Flight, Landed
from harness.execution.ending import deadline
from harness.parts import data
from harness.study import Source, Trial, catalog, make_trial

LOOK = 0.3  # seconds
GPU_LOST = 70  # the pack is then halved in fresh processes, as whenever one dies


@dataclass(frozen=True)
class Opaque:
    """A payload that Tune passes through unread: it copies, flattens and prints dicts and lists."""

    specs: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> Opaque:
        return self

    def __repr__(self) -> str:
        return "..."


class Gone:
    """Whether a file is gone, looked up a few times a second and asked much more often."""

    def __init__(self, path: Path) -> None:
        self.path, self.next = path, 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self.next:
            return False
        self.next = now + LOOK
        return not self.path.is_file()


class PackWorker(tune.Trainable):  # type: ignore[misc]
    """An actor that trains one pack a step."""

    def setup(
        self, config: dict[str, Any], source: Source | None = None, scale: str = "",
        shared: data.Shared | None = None,
        tables: dict[str, dict[str, Any]] | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        # what is imported and traced stays, so it is looked through seldom; what is new still is
        gc.set_threshold(10_000, 10, 100)
        assert source is not None  # handed over by `tune.with_parameters`
        data.adopt(shared or {})  # before the study's file asks for data of its own
        self.study, self.scale, self.device = catalog.load(source), scale, device
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("the cluster has GPUs, and torch finds none in a worker")
        if torch.cuda.is_available():
            share = ray.get_runtime_context().get_assigned_resources().get("GPU", 1.0)
            torch.cuda.set_per_process_memory_fraction(min(1.0, 0.95 * share))
        for name, columns in (tables or {}).items():
            data.hold(name, columns)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, Any]:
        trials = [make_trial(self.study, self.scale, *spec) for spec in self.config["trials"].specs]
        with _writable(self.config["trace"]) as trace, deadline(self.config["seconds"], trace):
            try:
                outcomes = run_pack(self.study, trials, self.device, self._flight(trials))
            except Landed:
                return {"done": True, "pack": self.config["pack"], "landed": True}
            except Exception:  # no CUDA call works in this process any more
                os._exit(GPU_LOST)
        return {"done": True, "pack": self.config["pack"], "outcomes": Opaque(outcomes)}

    def _flight(self, trials: list[Trial]) -> Flight | None:
        """Where the pack is saved: in the driver's folder, where that can be seen from here."""
        flag, label, source = self.config["flight"].specs
        if not flag or not Path(flag).is_file():
            return None
        folder = Path(flag).parent
        keys = tuple(trial.key for trial in trials)
        return Flight(
            folder, label, keys, self.device, Gone(Path(flag)), folder / source if source else None
        )

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


def _writable(path: str) -> Any:
    """The file, or nothing's on a machine that has not its folder."""
    return open(path if Path(path).parent.is_dir() else os.devnull, "w")
