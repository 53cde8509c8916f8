"""Schedules: should the learning rate fall, and along which curve?

A noisy quadratic, on which everything is known, and a network on signals with three budgets of
training. On the quadratic ½ h x² the gradient is h x + σ z with z ~ N(0, 1); a trial follows 1,000 such
points side by side, from x = 1 with h = σ = 1, so that the mean of x² is an estimate of its expectation.
Its rates are set by the theorems, not tuned. The network is MNIST-1D's, two layers of 100 units on
4,000 signals of 40 numbers, momentum 0.9, batch 100; the peak rate is tuned with the same draws for each schedule at
each budget, three finalists are judged on three further seeds, and the *last* iterate is judged, as theory
and practice have it; not the best, nor an average.

UIUC counts t in epochs, and so does our 1/t; its strategy 2, linear to η∞ = 1e-9, is our linear to zero.
SNU's linear decay ends in a constant ε_τ after τ updates (the slide writes ε_k where ε_τ is meant), and
then does not satisfy the slide's own Σ ε² < ∞: on the quadratic it must stall at the level of ε_τ.
ECNU says that a rate that falls is usually a good idea: read as better than a tuned constant. AdaGrad has a
schedule of its own (Overview), and neither momentum nor another schedule here.

Levels on the quadratic are exact: a constant η stalls at ησ²/(h(2 − ηh)); 1/(ht) gives σ²/(h²T); with η0/t and η0 h
< ½ the start is forgotten only like T^(−2 η0 h). Margins were fixed before any run. A first run refuted that warm-up
changes nothing (cosine with it was 1.6 points worse), and left two claims open at their margins: 1/t gained 1.04
points, and linear and cosine were 0.7 points apart. Since then there are up to 192 seeds where a claim is open; 1/t
was still at its margin. Until 2026-11-29 rates were drawn from 0.001 to 1, of which 1/t took the highest at the
longer two budgets, and nothing took any of the lowest three. From 0.01 to 10 1/t gains 0.3 points, and warm-up 2.0.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from harness import Arm, Budget, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import best, every, everywhere, place
from harness.figures import across, curves, custom, panels, sensitivity
from harness.parts.draws import normal
from harness.parts.models import MLP
from harness.parts.schedules import Constant, Cosine, Inverse, Linear, Step, WarmUp
from harness.study import classification

POINTS = 1000  # of the quadratic, side by side
LASTING = {"short": 0.05, "middle": 0.25, "long": 1.0}  # of the updates


@dataclass(frozen=True)
class Until:
    """From 1 to `end` in a straight line over the first `share` of the training, then constant."""

    end: float
    share: float = 0.5

    def factor(self, t, total):
        return 1 + (self.end - 1) * np.minimum(1, t / (self.share * total))


class Quadratic(nn.Module):
    """() loss of x (POINTS,), whose gradient is x + z."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(POINTS))

    def forward(self):
        return (self.x.square() / 2 + self.x * normal(POINTS)).sum()


@dataclass(frozen=True)
class Level:
    """The mean of x² as ``square``, and over what theory says of the last update ``to_theory``."""

    theory: float
    at_end: ClassVar[bool] = False

    def read(self, pack):
        square = pack.params["x"].square().mean(1)  # (K, POINTS) -> (K,)
        return {"square": square, "to_theory": square / self.theory}


RATE, LAST, SLOW = (
    0.1,
    0.02,
    0.2,
)  # of the constant; of SNU's after τ; of 1/t where η0 h is too small
EXACT = {  # schedule, rate, and what theory says of T updates
    "still": (Constant(), RATE, lambda T: RATE / (2 - RATE)),
    "robbins": (Inverse(1.0), 1.0, lambda T: 1 / T),
    "crawling": (Inverse(1.0), SLOW, lambda T: 1 / T),
    "until": (Until(LAST / RATE), RATE, lambda T: LAST / (2 - LAST)),
}
CURVES = {
    "constant": Constant(), "linear": Linear(), "step": Step(), "cosine": Cosine(),
    "warm": WarmUp(0.1, Cosine()), "adagrad": Constant(),
}  # fmt: skip


