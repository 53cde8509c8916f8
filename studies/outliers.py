"""Outliers: does an ensemble of autoencoders find them better, and where does that come from?

An autoencoder rebuilds windows of 16 points of a series, and a point's score is its squared error. Recurrent ones
have a code of eight tanh units: sparse ones, whose members have connections of their own to the step before, or
to an earlier one, or to both (Kieu et al. 2019), and identical ones, which have the step before. Convolutional ones
have five layers and a code of eight numbers (Campos et al. 2022). Eight members vote by the median of their errors.
Scores are held against labels, which nothing is trained or tuned on, by average precision (PR-AUC). Rates are tuned with
the same draws for all, on a validation part of each series. All members read the same windows.

Series: "spikes", a periodic curve of which 60 points in 3,000 are moved; "shapes", 24 stretches of which have their
harmonics out of phase, while values and steps are as ever; and files of NAB, where at hand, brought to 2,000 points:
the 24 whose first 40 % hold no labelled outlier, and others after them where more seeds are asked for. Networks are
trained on the first part of a series, which is clean but in those others, but for one arm, which is trained on what
it scores, as Kieu's code does (three times as long, its rate chosen on the clean part, too). Each seed has a series
of its own, the same for all arms.

How the deck was read. "Combined": better than its median member, by PR-AUC of the same series. Its formula, DIV, is the mean
over pairs of members of their squared distance; the loss is the members' mean error less 0.3 DIV. Raised it is, as
deck and paper have it; the authors' code adds it, which is an arm. Exact: DIV is 2M/(M − 1) times the spread, and the error of the mean
reconstruction is the mean error less (M − 1)/(2M) DIV (Krogh & Vedelsby 1995), which says nothing of ranks. So the loss
has no minimum where the weight is above (M − 1)/(2M), 0.4375 of eight: the code's 0.7 is tried.

Departures: plain tanh units for LSTMs; connections reach back 2, 4, 6 or 8 steps; parameters are transferred by whole layers, four
of five, and not by a share of each; no attention. Pilots of four and eight seeds on "shapes" chose lengths and updates; margins were
fixed before any other run and have not been moved. A first run left half of the claims open, and its rates at the end of their range: the
range went up, test parts became three times as long, and seeds more. NAB has no more files: three claims about it
were given up, and are shown as estimates.

Of as many weights: a sparse member has two recurrent matrices, an identical one has one. Until 2026-11-29 “one wide”
had 24 units and half of the ensemble's weights, no identical members had as many as sparse ones, and four rates were
drawn from 0.005 up, of which it chose the lowest.

Found against claims: the median is no better than the mean; and a moving average finds two thirds of spikes, as the
curve moves as fast as it does, but an ensemble nearly all. Members of different structure are better than identical
ones by 8 points, of which 3 are left against identical ones of as many weights (+1.7 to +4.4, margin 2). Open are
that, whether an ensemble is better than one wide network (4.6 points, +2.0 to +7.1, margin 2), whether structure
makes members diverse (1.4 times, margin 1.5), what transfer costs (3 points, margin 2), whether convolutional
ensembles are better than recurrent ones, and whether on NAB these are more than five points above a windowed
Gaussian: ten, of twenty-odd.
"""

from functools import partial

import numpy as np

