"""Rows in one file, where there is no MLflow: written, gone on with, read and loaded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from harness import durable
from harness.claims import registration
from harness.engine.outcome import Outcome
from harness.execution import origins, powered
from harness.execution.ending import Ending
from harness.execution.filed import digest, fitting, read_rows
from harness.execution.lock import sole
from harness.execution.nodes import here
from harness.execution.prepare import (
    UNCHANGED,
    announce,
    check_data,
    info_of,
    linked,
    now,
    open_ledger,
    registration_of,
    work_of,
)  # fmt: skip
from harness.execution.progress import Meter
from harness.execution.published import seconds_taken
from harness.execution.recorded import results_of
from harness.execution.room import with_room
from harness.execution.saves import Saves, beside
from harness.execution.session import Session, inline, packer_for
from harness.ledger import chain, rows
from harness.ledger.results import Results
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import BadInput, Source, Study, Trial, catalog

SAVE_EVERY = 20.0  # seconds of training that a killed ``--rows`` run may lose


class RowsFile:
    """Keeps rows in one parquet file, where there is no MLflow: ``run --inline --rows FILE``.

    Args:
        study: Names the columns.
        path: The file; written whole every `SAVE_EVERY` seconds and at the end.
        attributes: What the file says of itself: study, scale and info.
        frame: Rows that an earlier, interrupted run has left in it.
    """

    def __init__(
        self, study: Study, path: Path, attributes: dict[Any, Any], frame: pd.DataFrame | None
    ) -> None:
        self.study, self.path, self.attributes = study, path, attributes
        self.frames = [] if frame is None else [frame]
        self.keys: set[str] = set()  # of trials that the plan has
        self.all = False  # rows of others are kept, too: the plan may come to them
        self.saved = time.monotonic()

    def add(
        self, pack: str, trials: list[Trial], outcomes: list[Outcome], began: float = 0.0
    ) -> None:
        self.keys.update(trial.key for trial in trials)
        self.frames.append(rows.frame_of(self.study, pack, trials, outcomes, began))
        spent = sum(outcome.seconds for outcome in outcomes)
        if spent > SAVE_EVERY or time.monotonic() - self.saved > SAVE_EVERY:
            try:
                self.wait()
            except OSError as error:  # training goes on, and the next save has these rows, too
                if not durable.full(error):
                    raise
                self.saved = time.monotonic()

    def take(
        self, name: str, frame: pd.DataFrame, trials: list[Trial], outcomes: list[Outcome],
        stored: bool,
    ) -> None:  # fmt: skip
        self.keys.update(trial.key for trial in trials)  # what an earlier run had is in the file

    def frame(self) -> pd.DataFrame:
        """Rows of the plan's trials: what code, settings or versions of before made is left out."""
        frame = pd.concat(self.frames, ignore_index=True)
        return frame[frame["trial"].isin(self.keys)].reset_index(drop=True)

    def wait(self) -> None:
        if not self.frames:
            return
        frame = pd.concat(self.frames, ignore_index=True) if self.all else self.frame()
        self.frames = [frame]
        frame.attrs = self.attributes | {"digest": digest(frame)}
        rows.save(frame, self.path)
        self.saved = time.monotonic()


def execute_to_file(
    study: Study, source: Source, scale: str, path: Path, console: Console,
    ending: Ending, pack_size: int | None = None, fresh: bool = False, amend: str = "",
) -> Results:  # fmt: skip
    """Train every trial in this process and keep the rows in a file; needs no Ray, no MLflow.

    A file of an interrupted run is gone on with, unless `fresh`, and so are its packs in flight,
    which lie in a folder beside it. `ending` is entered by the caller.

    Returns:
        What the file holds now.

    Raises:
        BadInput: the folder cannot be written, another process writes the file, or it is another
            study's.
    """
    try:
        mine = path.parent.is_dir() and os.access(path.parent, os.W_OK)
        mine = mine and (path.is_file() or not path.exists())
    except (OSError, ValueError):  # a name that no file can have
        mine = False
    if not mine:
        raise BadInput(
            f"--rows {str(path)!r} cannot be written; allowed: a new file, or one written by "
            "--rows, in a folder that can be written"
        )
    with sole(path.with_name(f".{path.name}.lock"), f"--rows {str(path)!r}"):
        return _train_to_file(study, source, scale, path, console, ending, pack_size, fresh, amend)