def trial(t: Trial) -> Training:
    if t["task"] == "quadratic":
        schedule, _, theory = EXACT[t.arm]
        return Training(
            model=Quadratic,
            optimizer=Optimizer("sgd", schedule, lr=t["lr"]),
            steps=t["updates"],
            every=t["updates"] // 50,
            probes=(Level(theory(t["updates"])),),
        )
    data = Data("mnist1d", t["signals"])
    steps = round(LASTING[t["task"]] * t["updates"])
    epoch = t["signals"] // t["batch_size"]
    schedule = Inverse(1 / epoch) if t.arm == "inverse" else CURVES[t.arm]
    return Training(
        model=partial(MLP, (40, t["units"], t["units"], 10)),
        optimizer=Optimizer("adagrad" if t.arm == "adagrad" else "momentum", schedule, lr=t["lr"]),
        data=data,
        steps=steps,
        every=max(1, steps // 20) if t.phase == "confirm" else steps,
        batch_size=t["batch_size"],
    )


ARMS = {
    "constant": Arm({}),
    "inverse": Arm({}, label="1/t"),
    "linear": Arm({}),
    "step": Arm({}),
    "cosine": Arm({}),
    "warm": Arm({}, label="warm-up, cosine"),
    "adagrad": Arm({}, label="AdaGrad"),
    "still": Arm({}, held={"lr": RATE}, label="constant 0.1"),
    "robbins": Arm({}, held={"lr": 1.0}, label="1/(ht)"),
    "crawling": Arm({}, held={"lr": SLOW}, label="0.2/t"),
    "until": Arm({}, held={"lr": RATE}, label="linear to 0.02, then constant"),
}
TRAINED = tuple(ARMS)[:7]


def included(arm, cell) -> bool:
    return (arm in EXACT) == (cell["task"] == "quadratic")


METRICS = {
    **classification(),
    "square": Metric("x²", better="low", log=True, label="mean of x²"),
    "to_theory": Metric("ratio", log=True, label="mean of x² over what theory says"),
}
BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, updates=100, signals=1000, task=("quadratic", "middle")),
    "default": Budget(draws=8, seeds=12, most_seeds=192, futility=0.05, finalists=3),
    "paper": Budget(
        draws=24, seeds=40, most_seeds=160, finalists=4, final_seeds=10, updates=16_000
    ),
}

quadratic, long, short = place(task="quadratic"), place(task="long"), place(task="short")
ALL = tuple(LASTING)
UIUC, SNU = "[UIUC], “Adaptive Learning Rate”", "[SNU], “The mini-batch SGD (cont’d)”"


def near(arm):
    """Within five percent of what theory says."""
    return every(
        quadratic.above("to_theory", 0.95, arm=arm), quadratic.below("to_theory", 1.05, arm=arm)
    )