from harness import (
    Arm,
    Budget,
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
from harness.claims import every, everywhere, place
from harness.figures import custom, intervals, panels, sensitivity
from harness.parts.data import load
from harness.parts.data.planted import planted
from harness.parts.models.detectors import (
    Convolutional,
    Detector,
    Floor,
    Recurrent,
    moving_average,
)
from harness.parts.probes.outliers import Found, Strips
from harness.parts.probes.pictures import names, unpacked
from harness.parts.schedules import Cosine

SHOWN = 240  # points of the test part that are drawn


def parts(data: str, seed: int, length: int):
    """Training, validation and test part of a seed's series, and the last one's labels."""
    if data != "nab":
        return planted(data, seed)
    splits = load(Data("nab", length=length))
    row = seed % len(splits.test[0])
    x = [split[0][row] for split in (splits.train, splits.valid, splits.test)]
    return (*x, splits.test[1][row].float())


def trial(t: Trial) -> Training:
    arm, members, window, steps = t.arm, t["members"], t["window"], t["steps"]
    series, confirm = parts(t["data"], t.seed, t["length"]), t.phase == "confirm"
    if arm in FLOORS:
        still = Optimizer("sgd", lr=1.0)
        return Training(partial(Floor, arm, series), still, steps=1, probes=(Found(random=arm == "random"),))  # fmt: skip
    if arm in RECURRENT:
        units = t["wide"] if arm == "wide" else t["larger"] if arm == "larger" else t["units"]
        sizes = (1 if arm == "wide" else members, window, units)
        net = partial(Recurrent, *sizes, sparse=arm.startswith("sparse"))
    else:
        net = partial(Convolutional, members, window, t["channels"], transfer=arm == "transfer")
    drawn = (Strips(SHOWN),) if confirm and t.seed == 0 and arm == "sparse" else ()
    probes = (Found(test=confirm), *drawn)
    common = {
        "model": partial(Detector, net, window, series, t["batch"], arm == "sparse_own", RAISED.get(arm, 0.0)),
        "optimizer": Optimizer("adam", Cosine(), lr=t["lr"]),
    }  # fmt: skip
    if arm == "transfer":
        each, last = max(1, steps // 3), members - 1
        stages = [
            Stage(steps=each, every=each, copy={"now": f"turn.{m}"} if m else {}, probes=probes if m == last else ())
            for m in range(members)
        ]  # fmt: skip
        return Training(**common, stages=tuple(stages))
    return Training(**common, steps=steps, every=steps, probes=probes)


ARMS = {
    "sparse": Arm({}, label="sparse"),
    "identical": Arm({}, label="identical"),
    "larger": Arm({}, label="identical, larger"),
    "wide": Arm({}, label="one wide"),
    "sparse_own": Arm({}, label="sparse, own series"),
    "conv": Arm({}, label="convolutional"),
    "raised": Arm({}, label="DIV raised"),
    "added": Arm({}, label="distance added"),
    "beyond": Arm({}, held={"lr": 1e-2}, label="raised by 0.7"),
    "transfer": Arm({}, label="transfer"),
    "average": Arm({}, held={"lr": 1.0}, label="moving average"),
    "gaussian": Arm({}, held={"lr": 1.0}, label="windowed Gaussian"),
    "random": Arm({}, held={"lr": 1.0}, label="random scores"),
}
RAISED = {"raised": 0.3, "added": -0.3, "beyond": 0.7, "transfer": 0.3}  # what DIV is multiplied by
FLOORS, RECURRENT = ("average", "gaussian", "random"), ("sparse", "identical", "larger", "wide", "sparse_own")  # fmt: skip
ONLY = {"spikes": ("sparse", "identical", "conv", *FLOORS), "nab": ("sparse", "identical", "sparse_own", "conv", "raised", *FLOORS)}  # fmt: skip

SHARE = {"unit": "fraction", "better": "high", "worst": 0.0}
METRICS = {
    "valid_loss": Metric("squared error", better="low", log=True, label="validation error"),
    "valid_member_loss": Metric("squared error", better="low", log=True, label="members' validation error"),
    "test_precision": Metric(**SHARE, label="PR-AUC"),
    "test_mean_precision": Metric(**SHARE, label="PR-AUC of the mean error"),
    "test_member_precision": Metric(**SHARE, label="PR-AUC of the median member"),
    **{f"test_precision_{few}": Metric(**SHARE, label=f"PR-AUC of the first {few}") for few in (1, 2, 4)},
    "test_gain": Metric("fraction", label="gain in PR-AUC"),
    "test_over_mean": Metric("fraction", label="PR-AUC of the median less that of the mean"),
    "test_over_two": Metric("fraction", label="PR-AUC less that of the first two"),
    "test_diversity": Metric("ratio", log=True, label="DIV over members' error"),
    "test_off_formula": Metric("ratio", log=True, label="relative distance of DIV to its formula"),
    "test_off_identity": Metric("ratio", log=True, label="what the identity leaves, over members' error"),
    "test_over_share": Metric("fraction", label="PR-AUC less the share of outliers"),
    "test_over_chance": Metric("fraction", label="PR-AUC less its mean over all orders"),
    "test_off_share": Metric("fraction", log=True, label="distance of equal scores' PR-AUC to the share"),
    **{name: Metric("pixels") for name in names("strip", 9 * SHOWN)},
}  # fmt: skip
BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, steps=20, members=4, data=("spikes", "shapes")),
    "default": Budget(draws=6, seeds=12, most_seeds=48, futility=0.05, finalists=2, final_seeds=1),
    "paper": Budget(draws=8, seeds=24, finalists=3, steps=5000, members=40, window=32, length=4000, wide=76, batch=64),
}  # fmt: skip

