"""Ensembles: are several networks better than one that costs as much, and where should they differ?

One hidden layer of 8 to 512 ReLUs on 1,000 signals of MNIST-1D; each seed draws its own training set, the same for all arms.
An arm of M members costs M times the updates of one network: M networks from independent starts, whose probabilities are
averaged; the same, whose classes are voted on; M networks on bootstrap samples (bagging); M snapshots of one run whose rate
falls M times along a cosine and starts anew (SGDR); one network with dropout that is trained M times as long, whose 50
thinned networks are averaged; and one network that is trained M times as long. Rates, and how much is dropped, are
tuned with the same draws for all, on the validation split, in every cell.

Beside it a curve through 20 points, by which the exact identity is measured: the mean of the members' squared errors is the
squared error of their mean and the mean square of their distance to it (Krogh & Vedelsby 1995). By Jensen's inequality
averaged probabilities never have more log loss than their members have on average.

How sentences were read: ECNU's table has diversity come from "different subsets of the training data", and UIUC's has each
base model "trained independently on a bootstrap sample": read as a recommendation, for networks. Networks differ by their
starts alone, so that Lakshminarayanan et al. train them on all data; Abe et al. find that more diversity helps small networks
and harms large ones, hence the crossing in width. SNU lets networks "vote to determine the best classification"; it is
held against averaging.

Departures: one hidden layer, no batch normalisation and no adversarial training (Lakshminarayanan et al.); signals in place
of images. Pilots of members and bagging on two to four seeds chose the data and the updates; margins were fixed
before any other run. What is refuted: bagging is worse with 8 units, too, by 1.0 points. Open is whether ten snapshots beat one
network as long (by 0.3 points; half a point was asked): two do, by 3, but the longer a run, the more alike they are. At the
paper scale, with 4,000 signals and 6,000 updates, they do, by 3.0; and twenty gain 3.1 over five, so that returns
diminish more slowly than was claimed.
"""

from dataclasses import dataclass
from functools import partial
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
    Members,
    Metric,
    Optimizer,
    Stage,
    Study,
    Training,
    Trial,
)
from harness.claims import every, everywhere, place
from harness.figures import across, custom, intervals, panels, sensitivity
from harness.parts.models import MLP
from harness.parts.probes.generalization import MaskAverage
from harness.parts.schedules import Cosine
from harness.study import Published, classification

GRID = torch.linspace(-1.5, 1.5, 61).unsqueeze(1)


def points():
    """A curve at 20 places in two clumps, and at 200 of its whole length to validate and test; with noise."""
    noise = np.random.default_rng(0)
    clumps = np.concatenate([np.linspace(-0.9, -0.3, 10), np.linspace(0.4, 0.8, 10)])
    places = [x.astype("float32") for x in (clumps, *np.split(noise.uniform(-1, 1, 400), 2))]
    return tuple(
        (x[:, None], np.sin(4 * x) + 0.1 * noise.normal(size=len(x)).astype("float32"))
        for x in places
    )


CURVE = Data.of(points, name="curve")


class Curve(nn.Module):
    """(B, 1) to (B, 2): what a network says, and its square, so that members' means tell their spread."""

    def __init__(self, units: int) -> None:
        super().__init__()
        layers = nn.Linear(1, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU()
        self.net = nn.Sequential(*layers, nn.Linear(units, 1))

    def forward(self, x):
        said = self.net(x)
        return torch.cat([said, said.square()], 1)


@dataclass(frozen=True)
class Squares:
    """The squared error, and the spread of members about their mean."""

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output, target):
        return (output[:, 0] - target).square().mean()

    def scores(self, output, target):
        spread = (output[:, 1] - output[:, 0].square()).mean()
        return {"loss": self.loss(output, target), "spread": spread}


