"""`python -m benchmarks.gpu`: all that a borrowed GPU is wanted for, in one call that fits ten
minutes: the tests that need one, the benchmark's GPU column, and studies into rows files.

It needs torch, numpy, pandas, scipy, scikit-learn, pyarrow, pytest and Optuna, and neither Ray nor
MLflow, nor a network. What it writes, each part as soon as there is something to write, is put into
a summary and an archive in parts at the end; `harness import FILE` loads rows on another machine,
with the commit that `HARNESS_COMMIT` names where there is no git. Studies go on with the rows and the
packs in flight of an earlier call, whose folder is given as `--from`. Without a GPU it does the same on
the CPU, where the tests run on a simulated device.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks import table
from benchmarks.workers import device
from harness.execution import saves
from harness.ledger import provenance

ROOT = Path(__file__).resolve().parent.parent
ROWS = (
    "contour",
    "valley",
    "mlp",
    "mlp32",
    "lstm",
    "cnn",
    "signals",
    "encoder",
    "forecasters",
    "gan",
    "ensemble",
    "outliers",
    "pretraining",
    "echo",
)  # of the benchmark: no Ray, no MLflow
STUDIES = (
    "optimizers:default",
    "activations:default",
    "regularization:default",
    "lstm_variants:paper",
)
LEAST = 45.0  # seconds of what is left, below which nothing more is begun
TO_END = 20.0  # seconds that a study has to save its pack and write its rows once told to end
SUMMARY, ARCHIVE = "summary.json", "results.tar"
PART = 15 * 2**20  # bytes of a file that comes back; the archive comes in parts
ROOM = 60 * 2**20  # bytes that come back in all


@dataclass
class Call:
    """One call: where its files go, and how much time is left.

    Args:
        out: The folder.
        limit: Seconds in all.
        tiny: Whether everything is as small as it can be, to see that it runs.
    """

    out: Path
    limit: float
    tiny: bool = False
    started: float = field(default_factory=time.monotonic)
    parts: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.limit - (time.monotonic() - self.started)

    def run(
        self, name: str, words: Sequence[str], most: float, grace: float = 1.0, **env: str
    ) -> int:
        """Run a command into a file of its name; its exit status, 124 where it was cut.

        Args:
            name, words: The command's name, and the command.
            most: Seconds, after which it is told to end.
            grace: Seconds that it has then.
            env: Variables of its own.
        """
        began, log = time.monotonic(), self.out / f"{name}.txt"
        with log.open("w") as file, subprocess.Popen(
            words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **env}
        ) as process:  # fmt: skip
            try:
                done = process.wait(max(1.0, min(most, self.left - grace)))
            except subprocess.TimeoutExpired:
                process.terminate()
                try:
                    done = process.wait(grace)
                except subprocess.TimeoutExpired:
                    process.kill()
                    done = 124
        seconds = round(time.monotonic() - began, 1)
        self.parts[name] = {"status": done, "seconds": seconds}
        print(f"{name}: exit {done} after {seconds} s", flush=True)
        self.write()
        return done

    def write(self) -> None:
        """The summary so far, whole or not at all."""
        about = {k: v for k, v in provenance.describe().items() if k != "command"}
        content = {"machine": about, "seconds": round(self.limit - self.left, 1), **self.parts}
        with self._lock:  # studies may end at once
            part = self.out / "summary.part"
            part.write_text(json.dumps(content, indent=1) + "\n")
            part.replace(self.out / SUMMARY)


def tests(call: Call) -> None:
    """The tests of devices: a real one where there is one, else the simulated."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "tests/engine/test_device.py",
        "tests/engine/test_flight.py",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    # settings of the project that name packages which are not needed here
    words += ["-o", "addopts=", "-o", "filterwarnings=ignore", "-k"]
    words += ["cuda" if device() == "cuda" else "simulated"]
    words[-1] += " and test_models" if call.tiny else ""
    cores = len(os.sched_getaffinity(0))
    if importlib.util.find_spec("xdist") and cores > 2:
        words += ["-n", str(min(8, cores))]
    call.run("tests", words, 150)
    found = re.findall(r"(\d+) (passed|failed|skipped)", (call.out / "tests.txt").read_text())
    call.parts["tests"] |= {what: int(count) for count, what in found}


def bench(call: Call, rows: Sequence[str], repeats: int, most: float) -> None:
    """The benchmark's rows that are only trained, both sides in one run."""
    words = [sys.executable, "-m", "benchmarks", "--repeats", str(repeats)]
    words += [word for row in rows for word in ("--only", row)]
    words += ["--quick"] if call.tiny else []
    table.FILE.unlink(missing_ok=True)
    call.run("bench", words, most)
    if table.FILE.is_file():  # of a run that was cut, what it had
        shutil.copy(table.FILE, call.out / "bench.json")
        found = json.loads(table.FILE.read_text())["results"]
        call.parts["bench"]["ratios"] = {row["work"]: row["ratio"] for row in found}


