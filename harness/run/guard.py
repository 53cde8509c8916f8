"""`python guard.py DRIVER SESSION`: ends what is left of a private Ray cluster once its driver is gone.

Ray's processes end with their driver, by the kernel's doing; but the two agents of a raylet that was
killed first try, for a minute, to tell so to Ray's head, which is gone, too. This one waits until its
input ends, as it does however the driver ends, and then ends those of them that still run. It is
started as a file: what belongs to the package would take seconds to import.
"""

from __future__ import annotations

import contextlib
import sys

import psutil

PATIENCE = 1.0  # seconds in which they may end by themselves


def started(driver: int, session: str) -> list[psutil.Process]:
    """What a driver's cluster has started so far: its children with the session's name among their
    arguments, and theirs, which give themselves other names."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(driver).children():
            if child.pid != psutil.Process().pid and session in " ".join(child.cmdline()):
                found += [child, *child.children(recursive=True)]
    return found


def main() -> None:
    cluster = started(int(sys.argv[1]), sys.argv[2])
    sys.stdin.read()
    _, left = psutil.wait_procs(cluster, PATIENCE)
    for process in left:
        with contextlib.suppress(psutil.Error):  # it ended just now; psutil knows ids used anew
            process.kill()


if __name__ == "__main__":
    main()
