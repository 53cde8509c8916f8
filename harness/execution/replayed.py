"""A recorded trial trained again, and compared with its record."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

from harness.engine.attempt import run_pack
from harness.execution.prepare import open_ledger
from harness.execution.tables import read_first
from harness.ledger import provenance, rows
from harness.plan.plan import Plan, current_key
from harness.study import BadInput, Source, Study, Trial, catalog

if TYPE_CHECKING:
    from harness.ledger import Ledger


def replay(key: str, root: Path, file: Path | None = None) -> tuple[bool, list[str]]:
    """Train a recorded trial again, here and alone, and compare it row by row; where it differs,
    once more in its place among the trials of its pack.

    The study is the one that was recorded with the trial, where the record is the project's own.
    What a tracking server holds is not run: there the study is the project's of that name.

    Args:
        key: The trial's.
        root: The project folder.
        file: A study file to use instead.

    Returns:
        Whether every row is bitwise the same, and lines that say what was compared.

    Raises:
        BadInput: no ledger run holds a trial of that key, its study is not at hand, or a data set of
            its own is another one now.
    """
    ledger = open_ledger(root)
    from harness.ledger import past

    found = ledger.holding(key) if re.fullmatch("[0-9a-f]{16}", key) else []
    for run in found:
        source, lines = _source(ledger, run, file)
        study = catalog.load(source)
        frame = past.rows_of(ledger, study, run.info.run_id)
        recorded = frame[frame["trial"] == key]
        if recorded.empty:  # its file is damaged; another run may have it whole
            continue
        scale = run.data.tags["harness.scale"]
        read_first(study, scale, root)
        trial = _trial(study, scale, recorded)
        info = ledger.info_of(run.info.run_id)
        _same_data(Plan(study, source, scale), info)
        device = info.get("provenance", {}).get("device", "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            device = "cpu"  # where its last bits will differ
        again = rows.frame_of(study, "replay", [trial], run_pack(study, [trial], device))
        if since := sealed_since(study, recorded, again):
            recorded = recorded.assign(**dict.fromkeys(since, math.nan))
            lines.append(
                f"{', '.join(since)}: recorded, and not measured now, as the test split is sealed in "
                f"the {trial.phase} phase"
            )
        now = current_key(study, source, scale, trial)
        then = info.get("origin")
        if now != key and then and current_key(study, source, scale, trial, then) == key:
            differ = provenance.differences(info.get("provenance", {}), provenance.describe())
            lines.append(f"the trial's key is {now} here: {'; '.join(differ)}")
        elif now != key:
            lines.append(f"the code that trains has changed since: the trial's key is {now} now")
        same, compared = _compare(study, info, recorded, again)
        if not same:
            same, place = _in_its_pack(study, scale, frame, recorded, device)
            compared += place
        return same, [*compared, *lines]
    raise BadInput(f"no trial {key!r} in {ledger.uri}; allowed: a key from trials.csv")


def _source(ledger: Ledger, run: Any, file: Path | None) -> tuple[Source, list[str]]:
    """The study that a trial is replayed from, and what there is to say about it."""
    name, text = run.data.tags["harness.study"], ledger.source_of(run.info.run_id)
    if file is not None:
        source = catalog.find(str(file))
        if source.name != name:
            raise BadInput(f"--study {str(file)!r} is another study; allowed: a file {name}.py")
    elif text is not None and ledger.own(run.info.run_id):
        path = f"{name}.py"
        path = catalog.find(name).path if catalog.known(name) else path
        return Source(name, path, text, ledger.beside_of(run.info.run_id)), []
    elif catalog.known(name):
        source = catalog.find(name)
    else:
        raise BadInput(
            f"the trial is of study {name!r}, which is not in studies/, and what a server holds is "
            f"not run; allowed: harness replay TRIAL --study {name}.py"
        )
    if text is None:
        return source, []
    beside = dict(ledger.beside_of(run.info.run_id))
    changed = [source.path] if text != source.text else []
    changed += [path for path, now in source.beside if beside.get(path) != now]
    return source, [f"{path} is not the text that was recorded" for path in changed]


def _trial(study: Study, scale: str, recorded: pd.DataFrame) -> Trial:
    try:
        return rows.trial_of(study, scale, recorded)
    except (KeyError, StopIteration, ValueError):
        raise BadInput(
            f"study {study.name!r} no longer has arm {recorded['arm'].iloc[0]!r} with the settings of "
            "this trial; allowed: the study as it was recorded (--study FILE)"
        ) from None


def _same_data(plan: Plan, info: Mapping[str, Any]) -> None:
    """Raise where a data set of the study's own has another content than when it was recorded."""
    recorded = str((info.get("provenance") or {}).get("data")).split(", ")
    then = dict(one.split(" ", 1) for one in recorded if " " in one)
    for name, own in plan.data.items():
        now = own.digest[:12]
        if then.get(name, now) != now:
            raise BadInput(
                f"data set {name!r} has digest {now}, and the trial was trained on {then[name]}; allowed: "
                "the content that was recorded"
            )