spikes, shapes, nab = place(data="spikes"), place(data="shapes"), place(data="nab")
DECK, CAE = (
    "[ECNU], “Recurrent Autoencoder Ensembles”",
    "[ECNU], “Unsupervised Time Series Outlier Detection with Diversity-Driven Convolutional Ensembles”",
)
BOTH, ALL = ("spikes", "shapes"), ("spikes", "shapes", "nab")
PR = "test_precision"
CLAIMS = {
    "combined": Claim("Combined they are better: eight sparse recurrent autoencoders have more than two points of PR-AUC over their median member, on spikes and on shapes.",
        DECK + "; [Kieu], section 4", everywhere(shapes.above("test_gain", 0.02, arm="sparse"), data=BOTH), "gain"),
    "combined-nab": Claim("On the files of NAB, too, they are better than their median member.",
        DECK + "; [Kieu], section 4", nab.above("test_gain", 0.0, arm="sparse"), "gain"),
    "combined-conv": Claim("So are convolutional ones: by more than two points, on shapes.",
        CAE, shapes.above("test_gain", 0.02, arm="conv"), "gain"),
    "one-as-large": Claim("They are better than one of as many weights: on shapes by more than two points.",
        DECK, shapes.higher(PR, arm="sparse", than="wide", by=0.02), "shapes"),
    "skips": Claim("Members of different structure are better than identical ones: on shapes by more than two points.",
        DECK + " (“different structures”); [Kieu], section 3.2", shapes.higher(PR, arm="sparse", than="identical", by=0.02), "shapes"),
    "skips-not-weights": Claim("Not for their weights: they are better by more than two points than identical ones with as many, too.",
        DECK + " (“different structures”)", shapes.higher(PR, arm="sparse", than="larger", by=0.02), "shapes"),
    "skips-nab": Claim("On the files of NAB, too, by more than two points.",
        DECK + " (“different structures”); [Kieu], section 4", nab.higher(PR, arm="sparse", than="identical", by=0.02), "nab", exploratory=True),
    "structure-is-diversity": Claim("Different structures make members diverse: on shapes their DIV, over their error, is more than one and a half times that of identical ones.",
        "[ECNU], “Lecture 12 ILOs” (“Where does the diversity come from?”)", shapes.ratio_above("test_diversity", 1.5, arm="sparse", than="identical"), "diversity"),
    "more": Claim("More members are better: eight sparse ones by more than two points over two, on shapes.",
        "[Kieu], section 4 (10 to 40)", shapes.above("test_over_two", 0.02, arm="sparse"), "sizes"),
    "median": Claim("The median is better than the mean, by more than a point on shapes, trained on a clean part or on what is scored.",
        "[Kieu], section 3.3 (members that overfit count less)", everywhere(shapes.above("test_over_mean", 0.01, arm="sparse"), arm=("sparse", "sparse_own")), "votes"),
    "formula": Claim("DIV over pairs is 2M/(M − 1) times the spread about the mean, to 1e-4 (exact).",
        CAE + " (formula)", everywhere(shapes.below("test_off_formula", 1e-4, arm="conv"), arm=("sparse", "identical", "conv", "raised")), "diversity"),
    "identity": Claim("The error of the mean reconstruction is the members' mean error less (M − 1)/(2M) DIV, to 1e-4 (exact).",
        "[Krogh], section 2; " + CAE + " (formula)", everywhere(shapes.below("test_off_identity", 1e-4, arm="conv"), arm=("sparse", "identical", "conv", "raised")), "diversity"),
    "raised-is-raised": Claim("Raised on purpose, DIV over the members' error is more than one and a half times as large.",
        CAE, shapes.ratio_above("test_diversity", 1.5, arm="raised", than="conv"), "diversity"),
    "raised-helps": Claim("That helps: on shapes by more than two points of PR-AUC over independent members.",
        CAE, shapes.higher(PR, arm="raised", than="conv", by=0.02), "shapes"),
    "raised-nab": Claim("On the files of NAB, too, by more than two points.",
        CAE + "; [Campos], abstract", nab.higher(PR, arm="raised", than="conv", by=0.02), "nab", exploratory=True),
    "added-is-lowered": Claim("Added to the loss, as the authors' code has it, it is lowered to less than three quarters.",
        "[Campos], code (against “Diversity-Driven”)", shapes.ratio_below("test_diversity", 0.75, arm="added", than="conv"), "diversity"),
    "bound": Claim("Raised by 0.7, above (M − 1)/(2M), the loss has no minimum: members' validation error is more than ten times that of independent ones.",
        "[Krogh], section 2 (exact); [Campos], code (0.7)", shapes.ratio_above("valid_member_loss", 10.0, arm="beyond", than="conv"), "bound"),
    "transfer": Claim("Made one after another by parameter transfer, diversity raised, in a third of the updates, they are at most two points worse than independent ones.",
        CAE + ", Figure 9", shapes.higher(PR, arm="transfer", than="conv", by=-0.02), "shapes"),
    "conv-better": Claim("Convolutional ensembles of raised diversity are better than recurrent ones: on shapes by more than two points.",
        "[Campos], abstract", shapes.higher(PR, arm="raised", than="sparse", by=0.02), "shapes"),
    "floor-spikes": Claim("Simple floors are hard to beat: on spikes no ensemble is more than five points above a moving average.",
        "[Wu], section 2 (counter-evidence to " + DECK + ")", everywhere(spikes.lower(PR, arm="sparse", than="average", by=-0.05), arm=("sparse", "identical", "conv")), "spikes"),
    "floor-nab": Claim("On the files of NAB the sparse ensemble is not more than five points above the moving average, nor above NAB's windowed Gaussian.",
        "[Wu], section 2 (counter-evidence to " + DECK + ")", everywhere(nab.lower(PR, arm="sparse", than="average", by=-0.05), than=FLOORS[:2]), "nab"),
    "beats-floor": Claim("On shapes, whose values and steps are as ever, it is more than ten points above either.",
        "[ECNU], “Autoencoder”", everywhere(shapes.higher(PR, arm="sparse", than="average", by=0.1), than=FLOORS[:2]), "shapes"),
    "chance": Claim("The mean PR-AUC of random scores is (H + (p − 1)(n − H)/(n − 1))/n, to a fifth of a point (exact).",
        "[Bestgen], section 2", every(*(everywhere(check, data=ALL) for check in (shapes.above("test_over_chance", -0.002, arm="random"), shapes.below("test_over_chance", 0.002, arm="random")))), "shapes"),
    "share": Claim("And so it is the share of outliers, to one point.",
        "[Bestgen], section 2", every(*(everywhere(check, data=ALL) for check in (shapes.above("test_over_share", -0.01, arm="random"), shapes.below("test_over_share", 0.01, arm="random")))), "shapes"),
    "equal-scores": Claim("Where all scores are equal, it is the share of outliers, to a millionth (exact).",
        "[Bestgen], section 1", everywhere(shapes.below("test_off_share", 1e-6, arm="random"), data=BOTH), "shapes"),
    "unsupervised": Claim("No clean part is needed: trained on what it scores, the sparse ensemble loses at most five points on shapes.",
        "[ECNU], “Our research: Recurrent autoencoder ensembles” (“Unsupervised”); [Kieu], code", shapes.higher(PR, arm="sparse_own", than="sparse", by=-0.05), "shapes"),
    "unsupervised-nab": Claim("On the files of NAB it loses at most five points.",
        "[ECNU], “Our research: Recurrent autoencoder ensembles” (“Unsupervised”); [Kieu], code", nab.higher(PR, arm="sparse_own", than="sparse", by=-0.05), "nab", exploratory=True),
}  # fmt: skip


