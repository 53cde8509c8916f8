"""Where runs and rows are kept: MLflow. Layer 4, and its only importer.

One experiment a study, one parent run a study run, one child run a trial. A single thread writes,
so that training never waits for the tracking store. A pack's rows are stored as one parquet
artifact of the parent before its trials become child runs: what a later run continues from is that
artifact, and a child that is missing beside it is written then.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import os
import queue
import socket
import sqlite3
import tempfile
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

# Before MLflow is imported: it reads these once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

import mlflow.exceptions
import sqlalchemy
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.store.tracking.dbmodels.models import (
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy.engine import Engine

from harness import rows
from harness.packs import Outcome
from harness.study import BadInput, Study, Trial

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# Points a metric of a child run (the contract allows 100); a tuning draw is rarely looked at.
HISTORY = {"tune": 10, "confirm": 50}
CLAIMS = "claims.json"  # artifact of a parent run: what was claimed before its trials
BATCH = 1000  # metrics MLflow takes at once
TAG_LENGTH = 5000
NOTE_LENGTH = 8000


def default_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or a database file in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def default_artifacts(root: Path) -> Path:
    """Where artifacts go when the tracking store is the project's own database."""
    return root / "mlruns"


def _relax_sqlite(connection: Any, _record: Any) -> None:
    """One writer and a write-ahead log: half the time a run, and a crash loses at most the last."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


sqlalchemy.event.listen(Engine, "connect", _relax_sqlite)


class Ledger:
    """The tracking store, reached or refused at once.

    Args:
        root: The project folder, home of the default store.
        uri: A tracking URI; by default `default_uri(root)`.

    Raises:
        BadInput: the store cannot be reached or opened.
    """

    def __init__(self, root: Path, uri: str | None = None) -> None:
        self.uri = uri or default_uri(root)
        self._local = self.uri.startswith("sqlite:")
        self.artifacts = default_artifacts(root)
        parts = urllib.parse.urlparse(self.uri)
        if parts.scheme in ("http", "https"):
            _knock(parts, self.uri)
        elif parts.scheme not in ("sqlite", "file", "mysql", "postgresql", "mssql", ""):
            raise BadInput(
                f"MLFLOW_TRACKING_URI={self.uri!r}; allowed: http(s)://host:port or sqlite:///file"
            )
        if self._local:
            _check_sqlite(self.uri)
        try:
            self.client = MlflowClient(tracking_uri=self.uri)
            self.client.search_experiments(max_results=1)
        except Exception as error:  # SQLAlchemy, OS and MLflow errors alike: the remedy is one
            reason = (
                str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            )
            raise BadInput(f"tracking store {self.uri!r} cannot be opened: {reason}") from None

    def store(self) -> SqlAlchemyStore | None:
        """MLflow's own store where it is a SQLite file of ours, else None."""
        store = self.client._tracking_client.store
        return store if self._local and isinstance(store, SqlAlchemyStore) else None

    def experiment(self, study: str) -> str | None:
        """The id of a study's experiment, or None before its first run."""
        found = self.client.get_experiment_by_name(study)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id if found else None

    def studies(self) -> list[str]:
        """The names of every experiment in the store."""
        return [one.name for one in self.client.search_experiments(max_results=1000)]

    def _create(self, study: str) -> str:
        home = (self.artifacts / study).as_uri() if self._local else None
        return str(self.client.create_experiment(study, artifact_location=home))

    def parents(self, study: str, scale: str | None = None) -> list[Run]:
        """Parent runs of a study, the newest first."""
        experiment = self.experiment(study)
        if experiment is None:
            return []
        words = f"tags.`harness.study` = '{study}'"
        if scale:
            words += f" and tags.`harness.scale` = '{scale}'"
        return list(
            self.client.search_runs(
                [experiment], words, order_by=["attributes.start_time DESC"], max_results=200
            )
        )

    def rows_of(self, study: Study, run: Run) -> pd.DataFrame:
        """All rows that a parent run holds; a half-written file is passed over."""
        names = [f.path for f in self.client.list_artifacts(run.info.run_id, "packs")]
        whole = [name for name in names if name.endswith("/all.parquet")]
        frames = []
        for name in whole or sorted(names):
            try:
                frames.append(pd.read_parquet(self._fetch(run, name)))
            except (OSError, ValueError):  # ArrowInvalid is a ValueError
                continue
        if not frames:
            return rows.typed(study, pd.DataFrame(columns=[*study.columns(), *rows.PER_TRIAL]))
        frame = pd.concat(frames, ignore_index=True)
        return rows.typed(study, frame.drop_duplicates(["trial", "step"], keep="last"))

    def _fetch(self, run: Run, name: str) -> str:
        local = urllib.parse.urlparse(run.info.artifact_uri)
        if local.scheme == "file":
            return os.path.join(urllib.parse.unquote(local.path), name)
        return str(self.client.download_artifacts(run.info.run_id, name, tempfile.mkdtemp()))

    def info_of(self, run_id: str) -> dict[str, Any]:
        """What a parent run knew of itself, with its state as the store has it."""
        run = self.client.get_run(run_id)
        try:
            info = json.loads(Path(self._fetch(run, "info.json")).read_text())
        except (OSError, ValueError, mlflow.exceptions.MlflowException):
            tags = run.data.tags
            info = {"commit": tags.get("harness.commit", "unknown"), "provenance": {}}
        info.setdefault("run_id", run.info.run_id)
        info.setdefault("experiment_id", run.info.experiment_id)
        info["partial"] = run.info.status != "FINISHED"
        return dict(info)

    def known(self, study: Study) -> pd.DataFrame:
        """Rows of every trial of the study that has finished or diverged in any run."""
        frames = [self.rows_of(study, run) for run in self.parents(study.name)]
        frames = [f[f["status"] != "failed"] for f in frames if len(f)]
        if not frames:
            return rows.typed(study, pd.DataFrame(columns=[*study.columns(), *rows.PER_TRIAL]))
        return pd.concat(frames, ignore_index=True).drop_duplicates(["trial", "step"])

    def registrations(self, study: str, scale: str) -> list[dict[str, Any]]:
        """Every registration of a study's claims at a scale, the oldest first."""
        found: list[dict[str, Any]] = []
        for run in self.parents(study, scale):
            found += self._registered(run)
        return sorted(found, key=lambda one: str(one["at"]))

    def _registered(self, run: Run) -> list[dict[str, Any]]:
        try:
            return list(json.loads(Path(self._fetch(run, CLAIMS)).read_text()))
        except (OSError, ValueError, mlflow.exceptions.MlflowException):
            return []  # a run from before claims were registered, or one that was cut short

    def trials(self, study: Study, scale: str) -> int:
        """How many trials of a study at a scale the ledger holds."""
        keys: set[str] = set()
        for run in self.parents(study.name, scale):
            keys.update(self.rows_of(study, run)["trial"])
        return len(keys)

    def start(self, study: Study, scale: str, info: Mapping[str, Any], fresh: bool) -> Recorder:
        """A recorder on the latest parent run of the same plan, or on a new one."""
        experiment = self.experiment(study.name) or self._create(study.name)
        same = [
            run
            for run in self.parents(study.name, scale)
            if run.data.tags.get("harness.plan") == info["plan"]
        ]
        if same and not fresh:
            self.client.update_run(same[0].info.run_id, status="RUNNING")
            return Recorder(self, study, experiment, same[0].info.run_id, True)
        tags = {
            "mlflow.runName": f"{study.name} {scale}",
            "mlflow.note.content": study.question,
            "mlflow.source.name": "harness",
            "harness.study": study.name,
            "harness.scale": scale,
            "harness.commit": str(info["commit"]),
            "harness.plan": str(info["plan"]),
        }
        run = self.client.create_run(experiment, tags=tags)
        params = {f"provenance.{k}": str(v)[:500] for k, v in info["provenance"].items()}
        self.client.log_batch(run.info.run_id, params=[Param(k, v) for k, v in params.items()])
        self.client.log_dict(run.info.run_id, dict(info), "info.json")
        return Recorder(self, study, experiment, run.info.run_id, False)

    def children(self, experiment: str, parent: str, clean: bool = False) -> dict[str, str]:
        """Trial key to run id of every ended child of a parent.

        `clean`, for a run that continues: children that failed or were cut short are removed and
        left out, for they are trained and written again.
        """
        found: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000,
                page_token=token,
            )  # fmt: skip
            for run in page:
                if run.info.status == "FINISHED" or (not clean and run.info.status == "FAILED"):
                    found[run.data.tags.get("harness.trial", "")] = run.info.run_id
                elif clean:
                    self.client.delete_run(run.info.run_id)
            token = page.token
            if not token:
                return found


