"""Imbalance: what helps a class that is rare, and what does it cost?

One class is 10, 30 or 100 times rarer than the other. Six arms: nothing; the common class cut down to the size of
the rare one; the rare one copied up to the size of the common one; SMOTE, by imbalanced-learn; class weights; and
nothing, but a threshold that is moved from ½ to the rare class's share. Each seed draws its own training set, the same
for all arms; test splits are never resampled, and calibration is read where classes are as rare as in training.

On two Gaussians, N(±1, 1) on the first of two axes, the logit of the posterior is 2x − ln r; 300 rare examples stand
beside 300 r common ones, and logistic regression is fitted until it is done. On images of 14x14 pixels the rare class is the digit 8, 1,000/r of them beside 1,000 others; a network of 64
ReLUs is trained by momentum 0.9 for as many updates in every arm, at a rate that is tuned with the same draws
for all, by the area under the ROC curve (AUROC), which knows no threshold.

How sentences were read: Overview's "never examines categories with very few samples adequately" as recall of the
rare class at threshold ½; its remedies, of which it does not say what they are for, as balanced accuracy, the mean of both
classes' recall, at ½. That they also rank better, or that their probabilities can be used, it does not say, and others
deny. Exact: copying a class r times, or weighting it by r, moves the intercept of a well-specified logistic regression by
ln r, and nothing else, for large samples; so copies and a moved threshold are the same classifier.

Departures: one digit against the rest in place of the papers' many classes; images of a quarter of the pixels.
Margins were fixed before any run; after the first, the range of rates was widened, as its ends were chosen. What is
refuted on images at the default scale: at ratio 30 undersampling raises balanced accuracy by 0.3 points and copies by
one (at 100 all by ten); copies, SMOTE and weights overestimate the rare class sixfold at 100, but at 10 by a tenth,
for the network fits either training set wholly; and SMOTE is no better than copies. At the paper scale, with 10,000/r
rare images, these three are refuted, too (at 30 undersampling gains 1.1 points, at 100 remedies three to five; copies
and SMOTE overestimate nothing at 100), and two more: AUROC at 100 is 1.3 points below that at 10, not two, and
undersampling overestimates 1.3 times at 10, not one and a half.
"""

import functools
import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import qmc
from torch import nn
from torch.nn import functional as F

from harness import Arm, Budget, By, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, everywhere, place
from harness.figures import across, custom, panels, sensitivity
from harness.parts.data import load
from harness.parts.draws import uniform
from harness.parts.schedules import Cosine
from harness.study import Published

RARE, SIDE = 8, 14  # the rare digit; pixels a side
MEAN = torch.tensor([1.0, 0.0])  # of the rare class, on two Gaussians; the other's is −1


