"""Pretraining: what does it do for a deep network, and who still needs it?

Four hidden layers of 64 on MNIST's images at half their resolution, with sigmoids as of 2006 (weights from ±1/√n)
or ReLU with He's weights. Layers are pretrained one after another, each for 200 updates of 50: by labels (greedy
supervised), as autoencoders, as denoising ones (0.3 of the numbers are zero), as RBMs (CD-1). Those without labels
read all 2,500 images; fine-tuning, and greedy supervised pretraining, 100, 500 or all, drawn anew for each seed. The
rate of pretraining is fixed (Adam, 0.01); that of fine-tuning (momentum 0.9, falling along a cosine) is tuned with
the same draws for all. “Good initialisation” is Xavier's times four. Toys: a linear autoencoder on data of known
components; autoencoders of digits through 2, 4 and 8 numbers beside PCA; a machine of nine and eight units on
bars and stripes, whose likelihood is summed over all states.

How sentences were read. SNU's “reason 1” of the renaissance is a title: that deep sigmoid networks became trainable.
“No longer widely used”: with ReLU and all labels pretraining changes accuracy by less than two points. Erhan's
regulariser, not optimiser: the training loss of pretrained networks is not lower in the end.

Departures: small networks, few updates. Margins were fixed before any run of the study; its depth and the rate of
pretraining were found by trying: in 200 updates at 0.003, squared errors taught five layers nothing. Against the
claims pretraining is an optimiser here, for without it these sigmoids are not trained; and RBMs are weaker with 100
labels than greedy supervised pretraining. Whether ReLU beats pretrained sigmoids lies at its margin.
"""

import itertools
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from harness import (
    Arm,
    Budget,
    Claim,
    Data,
    Float,
    Loss,
    Metric,
    Optimizer,
    Stage,
    Study,
    Training,
    Trial,
)
from harness.claims import every, everywhere, place
from harness.figures import across, curves, intervals, pictures, sensitivity
from harness.parts.draws import uniform
from harness.parts.models import RBM, divergence, initialise, states
from harness.parts.probes import Filters
from harness.parts.probes.generalization import Errors
from harness.parts.probes.pictures import names, packed
from harness.parts.schedules import Cosine
from harness.study import Published, classification

SIDE, DEPTH = 14, 4  # of an image; hidden layers
INPUTS, CODE = 12, 3  # numbers of the linear autoencoder, and of its code


class Stack(nn.Module):
    """(B, 28, 28) to (B, 10) logits; beside each layer what it is pretrained with."""

    def __init__(self, kind: str, act: str, units: int) -> None:
        super().__init__()
        pairs = [*itertools.pairwise((SIDE**2, *[units] * DEPTH))]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        aside = {"supervised": lambda a, b: nn.Linear(b, 10), "rbm": RBM}.get(kind, lambda a, b: nn.Linear(b, a))  # fmt: skip
        self.aside = nn.ModuleList(aside(a, b) for a, b in pairs if kind not in ("none", "good"))
        self.head, self.act = nn.Linear(units, 10), nn.Sigmoid() if act == "sigmoid" else nn.ReLU()
        init = ("he", 1.0) if act == "relu" else ("xavier", 4.0) if kind == "good" else ("standard", 1.0)  # fmt: skip
        for layer in self.layers:
            initialise(layer, *init)

    def up(self, x, layers: int):
        """What so many layers make of images."""
        x = F.avg_pool2d(x.unsqueeze(1), 2).flatten(1)
        for layer in itertools.islice(self.layers, layers):
            x = self.act(layer(x))
        return x

    def forward(self, x):
        return self.head(self.up(x, DEPTH))


def labelled(net, x, y, *, layer: int):
    below = net.up(x, layer).detach()
    return F.cross_entropy(net.aside[layer](net.act(net.layers[layer](below))), y)


def rebuilt(net, x, y, *, layer: int, hidden: float):
    below = net.up(x, layer).detach()
    given = below * (uniform(*below.shape) >= hidden)
    back = net.aside[layer](net.act(net.layers[layer](given)))
    if isinstance(net.act, nn.ReLU):
        return F.mse_loss(back, below)
    return F.binary_cross_entropy_with_logits(back, below)


