"""Transfer: when do layers, or unlabelled images, of elsewhere help where labels are few?

The target is to tell the digits 5 to 9 of scikit-learn's set apart with 5, 20 or 100 labels a class, by
three hidden layers of 64 ReLUs. Layers come from a network trained on images of MNIST made as small: the
same digits by other hands, other digits (0 to 4), or these with their pixels shuffled by one permutation,
which are the near and the far task. They are copied and fine-tuned, or the first one, two or three are
frozen and the rest begins anew; controls are the network from scratch, and random layers that are
frozen. Beside it MNIST's ten digits with 100 labels: dropout, pseudo-labels (Lee 2013) and consistency under
noise (Laine & Aila 2017) on 2,500 images without labels.

All are trained by Adam at a rate that falls along a cosine. Rate, and strength, are tuned with the same
draws in every cell, and by 100 validation images only: with more labels to choose by than to train on a
comparison says little (Oliver et al. 2018). A seed is a random part of the training images, the same for all
arms and part of the larger ones, and so many labels a class are so many on average.

How sentences were read: ECNU's "improve their performance further by studying labeled examples for
different tasks" is test accuracy from copied layers, fine-tuned, against from scratch; UIUC's slide is a
title and a picture. "Never worse" is read as at most one point, at any distance and number of labels.
Yosinski et al.'s general and specific layers are read off what freezing them costs.

Departures: digits in place of halves of ImageNet, dense layers in place of convolutions; in Lee's rows one network
of two hidden layers of 64 on 8x8 images in place of 5,000 units on 28x28, 2,500 unlabelled in place of 60,000. The
paper scale has more images and as many units as Lee's, of 8x8, too. Margins were fixed before any run; pilots of
six seeds chose source, updates and the range of rates, whose upper end a first run widened from 0.05, where it was
chosen for frozen layers; a second one, of up to 48 seeds, left open two claims whose effects are near their
margins, so that seeds now go to 96.

What runs showed: layers of the same digits gain some three points with 5 labels a class, too near to the margin of
two for a verdict: it stays open. Against the claims layers of other digits, even fine-tuned, cost some seven points
there, and frozen they are worth less than as many random ones, which are tied to no task. Freezing does not help
where labels are few, and even the first layer costs some four points. At this size neither dropout nor images
without labels gain two points.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from harness import Beside, Data, Float, Loss, Optimizer, Stage, Training
from harness.claims import every, everywhere, place
from harness.figures import across, custom, intervals, panels, sensitivity
from harness.parts.data import load
from harness.parts.draws import normal, progress
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy
from harness.parts.schedules import Cosine
from harness.study import Arm, Budget, Claim, Published, Study, Trial, classification

SIDE, NOISE = 8, 0.15  # of an image, in pixels; of the inputs whose answers are to agree
CLASSES = {"target": range(5, 10), "same": range(5, 10), "near": range(5), "far": range(5), "ten": range(10)}  # fmt: skip
SHUFFLED = np.random.default_rng(0).permutation(SIDE**2)


def images(name: str, task: str):
    """The splits of a task, (n, 64) each; 100 images validate, and what is left of them tests."""
    found, rest = [], ()
    for split in ("train", "valid", "test"):
        x, y = getattr(load(Data(name)), split)
        if name != "digits":  # the middle of 28x28, which is as large as scikit-learn's digits
            x = F.adaptive_avg_pool2d(x.view(-1, 1, 28, 28)[..., 4:24, 4:24], SIDE)
        own = torch.isin(y, torch.tensor(CLASSES[task]))
        x, y = x.reshape(len(x), -1)[own].numpy(), y[own].numpy() - CLASSES[task][0]
        x = x[:, SHUFFLED] if task == "far" else x
        if split == "valid":
            (x, y), rest = (x[:100], y[:100]), (x[100:], y[100:])
        if split == "test":
            x, y = np.concatenate([rest[0], x]), np.concatenate([rest[1], y])
        found.append((x, y))
    return tuple(found)


DATA = {"target": Data.of(partial(images, "digits", "target"), name="target")} | {
    (task, name): Data.of(partial(images, name, task), name=f"{task}_of_{name}")
    for task in ("same", "near", "far", "ten")
    for name in ("mnist_5k", "mnist")
}


def dropping(units: int, rate: float) -> nn.Module:
    """(B, 64) to (B, 10) logits."""
    layers: list[nn.Module] = []
    for n_in in (SIDE**2, units):
        layers += [nn.Linear(n_in, units), nn.ReLU(), *([nn.Dropout(rate)] if rate else [])]
    return nn.Sequential(*layers, nn.Linear(units, 10))


def ramp():
    """Lee's weight of what has no label: none at first, all of it from 60 % of training on."""
    return ((progress() - 0.1) / 0.5).clamp(0, 1)


