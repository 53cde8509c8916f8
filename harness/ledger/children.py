"""Child runs: one trial each, written in bulk into a database or one by one through a server."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from harness.engine.outcome import Outcome
from harness.ledger import rows
from harness.ledger.client import (
    Metric,
    MlflowClient,
    Param,
    SqlAlchemyStore,
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)  # fmt: skip
from harness.ledger.names import user
from harness.ledger.wire import AT_ONCE, Wire
from harness.study import Trial

# Points a metric of a child run (the contract allows 100); a tuning draw is rarely looked at.
HISTORY = {"tune": 10, "final": 10, "confirm": 50}
BATCH = 900  # metrics written at once: MLflow takes a thousand things, of which 100 are params
TAG_LENGTH = 5000
RUN = (
    "run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "status",
    "start_time", "end_time", "source_version", "lifecycle_stage", "artifact_uri", "experiment_id",
)  # fmt: skip


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
            "mlflow.user": user(),
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
        # what the UI's charts group by is to be a parameter, too
        settings = {"arm": trial.arm, "phase": trial.phase, **trial.settings}
        params = {k: str(v)[:TAG_LENGTH] for k, v in list(settings.items())[:100]}
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
        for part in self._batches():
            metrics = [Metric(name, value, self.time, step) for name, value, step in part]
            client.log_batch(run.info.run_id, metrics, params)
            params = []
        client.set_terminated(run.info.run_id, self.status)
        return str(run.info.run_id)

    def post(self, wire: Wire, experiment: str) -> str:
        """Write it through a tracking server, by the same requests as MLflow's client."""
        body: dict[str, Any] = {
            "experiment_id": experiment,
            "user_id": self.tags["mlflow.user"],
            "start_time": self.time,
            "tags": _pairs(self.tags),
        }
        run_id = str(wire.ask("runs/create", body)["run"]["info"]["run_id"])
        params = _pairs(self.params)
        for part in self._batches():
            metrics = [
                {"key": name, "value": value, "timestamp": self.time, "step": step}
                for name, value, step in part
            ]
            wire.ask("runs/log-batch", {"run_id": run_id, "metrics": metrics, "params": params})
            params = []
        end = {"run_id": run_id, "status": self.status, "end_time": int(time.time() * 1000)}
        wire.ask("runs/update", end)
        return run_id

    def _batches(self) -> Iterator[list[tuple[str, float, int]]]:
        """The metrics, in parts of what MLflow takes at once with the params; there is one."""
        for start in range(0, len(self.metrics), BATCH):
            yield self.metrics[start : start + BATCH]


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def send(
    client: MlflowClient, wire: Wire | None, experiment: str, children: Sequence[Child]
) -> Iterator[tuple[str, str]]:
    """Write children one by one, through a server many at once.

    Args:
        client: Of the store.
        wire: To its server, if it is one.
        experiment: Whose runs they become.
        children: These.

    Yields:
        The trial key and run id of each, once it is written.

    Raises:
        Exception: that of the first that could not be written, when none is on its way any more.
    """
    left, done = deque(children), queue.SimpleQueue[tuple[str, str] | Exception | None]()

    def work() -> None:
        with contextlib.suppress(IndexError):  # none is left
            while True:
                child = left.popleft()
                try:
                    run = child.post(wire, experiment) if wire else child.log(client, experiment)
                    done.put((child.key, run))
                except Exception as error:
                    left.clear()
                    done.put(error)
        done.put(None)

    crew = min(AT_ONCE if wire else 1, len(children))
    for number in range(crew):
        threading.Thread(target=work, name=f"ledger {number}", daemon=True).start()
    trouble: Exception | None = None
    while crew:
        one = done.get()
        if one is None:
            crew -= 1
        elif isinstance(one, Exception):
            trouble = trouble or one
        else:
            yield one
    if trouble:
        raise trouble


def insert(store: SqlAlchemyStore, experiment: str, children: list[Child]) -> dict[str, str]:
    """Write children into MLflow's own tables in one transaction.

    The client pays some 15 ms of object-relational bookkeeping a run, which for thousands of short
    trials is more than their training. What is written is held to what the client writes by a test.
    """
    if not children:
        return {}
    home = store.get_experiment(experiment).artifact_location
    ids = {child.key: uuid.uuid4().hex for child in children}
    runs: list[tuple[Any, ...]] = []
    tags: list[tuple[Any, ...]] = []
    params: list[tuple[Any, ...]] = []
    metrics: list[tuple[Any, ...]] = []
    latest: list[tuple[Any, ...]] = []
    for child in children:
        run, begun = ids[child.key], child.time
        runs.append(
            (run, child.tags["mlflow.runName"], "UNKNOWN", "", "", child.tags["mlflow.user"],
             child.status, begun, int(time.time() * 1000), "", "active",
             f"{home}/{run}/artifacts", int(experiment))
        )  # fmt: skip
        tags += [(run, key, value) for key, value in child.tags.items()]
        params += [(run, key, value) for key, value in child.params.items()]
        points = [(run, key, value, step, begun, False) for key, value, step in child.metrics]
        metrics += points
        latest += {point[1]: point for point in points}.values()  # the last
    pair = ("run_uuid", "key", "value")
    point = (*pair, "step", "timestamp", "is_nan")
    with store.ManagedSessionMaker(read_only=False) as session:
        _fill(session, SqlRun, RUN, runs)
        _fill(session, SqlTag, pair, tags)
        _fill(session, SqlParam, pair, params)
        _fill(session, SqlMetric, point, metrics)
        _fill(session, SqlLatestMetric, point, latest)
    return ids


def _fill(session: Session, table: Any, names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    """Insert rows with these columns, the quickest way that the database's driver has."""
    if not rows:
        return
    connection = session.connection()
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote
    place = f"{quote(table.__tablename__)} ({', '.join(map(quote, names))})"
    if dialect.driver != "psycopg":
        mark = "?" if dialect.paramstyle == "qmark" else "%s"
        words = f"INSERT INTO {place} VALUES ({', '.join([mark] * len(names))})"  # noqa: S608 - names of ours
        connection.exec_driver_sql(words, rows)
        return
    # PostgreSQL's bulk load: no statement a row, and no answer to wait for
    words = f"COPY {place} FROM STDIN"
    try:
        with connection.connection.cursor() as cursor, cursor.copy(words) as copy:
            for row in rows:
                copy.write_row(row)
    except dialect.loaded_dbapi.Error as error:  # of the kind that an insert would have raised
        kind = dialect.loaded_dbapi.Error
        raise DBAPIError.instance(words, None, error, kind, dialect=dialect) from error
