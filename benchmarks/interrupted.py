"""Interrupted: two optimizers on digits, trained while `benchmarks.faults` does its worst.

A few seconds of training in some thirty packs. Beyond what any study does, a trial that starts in a
Ray worker leaves its key in the file named by FAULTS_LOG, so that trainings can be counted from
outside; and each of those named by FAULTS_CULPRITS kills its process.
"""

import os
import signal
import sys
from functools import partial

from harness import (
    Budget,
    Claim,
    Data,
    Float,
    Metric,
    Optimizer,
    Study,
    Training,
    Trial,
)
from harness.claims import above, higher
from harness.figures import intervals
from harness.parts.models import MLP


def trial(t: Trial) -> Training:
    if sys.argv[0].endswith("default_worker.py"):  # not in the driver, which looks at trials too
        started(t)
    return Training(
        partial(MLP, (64, *[t["width"]] * t["depth"], 10)),
        Optimizer(t["rule"], lr=t["lr"]),
        data=Data("digits"),
        epochs=t["epochs"],
        batch_size=32,
    )


def started(t: Trial) -> None:
    """Leave a line, whole even where several workers write at once."""
    with open(os.environ["FAULTS_LOG"], "a") as log:
        log.write(f"{t.key}\n")
    if f"{t.arm} {t['depth']} {t.seed}" in os.environ["FAULTS_CULPRITS"].split(","):
        os.kill(os.getpid(), signal.SIGKILL)


STUDY = Study(
    question="Does Adam beat gradient descent on digits, whatever happens to the machine?",
    trial=trial,
    arms={"sgd": {"rule": "sgd"}, "adam": {"rule": "adam"}},
    vary={"depth": (1, 2)},
    nuisance={"lr": Float(1e-3, 0.3, log=True)},
    fixed={"width": 48, "epochs": 6},
    select=("valid_loss",),
    metrics={
        "train_loss": Metric("nats", better="low"),
        "valid_loss": Metric("nats", better="low"),
        "valid_accuracy": Metric("fraction", better="high"),
        "test_accuracy": Metric("fraction", better="high"),
    },
    budgets={"smoke": Budget(draws=2, seeds=5), "default": Budget(draws=6, seeds=8)},
    sources={"[1]": "Course overview"},
    claims=(
        Claim(
            "One hidden layer under Adam gets above 90 % test accuracy.",
            "[1]",
            above("test_accuracy", 0.9, arm="adam", depth=1),
            id="above",
        ),
        Claim(
            "With two hidden layers Adam beats gradient descent by two points.",
            "[1]",
            higher("test_accuracy", arm="adam", than="sgd", by=0.02, depth=2),
            id="higher",
        ),
    ),
    figures=(intervals("accuracy", "Test accuracy.", "test_accuracy"),),
)