class Cycles(nn.Module):
    """(B, 40) to (B, 10) logits: of a network where it is trained, else of its mean with the snapshots kept."""

    def __init__(self, units: int, count: int) -> None:
        super().__init__()
        self.net = MLP((40, units, 10))
        self.kept = nn.ModuleList(MLP((40, units, 10)) for _ in range(count - 1))

    def each(self, x):
        """(M, B, 10) probabilities."""
        return torch.stack([one(x).softmax(-1) for one in (self.net, *self.kept)])

    def differ(self, x):
        """The share of examples on which two of them say different classes."""
        said = self.each(x).argmax(-1)  # (M, B)
        unlike = (said.unsqueeze(0) != said.unsqueeze(1)).float().mean(-1)  # (M, M)
        return unlike.sum() / (len(said) * (len(said) - 1))

    def forward(self, x):
        return self.net(x) if self.training else self.each(x).mean(0).log()


@dataclass(frozen=True)
class Vote:
    """The accuracy of whatever an arm averages; by how much that of scaled weights is above it; what averaging saves
    of the members' mean log loss; how often two snapshots differ; what the identity leaves of squared
    errors; and what a network says along the curve, ``at_0`` and on."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        of = pack.metrics
        lost = of.get("test_member_loss", of["test_loss"])
        if "test_spread" in of:
            said = pack.ask(lambda net: net.net(GRID).squeeze(-1))  # (K, 61)
            left = (lost - of["test_loss"] - of["test_spread"]).abs()
            return {f"at_{n}": y for n, y in enumerate(said.unbind(1))} | {"test_left": left}
        voted = 1 - of["averaged_error"] / 100 if "averaged_error" in of else of["test_accuracy"]
        found = {"test_vote_accuracy": voted, "test_scaled_gap": of["test_accuracy"] - voted}
        if isinstance(pack.program.module, Cycles):
            found["test_disagreement"] = pack.ask(lambda net: net.differ(pack.splits.test[0]))
        saved = {"test_saved": lost - of["test_loss"]} if "test_member_loss" in of else {}
        return found | saved


def trial(t: Trial) -> Training:
    count, units, steps = t["members"], t["width"], t["steps"]
    voting = {"members": "mean", "bagging": "mean", "majority": "majority"}.get(t.arm)
    members = Members(count, voting, bag=t.arm == "bagging") if voting and count > 1 else None
    if t["task"] == "curve":
        return Training(
            partial(Curve, units), Optimizer("adam", lr=t["rate"]), CURVE, Squares(), steps=t["fits"],
            batch_size=20, every=t["fits"], members=members, probes=(Vote(),),
        )  # fmt: skip
    common = {
        "optimizer": Optimizer("momentum", Cosine(), lr=t["lr"]),
        "data": Data("mnist1d", t["size"], draw=t.seed), "batch_size": t["batch_size"], "every": steps * count,
    }  # fmt: skip
    if t.arm == "snapshots":
        keep = [{f"kept.{n}": "net"} for n in range(count - 1)]
        stages = tuple(Stage(steps=steps, copy=copy, trains="net.*") for copy in ({}, *keep))
        return Training(partial(Cycles, units, count), **common, stages=stages, probes=(Vote(),))
    if t.arm == "dropout":
        model = partial(thinned, units, t["drop"])
        probes = (MaskAverage(t["masks"]), Vote()) if t.phase == "confirm" else ()
    else:
        model, probes = partial(MLP, (40, units, 10)), (Vote(),)
    length = steps if members else steps * count
    return Training(model, **common, steps=length, members=members, probes=probes)  # fmt: skip


def thinned(units: int, drop: float) -> nn.Module:
    """(B, 40) to (B, 10) logits."""
    return nn.Sequential(nn.Linear(40, units), nn.ReLU(), nn.Dropout(drop), nn.Linear(units, 10))


ARMS = {
    "single": Arm({}, label="one, as long"), "members": Arm({}, label="independent"),
    "majority": Arm({}, label="independent, majority"), "bagging": Arm({}), "snapshots": Arm({}),
    "dropout": Arm({}, nuisance={"drop": Float(0.1, 0.5)}, label="dropout, 50 masks"),
}  # fmt: skip
COUNTS, WIDTHS = (1, 2, 5, 10, 20), (8, 64, 512)
LINES = ("single", "members", "bagging", "snapshots", "dropout")


def included(arm, cell) -> bool:
    task, count, width = cell["task"], cell["members"], cell["width"]
    if arm == "single" and count == 1:
        return task == "signals" or width == 64
    if task == "curve":
        return arm in ("members", "bagging") and (count, width) == (10, 64)
    if width != 64:
        return arm in ("members", "bagging") and count == 5
    if count == 20:
        return arm in ("single", "members")
    return count == 10 if arm == "majority" else count > 1 or arm == "dropout"


SHARE = {"unit": "fraction", "better": "high", "worst": 0.0}
METRICS = {
    **classification("train_loss", "valid_loss", "test_loss", "valid_accuracy"),
    "test_vote_accuracy": Metric(**SHARE, label="test accuracy"),
    "test_member_accuracy": Metric(**SHARE, label="test accuracy of a member"),
    "test_disagreement": Metric("fraction", label="share of pairs of members that differ"),
    "test_scaled_gap": Metric("fraction", label="accuracy of scaled weights less that of 50 masks"),
    "test_saved": Metric("nats", label="members' mean log loss less that of their mean"),
    "test_left": Metric("squared error", log=True, label="what the identity leaves"),
    **{f"at_{place}": Metric("y") for place in range(len(GRID))},
}  # fmt: skip
DRAWS = {"curve": 1, "signals": 5}
BUDGETS = {
    "smoke": Budget(draws=By("task", {"curve": 1, "signals": 1}), seeds=2, steps=20, fits=20, masks=3, members=(1, 10), width=(64,)),
    "default": Budget(draws=By("task", DRAWS), seeds=10, most_seeds=20, finalists=2, final_seeds=2),
    "paper": Budget(draws=By("task", DRAWS | {"signals": 12}), seeds=20, most_seeds=80, finalists=3, steps=6000, size=4000),
}  # fmt: skip

at = place(task="signals", width=64)
five, ten, twenty = at(members=5), at(members=10), at(members=20)
ECNU, LAKSH = "[ECNU], “Lecture 12 ILOs” (ensemble learning)", "[Lakshminarayanan]"
one = {"members": 1}
CLAIMS = {
    "identity": Claim("The mean of members' squared errors is the squared error of their mean and their spread about it, to a millionth (exact), with and without bagging.",
        "[Krogh], section 2", everywhere(place(task="curve", width=64, members=10).below("test_left", 1e-6, arm="members"), arm=("members", "bagging")), "fan"),
    "never-hurts": Claim("Averaging never hurts the log loss of the average member (exact, by Jensen's inequality): it saves something with 2, 5 and 10, with and without bagging.",
        LAKSH + ", section 2.4", everywhere(at.above("test_saved", 0.0, arm="members", members=2), members=(2, 5, 10), arm=("members", "bagging")), "members"),
    "more": Claim("Several networks are better than one: twenty are more than two points more accurate.",
        "[SNU], “How can we improve the performance of CNNs?”", twenty.higher("test_vote_accuracy", arm="members", than="single", by=0.02, against=one), "members", Published("40.7 to 38.1 % top-1 error with five (AlexNet, validation)", "read in the paper", 0.026)),
    "diminishing": Claim("With diminishing returns: five gain more than two points over one, and twenty less than two over five.",
        LAKSH + ", section 3.3", every(five.higher("test_vote_accuracy", arm="members", than="single", by=0.02, against=one), twenty.lower("test_vote_accuracy", arm="members", than="members", by=-0.02, against={"members": 5})), "members"),
    "equal-cost": Claim("Ten are more than one point more accurate than one that is trained ten times as long.",
        "[SNU], “How can we improve the performance of CNNs?”", ten.higher("test_vote_accuracy", arm="members", than="single", by=0.01), "members"),
    "log-loss": Claim("The log loss of ten is less than nine tenths of that of one.",
        LAKSH + ", section 3.3", ten.ratio_below("test_loss", 0.9, arm="members", than="single", against=one), "loss"),
    "bagging-hurts": Claim("Bagging is worse than independent starts on all data: ten are more than one point less accurate.",
        LAKSH + ", section 2.4; against " + ECNU, ten.lower("test_vote_accuracy", arm="bagging", than="members", by=0.01), "members"),
    "bagging-hurts-wide": Claim("So are five wide ones, of 512 units.",
        "[Abe], abstract", at(width=512, members=5).lower("test_vote_accuracy", arm="bagging", than="members", by=0.01), "width"),
    "bagging-helps-narrow": Claim("Small ones it helps: with 8 units five are more than half a point more accurate.",
        "[Abe], abstract; " + ECNU + "; [UIUC], “Dropout” (Dropout vs. Bagging)", at(width=8, members=5).higher("test_vote_accuracy", arm="bagging", than="members", by=0.005), "width"),
    "diverse": Claim("Subsets of the data bring diversity: of ten bagged networks two differ on more than two points more examples.",
        ECNU, ten.higher("test_disagreement", arm="bagging", than="members", by=0.02), "disagreement"),
    "weak": Claim("And weaker members, which have seen 63 % of the examples: by more than two points.",
        LAKSH + ", section 2.4", ten.lower("test_member_accuracy", arm="bagging", than="members", by=0.02), "weak"),
    "wide-agree": Claim("Wide networks agree more: with 512 units at most two thirds as often two differ as with 8.",
        "[Neal], abstract (variance falls with width)", at(width=512, members=5).ratio_below("test_disagreement", 2 / 3, arm="members", than="members", against={"width": 8}), "width"),
    "snapshots": Claim("Ten snapshots of one run are more than half a point more accurate than one network at the end of a run as long.",
        "[SGDR], Table 2; [Huang], abstract", ten.higher("test_vote_accuracy", arm="snapshots", than="single", by=0.005), "members", Published("4.03 to 3.51 % (CIFAR-10, three snapshots)", "read in the paper", 0.0052)),
    "starts-beat-snapshots": Claim("Independent starts beat snapshots at equal cost: ten by more than half a point.",
        "[SGDR], Table 2; [Fort], abstract", ten.higher("test_vote_accuracy", arm="members", than="snapshots", by=0.005), "members"),
    "one-mode": Claim("For snapshots stay near each other: two of ten differ at most three quarters as often as independent ones.",
        "[Fort], abstract", ten.ratio_below("test_disagreement", 0.75, arm="snapshots", than="members"), "disagreement"),
    "weight-scaling": Claim("Scaled weights equal the average of 50 thinned networks, to half a point, after 1 and 10 times the updates.",
        "[Srivastava], section 7.5; [UIUC], “Dropout”", every(*(everywhere(check, members=(1, 10)) for check in (ten.above("test_scaled_gap", -0.005, arm="dropout"), ten.below("test_scaled_gap", 0.005, arm="dropout")))), "scaling"),
    "beat-dropout": Claim("Independent networks beat dropout's masks at equal cost: ten by more than one point.",
        LAKSH + ", section 3.3", ten.higher("test_vote_accuracy", arm="members", than="dropout", by=0.01), "members"),
    "voting": Claim("A majority vote of ten is as good as averaging: within one point.",
        "[SNU], “How can we improve the performance of CNNs?” (“make them vote”)", ten.equivalent("test_vote_accuracy", arm="majority", to="members", within=0.01), "ten"),
}  # fmt: skip


def fan(study, frame, palette):
    """Networks from different starts through the same points, and their mean and spread."""
    figure, axes = panels(2, columns=2, height=2.3)
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == "curve")]
    each = rows[rows["arm"] == "single"].groupby("seed")[[f"at_{n}" for n in range(len(GRID))]]
    said = each.last().to_numpy(float)  # (M, 61)
    x, (train, _, _) = GRID.squeeze(1).numpy(), points()
    for ax, title in zip(axes, ("members", "their mean, and two spreads"), strict=True):
        ax.plot(np.sort(x), np.sin(4 * x), color="0.5", ls=":", lw=1.0, label="the curve")
        ax.plot(train[0][:, 0], train[1], "o", ms=3, color="0.2", label="points")
        ax.set(title=title, xlabel="x", ylim=(-2.6, 2.6))
    axes[0].plot(x, said.T, color=palette["members"], lw=0.8, alpha=0.7)
    if len(said):
        mean, two = said.mean(0), 2 * said.std(0)
        axes[1].plot(x, mean, color=palette["members"], lw=1.6)
        axes[1].fill_between(x, mean - two, mean + two, color=palette["members"], alpha=0.25, lw=0)
    axes[0].legend(loc="lower left", fontsize=6.5)
    return figure


FIGURES = (
    custom("fan", "Networks from independent starts through the same 20 points: where there are points they agree, and elsewhere they drift apart; yet to the left the curve leaves the band of two spreads, for all go on in straight lines.", fan),
    across("members", "Test accuracy by how many networks an arm costs: independent starts gain most, and most of it with the first five.", "test_vote_accuracy", "members", where=at, arms=LINES),
    across("loss", "Log loss by how many networks an arm costs; that of dropout is of scaled weights.", "test_loss", "members", where=at, arms=LINES),
    across("width", "Five networks by their width: test accuracy, independent and bagged.", "test_vote_accuracy", "width", where={"task": "signals", "members": 5}, arms=("members", "bagging")),
    across("agreement", "The share of pairs of five networks that differ, by their width.", "test_disagreement", "width", where={"task": "signals", "members": 5}, arms=("members", "bagging")),
    intervals("disagreement", "Ten members: the share of pairs that differ on a test example.", "test_disagreement", where=ten, arms=("members", "bagging", "snapshots")),
    intervals("weak", "Ten members: the test accuracy of one of them.", "test_member_accuracy", where=ten, arms=("members", "bagging")),
    across("scaling", "Dropout: accuracy of scaled weights less that of 50 masks.", "test_scaled_gap", "members", where=at, arms=("dropout",)),
    intervals("ten", "Ten networks, averaged or voted on, and what costs as much.", "test_vote_accuracy", where=ten),
    sensitivity("sensitivity", "Validation accuracy of what costs ten networks against the rate: every draw of the tune phase.", "valid_accuracy", where=ten),
)  # fmt: skip

STUDY = Study(
    question="Are several networks better than one that costs as much, and where should they differ?",
    trial=trial,
    arms=ARMS,
    vary={"task": ("curve", "signals"), "members": COUNTS, "width": WIDTHS},
    include=included,
    nuisance={"lr": Float(2e-2, 1.0, log=True)},
    fixed={"steps": 500, "fits": 500, "batch_size": 50, "size": 1000, "rate": 0.01, "masks": 50},
    select=("valid_accuracy", "valid_loss"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Lakshminarayanan]": "Lakshminarayanan, Pritzel & Blundell 2017, Simple and scalable predictive uncertainty estimation using deep ensembles",
        "[Abe]": "Abe, Buchanan, Pleiss & Cunningham 2024, Pathologies of predictive diversity in deep ensembles",
        "[Fort]": "Fort, Hu & Lakshminarayanan 2019, Deep ensembles: a loss landscape perspective",
        "[Huang]": "Huang et al. 2017, Snapshot ensembles: train 1, get M for free",
        "[Krogh]": "Krogh & Vedelsby 1995, Neural network ensembles, cross validation, and active learning",
        "[Neal]": "Neal et al. 2018, A modern take on the bias-variance tradeoff in neural networks",
        "[SGDR]": "Loshchilov & Hutter 2017, SGDR: stochastic gradient descent with warm restarts",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
