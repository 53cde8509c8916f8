"""`python -m benchmarks.tracking`: how fast child runs are recorded where teams keep them.

Nothing is trained: a run's worth of made-up outcomes is handed to the recorder as a study hands it
over, and the clock stops when the store has all of it. Databases are compared with a SQLite file.
An MLflow server is compared with the most that it takes of the same runs from any client: requests
made beforehand, sent over connections that stay open, by as many threads as turn out best.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import random
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STUDY = '''
"""Feed: what a trial of `optimizers` leaves, without its training."""

from functools import partial

from harness import Budget, Float, Metric, Optimizer, Study, Training, Trial
from harness.models import Descent

METRICS = ("loss", "x", "y", "gap", "steps_to_target")


def trial(t: Trial) -> Training:
    return Training(partial(Descent, "valley"), Optimizer("sgd", lr=t["lr"]), steps=t["steps"])


STUDY = Study(
    question="How fast is a run recorded?",
    trial=trial,
    arms={"gd": {"rule": "sgd"}},
    nuisance={"lr": Float(1e-3, 1e-1, log=True)},
    fixed={"steps": 500, "epochs": 30, "batch_size": 64, "width": 64, "data": "none"},
    select=("loss",),
    sampler="random",
    metrics={name: Metric("height", better="low") for name in METRICS},
    budgets={"default": Budget(draws=%d, seeds=0)},
)
'''
POINTS = 101  # rows a trial
PACK = 64
THREADS = (1, 2, 4, 8, 16)  # of the best client
SLOWEST_DATABASE = 1.3  # times SQLite's seconds
LEAST_OF_SERVER = 0.8  # of the best client's rate


@dataclass
class Fed:
    """Runs a second, and milliseconds of this process's processor time a run."""

    rate: float
    work: float


@contextlib.contextmanager
def project(trials: int) -> Iterator[Path]:
    """A project of its own that holds the study, and is where we are."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="tracking-") as folder:
        root = Path(folder)
        for name in ("studies", "reports"):
            (root / name).mkdir()
        (root / "studies" / "feed.py").write_text(STUDY % trials)
        os.chdir(root)
        try:
            yield root
        finally:
            os.chdir(before)


def feed(uri: str, trials: int) -> Fed:
    """Record so many trials into a store, "" for a SQLite file, and see that all are there."""
    from harness import catalog
    from harness.ledger import Ledger
    from harness.packs import Outcome
    from harness.plan import Plan

    rng = random.Random(0)
    with project(trials) as root:
        source = catalog.find("feed")
        study = catalog.load(source)
        planned = Plan(study, source, "default").ready()
        steps = list(range(0, 5 * POINTS, 5))
        outcomes = [
            Outcome("finished", steps, {m: [rng.random() for _ in steps] for m in study.metrics})
            for _ in planned
        ]
        ledger = Ledger(root, uri or f"sqlite:///{root / 'mlflow.db'}")
        info = {"commit": "none", "plan": str(rng), "provenance": {}}
        recorder = ledger.start(study, source, "default", info, True, print)
        wall, work = time.perf_counter(), time.process_time()
        for start in range(0, trials, PACK):
            part = slice(start, start + PACK)
            recorder.add(f"p{start}", planned[part], outcomes[part])
        if not recorder.wait(600):
            raise RuntimeError(recorder.missing())
        wall, work = time.perf_counter() - wall, time.process_time() - work
        ledger.release()
        held = ledger.children(recorder.experiment, recorder.run_id)
        if len(held) != trials:
            raise RuntimeError(f"{len(held)} of {trials} runs are in {ledger.uri}")
    return Fed(trials / wall, 1000 * work / trials)


def best_client(uri: str, trials: int, threads: int) -> Fed:
    """The same runs, as fast as the server takes them: no client of MLflow's, no spool, no files."""
    place = urllib.parse.urlparse(uri)
    assert place.hostname
    rng, now = random.Random(0), int(time.time() * 1000)
    experiment = _call(_connect(place), "experiments/create", {"name": f"best {time.time()}"})
    tags = {
        "mlflow.runName": "gd tune #1", "mlflow.parentRunId": "0" * 32, "mlflow.user": "root",
        "mlflow.source.name": "harness", "harness.trial": "0" * 16, "harness.arm": "gd",
        "harness.phase": "tune", "harness.seed": "1", "harness.pack": "p1",
        "harness.status": "finished",
    }  # fmt: skip
    params = {"rule": "sgd", "lr": "0.0123", "steps": "500", "epochs": "30", "batch_size": "64",
              "width": "64", "data": "none"}  # fmt: skip
    create = {"experiment_id": experiment["experiment_id"], "start_time": now, "user_id": "root",
              "tags": _pairs(tags)}  # fmt: skip
    metrics = [
        {"key": name, "value": rng.random(), "timestamp": now, "step": step}
        for name in ("loss", "x", "y", "gap", "steps_to_target")
        for step in range(10)
    ] + [{"key": "seconds", "value": 1.0, "timestamp": now, "step": 0}]
    left: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(trials):
        left.put(number)
    errors: list[Exception] = []

    def work() -> None:
        connection = _connect(place)
        try:
            while True:
                left.get_nowait()
                run = _call(connection, "runs/create", create)["run"]["info"]["run_id"]
                batch = {"run_id": run, "metrics": metrics, "params": _pairs(params)}
                _call(connection, "runs/log-batch", batch)
                _call(connection, "runs/update",
                      {"run_id": run, "status": "FINISHED", "end_time": now})  # fmt: skip
        except queue.Empty:
            pass
        except Exception as error:
            errors.append(error)

    crew = [threading.Thread(target=work) for _ in range(threads)]
    wall, spent = time.perf_counter(), time.process_time()
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    wall, spent = time.perf_counter() - wall, time.process_time() - spent
    if errors:
        raise errors[0]
    return Fed(trials / wall, 1000 * spent / trials)


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _connect(place: urllib.parse.ParseResult) -> http.client.HTTPConnection:
    assert place.hostname
    return http.client.HTTPConnection(place.hostname, place.port, timeout=120)


def _call(connection: http.client.HTTPConnection, path: str, body: object) -> dict:
    connection.request(
        "POST", f"/api/2.0/mlflow/{path}", json.dumps(body), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {text[:300]!r}")
    return dict(json.loads(text))
