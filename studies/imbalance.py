"""Imbalance: what helps a class that is rare, and what does it cost?

One class is 10, 30 or 100 times rarer than the other. Six arms: nothing; the common class cut down to the size of
the rare one; the rare one copied up to the size of the common one; SMOTE, by imbalanced-learn; class weights; and
nothing, but a threshold that is moved from ½ to the rare class's share. Each seed draws its own training set, the same
for all arms, and resamples that; the test split never is resampled.

On two Gaussians, N(±1, 1) on the first of two axes, all is known: the logit of the posterior is 2x − ln r, the best
balanced accuracy is Φ(1), and 300 rare examples stand beside 300 r common ones. Logistic regression is fitted to them until
it is done. On images the rare class is the digit 8, 1,000 r⁻¹ of them beside 1,000 others of 14x14 pixels, and a network of
64 ReLUs is trained by momentum 0.9 for as many updates in every arm, at a rate that is tuned with the same draws for
all, by the area under the ROC curve (AUROC), which knows no threshold.

How sentences were read: Overview says that an algorithm "never examines categories with very few samples
adequately": read as recall of the rare class at threshold ½. It lists remedies, and not what they are for: read as balanced accuracy,
the mean of both classes' recall, at ½. That they also tell the classes apart better, or that their probabilities can be used, it
does not say; others deny both. Calibration is in the large: the mean predicted share of the rare class over the
true one, where classes are as rare as in training.

Exact: copying a class r times, as weighting it by r does, moves the intercept of a well-specified logistic regression by
ln r, and nothing else, for large samples; so copies and a moved threshold are the same classifier.

Departures: one digit against the rest in place of the papers' many classes; images of a quarter of the pixels.
Margins were fixed before any run.
"""

import functools
import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
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


