"""Residual networks: why do deep plain networks fail, and what of a shortcut is it that helps?

Networks of 2 to 64 layers of 32 ReLU units on digits (8x8), between an input layer and a read-out, trained by
momentum 0.9 at a rate that falls along a cosine; the peak rate is tuned with the same draws for every arm
at every depth, two finalists are judged on three further seeds. A block is z → s·z + W relu(z), so that a
plain network (s = 0), an identity skip (s = 1) and a shortcut scaled by ½ are one program; a plain network
is the usual one. Plain layers and the branches of "identity skip" have He's initialisation, and no
normalisation. "Zeroed" starts with W = 0; so does the shortcut of ½, which differs from it in s alone,
and so do the branches of two layers (their last) and those whose ReLU comes after the addition, as on
ECNU's slide. Convolutional networks have 8 channels on 4x4 places.

How vague sentences were read. ECNU's "avoid the problem of vanishing gradients" and Oxford's "gradient vanish
issue in really deep neural networks" are about the norm of the gradient by what a layer puts out, first block
against last. "For building very deep networks": 64 layers fit the training set as well as 8, which plain ones do
not; it must be seen in training error, for worse test error alone would be overfitting. A lesion leaves one layer
or branch of a trained network out, on 256 test images; "lesion" is the mean over some 16 places.

Departures: digits, dense layers, no augmentation in place of CIFAR-10; the paper scale is 110 layers on MNIST.

Margins were fixed before any run. A plain ReLU network's squared gradient norm is log-normal over L layers of n
units, of variance 5L/n and mean −5L/2n (Hanin & Nica): at 64 layers of 32 the norm is a twelfth in the median;
the claim asks for a factor of four. After a first run, with three claims open, updates are 850 in place of 700
(64 residual layers were 0.8 points above 8), untrained networks are arms of their own, with more seeds, and a
block's growth is the mean of its factor, not of the logarithm (0.91). After a second convolutions have 425: they
took half its time, and 48 seeds (26 points). The trained gradient grows 22 times towards the first block. Bare
skips learned in pilots at no rate from 10⁻¹⁶ up.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from harness import Arm, Budget, By, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import place
from harness.figures import across, curves, custom, intervals, layers, panels, sensitivity
from harness.parts.probes import Backpropagated, Every
from harness.parts.probes.generalization import Errors
from harness.parts.schedules import Cosine
from harness.study import Published, classification


class Block(nn.Module):
    """shortcut · z + branch(z), after which there may be a ReLU; shapes stay."""

    def __init__(self, branch: nn.Module, shortcut: float, after: bool) -> None:
        super().__init__()
        self.branch, self.after = branch, after
        self.register_buffer("shortcut", torch.tensor(shortcut))

    def forward(self, z):
        out = self.shortcut * z + self.branch(z)
        return out.relu() if self.after else out


class Network(nn.Module):
    """(B, …) images to (B, 10) logits.

    Args:
        kind: "dense", of `width` units, or "conv", of `width` channels on 4x4 places.
        depth: Weighted layers in the blocks.
        around: How many of them a block has.
        shortcut: What z is multiplied by.
        zeroed: Whether the last layer of each branch starts as zero.
        norm: Whether what goes into a branch is batch-normalised.
        after: Whether the ReLU comes after the addition, in place of before the branch.
    """

    def __init__(
        self, kind: str, inputs: int, width: int, depth: int, around: int = 1, shortcut: float = 0.0,
        zeroed: bool = False, norm: bool = False, after: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        dense = kind == "dense"
        side = round(inputs**0.5)

        def layer():
            made = nn.Linear(width, width) if dense else nn.Conv2d(width, width, 3, padding=1)
            nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
            nn.init.zeros_(made.bias)
            return made

        def branch():
            parts: list[nn.Module] = [nn.BatchNorm1d(width)] if norm else []
            for number in range(around):
                parts += [*([] if after and not number else [nn.ReLU()]), layer()]
            if zeroed:
                nn.init.zeros_(parts[-1].weight)
            return nn.Sequential(*parts)

        first = nn.Linear(inputs, width) if dense else nn.Conv2d(1, width, 3, side // 4, 1)
        nn.init.kaiming_normal_(first.weight, nonlinearity="relu")
        shape = nn.Flatten() if dense else nn.Unflatten(1, (1, side, side))
        self.first = nn.Sequential(shape, first, *([nn.ReLU()] if after else []))
        self.blocks = nn.ModuleList(
            Block(branch(), shortcut, after) for _ in range(depth // around)
        )
        self.last = nn.Linear(width if dense else width * 16, 10)

    def forward(self, x):
        return self.read(self.through(self.first(x.flatten(1))))

    def through(self, z, begin: int = 0):
        """From what goes into a block to what leaves the last."""
        for block in list(self.blocks)[begin:]:
            z = block(z)
        return z

    def read(self, z):
        return self.last(z.relu().flatten(1))


@dataclass(frozen=True)
class Start:
    """What the blocks do to 256 training images: ``change``, the largest of it as a share of the largest
    that goes in, and ``growth``, log2 of what the mean square is multiplied by in a block, in the mean."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        x = pack.examples(256)[0]

        def start(net):
            passed = [net.first(x.flatten(1))]
            for block in net.blocks:
                passed.append(block(passed[-1]))
            squares = torch.stack([z.double().square().mean() for z in passed])
            change = (passed[-1] - passed[0]).abs().amax() / passed[0].abs().amax()
            return {"change": change, "growth": (squares[1:] / squares[:-1]).mean().log2().float()}

        return pack.ask(start)


