"""Whole studies: 256 MLP trials, trained and tracked, by this harness, Ray Tune and Optuna.

Each side runs in a process of its own (`python -m benchmarks.whole SIDE TRIALS REPEATS BEST`),
and prints one line of JSON. The clock starts when packages are imported, Ray (where it is used)
has started and its processes rest, the tracking store exists and two trials have been run and
tracked; it stops when every trial is recorded. Ours and Ray Tune's both start their actors within
it, in the worker processes that Ray has then ready.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks import plain
from benchmarks.workers import count, device
from benchmarks.works import mlp_at
from harness.execution.nodes import packs_a_gpu

TRIALS = 256
SIDES = ("ours", "ray", "optuna-threads", "optuna-processes")
LOW, HIGH = 3e-4, 1e-2
RESTING, RESTS = 0.1, 4  # seconds of CPU in half a second that are a rest; and how many of them
TRACKED = (
    "RandomSampler, a nested MLflow run a trial, log_metrics an epoch into SQLite, torch.optim "
)
METRICS = ("train_loss", "valid_loss", "valid_accuracy", "test_loss", "test_accuracy")

STUDY = '''
"""Bench: one MLP, drawn rates."""

from harness import Budget, Claim, Float, Metric, Study, Training, Trial
from harness.claims import share_above
from benchmarks.works import mlp_at


def trial(t: Trial) -> Training:
    return mlp_at(t["lr"])


STUDY = Study(
    question="Which rate?",
    trial=trial,
    arms={"adam": {}},
    nuisance={"lr": Float(%r, %r, log=True)},
    select=("valid_loss",),
    sampler="random",
    metrics={name: Metric("nats", better="low") for name in %r},
    claims={  # the test split is scored where a claim reads it, and the others score it, too
        "read": Claim("The rate matters.", "none", share_above("test_loss", 0.5, of="lr", arm="adam")),
    },
    budgets={
        "smoke": Budget(draws=2, seeds=0),
        "default": Budget(draws=%d, seeds=0),
    },
)
'''


def measure(side: str, trials: int, repeats: int, best: str) -> dict[str, Any]:
    """Run one side in a process of its own.

    Returns:
        seconds: of 256 trials, one a repeat; trials: how many were run a repeat; settings.
    """
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.whole", side, str(trials), str(repeats), best],
            cwd=folder, env={**_environment(), "PYTHONPATH": path}, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{side}: {(done.stderr or done.stdout).strip()[-600:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
    return {**kept, **quiet, "OMP_NUM_THREADS": "1"}


def _whole(seconds: float, ran: int, rate: float) -> float:
    """Seconds of 256 trials: of those that ran, and of the rest at their rate."""
    return seconds + (TRIALS - ran) / rate


def _check(uri: str, experiment: str, trials: int, parents: int) -> None:
    """Every trial is in the store, with the metrics of its last epoch."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id], max_results=2000))
    whole = [
        execution
        for execution in runs
        if {"lr"} <= set(execution.data.params) and _has(execution.data.metrics)
    ]
    if len(whole) != trials or len(runs) != trials + parents:
        raise RuntimeError(f"{len(whole)} whole runs of {len(runs)}; expected {trials}")


def _has(metrics: dict[str, float]) -> bool:
    return set(METRICS) <= set(metrics)


def _anew() -> None:
    """Start Ray as `harness run` does, and wait until its processes, workers too, have begun."""
    from harness import execution

    execution.stop_ray()
    execution.start_ray()
    me, spent, rests = psutil.Process(), 0.0, 0
    while rests < RESTS:
        time.sleep(0.5)
        times = [one.cpu_times() for one in me.children(recursive=True)]
        before, spent = spent, sum(each.user + each.system for each in times)
        rests = rests + 1 if spent - before < RESTING else 0


# --- ours ----------------------------------------------------------------------------------------


def ours(trials: int, repeats: int, best: str) -> tuple[list[float], str]:
    from rich.console import Console

    from harness import execution
    from harness.execution import run as running
    from harness.study import catalog

    root = Path.cwd()
    for name in ("studies", "reports"):
        (root / name).mkdir()
    (root / "studies" / "bench.py").write_text(STUDY % (LOW, HIGH, METRICS, trials))
    source = catalog.find("bench")
    quiet = Console(file=io.StringIO())
    seconds = []
    running.stop_ray = lambda: None  # its end is not counted, nor is its start
    for scale in ("smoke", *["default"] * repeats):
        _anew()
        study = catalog.load(source)
        started = time.perf_counter()
        with execution.Ending() as ending:
            results, recorder = execution.execute(
                study, source, scale, root, quiet, ending, fresh=True
            )
        recorder.end("FINISHED")
        seconds.append(time.perf_counter() - started)
        frame, planned = results.frame, study.budget(scale).draws
        if set(frame["status"]) != {"finished"} or frame["trial"].nunique() != planned:
            raise RuntimeError("some trials did not finish")
    execution.stop_ray()
    _check(f"sqlite:///{root / 'mlflow.db'}", "bench", repeats * trials + 2, repeats + 1)
    return seconds[1:], "Ray and MLflow's SQLite store as `harness run` uses them, a fresh run"


# --- stock Ray Tune ------------------------------------------------------------------------------


