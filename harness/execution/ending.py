"""How a run ends before its time: interrupted, or at its limit; and how a hung trial does."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import IO, Any

PATIENCE = 60.0  # seconds that training has, once the run is to end, until it is saved
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """The run ends here, and what has ended is kept; the text says why."""


class Ending:
    """Ends a run early and in good order: used as a context, on the main thread.

    The first SIGINT or SIGTERM, or the end of the limit, raises `Stopped` there, or where training
    that can be saved has been (`deferred`). Any further
    signal ends the process at once: what Ray has started ends with it, by the kernel's doing.

    Args:
        limit: Seconds that the run may take until training ends; None for no limit.
    """

    def __init__(self, limit: float | None = None) -> None:
        self.limit = limit
        self.why: str | None = None
        self._reached = self._polled = self._deferred = self._insists = False
        self._timer: threading.Timer | None = None
        self._late: threading.Timer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        for number in SIGNALS:
            self._before[number] = signal.getsignal(number)
        self.listen()
        if self.limit is not None:
            self._timer = threading.Timer(self.limit, self._time_is_up)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def listen(self) -> None:
        """Take signals again, after Ray has put handlers of its own in the place of this one's."""
        for number in SIGNALS:
            if self._before[number] is not signal.SIG_IGN:  # as nohup and shells in scripts set it
                signal.signal(number, self._signal)

    def over(self) -> None:
        """Training has ended: from now on the limit ends nothing."""
        if self._timer:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        self._reached = True
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNALS[1])

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if self._insists:
            self._insists = False
            if self._deferred:
                raise Stopped(self.why)
            return
        if self._reached and self.why is None:
            self.why = f"cut: its limit of {self.limit:g} s is over"
        elif self._reached:  # the limit came while the run was ending already
            self._reached = False
            return
        elif self.why is None:
            self.why = "interrupted"
        else:
            os.write(2, b"ended at once; the same command continues\n")
            os._exit(128 + number)  # as shells have it
        self._reached = False
        if self._deferred:
            self._late = threading.Timer(PATIENCE, self._insist)
            self._late.daemon = True
            self._late.start()
        elif not self._polled:
            raise Stopped(self.why)

    @contextlib.contextmanager
    def polled(self) -> Iterator[None]:
        """Within, `check` raises, and not the signal: for loops that an exception could break."""
        self.listen()
        self._polled = True
        try:
            yield
        finally:
            self._polled = False

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within, the signal raises nothing for as long as `why` should be looked at meanwhile; after
        `PATIENCE`, as what hangs looks at nothing, it does."""
        self._polled = self._deferred = True
        try:
            yield
        finally:
            self._polled = self._deferred = False
            if self._late:
                self._late.cancel()

    def _insist(self) -> None:
        self._insists = True
        signal.pthread_kill(threading.main_thread().ident or 0, SIGNALS[1])

    def __reduce__(self) -> tuple[Any, ...]:
        return (str, ())  # Tune pickles callbacks to restore them; we continue from the ledger

    def check(self) -> None:
        """Raise `Stopped` if the run is to end."""
        if self.why is not None:
            raise Stopped(self.why)


@contextlib.contextmanager
def deadline(seconds: float | None, trace: IO[str]) -> Iterator[None]:
    """End this process after so many seconds, whatever it does: Python's watchdog needs no GIL.

    Args:
        seconds: None for no limit.
        trace: Where the stack of every thread goes then; a file with a descriptor.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(max(seconds, 0.001), exit=True, file=trace)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