@functools.cache
def images(data: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The images (n, 196) of a split that are not the rare digit, and those that are."""
    x, y = getattr(load(Data(data)), split)
    x = F.avg_pool2d(x.unsqueeze(1), 28 // SIDE).flatten(1)
    return x[y != RARE], x[y == RARE]


@functools.cache
def tested(task: str, data: str, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What is asked of the common class and of the rare one; of Gaussians points that lie evenly."""
    if task == "images":
        return images(data, split)
    from scipy.stats import qmc

    z = torch.from_numpy(qmc.MultivariateNormalQMC(np.zeros(2), rng=0).random(1024)).float()
    shift = torch.tensor([1.0, 0.0])
    return z - shift, z + shift


def sampled(task: str, data: str, common: int, rare: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A training set: examples of the common class and of the rare one, (n, F) each."""
    if task == "images":
        both, counts = images(data, "train"), (common, rare)
        return tuple(x[torch.randperm(len(x))[:n]] for x, n in zip(both, counts, strict=True))
    shift = torch.tensor([1.0, 0.0])
    return torch.randn(common, 2) - shift, torch.randn(rare, 2) + shift


def resampled(common, rare, remedy: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a remedy makes of a training set."""
    if remedy == "under":
        return common[torch.randperm(len(common))[: len(rare)]], rare
    if remedy == "over":
        return common, rare[torch.arange(len(common)) % len(rare)]
    if remedy == "smote":
        from imblearn.over_sampling import SMOTE

        x, y = torch.cat([common, rare]).numpy(), np.repeat([0, 1], [len(common), len(rare)])
        x, y = SMOTE(random_state=int(torch.randint(1 << 31, ()))).fit_resample(x, y)
        return common, torch.from_numpy(x[y == 1])
    return common, rare


class Rare(nn.Module):
    """() loss of a network on a training set of its own, of which each update reads a batch, or all.

    Args:
        remedy: The arm.
        ratio, rare: How many common examples there are for a rare one; how many rare ones.
        batch: Examples of an update, 0 for all.
    """

    def __init__(
        self, task: str, data: str, remedy: str, ratio: int, rare: int, batch: int, units: int
    ) -> None:
        super().__init__()
        hidden = [nn.Linear(SIDE**2, units), nn.ReLU(), nn.Linear(units, 1)]
        self.net = nn.Sequential(*hidden) if task == "images" else nn.Linear(2, 1)
        self.batch = batch
        parts = resampled(*sampled(task, data, ratio * rare, rare), remedy)
        counts = torch.tensor([len(part) for part in parts])
        y = torch.tensor([0, 1]).repeat_interleave(counts)
        weights = len(y) / (2 * counts) if remedy == "weights" else torch.ones(2)
        self.register_buffer("x", torch.cat(parts))
        self.register_buffer("y", y.float())
        self.register_buffer("weight", weights[y])
        self.register_buffer("cut", torch.tensor(-math.log(ratio) * (remedy == "threshold")))

    def forward(self):
        x, y, weight = self.x, self.y, self.weight
        if self.batch:
            chosen = (uniform(self.batch) * len(y)).long()
            x, y, weight = x[chosen], y[chosen], weight[chosen]
        logits = self.net(x).squeeze(-1)
        each = F.softplus(logits) - y * logits
        return (weight * each).mean()


@dataclass(frozen=True)
class Judged:
    """How the classes of a split are told apart, where the rare one is as rare as in training."""

    task: str
    data: str
    ratio: int
    split: str
    at_end: ClassVar[bool] = True

    def read(self, pack):
        of_common, of_rare = tested(self.task, self.data, self.split)
        share = 1 / (1 + self.ratio)

        def of(net):
            common, rare = net.net(of_common).squeeze(-1), net.net(of_rare).squeeze(-1)
            recall = (rare > net.cut).float().mean()
            specificity = (common <= net.cut).float().mean()

            def mean(fn):
                return (1 - share) * fn(common).mean() + share * fn(rare).mean()

            return {
                "auroc": (rare.unsqueeze(1) > common).float().mean(),
                "recall": recall,
                "specificity": specificity,
                "balanced_accuracy": (recall + specificity) / 2,
                "overestimate": mean(torch.sigmoid) / share,
                "corrected": mean(lambda z: torch.sigmoid(z - math.log(self.ratio))) / share,
                "log_loss": (1 - share) * F.softplus(common).mean()
                + share * F.softplus(-rare).mean(),
            }

        return {f"{self.split}_{name}": value for name, value in pack.ask(of).items()}


@dataclass(frozen=True)
class Line:
    """Of logistic regression on the Gaussians its weights, over 2, and its intercept; by how much that is over
    the posterior's, −ln r, in units of ln r; and its recall less what the posterior's is."""

    ratio: int
    at_end: ClassVar[bool] = True

    def read(self, pack):
        (along, across_), log = pack.params["net.weight"][:, 0].unbind(1), math.log(self.ratio)
        intercept = pack.params["net.bias"][:, 0]
        exact = 0.5 * (1 + math.erf((1 - log / 2) / math.sqrt(2)))
        found = {
            "slope": along / 2,
            "tilt": across_ / 2,
            "intercept": intercept,
            "shift": (intercept + log) / log,
        }
        if "test_recall" in pack.metrics:
            found["test_recall_off"] = pack.metrics["test_recall"] - exact
        return found


def trial(t: Trial) -> Training:
    task, ratio, data = t["task"], t["ratio"], t["data"]
    gaussians = task == "gaussians"
    rare = t["rare"] if gaussians else t["common"] // ratio
    batch = 0 if gaussians else t["batch_size"]
    splits = ("valid", "test") if t.phase == "confirm" else ("valid",)
    probes = [Judged(task, data, ratio, split) for split in splits]
    return Training(
        model=partial(Rare, task, data, t.arm, ratio, rare, batch, t["units"]),
        optimizer=Optimizer("lbfgs", tries=10)
        if gaussians
        else Optimizer("momentum", Cosine(), lr=t["lr"]),
        steps=t["fits"] if gaussians else t["steps"],
        probes=(*probes, *([Line(ratio)] if gaussians else [])),
    )


ARMS = {
    "none": Arm({}, label="nothing"),
    "under": Arm({}, label="undersampling"),
    "over": Arm({}, label="copies"),
    "smote": Arm({}, label="SMOTE"),
    "weights": Arm({}, label="class weights"),
    "threshold": Arm({}, label="moved threshold"),
}
REMEDIES, RESAMPLED = ("under", "over", "smote", "weights", "threshold"), ("under", "over", "smote", "weights")
RATIOS = (10, 30, 100)

SHARE = {"unit": "fraction", "better": "high", "worst": 0.0}
METRICS = {
    "valid_auroc": Metric(**SHARE, label="validation AUROC"),
    "test_auroc": Metric(**SHARE, label="AUROC"),
    "test_balanced_accuracy": Metric(**SHARE, label="balanced accuracy"),
    "test_recall": Metric(**SHARE, label="recall of the rare class"),
    "test_specificity": Metric(**SHARE, label="recall of the common class"),
    "test_recall_off": Metric("fraction", label="recall less that of the posterior"),
    "test_overestimate": Metric("ratio", log=True, label="predicted share of the rare class over the true one"),
    "test_corrected": Metric("ratio", log=True, label="the same, less ln r"),
    "test_log_loss": Metric("nats", better="low", label="log loss where classes are as rare as in training"),
    "slope": Metric("ratio", label="slope over the posterior's"),
    "tilt": Metric("ratio", label="slope along the other axis"),
    "intercept": Metric("nats"),
    "shift": Metric("ln r", label="intercept less the posterior's"),
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=By("task", {"gaussians": 1, "images": 2}), seeds=2, steps=20, ratio=(10, 100)),
    "default": Budget(draws=By("task", {"gaussians": 1, "images": 6}), seeds=16, most_seeds=64, finalists=3),
    "paper": Budget(draws=By("task", {"gaussians": 1, "images": 12}), seeds=20, most_seeds=80, finalists=3,
                    steps=3000, rare=3000, common=10_000, units=256, data="mnist"),
}  # fmt: skip

flat, pixels = place(task="gaussians"), place(task="images")
ONE, TWO = "[Overview], “Data Imbalance (1)”", "[Overview], “Data Imbalance (2)”"
GOOR = "[Goorbergh], abstract"


def at_ratios(check, **over):
    """The check at every ratio."""
    return everywhere(check, ratio=RATIOS, **over)


CLAIMS = {
    "hurts": Claim("Imbalance hurts: from ratio 10 to ratio 100 recall of the rare class at ½ falls by more than 20 points, on Gaussians and on images.",
        ONE, everywhere(place(ratio=100).lower("test_recall", arm="none", than="none", by=0.2, against={"ratio": 10}), task=("gaussians", "images")), "recall"),
    "recall-exact": Claim("On Gaussians it is what the posterior's is, Φ(1 − ½ ln r), to three points: there is nothing wrong with what was learnt.",
        ONE + " (exact; against “never examines”)",
        at_ratios(every(flat.above("test_recall_off", -0.03, arm="none", ratio=10), flat.below("test_recall_off", 0.03, arm="none", ratio=10))), "recall"),
    "ranking": Claim("With as many rare examples, imbalance does not hurt the ranking: on Gaussians AUROC at 100 is within half a point of that at 10.",
        GOOR, flat.equivalent("test_auroc", arm="none", to="none", within=0.005, ratio=100, against={"ratio": 10}), "auroc"),
    "few": Claim("With fewer rare examples it does: on images AUROC at 100 is more than two points lower than at 10.",
        ONE + " (“few observation objects may not be representative”)",
        pixels.lower("test_auroc", arm="none", than="none", by=0.02, ratio=100, against={"ratio": 10}), "auroc"),
    "remedies": Claim("On Gaussians every remedy raises balanced accuracy at ½ by more than ten points, at every ratio.",
        TWO, at_ratios(flat.higher("test_balanced_accuracy", arm="under", than="none", by=0.1, ratio=10), arm=RESAMPLED), "balanced"),
    "remedies-images": Claim("On images, too, by more than two points at 30 and at 100.",
        TWO + "; [Buda], abstract", everywhere(pixels.higher("test_balanced_accuracy", arm="under", than="none", by=0.02, ratio=30), ratio=(30, 100), arm=RESAMPLED), "balanced"),
    "auroc": Claim("On Gaussians none of them raises AUROC by more than half a point.",
        GOOR, at_ratios(flat.higher("test_auroc", arm="none", than="under", by=-0.005, ratio=10), than=RESAMPLED), "auroc",
        Published("no better AUROC (logistic regression)", "read in the paper")),
    "auroc-images": Claim("Nor on images, by more than one point.",
        "[Carriero], abstract; against [Buda], abstract (oversampling is best in AUROC)",
        at_ratios(pixels.higher("test_auroc", arm="none", than="under", by=-0.01, ratio=10), than=RESAMPLED), "auroc"),
    "threshold": Claim("Moving the threshold does as well: on Gaussians its balanced accuracy is within one point of every remedy's.",
        GOOR + " (counter-evidence to " + TWO + ")",
        at_ratios(flat.equivalent("test_balanced_accuracy", arm="threshold", to="under", within=0.01, ratio=10), than=RESAMPLED), "balanced"),
    "threshold-images": Claim("On images it is at most two points below any of them.",
        "[Carriero], abstract (counter-evidence to " + TWO + ")",
        at_ratios(pixels.higher("test_balanced_accuracy", arm="threshold", than="under", by=-0.02, ratio=10), than=RESAMPLED), "balanced"),
    "miscalibrated": Claim("Resampling and weights ruin calibration: on Gaussians they predict the rare class at least twice as often as it is; nothing done is within ten percent.",
        GOOR, every(at_ratios(flat.above("test_overestimate", 2.0, arm="under", ratio=10), arm=RESAMPLED),
                    at_ratios(every(flat.above("test_overestimate", 0.9, arm="none", ratio=10), flat.below("test_overestimate", 1.1, arm="none", ratio=10)))), "posterior"),
    "under-miscalibrated": Claim("On images, too, undersampling predicts it at least one and a half times as often, at every ratio.",
        "[Carriero], abstract", at_ratios(pixels.above("test_overestimate", 1.5, arm="under", ratio=10)), "overestimate"),
    "over-miscalibrated": Claim("So do copies, SMOTE and weights.",
        "[Carriero], abstract", at_ratios(pixels.above("test_overestimate", 1.5, arm="over", ratio=10), arm=("over", "smote", "weights")), "overestimate"),
    "intercept": Claim("Copying the rare class r times moves the intercept by ln r, to five percent, on Gaussians at every ratio.",
        TWO + ", Random oversampling (exact, for large samples)",
        at_ratios(every(flat.higher("shift", arm="over", than="none", by=0.95, ratio=10), flat.lower("shift", arm="over", than="none", by=-1.05, ratio=10))), "posterior"),
    "slope": Claim("And nothing else: slopes stay within five percent.",
        TWO + ", Random oversampling (exact, for large samples)",
        at_ratios(flat.equivalent("slope", arm="over", to="none", within=0.05, ratio=10)), "posterior"),
    "weights-are-copies": Claim("Weights are copies: on Gaussians both have the same slope and intercept, to 0.01.",
        TWO + ", Random oversampling (exact)",
        at_ratios(every(*(flat.equivalent(name, arm="weights", to="over", within=0.01, ratio=10) for name in ("slope", "intercept")))), "posterior"),
    "corrected": Claim("Taking ln r from the logit mends it: with copies the predicted share is then within ten percent.",
        "[Elkan], section 3 (exact)",
        at_ratios(every(flat.above("test_corrected", 0.9, arm="over", ratio=10), flat.below("test_corrected", 1.1, arm="over", ratio=10))), "posterior"),
    "under-wastes": Claim("Undersampling throws away what it could learn: on images at 100 its AUROC is more than two points below that of nothing done.",
        "[Buda], abstract (oversampling is better almost everywhere)",
        pixels.lower("test_auroc", arm="under", than="none", by=0.02, ratio=100), "auroc"),
    "smote": Claim("SMOTE is better than copies: on images at 100 its balanced accuracy at ½ is more than two points higher.",
        "[Chawla], section 4; " + TWO + ", Synthetic Minority Oversampling Technique",
        pixels.higher("test_balanced_accuracy", arm="smote", than="over", by=0.02, ratio=100), "balanced"),
}  # fmt: skip