@functools.cache
def classes(task: str, data: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples (n, F) of the common class and of the rare one; of Gaussians points that lie evenly."""
    if task == "gaussians":
        z = torch.from_numpy(qmc.MultivariateNormalQMC([0, 0], rng=0).random(1024)).float()
        return z - MEAN, z + MEAN
    x, y = getattr(load(Data(data)), split)
    x = F.avg_pool2d(x.unsqueeze(1), 28 // SIDE).flatten(1)
    return x[y != RARE], x[y == RARE]


def sampled(task: str, data: str, common: int, rare: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A training set of so many examples of the two classes."""
    if task == "gaussians":
        return torch.randn(common, 2) - MEAN, torch.randn(rare, 2) + MEAN
    both = zip(classes(task, data, "train"), (common, rare), strict=True)
    return tuple(x[torch.randperm(len(x))[:n]] for x, n in both)


def resampled(common, rare, how: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a remedy makes of a training set."""
    if how == "under":
        return common[torch.randperm(len(common))[: len(rare)]], rare
    if how == "over":
        return common, rare[torch.arange(len(common)) % len(rare)]
    if how == "smote":
        from imblearn.over_sampling import SMOTE  # takes seconds

        y = np.repeat([0, 1], [len(common), len(rare)])
        maker = SMOTE(random_state=int(torch.randint(1 << 31, ())))
        x, y = maker.fit_resample(torch.cat([common, rare]).numpy(), y)
        return common, torch.from_numpy(x[y == 1])
    return common, rare


class Rare(nn.Module):
    """() loss of a network on a training set of its own, of which each update reads a batch, or all
    (0); there are `rare` examples of the rare class, and `ratio` times as many of the other."""

    def __init__(
        self, task: str, data: str, remedy: str, ratio: int, rare: int, batch: int, units: int
    ) -> None:
        super().__init__()
        layers = nn.Linear(SIDE**2, units), nn.ReLU(), nn.Linear(units, 1)
        self.net = nn.Sequential(*layers) if task == "images" else nn.Linear(2, 1)
        parts = resampled(*sampled(task, data, ratio * rare, rare), remedy)
        counts = torch.tensor([len(part) for part in parts])
        y = torch.tensor([0, 1]).repeat_interleave(counts)
        weights = len(y) / (2 * counts) if remedy == "weights" else torch.ones(2)
        cut = -math.log(ratio) if remedy == "threshold" else 0.0
        for name, value in (("x", torch.cat(parts)), ("y", y.float()), ("weight", weights[y])):
            self.register_buffer(name, value)
        self.register_buffer("cut", torch.tensor(cut))
        self.batch = batch

    def forward(self):
        x, y, weight = self.x, self.y, self.weight
        if self.batch:
            chosen = (uniform(self.batch) * len(y)).long()
            x, y, weight = x[chosen], y[chosen], weight[chosen]
        logits = self.net(x).squeeze(-1)
        return (weight * (F.softplus(logits) - y * logits)).mean()


@dataclass(frozen=True)
class Judged:
    """How the classes of a split are told apart, where the rare one is as rare as in training; of the line on Gaussians
    its slope over the posterior's, its intercept, how far that is over `known` in units of ln r, and recall less the posterior's."""

    task: str
    data: str
    ratio: int
    split: str
    known: float  # the intercept, in large samples
    at_end: ClassVar[bool] = True

    def read(self, pack):
        both, log = classes(self.task, self.data, self.split), math.log(self.ratio)
        both = [part.to(pack.loss.device) for part in both]

        def of(net):
            common, rare = (net.net(x).squeeze(-1) for x in both)
            recall, kept = (rare > net.cut).float().mean(), (common <= net.cut).float().mean()

            def share(by):  # predicted of the rare class, over the true one
                return self.ratio * (common - by).sigmoid().mean() + (rare - by).sigmoid().mean()

            return {
                "auroc": (rare.unsqueeze(1) > common).float().mean(), "recall": recall,
                "balanced_accuracy": (recall + kept) / 2, "overestimate": share(0), "corrected": share(log),
            }  # fmt: skip

        found = {f"{self.split}_{name}": value for name, value in pack.ask(of).items()}
        if self.task == "gaussians":
            slope, intercept = pack.params["net.weight"][:, 0, 0] / 2, pack.params["net.bias"][:, 0]
            exact = 0.5 * (1 + math.erf((1 - log / 2) / math.sqrt(2)))
            found[f"{self.split}_recall_off"] = found[f"{self.split}_recall"] - exact
            found |= {"slope": slope, "intercept": intercept, "off": (intercept - self.known) / log}
        return found


def trial(t: Trial) -> Training:
    task, ratio, data, toy = t["task"], t["ratio"], t["data"], t["task"] == "gaussians"
    rare, batch = (t["rare"], 0) if toy else (t["common"] // ratio, t["batch_size"])
    known = 0.0 if t.arm in REMEDIES or not toy else -math.log(ratio)
    momentum = Optimizer("momentum", Cosine(), lr=t["lr"])
    splits = ("valid", "test") if t.phase == "confirm" else ("valid",)
    return Training(
        model=partial(Rare, task, data, t.arm, ratio, rare, batch, t["units"]),
        optimizer=Optimizer("lbfgs", tries=10) if toy else momentum,
        steps=t["fits"] if toy else t["steps"],
        probes=tuple(Judged(task, data, ratio, split, known) for split in splits),
    )


ARMS = {
    "none": Arm({}, label="nothing"), "under": Arm({}, label="undersampling"),
    "over": Arm({}, label="copies"), "smote": Arm({}, label="SMOTE"),
    "weights": Arm({}, label="class weights"), "threshold": Arm({}, label="moved threshold"),
}  # fmt: skip
REMEDIES, RATIOS = ("under", "over", "smote", "weights"), (10, 30, 100)

SHARE = {"unit": "fraction", "better": "high", "worst": 0.0}
METRICS = {
    "valid_auroc": Metric(**SHARE, label="validation AUROC"),
    "test_auroc": Metric(**SHARE, label="AUROC"),
    "test_balanced_accuracy": Metric(**SHARE, label="balanced accuracy"),
    "test_recall": Metric(**SHARE, label="recall of the rare class"),
    "test_recall_off": Metric("fraction", label="recall less that of the posterior"),
    "test_overestimate": Metric("ratio", log=True, label="predicted over true share"),
    "test_corrected": Metric("ratio", log=True, label="the same, ln r taken from logits"),
    "slope": Metric("ratio", label="slope over the posterior's"), "intercept": Metric("nats"),
    "off": Metric("ln r", label="intercept less what it is in large samples"),
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=By("task", {"gaussians": 1, "images": 2}), seeds=2, steps=20, ratio=(10, 100)),
    "default": Budget(draws=By("task", {"gaussians": 1, "images": 8}), seeds=16, most_seeds=64, futility=0.05, finalists=3),
    "paper": Budget(draws=By("task", {"gaussians": 1, "images": 12}), seeds=20, most_seeds=80, finalists=3, steps=3000, rare=3000, common=10_000, units=256, data="mnist"),
}  # fmt: skip

flat, pixels = place(task="gaussians"), place(task="images")
ONE, TWO = "[Overview], “Data Imbalance (1)”", "[Overview], “Data Imbalance (2)”"
GOOR = "[Goorbergh], abstract"


def at_ratios(check, **over):
    """The check at every ratio."""
    return everywhere(check, ratio=RATIOS, **over)


def between(metric, low, high, arm):
    """A metric on Gaussians lies between two values at every ratio."""
    low, high = flat.above(metric, low, arm=arm, ratio=10), flat.below(metric, high, arm=arm, ratio=10)  # fmt: skip
    return every(at_ratios(low), at_ratios(high))


CLAIMS = {
    "hurts": Claim("Imbalance hurts: from ratio 10 to ratio 100 recall of the rare class at ½ falls by more than 20 points, on Gaussians and on images.",
        ONE, everywhere(place(ratio=100).lower("test_recall", arm="none", than="none", by=0.2, against={"ratio": 10}), task=("gaussians", "images")), "recall"),
    "recall-exact": Claim("On Gaussians it is what the posterior's is, Φ(1 − ½ ln r), to three points: there is nothing wrong with what was learnt.",
        ONE + " (exact; against “never examines”)", between("test_recall_off", -0.03, 0.03, "none"), "recall"),
    "ranking": Claim("With as many rare examples, imbalance does not hurt the ranking: on Gaussians AUROC at 100 is within half a point of that at 10.",
        GOOR, flat.equivalent("test_auroc", arm="none", to="none", within=0.005, ratio=100, against={"ratio": 10}), "auroc"),
    "few": Claim("With fewer rare examples it does: on images AUROC at 100 is more than two points lower than at 10.",
        ONE + " (“few observation objects may not be representative”)", pixels.lower("test_auroc", arm="none", than="none", by=0.02, ratio=100, against={"ratio": 10}), "auroc"),
    "remedies": Claim("On Gaussians every remedy raises balanced accuracy at ½ by more than ten points, at every ratio.",
        TWO, at_ratios(flat.higher("test_balanced_accuracy", arm="under", than="none", by=0.1, ratio=10), arm=REMEDIES), "balanced"),
    "remedies-images": Claim("On images, too, by more than two points at 30 and at 100.",
        TWO + "; [Buda], abstract", everywhere(pixels.higher("test_balanced_accuracy", arm="under", than="none", by=0.02, ratio=30), ratio=(30, 100), arm=REMEDIES), "balanced"),
    "auroc": Claim("On Gaussians none of them raises AUROC by more than half a point.",
        GOOR, at_ratios(flat.higher("test_auroc", arm="none", than="under", by=-0.005, ratio=10), than=REMEDIES), "auroc", Published("no better AUROC (logistic regression)", "read in the paper")),
    "auroc-images": Claim("Nor on images, by more than one point.",
        "[Carriero], abstract; against [Buda], abstract (oversampling is best in AUROC)", at_ratios(pixels.higher("test_auroc", arm="none", than="under", by=-0.01, ratio=10), than=REMEDIES), "auroc"),
    "threshold": Claim("Moving the threshold does as well: on Gaussians its balanced accuracy is within one point of every remedy's.",
        GOOR + " (counter-evidence to " + TWO + ")", at_ratios(flat.equivalent("test_balanced_accuracy", arm="threshold", to="under", within=0.01, ratio=10), than=REMEDIES), "balanced"),
    "threshold-images": Claim("On images it is at most two points below any of them.",
        "[Carriero], abstract (counter-evidence to " + TWO + ")", at_ratios(pixels.higher("test_balanced_accuracy", arm="threshold", than="under", by=-0.02, ratio=10), than=REMEDIES), "balanced"),
    "miscalibrated": Claim("Resampling and weights ruin calibration: on Gaussians they predict the rare class at least twice as often as it is; nothing done is within ten percent.",
        GOOR, every(at_ratios(flat.above("test_overestimate", 2.0, arm="under", ratio=10), arm=REMEDIES), between("test_overestimate", 0.9, 1.1, "none")), "posterior"),
    "under-miscalibrated": Claim("On images, too, undersampling predicts it at least one and a half times as often, at every ratio.",
        "[Carriero], abstract", at_ratios(pixels.above("test_overestimate", 1.5, arm="under", ratio=10)), "overestimate"),
    "over-miscalibrated": Claim("So do copies, SMOTE and weights.",
        "[Carriero], abstract", at_ratios(pixels.above("test_overestimate", 1.5, arm="over", ratio=10), arm=("over", "smote", "weights")), "overestimate"),
    "intercept": Claim("Copying the rare class r times moves the intercept by ln r, to five percent, on Gaussians at every ratio.",
        TWO + ", Random oversampling (exact, for large samples)", at_ratios(flat.equivalent("off", arm="over", to="none", within=0.05, ratio=10)), "posterior"),
    "slope": Claim("And nothing else: slopes stay within five percent.",
        TWO + ", Random oversampling (exact, for large samples)", at_ratios(flat.equivalent("slope", arm="over", to="none", within=0.05, ratio=10)), "posterior"),
    "weights-are-copies": Claim("Weights are copies: on Gaussians both have the same intercept, to 0.01.",
        TWO + ", Random oversampling (exact)", at_ratios(flat.equivalent("intercept", arm="weights", to="over", within=0.01, ratio=10)), "posterior"),
    "weights-slope": Claim("And the same slope.",
        TWO + ", Random oversampling (exact)", at_ratios(flat.equivalent("slope", arm="weights", to="over", within=0.01, ratio=10)), "posterior"),
    "corrected": Claim("Taking ln r from the logit mends it: with copies the predicted share is then within ten percent.",
        "[Elkan], section 3 (exact)", between("test_corrected", 0.9, 1.1, "over"), "posterior"),
    "under-wastes": Claim("Undersampling throws away what it could learn: on images at 100 its AUROC is more than two points below that of nothing done.",
        "[Buda], abstract (oversampling is better almost everywhere)", pixels.lower("test_auroc", arm="under", than="none", by=0.02, ratio=100), "auroc"),
    "smote": Claim("SMOTE is better than copies: on images at 100 its balanced accuracy at ½ is more than two points higher.",
        "[Chawla], section 4; " + TWO + ", Synthetic Minority Oversampling Technique", pixels.higher("test_balanced_accuracy", arm="smote", than="over", by=0.02, ratio=100), "balanced"),
}  # fmt: skip


def made(study, frame, palette):
    """What remedies make of two Gaussians, and where classes are then parted."""
    figure, axes = panels(4, columns=4, height=2.0, legend=0.3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = sampled("gaussians", "", 600, 20)
        drawn = {how: resampled(*parts, how) for how in ("none", *REMEDIES[:3])}
    for ax, (arm, (common, rare)) in zip(axes, drawn.items(), strict=True):
        line = lines(frame, 30).loc[arm]
        ax.plot(*common.T.numpy(), ".", ms=2, mew=0, color="0.65")
        ax.plot(*rare.T.numpy(), ".", ms=7 if arm == "over" else 3.5, mew=0, color=palette["over"])
        ax.axvline(-line["intercept"] / 2 / line["slope"], color="k", lw=1.4, label="parted at ½")
        ax.axvline(0, color="k", ls=":", lw=1.1, label="best for balanced accuracy")
        ax.set(title=study.label(arm), xlim=(-4, 4), ylim=(-3.5, 3.5), xticks=[], yticks=[])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def eights(study, frame, palette):
    """Ten images of the rare digit, and ten that SMOTE makes of them."""
    figure, (ax,) = panels(1, height=1.4, legend=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rare = resampled(*sampled("images", study.fixed["data"], 40, 10), "smote")[1]
    sheet = rare[:20].view(2, 10, SIDE, SIDE).transpose(1, 2).reshape(2 * SIDE, -1)
    ax.imshow(sheet.numpy(), cmap="Greys", vmin=0, vmax=1)
    ax.axis("off")
    return figure


def lines(frame, ratio):
    """The mean line of each arm on the Gaussians."""
    rows = frame.query("phase == 'confirm' and task == 'gaussians' and ratio == @ratio")
    return rows.groupby("arm")[["slope", "intercept"]].mean().reindex(list(ARMS))


def posterior(study, frame, palette):
    """What logistic regression says against what is so, by arm and ratio."""
    figure, axes = panels(3, columns=3, height=2.1)
    logit = np.linspace(-8, 4, 200)
    for ax, ratio in zip(axes, RATIOS, strict=True):
        for arm in ("none", *REMEDIES):
            line = lines(frame, ratio).loc[arm]
            said = line["slope"] * (logit + math.log(ratio)) + line["intercept"]
            x, y = (1 / (1 + np.exp(-z)) for z in (logit, said))
            ax.plot(x, y, color=palette[arm], lw=1.4, label=study.label(arm))
        ax.set(title=f"ratio {ratio}", xlabel="true probability", ylabel="predicted probability")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


FIGURES = (
    custom("remedies", "Two Gaussians at ratio 30, and where logistic regression parts them at ½: left alone, it gives the rare class up, as it should where errors count alike; whatever is resampled, the line moves to the same place. Dots of copies lie on each other.", made),
    custom("eights", "Ten of the rare images, and ten that SMOTE makes between neighbours among them.", eights),
    across("recall", "Recall of the rare class by ratio.", "test_recall", "ratio"),
    across("balanced", "Balanced accuracy by ratio: on Gaussians every remedy does the same; on images they help where the class is rarest, and a moved threshold most.", "test_balanced_accuracy", "ratio"),
    across("auroc", "AUROC by ratio, which no threshold changes.", "test_auroc", "ratio"),
    custom("posterior", "On Gaussians: what is predicted against the true probability. Resampling and weights bend it upwards, the more, the rarer the class, and all alike: four lines lie on each other.", posterior),
    across("overestimate", "The predicted share of the rare class over the true one by ratio: 1 is calibrated.", "test_overestimate", "ratio"),
    sensitivity("sensitivity", "On images at ratio 100: validation AUROC against the rate, every draw of the tune phase.", "valid_auroc", where=pixels(ratio=100)),
)  # fmt: skip

STUDY = Study(
    question="What helps a class that is rare, and what does it cost?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"task": ("gaussians", "images"), "ratio": RATIOS}, nuisance={"lr": Float(2e-3, 2.0, log=True)},
    fixed={"steps": 600, "fits": 30, "batch_size": 100, "units": 64, "rare": 300, "common": 1000, "data": "mnist_5k"},
    select=("valid_auroc",),
    sources={
        "[Goorbergh]": "van den Goorbergh, van Smeden, Timmerman & Van Calster 2022, The harm of class imbalance corrections for risk prediction models",
        "[Carriero]": "Carriero, Luijken, de Hond, Moons, van Calster & van Smeden 2024, The harms of class imbalance corrections for machine learning based prediction models",
        "[Buda]": "Buda, Maki & Mazurowski 2018, A systematic study of the class imbalance problem in convolutional neural networks",
        "[Chawla]": "Chawla, Bowyer, Hall & Kegelmeyer 2002, SMOTE: synthetic minority over-sampling technique",
        "[Elkan]": "Elkan 2001, The foundations of cost-sensitive learning",
    },
)  # fmt: skip