def _in_its_pack(
    study: Study, scale: str, frame: pd.DataFrame, recorded: pd.DataFrame, device: str
) -> tuple[bool, list[str]]:
    """Train a trial beside those of its pack, for its last bits may depend on its place there.

    Args:
        frame: All rows of its run, a pack's trials in the order in which they were trained (those
            of a rows file, in which they were sorted: the plan's, for trials of one arm).
        recorded: Those of the trial.

    Returns:
        What `_compare` does; where it had a pack to itself, no lines.
    """
    names = frame.loc[frame["pack"] == recorded["pack"].iloc[0], "trial"].unique()
    if len(names) < 2:
        return False, []
    trials = [_trial(study, scale, frame[frame["trial"] == name]) for name in names]
    again = rows.frame_of(study, "replay", trials, run_pack(study, trials, device))
    again = again[again["trial"] == recorded["trial"].iloc[0]]
    differ = differing(recorded, again, study)
    found = "; ".join(differ) or "every row is bitwise the same"
    return not differ, [f"beside the {len(names) - 1} trials of its pack, as then: {found}"]


def sealed_since(study: Study, recorded: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """Metrics of a trial that was recorded before the test split was sealed in its phase, which it
    has no longer."""
    failed = (again["status"] == "failed").any()
    if failed or not study.sealed(str(recorded["phase"].iloc[0])):
        return []
    return [m for m in study.metrics if recorded[m].notna().any() and again[m].isna().all()]


def _compare(
    study: Study, info: Mapping[str, Any], recorded: pd.DataFrame, again: pd.DataFrame
) -> tuple[bool, list[str]]:
    first = recorded.iloc[0]
    head = f"{first['study']} {first['arm']}, {first['phase']} seed {first['seed']}"
    lines = [f"{head}: {len(recorded)} rows", *differing(recorded, again, study)]
    if len(lines) == 1:
        return True, [*lines, "every row is bitwise the same"]
    then, today = info.get("provenance", {}), provenance.describe()
    lines += [
        f"{what}: {then.get(what)} then, {value} now"
        for what, value in today.items()
        if what != "command" and then.get(what) != value
    ]
    return False, lines


def differing(recorded: pd.DataFrame, again: pd.DataFrame, study: Study) -> list[str]:
    """What two trainings of one trial measured differently, a line each; nothing where every row is
    bitwise the same."""
    if len(recorded) != len(again):
        return [f"{len(recorded)} rows recorded, {len(again)} rows now"]
    columns = ["step", "status", *study.metrics]
    old = recorded.sort_values("step")[columns].reset_index(drop=True)
    new = again.sort_values("step")[columns].reset_index(drop=True)
    differ = {name: _differing(old[name], new[name]) for name in columns}
    return [f"{name}: {count} rows differ" for name, count in differ.items() if count]


def _differing(old: pd.Series, new: pd.Series) -> int:
    """How many values are not the same to the bit; one NaN is as good as another."""
    if old.dtype == new.dtype == "float64":
        bits = old.to_numpy().view("int64") != new.to_numpy().view("int64")
        return int((bits & ~(old.isna() & new.isna()).to_numpy()).sum())
    return int((old != new).sum())
