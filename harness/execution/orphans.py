"""`python orphans.py DRIVER SESSION`: ends what is left of a private Ray cluster once its driver is gone.

Ray's processes end with their driver, by the kernel's doing; but the two agents of a raylet that was
killed first try, for a minute, to tell so to Ray's head, which is gone, too, and a worker that has
just been started looks for its raylet. This one waits until its input ends, as it does however the
driver ends, and then ends those that still run. It is started as a file: what belongs to the package
would take seconds to import.
"""

from __future__ import annotations

import contextlib
import sys

import psutil

PATIENCE = 1.0  # seconds in which they may end by themselves


def named(session: str, among: list[psutil.Process]) -> list[psutil.Process]:
    """Those with the session's name among their arguments: Ray gives it to all that it starts."""
    found = []
    for process in among:
        with contextlib.suppress(psutil.Error):
            if process.pid != psutil.Process().pid and session in " ".join(process.cmdline()):
                found.append(process)
    return found


def started(driver: int, session: str) -> list[psutil.Process]:
    """What a driver's cluster has started so far, also what gave itself another name."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        for child in named(session, psutil.Process(driver).children()):
            found += [child, *child.children(recursive=True)]
    return found


def main() -> None:
    driver, session = int(sys.argv[1]), sys.argv[2]
    cluster = started(driver, session)
    sys.stdin.read()
    _, left = psutil.wait_procs(cluster, PATIENCE)
    for process in [*left, *named(session, list(psutil.process_iter()))]:
        with contextlib.suppress(psutil.Error):  # it ended just now; psutil knows ids used anew
            process.kill()


if __name__ == "__main__":
    main()
