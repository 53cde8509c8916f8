"""Writes one study run: packs as they come, then the report."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy.exc import SQLAlchemyError

from harness import durable
from harness.engine.outcome import Outcome
from harness.ledger import chain, rows
from harness.ledger.children import Child, insert, send
from harness.ledger.client import Metric, MlflowException, RunTag
from harness.ledger.folded import Folded
from harness.ledger.names import CLAIMS, INFO, KEYS, PACKS, PROMISED, REGISTERED, ROWS
from harness.ledger.past import Held, packs_of
from harness.ledger.permanent import one_line, permanent
from harness.ledger.store import Ledger
from harness.study import Source, Study, Trial, Unfinished

NOTE_LENGTH = 8000

# What a store meets us with that is away, locked or full, or that refuses what it is given (see
# `permanent`); anything else is a fault of ours.
AWAY = (OSError, MlflowException, SQLAlchemyError, sqlite3.Error)
TOGETHER = 256  # trials of several small packs that are recorded together
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # seconds between attempts
FULL_DELAY = 1.0  # and the longest where the disk is full: to ask it costs nobody anything


class Refused(Unfinished):
    """The store refuses a record, and would again: the run ends, and its rows wait in the spool."""


@dataclass
class _Entry:
    """Something to be recorded: a file, and the trials whose child runs follow it.

    `file` is where it lies in the spool until the store has it, `fill` what writes it there until
    the disk has it. Every step can be tried again.
    """

    file: Path | None = None
    fill: Callable[[Path], None] | None = None
    folder: str = ""  # among the artifacts
    then: Callable[[], None] = lambda: None  # once the store has the file
    packs: Sequence[str] = ()  # of each trial
    trials: Sequence[Trial] = ()
    outcomes: Sequence[Outcome] = ()


class Recorder:
    """Records one parent run. One thread does, in order, so that training never waits for it.

    A pack's rows are on the disk, in the spool, when `add` returns. From there they go to the
    store, whenever it takes them: while it is away, locked or full, they wait, and the thread tries
    again. What still waits when the process ends is put into the store by the next one.

    Args:
        ledger: The store.
        study, source, scale: What is run; the text is kept as an artifact.
        info: What is known of the run, `plan` above all.
        fresh: Begin a new run, even where there is one of the same plan.
        say: Where to tell a user that the store is away, or is back.

    Attributes:
        experiment, run_id: MLflow's ids.
        continued: Whether the run was there before.

    Raises:
        BadInput: another process runs the study into the same server.
    """

    patience = 60.0  # seconds without progress after which a finished study ends without the store

    def __init__(
        self, ledger: Ledger, study: Study, source: Source, scale: str, info: Mapping[str, Any],
        fresh: bool, say: Callable[[str], object] = lambda text: None,
    ) -> None:  # fmt: skip
        self.ledger, self.study, self.say = ledger, study, say
        self.experiment, self.run_id, self.continued = ledger.open_run(
            study, source, scale, info, fresh
        )
        self.spool = ledger.spool(study.name) / self.run_id
        self._rows = Folded(study)
        self.run_ids: dict[str, str] = {}
        self.packs: set[str] = set()  # names of the pack files that `frame` covers
        self.reused: set[str] = set()  # trials that were taken from earlier runs
        self._grown = True  # whether `frame` has more than the run's one file of rows
        if self.continued:
            cut = ("RUNNING", "FAILED")
            self.run_ids = ledger.children(self.experiment, self.run_id, remove=cut)
            self.packs = {name.rpartition("/")[2] for name in packs_of(ledger, self.run_id)}
            self._grown = bool(self.packs) or Held.of(ledger, self.run_id) is None
        self.error: Exception | None = None  # a fault of ours, or `Refused`
        self._trouble = ""  # why the store did not take the last record, if it did not
        self._given_up = False
        self._unsure = False  # whether the store may hold children that we do not know of
        self._progress = time.monotonic()
        self._entries: deque[_Entry] = deque()  # what the store has not got yet
        self._changed = threading.Condition()
        threading.Thread(target=self._drain, name="ledger", daemon=True).start()

    def add(
        self, pack: str, trials: Sequence[Trial], outcomes: Sequence[Outcome], began: float = 0.0
    ) -> None:
        """Keep a pack's outcomes, and when it went out to be trained.

        Raises:
            Refused: the store refuses records; this pack's rows are in the spool all the same.
        """
        frame = rows.frame_of(self.study, pack, trials, outcomes, began)
        self._keep(pack, frame, trials, outcomes, [str(frame["pack"].iloc[0])] * len(trials))

    def take(
        self, name: str, frame: pd.DataFrame, trials: Sequence[Trial], outcomes: Sequence[Outcome],
        stored: bool = False,
    ) -> None:  # fmt: skip
        """Keep trials that another run has trained, or this one before.

        Args:
            name: For their file.
            frame: Their rows.
            trials, outcomes: Whose they are, in the same order.
            stored: The rows are in this parent's artifacts already.

        Raises:
            Refused: as `add`.
        """
        self.reused.update(trial.key for trial in trials)
        first = frame.drop_duplicates("trial")
        packs = dict(zip(first["trial"], first["pack"], strict=True))
        self._keep(name, frame, trials, outcomes, [packs[trial.key] for trial in trials], stored)

    def _keep(
        self, name: str, frame: pd.DataFrame, trials: Sequence[Trial],
        outcomes: Sequence[Outcome], packs: Sequence[str], stored: bool = False,
    ) -> None:  # fmt: skip
        self._rows.add(frame)
        entry = _Entry(folder=PACKS, packs=packs, trials=trials, outcomes=outcomes)
        if not stored:
            # Names of packs begin anew with every process that continues this run; their trials
            # do not.
            file = f"{name}-{rows.digest(trial.key for trial in trials)}.parquet"
            self._grown = True
            self.packs.add(file)
            entry.file = self.spool / file
            entry.fill = lambda path: rows.save(frame, path)
        self._put(entry)
        if self.error:
            raise self.error

    def frame(self) -> pd.DataFrame:
        """All rows so far, with `rows.PER_TRIAL`."""
        return self._rows.frame()

    def remember(self, info: Mapping[str, Any]) -> None:
        """Keep what the run knows of itself so far."""
        text = json.dumps(dict(info), indent=2)
        self._put(_Entry(self.spool / INFO, lambda path: durable.text(path, text)))

    def consolidate(self, info: Mapping[str, Any]) -> bool:
        """All rows in one file, in place of the packs, and the finished info: see `ledger.past`.

        Returns:
            As `wait`.
        """
        if self._grown:
            frame, packs = self.frame(), frozenset(self.packs)
            ends = frame.drop_duplicates("trial")
            held = Held(dict(zip(ends["trial"], ends["status"], strict=True)), packs)
            self._put(_Entry(self.spool / ROWS, lambda path: rows.save(frame, path)))
            self._put(
                _Entry(
                    self.spool / KEYS, lambda path: durable.text(path, held.text()),
                    then=lambda: self.ledger.remove(self.run_id, PACKS, packs),
                )
            )  # fmt: skip
        self.remember(info)
        return self.wait()

    def wait(self, patience: float | None = None) -> bool:
        """Wait until the store has all that was added.

        Args:
            patience: Seconds without progress after which to give up, other than the usual.

        Returns:
            Whether it has. What it has not waits in the spool.
        """
        self._progress = time.monotonic()
        with self._changed:
            while self._entries and not self.error:
                left = self._progress + (patience or self.patience) - time.monotonic()
                if left <= 0 or self._given_up:
                    self._given_up = True
                    return False
                self._changed.wait(min(left, 1.0))
        if self.error:
            raise self.error
        return True

    def behind(self) -> int:
        """How many records the store has not got yet."""
        return len(self._entries)

    def missing(self) -> str:
        """What the store has not got, and why, in words."""
        entries = list(self._entries)
        unsaved = sum(entry.fill is not None for entry in entries)
        lost = f" ({unsaved} of them in memory only)" if unsaved else ""
        return (
            f"tracking store {self.ledger.uri} takes no records, {self._trouble or 'no answer'}; "
            f"{len(entries)} wait in {self.spool}{lost}"
        )

    def register(
        self, entry: Mapping[str, Any], planned: str = "", elsewhere: bool = False
    ) -> list[dict[str, Any]]:
        """Write down what is claimed, unless this run's last registration says the same.

        Args:
            entry: Of `claims.registration`, linked or not.
            planned: The keys that its `planned` has a digest of.
            elsewhere: It was registered in another ledger: it is written down in any case, for the
                next one follows it.

        Returns:
            What was written down: this entry, or nothing.
        """
        entries = self.ledger.registered(self.run_id)
        if entries and not (elsewhere or chain.follows(entry, entries[-1])):
            return []
        entries.append(dict(entry))
        told = json.dumps([chain.brief(one) for one in entries])
        if planned:
            held = self.ledger.promised(self.run_id) | {entry["planned"]["keys"]: planned}
            self.ledger.write(self.run_id, PROMISED, json.dumps(held))
        tags = {"harness.claims": entry["hash"], REGISTERED: told}
        # the file last: it is what counts, and a run that is killed before writes both anew
        self.ledger.client.log_batch(self.run_id, tags=[RunTag(k, v) for k, v in tags.items()])
        text = json.dumps(entries, indent=2, ensure_ascii=False)
        self.ledger.write(self.run_id, CLAIMS, text)
        return [dict(entry)]

    def complete(
        self, folder: Path, note: str, metrics: Mapping[str, float], partial: bool = False
    ) -> None:
        """Finish the parent run: a report's files, the Markdown note, the study's own counts.

        Args:
            folder, note, metrics: These three.
            partial: The run was stopped: it ends as KILLED, and a store that is away is not
                waited for.

        Raises:
            Unfinished: the store does not take it; the same run, once more, does all of it.
        """
        client, now = self.ledger.client, int(time.time() * 1000)

        def finish() -> None:
            client.log_batch(
                self.run_id,
                metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()],
                tags=[RunTag("mlflow.note.content", note[:NOTE_LENGTH])],
            )
            for path in sorted(folder.iterdir()):  # but for the rows, which are there already
                if path.is_dir():
                    client.log_artifacts(self.run_id, str(path), path.name)
                elif path.name != ROWS:
                    client.log_artifact(self.run_id, str(path))
            client.set_terminated(self.run_id, "KILLED" if partial else "FINISHED")

        try:
            if not self.wait():
                raise Unfinished(self.missing())
            self._insist(finish, time.monotonic() + (0.0 if partial else self.patience))
        finally:
            self.ledger.release()
        with contextlib.suppress(OSError):
            os.removedirs(self.spool)  # as far up as nothing else waits

    def end(self, status: str, patience: float | None = None) -> None:
        """Close the parent run without a report, as FAILED or KILLED, if the store takes it."""
        client = self.ledger.client
        with contextlib.suppress(Exception):  # another error is on its way, or the user's Ctrl-C
            if self.wait(patience):
                step = functools.partial(client.set_terminated, self.run_id, status)
                self._insist(step, time.monotonic() + (patience or self.patience))
        self.ledger.release()

    # --- the thread that records -----------------------------------------------------------------

    def _put(self, entry: _Entry) -> None:
        try:
            self._save(entry)
        except OSError as error:  # a full disk: training goes on, and the thread tries again
            self._away(error)
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    def _drain(self) -> None:
        while not self.error and not self._given_up:
            with self._changed:
                self._changed.wait_for(lambda: len(self._entries) > 0)
                entries = self._next()
            try:
                self._insist(functools.partial(self._record, entries))
            except Refused as error:
                self._refused(error)
                return
            except Unfinished:
                return
            except Exception as error:  # handed to the driver by `add` and `wait`
                self.error = error
            with self._changed:
                for _ in entries:
                    self._entries.popleft()
                self._progress = time.monotonic()
                self._changed.notify_all()

    def _refused(self, error: Refused) -> None:
        """Hand the error to the driver; what waits stays in the spool."""
        with self._changed:
            self.error = error
            self._changed.notify_all()

    def _next(self) -> list[_Entry]:
        """Entries that are recorded together: packs of few trials leave a server idle in turns."""
        chosen: list[_Entry] = []
        trials = 0
        for entry in self._entries:
            trials += len(entry.trials)
            if chosen and trials > TOGETHER:
                break
            chosen.append(entry)
        return chosen

    def _insist(self, step: Callable[[], None], until: float = math.inf) -> None:
        """Do a step, again and again while the store is away.

        Raises:
            Refused: waiting will not mend it.
            Unfinished: it is still away at the moment `until`, of `time.monotonic`.
        """
        delay = FIRST_DELAY
        while True:
            try:
                if self._unsure:
                    self.run_ids = self.ledger.children(
                        self.experiment, self.run_id, remove=("RUNNING",)
                    )
                    self._unsure = False
                step()
            except AWAY as error:
                if permanent(error):
                    self._trouble = one_line(error)
                    raise Refused(
                        f"{self.missing()}; once that is mended, the same command continues"
                    ) from None
                self._unsure = True
                self._away(error)
                if time.monotonic() + delay > until:
                    raise Unfinished(self.missing()) from None
                time.sleep(delay)
                longest = FULL_DELAY if durable.full(error) else LONGEST_DELAY
                delay = min(2 * delay, longest)
                if self._given_up:  # another process may be at it by now
                    raise Unfinished(self.missing()) from None
            else:
                if self._trouble:
                    self._trouble = ""
                    self.say(f"the tracking store takes records again; {len(self._entries)} waited")
                return

    def _away(self, error: Exception) -> None:
        first, self._trouble = not self._trouble, one_line(error)
        if first:
            self.say(
                f"the tracking store takes no records: {self._trouble}; training goes on, and they wait "
                f"in {self.spool}"
            )

    def _save(self, entry: _Entry) -> None:
        if entry.file and entry.fill:
            entry.fill(entry.file)
            entry.fill = None

    def _record(self, entries: Sequence[_Entry]) -> None:
        fresh: dict[str, Child] = {}
        now = int(time.time() * 1000)
        for entry in entries:
            self._save(entry)
            if entry.file:
                self.ledger.keep(self.run_id, entry.file, entry.folder)
                entry.then()
                entry.file = None
            ended = zip(entry.packs, entry.trials, entry.outcomes, strict=True)
            for pack, trial, outcome in ended:
                if trial.key not in self.run_ids and trial.key not in fresh:
                    fresh[trial.key] = Child.of(self.run_id, pack, trial, outcome, now)
        store = self.ledger.store()
        if store is not None:
            self.run_ids |= insert(store, self.experiment, list(fresh.values()))
            return
        client, wire = self.ledger.client, self.ledger.wire
        for key, run_id in send(client, wire, self.experiment, list(fresh.values())):
            self.run_ids[key] = run_id
            self._progress = time.monotonic()
