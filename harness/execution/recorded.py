"""Runs that the ledger holds: recalled, and found by a user's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.claims import registration
from harness.execution.prepare import open_ledger, registration_of
from harness.ledger import rows
from harness.ledger.names import SCHEDULED
from harness.ledger.results import Results
from harness.study import SCALES, BadInput, Source, Study


def recall(
    study: Study, source: Source, scale: str, root: Path, run_id: str | None = None
) -> Results:
    """The latest run of a study at a scale, or the one of an id, from the ledger alone.

    Raises:
        BadInput: the ledger has no run of it.
    """
    ledger = open_ledger(root)
    from harness.ledger import Past

    past = Past(ledger, study)
    parents = past.at(scale)
    begun = [one for one in parents if one.info.status != SCHEDULED]
    if not begun:
        raise BadInput(
            f"the ledger {ledger.uri} has no run of {study.name} at the {scale} scale; "
            f"first: harness run {study.name} --scale {scale}"
        )
    run = next((one for one in begun if one.info.run_id == run_id), begun[0])
    info = ledger.info_of(run.info.run_id)
    registered = ledger.registrations(parents)
    entry = registration_of(study, source, scale, "", past, registered)
    info |= registration.summary(registered, entry)
    info["registrations"] = registered
    info["promised"] = ledger.promised(run.info.run_id)
    ids = ledger.children(run.info.experiment_id, run.info.run_id)
    return results_of(study, scale, past.of(run.info.run_id), ids, info)


def find_run(words: str, root: Path) -> tuple[str, str, str]:
    """The study's name, scale and MLflow id of a run that a user names.

    Args:
        words: ``NAME``, ``NAME@SCALE``, either with ``~1`` for the run before the latest (``~2``
            …), or the first digits of an MLflow run id.

    Raises:
        BadInput: there is no such run.
    """
    ledger = open_ledger(root)
    place, _, back = words.partition("~")
    name, _, scale = place.partition("@")
    if (back and not re.fullmatch("[0-9]{1,6}", back)) or (scale and scale not in SCALES):
        raise BadInput(f"run {words!r}; allowed: NAME, NAME@SCALE, NAME~1, or a run's id")
    found = ledger.parents(name, scale or "default") if name in ledger.studies() else []
    found = [run for run in found if run.info.status != SCHEDULED]
    if not found and not back and not scale:
        found = [
            run
            for study in ledger.studies()
            for run in ledger.parents(study)
            if len(words) >= 6 and run.info.run_id.startswith(words)
        ]
    if int(back or 0) >= len(found):
        raise BadInput(
            f"run {words!r}: the ledger {ledger.uri} holds {len(found)} such runs; allowed: NAME, "
            "NAME@SCALE, NAME~1 for the one before the latest, or six digits or more of a run's id"
        )
    tags = found[int(back or 0)].data.tags
    return tags["harness.study"], tags["harness.scale"], found[int(back or 0)].info.run_id


def results_of(
    study: Study, scale: str, frame: pd.DataFrame, run_ids: Mapping[str, str], info: dict[str, Any]
) -> Results:
    """The value that verdicts, figures and report are made from, rows in a fixed order."""
    order = ["phase", "arm", *study.vary, "seed", "trial", "step"]
    frame = frame.copy(deep=False)
    frame.attrs = {}  # what a file says of its rows: pandas would copy it at every operation
    frame = frame.sort_values(order, kind="stable", ignore_index=True)
    trials = rows.trials_of(study, frame, dict(run_ids))
    return Results(study, scale, frame[study.columns()], trials, info)