def strips(study, frame, palette):
    """A stretch of a series, and how each member, their median and a moving average score it."""
    figure, axes = panels(4, columns=2, height=1.9, legend=0)
    for column, data in enumerate(BOTH):
        _, _, test, labels = planted(data, 0)
        rows = frame[(frame["data"] == data) & frame["strip_0"].notna()]
        top, low = axes[column], axes[2 + column]
        top.plot(test[:SHOWN], color="0.25", lw=0.8)
        for ax in (top, low):
            ax.set(xlim=(-0.5, SHOWN - 0.5), yticks=[])
        for at in np.flatnonzero(labels[:SHOWN]):
            top.axvspan(at - 0.5, at + 0.5, color=palette["sparse"], alpha=0.25, lw=0)
        top.set(title=f"{data}: a series, outliers shaded")
        if len(rows):
            numbers = rows[names("strip", 9 * SHOWN)].iloc[0].dropna().to_numpy(float)
            members = unpacked(numbers).reshape(-1, SHOWN)
            average = moving_average(test)[:SHOWN].numpy()
            average = np.clip(average / np.quantile(average, 0.98), 0, 1)
            low.imshow(
                np.vstack([members, average]),
                cmap="Reds",
                aspect="auto",
                vmin=0,
                vmax=1,
                interpolation="nearest",
            )
            last = len(members) - 1  # the median
            low.axhline(last - 0.5, color="k", lw=0.8)
            low.axhline(last + 0.5, color="k", lw=0.8)
            low.set_yticks([(last - 1) / 2, last, last + 1], ["members", "median", "average"])
        low.set(xlabel="point of the test part")
    return figure


