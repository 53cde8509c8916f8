"""`python -m benchmarks.cluster`: a run on a thousand workers, simulated, and what its driver costs.

Plan, packer, session, recorder and the SQLite store are the real ones. Workers are not there: a pack
takes the seconds that are forecast for it, by its node's speed, on a clock of the simulation's own;
their rows are made up. The driver goes through the run as fast as it can, so trials a second say how
many it could serve. Idle is the share of the workers' time, to the last pack's end, in which they had
nothing to train: once with nodes of one speed, and once with nodes of different speed.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.soak import resident

STUDY = '''
"""Crowd: ten rules on networks of ten widths, for two lengths."""

from functools import partial

from harness import Budget, Data, Float, Optimizer, Study, Training, Trial, classification
from harness.parts.models import MLP

RULES = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "nadam", "adamax")


def trial(t: Trial) -> Training:
    return Training(
        partial(MLP, (64, t["width"], 10)), Optimizer(t.arm, lr=t["lr"]), Data("digits"), batch_size=32,
        epochs=t["epochs"],
    )


STUDY = Study(
    question="Does the driver keep up?",
    trial=trial,
    arms={rule: {} for rule in RULES},
    vary={"width": %(widths)s, "epochs": (10, 40)},
    nuisance={"lr": Float(1e-3, 1e-1, log=True)},
    select=("valid_loss",),
    sampler="random",
    metrics=classification("train_loss", "valid_loss", "valid_accuracy", "test_loss", "test_accuracy"),
    budgets={"default": Budget(draws=%(draws)d, seeds=%(seeds)d)},
)
'''
SPEEDS = (1.0, 1.0, 0.5, 0.25)  # of nodes in turn, where they differ
A_NODE = 8  # workers
POINTS = 5  # rows of a trial
WAITING = 64  # records that may wait for the store: on a real cluster training takes longer
MARKS = (0.1, 0.5, 1.0)


@dataclass
class Seen:
    """What came of a simulated run.

    Args:
        trials, packs: How many ended.
        seconds: Of the driver, by the wall and by its processor.
        memory: MiB of the driver at each of `MARKS`, and the most.
        length: Seconds of the run by its own clock.
        idle: Share of the workers' time in which they had nothing to train.
    """

    trials: int = 0
    packs: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)
    memory: dict[float, float] = field(default_factory=dict)
    most: float = 0.0
    length: float = 0.0
    idle: float = 0.0


def speeds(workers: int, kinds: Sequence[float]) -> list[float]:
    """Of every worker; those of a node have the same."""
    return [kinds[worker // A_NODE % len(kinds)] for worker in range(workers)]


def simulate(session, planned: int, fast: Sequence[float], waiting=lambda: 0) -> Seen:
    """Train a session's packs on workers that are not there.

    Args:
        session: A `Session`.
        planned: Its trials.
        fast: Each worker's speed: 1 takes the forecast's seconds.
        waiting: How many records wait for the store.
    """
    from harness.engine.outcome import Outcome

    seen, rng = Seen(), random.Random(0)
    names = list(session.study.metrics)
    free = sorted(range(len(fast)), key=lambda one: fast[one])  # the fastest are taken first
    busy: list[tuple[float, int, str, int]] = []
    now = worked = 0.0
    began = time.perf_counter(), time.process_time()
    while not session.done:
        while free and (pack := session.next()):
            worker = free.pop()
            takes = pack.cost / fast[worker]
            worked += takes
            heapq.heappush(busy, (now + takes, worker, pack.name, len(pack.trials)))
        now, worker, name, size = heapq.heappop(busy)
        free.append(worker)
        outcomes = [
            Outcome("finished", [*range(POINTS)], {one: [rng.random() for _ in range(POINTS)] for one in names}, "", 0.1)
            for _ in range(size)
        ]
        session.finish(name, outcomes)
        seen.trials += size
        seen.packs += 1
        while waiting() > WAITING:
            time.sleep(0.01)
        here = resident()
        seen.most = max(seen.most, here)
        for mark in MARKS:
            if seen.trials >= mark * planned:
                seen.memory.setdefault(mark, here)
    seen.seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    seen.length, seen.idle = now, 1 - worked / (now * len(fast))
    return seen