def diverged(net, x, y, *, layer: int):
    return divergence(net.aside[layer], net.up(x, layer).detach())


LOSSES = {"supervised": labelled, "autoencoder": partial(rebuilt, hidden=0.0), "denoising": partial(rebuilt, hidden=0.3), "rbm": diverged}  # fmt: skip
EACH = {kind: [Loss(partial(fn, layer=n)) for n in range(DEPTH)] for kind, fn in LOSSES.items()}


def staged(t: Trial, few: Data) -> tuple[Stage, ...]:
    """Each layer by itself, then all for the classes."""
    found, copy, length, adam = [], {}, t["pretraining"], Optimizer("adam", lr=t["pretraining_lr"])
    for n, loss in enumerate(EACH.get(t.arm, ())):
        names_, data = (f"layers.{n}.*", f"aside.{n}.*"), few if t.arm == "supervised" else Data(t["images"])  # fmt: skip
        found.append(Stage(steps=length, objective=loss, optimizer=adam, data=data, every=length, trains=names_, copy=copy))  # fmt: skip
        if t.arm == "rbm":
            copy = {f"layers.{n}.weight": f"aside.{n}.weight", f"layers.{n}.bias": f"aside.{n}.c"}
    drawn = t.phase == "confirm" and t["labels"] == FEW and t["net"] == "sigmoid"
    last = Stage(steps=t["steps"], data=few, every=max(1, t["steps"] // 5), trains=("layers.*", "head.*"), copy=copy,
                 probes=(Errors(), *([Filters("layers.0.weight")] if drawn else [])))  # fmt: skip
    return (*found, last)


class Linear(nn.Module):
    """A linear autoencoder, and data whose components are known. () squared error."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(INPUTS, CODE, bias=False), nn.Linear(CODE, INPUTS, bias=False)  # fmt: skip
        scores, axes = (torch.linalg.qr(torch.randn(n, INPUTS))[0] for n in (240, INPUTS))
        sizes = 240**0.5 * torch.tensor([3.0, 2.5, 2.0] + [0.5] * (INPUTS - CODE))
        self.register_buffer("axes", axes[:, :CODE])
        self.register_buffer("x", scores * sizes @ axes.T)

    def forward(self):
        return (self.up(self.down(self.x)) - self.x).square().mean()


@dataclass(frozen=True)
class Subspace:
    """The sines of the angles between a linear autoencoder's subspace and PCA's, as one length (``angle``), and
    its error over PCA's (``to_pca``)."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        def measure(net):
            spanned = torch.linalg.qr(net.up.weight)[0]  # (INPUTS, CODE)
            off = spanned - net.axes @ (net.axes.T @ spanned)
            left = net.x - net.x @ net.axes @ net.axes.T
            return {"angle": off.norm(), "to_pca": net() / left.square().mean()}

        return pack.ask(measure)


class Deep(nn.Sequential):
    """(B, 8, 8) or (B, 64) to (B, 64), through a few numbers."""

    def __init__(self, code: int) -> None:
        widths = [*itertools.pairwise((64, 64, 32, code, 32, 64, 64))]
        layers = [layer for a, b in widths for layer in (nn.Linear(a, b), nn.ReLU())]
        super().__init__(nn.Flatten(), *(layer for n, layer in enumerate(layers[:-1]) if n != 5))
        self.code = code


@dataclass(frozen=True)
class BesidePCA:
    """Of the test split: a deep autoencoder's error over PCA's with as many numbers (``to_pca_test``); and
    some digits, PCA's and its own, as a picture ``digits``."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        train, test = (part[0].flatten(1) for part in (pack.splits.train, pack.splits.test))
        mean = train.mean(0)
        axes = torch.linalg.eigh((train - mean).T @ (train - mean))[1].flip(1)  # the largest first

        def measure(net):
            own, kept = net(test), axes[:, : net.code]
            linear = mean + (test - mean) @ kept @ kept.T
            rows = torch.stack([test, linear, own])[:, :12].view(3, 2, 6, 8, 8)
            shown = rows.permute(1, 0, 3, 2, 4).flatten()  # rows of six: digits, PCA's, own, twice
            return (own - test).square().mean() / (linear - test).square().mean(), shown

        ratio, shown = pack.ask(measure)
        return {"to_pca_test": ratio, **packed("digits", shown)}


def bars():
    """Bars and stripes of 3x3, all fourteen equally often."""
    rows = states(3).unsqueeze(2).expand(8, 3, 3)
    seen = torch.cat([rows, rows.transpose(1, 2)[1:-1]]).flatten(1)  # (14, 9)
    return seen.repeat(50, 1), torch.zeros(700, dtype=torch.int64)


BARS = Data.of(bars, name="bars", duplicates="allow")
RESTORED = Loss(lambda net, x, y: F.mse_loss(net(x), x.flatten(1)))
LIKELY = Loss(lambda rbm, x, y: divergence(rbm, x))


@dataclass(frozen=True)
class States:
    """Of a small machine, by sums over all its states: the mean log-likelihood of bars and stripes in nats
    (``likelihood``), and how far expected hidden units are from what a sigmoid says (``off``)."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        x, h = pack.splits.train[0], states(8)

        def measure(rbm):
            energy = -(x @ rbm.b)[:, None] - h @ rbm.c - x @ rbm.weight.T @ h.T  # (n, 256)
            off = (-energy).softmax(1) @ h - rbm(x)
            return {"likelihood": -rbm.free(x).mean() - rbm.log_partition(), "off": off.abs().max()}

        return pack.ask(measure)


def trial(t: Trial) -> Training:
    net, steps = t["net"], t["toy_steps"]
    optimizer = Optimizer({"codes": "adam", "machine": "sgd"}.get(net, "momentum"), Cosine(), lr=t["lr"])  # fmt: skip
    if net == "linear":
        return Training(Linear, optimizer, steps=steps, probes=(Subspace(),))
    given = {"steps": steps, "every": max(1, steps // 20), "batch_size": 50}
    if net == "codes":
        return Training(partial(Deep, t["code"]), optimizer, Data("digits"), RESTORED, probes=(BesidePCA(),), **given)  # fmt: skip
    if net == "machine":
        return Training(partial(RBM, 9, 8), optimizer, BARS, LIKELY, probes=(States(),), **given)
    model, few = partial(Stack, t.arm, net, t["units"]), Data(t["images"], t["labels"], draw=t.seed)
    return Training(model, optimizer, Data(t["images"]), batch_size=50, stages=staged(t, few))


TOYS = {"linear": ("linear",), "codes": ("code_2", "code_4", "code_8"), "machine": ("machine",)}
ARMS = {
    "none": Arm({}), "supervised": Arm({}, label="greedy supervised"), "autoencoder": Arm({}), "denoising": Arm({}),
    "rbm": Arm({}, label="RBM"), "good": Arm({}, label="none, good initialisation"),
    "linear": Arm({}, held={"lr": 0.02}, label="linear autoencoder"), **{f"code_{n}": Arm({"code": n}, held={"lr": 3e-3}, label=f"{n} numbers") for n in (2, 4, 8)}, "machine": Arm({}, held={"lr": 0.1}, label="small RBM"),
}  # fmt: skip
SOME, DEEP = (
    ("none", "denoising"),
    ("none", "supervised", "autoencoder", "denoising", "rbm", "good"),
)
RELU, UNSUPERVISED = ("none", "autoencoder", "denoising"), ("autoencoder", "denoising", "rbm")
FEW, ALL = 100, 2500


def included(arm, cell) -> bool:
    net, labels = cell["net"], cell["labels"]
    if net in TOYS:
        return arm in TOYS[net] and labels == FEW
    return arm in (SOME if labels == 500 else DEEP if net == "sigmoid" else RELU)


METRICS = {
    **classification(),
    "train_error": Metric("%", better="low", worst=90.0, label="training error"), "test_error": Metric("%", better="low", worst=90.0), "angle": Metric("sine", log=True), "to_pca": Metric("ratio"), "off": Metric("probability", log=True),
    "to_pca_test": Metric("ratio", better="low", label="test error over that of PCA"),
    "likelihood": Metric("nats", better="high", label="log-likelihood"),
    **{name: Metric("pixels") for kind, n in (("filters", 16 * SIDE**2), ("digits", 48 * 48)) for name in names(kind, n)},
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, steps=20, pretraining=10, toy_steps=20, labels=(FEW,), net=("sigmoid", "machine", "linear", "codes")),
    "default": Budget(draws=5, seeds=6, most_seeds=24, futility=0.05, finalists=2, final_seeds=1, labels=(FEW, 500, ALL)),
    "paper": Budget(draws=8, seeds=10, finalists=3, units=1000, steps=20_000, pretraining=10_000, toy_steps=20_000, images="mnist", labels=(FEW, 500, 50_000)),
}  # fmt: skip

deep, few, relu, relu_few = (
    place(net=net, labels=n) for net in ("sigmoid", "relu") for n in (ALL, FEW)
)
linear, codes, machine = (place(net=net, labels=FEW) for net in TOYS)
REASON, NO_LONGER, TRAINED = "[SNU], “Renaissance – reason 1: unsupervised pre-training”", "[SNU], “Modern deep learning (2012 –)”", "[UIUC], “Pretraining”"  # fmt: skip
CLAIMS = {
    "rescue": Claim("Without pretraining four layers of sigmoids are not trained (accuracy below 50 %, with all labels); with it, by autoencoders, denoising ones or RBMs, they are more than 30 points better.",
        REASON, every(deep.below("test_accuracy", 0.5, arm="none"), everywhere(deep.higher("test_accuracy", arm="rbm", than="none", by=0.3), arm=UNSUPERVISED)), "accuracy"),
    "supervised-rescues": Claim("So they are by greedy supervised pretraining, by more than 30 points.",
        TRAINED, deep.higher("test_accuracy", arm="supervised", than="none", by=0.3), "accuracy", Published("test error 2.4 without, 2.0 greedy supervised (MNIST)", "from memory")),
    "supervised-is-weakest": Claim("With 100 labels greedy supervised pretraining is the weakest: autoencoders, denoising ones and RBMs are more accurate.",
        "[Bengio07], table 1 (against " + TRAINED + ", which names it first)", everywhere(few.higher("test_accuracy", arm="rbm", than="supervised"), arm=UNSUPERVISED), "accuracy", Published("test error 2.0 greedy supervised, 1.4 autoencoders, 1.2 DBN (MNIST)", "from memory")),
    "optimiser": Claim("It is a regulariser and no optimiser: with all labels the training loss of denoising pretraining is not lower than without any.",
        "[Erhan], abstract", deep.higher("train_loss", arm="denoising", than="none", by=-0.05), "training"),
    "good-start": Claim("A good initialisation does as well: without pretraining at most two points below the autoencoder's accuracy, with all labels.",
        "[Glorot10], section 4.2; [Sutskever], abstract (against " + REASON + ")", deep.higher("test_accuracy", arm="good", than="autoencoder", by=-0.02), "accuracy"),
    "relu-gain-vanishes": Claim("With ReLU and all labels pretraining no longer matters: by autoencoders and denoising ones it changes accuracy by less than two points.",
        NO_LONGER + " (“no longer widely used”); [Glorot11], section 4.1", everywhere(relu.equivalent("test_accuracy", arm="denoising", to="none", within=0.02), arm=("autoencoder", "denoising")), "accuracy"),
    "few-labels": Claim("With 100 labels it still helps ReLU: denoising pretraining on 2,500 images makes it more accurate.",
        "[Glorot11], section 4.1; [Erhan], section 8", relu_few.higher("test_accuracy", arm="denoising", than="none"), "accuracy"),
    "relu-beats-it": Claim("ReLU without pretraining is more accurate than pretrained sigmoids, with all labels.",
        NO_LONGER + " (“Training modern DNNs = ReLU + backprop”)", everywhere(relu.higher("test_accuracy", arm="none", than="rbm", against=dict(deep)), than=UNSUPERVISED), "accuracy"),
    "pca": Claim("A linear autoencoder spans the subspace of PCA: the sines of the angles between them, as one length, are below a thousandth (exact).",
        "[SNU], “Deep belief networks (DBNs): autoencoder” (nonlinear PCA); [Baldi], section 3", linear.below("angle", 1e-3, arm="linear")),
    "none-better": Claim("No linear one is better: its error is never below PCA's, to a hundred-thousandth (exact).",
        "[Baldi], section 3", linear.above("to_pca", 1 - 1e-5, arm="linear")),
    "deep-beats-pca": Claim("A deep autoencoder beats PCA with as many numbers, 2, 4 or 8: on test digits its error is below 0.8 of PCA's.",
        "[SNU], “Deep belief networks (DBNs): autoencoder”; [Hinton06], figure 2", everywhere(codes.below("to_pca_test", 0.8, arm="code_2"), arm=TOYS["codes"]), "codes", Published("3.00 against 13.87 (MNIST, 30 numbers)", "from memory", 0.216)),
    "sigmoid": Claim("The expected value of a hidden unit is a sigmoid of the visible ones: it is the sum over all states, to 1e-5 (exact).",
        "[SNU], “Deep belief networks (DBNs): RBM (cont'd)”", machine.below("off", 1e-5, arm="machine")),
    "divergence": Claim("Contrastive divergence, which follows another gradient, raises the likelihood all the same: to more than −4.5 nats, from −6.2 (its ceiling is −2.6).",
        "[SNU], “Training a DBN”; [Hinton02], section 4", machine.above("likelihood", -4.5, arm="machine"), "likelihood"),
}  # fmt: skip
FIGURES = (
    across("accuracy", "Test accuracy against the number of labels: left sigmoids, right ReLU.", "test_accuracy", "labels", panels="net", where={}, arms=DEEP),
    curves("training", "Validation accuracy while the networks are fine-tuned, with all labels (lines begin where layers have been pretrained).", "valid_accuracy", factor="net", where={"labels": ALL}, levels=("sigmoid", "relu"), arms=DEEP),
    pictures("filters", "What 16 units of the first layer see, after fine-tuning with 100 labels (seed 0): without pretraining noise, with it strokes.", "filters", shape=(4 * SIDE, 4 * SIDE), where=few, arms=DEEP),
    pictures("digits", "Six test digits, below them what PCA makes of them and what a deep autoencoder does, through 2, 4 and 8 numbers; and six more.", "digits", shape=(48, 48), where=codes, arms=TOYS["codes"], colours=False),
    intervals("codes", "Test error of a deep autoencoder over that of PCA with as many numbers.", "to_pca_test", where=codes, arms=TOYS["codes"]),
    curves("likelihood", "Exact log-likelihood of bars and stripes while a small RBM follows contrastive divergence.", "likelihood", where=machine, arms=TOYS["machine"]),
    sensitivity("sensitivity", "Validation accuracy of sigmoids against the rate of fine-tuning, with all labels: every draw of the tune phase.", "valid_accuracy", where=deep, arms=DEEP),
)  # fmt: skip

STUDY = Study(
    question="What does pretraining do for a deep network, and who still needs it?",
    trial=trial, arms=ARMS, include=included, select=("valid_accuracy", "valid_loss"),
    vary={"net": ("sigmoid", "relu", *TOYS), "labels": (FEW, 500, ALL, 50_000)},
    nuisance={"lr": Float(5e-3, 2.0, log=True)},
    fixed={"units": 64, "steps": 600, "pretraining": 200, "pretraining_lr": 1e-2, "toy_steps": 3000, "images": "mnist_5k"}, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    sources={
        "[Erhan]": "Erhan et al. 2010, Why does unsupervised pre-training help deep learning?",
        "[Bengio07]": "Bengio et al. 2007, Greedy layer-wise training of deep networks",
        "[Hinton06]": "Hinton & Salakhutdinov 2006, Reducing the dimensionality of data with neural networks",
        "[Hinton02]": "Hinton 2002, Training products of experts by minimizing contrastive divergence",
        "[Sutskever]": "Sutskever et al. 2013, On the importance of initialization and momentum in deep learning",
        "[Baldi]": "Baldi & Hornik 1989, Neural networks and principal component analysis",
    },
)  # fmt: skip
