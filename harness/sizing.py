"""How many trials a pack should hold: measured on this machine once, and remembered. Layer 3.

A larger pack spreads the fixed cost of an update over more trials, until arithmetic or memory is
what it waits for. A trial's rows do not depend on the size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

import torch

from harness import provenance
from harness.machine import arithmetic
from harness.packs import CAPTURED, PackInFlight, Training

PACK_SIZE = 64  # where nothing was measured
SIZES = (8, 16, 32, 64, 128, 256, 512)
GAIN = 1.1  # a size that doubles the pack must raise the throughput by this to be worth it
SECONDS = 0.15  # of updates timed at each size
MEMORY_SHARE = 0.5  # of the free memory that packs may fill


def remembered(training: Training, device: str) -> int:
    """The measured size for trainings like this one, or `PACK_SIZE` where there is none."""
    return _read().get(_key(training, device), PACK_SIZE)


def measured(training: Training, device: str, workers: int = 1) -> int:
    """The best size for trainings like this one; measured now, unless it is remembered.

    Args:
        training: One of the trainings; it is not trained to the end.
        device: "cpu" or "cuda".
        workers: Packs that will share the memory.
    """
    key = _key(training, device)
    known = _read()
    if key not in known:
        if device != "cpu" and training.updates <= CAPTURED:
            return PACK_SIZE  # it is over before there is a graph
        best = _measure(training, device, workers)
        if device != "cpu":
            gc.collect()
            torch.cuda.empty_cache()  # other processes train there
        if not best:  # it did not fit now; it may another time
            return SIZES[0]
        known = _read() | {key: best}
        _write(known)
    return known[key]


def _measure(training: Training, device: str, workers: int) -> int:
    """The best size, or 0 where not even the smallest could be run."""
    best, throughput = 0, 0.0
    with arithmetic(training.precision):
        for size in SIZES:
            try:
                rate, most = _rate(training, device, size)
            except (RuntimeError, MemoryError):  # out of memory
                break
            if best and rate < throughput * GAIN:
                break
            best, throughput = size, rate
            if 2 * most > MEMORY_SHARE * free_memory(device) / workers:
                break
    return best


def _rate(training: Training, device: str, size: int) -> tuple[float, int]:
    """Trial updates a second at one size, and the most bytes that an update held."""
    longest = dataclasses.replace(training, buckets=1)  # each length would be traced
    pack = PackInFlight([longest] * size, list(range(size)), device)
    try:
        return _timed(pack, size), pack.program.most_bytes
    finally:
        pack.close()


def _timed(pack: PackInFlight, size: int) -> float:
    """Trial updates a second of one pack."""
    training, device = pack.one, pack.device
    if device != "cpu" and pack.splits is not None:
        pack.program.score(pack.params.views, pack.buffers, *pack.splits.valid)  # must fit, too
    updates, seconds = 0, 0.0
    unlike = 1 if device == "cpu" else CAPTURED  # the first traces, and a GPU's graphs come later
    for step in range(training.updates):
        started = time.perf_counter()
        pack.update(step)
        if device != "cpu":
            torch.cuda.synchronize()
        if step >= unlike:
            seconds += time.perf_counter() - started
            updates += 1
        if seconds > SECONDS:
            break
    return updates * size / max(seconds, 1e-9)


def free_memory(device: str) -> int:
    """Bytes that can still be taken, on the device or in the machine."""
    if device != "cpu":
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# --- remembering ---------------------------------------------------------------------------------


@functools.cache
def _machine(device: str) -> str:
    about = provenance.describe()
    return " | ".join(about[name] for name in ("cpu", "cores", "gpu", "torch")) + f" | {device}"


def _key(training: Training, device: str) -> str:
    bare = dataclasses.replace(training, epochs=None, steps=1, every=None, probes=())
    content = repr((_machine(device), bare.signature()))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _file() -> Path:
    import pooch  # for the platform's cache folder

    return Path(pooch.os_cache("harness")) / "pack-sizes.json"


def _read() -> dict[str, int]:
    try:
        found = json.loads(_file().read_text())
        return {str(key): int(size) for key, size in found.items()}
    except (OSError, ValueError, AttributeError):  # none yet, or not ours: measure again
        return {}


def _write(known: dict[str, int]) -> None:
    """Whole or not at all; a folder that cannot be written costs only measuring again."""
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=_file().parent, delete=False) as file:
            json.dump(known, file, indent=1)
        os.replace(file.name, _file())
