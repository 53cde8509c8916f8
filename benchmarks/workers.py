"""Both sides' processes: one a core, one thread each, warm before the clock starts."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks import plain
from benchmarks.works import Work, works
from harness.engine.graph import CAPTURED
from harness.engine.outcome import Outcome
from harness.engine.pack import train
from harness.engine.training import Training
from harness.parts.data import load

_here: dict[str, Any] = {}  # what a worker process was told when it started


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def count() -> int:
    """Processes a side: one a core, or one for the GPU."""
    return 1 if device() == "cuda" else len(os.sched_getaffinity(0))


class Side:
    """Warm processes of one side, "ours" or "plain".

    Args:
        name: Which.
        quick: Whether the works are the small ones.
        names: The works that will be trained.
    """

    def __init__(self, name: str, quick: bool, names: Sequence[str]) -> None:
        self.name, self.quick = name, quick
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(count())
        self.pool = context.Pool(count(), _start, (name, quick, barrier))
        self.warming = self.pool.map_async(_warm, [list(names)] * count(), chunksize=1)

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()
        self.pool.join()

    def ready(self) -> None:
        """Wait until every process is warm."""
        self.warming.get(timeout=300)

    def run(self, name: str, jobs: list[tuple[int, ...]]) -> tuple[float, dict[int, Outcome]]:
        """Seconds that the jobs of a work took, and each trial's outcome."""
        self.ready()
        started = time.perf_counter()
        found: dict[int, Outcome] = {}
        for outcomes in self.pool.imap_unordered(_do, [(name, job) for job in jobs]):
            found |= outcomes
        return time.perf_counter() - started, found

    def fastest(self, names: Sequence[str]) -> dict[tuple[str, str], str]:
        """The best implementation of torch.optim for each work and rule."""
        self.ready()
        return dict(self.pool.apply(_fastest, (list(names),)))

    def use(self, best: dict[tuple[str, str], str]) -> None:
        """Tell every process the implementations to use."""
        self.ready()
        self.pool.map(_use, [best] * count(), chunksize=1)

    def peak(self) -> float:
        """Multiplications and additions a second of large matrix products, all processes."""
        self.ready()
        return sum(self.pool.map(_peak, [1.0] * count(), chunksize=1))


# --- in the worker -------------------------------------------------------------------------------


def _start(side: str, quick: bool, barrier: Any) -> None:
    _here.update(side=side, works=works(quick), barrier=barrier, best={})
    torch.set_num_threads(1)  # workers share the cores
    if side == "plain":
        plain.alike()


def _together() -> None:
    _here["barrier"].wait(timeout=240)  # so that every process takes one job


def _warm(names: list[str]) -> None:
    for name in names:
        work: Work = _here["works"][name]
        for i in work.warm:
            training = work.declare(i)
            if training.data is not None:
                load(training.data, device())
            brief = _brief(training, CAPTURED + 2)
            if _here["side"] == "ours":
                train([brief, brief], [0, 1], device())
            else:
                plain.fit(brief, 0, "for-loop", device())
    _together()


def _brief(training: Training, steps: int) -> Training:
    if training.stages:
        short = [dataclasses.replace(s, epochs=None, steps=steps) for s in training.stages]
        return dataclasses.replace(training, stages=tuple(short), every=steps)
    return dataclasses.replace(training, epochs=None, steps=steps, every=steps)


def _fastest(names: list[str]) -> dict[tuple[str, str], str]:
    best = {}
    for name in names:
        work: Work = _here["works"][name]
        for i in range(10 if work.compare == "loss" else 1):
            training = work.declare(i)
            best[name, training.optimizer.rule] = plain.fastest(training, device())
    return best


def _use(best: dict[tuple[str, str], str]) -> None:
    _here["best"] = best
    _together()


def _do(job: tuple[str, tuple[int, ...]]) -> dict[int, Outcome]:
    name, numbers = job
    work: Work = _here["works"][name]
    trainings = [work.declare(i) for i in numbers]
    if _here["side"] == "ours":
        return dict(zip(numbers, train(trainings, numbers, device()), strict=True))
    best = _here["best"]
    return {
        i: plain.fit(t, i, best[name, t.optimizer.rule], device())
        for i, t in zip(numbers, trainings, strict=True)
    }


def _peak(seconds: float) -> float:
    n = 8192 if device() == "cuda" else 1024
    a, b = torch.rand(n, n, device=device()), torch.rand(n, n, device=device())
    out = a @ b
    _together()
    rate = 0.0
    ends = time.perf_counter() + seconds
    while (started := time.perf_counter()) < ends:
        for _ in range(4):
            torch.mm(a, b, out=out)
        if device() == "cuda":
            torch.cuda.synchronize()
        rate = max(rate, 4 * 2 * n**3 / (time.perf_counter() - started))
    return rate
