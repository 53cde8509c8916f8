"""Seconds that a user waits for `list`, `show` and `plan`: `python -m benchmarks.commands`.

A project with as many studies as are asked for, copies of ours under other names, in a folder of its
own; each command in a process of its own, as a shell starts it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
OURS = sorted((ROOT / "studies").glob("[!_]*.py"))


def project(folder: Path, count: int) -> list[str]:
    """Make a project of so many studies, and return their names."""
    (folder / "reports").mkdir(parents=True)
    (folder / "studies").mkdir()
    names = []
    for number, file in enumerate(islice(cycle(OURS), count)):
        names.append(f"{file.stem}_{number // len(OURS) + 1}")
        shutil.copy(file, folder / "studies" / f"{names[-1]}.py")
    return names


def edit(file: Path) -> None:
    """Change a study so that it has to be read again."""
    file.write_text(file.read_text("utf-8") + "# edited\n", "utf-8")


def seconds(folder: Path, *words: str) -> float:
    """How long one command takes."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    return time.perf_counter() - started


def measure(
    folder: Path, names: list[str], repeats: int, every_plan: bool
) -> dict[str, list[float]]:
    """Seconds of each command, so many times."""
    files = [folder / "studies" / f"{name}.py" for name in names]

    def timed(*words: str, before: Callable[[], object] = lambda: None) -> list[float]:
        taken = []
        for _ in range(repeats):
            before()
            taken.append(seconds(folder, *words))
        return taken

    seconds(folder, "list")  # bytecode, and what is kept
    found = {
        "list": timed("list"),
        "list, one study edited": timed("list", before=lambda: edit(files[0])),
        "list, all edited": timed("list", before=lambda: [edit(file) for file in files]),
        "show": timed("show", names[0]),
        "show, the study edited": timed("show", names[0], before=lambda: edit(files[0])),
    }
    planned = names[: len(OURS)] if every_plan else [names[OURS.index(_named("optimizers"))]]
    return {**found, **{f"plan {name}": timed("plan", name) for name in planned}}


def _named(stem: str) -> Path:
    return next(file for file in OURS if file.stem == stem)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=27)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--plans", action="store_true", help="plan each of our studies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        names = project(Path(folder) / "project", max(given.studies, len(OURS)))
        found = measure(Path(folder) / "project", names, given.repeats, given.plans)
    table = Table("command", "median s", "lowest to highest")
    for command, taken in found.items():
        low, high = min(taken), max(taken)
        table.add_row(command, f"{statistics.median(taken):.2f}", f"{low:.2f} to {high:.2f}")
    Console().print(f"{len(names)} studies, {os.cpu_count()} cores")
    Console().print(table)


if __name__ == "__main__":
    main()