def sizes(study, frame, palette):
    """PR-AUC of the median of the first members, and of all."""
    figure, (ax,) = panels(1, height=2.6)
    rows = (
        frame[(frame["phase"] == "confirm") & (frame["data"] == "shapes")].groupby("trial").last()
    )
    for arm in ("sparse", "identical", "conv", "raised"):
        own = rows[rows["arm"] == arm][
            ["test_precision_1", "test_precision_2", "test_precision_4", PR]
        ]
        mean, error = own.mean(), 2 * own.sem()
        ax.errorbar((1, 2, 4, 8), mean, error, fmt="o-", ms=3, lw=1.2, capsize=2, color=palette[arm], label=study.label(arm))  # fmt: skip
    ax.set(xscale="log", xlabel="members", ylabel="PR-AUC")
    ax.set_xticks((1, 2, 4, 8), ("1", "2", "4", "8"))
    ax.minorticks_off()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def votes(study, frame, palette):
    """Of each series on shapes, PR-AUC of the median member against that of the vote."""
    figure, axes = panels(3, columns=3, height=2.3, legend=0)
    rows = frame[frame["phase"] == "confirm"].groupby("trial").last()
    for ax, (data, arm) in zip(axes, (("shapes", "sparse"), ("shapes", "conv"), ("nab", "sparse")), strict=True):  # fmt: skip
        own = rows[(rows["arm"] == arm) & (rows["data"] == data)]
        both = own[["test_member_precision", PR]].to_numpy(float)
        ends = (both.min() - 0.03, both.max() + 0.03) if len(own) else (0, 1)
        ax.plot(ends, ends, color="0.6", lw=0.8)
        ax.plot(*both.T, "o", ms=3.5, alpha=0.8, color=palette[arm])
        ax.set(title=f"{data}: {study.label(arm)}", xlabel="median member", xlim=ends, ylim=ends)
    axes[0].set_ylabel("vote of eight")
    return figure


FIGURES = (
    custom("strips", "Above, the first points of a series, and below, the scores of each of eight sparse recurrent autoencoders, of their median and of a moving average (seed 0): what is a false alarm in one member is none in the next; a moving average raises it at every peak.", strips),
    custom("votes", "PR-AUC of each series: the vote of eight against its median member. Above the line the ensemble is better.", votes),
    custom("sizes", "PR-AUC on shapes by how many members vote, mean and two standard errors over series.", sizes),
    intervals("gain", "PR-AUC of the vote of eight less that of its median member.", "test_gain", factor="data", arms=("sparse", "identical", "conv", "raised")),
    intervals("shapes", "PR-AUC on shapes.", PR, where=shapes),
    intervals("spikes", "PR-AUC on spikes: what knows the curve finds nearly all, and a moving average two thirds.", PR, where=spikes),
    intervals("nab", "PR-AUC on the files of NAB.", PR, where=nab),
    intervals("diversity", "Mean squared distance of pairs of members, over their error, on shapes.", "test_diversity", where=shapes, arms=("sparse", "identical", "conv", "raised", "added", "transfer", "beyond")),
    intervals("bound", "Members' validation error on shapes: with a weight above (M − 1)/(2M) they run away from each other and from the series.", "valid_member_loss", where=shapes, arms=("conv", "raised", "added", "beyond", "transfer")),
    sensitivity("sensitivity", "Validation error of members' mean on shapes against the rate: every draw of the tune phase.", "valid_loss", where=shapes),
)  # fmt: skip

STUDY = Study(
    question="Does an ensemble of autoencoders find outliers better, and where does that come from?",
    trial=trial,
    arms=ARMS,
    vary={"data": ("spikes", "shapes", "nab")},
    include=lambda arm, cell: arm in ONLY.get(cell["data"], ARMS),
    needs=dict.fromkeys(ARMS, "data"),
    nuisance={"lr": Float(1e-3, 2e-1, log=True)},
    fixed={"members": 8, "window": 16, "units": 8, "channels": 8, "larger": 11, "wide": 33, "batch": 16, "steps": 300, "length": 2000},
    select=("valid_loss",),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Kieu]": "Kieu, Yang, Guo & Jensen 2019, Outlier detection for time series with recurrent autoencoder ensembles",
        "[Campos]": "Campos et al. 2022, Unsupervised time series outlier detection with diversity-driven convolutional ensembles",
        "[Krogh]": "Krogh & Vedelsby 1995, Neural network ensembles, cross validation, and active learning",
        "[Wu]": "Wu & Keogh 2021, Current time series anomaly detection benchmarks are flawed and are creating the illusion of progress",
        "[Bestgen]": "Bestgen 2015, Exact expected average precision of the random baseline for system evaluation",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
