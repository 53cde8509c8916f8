"""`python -m benchmarks.tracking`: how fast child runs are recorded where teams keep them.

Nothing is trained: a run's worth of made-up outcomes is handed to the recorder as a study hands it
over, and the clock stops when the store has all of it. Databases are compared with a SQLite file.
The rate at which an MLflow server is fed is compared with the most that it takes of the same runs
from any client: bare requests over open connections, from as many threads as turn out best.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import queue
import random
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import stores
from benchmarks.faults import Server

STUDY = '''
"""Feed: what a trial of `optimizers` leaves, without its training."""

from functools import partial

from harness import Budget, Float, Metric, Optimizer, Study, Training, Trial
from harness.parts.models import Descent

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
THREADS = (4, 8, 16)  # of the best client; with more a server's database connections run out
SLOWEST_DATABASE = 1.3  # times SQLite's seconds
LEAST_OF_SERVER = 0.8  # of the best client's rate


@dataclass
class Fed:
    """Runs a second, and milliseconds of processor time a run: this process's, the server's."""

    rate: float
    work: float
    served: float = 0.0


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
    from harness.engine.outcome import Outcome
    from harness.ledger import Ledger, Recorder
    from harness.plan.plan import Plan
    from harness.study import catalog

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
        recorder = Recorder(ledger, study, source, "default", info, True, print)
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
    params = {"arm": "gd", "phase": "tune", "rule": "sgd", "lr": "0.0123", "steps": "500", "epochs": "30", "batch_size": "64",
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


def in_databases(trials: int, repeats: int) -> dict[str, list[Fed]]:
    """Each kind that there is, and a SQLite file, in turns."""
    found: dict[str, list[Fed]] = {"SQLite": []}
    with contextlib.ExitStack() as stack:
        own: dict[str, stores.Database] = {}
        for name, kind in (("PostgreSQL", "postgresql"), ("MariaDB", "mariadb")):
            if reason := stores.missing(kind):
                print(f"{name} is left out: {reason}")
                continue
            own[name] = stack.enter_context(stores.database(kind))
            feed(own[name].uri, PACK)  # makes the tables
        for repeat in range(repeats):
            for name in ["SQLite", *own][:: -1 if repeat % 2 else 1]:
                one = own.get(name)
                before = busy(one)
                fed = feed(one.uri if one else "", trials)
                fed.served = 1000 * (busy(one) - before) / trials
                found.setdefault(name, []).append(fed)
    return found


def through_server(trials: int, repeats: int) -> tuple[str, int, list[Fed], list[Fed]]:
    """A server of two processes, into PostgreSQL where there is one, fed by us and the best client.

    Returns:
        What it writes to; the best client's threads; ours and its, in turns.
    """
    with contextlib.ExitStack() as stack:
        store, behind = "", "SQLite"
        if not stores.missing("postgresql"):
            store, behind = stack.enter_context(stores.database("postgresql")).uri, "PostgreSQL"
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tracking-server-"))
        server = Server(Path(folder), store, workers=2)
        stack.callback(server.kill)
        server.start()

        def timed(side: Callable[[], Fed]) -> Fed:
            before = busy(server)
            one = side()
            one.served = 1000 * (busy(server) - before) / trials
            return one

        best_client(server.uri, 4 * THREADS[-1], THREADS[-1])  # both processes warm
        tried = {count: best_client(server.uri, trials // 2, count).rate for count in THREADS}
        threads = max(tried, key=tried.__getitem__)
        sides = [
            lambda: feed(server.uri, trials),
            lambda: best_client(server.uri, trials, threads),
        ]
        found: list[list[Fed]] = [[], []]
        for repeat in range(repeats):
            for side in (1, 0) if repeat % 2 else (0, 1):
                found[side].append(timed(sides[side]))
    return behind, threads, *found


def busy(one: stores.Database | Server | None) -> float:
    """Seconds of processor time of its processes, also of those that have ended."""
    if one is None or one.process is None:
        return 0.0
    parent = psutil.Process(one.process.pid)
    times = [each.cpu_times() for each in (parent, *parent.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def spread(values: list[float]) -> str:
    """The median, and the lowest and highest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    """Measure and print; 1 if a bound is missed."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__)
    words.add_argument("--trials", type=int, default=2000, help="runs a repeat into a database")
    words.add_argument("--served", type=int, default=512, help="runs a repeat through a server")
    words.add_argument("--repeats", type=int, default=3)
    given = words.parse_args()
    console, missed = Console(), False
    if not console.is_terminal:
        console.width = 120

    databases = in_databases(given.trials, given.repeats)
    table = Table(
        "store", "runs a second", "processor ms a run, ours", "the database's",
        "times SQLite's seconds", "allowed",
    )  # fmt: skip
    for name, found in databases.items():
        ratios = [a.rate / b.rate for a, b in zip(databases["SQLite"], found, strict=True)]
        late = name == "PostgreSQL" and statistics.median(ratios) > SLOWEST_DATABASE
        missed |= late
        table.add_row(
            name, f"{statistics.median(one.rate for one in found):.0f}",
            f"{statistics.median(one.work for one in found):.2f}",
            f"{statistics.median(one.served for one in found):.2f}", spread(ratios),
            f"{SLOWEST_DATABASE}" if name == "PostgreSQL" else "",
        )  # fmt: skip
    console.print(table)

    behind, threads, ours, best = through_server(given.served, given.repeats)
    table = Table(
        "an mlflow server of 2 processes", "runs a second", "processor ms a run, the client's",
        "the server's",
    )  # fmt: skip
    for name, found in ((f"ours, into {behind}", ours), (f"the best client, {threads} threads", best)):  # fmt: skip
        cells = ([getattr(one, what) for one in found] for what in ("rate", "work", "served"))
        table.add_row(name, *(f"{statistics.median(cell):.1f}" for cell in cells))
    console.print(table)
    ratios = [a.rate / b.rate for a, b in zip(ours, best, strict=True)]
    missed |= statistics.median(ratios) < LEAST_OF_SERVER
    console.print(
        f"ours feeds it at {spread(ratios)} of the best client's rate (required: "
        f"{LEAST_OF_SERVER}); load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
