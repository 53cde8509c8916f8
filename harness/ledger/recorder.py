"""Writes one study run: packs as they come, then the report."""

from __future__ import annotations

import hashlib
import json
import queue
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow.entities import Metric, RunTag

from harness import rows
from harness.ledger.children import Child, insert
from harness.packs import Outcome
from harness.study import Study, Trial

if TYPE_CHECKING:
    from harness.ledger.store import Ledger

CLAIMS = "claims.json"  # artifact of a parent run: what was claimed before its trials
NOTE_LENGTH = 8000


class Recorder:
    """Writes one parent run: packs as they come, then the report. One thread, in order."""

    def __init__(
        self, ledger: Ledger, study: Study, experiment: str, run_id: str, continued: bool
    ) -> None:
        self.ledger, self.study = ledger, study
        self.experiment, self.run_id = experiment, run_id
        self.continued = continued
        self.frames: list[pd.DataFrame] = []
        self.run_ids = ledger.children(experiment, run_id, clean=True) if continued else {}
        self.error: BaseException | None = None
        self._queue: queue.Queue[tuple[str, list[Trial], list[Outcome], bool] | None] = (
            queue.Queue()
        )
        self._thread = threading.Thread(target=self._drain, name="ledger", daemon=True)
        self._thread.start()

    def add(
        self, pack: str, trials: Iterable[Trial], outcomes: Iterable[Outcome], stored: bool = False
    ) -> None:
        """Queue a pack's outcomes. `stored`: its rows are in this parent's artifacts already."""
        if self.error:  # nothing more can be kept: stop now, not after hours of training
            raise self.error
        trials, outcomes = list(trials), list(outcomes)
        self.frames.append(rows.frame_of(self.study, pack, trials, outcomes))
        self._queue.put((pack, trials, outcomes, stored))

    def frame(self) -> pd.DataFrame:
        """All rows so far, with `rows.PER_TRIAL`."""
        if not self.frames:
            empty = pd.DataFrame(columns=[*self.study.columns(), *rows.PER_TRIAL])
            return rows.typed(self.study, empty)
        return pd.concat(self.frames, ignore_index=True)

    def wait(self) -> None:
        """Return when everything queued is in the store; raises what the writer met."""
        self._queue.put(None)
        self._thread.join()
        if self.error:
            raise self.error

    def _drain(self) -> None:
        written = 0
        while (item := self._queue.get()) is not None:
            if self.error:
                continue
            try:
                pack, trials, outcomes, stored = item
                if not stored:
                    self._store(pack, self.frames[written])
                self.run_ids |= self._children(pack, trials, outcomes)
                written += 1
            except BaseException as error:  # handed to the driver by `wait`
                self.error = error

    def _store(self, pack: str, frame: pd.DataFrame) -> None:
        # Names of packs begin anew with every process that continues this run; their trials do not.
        trials = "".join(sorted(frame["trial"].unique()))
        name = (
            pack if pack == "all" else f"{pack}-{hashlib.sha256(trials.encode()).hexdigest()[:12]}"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.parquet"
            frame.to_parquet(path, index=False)
            self.ledger.client.log_artifact(self.run_id, str(path), "packs")

    def _children(self, pack: str, trials: list[Trial], outcomes: list[Outcome]) -> dict[str, str]:
        """Child runs of a pack's trials that have none yet: trial key to run id."""
        now = int(time.time() * 1000)
        fresh = [
            Child.of(self.run_id, pack, trial, outcome, now)
            for trial, outcome in zip(trials, outcomes, strict=True)
            if trial.key not in self.run_ids
        ]
        store = self.ledger.store()
        if store is None:
            return {child.key: child.log(self.ledger.client, self.experiment) for child in fresh}
        return insert(store, self.experiment, fresh)

    def register(self, entry: Mapping[str, Any]) -> None:
        """Write down what is claimed, unless this run's last registration says the same."""
        run = self.ledger.client.get_run(self.run_id)
        entries = self.ledger.registered(run)
        if entries and entries[-1]["hash"] == entry["hash"]:
            return
        text = json.dumps([*entries, dict(entry)], indent=2, ensure_ascii=False)
        self.ledger.client.log_text(self.run_id, text, CLAIMS)
        self.ledger.client.set_tag(self.run_id, "harness.claims", entry["hash"])

    def remember(self, info: Mapping[str, Any]) -> None:
        """Keep what the run knows of itself so far."""
        self.ledger.client.log_dict(self.run_id, dict(info), "info.json")

    def consolidate(self, info: Mapping[str, Any]) -> None:
        """All rows in one file, which is read in place of the packs, and the finished info."""
        self._store("all", self.frame())
        self.remember(info)

    def attach(self, folder: Path) -> None:
        """Keep a report folder's files as artifacts of the parent run."""
        self.ledger.client.log_artifacts(self.run_id, str(folder))

    def annotate(self, note: str, metrics: Mapping[str, float]) -> None:
        """The parent's Markdown note, and the study's own counts as metrics."""
        now = int(time.time() * 1000)
        self.ledger.client.log_batch(
            self.run_id,
            metrics=[Metric(k, float(v), now, 0) for k, v in metrics.items()],
            tags=[RunTag("mlflow.note.content", note[:NOTE_LENGTH])],
        )

    def end(self, status: str) -> None:
        """Close the parent run: FINISHED, FAILED or KILLED."""
        self.ledger.client.set_terminated(self.run_id, status)
