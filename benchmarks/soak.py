"""`python -m benchmarks.soak`: ten thousand tiny trials through Ray and MLflow, and what it costs.

What is looked at is the driver: its memory after the first thousand trials must stay within a
tenth, for nothing that grows with every trial can run for long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

STUDY = '''
"""Soak: one optimizer in a valley, from drawn rates."""

from functools import partial

from harness import Budget, Float, Metric, Optimizer, Study, Training, Trial
from harness.parts.models import Descent


def trial(t: Trial) -> Training:
    return Training(partial(Descent, "valley"), Optimizer("sgd", lr=t["lr"]), steps=20, every=5)


STUDY = Study(
    question="Does anything grow?",
    trial=trial,
    arms={"gd": {}},
    nuisance={"lr": Float(1e-3, 1e-1, log=True)},
    select=("loss",),
    sampler="random",
    metrics={"loss": Metric("height", better="low")},
    budgets={"default": Budget(draws=%d, seeds=0)},
)
'''
FLAT = 0.10


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(samples: list[tuple[int, float]]) -> tuple[int, float, float]:
    """The first sample at a thousand trials or a tenth of all, and the most memory from there on.

    Args:
        samples: Trials that had ended, and MiB.

    Returns:
        Trials and MiB at that sample, and the share by which the most later is above it.
    """
    start = min(1000, samples[-1][0] // 10)
    later = [sample for sample in samples if sample[0] >= start]
    trials, base = later[0]
    return trials, base, max(memory for _, memory in later) / base - 1


def measure(trials: int, pack_size: int | None) -> tuple[list[tuple[int, float]], float, float]:
    """Run the study in this folder.

    Returns:
        Memory as trials ended; wall and processor seconds from the first trial to the last record.
    """
    from harness import execution
    from harness.execution.progress import Meter
    from harness.study import catalog

    root = Path.cwd()
    for name in ("studies", "reports"):
        (root / name).mkdir()
    (root / "studies" / "soak.py").write_text(STUDY % trials)
    samples: list[tuple[int, float]] = []
    add, enter = Meter.add, Meter.__enter__
    began: list[tuple[float, float]] = []

    def entered(self: Meter) -> Meter:
        began.append((time.perf_counter(), time.process_time()))
        return enter(self)

    def counted(self: Meter, statuses: list[str], work: float, reused: bool = False) -> None:
        add(self, statuses, work, reused)
        samples.append((self.counts.total(), resident()))

    Meter.__enter__, Meter.add = entered, counted  # type: ignore[method-assign]
    source = catalog.find("soak")
    console = Console()
    with execution.Ending() as stop:
        results, recorder = execution.execute(
            catalog.load(source), source, "default", root, console, stop, pack_size=pack_size
        )
    wall, work = (now - then for now, then in zip((time.perf_counter(), time.process_time()), began[0], strict=True))  # fmt: skip
    recorder.end("FINISHED")
    held = len(recorder.ledger.children(recorder.experiment, recorder.run_id))
    if set(results.frame["status"]) != {"finished"} or held != trials:
        raise RuntimeError(f"{held} of {trials} trials are in the ledger")
    return samples, wall, work


def main() -> int:
    """Measure and print; 1 if the memory was not flat."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    words.add_argument("--trials", type=int, default=10_000)
    words.add_argument("--pack-size", type=int, help="most trials a pack (as a run would choose)")
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        before = os.getcwd()
        os.chdir(folder)
        try:
            samples, wall, work = measure(given.trials, given.pack_size)
        finally:
            os.chdir(before)
    table = Table("trials ended", "driver, MiB")
    step = max(1, given.trials // 10)
    for mark in range(0, given.trials, step):
        ended, memory = next(sample for sample in samples if sample[0] >= mark)
        table.add_row(f"{ended:,}", f"{memory:.0f}")
    table.add_row(f"{samples[-1][0]:,}", f"{samples[-1][1]:.0f}")
    start, base, more = growth(samples)
    console = Console()
    console.print(table)
    console.print(
        f"{given.trials:,} trials in {len(samples):,} packs: {given.trials / wall:.0f} a second by the "
        f"clock, {1000 * work / given.trials:.2f} ms of the driver's processor time each; load "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    console.print(
        f"memory after trial {start:,}: {base:.0f} MiB, at most {more:+.1%} later (allowed: {FLAT:.0%})"
    )
    return int(more > FLAT)


if __name__ == "__main__":
    sys.exit(main())
