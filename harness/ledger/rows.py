"""From outcomes to the tidy frame, and back.

One row is one measurement of one trial at one step. The columns are the contract's
(`Study.columns`), with four more while rows are on their way: pack, seconds, error and when the
trial began, which belong to a trial and go into the trials table.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import durable
from harness.engine.outcome import Outcome
from harness.study import Int, Study, Trial, held_as, is_level, make_trial

PER_TRIAL = ("pack", "seconds", "error", "began")
PRESSED = "zlib"  # the one attribute of a file, in which all are
LONGEST = 64 << 20  # bytes of attributes that are read


def frame_of(
    study: Study, pack: str, trials: Iterable[Trial], outcomes: Iterable[Outcome],
    began: float = 0.0,
) -> pd.DataFrame:  # fmt: skip
    """Rows of one pack: `Study.columns` and `PER_TRIAL`. A failed trial is one row at step 0.

    Args:
        study: Names the columns.
        pack: Its name in this process; with a digest of its trials, rows have it as `pack`.
        trials, outcomes: Of the pack, in the same order.
        began: When the pack went out to be trained, seconds since 1970; 0 where nobody has told.
    """
    pairs = list(zip(trials, outcomes, strict=True))
    pack = f"{pack}-{digest(trial.key for trial, _ in pairs)}"
    lengths = [max(1, len(o.steps)) for _, o in pairs]
    settings = [*study.vary, *study.nuisance_names()]
    per_trial = [
        {"study": study.name, "phase": t.phase, "arm": t.arm, "seed": t.seed, "trial": t.key}
        | {
            name: study.held(name, drawn[name]) if name in drawn else np.nan
            for drawn in ({**t.cell, **t.nuisance},)
            for name in settings
        }
        | {"status": o.status, "pack": pack, "seconds": o.seconds, "error": o.error}
        | {"began": began, "step": 0}
        for t, o in pairs
    ]
    # types are told from a line a trial, of which there are far fewer than rows
    columns = [*study.columns(), *PER_TRIAL]
    told = [name for name in columns if name not in study.metrics]
    one = typed(study, pd.DataFrame(per_trial), told)
    frame = one.iloc[np.repeat(np.arange(len(pairs)), lengths)].reset_index(drop=True)
    frame["step"] = np.concatenate([o.steps or [0] for _, o in pairs]).astype("int64")
    measured = np.full((len(study.metrics), len(frame)), np.nan)
    ends = np.cumsum(lengths)
    for row, name in enumerate(study.metrics):
        for (_, o), n, end in zip(pairs, lengths, ends, strict=True):
            if name in o.metrics:
                measured[row, end - n : end] = o.metrics[name]
    metrics = pd.DataFrame(measured.T, columns=list(study.metrics))  # (rows, metrics)
    return pd.concat([frame, metrics], axis=1)[columns]


def digest(keys: Iterable[str]) -> str:
    """Twelve hex digits over the keys of trials, in any order."""
    return hashlib.sha256("".join(sorted(keys)).encode()).hexdigest()[:12]


def typed(
    study: Study, frame: pd.DataFrame, columns: Sequence[str] | None = None
) -> pd.DataFrame:  # fmt: skip
    """The frame with missing columns added and plain types: text, integers, floats; of all columns,
    or of those that are named."""
    text = dict.fromkeys(("study", "phase", "arm", "trial", "status", "pack", "error"), str)
    whole = {"seed": "int64", "step": "int64"}
    real = dict.fromkeys((*study.metrics, "seconds", "began"), "float64")
    held: dict[str, tuple[Any, ...]] = {}
    for name, levels in study.vary.items():
        kinds = {type(level) for level in levels}
        if kinds == {str}:
            text[name] = str
        elif kinds == {int}:
            whole[name] = "int64"
        elif kinds <= {int, float}:
            real[name] = "float64"
        elif kinds != {bool}:
            held[name], text[name] = levels, str
    types: dict[str, Any] = {**text, **whole, **real}
    absent: dict[str, str | float] = {
        "error": "",
        "began": 0.0,
    }  # rows of earlier versions do not tell
    nuisance = {*study.nuisance_names()}
    made = {}  # column by column: pandas takes several times as long over a whole frame
    for name in [*study.columns(), *PER_TRIAL] if columns is None else columns:
        column = frame[name] if name in frame else pd.Series(np.nan, frame.index)
        if name in held:
            column = column.map(functools.partial(_held, held[name]))
        elif name in absent:
            column = column.fillna(absent[name])
        elif name in nuisance:
            column = pd.to_numeric(column) if _numeric(column) else column.astype(object)
        kind = types.get(name, column.dtype)
        made[name] = column if column.dtype == kind else column.astype(kind)
    found = pd.DataFrame(made, frame.index)  # a copy, in which columns of a type lie together
    found.attrs = frame.attrs
    return found


def _held(levels: tuple[Any, ...], value: Any) -> Any:
    """A level as a column holds it, from a file in which None may be NaN and 3 may be 3.0."""
    value = None if not isinstance(value, str) and pd.isna(value) else value
    level = next((one for one in levels if is_level(value, one)), value)
    return held_as(level, levels)


def empty(study: Study) -> pd.DataFrame:
    """No rows, with all columns."""
    return typed(study, pd.DataFrame(columns=[*study.columns(), *PER_TRIAL]))


def once(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Rows of several frames, each trial's from one of them alone.

    That is the first frame in which the trial did not fail, or else the first: a trial that failed
    may have been trained again, and rows of two trainings must not mix.
    """
    frames, kept = list(frames), []
    taken: set[str] = set()
    for failed in (False, True):
        for frame in frames:
            part = frame[((frame["status"] == "failed") == failed) & ~frame["trial"].isin(taken)]
            if len(part):
                taken.update(part["trial"].unique())
                kept.append(part)
    return pd.concat(kept or frames[:1] or [pd.DataFrame()], ignore_index=True)


