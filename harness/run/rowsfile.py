"""Rows in one file, where there is no MLflow: written, gone on with, read and loaded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from harness import catalog, rows
from harness.claims import registration
from harness.packs import Outcome
from harness.plan import Plan
from harness.progress import Meter
from harness.results import Results
from harness.run.beginning import check_data, info_of, now, open_ledger, work_of
from harness.run.recorded import results_of
from harness.run.session import Session, inline, packer_for
from harness.study import BadInput, Source, Study, Trial

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
        self.saved = time.monotonic()

    def add(
        self, pack: str, trials: list[Trial], outcomes: list[Outcome], stored: bool = False
    ) -> None:
        if stored:
            return
        self.frames.append(rows.frame_of(self.study, pack, trials, outcomes))
        if time.monotonic() - self.saved > SAVE_EVERY:
            self.wait()

    def frame(self) -> pd.DataFrame:
        return pd.concat(self.frames, ignore_index=True)

    def wait(self) -> None:
        if not self.frames:
            return
        temporary = self.path.with_suffix(".tmp")
        frame = self.frame()
        self.frames = [frame]
        frame.attrs = self.attributes
        frame.to_parquet(temporary, index=False)
        os.replace(temporary, self.path)
        self.saved = time.monotonic()


def execute_to_file(
    study: Study, source: Source, scale: str, path: Path, console: Console,
    pack_size: int | None = None, fresh: bool = False,
) -> None:  # fmt: skip
    """Train every trial in this process and keep the rows in a file; needs no Ray, no MLflow.

    A file of an interrupted run is gone on with, unless `fresh`.

    Raises:
        BadInput: the folder cannot be written, or the file is another study's.
    """
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput(f"--rows {str(path)!r}: its folder cannot be written; allowed: one that can")
    plan = Plan(study, source, scale)
    info = info_of(catalog.root(), plan, "", check_data(study, plan))
    earlier = None
    if path.is_file() and not fresh:
        earlier, _, then = read_rows(path)
        if (earlier["study"].iloc[0], then) != (study.name, scale):
            raise BadInput(
                f"--rows {str(path)!r} holds {earlier['study'].iloc[0]} at the {then} scale; "
                f"allowed: a new file, rows of {study.name} at the {scale} scale, or --fresh"
            )
        info["started_at"] = earlier.attrs["info"]["started_at"]
        info["registrations"] = earlier.attrs["info"].get("registrations", [])
    trials = 0 if earlier is None else earlier["trial"].nunique()
    entry = registration.entry(study, source, scale, now(), trials)
    info.setdefault("registrations", [])
    if not info["registrations"] or info["registrations"][-1]["hash"] != entry["hash"]:
        info["registrations"].append(entry)
    before = earlier.attrs["info"].get("seconds", 0.0) if earlier is not None else 0.0
    kept = None if earlier is None else rows.typed(study, earlier)
    known = None if kept is None else rows.Recorded(study, kept)
    keeper = RowsFile(study, path, {"study": source.path, "scale": scale, "info": info}, kept)
    clock = time.monotonic()
    try:
        with Meter(plan.planned, work_of(study, source, scale), console) as meter:
            inline(
                Session(
                    study, source, scale, plan, packer_for(study, pack_size), keeper, meter,
                    lambda key: known.get(key) if known else None,
                    lambda key: True,  # what is known is in the file
                )
            )  # fmt: skip
    finally:
        info["seconds"] = round(time.monotonic() - clock + before, 1)
        info["partial"] = not plan.done
        info["planned"] = plan.planned
        if plan.done:
            info["finished_at"] = now()
        keeper.wait()


def read_rows(path: Path) -> tuple[pd.DataFrame, str, str]:
    """Rows from a file of `execute_to_file`, with the study's name and the scale.

    Raises:
        BadInput: no such file, or not one of ours.
    """
    try:
        frame = pd.read_parquet(path)
        scale, name = str(frame.attrs["scale"]), str(frame["study"].iloc[0])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadInput(
            f"rows file {str(path)!r} cannot be read ({type(error).__name__}: {error}); allowed: a "
            "file written by harness run NAME --inline --rows FILE"
        ) from None
    own = str(frame.attrs.get("study", ""))
    return frame, (own if name not in catalog.names() and Path(own).is_file() else name), scale


def import_rows(
    study: Study, source: Source, scale: str, root: Path, frame: pd.DataFrame, console: Console
) -> tuple[Results, Any]:
    """Load rows into the ledger as a run of their own; returns what `execute` returns."""
    ledger = open_ledger(root)
    info = {**frame.attrs["info"], "tracking_uri": ledger.uri}
    frame = rows.typed(study, frame)
    entry = registration.entry(study, source, scale, now(), ledger.trials(study, scale))
    recorder = ledger.start(study, scale, info, fresh=True)
    for earlier in info.pop("registrations", []):
        recorder.register(earlier)
    recorded = rows.Recorded(study, frame)
    try:
        for pack, part in frame.groupby("pack", sort=False):
            groups = [group for _, group in part.groupby("trial", sort=False)]
            trials = [rows.trial_of(study, scale, group) for group in groups]
            outcomes = [recorded.get(trial.key) for trial in trials]
            recorder.add(str(pack), trials, [outcome for outcome in outcomes if outcome])
        console.print(f"{frame['trial'].nunique()} trials to load")
        recorder.wait()
    except BaseException:
        recorder.end("FAILED")
        raise
    info |= {"experiment_id": recorder.experiment, "run_id": recorder.run_id}
    entry["trials"] += frame["trial"].nunique()  # claims edited since then came after these rows
    info |= registration.summary(ledger.registrations(study.name, scale), entry)
    recorder.consolidate(info)
    return results_of(study, scale, recorder.frame(), recorder.run_ids, info), recorder