@dataclass(frozen=True)
class Lesion:
    """Accuracy on 256 test images, in percent, without one layer, or one branch, at some 16 places evenly
    apart: ``left_1`` (without the first) onwards; and ``lesion``, what is lost, in points, in the mean."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        x, y = (part[:256] for part in pack.splits.test)

        def right(net, z):
            return 100 * (net.read(z).argmax(-1) == y).float().mean()

        def losses(net):
            z, left = net.first(x.flatten(1)), {}
            apart = max(1, len(net.blocks) // 16)
            for number, block in enumerate(net.blocks):
                if number % apart == 0:
                    left[f"left_{number + 1}"] = right(net, net.through(z, number + 1))
                z = block(z)
            return left | {"lesion": right(net, z) - torch.stack([*left.values()]).mean()}

        return pack.ask(losses)


def trial(t: Trial) -> Training:
    names = ("around", "shortcut", "zeroed", "norm", "after")
    shape = {name: t[name] for name in names if t.get(name) is not None}
    steps, started = t.get("updates", t["steps"]), (Every(4, Start()), Every(4, Backpropagated()))
    probes = () if t["kind"] == "conv" else started if t.get("updates") else (*started, Lesion())
    return Training(
        model=partial(Network, t["kind"], t["inputs"], t["width"] if t["kind"] == "dense" else 8,
                      t["depth"], **shape),
        optimizer=Optimizer("momentum", Cosine(), lr=t["lr"]),
        data=Data(t["data"]),
        steps=steps,
        every=steps // 4,
        batch_size=t["batch_size"],
        probes=(Errors(), *(probes if t.phase == "confirm" else ())),
    )  # fmt: skip


IDENTITY, ZEROED = {"shortcut": 1.0}, {"shortcut": 1.0, "zeroed": True}
ARMS = {
    "plain": Arm({}, label="plain"),
    "zeroed": Arm(ZEROED, label="skip, zeroed branch"),
    "skip": Arm(IDENTITY, label="identity skip"),
    "half": Arm({"shortcut": 0.5, "zeroed": True}, label="skip scaled by ½"),
    "two": Arm(ZEROED | {"around": 2}, label="skip around two"),
    "after": Arm(ZEROED | {"after": True}, label="ReLU after the sum"),
    "plain_norm": Arm({"norm": True}, label="plain, normalised"),
    "skip_norm": Arm(IDENTITY | {"norm": True}, label="skip, normalised"),
    "plain_start": Arm({"updates": 4}, held={"lr": 1e-30}, label="plain, untrained"),
    "skip_start": Arm(IDENTITY | {"updates": 4}, held={"lr": 1e-30}, label="identity skip, untrained"),
}  # fmt: skip
DEPTHS, DEEPEST = (2, 8, 32, 64), (16, 64, 110)  # of the smoke, default and paper scale


def included(arm, cell) -> bool:
    kind, depth = cell.values()
    if kind == "conv":
        return arm in ("plain", "zeroed") and depth in (8, 32)
    everywhere = ("plain", "zeroed", "plain_start", "skip_start")
    return arm in everywhere or depth in DEEPEST or (arm == "half" and depth == 8)


METRICS = {
    **classification(),
    "train_error": Metric("%", better="low", worst=90.0, label="training error"),
    "test_error": Metric("%", better="low", worst=90.0),
    "change": Metric("share", log=True, label="what the blocks change of what goes in"),
    "growth": Metric("factors of two", label="growth of the mean square in a block (factors of two)"),
    "signal_change": Metric("factors of two", label="change of the back-propagated gradient over the blocks"),
    "lesion": Metric("points", better="low", worst=90.0, label="accuracy lost with one block"),
    **{f"left_{n}": Metric("%", label="accuracy without the block (%)") for n in range(1, 111)},
    **{f"delta_norm_{n}": Metric("norm", log=True, label="back-propagated gradient") for n in range(1, 113)},
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, steps=8, depth=(8, 16)),
    "default": Budget(draws=By("kind", {"dense": 6, "conv": 4}), seeds=6, most_seeds=96, futility=0.05, finalists=2, depth=DEPTHS, steps=By("kind", {"dense": 850, "conv": 425})),
    "paper": Budget(
        draws=10, seeds=5, finalists=3, steps=20_000, batch_size=128, width=64, data="mnist", inputs=784,
        depth=(8, 32, 64, 110), kind=("dense",)),
}  # fmt: skip

at = place(kind="dense", depth=64)
eight, conv = {"depth": 8}, place(kind="conv", depth=32)
ECNU = "[ECNU], “Residual networks”"
OXFORD = "[Oxford], “Gradient vanish issue in really deep neural networks”"
CLAIMS = {
    "degradation": Claim("A plain network of 64 layers fits the training set worse than one of 8: its training error is more than five points higher.",
        "[He16], section 1 and figure 1",
        at.higher("train_error", arm="plain", than="plain", by=5.0, against=eight), "depth",
        Published("5.24 % with 56 layers against 1.23 % with 20 (CIFAR-10, a reproduction).", "quoted by someone else", 4.01)),
    "deep-residual": Claim("With a skip whose branches start as zero 64 layers fit as well as 8: the training error is at most one point higher.",
        ECNU + "; [He16], section 4.2",
        at.lower("train_error", arm="zeroed", than="zeroed", by=-1.0, against=eight), "depth",
        Published("0.18 % with 56 layers against 0.73 % with 20 (CIFAR-10, a reproduction).", "quoted by someone else", -0.55)),
    "rescue": Claim("At 64 layers it is more than ten points more accurate on test images than the plain network.",
        ECNU + "; " + OXFORD,
        at.higher("test_accuracy", arm="zeroed", than="plain", by=0.1), "accuracy"),
    "identity": Claim("With zeroed branches 64 blocks start as the identity (exact): they change nothing, below one part in a million.",
        "[Zhang], section 2", at.below("change", 1e-6, arm="zeroed", at="start"), "change"),
    "signal": Claim("So the gradient is passed back unchanged from the last block to the first (exact): by less than 0.001 factors of two at the start.",
        ECNU + "; " + OXFORD, at.below("signal_change", 0.001, arm="zeroed", at="start"), "signal"),
    "signal-plain": Claim("In the plain network of 64 layers, with He's initialisation, it changes by more than a factor of four.",
        ECNU + "; [Hanin], Theorem 3", at.above("signal_change", 2.0, arm="plain_start", at="start"), "signal"),
    "signal-trained": Claim("After training the residual network's gradient is still within a factor of ten (3.32 factors of two) from last block to first.",
        ECNU + "; " + OXFORD, at.below("signal_change", 3.32, arm="zeroed"), "signal-trained"),
    "doubles": Claim("Without zeros or normalisation an identity skip doubles the mean square at each block (exact in expectation): by more than 0.9 factors of two.",
        "[Zhang], section 2", at.above("growth", 0.9, arm="skip_start", at="start"), "growth"),
    "not-enough": Claim("A skip alone is not enough: at 64 layers it ends with a training error more than ten points above that with zeroed branches.",
        "[Zhang], section 2; counter-evidence to [ECNU], “Residual networks”",
        at.higher("train_error", arm="skip", than="zeroed", by=10.0), "errors"),
    "half-shrinks": Claim("A shortcut of ½ with zeroed branches makes the mean square a quarter at each block (exact: −2 factors of two): below −1.99.",
        "[He16b], equation 5", at.below("growth", -1.99, arm="half", at="start"), "growth"),
    "half-fails": Claim("And fails at depth: at 64 layers its training error is more than ten points above that of the identity.",
        "[He16b], section 3.1",
        at.higher("train_error", arm="half", than="zeroed", by=10.0), "errors",
        Published("Test error 12.35 % against 6.61 % (CIFAR-10, 110 layers).", "quoted by someone else", 5.74)),
    "lesion": Claim("Leaving out one block of 64 barely hurts a residual network: it costs less than five points of accuracy in the mean.",
        "[Veit], section 4.1", at.below("lesion", 5.0, arm="zeroed"), "lesion"),
    "lesion-plain": Claim("Leaving out one layer of a plain network of 8, which trains, does: more than 20 points.",
        "[Veit], section 4.1", at(depth=8).above("lesion", 20.0, arm="plain"), "lesion"),
    "two": Claim("A skip around two layers fits 64 layers as well as one around each: training errors are within one point.",
        OXFORD + " (“one or more layers”)",
        at.equivalent("train_error", arm="two", to="zeroed", within=1.0), "errors"),
    "after": Claim("So does ECNU's form, a ReLU after the sum: within one point.",
        ECNU + " (z = g(z + f(z))); [He16b], section 4.1 has it worse",
        at.equivalent("train_error", arm="after", to="zeroed", within=1.0), "errors"),
    "normalised": Claim("It is not only vanishing signals: normalised at every layer, 64 plain layers still end with a training error more than five points above that of residual ones.",
        "[He16], section 4.1",
        at.higher("train_error", arm="plain_norm", than="skip_norm", by=5.0), "errors"),
    "conv": Claim("Convolutional networks degrade alike: 32 plain layers have a training error more than five points above 8.",
        "[He16], section 4.2", conv.higher("train_error", arm="plain", than="plain", by=5.0, against=eight), "depth"),
    "conv-residual": Claim("And residual ones do not: at most one point.",
        "[He16], section 4.2", conv.lower("train_error", arm="zeroed", than="zeroed", by=-1.0, against=eight), "depth"),
}  # fmt: skip


def without(study, frame, palette):
    """Test accuracy against the block that is left out: mean, least and most of all seeds."""
    figure, axes = panels(2, columns=2, height=2.2)
    rows = frame[(frame["phase"] == "confirm") & (frame["kind"] == "dense")].groupby("trial").last()
    for ax, depth in zip(axes, (8, 64), strict=True):
        for arm in ("plain", "zeroed"):
            own = rows[(rows["arm"] == arm) & (rows["depth"] == depth)].filter(like="left_")
            own = own.dropna(axis=1).rename(columns=lambda name: int(name.removeprefix("left_")))
            ax.plot(own.mean(), "o-", ms=2.5, color=palette[arm], label=study.label(arm))
            ax.fill_between(own.columns, own.min(), own.max(), color=palette[arm], alpha=0.13, lw=0)
        ax.set(title=f"{depth} layers", xlabel="block", ylabel="test accuracy (%)", ylim=(-2, 102))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


TRAINED = tuple(arm for arm in ARMS if not arm.endswith("start"))
DENSE, UNTRAINED = {"kind": "dense"}, ("plain_start", "skip_start", "half", "zeroed")
FIGURES = (
    across("depth", "Training error against depth, each network at its tuned rate: mean and 95 % interval over seeds. Plain networks get worse on what they are trained on; residual ones do not.", "train_error", "depth", panels="kind", arms=("plain", "zeroed")),
    layers("signal", "Gradient by what each layer puts out, at the start of training and relative to the read-out's, in networks of 64 layers: with zeroed branches it is the same at every block, with a shortcut of ½ it halves, without zeros it doubles every second block, and in plain networks it wanders.", "delta_norm_", where=at, arms=UNTRAINED, relative=True),
    layers("signal-trained", "The same after training: in residual networks it grows from the last block to the first.", "delta_norm_", where=at, arms=("plain", "zeroed", "after"), at="end", relative=True),
    across("accuracy", "Test accuracy against depth.", "test_accuracy", "depth", panels="kind", arms=("plain", "zeroed")),
    intervals("errors", "Training error at 64 layers, each network at its tuned rate.", "train_error", where=at, arms=TRAINED),
    custom("left", "Test accuracy of trained networks without one block, by which it is: mean and range of seeds. A residual network of 64 layers misses none; a plain one of 8 cannot do without any (one of 64 learns little to begin with).", without),
    across("lesion", "Accuracy that one block less costs, in the mean over blocks, against depth; a plain network of 64 layers has little to lose.", "lesion", "depth", where=DENSE, arms=("plain", "zeroed")),
    across("change", "The largest change that the blocks make at the start, as a share of the largest that goes in: nothing with an identity skip whose branch starts as zero; a shortcut of ½ changes all.", "change", "depth", where=DENSE, arms=UNTRAINED, at="start"),
    across("growth", "How many times larger, in factors of two, a block makes the mean square at the start: twice with an identity skip, a quarter with one of ½.", "growth", "depth", where=DENSE, arms=UNTRAINED, at="start"),
    curves("training", "Training error through training.", "train_error", where=at, arms=TRAINED),
    sensitivity("sensitivity", "Validation accuracy at 64 layers against the peak rate: every draw of the tune phase.", "valid_accuracy", where=at),
)  # fmt: skip

STUDY = Study(
    question="Why do deep plain networks fail, and what of a shortcut helps?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"kind": ("dense", "conv"), "depth": (*DEPTHS, 16, 110)},
    include=included,
    nuisance={"lr": Float(3e-4, 0.3, log=True)},
    fixed={"steps": 850, "batch_size": 32, "width": 32, "inputs": 64, "data": "digits"},
    select=("valid_accuracy", "valid_loss"),
    sources={
        "[He16b]": "He et al. 2016, Identity mappings in deep residual networks",
        "[Veit]": "Veit, Wilber & Belongie 2016, Residual networks behave like ensembles of relatively shallow networks",
        "[Zhang]": "Zhang, Dauphin & Ma 2019, Fixup initialization: residual learning without normalization",
        "[Hanin]": "Hanin & Nica 2018, Products of many large random matrices and gradients in deep neural networks",
    },
)  # fmt: skip
