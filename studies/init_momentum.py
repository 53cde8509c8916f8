"""Initialisation and momentum: do they reach what second order reaches?

A deep autoencoder of handwritten digits, 64-32-16-4-16-32-64 sigmoid units, after those on which
Hessian-free optimization was shown and then reached by momentum (Sutskever et al. 2013). Weights are
drawn sparsely, 15 inputs a unit of N(0, scale²), biases are zero. What is judged is the paper's quantity,
the squared error on the training images, summed over pixels; no claim is made about test error. Rates
are tuned with the same draws for every method at every scale, three finalists are judged on three
further seeds; momentum is fixed, and the rate does not fall. "Lowered" is momentum 0.99 with 0.9 over the last tenth,
where its velocity begins anew.

Second order is Gauss–Newton with ten conjugate-gradient steps on half of the images an update, as Martens's
Hessian-free optimization without its preconditioning, and L-BFGS on 1,000 of the 1,077. They get at least as many
gradients of examples as descent (a curvature product counts as two), so that descent has no advantage of it: 420,000
and 320,000 against 250,000 by default.

Beside it a quadratic of condition number 100, on which the best momentum shrinks the distance by
(√κ − 1)/(√κ + 1) a step, and the best plain descent by (κ − 1)/(κ + 1) (Polyak 1964): exact.

SNU's slide says that momentum with careful initialization solves two problems; read as: both are needed, and together
they come near second order. Departures: digits and seven small layers in place of three data sets and up to eleven
layers; 2,500 updates in place of 750,000, so that 0.999 is long for what there is; no schedule of momentum. Margins
were fixed before any run. In a first run the best rates of plain descent and of momentum 0.9 lay at the upper end of
their range, 30, and distances on the quadratic went below what float32 holds; since then rates go to 1,000. What is
refuted: in so short a training momentum 0.99 leaves 1.7 times the error of plain descent at its best rate, and 2.0
times that of momentum 0.9; Gauss–Newton leaves 1.2 times that of plain descent, after 40 updates. The mean image
alone leaves 4.68: at scale ¼ momentum and Gauss–Newton learn hardly more, so that needs-initialisation, which asks
for twice the 2.97 of scale 1, cannot hold. 24 seeds left reaches-second-order and nesterov open; of up to 192 the
first is supported, and Nesterov's 0.95 times the error lies at the margin of 0.95.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from harness import (
    Arm,
    Budget,
    By,
    Claim,
    Data,
    Float,
    Metric,
    Optimizer,
    Stage,
    Study,
    Training,
    Trial,
)
from harness.claims import every, place
from harness.figures import across, curves, custom, intervals, panels, sensitivity
from harness.parts.data import load
from harness.parts.objectives import SquaredError
from harness.study import Published

KAPPA = 100.0
SHRINKS = {"heavy_ball": (KAPPA**0.5 - 1) / (KAPPA**0.5 + 1), "descent": (KAPPA - 1) / (KAPPA + 1)}
INCOMING = 15  # weights of a unit that are not zero


def images():
    """Digits as their own targets."""
    splits = load(Data("digits"))
    found = [getattr(splits, name)[0].flatten(1).numpy() for name in ("train", "valid", "test")]
    low, high = found[0].min(), found[0].max()
    scaled = [((x - low) / (high - low)).astype(np.float32) for x in found]
    return tuple((x, x) for x in scaled)


IMAGES = Data.of(images, name="digits_themselves", task="regression", duplicates="allow")


def autoencoder(widths: tuple[int, ...], scale: float) -> nn.Module:
    """(B, pixels) to (B, pixels) in (0, 1)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise((*widths, *widths[-2::-1])):
        linear = nn.Linear(n_in, n_out)
        with torch.no_grad():
            most = torch.rand(n_out, n_in).argsort(1).argsort(1) < INCOMING
            linear.weight.copy_(scale * torch.randn(n_out, n_in) * most)
            linear.bias.zero_()
        layers += [linear, nn.Sigmoid()]
    return nn.Sequential(*layers)


