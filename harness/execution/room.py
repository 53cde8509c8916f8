"""A full disk is waited for: what can be done again is, until there is room."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness import durable
from harness.study import Unfinished

T = TypeVar("T")

PATIENCE = 60.0  # seconds without room after which a run ends
APART = 0.5  # seconds between two attempts, at least


def with_room(step: Callable[[], T], say: Callable[[str], object], what: str) -> T:
    """Do a step that can be done again; while the disk is full, again and again.

    Args:
        step: What is done.
        say: Is told, once, that there is no room, and once that there is again.
        what: What waits for room, in words.

    Raises:
        Unfinished: there was no room for `PATIENCE`.
    """
    began = time.monotonic()
    told = False
    while True:
        tried = time.monotonic()
        try:
            done = step()
        except Exception as error:
            if not durable.full(error):
                raise
            if not told:
                say(f"the disk is full; {what} waits for room")
                told = True
            spent = time.monotonic() - tried
            pause = max(APART, spent)  # a step that takes long is not done all the time
            if time.monotonic() + pause > began + PATIENCE:
                raise Unfinished(
                    f"the disk is full, and {what} found no room in {time.monotonic() - began:.0f} s"
                ) from None
            time.sleep(pause)
        else:
            if told:
                say(f"there is room on the disk again, after {time.monotonic() - began:.0f} s")
            return done