def ray(trials: int, repeats: int, best: str) -> tuple[list[float], str]:
    from harness.execution import start_ray, stop_ray
    from harness.execution.cluster import one_environment

    start_ray()
    one_environment()  # its actors, too, take the workers that are ready
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    variant, where = best, device()

    def trainable(config: dict[str, Any]) -> None:
        from ray import tune

        torch.set_num_threads(1)
        plain.alike()
        for step, row in plain.rows(mlp_at(config["lr"]), config["seed"], variant, where):
            if step:  # ours stores ten points a metric, too
                tune.report(row)

    class Clock(tune.Callback):  # type: ignore[misc]
        """When each trial ended."""

        def __init__(self) -> None:
            self.ended: list[float] = []

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            self.ended.append(time.perf_counter())

    uri = f"sqlite:///{Path.cwd() / 'peer.db'}"
    each = packs_a_gpu(os.cpu_count() or 1, 1)
    share = {"cpu": 1, "gpu": 1 / each} if where == "cuda" else {"cpu": 1}
    found = []
    for n in (2, *[trials] * repeats):
        _anew()
        clock = Clock()
        tuner = tune.Tuner(
            tune.with_resources(trainable, share),
            param_space={"lr": tune.loguniform(LOW, HIGH), "seed": tune.randint(0, 2**20)},
            tune_config=tune.TuneConfig(num_samples=n, reuse_actors=True),
            run_config=tune.RunConfig(
                name="bench",
                storage_path=str(Path.cwd() / "results"),
                verbose=0,
                callbacks=[MLflowLoggerCallback(uri, experiment_name="bench"), clock],
            ),
        )
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            grid = tuner.fit()
        seconds = time.perf_counter() - started
        if grid.errors:
            raise RuntimeError(str(grid.errors[0]))
        if n > 2:
            first = count()  # when this many have ended, every actor is warm
            rate = (n - first) / (clock.ended[-1] - clock.ended[first - 1])
            found.append(_whole(seconds, n, rate))
    stop_ray()
    _check(uri, "bench", repeats * trials + 2, 0)
    return found, (
        "function trainable, 1 CPU a trial, reuse_actors, MLflowLoggerCallback on SQLite, "
        "other loggers off, no dashboard, torch.optim " + best
    )


# --- Optuna --------------------------------------------------------------------------------------


def _optimize(store: str, uri: str, parent: str, trials: int, jobs: int, best: str) -> None:
    """Run trials of the Optuna study that a journal file keeps, or of one in memory."""
    import mlflow
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    plain.alike()
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench")

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("lr", LOW, HIGH, log=True)
        row: dict[str, float] = {}
        with mlflow.start_run(nested=True, parent_run_id=parent, run_name=str(trial.number)):
            mlflow.log_params({"lr": rate, "seed": trial.number})
            for step, row in plain.rows(mlp_at(rate), trial.number, best, device()):
                if step:
                    mlflow.log_metrics(row, step=step)
        return row["valid_loss"]

    sampler = optuna.samplers.RandomSampler(seed=random.randrange(2**20))
    if store:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        storage: Any = JournalStorage(JournalFileBackend(store))
        study = optuna.create_study(
            study_name="bench", storage=storage, load_if_exists=True, sampler=sampler
        )
    else:
        study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=trials, n_jobs=jobs)


def crowd() -> int:
    """Trials at once: one a core, and on a GPU as many as share it in ours and in Ray Tune's."""
    return packs_a_gpu(os.cpu_count() or 1, 1) if device() == "cuda" else count()


def _parent(uri: str) -> str:
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("bench")
    with mlflow.start_run(run_name="bench") as execution:
        return str(execution.info.run_id)


def optuna_threads(trials: int, repeats: int, best: str) -> tuple[list[float], str]:
    uri = f"sqlite:///{Path.cwd() / 'peer.db'}"
    parent = _parent(uri)
    found = []
    for n in (2, *[trials] * repeats):
        started = time.perf_counter()
        _optimize("", uri, parent, n, crowd(), best)
        seconds = time.perf_counter() - started
        found.append(_whole(seconds, n, n / seconds))
    _check(uri, "bench", repeats * trials + 2, 1)
    return found[1:], f"{crowd()} threads, study in memory, {TRACKED}{best}"


def _worker(
    barrier: Any, store: str, uri: str, parent: str, trials: int, repeats: int, best: str
) -> None:
    for n in (1, *[trials] * repeats):
        _optimize(store, uri, parent, n, 1, best)
        barrier.wait(timeout=300)


def optuna_processes(trials: int, repeats: int, best: str) -> tuple[list[float], str]:
    uri = f"sqlite:///{Path.cwd() / 'peer.db'}"
    parent = _parent(uri)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(crowd() + 1)
    each = -(-trials // crowd())
    words = (barrier, str(Path.cwd() / "journal"), uri, parent, each, repeats, best)
    processes = [context.Process(target=_worker, args=words) for _ in range(crowd())]
    for process in processes:
        process.start()
    barrier.wait(timeout=300)
    found, ran = [], each * crowd()
    for _ in range(repeats):
        started = time.perf_counter()
        barrier.wait(timeout=300)
        seconds = time.perf_counter() - started
        found.append(_whole(seconds, ran, ran / seconds))
    for process in processes:
        process.join()
    _check(uri, "bench", repeats * ran + crowd(), 1)
    return found, f"{crowd()} processes, study in a journal file, {TRACKED}{best}"


def main() -> None:
    side, trials, repeats, best = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    execution = dict(zip(SIDES, (ours, ray, optuna_threads, optuna_processes), strict=True))[side]
    seconds, settings = execution(trials, repeats, best)
    print(json.dumps({"seconds": seconds, "trials": trials, "settings": settings}))


if __name__ == "__main__":
    main()