class Bowl(nn.Module):
    """() the height of x (50,) in a quadratic whose curvatures go from 1 to κ."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("curvature", torch.logspace(0, np.log10(KAPPA), 50))
        self.x = nn.Parameter(torch.randn(50))

    def forward(self):
        return (self.curvature * self.x.square()).sum() / 2


@dataclass(frozen=True)
class Rebuilt:
    """The squared error on all training images, summed over pixels: metric ``train_square``."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        x, y = pack.train
        return {"train_square": pack.ask(lambda net: (net(x) - y).square().sum(1).mean())}


@dataclass(frozen=True)
class Shrinking:
    """By how much the distance to the minimum shrinks a step, over the second half so far."""

    theory: float
    at_end: ClassVar[bool] = False

    def read(self, pack):
        now = pack.params["x"].abs().amax(1)  # (K, 50) -> (K,)
        half = next((row for step, row in pack.recorded if 2 * step >= pack.step), None)
        if half is None:
            return {"distance": now}
        steps = pack.step - next(step for step, _ in pack.recorded if 2 * step >= pack.step)
        shrinks = (now / half["distance"]) ** (1 / steps)
        return {"distance": now, "to_theory": (1 - shrinks) / (1 - self.theory)}


RULES = {
    "plain": ("sgd", {}), "nesterov_9": ("nesterov", {"momentum": 0.9}),
    "nesterov_99": ("nesterov", {"momentum": 0.99}), "nesterov_999": ("nesterov", {"momentum": 0.999}),
    "heavy_99": ("momentum", {"momentum": 0.99}), "heavy_999": ("momentum", {"momentum": 0.999}),
    "lowered": ("nesterov", {"momentum": 0.99}),
}  # fmt: skip


def trial(t: Trial) -> Training:
    if t["scale"] == "quadratic":
        low, high = 1.0, KAPPA**0.5
        heavy = Optimizer("momentum", lr=4 / (low + high) ** 2, momentum=SHRINKS["heavy_ball"] ** 2)
        rule = heavy if t.arm == "heavy_ball" else Optimizer("sgd", lr=2 / (1 + KAPPA))
        steps = 300 if t.arm == "heavy_ball" else 2000  # until only the slowest direction is left
        return Training(Bowl, rule, steps=steps, every=10, probes=(Shrinking(SHRINKS[t.arm]),))
    common = {
        "model": partial(autoencoder, tuple(map(int, t["widths"].split("-"))), float(t["scale"])),
        "data": IMAGES, "objective": SquaredError(), "probes": (Rebuilt(),),
    }  # fmt: skip
    n, updates = t["examples"], t["updates"]
    if t.arm == "gauss_newton":
        rule = Optimizer("gauss_newton", lr=1.0, damping=t["damping"])
        return Training(
            optimizer=rule, steps=t["solves"], batch_size=n // 2, every=t["solves"] // 10, **common
        )
    if t.arm == "lbfgs":
        rule = Optimizer("lbfgs", lr=t["length"], tries=10)
        return Training(
            optimizer=rule, steps=4 * t["solves"], batch_size=n, every=t["solves"], **common
        )
    name, numbers = RULES[t.arm]
    rule = Optimizer(name, lr=t["lr"], **numbers)
    if t.arm == "lowered":
        calm = Optimizer(name, lr=t["lr"], momentum=0.9)
        stages = (Stage(steps=updates - updates // 10), Stage(steps=updates // 10, optimizer=calm))
        return Training(
            optimizer=rule, batch_size=t["batch_size"], every=updates // 10, stages=stages, **common
        )
    return Training(
        optimizer=rule, steps=updates, batch_size=t["batch_size"], every=updates // 10, **common
    )


HELD = {"plain": "plain descent", "nesterov_9": "Nesterov 0.9", "nesterov_99": "Nesterov 0.99",
        "nesterov_999": "Nesterov 0.999", "heavy_99": "momentum 0.99", "heavy_999": "momentum 0.999",
        "lowered": "Nesterov 0.99, then 0.9"}  # fmt: skip
ARMS = {
    **{
        name: Arm({}, nuisance={"lr": Float(0.03, 1000.0, log=True)}, label=label)
        for name, label in HELD.items()
    },
    "gauss_newton": Arm({}, nuisance={"damping": Float(1e-4, 1.0, log=True)}, label="Gauss–Newton"),
    "lbfgs": Arm({}, nuisance={"length": Float(0.03, 1.0, log=True)}, label="L-BFGS"),
    "heavy_ball": Arm({}, label="best momentum"),
    "descent": Arm({}, label="best plain descent"),
}
TRAINED = (*HELD, "gauss_newton", "lbfgs")
OTHERS = ("plain", "nesterov_99", "gauss_newton")  # at scales other than one
SCALES = ("0.25", "0.5", "1", "2", "4")


def included(arm, cell) -> bool:
    if cell["scale"] == "quadratic":
        return arm in SHRINKS
    return arm in (TRAINED if cell["scale"] == "1" else OTHERS)


METRICS = {
    "train_square": Metric("square", better="low", log=True, label="squared error of a training image"),
    "train_loss": Metric("square", better="low", log=True),
    "valid_loss": Metric("square", better="low", log=True),
    "distance": Metric("distance", better="low", log=True, label="distance to the minimum"),
    "to_theory": Metric("ratio", label="1 − shrinking a step, over what theory says"),
}  # fmt: skip
LEVELS = dict.fromkeys(SCALES, 10) | {"quadratic": 1}
BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, updates=50, solves=10, scale=("1", "quadratic"), batch_size=96,
                    examples=960),  # where last bits are the same in any pack
    "default": Budget(draws=By("scale", {name: LEVELS[name] for name in ("0.25", "1", "4", "quadratic")}),
                      seeds=12, most_seeds=192, futility=0.05, finalists=3, scale=("0.25", "1", "4", "quadratic")),
    "paper": Budget(draws=By("scale", LEVELS), seeds=10, most_seeds=40, finalists=3, updates=75_000, solves=2000, batch_size=200),
}  # fmt: skip

