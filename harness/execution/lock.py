"""One run at a time of a study in a project, or of a rows file: a lock that ends with its holder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from harness.study import BadInput


@contextlib.contextmanager
def sole(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The system frees it when this process ends, however it ends; the file is removed where it can be.

    Args:
        path: The lock file.
        what: What is locked, as the refusal names it.

    Raises:
        BadInput: another process holds it, or the folder cannot be written.
    """
    lock = FileLock(path, timeout=0)
    try:
        path.parent.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout:
        holder = "another process"
        with contextlib.suppress(OSError):
            holder = f"process {path.read_text()}"
        raise BadInput(
            f"{what} is in use by {holder}; allowed: one run of it at a time. Wait for it, or "
            "interrupt it and go on with the same command"
        ) from None
    except OSError as error:
        raise BadInput(f"lock file {path} cannot be written ({error.strerror})") from None
    try:
        moment = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # the disk is full, and who holds it is untold
            path.write_text(f"{os.getpid()} since {moment}")
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # before it is freed: who takes it next sees that it is gone
        lock.release()