def _train_to_file(
    study: Study, source: Source, scale: str, path: Path, console: Console, ending: Ending,
    pack_size: int | None, fresh: bool, amend: str,
) -> Results:  # fmt: skip
    plan = Plan(study, source, scale)
    machines = here()
    declared = Declarations(study, machines.device, lambda: seconds_taken(study, scale))
    info = info_of(catalog.root(), plan, "", check_data(plan, declared))
    announce(plan, console)
    earlier = None
    if path.is_file() and not fresh:
        earlier, _, then = read_rows(path)
        if (earlier["study"].iloc[0], then) != (study.name, scale):
            raise BadInput(
                f"--rows {str(path)!r} holds {earlier['study'].iloc[0]} at the {then} scale; "
                f"allowed: a new file, rows of {study.name} at the {scale} scale, or --fresh"
            )
        earlier = fitting(study, earlier, f"--rows {str(path)!r}")
        info["started_at"] = earlier.attrs["info"]["started_at"]
        for name in ("registrations", "promised"):
            if name in earlier.attrs["info"]:
                info[name] = earlier.attrs["info"][name]
    elif power := powered.announced(study, source, scale, catalog.root(), ledger=False):
        console.print(power, markup=False, soft_wrap=True)
    trials = 0 if earlier is None else earlier["trial"].nunique()
    entry = registration.entry(study, source, scale, now(), trials)
    entries = info.setdefault("registrations", [])
    entry, planned = linked(entry, entries, plan, info, amend)
    if not entries or chain.follows(entry, entries[-1]):
        info["registrations"] = [*entries, entry]
        info["promised"] = info.get("promised", {}) | {entry["planned"]["keys"]: planned}
    elif amend:
        console.print(UNCHANGED)
    before = earlier.attrs["info"].get("seconds", 0.0) if earlier is not None else 0.0

    def known(keys: set[str]) -> pd.DataFrame:
        return rows.empty(study) if earlier is None else earlier[earlier["trial"].isin(keys)]

    keeper = RowsFile(study, path, {"scale": scale, "info": info}, earlier)
    then = {} if earlier is None else earlier.attrs["info"]
    keeper.all = then.get("plan") == info["plan"]
    clock = time.monotonic()
    saves = Saves(beside(path), plan.origin["device"], console.print, fresh)
    try:
        with (
            Meter(plan.planned, work_of(plan, source, declared), console) as meter,
            saves.open(),
        ):
            session = Session(
                study, source, scale, plan, packer_for(declared, machines, pack_size), keeper, meter, None,
                known, saves=saves, alone=True,
            )  # fmt: skip
            inline(session, ending)
    finally:
        info["seconds"] = round(time.monotonic() - clock + before, 1)
        info["partial"] = not plan.done
        info["planned"] = plan.planned
        used = keeper.keys & (set() if earlier is None else set(earlier["trial"]))
        mine = [origins.entry(then, len(used))] if used else []
        info["elsewhere"] = origins.together(
            then.get("elsewhere", ()), [*mine, *origins.read(study)]
        )
        if plan.done:
            keeper.all = False
            info["finished_at"] = now()
        with_room(keeper.wait, console.print, "the rows file")
    return results_of(study, scale, keeper.frame(), {}, info)


def import_rows(
    study: Study, source: Source, scale: str, root: Path, frame: pd.DataFrame, console: Console
) -> tuple[Results, Any]:
    """Load rows into the ledger as a run of their own; returns what `execute` returns."""
    frame = fitting(study, frame, "the rows file")
    ledger = open_ledger(root)
    info = {**frame.attrs["info"], "tracking_uri": ledger.uri}
    frame.attrs = {}  # which the ledger has in files of their own
    from harness.ledger import Past, Recorder

    past = Past(ledger, study)
    recorder = Recorder(ledger, study, source, scale, info, fresh=True)
    registered = ledger.registrations(past.at(scale))
    promised = info.pop("promised", {})
    for earlier in info.pop("registrations", []):
        planned = promised.get(earlier.get("planned", {}).get("keys"), "")
        registered += recorder.register(earlier, planned, elsewhere=True)
    registered.sort(key=lambda one: str(one["at"]))
    entry = registration_of(study, source, scale, now(), past, registered)
    recorded = rows.Recorded(study, frame)
    try:
        for number, (_, part) in enumerate(frame.groupby("pack", sort=False)):
            groups = [group for _, group in part.groupby("trial", sort=False)]
            trials = [rows.trial_of(study, scale, group) for group in groups]
            outcomes = [recorded.get(trial.key) for trial in trials]
            recorder.take(f"p{number:05d}", part, trials, outcomes)
        console.print(f"{frame['trial'].nunique()} trials to load")
    except BaseException:
        recorder.end("FAILED")
        raise
    info |= {"experiment_id": recorder.experiment, "run_id": recorder.run_id}
    entry["trials"] += frame["trial"].nunique()  # claims edited since then came after these rows
    info |= registration.summary(registered, entry)
    recorder.consolidate(info)
    info |= {"registrations": registered, "promised": promised}
    return results_of(study, scale, recorder.frame(), recorder.run_ids, info), recorder