def pseudo(net, x, y, more, _, most):
    said = net(more)
    own = F.cross_entropy(said, said.detach().argmax(1))
    return F.cross_entropy(net(x), y) + most * ramp() * own


def consistent(net, x, y, more, _, most):
    one, other = (net(more + NOISE * normal(*more.shape)).softmax(1) for _ in range(2))
    apart = (one - other.detach()).square().sum(1).mean()
    return F.cross_entropy(net(x), y) + most * ramp() * apart


UNLABELLED = {"pseudo": pseudo, "consistency": consistent}


def trial(t: Trial) -> Training:
    arm, source, rule = t.arm, t["source"], Optimizer("adam", Cosine(), lr=t["lr"])
    common = {"optimizer": rule, "batch_size": t["batch_size"]}
    if source == "unlabelled":
        data = DATA["ten", t["data"]]
        objective, beside = CrossEntropy(), None
        if arm in UNLABELLED:
            objective = Loss(UNLABELLED[arm], CrossEntropy(), {"most": t["most"]})
            beside = Beside(data, 2 * t["batch_size"])
        return Training(
            partial(dropping, t["units"], 0.0 if arm == "plain" else 0.5),
            data=replace(data, train=10 * t["labels"], draw=t.seed), objective=objective, beside=beside,
            steps=t["semi_steps"], every=t["semi_steps"], **common,
        )  # fmt: skip
    frozen = int(arm[-1]) if arm[:-1] in ("frozen_", "random_") else 0
    kept = 3 if arm == "copy" else frozen if source != "none" else 4
    names = [f"layers.{2 * layer}.*" for layer in range(4)]
    after = Stage(
        steps=t["steps"], every=t["steps"], trains=tuple(names[frozen:]), reset=tuple(names[kept:]),
        data=replace(DATA["target"], train=5 * t["labels"], draw=t.seed),
    )  # fmt: skip
    before = ()
    if source != "none":
        first = Optimizer("adam", Cosine(), lr=3e-3)
        before = (Stage(steps=t["source_steps"], every=t["source_steps"], batch_size=50, data=DATA[source, t["data"]], optimizer=first),)  # fmt: skip
    return Training(
        partial(MLP, (SIDE**2, *3 * [t["units"]], 5)), data=DATA["target"], stages=(*before, after), **common
    )  # fmt: skip


MOST = Float(0.1, 10.0, log=True)
ARMS = {
    "scratch": Arm({}, label="from scratch"),
    "copy": Arm({}, label="copied, fine-tuned"),
    **{f"frozen_{n}": Arm({}, label=f"{n} copied, frozen") for n in (1, 2, 3)},
    **{f"random_{n}": Arm({}, label=f"{n} random, frozen") for n in (1, 2, 3)},
    "plain": Arm({}, label="100 labels alone"),
    "dropout": Arm({}),
    "pseudo": Arm({}, nuisance={"most": MOST}, label="dropout, pseudo-labels"),
    "consistency": Arm({}, nuisance={"most": MOST}, label="dropout, consistency"),
}  # fmt: skip
SOURCES, FROZEN, RANDOM = ("same", "near", "far"), ("frozen_1", "frozen_2", "frozen_3"), ("random_1", "random_2", "random_3")  # fmt: skip


def included(arm, cell) -> bool:
    source, labels = cell["source"], cell["labels"]
    if source == "unlabelled":
        return labels == 10 and arm in ("plain", "dropout", *UNLABELLED)
    if source == "none":
        return labels != 10 and (arm == "scratch" or (arm in RANDOM and labels == 20))
    return labels != 10 and (arm == "copy" or (arm in FROZEN and labels == 20) or (arm, source) == ("frozen_3", "same"))  # fmt: skip


BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, steps=20, source_steps=20, semi_steps=20, units=32, labels=(5, 10, 20)),
    "default": Budget(draws=8, seeds=12, most_seeds=96, futility=0.05, finalists=2, final_seeds=2),
    "paper": Budget(draws=8, seeds=20, finalists=3, source_steps=20_000, semi_steps=20_000, units=5000, data="mnist"),
}  # fmt: skip

