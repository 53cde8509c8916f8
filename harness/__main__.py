"""The command as a process of its own: `harness`, or `python -m harness`."""

from __future__ import annotations

import atexit
import gc
import os
import sys


def console() -> None:
    """Run the command; one that is interrupted exits 130, whenever that is.

    It may be while modules are imported. And what was interrupted may hold threads of Ray's that
    abort the process at its very end, with another exit code: it leaves without that end, but not
    without what was to be done then.
    """
    # nearly all that is imported and planned stays: looking through it for garbage in circles, over
    # and over, takes a quarter of a listing's time
    gc.set_threshold(100_000, 100, 100)
    atexit.register(gc.freeze)  # the end would look through all of torch for garbage, half a second
    try:
        from harness.app.cli import INTERRUPTED, main
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr, flush=True)
        os._exit(130)
    try:
        main()
    except SystemExit as done:
        if done.code != INTERRUPTED:
            raise
        try:
            atexit._run_exitfuncs()
        finally:
            os._exit(INTERRUPTED)


if __name__ == "__main__":
    console()