def _knock(parts: urllib.parse.ParseResult, uri: str) -> None:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=5).close()
    except OSError as error:
        raise BadInput(
            f"tracking server {uri!r} does not answer ({error.strerror or error}); start it, or "
            "unset MLFLOW_TRACKING_URI to use the project's own database"
        ) from None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


@dataclass(frozen=True)
class _Child:
    """What one child run holds: settings as params, thinned history, and how the trial ended."""

    key: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int]]  # name, value, step
    status: str
    time: int  # ms

    @classmethod
    def of(cls, parent: str, pack: str, trial: Trial, outcome: Outcome, now: int) -> _Child:
        cell = " ".join(str(v) for v in trial.cell.values())
        name = " ".join(filter(None, [trial.arm, cell, trial.phase, f"#{trial.seed}"]))
        tags = {
            "mlflow.runName": name,
            "mlflow.parentRunId": parent,
            "mlflow.user": _user(),
            "mlflow.source.name": "harness",
            "harness.trial": trial.key,
            "harness.arm": trial.arm,
            "harness.phase": trial.phase,
            "harness.seed": str(trial.seed),
            "harness.pack": pack,
            "harness.status": outcome.status,
        }
        if outcome.error:
            tags["harness.error"] = outcome.error[:TAG_LENGTH]
        params = {k: str(v)[:TAG_LENGTH] for k, v in list(trial.settings.items())[:100]}
        metrics = [
            (metric, value, step)
            for metric, column in outcome.metrics.items()
            for step, value in rows.thin(outcome.steps, column, HISTORY[trial.phase])
        ]
        metrics.append(("seconds", outcome.seconds, 0))
        status = "FAILED" if outcome.status == "failed" else "FINISHED"
        return cls(trial.key, tags, params, metrics, status, now)

    def log(self, client: MlflowClient, experiment: str) -> str:
        """Write it over MLflow's client, in batches of what MLflow takes at once."""
        run = client.create_run(experiment, start_time=self.time, tags=self.tags)
        params = [Param(k, v) for k, v in self.params.items()]
        metrics = [Metric(name, value, self.time, step) for name, value, step in self.metrics]
        for start in range(0, len(metrics), BATCH):
            part = metrics[start : start + BATCH]
            client.log_batch(run.info.run_id, part, params if not start else ())
        client.set_terminated(run.info.run_id, self.status)
        return str(run.info.run_id)