same, near, far = (place(source=source, labels=20) for source in SOURCES)
none, semi = place(source="none", labels=20), place(source="unlabelled", labels=10)
ECNU, UIUC = "[ECNU], “Beyond supervised learning”", "[UIUC], “Pretraining”"
NONE = {"source": "none"}
CLAIMS = {
    "transfers": Claim("Layers of a network that tells the same digits by other hands apart help: with 5 labels a class, copied and fine-tuned, they raise test accuracy by more than two points.",
        f"{ECNU}; {UIUC}; [SNU], “Classification: VGGNet”",
        same(labels=5).higher("test_accuracy", arm="copy", than="scratch", by=0.02, against=NONE), "layers"),
    "other-digits": Claim("So do layers of a network that tells other digits apart.",
        ECNU + " (“different tasks”)",
        near(labels=5).higher("test_accuracy", arm="copy", than="scratch", by=0.02, against=NONE), "layers"),
    "shrinks": Claim("The gain shrinks as labels grow: with 100 a class they are within one point of a network from scratch.",
        ECNU + " (labels are scarce)",
        same(labels=100).equivalent("test_accuracy", arm="copy", to="scratch", within=0.01, against=NONE), "layers"),
    "never-worse": Claim("Fine-tuning is never worse than from scratch: by at most one point, from any source and with any number of labels.",
        "[Yosinski], section 4.1 (fine-tuned layers do better, from both)",
        everywhere(same.higher("test_accuracy", arm="copy", than="scratch", by=-0.01, against=NONE), source=SOURCES, labels=(5, 20, 100)), "layers",
        Published("fine-tuned 63.6 to 64.7 % against 62.5 (ImageNet, halves)", "read in the paper", 0.011)),
    "first-is-general": Claim("The first layer is general: of other digits, frozen, it costs at most two points.",
        "[Yosinski], section 4.1",
        near.higher("test_accuracy", arm="frozen_1", than="scratch", by=-0.02, against=NONE), "layers",
        Published("62.8 % against 62.5 (ImageNet, halves)", "read in the paper", 0.003)),
    "specific": Claim("Later layers are specific: of other digits each further one that is frozen costs more than three points.",
        "[Yosinski], section 4.1",
        every(near.lower("test_accuracy", arm="frozen_2", than="frozen_1", by=0.03), near.lower("test_accuracy", arm="frozen_3", than="frozen_2", by=0.03)), "layers"),
    "top-hurts": Claim("All three layers of the far task, frozen, cost more than ten points.",
        "[Yosinski], section 4.2 (dissimilar tasks)",
        far.lower("test_accuracy", arm="frozen_3", than="scratch", by=0.1, against=NONE), "layers",
        Published("29.1 % against 53.7, 39.9 against 65.3 (all seven layers, man-made and natural)", "read in the paper", -0.25)),
    "distance": Claim("The further the task, the less its layers are worth: three frozen of the same digits beat those of others, and these the shuffled ones, by more than five points.",
        "[Yosinski], section 4.2",
        every(same.higher("test_accuracy", arm="frozen_3", than="frozen_3", by=0.05, against={"source": "near"}), near.higher("test_accuracy", arm="frozen_3", than="frozen_3", by=0.05, against={"source": "far"})), "layers"),
    "beats-random": Claim("They are worth something: three frozen layers of other digits beat three random ones by more than five points.",
        "[Yosinski], section 4.3; [Jarrett]",
        near.higher("test_accuracy", arm="frozen_3", than="random_3", by=0.05, against=NONE), "layers"),
    "far-is-random": Claim("Those of the far task are worth no more than random ones: at most two points.",
        "counter-evidence to [Yosinski], section 4.3 (distant features beat random ones)",
        far.lower("test_accuracy", arm="frozen_3", than="random_3", by=-0.02, against=NONE), "layers"),
    "random-falls": Claim("Random layers do worse the more there are: three cost more than ten points more than one.",
        "[Yosinski], section 4.3 (against [Jarrett])",
        none.lower("test_accuracy", arm="random_3", than="random_1", by=0.1), "layers",
        Published("one 49.2 %, two 40.3, three near chance (base 57.6)", "read in the paper", -0.49)),
    "freeze-if-few": Claim("Where labels are few, freezing guards against overfitting: with 5 a class three frozen layers of the same digits are at most one point less accurate than fine-tuned ones.",
        "[Yosinski], section 1",
        same(labels=5).higher("test_accuracy", arm="frozen_3", than="copy", by=-0.01), "freezing"),
    "tune-if-many": Claim("Where they are many, fine-tuning is better: with 100 a class by more than two points.",
        "[Yosinski], section 1",
        same(labels=100).higher("test_accuracy", arm="copy", than="frozen_3", by=0.02), "freezing"),
    "dropout": Claim("With 100 labels alone, dropout raises test accuracy by more than two points.",
        "[Lee], table 1", semi.higher("test_accuracy", arm="dropout", than="plain", by=0.02), "semi",
        Published("78.1 % against 74.2 (MNIST)", "from memory", 0.039)),
    "pseudo-labels": Claim("Pseudo-labels of images without labels raise it by more than two points further.",
        "[Lee], table 1; " + ECNU + " (semi-supervised)", semi.higher("test_accuracy", arm="pseudo", than="dropout", by=0.02), "semi",
        Published("83.9 % against 78.1 (MNIST)", "from memory", 0.057)),
    "consistency": Claim("So does agreement of two answers under noise.",
        "[Laine], section 2.1; " + ECNU + " (semi-supervised)", semi.higher("test_accuracy", arm="consistency", than="dropout", by=0.02), "semi"),
}  # fmt: skip


