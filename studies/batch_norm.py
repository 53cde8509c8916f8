"""Batch normalisation: how much does it speed up training, and is it for the reason that is given?

Networks of three to eight layers of 64 units on digits (8x8), trained by plain stochastic gradient descent
for equally many updates at a rate that falls along a cosine; the peak rate is tuned with the same draws with
and without, three finalists are judged on three further seeds. Layers are normalised before the activation;
weights are He's for ReLU and Xavier's for the sigmoid; "scale" multiplies those of all hidden layers.
Dropout is tried on 500 of MNIST-1D's signals, another draw of them for each seed.

"Noisy" is Santurkar et al.'s: after each normalised layer every unit is shifted by U(−½, ½) and stretched
by U(1, 1¼), drawn anew at each update, each example's own by a tenth more or less; nothing is drawn where
the network is scored. "Moved" is how far a unit's mean over the batch moves in an update, in deviations.

How vague sentences were read. "Rate of convergence": steps to 90 % of validation images right, at rates tuned for
accuracy. "Much higher learning rates": the largest of a ladder of powers of two that still ends with 90 % of test
images right. "Less careful about initialization": the range of accuracy over three scales, each with a rate of its
own from one range (at 10⁻⁴, below it, plain networks of scale 4 reach 74 %; those of ¼ learn at no rate). "Reduces
the need for dropout": it adds something without, and next to nothing with. "Regularizes": a narrower gap between
test and training error. Bjorck et al.'s low rate is 0.05, constant, for four times as many updates. The paper scale
is Ioffe & Szegedy's figure 1a, whose rate is not given: with rates tuned normalisation gains 0.35 points there (0.29
to 0.42), about 0.9 in the figure, and takes 0.64 times the steps to 95 %, where a half was claimed.

Margins were fixed before any run; pilots chose data, updates and the range of rates. In a first run three of 16
effects lay on their margins. So rates, 9.8 times as high in six layers, are read in eight; dropout (0.4 points with,
0.5 without, on 200 digits) and the gap are measured on signals, which are overfitted more. All of these signals are
learned by heart with and without normalisation, so that the gap is the test error. Refuted: dropout adds 1.3 points
with it, 2.7 without.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import batch_norm

from harness import Arm, Budget, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, place, rows_for, statistic
from harness.figures import across, curves, intervals, sensitivity
from harness.parts.draws import normal, uniform
from harness.parts.models import ACTIVATIONS, initialise
from harness.parts.probes import Every, GradientNorms, RecordTo
from harness.parts.probes.generalization import Errors
from harness.parts.schedules import Constant, Cosine
from harness.study import Published, classification


class Noise(nn.Module):
    """Shifts and stretches each unit in training, (B, units) to (B, units)."""

    def forward(self, x):
        if not self.training:
            return x
        n, units = x.shape
        shift = uniform(1, units) - 0.5 + 0.1 * (2 * uniform(n, units) - 1)
        return x * (1 + uniform(1, units) / 4 + 0.1 * normal(n, units)) + shift


class Moving(nn.Module):
    """Leaves (B, units) as they are, and keeps how far their means move from update to update, in
    standard deviations: over units the mean, over updates one that forgets."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.register_buffer("before", torch.zeros(units))
        self.register_buffer("moved", torch.zeros(()))

    def forward(self, x):
        if self.training:
            mean, deviation = x.detach().mean(0), x.detach().std(0)  # (units,)
            step = ((mean - self.before).abs() / (deviation + 1e-6)).mean()
            self.moved.mul_(0.99).add_(0.01 * step)
            self.before.copy_(mean)
        return x


