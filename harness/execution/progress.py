"""Live progress of a run: a bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.progress import TaskID as Task
from tqdm.std import tqdm

LINE_EVERY = 5.0  # seconds between plain lines


class Meter:
    """Counts trials as they end and shows them.

    Args:
        planned: Trials in all.
        work: Estimated seconds of them all; trials differ a thousandfold, so time left is told
            from work and not from counts.
        console: Where to; a terminal gets a live bar, and so does a notebook: one of text, which
            needs no widgets.
    """

    def __init__(self, planned: int, work: float, console: Console) -> None:
        self.planned, self.work, self.console = planned, work, console
        self.worked = 0.0
        self.counts: Counter[str] = Counter()
        self.reused = 0
        self.started = time.monotonic()
        self._said = self.started
        self._bar: Progress | None = None
        self._line: tqdm[None] | None = None  # a notebook's bar
        self._task = Task(0)

    def __enter__(self) -> Meter:
        self.started = self._said = time.monotonic()
        if self.console.is_terminal:
            self._bar = Progress(
                BarColumn(24), TextColumn("{task.description}"), console=self.console,
                transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self.text(), total=self.planned)
        elif self.console.is_jupyter and not self.console.quiet:
            self._line = tqdm(total=self.planned, bar_format="{bar:24} {desc}", desc=self.text())
        else:
            self.console.print(f"0/{self.planned} trials")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if self._line is not None:
            self._line.close()
        else:
            self.console.print(self.text())

    def add(self, statuses: list[str], work: float, reused: bool = False) -> None:
        """Count trials that ended; `reused` ones were in the ledger already, and are no work."""
        self.counts.update(statuses)
        if reused:
            self.reused += len(statuses)
            self.work -= work
        else:
            self.worked += work
        if self._bar:
            self._bar.update(self._task, completed=self.counts.total(), description=self.text())
        elif self._line is not None:
            self._line.set_description_str(self.text(), refresh=False)
            self._line.update(len(statuses))
        elif time.monotonic() - self._said >= LINE_EVERY and not reused:
            self._said = time.monotonic()
            self.console.print(self.text())

    def grow(self, trials: int, work: float) -> None:
        """More trials are planned than at first: seeds that an open claim asked for."""
        self.planned += trials
        self.work += work
        if self._bar:
            self._bar.update(self._task, total=self.planned)
        elif self._line is not None:
            self._line.total = self.planned
        else:
            self.console.print(f"{trials} trials more, for claims that are still open")

    def text(self) -> str:
        """The state of the run in one line."""
        done = self.counts.total()
        elapsed = time.monotonic() - self.started
        parts = [f"{done}/{self.planned} trials"]
        parts += [f"{self.counts[s]} {s}" for s in ("diverged", "failed")]
        if self.reused:
            parts.append(f"{self.reused} from the ledger")
        parts.append(f"{_clock(elapsed)} elapsed")
        if self.worked and done < self.planned:
            left = elapsed * max(0.0, self.work - self.worked) / self.worked
            parts.append(f"about {_clock(left)} left")
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")