def tasks(study, frame, palette):
    """Eight images of the target and of each source."""
    drawn = (("target", DATA["target"]), *((s, DATA[s, "mnist_5k"]) for s in SOURCES))
    titles = (
        "target: digits 5 to 9",
        "same digits, other hands",
        "near: other digits",
        "far: shuffled",
    )
    figure, axes = panels(4, columns=4, height=1.1, legend=0.0)
    for ax, (_, data), title in zip(axes, drawn, titles, strict=True):
        tiles = load(data).train[0][:8].view(2, 4, SIDE, SIDE).transpose(1, 2)
        ax.imshow(tiles.reshape(2 * SIDE, 4 * SIDE).numpy(), cmap="gray_r")
        ax.set(title=title, xticks=[], yticks=[])
    return figure


def layers(study, frame, palette):
    """Test accuracy by labels of fine-tuned copies, and by how many layers are frozen."""
    figure, axes = panels(2, columns=2, height=2.6)
    rows = frame[frame["phase"] == "confirm"].groupby("trial").last()
    colours = dict(zip((*SOURCES, "none"), palette.values(), strict=False))
    words = {
        "same": "same digits",
        "near": "other digits",
        "far": "shuffled",
        "none": "random, or from scratch",
    }

    def drawn(ax, source, places):
        own = [rows[(rows["arm"] == arm) & (rows["source"] == of) & (rows["labels"] == labels)] for arm, of, labels in places]  # fmt: skip
        level = [100 * one["test_accuracy"] for one in own]
        error = [2 * one.std() / max(1, len(one)) ** 0.5 for one in level]
        ax.errorbar(range(len(own)), [one.mean() for one in level], error, fmt="o-", ms=4, lw=1.4,
                    capsize=2, color=colours[source], label=words[source])  # fmt: skip

    for source, arms in (*((source, FROZEN) for source in SOURCES), ("none", RANDOM)):
        copied = "scratch" if source == "none" else "copy"
        drawn(axes[0], source, [(copied, source, labels) for labels in (5, 20, 100)])
        drawn(axes[1], source, [("scratch", "none", 20), *((arm, source, 20) for arm in arms)])
    axes[0].set(title="all layers fine-tuned", xlabel="labels a class", ylabel="test accuracy (%)")
    axes[0].set_xticks(range(3), ["5", "20", "100"])
    axes[1].set(title="20 labels, first layers frozen", xlabel="layers frozen (0: from scratch)")
    axes[1].set_xticks(range(4))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


FIGURES = (
    custom("tasks", "Images of the target and of the three sources, 8x8.", tasks),
    custom("layers", "Test accuracy with layers of each source: left all fine-tuned, where random ones are a network from scratch, by labels a class; right the first ones frozen. Mean and two standard errors. What a frozen layer is worth falls with its height and with the distance of its task.", layers),
    across("freezing", "Layers of the same digits: three frozen, or fine-tuned.", "test_accuracy", "labels", levels=(5, 20, 100), arms=("copy", "frozen_3"), where={"source": "same"}),
    intervals("semi", "MNIST at 8x8 with 100 labels: test accuracy without and with 2,500 images that have none.", "test_accuracy", where=semi),
    sensitivity("rates", "Validation accuracy with 20 labels a class against the rate: every draw of the tune phase.", "valid_accuracy", where=near, arms=("copy", *FROZEN)),
)  # fmt: skip

STUDY = Study(
    question="When do layers, or unlabelled images, of elsewhere help where labels are few?",
    trial=trial,
    arms=ARMS,
    vary={"source": ("none", *SOURCES, "unlabelled"), "labels": (5, 10, 20, 100)},
    include=included,
    nuisance={"lr": Float(1e-3, 0.2, log=True)},
    fixed={"steps": 200, "source_steps": 500, "semi_steps": 600, "batch_size": 25, "units": 64, "data": "mnist_5k"},
    select=("valid_accuracy", "valid_loss"),
    metrics=classification(),
    budgets=BUDGETS,
    sources={
        "[Yosinski]": "Yosinski et al. 2014, How transferable are features in deep neural networks?",
        "[Jarrett]": "Jarrett et al. 2009, What is the best multi-stage architecture for object recognition?",
        "[Lee]": "Lee 2013, Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks",
        "[Laine]": "Laine & Aila 2017, Temporal ensembling for semi-supervised learning",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