def _insert(store: SqlAlchemyStore, experiment: str, children: list[_Child]) -> dict[str, str]:
    """Write children into MLflow's own tables in one transaction.

    The client pays some 15 ms of object-relational bookkeeping a run, which for thousands of short
    trials is more than their training. What is written is held to what the client writes by a test.
    """
    if not children:
        return {}
    home = store.get_experiment(experiment).artifact_location
    ids = {child.key: uuid.uuid4().hex for child in children}
    tables: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
    }
    for child in children:
        own = {"run_uuid": ids[child.key]}
        tables[SqlRun].append(
            own
            | {
                "name": child.tags["mlflow.runName"],
                "source_type": "UNKNOWN",
                "source_name": "",
                "entry_point_name": "",
                "user_id": child.tags["mlflow.user"],
                "status": child.status,
                "start_time": child.time,
                "end_time": int(time.time() * 1000),
                "source_version": "",
                "lifecycle_stage": "active",
                "artifact_uri": f"{home}/{own['run_uuid']}/artifacts",
                "experiment_id": int(experiment),
            }
        )
        tables[SqlTag] += [own | {"key": k, "value": v} for k, v in child.tags.items()]
        tables[SqlParam] += [own | {"key": k, "value": v} for k, v in child.params.items()]
        points = [
            own | {"key": k, "value": v, "step": s, "timestamp": child.time, "is_nan": False}
            for k, v, s in child.metrics
        ]
        tables[SqlMetric] += points
        tables[SqlLatestMetric] += {point["key"]: point for point in points}.values()  # the last
    with store.ManagedSessionMaker() as session:
        for table, values in tables.items():
            if values:
                session.execute(sqlalchemy.insert(table), values)
    return ids


def _check_sqlite(uri: str) -> None:
    """Refuse at once what MLflow would try to open for minutes."""
    path = uri.removeprefix("sqlite:///")
    try:
        with sqlite3.connect(path, timeout=5) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise BadInput(
            f"tracking store {uri!r} cannot be opened: {error}; allowed: a SQLite file of MLflow's, "
            "or none yet in a folder that can be written"
        ) from None


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
            _Child.of(self.run_id, pack, trial, outcome, now)
            for trial, outcome in zip(trials, outcomes, strict=True)
            if trial.key not in self.run_ids
        ]
        store = self.ledger.store()
        if store is None:
            return {child.key: child.log(self.ledger.client, self.experiment) for child in fresh}
        return _insert(store, self.experiment, fresh)

    def register(self, entry: Mapping[str, Any]) -> None:
        """Write down what is claimed, unless this run's last registration says the same."""
        run = self.ledger.client.get_run(self.run_id)
        entries = self.ledger._registered(run)
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
