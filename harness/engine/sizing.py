"""How long training takes and how many trials a pack should hold, by forecast.

A larger pack spreads the fixed cost of an update over more trials, until arithmetic or memory is
what it waits for. No clock is asked: a trial's last bits may depend on the size of its pack, and
the same command on the same kind of machine gives the same rows.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import torch

from harness.engine.building import structure
from harness.engine.cost import numbers_of, work_of
from harness.engine.training import Training

SIZES = (8, 16, 32, 64, 128, 256, 512)
GAIN = 1.2  # a size that doubles the pack must raise the throughput by this to be worth it
MEMORY_SHARE = 0.5  # of the memory that packs may fill
CACHED = 2**20  # parameters of a trial that stay near a core from one pass over them to the next
PASSES = 6  # over parameters and gradients in an update: forward, twice backward, and a step


@dataclass(frozen=True)
class Kind:
    """What a device takes, by measurements on one.

    Args:
        pack: Seconds to begin and end a pack: building modules, going to a worker.
        trace: Seconds to trace the code of one of the model's operations.
        update: Seconds of an update of a fused pack, whatever it holds.
        operation: Seconds of each of the model's operations in it.
        flops: Multiplications and additions a second.
        bytes: Of what operations make, a second.
        copies: Of a trial's parameters that are held: gradients, slots, what rules make.
    """

    pack: float
    trace: float
    update: float
    operation: float
    flops: float
    bytes: float
    copies: int


# One core of a 2-core cloud machine, torch 2.13; one NVIDIA H100, torch 2.11, in replays of graphs.
# The core's bytes are those of recurrent networks of 40 to 128 units, one sequence an update.
KINDS = {
    "cpu": Kind(0.2, 2e-3, 6e-4, 5e-6, 4e10, 8e9, 8), "cuda": Kind(2.0, 0.0, 1e-4, 4e-6, 4e12, 1e12, 20),
}  # fmt: skip


def kind(device: str) -> Kind:
    """Of a device's name."""
    return KINDS.get(device.split(":")[0], KINDS["cuda"])


def seconds(training: Training, device: str = "cpu") -> tuple[float, float]:
    """Estimated seconds of a pack on one worker: in any case, and for each trial in it.

    Forward and backward take three times the forward pass; a split is scored at every record.
    """
    parts = [_seconds(side, turns, device) for side, turns in training.each_side]
    begun = kind(device).pack
    networks = training.members.count if training.members else 1
    return begun + sum(base for base, _ in parts), networks * sum(each for _, each in parts)


def _seconds(training: Training, turns: int, device: str) -> tuple[float, float]:
    """Of one player, besides beginning a pack."""
    here, updates, sample = kind(device), turns * training.updates, training.sample()
    model = training.pad_to or training.model
    if not sample:  # the output is itself the loss
        arithmetic = 6 * numbers_of(structure(model)) / here.flops
        return updates * here.update, updates * (arithmetic + 2e-6)
    work = work_of(model, sample)
    records = training.records
    scored = records * training.scored()
    asked = training.optimizer.asked
    # backward takes twice as long as forward, and a product of the curvature both again
    passes = updates * (1 if training.optimizer.solves else 3 + 6 * asked)
    examples, runs = passes * training.read + scored, passes + records
    flops = work.flops * examples + work.flops_once * runs
    made = work.size * examples + work.size_once * runs
    own = numbers_of(structure(model))
    if own > CACHED:  # with small batches an update waits for them, not for arithmetic
        made += 4 * own * PASSES * updates
    base = updates * (1 + 2 * asked) * (here.update + work.operations * here.operation)
    base += work.operations * here.trace
    return base, flops / here.flops + made / here.bytes + updates * 2e-6


def held(training: Training, device: str = "cpu") -> int:
    """Estimated bytes that each trial of a pack holds, at the player and stage that takes most."""
    networks = training.members.count if training.members else 1
    return networks * max(_held(side, device) for side, _ in training.each_side)


def _held(training: Training, device: str) -> int:
    model, sample = training.pad_to or training.model, training.sample()
    own = 4 * numbers_of(structure(model)) * kind(device).copies
    if not sample:
        return own
    graphs = training.buckets if device != "cpu" else 1  # one for each length
    work = work_of(model, sample)
    return own + 2 * graphs * (work.size * training.read + work.size_once)


def pack_size(training: Training, device: str, room: float) -> int:
    """How many trials like this one a pack should hold: as many as still make it faster by the
    forecast, and as fit.

    Args:
        training: One of the trainings.
        device: "cpu" or "cuda".
        room: Bytes that a pack may fill.
    """
    base, each = seconds(training, device)
    most = room / held(training, device)
    best = SIZES[0]
    for size in SIZES[1:]:
        gain = size / (base + each * size) / (best / (base + each * best))
        if size > most or gain < GAIN:
            break
        best = size
    return best


@functools.cache
def memory(device: str) -> int:
    """Bytes of the device or the machine, of which others may have taken some."""
    if device != "cpu":
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
