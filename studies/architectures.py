"""Architectures: what makes a small convolutional network good, when every one of them is trained?

Search papers sample a space; here the whole of it is trained, each architecture on twelve seeds and some at
twelve training settings, so that what is said of the space holds for the space. Cells are those of
NAS-Bench-201 (nodes joined by none, skip, pool or a 3x3 convolution; at the paper scale 1x1 convolutions
too) with four nodes and at most three edges, at the paper scale four; a network is one or two equal cells of
3 or 6 channels, at the paper scale of 8 to 32. Architectures that are the same network count once. The rows
are a table that other studies read (`nas`): test and validation accuracy after one epoch, three and nine at
a constant rate, so that a short training is the beginning of a long one.

Departures from the sources: 512 digits of 8x8 in place of CIFAR-10, a stem of 2x2 patches to maps of
4x4, layer normalisation after each node's sum where theirs is batch normalisation in each
operation, no augmentation, Adam at a constant rate. A network this small is far from convergence
after nine epochs; that is what a search with little to spend would see.

Each statistic is over all architectures at once, and its interval over seeds. Margins are those of the first
table: 2,124 architectures of up to four edges and 4 to 8 channels, all digits, five seeds. There the best
were right on 97 %, and “in a row” stayed open (1.5 points, 1.0 to 2.0). A second, of 1,416 with 2 and 4
channels on 512 digits and six seeds, left “in a row” (0.9 points, 0.3 to 1.5) and the order under other
settings (0.65, 0.45 to 0.84) open. To hold as many structures as the first's to plain PyTorch took a third
of its time: so this one has cells of an edge less, and more seeds. In pilots of three seeds on the second's
architectures, “in a row” was at its margin on all digits (1.0 points), and MNIST took twice as long as 512
digits do.

On 2026-11-29, knowing the results, three claims were mended. Two in a row were held against two side by side
whatever pools stood in the way (−2.5 points), residual paths against cells with more pools (+5.4), and the best
setting was the best of twelve single trainings, which noise alone makes another for half of the architectures.
"""

from functools import cache, partial

import numpy as np
import pandas as pd

from harness import Budget, Claim, Data, Metric, Optimizer, Study, Training, Trial
from harness.claims import rows_for, statistic
from harness.figures import COLOURS, custom, final, genotypes, panels, space, words
from harness.nas.network import ConvNet
from harness.nas.space import HYPERPARAMETERS, SPACES, Architecture
from harness.parts.data import train_size
from harness.parts.probes import Kept
from harness.study import classification

