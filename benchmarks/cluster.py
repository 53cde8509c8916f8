"""`python -m benchmarks.cluster`: a run on a thousand workers, simulated, and what its driver costs.

Plan, packer, session, recorder and the SQLite store are the real ones. Workers are not there: a pack
takes the seconds that are forecast for it, by its node's speed, on a clock of the simulation's own,
and rows are made up. The driver goes through the run as fast as it can, and waits only for the store
where that is behind: so trials a second say how many it could serve. Idle is the share of the workers'
time, until the last pack ends, in which they had nothing to train: with nodes of one speed, and with
nodes of different speed. Each line is a process of its own.
"""

from __future__ import annotations

import argparse
import heapq
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.soak import FLAT, resident

if TYPE_CHECKING:
    from harness.execution.session import Session

STUDY = '''
"""Crowd: ten rules on networks of ten widths, for two lengths."""

from functools import partial

from harness import Budget, Data, Float, Optimizer, Study, Training, Trial, classification
from harness.parts.models import MLP


def trial(t: Trial) -> Training:
    return Training(
        partial(MLP, (64, t["width"], 10)), Optimizer("adam", lr=t["lr"]), Data("digits"),
        batch_size=32, epochs=t["epochs"],
    )


STUDY = Study(
    question="Does the driver keep up?",
    trial=trial,
    arms={f"arm {number}": {} for number in range(10)},
    vary={"width": tuple(range(16, 176, 16)), "epochs": (10, 40)},
    nuisance={"lr": Float(1e-3, 1e-1, log=True)},
    select=("valid_loss",),
    metrics=classification("train_loss", "valid_loss", "valid_accuracy", "test_loss", "test_accuracy"),
    budgets={"default": Budget(draws=%d, seeds=%d)},
)
'''
CONDITIONS = 10 * 10 * 2
SEEDS = 0.2  # of a condition's trials
MIXED = "speeds 1, 1, 1/2, 1/4"
SPEEDS = {"one speed": (1.0,), MIXED: (1.0, 1.0, 0.5, 0.25)}  # of nodes, in turn
A_NODE = 8  # workers
POINTS = 5  # rows of a trial
WAITING = 64  # packs that may wait for the store
MARKS = (0.1, 0.5, 1.0)


@dataclass
class Seen:
    """What came of a simulated run.

    Args:
        planned: Trials.
        packs: How many there were.
        planning: Seconds until the first pack could go out.
        seconds: From then to the last record, by the wall and by the driver's processor.
        memory: MiB of the driver at each of `MARKS`; and the most before and after the first.
        length: Seconds of the run by its own clock.
        idle: Share of the workers' time in which they had nothing to train.
    """

    planned: int
    packs: int = 0
    planning: float = 0.0
    seconds: tuple[float, float] = (0.0, 0.0)
    memory: dict[float, float] = field(default_factory=dict)
    most: list[float] = field(default_factory=lambda: [0.0, 0.0])
    length: float = 0.0
    idle: float = 0.0

    def look(self, told: int) -> None:
        """Note the memory."""
        here = resident()
        late = told >= MARKS[0] * self.planned
        self.most[late] = max(self.most[late], here)
        for mark in MARKS:
            if told >= mark * self.planned:
                self.memory.setdefault(mark, here)

    @property
    def growth(self) -> float:
        """The share by which the most memory is above that at the first of `MARKS`."""
        return self.most[1] / self.memory[MARKS[0]] - 1


