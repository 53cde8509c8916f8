"""Interrupted: digits trained at once, in stages and by two players, while `benchmarks.faults` does
its worst.

A few seconds of training in some forty packs. Beyond what any study does, a trial that starts in a
Ray worker leaves its key in the file named by FAULTS_LOG, so that trainings can be counted from
outside; and each of those named by FAULTS_CULPRITS kills its process.
"""

import os
import signal
import sys
from functools import partial

from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import (
    Budget,
    Claim,
    Data,
    Float,
    Loss,
    Metric,
    Optimizer,
    Player,
    Stage,
    Study,
    Training,
    Trial,
)
from harness.claims import above, higher
from harness.figures import intervals
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy


def loss(net: MLP, x: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(net(x), y)


LOSS = Loss(loss, scores=CrossEntropy())
FIRST = "layers.0.*"
STAGES = (Stage(epochs=2, trains=FIRST), Stage(epochs=4))
PLAYERS = (Player("first", LOSS, trains=FIRST), Player("rest", LOSS, trains="layers.[!0].*"))


def trial(t: Trial) -> Training:
    if sys.argv[0].endswith("default_worker.py"):  # not in the driver, which looks at trials too
        started(t)
    return Training(
        partial(MLP, (64, *[t["width"]] * t["depth"], 10)),
        Optimizer(t["rule"], lr=t["lr"]),
        data=Data("digits"),
        epochs=t["epochs"] if t.arm != "staged" else None,
        batch_size=32,
        stages=STAGES if t.arm == "staged" else (),
        players=PLAYERS if t.arm == "players" else (),
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
    arms={
        "sgd": {"rule": "sgd"},
        "adam": {"rule": "adam"},
        "staged": {"rule": "adam"},
        "players": {"rule": "adam"},
    },
    vary={"depth": (1, 2)},
    nuisance={"lr": Float(1e-3, 0.3, log=True)},
    fixed={"width": 48, "epochs": 6},
    select=("valid_loss", "valid_loss_rest"),
    metrics={
        "train_loss": Metric("nats", better="low"),
        "valid_loss": Metric("nats", better="low"),
        "valid_loss_rest": Metric("nats", better="low"),
        "valid_accuracy": Metric("fraction", better="high"),
        "test_accuracy": Metric("fraction", better="high"),
        "test_accuracy_rest": Metric("fraction", better="high"),
    },
    budgets={"smoke": Budget(draws=2, seeds=5), "default": Budget(draws=4, seeds=6)},
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
        Claim(
            "A first layer trained before all others costs less than five points.",
            "[1]",
            higher("test_accuracy", arm="staged", than="adam", by=-0.05, depth=2),
            id="staged",
        ),
        Claim(
            "Two players who share a network get above 90 % test accuracy.",
            "[1]",
            above("test_accuracy_rest", 0.9, arm="players", depth=2),
            id="players",
        ),
    ),
    figures=(intervals("accuracy", "Test accuracy.", "test_accuracy"),),
)
