"""One run at a time of a study in a project, or of a rows file: a lock that ends with its holder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from harness.study import BadInput


@contextlib.contextmanager
def sole(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The kernel frees it when this process ends, however it ends; the file is removed where it can be.

    Args:
        path: The lock file.
        what: What is locked, as the refusal names it.

    Raises:
        BadInput: another process holds it, or the folder cannot be written.
    """
    try:
        descriptor = _locked(path)
    except BlockingIOError:
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
        os.write(descriptor, f"{os.getpid()} since {moment}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is freed: who takes it next sees that it is gone
        os.close(descriptor)


def _locked(path: Path) -> int:
    """An open descriptor of the lock file at the path, locked.

    Raises:
        BlockingIOError: another process has it.
    """
    path.parent.mkdir(exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                return descriptor
        except FileNotFoundError:  # its last holder removed it between the two lines
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