one, small, large = place(scale="1"), place(scale="0.25"), place(scale="4")
quadratic = place(scale="quadratic")
SNU, TABLE = "[SNU], “Solution: different optimization methods”", "[Sutskever13], Table 1"
READ = "read in the paper"
CLAIMS = {
    "square-root": Claim("On a quadratic of condition number 100 the best momentum's rate of convergence is (√κ − 1)/(√κ + 1) a step: what is left to shrink is within five percent of theory (exact).",
        "[Polyak]; " + SNU + " (poor conditioning)",
        every(quadratic.above("to_theory", 0.95, arm="heavy_ball"), quadratic.below("to_theory", 1.05, arm="heavy_ball")), "quadratic"),
    "condition": Claim("The best plain descent's is (κ − 1)/(κ + 1), within five percent (exact).",
        "[Polyak]",
        every(quadratic.above("to_theory", 0.95, arm="descent"), quadratic.below("to_theory", 1.05, arm="descent")), "quadratic"),
    "momentum": Claim("With the sparse initialisation Nesterov's momentum of 0.99 leaves at most half of plain descent's error, both tuned.",
        SNU + "; " + TABLE,
        one.ratio_below("train_square", 0.5, arm="nesterov_99", than="plain"), "methods",
        Published("1.0 against 2.1 at 0.9, 0.73 at 0.99 (MNIST)", READ, 0.35)),
    "reaches-second-order": Claim("It reaches what second order reaches: at most 1.5 times the error of Gauss–Newton.",
        SNU + "; " + TABLE,
        one.ratio_below("train_square", 1.5, arm="nesterov_99", than="gauss_newton"), "methods",
        Published("0.73 against 0.69 (MNIST, without L₂)", READ, 1.06)),
    "second-order": Claim("Gauss–Newton leaves at most half of plain descent's error.",
        SNU + " (more sophisticated than SGD)",
        one.ratio_below("train_square", 0.5, arm="gauss_newton", than="plain"), "methods",
        Published("0.69 against 2.1 (MNIST)", READ, 0.33)),
    "needs-initialisation": Claim("Momentum alone is not enough: from weights a quarter as large its error is at least twice as high.",
        "[Sutskever13], Table 3; " + SNU + " (careful initialization)",
        small.ratio_above("train_square", 2.0, arm="nesterov_99", than="nesterov_99", against=dict(one)), "scales",
        Published("16 against 0.074 (Curves)", READ)),
    "too-large": Claim("From weights four times as large it is at least 1.5 times as high.",
        "[Sutskever13], Table 3",
        large.ratio_above("train_square", 1.5, arm="nesterov_99", than="nesterov_99", against=dict(one)), "scales",
        Published("0.35 against 0.074 (Curves)", READ)),
    "second-order-forgives": Claim("Gauss–Newton forgives small weights: there it leaves at most half of momentum's error.",
        SNU, small.ratio_below("train_square", 0.5, arm="gauss_newton", than="nesterov_99"), "scales"),
    "more-is-better": Claim("Momentum 0.99 leaves less than 0.9 times the error of 0.9.",
        TABLE, one.ratio_below("train_square", 0.9, arm="nesterov_99", than="nesterov_9"), "methods",
        Published("0.73 against 1.0 (MNIST)", READ, 0.73)),
    "too-much": Claim("Momentum 0.999 is too much for so short a training: it leaves more than 1.1 times the error of 0.99.",
        TABLE + " (0.80 against 0.73 on MNIST, in 750,000 updates)",
        one.ratio_above("train_square", 1.1, arm="nesterov_999", than="nesterov_99"), "methods",
        Published("0.80 against 0.73 (MNIST)", READ, 1.1)),
    "nesterov": Claim("Nesterov's is the better momentum at 0.999: it leaves less than 0.95 times the error of the classical one.",
        "[Sutskever13], section 2.1 and Table 1",
        one.ratio_below("train_square", 0.95, arm="nesterov_999", than="heavy_999"), "methods",
        Published("0.80 against 0.90 (MNIST)", READ, 0.89)),
    "lowered": Claim("Momentum that falls to 0.9 at the end is better than one that stays: less than 0.95 times the error.",
        "[Sutskever13], section 3.1 and Table 1",
        one.ratio_below("train_square", 0.95, arm="lowered", than="nesterov_99"), "methods"),
}  # fmt: skip


