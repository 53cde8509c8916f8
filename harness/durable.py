"""Files that are whole or not there, and on the disk when a call returns."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("database or disk is full", "no space left on device")  # SQLite's; and MLflow's, of others


def full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if any(words in str(error).lower() for words in WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Make a file, or replace it in one step.

    Args:
        path: The file; its folder is made where there is none.
        fill: Writes the content to the path that it is given, which lies beside `path`.

    Raises:
        OSError: the disk is full or cannot be written; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        fill(part)
        _sync(part)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def text(path: Path, content: str) -> None:
    """`write` a text."""
    write(path, lambda part: part.write_text(content, "utf-8"))


def move(path: Path, target: Path) -> None:
    """Move a whole file to another folder; doing it again after it was done changes nothing.

    Raises:
        OSError: as `write`; the file is then still at `path`, or whole at `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() and target.exists():
        return
    if path.stat().st_dev == target.parent.stat().st_dev:
        os.replace(path, target)
        _sync(target.parent)
    else:
        write(target, lambda part: shutil.copyfile(path, part))
        path.unlink()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
