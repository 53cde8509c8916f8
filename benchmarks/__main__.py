"""`python -m benchmarks`: measure every row in one run, print the table, write results.json."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console

from benchmarks import table, whole
from benchmarks.workers import Side, count, device
from benchmarks.works import EPOCHS, MLP_WIDTHS, Work, works
from harness.engine.outcome import Outcome

PLAIN = "plain PyTorch loop"
STUDIES = {  # the peer's side: what it is called, must, aim
    "ray": ("stock Ray Tune", 25, 50),
    "optuna-threads": ("Optuna in threads (n_jobs), MLflow", 8, 20),
    "optuna-processes": ("Optuna in processes, MLflow", 8, 20),
}
PEER_TRIALS = {"ray": 16, "optuna-threads": 32, "optuna-processes": 32}
LONG = 60.0  # seconds of ours, after which two repeats of a work are enough


class Measured:
    """What the repeats have measured so far, and what could not be."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}
        self.notes: dict[tuple[str, str], Any] = {}
        self.failed: dict[str, str] = {}

    def add(self, word: str, side: str, seconds: float) -> None:
        self.seconds.setdefault((word, side), []).append(seconds)

    def enough(self, work: Work) -> bool:
        """Whether a work that takes long has been measured twice, which must do."""
        own = self.seconds.get((work.name, "ours"), [])
        return len(own) >= 2 and sum(own) * work.trials > LONG


def agreement(
    ours: Mapping[int, Outcome], peer: Mapping[int, Outcome], metric: str, within: float = 0.05
) -> tuple[float, float]:
    """Whether two sides did the same work.

    Returns:
        The share of the common trials whose last value differs by less than `within`, and the
        median difference.

    Raises:
        ValueError: they recorded other steps or metrics, or fewer than three quarters agree.
    """
    differences = []
    for i, theirs in peer.items():
        own = ours[i]
        if own.status == "diverged":
            continue
        if own.steps != theirs.steps or set(own.metrics) != set(theirs.metrics):
            raise ValueError(
                f"trial {i} recorded {sorted(own.metrics)} at {own.steps[-3:]}, the peer "
                f"{sorted(theirs.metrics)} at {theirs.steps[-3:]}"
            )
        a, b = own.metrics[metric][-1], theirs.metrics[metric][-1]
        differences.append(abs(a - b) / max(abs(a), abs(b), 1e-3))
    if not differences:
        raise ValueError("no trial to compare")
    share = sum(d < within for d in differences) / len(differences)
    middle = statistics.median(differences)
    if share < 0.75 or not middle < within / 5:
        raise ValueError(
            f"the sides did other work: {metric} of {share:.0%} of {len(differences)} trials agree "
            f"within {within:.0%}, the median difference is {middle:.2g}"
        )
    return share, middle