def give(folder: Path, room: int = ROOM) -> None:
    """Put all but the summary into one archive, in parts that can come back: packs in flight, the
    smallest first, as long as there is room for them.

    Args:
        folder: What a call wrote.
        room: Bytes in all.
    """
    whole = folder / ARCHIVE
    there = [one for one in folder.iterdir() if one.name != SUMMARY]
    with tarfile.open(whole, "w") as archive:
        for path in sorted(there, key=lambda one: (one.is_dir(), _bytes(one))):
            room -= _bytes(path)
            if room > 0 or path.is_file():
                archive.add(path, path.name)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with whole.open("rb") as file:
        for number, part in enumerate(iter(lambda: file.read(PART), b"")):
            whole.with_name(f"{ARCHIVE}.{number:02d}").write_bytes(part)
    whole.unlink()


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(one.stat().st_size for one in files if one.is_file())


def take(source: Path, folder: Path) -> None:
    """What a call gave, as it was before."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = folder / ARCHIVE
    with whole.open("wb") as file:
        for part in sorted(source.glob(f"{ARCHIVE}.*")):
            file.write(part.read_bytes())
    with tarfile.open(whole) as archive:
        archive.extractall(folder, filter="data")
    whole.unlink()


def study(call: Call, name: str, scale: str, most: float) -> None:
    """A study's rows, as many as the time allows."""
    file = call.out / f"{name}-{scale}.parquet"
    flight = saves.beside(file)
    words = [sys.executable, "-m", "harness", "run", name, "--scale", scale, "--inline"]
    words += ["--rows", str(file)]
    call.run(f"{name}-{scale}", words, most - TO_END, TO_END)
    call.parts[f"{name}-{scale}"]["in_flight"] = saves.aloft(flight)
    if file.is_file():
        rows = pd.read_parquet(file)
        ended = rows.groupby("trial")["status"].last()
        call.parts[f"{name}-{scale}"] |= {
            "trials": len(ended), "statuses": ended.value_counts().to_dict(),
        }  # fmt: skip


def studies(call: Call, chosen: Sequence[str], beside: bool) -> None:
    """Studies one after another, each with half of what is left, or all at once."""

    def one(place: int) -> None:
        if call.left > LEAST:
            name, _, scale = chosen[place].partition(":")
            # the last one has all that is left
            share = call.left if beside or place == len(chosen) - 1 else call.left / 2
            study(call, name, scale or "default", share)

    with ThreadPoolExecutor(len(chosen) if beside and chosen else 1) as pool:
        for _ in pool.map(one, range(len(chosen))):
            pass


def main(argv: Sequence[str] | None = None) -> int:
    """Do it all; 1 where a test failed or nothing could be measured."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    words.add_argument("--out", type=Path, required=True, help="the folder for what comes back")
    words.add_argument("--limit", type=float, default=570, help="seconds in all (570)")
    words.add_argument("--part", action="append", choices=["tests", "bench", "studies"])
    words.add_argument("--row", action="append", choices=ROWS, help="of the benchmark (repeatable)")
    words.add_argument("--repeats", type=int, default=3)
    words.add_argument("--study", action="append", metavar="NAME:SCALE", help="(repeatable)")
    words.add_argument("--from", dest="before", type=Path, metavar="FOLDER",
                       help="what an earlier call wrote: its studies go on")  # fmt: skip
    words.add_argument(
        "--beside",
        action="store_true",
        help="studies all at once: one computes while another waits for its launches",
    )
    words.add_argument("--tiny", action="store_true", help="as small as can be: does it run")
    given = words.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.before:
        take(given.before, given.out)
    call = Call(given.out, given.limit, given.tiny)
    parts = given.part or ["tests", "bench", "studies"]
    print(f"{device()}, torch {torch.__version__}, {given.limit:.0f} s", flush=True)
    if "tests" in parts:
        tests(call)
    if "bench" in parts and call.left > LEAST:
        most = call.left / 2 if "studies" in parts else call.left
        bench(call, given.row or (("mlp",) if given.tiny else ROWS), given.repeats, most)
    chosen = given.study or (["optimizers:smoke"] if given.tiny else STUDIES)
    studies(call, chosen if "studies" in parts else (), given.beside)
    call.write()
    give(call.out)
    print((call.out / SUMMARY).read_text(), flush=True)
    return int(call.parts.get("tests", {}).get("failed", 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