def bowls(study, frame, palette):
    """Distances on the quadratic, and what theory says of them."""
    figure, (ax,) = panels(1, height=2.4)
    rows = frame[(frame["scale"] == "quadratic") & (frame["phase"] == "confirm")]
    for arm, shrinks in SHRINKS.items():
        along = rows[rows["arm"] == arm].groupby("step")["distance"].mean()
        ax.semilogy(along.index, along, color=palette[arm], label=study.label(arm))
        ax.semilogy(
            along.index, along.iloc[0] * shrinks**along.index, color=palette[arm], ls=":", lw=1
        )
    ax.set(xlabel="steps", ylabel="distance to the minimum", ylim=(1e-12, 30), xlim=(0, 400))
    ax.legend(loc="upper right")
    return figure


FIGURES = (
    custom("quadratic", "Condition number 100: the best momentum and the best plain descent, and the exact rates (dotted).", bowls),
    intervals("methods", "Squared error of a training image after training, each at its tuned rate: mean and 95 % interval over seeds.", "train_square", where=one),
    across("scales", "The same against the scale of the initial weights.", "train_square", "scale", levels=SCALES, arms=OTHERS),
    curves("training", "Squared error of a training image through training, at scale 1; second order in its own updates, each of which costs more.", "train_square", where=one, arms=TRAINED),
    sensitivity("sensitivity", "Squared error against the rate at scale 1: every draw of the tune phase.", "train_square", "lr", where=one, arms=tuple(HELD)),
)  # fmt: skip

STUDY = Study(
    question="Do a good initialisation and momentum reach what second order reaches?",
    trial=trial,
    arms=ARMS,
    vary={"scale": (*SCALES, "quadratic")},
    include=included,
    fixed={"updates": 2500, "solves": 40, "batch_size": 100, "examples": 1000, "widths": "64-32-16-4"},
    select=("train_square", "distance"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Polyak]": "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
        "[Sutskever13]": "Sutskever, Martens, Dahl & Hinton 2013, On the importance of initialization and momentum in deep learning",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