@dataclass(frozen=True)
class Layers(Errors):
    """Errors; ``moved``, the mean over layers; and ``identity_gap``, how far the first layer, batch-normalised with
    γ = √(σ² + ε) and β = μ, is from itself, as a share of its largest value on 256 training examples."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        x = pack.examples(256)[0]
        kept = [value for name, value in pack.buffers.items() if name.endswith(".moved")]

        def gap(net):
            z = net[1](net[0](x))  # (n, units)
            gamma = (z.var(0, unbiased=False) + 1e-5).sqrt()
            out = batch_norm(z, None, None, gamma, z.mean(0), training=True, eps=1e-5)
            return (out - z).abs().amax() / z.abs().amax()

        own = {"identity_gap": pack.ask(gap), "moved": torch.stack(kept, 1).mean(1)}
        return super().read(pack) | own


def network(
    inputs: int, units: int, depth: int, activation: str, scale: float, wiring: str, drop: float | None
) -> nn.Module:  # fmt: skip
    """(B, inputs) to (B, 10) logits."""
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in in (inputs, *[units] * (depth - 1)):
        linear = nn.Linear(n_in, units)
        initialise(linear, "he" if activation == "relu" else "xavier", scale)
        layers.append(linear)
        if wiring != "plain":
            layers.append(nn.BatchNorm1d(units))
        if wiring == "noisy":
            layers.append(Noise())
        layers += [Moving(units), ACTIVATIONS[activation]()]
        if drop is not None:
            layers.append(nn.Dropout(drop))
    layers.append(nn.Linear(units, 10))
    initialise(layers[-1], "xavier")
    return nn.Sequential(*layers)


def trial(t: Trial) -> Training:
    steps = t["steps"] * t.get("longer", 1)
    growing = {0, *(round(steps * 1.16**-k) for k in range(1, 30))}  # speed is read early
    return Training(
        model=partial(network, t.get("length", t["inputs"]), t["units"], t["depth"], t["activation"], t["scale"],
                      t["wiring"], t.get("drop")),
        optimizer=Optimizer("sgd", Constant() if t.arm in SLOW else Cosine(), lr=t["lr"] * t["rate"]),
        data=Data("mnist1d", few, draw=t.seed) if (few := t.get("few")) else Data(t["data"]),
        steps=steps, every=tuple(sorted(growing)) if t.phase == "confirm" else steps, batch_size=t["batch"],
        probes=(RecordTo("valid_accuracy", t["level"], "steps_to_level"), Every(99, GradientNorms()), Layers()),
    )  # fmt: skip


PLAIN, NORM = {"wiring": "plain"}, {"wiring": "norm"}
LONG, FEW, DROP = {"longer": 4}, {"few": 500, "length": 40}, {"drop": Float(0.02, 0.5, log=True)}
ARMS = {
    "plain": Arm(PLAIN, label="without"), "norm": Arm(NORM, label="batch-normalised"),
    "noisy": Arm({"wiring": "noisy"}, label="normalised, then noise"),
    "plain_few": Arm(PLAIN | FEW, label="without, 500 signals"),
    "norm_few": Arm(NORM | FEW, label="normalised, 500 signals"),
    "plain_drop": Arm(PLAIN | FEW, nuisance=DROP, label="without, dropout"),
    "norm_drop": Arm(NORM | FEW, nuisance=DROP, label="normalised, dropout"),
    "plain_fixed": Arm(PLAIN, held={"lr": 1.0}, label="without, rate given"),
    "norm_fixed": Arm(NORM, held={"lr": 1.0}, label="normalised, rate given"),
    "plain_slow": Arm(PLAIN | LONG, held={"lr": 0.05}, label="without, low rate"),
    "norm_slow": Arm(NORM | LONG, held={"lr": 0.05}, label="normalised, low rate"),
}  # fmt: skip
FIXED, SLOW = ("plain_fixed", "norm_fixed"), ("plain_slow", "norm_slow")
SMALL = ("plain_few", "plain_drop", "norm_few", "norm_drop")
LADDER, SCALES = tuple(2.0**k for k in range(-5, 6)), (0.25, 1.0, 4.0)
DEEP, DEEPER = ("relu", 6, 60), ("relu", 8, 60)  # activation, depth, batch
THERE = (3, 60, 1.0, 1.0)  # depth, batch, scale, rate


def included(arm, cell) -> bool:
    activation, depth, batch, scale, rate = cell.values()
    if arm in FIXED:
        return (activation, depth, batch, scale) == (*DEEPER, 1)
    if arm in SLOW + SMALL:
        return (activation, depth, batch, scale, rate) == ("relu", *THERE)
    more = (activation, depth, batch) == DEEP or (activation, depth, scale) == ("relu", 3, 1)
    return rate == 1 and depth < 8 and ((batch, scale) == (60, 1) or (arm != "noisy" and more))


METRICS = {
    **classification(),
    "steps_to_level": Metric("steps", better="low", log=True, label="steps to the level of validation accuracy"),
    "error_gap": Metric("points", better="low", worst=90.0, label="test less training error"),
    "moved": Metric("deviations", log=True, label="movement of means in an update"),
    "identity_gap": Metric("share", log=True, label="distance of a normalised layer from the identity"),
    "grad_norm_2": Metric("norm", log=True, label="gradient of the second layer's weights"),
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, steps=20, activation=("relu",), batch=(60,), scale=(1.0, 4.0), rate=(1.0, 4.0)),
    "default": Budget(draws=8, seeds=12, finalists=3),
    "paper": Budget(
        draws=6, seeds=16, finalists=2, final_seeds=2, steps=50_000, inputs=784, units=100, data="mnist", level=0.95,
        activation=("sigmoid",), depth=(3,), batch=(60,), scale=(1.0,), rate=(1.0,)),
}  # fmt: skip


def decades(table) -> float:
    """log10 of the largest rate that still trains with normalisation, over that without."""
    trains = {arm: [LADDER[0]] for arm in FIXED}
    for (arm, *_, rate), right in table.mean().items():
        if arm in FIXED and right >= 0.9:
            trains[arm].append(rate)
    return float(np.log10(max(trains["norm_fixed"]) / max(trains["plain_fixed"])))


def spread(table) -> float:
    """The range of accuracy over scales with normalisation, over that without."""
    right = table.mean()
    ranges = [np.ptp([right[arm, *DEEP, k, 1.0] for k in SCALES]) for arm in ("norm", "plain")]
    return float(ranges[0] / ranges[1])


def beyond_half(activation: str, table) -> float:
    """By how many doublings of the steps noise costs more than half of what normalisation gains; never
    counts as the slowest that did."""
    steps = np.log2(table)
    steps = steps.where(np.isfinite(steps), steps[np.isfinite(steps)].max().max()).mean()
    plain, norm, noisy = (steps[arm, activation, *THERE] for arm in ("plain", "norm", "noisy"))
    return float(noisy - (plain + norm) / 2)


def example(metric: str, holds: dict, fails: dict):
    """What makes rows in which a claim holds, or fails, of (arm, levels of vary) and a value each."""

    def rows(study: Study, seeds: int, hold: bool):
        values, around = holds | ({} if hold else fails), 1 + np.linspace(-1e-3, 1e-3, seeds)
        return pd.concat(
            rows_for(study, metric, arm, value * around, **dict(zip(study.vary, cell, strict=True)))
            for (arm, *cell), value in values.items()
        )

    return rows


def noise_costs_little(activation: str):
    there = (activation, *THERE)
    steps = {("plain", *there): 400, ("norm", *there): 100, ("noisy", *there): 120}
    return statistic(
        partial(beyond_half, activation), 0.0, metric="steps_to_level", unit="doublings", direction="below",
        words="steps with noise beyond halfway, by factors, from those with normalisation to those without",
        example=example("steps_to_level", steps, {("noisy", *there): 390}))  # fmt: skip


A_LADDER = example("test_accuracy", {("plain_fixed", *DEEPER, 1.0, 1.0): 0.95, ("norm_fixed", *DEEPER, 1.0, 32.0): 0.95},
                   {("norm_fixed", *DEEPER, 1.0, 32.0): 0.1})  # fmt: skip
A_RANGE = example("test_accuracy",
    {(arm, *DEEP, k, 1.0): 0.8 if arm == "norm" else k / 5 for arm in ("norm", "plain") for k in SCALES},
    {("norm", *DEEP, 4.0, 1.0): 0.1})  # fmt: skip
at = place(activation="relu", depth=3, batch=60, scale=1.0, rate=1.0)
sigmoid = at(activation="sigmoid")
SNU, ECNU = "[SNU], “Batch normalization”", "[ECNU], “Batch normalization”"
COVARIATE = "[Santurkar], section 2; counter-evidence to [SNU], “Batch normalization” (“slows down the training”)"
CLAIMS = {
    "half-sigmoid": Claim("Three layers of sigmoids converge in at most half the steps with batch normalisation, each at its tuned rate.",
        ECNU + "; [Ioffe], section 4.1 and figure 1a",
        sigmoid.ratio_below("steps_to_level", 0.5, arm="norm", than="plain"), "steps",
        Published("After about 4,000 steps 95 % are right with it and 71 % without (MNIST, 3x100 sigmoids).", "read off a figure")),
    "half-relu": Claim("So do three layers of ReLUs.",
        ECNU, at.ratio_below("steps_to_level", 0.5, arm="norm", than="plain"), "steps"),
    "more-accurate": Claim("Three layers of sigmoids also end more than half a point more accurate with it.",
        "[Ioffe], figure 1a",
        sigmoid.higher("test_accuracy", arm="norm", than="plain", by=0.005), "accuracy",
        Published("About 98.1 % against 97.2 % after 50,000 steps (MNIST, 3x100 sigmoids).", "read off a figure", 0.009)),
    "deep-sigmoids": Claim("Six layers of sigmoids learn only with it: they end more than 30 points more accurate.",
        "[Ioffe], section 4.2.2 (without it a sigmoid Inception stayed at chance)",
        sigmoid(depth=6).higher("test_accuracy", arm="norm", than="plain", by=0.3), "accuracy"),
    "higher-rates": Claim("It allows much higher rates: the largest with which eight layers of ReLUs still train is more than ten times as high.",
        SNU + "; [Bjorck], abstract",
        statistic(decades, 1.0, metric="test_accuracy", unit="decades", each=True, example=A_LADDER,
                  words="log₁₀ of the largest rate that trains with normalisation over that without"), "ladder"),
    "low-rate": Claim("At a shared low rate it makes no difference: after long training at 0.05 accuracies are within two points.",
        "[Bjorck], abstract (it is the higher rates that help)",
        at.equivalent("test_accuracy", arm="norm_slow", to="plain_slow", within=0.02), "low-rate"),
    "scales": Claim("It depends less on the initial weights: over scales of ¼, 1 and 4 accuracy of six layers varies at most half as much.",
        SNU,
        statistic(spread, 0.5, metric="test_accuracy", unit="ratio", direction="below", each=True, example=A_RANGE,
                  words="range of accuracy over scales with normalisation, over that without"), "scales"),
    "gradient": Claim("Weights that are four times as large have a quarter of the gradient, and a quarter as large four times (exact but for ε): at the start at most 0.2525, and at least 3.96 times.",
        SNU + "; [Ioffe], section 3.3",
        every(at(depth=6, scale=4.0).ratio_below("grad_norm_2", 0.2525, arm="norm", than="norm", at="start", against={"scale": 1.0}),
              at(depth=6, scale=0.25).ratio_above("grad_norm_2", 3.96, arm="norm", than="norm", at="start", against={"scale": 1.0})), "gradients"),
    "identity": Claim("With γ = √(σ² + ε) and β = μ it is the identity (exact): a layer of a trained network changes by less than 0.001 %.",
        "[SNU], “Batch normalization (cont’d)”",
        at.below("identity_gap", 1e-5, arm="norm"), "identity"),
    "shift": Claim("Noise after it brings the covariate shift back: units then move more from update to update than without normalisation, in both activations.",
        COVARIATE,
        every(*(one.ratio_above("moved", 1.0, arm="noisy", than="plain") for one in (at, sigmoid))), "moved"),
    "noise-sigmoid": Claim("Yet that noise costs less than half of the gain in steps, by factors, of three layers of sigmoids.",
        COVARIATE, noise_costs_little("sigmoid"), "steps"),
    "noise-relu": Claim("And of three layers of ReLUs.",
        COVARIATE, noise_costs_little("relu"), "steps"),
    "batch-2": Claim("At batches of two it hurts: three layers of ReLUs end more than one point less accurate with it.",
        "[Wu], section 1", at(batch=2).lower("test_accuracy", arm="norm", than="plain", by=0.01), "batches",
        Published("ResNet-50's error on ImageNet rises from 23.6 % at 32 examples a device to 34.7 % at 2.", "from memory")),
    "batch-16": Claim("At batches of 16 it no longer does: it is at most one point less accurate than without.",
        "[Wu], figure 1", at(batch=16).higher("test_accuracy", arm="norm", than="plain", by=-0.01), "batches"),
    "need": Claim("It reduces the need for dropout: a tuned share of it adds to accuracy without normalisation, and less than half a point with it (500 signals).",
        SNU,
        every(at.higher("test_accuracy", arm="plain_drop", than="plain_few"),
              at.lower("test_accuracy", arm="norm_drop", than="norm_few", by=-0.005)), "dropout"),
    "regularizes": Claim("It regularizes: the gap between test and training error is more than one point narrower with it (500 signals).",
        SNU, at.lower("error_gap", arm="norm_few", than="plain_few", by=1.0), "gaps"),
}  # fmt: skip

BOTH, THREE = ("plain", "norm"), ("plain", "norm", "noisy")
USUAL = {"batch": 60, "scale": 1.0, "rate": 1.0}
FIGURES = (
    curves("training", "Validation accuracy through training, each at its tuned rate: noise that moves every layer's inputs at each update hardly slows normalised networks down. Left sigmoids, right ReLUs, three layers.", "valid_accuracy", factor="activation", levels=("sigmoid", "relu"), where={**USUAL, "depth": 3}, arms=THREE),
    intervals("moved", "How far a unit's mean moves from one update to the next, in standard deviations: with normalisation not at all, with noise after it further than without either.", "moved", factor="activation", where={**USUAL, "depth": 3}, arms=THREE),
    across("ladder", "Test accuracy against the peak rate, which is given: eight layers of ReLUs.", "test_accuracy", "rate", levels=LADDER, where={"activation": "relu", "depth": 8, "batch": 60, "scale": 1.0}, arms=FIXED),
    across("scales", "Test accuracy against the scale of the initial weights, a rate tuned for each: six layers of ReLUs.", "test_accuracy", "scale", levels=SCALES, where={"activation": "relu", "depth": 6, "batch": 60, "rate": 1.0}, arms=BOTH),
    across("batches", "Test accuracy against the batch, a rate tuned for each: three layers of ReLUs, equally many updates.", "test_accuracy", "batch", levels=(2, 16, 60), where={"activation": "relu", "depth": 3, "scale": 1.0, "rate": 1.0}, arms=BOTH),
    across("steps", "Steps to 90 % of validation images right (95 % at the paper scale), by depth.", "steps_to_level", "depth", panels="activation", where=USUAL, arms=THREE),
    across("accuracy", "Test accuracy by depth.", "test_accuracy", "depth", panels="activation", where=USUAL, arms=THREE),
    intervals("low-rate", "Test accuracy after long training at a rate of 0.05.", "test_accuracy", where=at, arms=SLOW),
    intervals("dropout", "Test accuracy with 500 signals to train on, with and without dropout.", "test_accuracy", where=at, arms=SMALL),
    intervals("gaps", "Test less training error with 500 signals to train on.", "error_gap", where=at, arms=SMALL),
    across("gradients", "Norm of the gradient of the second layer's weights at the start, against their scale: it falls as 1/scale with normalisation; without, it is a thousandth at ¼, and at 4 training diverged.", "grad_norm_2", "scale", levels=SCALES, at="start", where={"activation": "relu", "depth": 6, "batch": 60, "rate": 1.0}, arms=BOTH),
    intervals("identity", "How far a layer normalised with γ = √(σ² + ε) and β = μ is from the identity: rounding.", "identity_gap", where=at, arms=BOTH),
    sensitivity("sensitivity", "Validation accuracy of three layers of ReLUs against the peak rate: every draw of the tune phase.", "valid_accuracy", where=at, arms=THREE),
)  # fmt: skip

STUDY = Study(
    question="How much does batch normalisation speed up training, and for the reason that is given?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"activation": ("relu", "sigmoid"), "depth": (3, 6, 8), "batch": (60, 2, 16), "scale": (1.0, 0.25, 4.0),
          "rate": (1.0, *(rate for rate in LADDER if rate != 1))},
    include=included,
    nuisance={"lr": Float(1e-2, 10.0, log=True)},
    fixed={"steps": 400, "units": 64, "inputs": 64, "data": "digits", "level": 0.9},
    select=("valid_accuracy", "valid_loss"),
    sources={
        "[Ioffe]": "Ioffe & Szegedy 2015, Batch normalization: accelerating deep network training by reducing internal covariate shift",
        "[Santurkar]": "Santurkar et al. 2018, How does batch normalization help optimization?",
        "[Bjorck]": "Bjorck et al. 2018, Understanding batch normalization", "[Wu]": "Wu & He 2018, Group normalization",
    },
)  # fmt: skip
