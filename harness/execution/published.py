"""Rows of published runs, which travel with the project: judged again by anyone, without training."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from harness.claims import registration
from harness.execution.filed import digest, fitting, read_rows
from harness.execution.recorded import results_of
from harness.ledger import rows
from harness.ledger.results import Results
from harness.study import BadInput, Source, Study, catalog

LARGEST = 1_000_000  # bytes of a file
# What says nothing away from its ledger, or is in a file of its own.
PLACES = ("tracking_uri", "experiment_id", "run_id", "promised")


def write_published(results: Results, home: Path) -> Path:
    """Keep a run's rows: all of them, or where that would be more than `LARGEST`, of each trial the
    first and the last and as many between as fit, evenly.

    Returns:
        The file, which `harness import` reads, too.

    Raises:
        ValueError: the rows of the ends alone are too many.
        BadInput: there are none.
    """
    study = results.study
    if results.frame.empty:
        raise BadInput(f"the run of {study.name} has no trial that ended; allowed: one or more")
    trials = results.trials.set_index("trial")
    keys = results.frame["trial"]
    frame = results.frame.assign(
        pack=keys.map(trials["pack"]), seconds=keys.map(trials["seconds"]).astype(float),
        error=keys.map(trials["error"]), began=keys.map(trials["began"]).astype(float),
    )  # fmt: skip
    info = {k: v for k, v in results.info.items() if k not in PLACES}
    every = 1
    while True:
        part = _every(study, frame, every)
        part.attrs = {"scale": results.scale, "info": info | {"every": every}}
        part.attrs["digest"] = digest(part)
        path = home / f"{catalog.published_as(study.name, results.scale)}.parquet"
        size = _save(part, path)
        if size <= LARGEST:
            return path
        if len(part) <= 2 * len(trials):
            path.unlink()
            raise ValueError(f"rows of {study.name} take {size:,} bytes; allowed: {LARGEST:,}")
        every *= 2


def _every(study: Study, frame: pd.DataFrame, every: int) -> pd.DataFrame:
    """Each trial's rows at steps that are so far apart among all that there are, and its ends."""
    if every == 1:
        return frame.reset_index(drop=True)
    grouped = frame.groupby("trial", sort=False)["step"]
    place = grouped.rank("first").to_numpy() - 1
    last = grouped.transform("size").to_numpy() - 1
    kept: pd.DataFrame = frame[(place % every == 0) | (place == last)]
    return kept.reset_index(drop=True)


def _save(frame: pd.DataFrame, path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    floats = [n for n in frame if frame[n].dtype.kind == "f"]
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as new:
        staged = Path(new, path.name)
        rows.pressed(frame).to_parquet(
            staged, index=False, engine="pyarrow", compression="zstd", compression_level=19,
            use_dictionary=[n for n in frame if n not in floats],
            column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"), write_page_checksum=True,
        )  # fmt: skip
        os.replace(staged, path)
    return path.stat().st_size


def read_file(path: Path) -> tuple[pd.DataFrame, str, str]:
    """What `read_rows` reads, and for published rows the keys that were planned before the first
    trial, which lie beside them."""
    frame, name, scale = read_rows(path)
    beside = catalog.chain_file(path)
    if beside.is_file():
        try:
            promised = dict(json.loads(beside.read_text("utf-8")).get("promised") or {})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise BadInput(
                f"{str(beside)!r} cannot be read ({error}); allowed: what was published"
            ) from None
        frame.attrs["info"] = {"promised": promised, **frame.attrs["info"]}
    return frame, name, scale


def seconds_taken(study: Study, scale: str) -> dict[tuple[Any, ...], float]:
    """What trials took on a core in the published run at a scale, each its share of its pack. Whether
    they trained what they would now is not asked.

    Returns:
        The mean over those of a phase, arm and cell that did not fail, by `Declarations.place`:
        nothing where no such run was published, or it ran on a GPU.
    """
    where = ["phase", "arm", *study.vary]
    try:
        path = catalog.published_file(study.name, scale)
        frame = rows.load(path, [*where, "trial", "status", "seconds"])
        if frame.attrs["info"]["provenance"]["device"] != "cpu":
            return {}
    except (BadInput, OSError, ValueError, KeyError, TypeError):  # or one of this study as it was
        return {}
    ends = frame[(frame["status"] != "failed") & (frame["seconds"] > 0)].drop_duplicates("trial")
    means = ends.groupby(where, observed=True)["seconds"].mean()
    return dict(zip(means.index.tolist(), means.tolist(), strict=True))


def read_published(study: Study, source: Source, scale: str = "default") -> Results:
    """The published run of a study at a scale.

    Raises:
        BadInput: there is none, or it is damaged or of another study.
    """
    path = catalog.published_file(study.name, scale)
    frame, _, scale = read_rows(path)
    # a copy lies in one piece, where column after column was given its type
    frame = fitting(study, frame, f"the published run {path.name}").copy()
    info: dict[str, Any] = {**frame.attrs["info"], "tracking_uri": ""}
    registered = info.get("registrations", [])
    trials = frame["trial"].nunique()  # claims that are not among them came after these rows
    entry = registration.entry(study, source, scale, "", trials)
    return results_of(study, scale, frame, {}, info | registration.summary(registered, entry))
