"""Rows in one file, where there is no MLflow: written, gone on with, read and loaded."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from harness.claims import registration
from harness.engine.outcome import Outcome
from harness.execution import origins
from harness.execution.ending import Ending
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
from harness.execution.recorded import results_of
from harness.execution.saves import Saves, beside
from harness.execution.session import Session, inline, packer_for
from harness.ledger import chain, rows
from harness.ledger.results import STATUSES, Results
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import PHASES, BadInput, Source, Study, Trial, catalog

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
            self.wait()

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
    declared = Declarations(study, machines.device)
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
        keeper.wait()
    return results_of(study, scale, keeper.frame(), {}, info)


def digest(frame: pd.DataFrame) -> str:
    """Of a frame of rows, over numbers and names: a damaged file is not to be read as something else."""
    found = hashlib.sha256()
    for name in sorted(frame.columns):
        column = frame[name]
        if column.dtype.kind in "biuf":
            values = column.to_numpy()
            if column.dtype.kind == "f":  # a GPU's NaN has other bits, which the file does not keep
                values = np.where(np.isnan(values), np.nan, values)
            found.update(f"{name} {column.dtype}".encode() + values.tobytes())
        elif name in ("study", "phase", "arm", "trial", "status", "pack", "error"):
            found.update("\0".join([name, *map(str, column)]).encode())
    return found.hexdigest()


def read_rows(path: Path) -> tuple[pd.DataFrame, str, str]:
    """Rows from a file of `execute_to_file`, with the study's name and the scale.

    Raises:
        BadInput: no such file, not one of ours, or a damaged one.
    """
    try:
        frame = rows.load(path)
        scale, name = str(frame.attrs["scale"]), str(frame["study"].iloc[0])
        if frame.attrs["digest"] != digest(frame):
            raise ValueError("its numbers are not those that were written")
    except Exception as error:  # the reader raises whatever the bytes lead it to
        words = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadInput(
            f"rows file {str(path)!r} cannot be read ({words}); allowed: a file written by harness "
            "run NAME --inline --rows FILE"
        ) from None
    return frame, name, scale


def fitting(study: Study, frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """The rows of a file with the study's types.

    Raises:
        BadInput: they are not rows of this study as it is declared now.
    """
    columns = [name for name in study.columns() if name not in study.metrics]
    problem = [f"it has no column {name!r}" for name in columns if name not in frame]
    info = frame.attrs.get("info")
    if not isinstance(info, Mapping) or not {"plan", "commit", "provenance", "started_at"} <= set(
        info
    ):
        problem.append("it does not say what run it is from")
    known = {"phase": PHASES, "status": STATUSES, "arm": tuple(study.arms)}
    known |= {
        name: tuple(study.held(name, level) for level in levels)
        for name, levels in study.vary.items()
    }
    for name, allowed in known.items():
        odd = [] if problem else [v for v in frame[name].unique() if v not in allowed]
        problem += [f"it has {name}={str(value)[:100]!r}" for value in odd[:1]]
    try:
        if not problem:
            return rows.told_apart(rows.typed(study, frame))
    except (ValueError, TypeError) as error:
        problem.append(" ".join(str(error).split())[:200])
    raise BadInput(
        f"{what} does not fit study {study.name} ({problem[0]}); allowed: rows of "
        "the study as it is now"
    )


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
        registered += recorder.register(earlier, planned)
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
