"""Child runs: one trial each, written over MLflow's client or in bulk into a SQLite store."""

from __future__ import annotations

import getpass
import time
import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from mlflow.entities import Metric, Param
from mlflow.store.tracking.dbmodels.models import (
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking import MlflowClient

from harness import rows
from harness.packs import Outcome
from harness.study import Trial

# Points a metric of a child run (the contract allows 100); a tuning draw is rarely looked at.
HISTORY = {"tune": 10, "final": 10, "confirm": 50}
BATCH = 1000  # metrics MLflow takes at once
TAG_LENGTH = 5000


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"


@dataclass(frozen=True)
class Child:
    """What one child run holds: settings as params, thinned history, and how the trial ended."""

    key: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: list[tuple[str, float, int]]  # name, value, step
    status: str
    time: int  # ms

    @classmethod
    def of(cls, parent: str, pack: str, trial: Trial, outcome: Outcome, now: int) -> Child:
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


def insert(store: SqlAlchemyStore, experiment: str, children: list[Child]) -> dict[str, str]:
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