def told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows, each pack with a name of its own.

    Rows of earlier versions name packs by a count that begins anew in every process, and those that
    a run had reused "ledger". There the time tells packs apart: no two take the same to the last bit.
    """
    old = ~frame["pack"].str.contains("-", regex=False)
    if old.any():
        times = frame.loc[old, "seconds"].map(float.hex)
        frame = frame.assign(pack=frame["pack"].mask(old, frame["pack"] + "-" + times))
    return frame


def save(frame: pd.DataFrame, path: Path) -> None:
    """Keep rows, and the frame's `attrs`, in a parquet file: whole or not at all, on the disk.

    Raises:
        OSError: the disk is full or cannot be written; a former file is as it was.
    """
    frame = pressed(frame)
    durable.write(path, lambda part: frame.to_parquet(part, index=False, write_page_checksum=True))


def pressed(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with its `attrs` compressed, for pandas and Arrow write them four times over, and
    registrations that were amended often are longer than the rows."""
    if not frame.attrs:
        return frame
    frame = frame.copy(deep=False)
    frame.attrs = {
        PRESSED: base64.b64encode(zlib.compress(json.dumps(frame.attrs).encode(), 9)).decode()
    }
    return frame


def _told(frame: pd.DataFrame) -> None:
    """Undo `pressed`, but for files that were written before it.

    Raises:
        ValueError: these are no attributes, or as long as no run's are.
    """
    if PRESSED in frame.attrs:
        whole = zlib.decompressobj()
        text = whole.decompress(base64.b64decode(frame.attrs[PRESSED]), LONGEST)
        if not whole.eof:
            raise ValueError(f"its attributes are longer than {LONGEST:,} bytes, or cut short")
        frame.attrs = json.loads(text)