CLAIMS = {
    "stalls": Claim("A constant rate stalls: on the noisy quadratic it ends within five percent of ησ²/(h(2 − ηh)) (exact).",
        SNU + " (the noise does not vanish at the minimum)", near("still"), "quadratic"),
    "robbins-monro": Claim("With 1/(ht) it ends within five percent of σ²/(h²T) (exact).",
        SNU + " (Σε = ∞, Σε² < ∞)", near("robbins"), "quadratic"),
    "crawls": Claim("1/t needs its constant: with η0 h = 0.2 it ends at least ten times higher than that.",
        UIUC + ", strategy 1 (its η0 is not said)", quadratic.above("to_theory", 10.0, arm="crawling"), "quadratic"),
    "until": Claim("A rate that falls linearly and then stays stalls at the level of where it stays, within five percent (exact).",
        SNU + " (linear until τ, against its own Σε² < ∞)", near("until"), "quadratic"),
    "falling": Claim("A rate that falls linearly beats a tuned constant one, by more than one point at each budget.",
        UIUC + ", strategy 2; [ECNU], “Stochastic gradient descent”",
        everywhere(long.higher("test_accuracy", arm="linear", than="constant", by=0.01), task=ALL), "accuracy"),
    "inverse": Claim("So does 1/t with the longest training.",
        UIUC + ", strategy 1", long.higher("test_accuracy", arm="inverse", than="constant", by=0.01), "accuracy"),
    "linear-or-inverse": Claim("Linear is never more than half a point worse than 1/t.",
        "[Defazio], abstract", everywhere(long.higher("test_accuracy", arm="linear", than="inverse", by=-0.005), task=ALL), "accuracy"),
    "linear-or-cosine": Claim("Linear and cosine are within one point of each other at each budget.",
        "[Defazio], abstract", everywhere(long.equivalent("test_accuracy", arm="linear", to="cosine", within=0.01), task=ALL), "accuracy"),
    "linear-or-step": Claim("Linear is never more than half a point worse than steps of a tenth.",
        "[Li20], abstract", everywhere(long.higher("test_accuracy", arm="linear", than="step", by=-0.005), task=ALL), "accuracy"),
    "short": Claim("At a twentieth of the training linear is best, to within one point of any other.",
        "[Li20], abstract", best("test_accuracy", arm="linear", among=TRAINED, by=-0.01, **short), "accuracy"),
    "warm": Claim("Warm-up changes nothing for so small a network: within one point of cosine with the longest training.",
        "[Gotmare], abstract (warm-up helps deep layers and large batches)",
        long.equivalent("test_accuracy", arm="warm", to="cosine", within=0.01), "accuracy"),
    "adagrad": Claim("AdaGrad's own schedule is more than one point worse than a linear one with the longest training.",
        "[Overview], “AdaGrad Optimizer (2)” (the rate becomes very small)",
        long.lower("test_accuracy", arm="adagrad", than="linear", by=0.01), "accuracy"),
}  # fmt: skip


def drawn_schedules(study, frame, palette):
    """The factor of each schedule over a training."""
    figure, axes = panels(2, columns=2, height=2.4)
    t = np.arange(1000)
    for arm in TRAINED[:-1]:
        schedule = Inverse(1 / 10) if arm == "inverse" else CURVES[arm]
        axes[0].plot(t / 10, schedule.factor(t, 1000), color=palette[arm], label=study.label(arm))
    for arm, (schedule, rate, _) in EXACT.items():
        axes[1].plot(
            t / 10, rate * schedule.factor(t, 1000), color=palette[arm], label=study.label(arm)
        )
    axes[0].set(title="networks: share of the peak", xlabel="training (%)")
    axes[1].set(title="quadratic: rate", xlabel="training (%)", yscale="log")
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=2, fontsize=6)
    return figure


FIGURES = (
    custom("schedules", "What each schedule makes of the rate.", drawn_schedules),
    curves("quadratic", "Mean of x² on the noisy quadratic: the constant rate stalls, 1/(ht) falls like 1/t, 0.2/t crawls, and the rate that stops falling stalls lower.", "square", where=quadratic),
    across("accuracy", "Test accuracy of the last iterate at each budget: mean and 95 % interval over seeds.", "test_accuracy", "task", levels=ALL, arms=TRAINED),
    curves("training", "Validation accuracy through training: rates that fall along a line or a cosine are ahead from half of the training on.", "valid_accuracy", factor="task", levels=ALL, arms=TRAINED),
    sensitivity("sensitivity", "Validation accuracy against the peak rate with the longest training: every draw of the tune phase.", "valid_accuracy", where=long, arms=TRAINED),
)  # fmt: skip

STUDY = Study(
    question="Should the learning rate fall, and along which curve?",
    trial=trial,
    arms=ARMS,
    vary={"task": ("quadratic", *ALL)},
    include=included,
    nuisance={"lr": Float(1e-2, 10.0, log=True)},
    fixed={"updates": 2000, "signals": 4000, "units": 100, "batch_size": 100},
    select=("valid_accuracy", "valid_loss", "square"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Defazio]": "Defazio et al. 2023, When, why and how much? Adaptive learning rate scheduling by refinement",
        "[Li20]": "Li, Yumer & Ramanan 2020, Budgeted training: rethinking deep neural network training under resource constraints",
        "[Gotmare]": "Gotmare et al. 2019, A closer look at deep learning heuristics: learning rate restarts, warmup and distillation",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