REFERENCE = "reference"
NAMES = {scale: tuple(a.name for a in space.architectures) for scale, space in SPACES.items()}
# Architectures that are trained at every setting, spread evenly over the sorted space.
SUBSET = {"smoke": 4, "default": 24, "paper": 64}
JOINT = {
    name for scale, names in NAMES.items() for name in names[:: -(-len(names) // SUBSET[scale])]
}
LENGTHS = (1, 3, 9)  # epochs


def trial(t: Trial) -> Training:
    data = Data(t["data"], t["train"])
    epoch = train_size(data) // t["batch_size"]
    return Training(
        model=partial(ConvNet, SPACES[t["space"]], Architecture.parse(t["architecture"])),
        optimizer=Optimizer("adamw", lr=t["lr"], weight_decay=t["weight_decay"]),
        data=data,
        epochs=LENGTHS[-1],
        batch_size=t["batch_size"],
        every=tuple(n * epoch for n in LENGTHS[:-1]),
        probes=(Kept(("params", "madds")),),
    )


def included(arm, cell) -> bool:
    return arm == REFERENCE or cell["architecture"] in JOINT


# --- what is said of the space: functions of the final accuracies, (seeds, (arm, architecture)) ----


@cache
def about(names: tuple[str, ...]) -> pd.DataFrame:
    """What each architecture is, from its name alone."""
    cells = [Architecture.parse(name) for name in names]
    found = pd.DataFrame({
        "depth": [a.depth for a in cells], "width": [a.width for a in cells],
        **{op: [a.edges.count(op) for a in cells] for op in ("skip", "pool", "conv3")},
        "weights": [a.depth * a.width**2 * (9 * a.edges.count("conv3") + a.edges.count("conv1"))
                    for a in cells],
        "residual": [any(set(path) == {"skip"} for path in a.paths()) for a in cells],
        "longest": [max(sum(op == "conv3" for op in path) for path in a.paths()) for a in cells],
        "cell": [name[name.index("-"):] for name in names],
    }, index=names)  # fmt: skip
    return found.assign(edges=found[["skip", "pool", "conv3"]].sum(axis=1))


def reference(table: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame]:
    """Mean accuracy in percent of each architecture at the reference setting, and what it is."""
    own = table[REFERENCE]
    return 100 * own.to_numpy().mean(0), about(tuple(own.columns))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, with ties at their mean rank."""
    from scipy.stats import rankdata  # a second, and only what judges asks for it

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def size_ranks(table) -> float:
    accuracy, what = reference(table)
    return correlation(accuracy, what["weights"].to_numpy())


def cost_of_no_convolution(table) -> float:
    accuracy, what = reference(table)
    has = (what["conv3"] > 0).to_numpy()
    return float(np.median(accuracy[has]) - np.median(accuracy[~has]))


def two(what) -> pd.Series:
    """Cells of two convolutions and no pool, which would cost more than where they stand."""
    return (what["conv3"] == 2) & (what["pool"] == 0)


# What is compared with what, among cells that have a convolution, where all that is named is equal.
CONTRASTS = {
    "depth": (["cell", "width"], lambda a: a["depth"] == 2, lambda a: a["depth"] == 1),
    "width": (["cell", "depth"], lambda a: a["width"] == a["width"].max(),
              lambda a: a["width"] == a["width"].min()),
    "in a row": (["depth", "width", "conv3", "pool"], lambda a: two(a) & (a["longest"] == 2),
                 lambda a: two(a) & (a["longest"] == 1)),
    "residual": (["depth", "width", "conv3", "pool", "skip"], lambda a: a["residual"],
                 lambda a: ~a["residual"]),
    "skip or pool": (["depth", "width", "conv3"], lambda a: (a["pool"] == 0) & (a["skip"] > 0),
                     lambda a: (a["skip"] == 0) & (a["pool"] > 0)),
}  # fmt: skip


@cache
def weights(names: tuple[str, ...], kind: str) -> np.ndarray:
    """What multiplies each accuracy in the mean difference of a contrast over its groups."""
    keys, plus, minus = CONTRASTS[kind]
    what = about(names)
    side = np.where(plus(what), 1, np.where(minus(what), -1, 0)) * (what["conv3"] > 0)
    found, groups = np.zeros(len(names)), 0
    for places in what.groupby(keys).indices.values():
        own = side.to_numpy()[places]
        if {1, -1} <= set(own):
            groups += 1
            for sign in (1, -1):
                found[places[own == sign]] = sign / (own == sign).sum()
    return found / groups if groups else np.full(len(names), np.nan)


def gain(kind: str, table) -> float:
    """Points between the two sides of a contrast, the mean over its groups."""
    accuracy, what = reference(table)
    return float(accuracy @ weights(tuple(what.index), kind))


@cache
def all_settings(columns: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Where a table has the architectures that are trained at every setting, (settings, architectures)."""
    places = pd.Series(range(len(columns)), index=pd.MultiIndex.from_tuples(columns))
    return places.unstack().dropna(axis=1).to_numpy(int)


def own_setting(table) -> float:
    """Points that an architecture gains by its own best setting over the one that is best on average, chosen
    on all seeds but the one that is scored, as the best of a dozen noisy numbers is mostly luck."""
    places = all_settings(tuple(table.columns))
    accuracy = 100 * table.to_numpy()[:, places]  # (seeds, settings, architectures)
    gains, columns = [], np.arange(places.shape[1])
    for seed in table.index.unique():  # a resample may hold one several times
        out = np.asarray(table.index == seed)
        others, scored = accuracy[~out].mean(0), accuracy[out]
        own, common = others.argmax(0), others.mean(1).argmax()
        gains += [(one[own, columns] - one[common]).mean() for one in scored]
    return float(np.mean(gains))


def ranks_agree(table) -> float:
    """Spearman's correlation of architectures between the reference and another setting, the mean
    over settings."""
    own = table[REFERENCE].mean()
    wide = table.mean().unstack("architecture").dropna(axis=1)
    others = [wide.loc[arm] for arm in wide.index if arm != REFERENCE]
    return float(np.mean([correlation(own[one.index].to_numpy(), one.to_numpy()) for one in others]))  # fmt: skip


# --- rows in which a claim holds, or does not ------------------------------------------------------


def planted(score, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
    """Rows of some cells of the default space at all sizes, with the accuracy that `score(what)`
    gives, or its opposite."""
    names = tuple(n for n in NAMES["default"] if int(n[n.index("-") + 1 :]) % 3 == 0)
    values = score(about(names)).to_numpy(float) * (1 if hold else -1)
    noise = np.random.default_rng(0).normal(0, 1e-3, (len(names), seeds))
    accuracy = 0.6 + 0.3 * (values - values.min()) / max(np.ptp(values), 1e-9)
    return pd.concat([
        rows_for(study, "test_accuracy", REFERENCE, column, architecture=name)
        for name, column in zip(names, accuracy[:, None] + noise, strict=True)
    ])  # fmt: skip


def planted_settings(study: Study, seeds: int, hold: bool, agree: bool) -> pd.DataFrame:
    """Rows of the joint part in which settings rank architectures alike and one is best everywhere
    (`agree` as `hold`), or each at random."""
    rng = np.random.default_rng(1)
    names, arms = [n for n in NAMES["default"] if n in JOINT][:24], list(HYPERPARAMETERS)[:4]
    common = rng.uniform(0, 0.1, len(names))
    parts = []
    for number, arm in enumerate(arms):
        alike = agree == hold
        own = common if alike else rng.uniform(0, 0.1, len(names))
        for name, value in zip(names, 0.6 + own + (0.01 * number if alike else 0), strict=True):
            column = value + rng.normal(0, 1e-4, seeds)
            parts.append(rows_for(study, "test_accuracy", arm, column, architecture=name))
    return pd.concat(parts)


# --- figures ---------------------------------------------------------------------------------------


def centres(study: Study, frame: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Mean final test accuracy of each architecture at the reference setting, and what it is."""
    own = final(study, frame[frame["arm"] == REFERENCE], "test_accuracy")
    means = 100 * own.groupby("architecture")["value"].mean()
    return means, about(tuple(means.index))


def by_property(study: Study, frame: pd.DataFrame, palette):
    """The spread of accuracies at each level of four properties."""
    means, what = centres(study, frame)
    shown = {"depth": "cells", "width": "channels", "longest": "3x3 convolutions in a row", "pool": "pools"}  # fmt: skip
    figure, axes = panels(len(shown), columns=4, height=2.2, legend=0.0)
    for ax, (name, label) in zip(axes, shown.items(), strict=True):
        levels = sorted(what[name].unique())
        groups = [means[(what[name] == level).to_numpy()].to_numpy() for level in levels]
        parts = ax.violinplot(groups, widths=0.85, showextrema=False, showmedians=True)
        for body in parts["bodies"]:
            body.set(facecolor=COLOURS[0], alpha=0.35)
        parts["cmedians"].set(color=COLOURS[0], linewidth=1.6)
        ax.set_xticks(range(1, len(levels) + 1), [str(level) for level in levels])
        ax.set(xlabel=label)
    axes[0].set(ylabel=words("test_accuracy", study.metrics["test_accuracy"]))
    for ax in axes[1:]:
        ax.tick_params(labelleft=False)
        ax.sharey(axes[0])
    return figure


def settings(study: Study, frame: pd.DataFrame, palette):
    """Accuracy of the architectures that are trained at every setting, a line a setting, in the
    order of the reference's."""
    shown = frame[frame["architecture"].isin(JOINT)]
    values = final(study, shown, "test_accuracy")
    wide = 100 * values.groupby(["arm", "architecture"])["value"].mean().unstack("architecture")
    order = wide.loc[REFERENCE].sort_values().index
    figure, (ax,) = panels(1, height=3.0, legend=0.7)
    for arm in wide.index:
        bold = arm == REFERENCE
        ax.plot(range(len(order)), wide.loc[arm, order], lw=1.8 if bold else 0.8,
                color=palette[arm], alpha=1 if bold else 0.7, label=study.label(arm))  # fmt: skip
    ax.set(xticks=[], xlabel="architectures, in the order of the reference setting",
           ylabel=words("test_accuracy", study.metrics["test_accuracy"]))  # fmt: skip
    figure.legend(loc="outside lower center", ncols=4)
    return figure


# --- claims ----------------------------------------------------------------------------------------


def claim(
    sentence: str, source: str, fn, margin: float, unit: str, words: str, example, figure: str, each=True,
) -> Claim:  # fmt: skip
    check = statistic(
        fn, margin, metric="test_accuracy", unit=unit, words=words, example=example, each=each
    )
    return Claim(sentence, source, check, figure)  # fmt: skip


CLAIMS = {
    "size": claim("Larger is better: over the whole space, test accuracy ranks with the weights of the convolutions by a Spearman correlation of at least 0.5.",
        "[ECNU], “Neural architecture search”; [Dong], section 4",
        size_ranks, 0.5, "Spearman's ρ", "rank correlation of accuracy and convolution weights",
        partial(planted, lambda what: what["weights"]), "size"),
    "convolutions": claim("Convolutions are needed: the median architecture without a 3x3 convolution is at least 10 points below the median with one.",
        "[Dong], section 3.1",
        cost_of_no_convolution, 10.0, "points", "median with a convolution less that without",
        partial(planted, lambda what: (what["conv3"] > 0).astype(float)), "size"),
    "depth": claim("Depth helps: with a convolution in the cell, two cells are better than one by at least a point on average.",
        "[ECNU], “Neural architecture search”; [Tan], section 3.2",
        partial(gain, "depth"), 1.0, "points", "two cells less one, cell and width the same",
        partial(planted, lambda what: what["depth"]), "properties"),
    "width": claim("Width helps: with a convolution in the cell, twice the channels are better by at least a point on average.",
        "[ECNU], “Neural architecture search”; [Tan], section 3.2",
        partial(gain, "width"), 1.0, "points", "most channels less fewest, cell and depth the same",
        partial(planted, lambda what: what["width"]), "properties"),
    "in-a-row": claim("Connectivity counts: two convolutions in a row are better than two side by side by at least a point, at the same weights and without pools.",
        "[ECNU], “Neural architecture search”; [Ying], section 4",
        partial(gain, "in a row"), 1.0, "points", "two in a row less two side by side",
        partial(planted, lambda what: what["longest"]), "properties"),
    "residual": claim("A residual path helps: cells with skips alone from input to output are better than those without, at as many convolutions, skips and pools.",
        "[He], section 3; [Ying], section 4",
        partial(gain, "residual"), 0.0, "points", "with a path of skips less without",
        partial(planted, lambda what: what["residual"].astype(float)), "properties"),
    "skip-or-pool": claim("Beside convolutions, skips are better than pools by at least a point.",
        "[Dong], section 4",
        partial(gain, "skip or pool"), 1.0, "points", "other edges all skips less all pools",
        partial(planted, lambda what: what["skip"] - what["pool"]), "properties"),
    "settings-interact": claim("The best training setting depends on the architecture: an architecture's own is at least half a point better than the one that is best on average.",
        "[Wu], section 1",
        own_setting, 0.5, "points", "an architecture's own best setting less the common one, chosen on other seeds",
        partial(planted_settings, agree=False), "settings", each=False),
    "ranks-carry-over": claim("Architectures keep their order under another setting: a Spearman correlation with the reference of at least 0.8 on average.",
        "[Ying], section 3.3; [Wu], section 1",
        ranks_agree, 0.8, "Spearman's ρ", "rank correlation with the reference setting",
        partial(planted_settings, agree=True), "settings"),
}  # fmt: skip

FIGURES = (
    space("size", "Every architecture at the reference setting: test accuracy, the mean over seeds, against multiply-adds for one image.", "test_accuracy", arm=REFERENCE, x="madds"),
    genotypes("cells", "The cells of the five architectures with the best mean test accuracy at the reference setting, and of the worst.", "test_accuracy", arm=REFERENCE),
    custom("properties", "Test accuracy of all architectures at the reference setting, by what they have; the line is the median.", by_property),
    custom("settings", "Test accuracy of the architectures that are trained at every setting, ordered by the reference.", settings),
)  # fmt: skip


BUDGETS = {
    "smoke": Budget(draws=0, seeds=2, architecture=NAMES["smoke"], space="smoke", data="digits", train=128),
    "default": Budget(draws=0, seeds=12, architecture=NAMES["default"], space="default", data="digits", train=512),
    "paper": Budget(draws=0, seeds=5, architecture=NAMES["paper"], space="paper", data="fashion_mnist", train=None),
}  # fmt: skip

STUDY = Study(
    question="What makes a small convolutional network good, when every one of its space is trained?",
    trial=trial,
    arms={name: vars(setting) for name, setting in HYPERPARAMETERS.items()},
    vary={"architecture": tuple(dict.fromkeys(name for names in NAMES.values() for name in names))},
    include=included,
    fixed={"data": "digits", "train": None, "space": "default"},
    metrics={
        **classification("train_loss", "valid_accuracy", "test_accuracy"),
        "params": Metric("numbers", better="low", log=True, label="trained parameters"),
        "madds": Metric("an image", better="low", log=True, label="multiply-adds"),
    },
    budgets=BUDGETS,
    sources={"[He]": "[He16]", "[Wu]": "[AutoCTS]"},
    claims=CLAIMS,
    figures=FIGURES,
)