def load(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """What `save` kept, or some columns of it.

    Raises:
        OSError: there is no such file.
        ValueError: the file was cut short or is damaged.
    """
    try:
        frame = pd.read_parquet(
            path, engine="pyarrow", columns=columns, page_checksum_verification=True
        )
        _told(frame)
        return frame
    except FileNotFoundError:
        raise
    except Exception as error:  # Arrow has a dozen kinds, by the place of the damage
        raise ValueError(f"{path} is damaged: {error}") from None


def _numeric(column: pd.Series) -> bool:
    return all(isinstance(v, int | float | np.number) for v in column)


class Recorded:
    """Outcomes by trial key, from rows with `PER_TRIAL`; made to be asked thousands of times.

    Args:
        study: Names the metrics.
        frame: Rows of any number of trials.
    """

    def __init__(self, study: Study, frame: pd.DataFrame) -> None:
        self._ordered = ordered = frame.sort_values(["trial", "step"], kind="stable")
        keys, starts = np.unique(ordered["trial"].to_numpy(str), return_index=True)
        ends = [*starts[1:], len(ordered)][: len(starts)]  # no rows: no spans
        self._span = {str(k): slice(a, b) for k, a, b in zip(keys, starts, ends, strict=True)}
        names = ("status", "error", "seconds", "step", *study.metrics)
        self._columns = {name: ordered[name].to_numpy() for name in names}
        self._metrics = tuple(study.metrics)

    def __contains__(self, key: str) -> bool:
        return key in self._span

    def rows(self, keys: Iterable[str]) -> pd.DataFrame:
        """The rows of trials that are there, one trial after the other."""
        places = [np.arange(self._span[key].start, self._span[key].stop) for key in keys]
        return self._ordered.iloc[np.concatenate(places)].reset_index(drop=True)

    def get(self, key: str) -> Outcome:
        """The outcome that a trial's rows came from.

        Raises:
            KeyError: there are none.
        """
        span = self._span[key]
        column = {name: values[span] for name, values in self._columns.items()}
        status, seconds = str(column["status"][0]), float(column["seconds"][0])
        if status == "failed":
            return Outcome("failed", error=str(column["error"][0]), seconds=seconds)
        metrics = {
            name: column[name].tolist()
            for name in self._metrics
            if not np.isnan(column[name]).all()
        }
        return Outcome(status, column["step"].tolist(), metrics, "", seconds)


def trial_of(study: Study, scale: str, rows: pd.DataFrame) -> Trial:
    """The trial that rows came from, with all its settings."""
    first = rows.iloc[0]
    arm = str(first["arm"])
    cell = {
        name: next(level for level in levels if is_level(first[name], level))
        for name, levels in study.vary.items()
    }
    nuisance = {
        name: _drawn(dist, first[name])
        for name, dist in study.space(arm).items()
        if not pd.isna(first[name])  # nothing was drawn, where draws are 0
    }
    return make_trial(
        study,
        scale,
        str(first["phase"]),
        arm,
        cell,
        nuisance,
        int(first["seed"]),
        str(first["trial"]),
    )


def _drawn(distribution: Any, value: Any) -> Any:
    """A drawn value as the search gave it."""
    if hasattr(distribution, "choices"):
        return next(one for one in distribution.choices if is_level(value, one))
    return int(value) if isinstance(distribution, Int) else float(value)


def trials_of(study: Study, frame: pd.DataFrame, run_ids: dict[str, str]) -> pd.DataFrame:
    """One line a trial: what it was, how it ended, and the last value of each metric."""
    settings = ["trial", "phase", "arm", *study.vary, *study.nuisance_names(), "seed"]
    columns = [*settings, "status", "error", "seconds", "began", "pack", "run_id", *study.metrics]
    if frame.empty:
        return pd.DataFrame(columns=columns)
    ordered = frame.sort_values("step", kind="stable")
    # skips NaN: a metric's last; copied, as a frame of many columns is in pieces after it
    last = ordered.groupby("trial", sort=False).last().copy().reset_index()
    last["run_id"] = [run_ids.get(key, "") for key in last["trial"]]
    return last[columns].sort_values(["phase", "arm", *study.vary, "seed"], kind="stable")


def thin(steps: list[int], column: list[float], most: int) -> list[tuple[int, float]]:
    """At most `most` (step, value) points, evenly spread and with the last, finite ones only."""
    points = [(s, float(v)) for s, v in zip(steps, column, strict=True) if math.isfinite(v)]
    if len(points) <= most:
        return points
    chosen = np.unique(np.linspace(0, len(points) - 1, most).round().astype(int))
    return [points[i] for i in chosen]