def speeds(workers: int, kinds: Sequence[float]) -> list[float]:
    """Of every worker; those of a node have the same."""
    return [kinds[worker // A_NODE % len(kinds)] for worker in range(workers)]


def simulate(
    session: Session, seen: Seen, fast: Sequence[float], waiting: Callable[[], int] = lambda: 0
) -> None:
    """Train a session's packs on workers that are not there.

    Args:
        session: With all of its packs.
        seen: What came of it, filled in.
        fast: Each worker's speed: 1 takes the forecast's seconds.
        waiting: How many packs wait for the store.
    """
    from harness.engine.outcome import Outcome

    rng = random.Random(0)
    free = [*range(len(fast))]
    rng.shuffle(free)
    busy: list[tuple[float, int, str, int]] = []
    now = worked = 0.0
    while not session.done:
        while free and (pack := session.next()):
            worker = free.pop()
            takes = pack.cost / fast[worker]
            worked += takes
            heapq.heappush(busy, (now + takes, worker, pack.name, len(pack.trials)))
        now, worker, name, size = heapq.heappop(busy)
        free.append(worker)
        outcomes = []
        for _ in range(size):
            metrics = {one: [rng.random() for _ in range(POINTS)] for one in session.study.metrics}
            outcomes.append(Outcome("finished", [*range(POINTS)], metrics, "", 0.1))
        session.finish(name, outcomes)
        seen.packs += 1
        while waiting() > WAITING:
            time.sleep(0.01)
        seen.look(session.plan.told)
    seen.length, seen.idle = now, 1 - worked / (now * len(fast))


def measure(trials: int, workers: int, kinds: Sequence[float], store: bool) -> Seen:
    """Simulate a run in an empty folder of its own.

    Args:
        trials: About so many.
        workers: That train at once.
        kinds: Speeds of nodes, in turn.
        store: Whether rows go into the spool and an SQLite store, as in a run.
    """
    from harness.execution.nodes import Machines, Node
    from harness.execution.progress import Meter
    from harness.execution.session import Session, packer_for
    from harness.ledger import Ledger, Recorder
    from harness.plan.declared import Declarations
    from harness.plan.plan import Plan
    from harness.study import catalog

    each = trials // CONDITIONS
    seeds = max(1, int(SEEDS * each))
    Path("crowd.py").write_text(STUDY % (each - seeds, seeds))
    source = catalog.find("crowd.py")
    study = catalog.load(source)
    began = time.perf_counter()
    plan = Plan(study, source, "default", device="cpu")
    declared = Declarations(study, "cpu")
    nodes = [
        Node("", A_NODE, memory=2**35, model=str(speed))
        for speed in speeds(workers, kinds)[::A_NODE]
    ]
    keeper: Any = _Nothing()
    if store:
        info = {
            "plan": plan.hash(),
            "provenance": {},
            "started_at": "",
            "commit": "",
            "dirty": False,
        }
        keeper = Recorder(Ledger(Path.cwd()), study, source, "default", info, True)
    seen = Seen(plan.planned)
    session = Session(
        study, source, "default", plan, packer_for(declared, Machines(nodes), None), keeper,
        Meter(plan.planned, 1.0, Console(file=io.StringIO())),
    )  # fmt: skip
    seen.planning = time.perf_counter() - began
    seen.look(0)
    clocks = time.perf_counter(), time.process_time()
    simulate(session, seen, speeds(workers, kinds), keeper.behind)
    if store:
        keeper.wait()
    seen.seconds = time.perf_counter() - clocks[0], time.process_time() - clocks[1]
    if store:
        held = len(keeper.run_ids)
        if held != plan.planned:
            raise RuntimeError(f"{held} of {plan.planned} trials are in the ledger")
        keeper.end("FINISHED")
    return seen


class _Nothing:
    """A keeper that keeps nothing."""

    def add(self, *_: object) -> None: ...

    def behind(self) -> int:
        return 0


def apart(*given: Any) -> Seen:
    """`measure` in an empty folder and in a process that ends with it."""
    fresh = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder, fresh:
        fresh.submit(os.chdir, folder).result()
        return fresh.submit(measure, *given).result()


def main() -> int:
    """Measure and print; 1 if the memory was not flat."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    words.add_argument("--trials", type=int, default=100_000)
    words.add_argument("--workers", type=int, default=1000)
    given = words.parse_args()
    console = Console(width=150)
    table = Table("nodes", "store", "packs", "first pack, s", "trials/s", "ms CPU a trial",
                  *(f"MiB at {mark:.0%}" for mark in MARKS), "growth", "run, s", "idle")  # fmt: skip
    grew = False
    for name, store in (*((name, False) for name in SPEEDS), (MIXED, True)):
        console.print(f"{name}, {'into SQLite' if store else 'without a store'} …")
        seen = apart(given.trials, given.workers, SPEEDS[name], store)
        wall, cpu = seen.seconds
        grew = grew or seen.growth > FLAT
        table.add_row(
            name, "SQLite" if store else "none", f"{seen.packs:,}", f"{seen.planning:.1f}",
            f"{seen.planned / wall:.0f}", f"{1000 * cpu / seen.planned:.2f}",
            *(f"{one:.0f}" for one in seen.memory.values()), f"{seen.growth:+.1%}",
            f"{seen.length:.1f}", f"{seen.idle:.1%}",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{given.trials:,} trials on {given.workers:,} workers, {A_NODE} a node; load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; growth allowed: {FLAT:.0%}"
    )
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
