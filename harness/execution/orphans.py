"""`python orphans.py DRIVER`: ends what is left of a private Ray cluster once its driver is gone, and
removes the folders in which it kept what Ray Tune writes.

Ray's processes end with their driver, by the kernel's doing; but the two agents of a raylet that was
killed first try, for a minute, to tell so to Ray's head, which is gone, too, and a worker that has
just been started looks for its raylet. This one is started before the cluster, is told its session
once that is known, waits until its input ends, as it does however the driver ends, and then ends what
still runs. It is started as a file: what belongs to the package would take seconds to import.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import sys
import tempfile
from pathlib import Path

import psutil

PATIENCE = 1.0  # seconds in which they may end by themselves
OFTEN, SELDOM = 0.25, 8.0  # seconds between two looks at what there is: at the start, and later


def named(session: str, among: list[psutil.Process]) -> list[psutil.Process]:
    """Those with the session's name, a pattern, among their arguments: Ray gives it to all that it
    starts."""
    found = []
    for process in among:
        with contextlib.suppress(psutil.Error):
            if process.pid != psutil.Process().pid and re.search(
                session, " ".join(process.cmdline())
            ):
                found.append(process)
    return found


def started(driver: int, session: str) -> list[psutil.Process]:
    """What a driver's cluster has started so far, also what gave itself another name."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        for child in named(session, psutil.Process(driver).children()):
            found += [child, *child.children(recursive=True)]
    return found


def parted(raylets: set[str], among: list[psutil.Process]) -> list[psutil.Process]:
    """Those whom a raylet of these has started too late to be seen among its children: Ray tells
    each its raylet's id."""
    found = []
    for process in among:
        with contextlib.suppress(psutil.Error):  # of another user, for one
            if process.environ().get("RAY_RAYLET_PID") in raylets:
                found.append(process)
    return found


def main() -> None:
    driver = int(sys.argv[1])
    session = rf"session_\S+_{driver}\b"  # what Ray calls those of a driver
    known: set[psutil.Process] = set()
    wait = OFTEN
    while True:
        # what gave itself another name is known by its parents, while these are there
        known.update(started(driver, session))
        if select.select([sys.stdin], [], [], wait)[0]:
            said = os.read(sys.stdin.fileno(), 4096)
            if not said:
                break
            session = re.escape(said.decode().strip())
        wait = min(2 * wait, SELDOM)
    _, left = psutil.wait_procs([*known], PATIENCE)
    late = [*psutil.process_iter()]
    for process in [*left, *named(session, late), *parted({str(one.pid) for one in known}, late)]:
        with contextlib.suppress(psutil.Error):  # it ended just now; psutil knows ids used anew
            process.kill()
    for folder in Path(tempfile.gettempdir()).glob(f"harness-ray-{driver}-*"):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
