"""Made-up results shaped like the `optimizers` study: what figures and reports are tested on."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from harness import figures
from harness.claims import (
    Verdict,
    above,
    below,
    equivalent,
    everywhere,
    higher,
    judge,
    lower,
    ratio_above,
    ratio_below,
)
from harness.ledger.results import Results
from harness.study import Arm, Budget, Claim, Float, Metric, Published, Study

TUNED = (
    "gd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamax", "nadam",
    "adamw",
)  # fmt: skip
EXTRA = ("gd_default", "adam_default", "adam_b2", "adam_b2_uncorrected")
TASKS = ("beale", "rosenbrock", "valley", "saddle", "himmelblau", "rastrigin", "digits")
STARTS = {
    "beale": ((2.0, 1.7), (3.0, 0.5)), "rosenbrock": ((-2.0, 2.0), (1.0, 1.0)),
    "valley": ((-10.0, 1.0), (0.0, 0.0)), "saddle": ((-1.0, 1e-3), (0.0, 1.4)),
    "himmelblau": ((0.0, -4.5), (3.58, -1.85)), "rastrigin": ((-2.0, 3.5), (-1.0, 1.0)),
}  # fmt: skip


def study(**changes: Any) -> Study:
    """The study; keyword arguments replace fields of it."""
    arms: dict[str, Any] = {name: Arm({"rule": name}) for name in TUNED}
    arms["gd"] = Arm({"rule": "gd"}, label="gradient descent")
    arms["gd_default"] = Arm({"rule": "gd"}, held={"lr": 0.01}, label="GD, lr 0.01")
    arms["adam_default"] = Arm({"rule": "adam"}, held={"lr": 0.001}, label="Adam, lr 0.001")
    arms["adam_b2"] = Arm({"rule": "adam", "beta2": 0.9999})
    arms["adam_b2_uncorrected"] = Arm({"rule": "adam", "beta2": 0.9999, "corrected": False})
    surface = {"task": TASKS[:-1]}
    fields: dict[str, Any] = {
        "name": "optimizers",
        "title": "Optimizers",
        "question": "Which optimizer gets there first, once each has its own learning rate?",
        "trial": print,
        "arms": arms,
        "vary": {"task": TASKS},
        "nuisance": {"lr": Float(1e-4, 3.0, log=True), "momentum": Float(0.5, 0.99)},
        "fixed": {"batch_size": 64, "steps": 500, "epochs": 20, "width": 64, "start": "jittered"},
        "select": ("gap", "valid_loss"),
        "metrics": {
            "loss": Metric("loss", better="low", log=True),
            "x": Metric("units"),
            "y": Metric("units"),
            "gap": Metric("decades", better="low", label="gap to the minimum"),
            "steps_to_target": Metric("steps", better="low", log=True),
            "train_loss": Metric("nats", better="low", log=True),
            "valid_loss": Metric("nats", better="low", log=True),
            "valid_accuracy": Metric("fraction", better="high", worst=0.1),
            "test_accuracy": Metric("fraction", better="high", worst=0.1),
            "effective_rate_ratio": Metric("ratio"),
        },
        "budgets": {
            "smoke": Budget(1, 2),
            "default": Budget(32, 20),
            "paper": Budget(64, 40),
        },
        "sources": {"[1]": "Course overview", "[2]": "Kingma & Ba 2015"},
        "claims": (
            Claim("On every surface, Adam ends nearer the minimum than gradient descent.", "[1]",
                  everywhere(lower("gap", arm="adam", than="gd"), **surface),
                  figure="trajectories"),
            Claim("On Beale's function momentum ends at least one decade nearer the minimum than "
                  "gradient descent.", "[1]",
                  lower("gap", arm="momentum", than="gd", by=1.0, task="beale"),
                  figure="trajectories"),
            Claim("In the valley, momentum needs at most half the steps of gradient descent.",
                  "[1]", ratio_below("steps_to_target", 0.5, arm="momentum", than="gd",
                                     task="valley"), figure="steps"),
            Claim("AdaGrad needs twice the steps of RMSProp on Rosenbrock's function.", "[1]",
                  ratio_above("steps_to_target", 2.0, arm="adagrad", than="rmsprop",
                              task="rosenbrock"), figure="steps"),
            Claim("On digits, tuned Adam and tuned momentum differ by less than one point.", "[2]",
                  equivalent("test_accuracy", arm="adam", to="momentum", within=0.01,
                             task="digits"), figure="accuracy"),
            Claim("On digits, tuned gradient descent gets above 95 % test accuracy.", "[1]",
                  above("test_accuracy", 0.95, arm="gd", task="digits"), figure="accuracy"),
            Claim("On digits, Adam beats gradient descent by two points.", "[2]",
                  higher("test_accuracy", arm="adam", than="gd", by=0.02, task="digits"),
                  figure="accuracy",
                  published=Published("3 points more on MNIST, figure 2", "read off a figure", 0.03)),
            Claim("Adam at its default rate stays more than a point under tuned Adam.", "[2]",
                  lower("test_accuracy", arm="adam_default", than="adam", by=0.01, task="digits"),
                  figure="accuracy"),
            Claim("AdaGrad's validation loss ends under 0.2 nats.", "[1]",
                  below("valid_loss", 0.2, arm="adagrad", task="digits"), figure="learning"),
            Claim("The uncorrected second moment makes the first step at least ten times larger.",
                  "[2]", above("effective_rate_ratio", 10.0, arm="adam_b2_uncorrected",
                               task="digits", at="start")),
            Claim("Nesterov momentum beats momentum on Himmelblau's function.", "[1]",
                  lower("gap", arm="nesterov", than="momentum", task="himmelblau"),
                  figure="trajectories"),
        ),
        "figures": (
            figures.trajectories("trajectories", "Where each optimizer goes.", arms=TUNED),
            figures.curves("descent", "Distance to the minimum.", "gap", levels=TASKS[:-1],
                           arms=TUNED),
            figures.curves("learning", "Validation loss on digits.", "valid_loss",
                           levels=("digits",)),
            figures.sensitivity("rates", "How much the learning rate matters.", "valid_loss",
                                where={"task": "digits"}),
            figures.intervals("steps", "Steps until the target.", "steps_to_target",
                              levels=TASKS[:-1]),
            figures.intervals("accuracy", "Test accuracy on digits.", "test_accuracy",
                              levels=("digits",)),
        ),
    }  # fmt: skip
    return Study(**{**fields, **changes})


def _surface(
    task: str, skill: float, lr: float, best: float, bow: float, rng: Any
) -> dict[str, Any]:
    """Rows of one trial on a surface, one every 5 steps."""
    steps = np.arange(0, 501, 5)
    (x0, y0), (x1, y1) = STARTS[task]
    rate = skill * np.exp(-0.5 * (np.log10(lr / best) / 0.6) ** 2) * 0.02
    share = 1 - np.exp(-rate * steps)
    swing = 0.25 * np.exp(-rate * steps) * np.sin(steps / 9 + rng.normal() * 0.1) * share
    swing = swing + bow * np.sin(np.pi * share)
    gap = 1.5 - rate * steps * rng.uniform(0.85, 1.15) + 0.05 * rng.normal(size=steps.size)
    gap = np.maximum(gap, -12.0)
    hit = steps[gap < -3]
    reached = np.full(steps.size, np.nan)
    reached[-1] = hit[0] if hit.size else np.inf
    return {
        "step": steps,
        "loss": 10**gap,
        "gap": gap,
        "x": x0 + (x1 - x0) * share + swing * abs(x1 - x0),
        "y": y0 + (y1 - y0) * share - swing * abs(y1 - y0),
        "steps_to_target": reached,
    }


def _digits(skill: float, lr: float, best: float, ratio: float, rng: Any) -> dict[str, Any]:
    """Rows of one trial on digits, one an epoch."""
    epochs = np.arange(0, 21)
    rate = 0.35 * skill * np.exp(-0.5 * (np.log10(lr / best) / 0.8) ** 2)
    train = 2.3 * np.exp(-rate * epochs) + 0.01
    valid = train + 0.08 + 0.01 * rng.normal(size=epochs.size)
    accuracy = 1 - 0.9 * np.exp(-1.3 * rate * epochs) - 0.02 + 0.003 * rng.normal(size=epochs.size)
    test = np.full(epochs.size, np.nan)
    test[-1] = accuracy[-1] - 0.004
    effective = np.full(epochs.size, 1.0)
    effective[0] = ratio
    return {
        "step": epochs,
        "train_loss": train,
        "valid_loss": valid,
        "valid_accuracy": accuracy,
        "test_accuracy": test,
        "effective_rate_ratio": effective,
    }


def results(
    one: Study | None = None, scale: str = "default", draws: int = 32, seeds: int = 20
) -> Results:
    """Results of a study shaped like `study()`, with diverged and failed trials among them."""
    one = one or study()
    rng = np.random.default_rng(7)
    parts: list[pd.DataFrame] = []
    trials: list[dict[str, Any]] = []
    for number, (arm, cell) in enumerate(one.cells(scale)):
        place = list(one.arms).index(arm)
        task = str(cell["task"])
        skill = 0.4 + 0.15 * ((place * 5) % 11) + 0.2 * (TASKS.index(task) % 3)
        best = 10 ** (-2 + 0.25 * (place % 7 - 3))
        held = one.arms[arm].held.get("lr")
        lrs = held or 0.0
        plan = [("tune", i, lrs or 10 ** rng.uniform(-4, 0.5)) for i in range(draws)]
        plan += [("confirm", 1000 + i, lrs or best) for i in range(seeds)]
        for phase, seed, lr in plan:
            noise = np.random.default_rng([number, seed])
            ratio = 100.0 if arm == "adam_b2_uncorrected" else 1.0
            if task == "digits":
                rows = _digits(skill, lr, best, ratio * noise.uniform(0.9, 1.1), noise)
            else:
                rows = _surface(task, skill, lr, best, 0.12 * (place % 7 - 3), noise)
            status, error = "finished", ""
            if phase == "tune" and lr > 1.5:
                status = "diverged"
                rows = {k: v[: len(v) // 4] for k, v in rows.items()}
            elif phase == "confirm" and arm == "adadelta" and task == "digits" and seed < 1003:
                status = "diverged"
            elif phase == "tune" and number % 17 == 3 and seed == 5:
                status, error = "failed", f"RuntimeError: <b>{task}</b> ran out of memory & died"
                rows = {"step": np.array([0])}
            key = f"{one.name}-{number:03d}-{phase}-{seed}"
            head = {"study": one.name, "phase": phase, "arm": arm, **cell, "lr": lr}
            head |= {"momentum": round(0.5 + 0.49 * noise.random(), 3) if phase == "tune" else 0.9}
            head |= {"seed": seed, "trial": key, "status": status}
            part = pd.DataFrame(rows).assign(**head)
            parts.append(part)
            final = part[[m for m in one.metrics if m in part]].ffill().iloc[-1].to_dict()
            trials.append(
                head | {"error": error, "seconds": 0.02, "pack": f"p{number}", "run_id": ""} | final
            )
    frame = pd.concat(parts, ignore_index=True).reindex(columns=one.columns())
    table = pd.DataFrame(trials)
    first = ["trial", "phase", "arm", *one.vary, *one.nuisance_names(), "seed", "status", "error"]
    table = table.reindex(columns=[*first, "seconds", "pack", "run_id", *one.metrics])
    return Results(one, scale, frame, table, info(len(table)))


def info(planned: int, **changes: Any) -> dict[str, Any]:
    """What a run knows about itself."""
    return {
        "commit": "4c1781d0a5c1f5f2a9f6b6f1c5a1d2e3f4a5b6c7",
        "dirty": False,
        "started_at": "2026-11-20T10:00:00+00:00",
        "finished_at": "2026-11-20T10:06:12+00:00",
        "registered_at": "2026-11-20T09:59:58+00:00",
        "claims_hash": "9f8e7d6c5b4a",
        "seconds": 372.4,
        "planned": planned,
        "command": "harness run optimizers --scale default",
        "plan": "0123456789abcdef",
        "partial": False,
        "tracking_uri": "sqlite:///mlflow.db",
        "experiment_id": "1",
        "run_id": "abc123",
        "provenance": {
            "python": "3.11.2", "torch": "2.13.0", "ray": "2.60.0", "mlflow": "3.17.2",
            "optuna": "5.0.0", "os": "Linux 6.1", "cpu": "Xeon", "cores": "2", "memory": "8 GB",
            "gpu": "none", "device": "cpu", "threads": "1",
        },
        **changes,
    }  # fmt: skip


def empty(one: Study | None = None) -> Results:
    """A run in which nothing has been measured yet."""
    full = results(one, draws=0, seeds=1)
    return Results(full.study, full.scale, full.frame.iloc[:0], full.trials.iloc[:0], full.info)


@functools.cache
def small() -> tuple[Results, list[Verdict]]:
    """Results small enough for most tests, and their verdicts."""
    some = results(draws=3, seeds=6)
    return some, judge(some.study, some.frame)


def thin(frame: pd.DataFrame) -> pd.DataFrame:
    """Every draw, and two of the seeds that the winners were confirmed on."""
    first = sorted(frame.loc[frame["phase"] == "confirm", "seed"].unique())[:2]
    return frame[(frame["phase"] != "confirm") | frame["seed"].isin(first)]