def train_rows(
    chosen: Mapping[str, Work], quick: bool, repeats: int, told: Measured,
    measured: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Measure the works that are only trained, ours and the plain loop in turns; `measured` is
    called whenever there is more to write."""
    best: dict[tuple[str, str], str] = {}
    gpu = device() == "cuda"
    packs = {  # large, and no core idle
        name: work.packs(1024 if gpu else min(work.pack, -(-work.trials // count())))
        for name, work in chosen.items()
    }
    for repeat in range(repeats):
        with Side("ours", quick, list(chosen)) as ours, Side("plain", quick, list(chosen)) as peer:
            began = time.monotonic()
            ours.ready()
            best = best or peer.fastest(list(chosen))
            peer.use(best)
            told.seconds.setdefault(("peak", ""), []).append(peer.peak())
            print(f"both sides warm after {time.monotonic() - began:.0f} s", flush=True)
            for name, work in chosen.items():
                if name in told.failed or told.enough(work):
                    continue
                # a GPU takes its time over one trial, and costs too much to be kept waiting
                few = max(2, work.block) if gpu else work.peer_trials
                alone: list[tuple[int, ...]] = [(i,) for i in work.peers()[:few]]
                try:
                    # the two take turns at going first
                    if repeat % 2:
                        plain_seconds, theirs = peer.run(name, alone)
                        own_seconds, own = ours.run(name, packs[name])
                    else:
                        own_seconds, own = ours.run(name, packs[name])
                        plain_seconds, theirs = peer.run(name, alone)
                    failures = {o.error for o in own.values() if o.status == "failed"}
                    if failures:
                        raise ValueError(f"trials failed: {failures}")
                    share, middle = agreement(own, theirs, work.compare, work.within)
                except Exception as error:
                    traceback.print_exc()
                    told.failed[name] = f"{type(error).__name__}: {error}"
                    continue
                told.add(name, "ours", own_seconds / work.trials)
                told.add(name, "plain", plain_seconds / len(alone))
                print(f"{name}: {own_seconds:.1f} s of ours, {plain_seconds:.1f} s", flush=True)
                used = sorted({v for (n, _), v in best.items() if n == name})
                told.notes[name, "plain"] = {
                    "ours": f"{work.trials} trials in {len(packs[name])} packs, {count()} warm "
                    "processes of one thread, fresh each repeat",
                    "peer": f"{len(alone)} of the trials, {count()} warm processes of one thread, "
                    f"torch.optim {', '.join(used)} (the fastest, by rule), denormals as zero",
                    "same work": f"last {work.compare} within {work.within:.0%} in {share:.0%} of the trials, "
                    f"median difference {middle:.1g}",
                }
                if work.name == "lstm":
                    told.notes[name, "plain"]["widths"] = "20 to 64, ours padded to 32 or 64"
                measured()


def study_rows(peers: list[str], quick: bool, repeats: int, best: str, told: Measured) -> None:
    """Measure the whole studies, side after side."""
    for side in ("ours", *peers):
        trials = whole.TRIALS if side == "ours" else PEER_TRIALS[side] // (2 if quick else 1)
        try:
            found = whole.measure(side, trials, repeats, best)
        except Exception as error:
            traceback.print_exc()
            told.failed[f"study {side}"] = f"{type(error).__name__}: {error}"
            continue
        told.seconds["study", side] = [seconds / whole.TRIALS for seconds in found["seconds"]]
        told.notes["study", side] = found


def trained(chosen: Mapping[str, Work], told: Measured, gpu: bool) -> list[dict[str, Any]]:
    """A row for each work that both sides have trained."""
    rows = []
    for name, work in chosen.items():
        if name in told.failed or (name, "plain") not in told.seconds:
            continue
        ours, peer = ([1 / s for s in told.seconds[name, side]] for side in ("ours", "plain"))
        notes = told.notes.get((name, "plain"), {})
        rows.append(table.make_row(work.title, PLAIN, ours, peer, work.must, work.aim, notes, gpu))
    return rows


def so_far(
    chosen: Mapping[str, Work], told: Measured, gpu: bool, given: argparse.Namespace
) -> None:
    """Write what has been measured, for a run that may be cut."""
    table.write(trained(chosen, told, gpu), None, quick=given.quick)


def main() -> int:
    """Measure, print and write; 1 if a row could not be measured."""
    everything = works()
    words = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    words.add_argument(
        "--only", action="append", choices=[*everything, *STUDIES], help="this row (repeatable)"
    )
    words.add_argument("--repeats", type=int, default=3, help="repeats of each side (3)")
    words.add_argument("--quick", action="store_true", help="small works, one repeat: does it run")
    given = words.parse_args()
    repeats = 1 if given.quick else max(1, given.repeats)
    chosen = {n: w for n, w in works(given.quick).items() if not given.only or n in given.only}
    studies = [w for w in STUDIES if not given.only or w in given.only]
    console, gpu = Console(), device() == "cuda"
    if not console.is_terminal:
        console.width = 160
    told, started = Measured(), time.monotonic()

    console.print(f"{count()} processes a side on {device()}, {repeats} repeats")
    if chosen:
        try:
            train_rows(chosen, given.quick, repeats, told, lambda: so_far(chosen, told, gpu, given))
        except Exception as error:  # the processes did not start or warm up
            traceback.print_exc()
            told.failed |= {name: f"{type(error).__name__}: {error}" for name in chosen}
    if studies:
        study_rows(studies, given.quick, repeats, "fused", told)

    rows = trained(chosen, told, gpu)
    for side in studies:
        against, must, aim = STUDIES[side]
        if set(told.failed) & {"study ours", f"study {side}"}:
            continue
        ours, peer = ([1 / s for s in told.seconds["study", s]] for s in ("ours", side))
        rows.append(
            table.make_row(
                f"a whole study of {whole.TRIALS} MLPs 3x64, {EPOCHS} epochs, tracked", against,
                ours, peer, must, aim, _study_settings(told, side), gpu,
            )
        )  # fmt: skip
    table.show(rows, gpu, console)
    peak = _peak(told, chosen)
    if peak:
        console.print(
            f"fused MLP: {peak['fused_gflops']} of {peak['peak_gflops']} GFLOP/s of large matrix "
            f"products, {peak['share']:.1%}"
        )
    for what, why in told.failed.items():
        console.print(f"could not be measured: {what}: {why}", style="red", markup=False)
    table.write(rows, peak, quick=given.quick)
    console.print(f"{time.monotonic() - started:.0f} s; written to benchmarks/{table.FILE.name}")
    return 1 if told.failed else 0


def _study_settings(told: Measured, side: str) -> dict[str, str]:
    note = told.notes["study", side]
    return {
        "clock": "from packages imported, Ray started and at rest, store made and two trials run, "
        "to all trials recorded; starting actors is counted",
        "ours": told.notes["study", "ours"]["settings"],
        "peer": note["settings"],
        "peer trials": f"{note['trials']} run, the rest of {whole.TRIALS} at their rate",
    }


def _peak(told: Measured, chosen: Mapping[str, Work]) -> dict[str, Any] | None:
    """The share of the measured peak of matrix products that the fused MLP's updates reach."""
    if ("mlp", "ours") not in told.seconds:
        return None
    training = chosen["mlp"].declare(0)
    parameters = sum(math.prod(p.shape) for p in training.model().parameters())
    arithmetic = 6 * parameters * (training.batch_size or 1) * training.updates
    reached = arithmetic / statistics.median(told.seconds["mlp", "ours"])
    peak = statistics.median(told.seconds["peak", ""])
    return {
        "what": f"6 x {parameters} parameters of MLP {MLP_WIDTHS} x batch x updates; scoring is "
        "not counted as arithmetic, but its time is",
        "processes": count(),
        "fused_gflops": round(reached / 1e9, 1),
        "peak_gflops": round(peak / 1e9, 1),
        "share": round(reached / peak, 4),
    }


if __name__ == "__main__":
    sys.exit(main())
