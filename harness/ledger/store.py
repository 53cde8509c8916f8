"""The tracking store: opened, or refused at once, and read."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow.exceptions
import pandas as pd
import sqlalchemy
from mlflow.entities import Param, Run
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient
from sqlalchemy.engine import Engine

from harness import rows
from harness.ledger.recorder import CLAIMS, Recorder
from harness.study import BadInput, Study


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
            found += self.registered(run)
        return sorted(found, key=lambda one: str(one["at"]))

    def registered(self, run: Run) -> list[dict[str, Any]]:
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
