"""Architecture search against an exact answer: which strategy finds the best network, and how soon?

The whole space has been trained once and for all (`studies/architectures.py`), so a search only looks up what
it would train, hundreds of searches cost seconds, and regret is exact: percentage points of test accuracy
between the best network of the space and the one that a search hands back, means over the table's seeds. A
search sees the validation accuracy of one training, drawn at random from them. A trial is several searches and
its rows are their means, as it takes longer to hand out and record a trial than to look up fifty numbers; the
slower a strategy, the fewer.

- The `whole` space, every architecture at the reference training setting: Optuna's samplers and ten lines each of
  the rest (`harness/nas/strategies/`). Those that learn from scores begin with the same number of random trainings,
  counted as all others are.
- The `subset` that was trained at every setting, architectures alone, and `joint`, with learning rate, weight decay
  and batch size (AutoCTS+). Both are judged against the best of all pairs, 0.44 points above the best alone.
- The `cell`: depth and width held, as a supernet's are. Differentiable search is really trained, and the
  architecture that it derives is looked up; random search may spend as many multiply-adds as the second order does.
- Beside them, what the table says of itself, in a fresh sample for every seed: how a short training, a full one and
  a regression on 100 scores (300 at the paper scale) rank the space; and how the best on validation data does on
  other images.

Departures from the sources: a space of small networks on 512 digits at the default scale. Populations of 12,
as there are 30 trainings; of 20 in the subset and in joint search, where there are 50. The comparator is made
small: two graph convolutions, 32 wide, ranked against 32 random opponents in place of a tournament. What
differs of the differentiable search is said in `harness/nas/darts.py`.

In an earlier run, on a table of 4 to 8 channels and all digits, eight of sixteen claims stayed open: nearly all
good networks were right on 97 %, strategies differed by 0.04 to 0.3 points, and margins were zero. Margins were set
anew before another table was trained, of 1,416 networks on 512 digits: a strategy is to gain half a point, two test
images, as less is not worth its trouble; and the second order six points, half of the first's regret in that run,
where it gained 1.4 (−2.1 to 4.9): in DARTS' table 1 it halves the distance to the best error then known, 2.55 %,
with 2.76 against 3.00 %. The other margins are the old ones, and none has moved since. Searches of that table said
how many are needed. Today's has 264 networks, and the regression is told 100 scores in place of 300. With 50
trainings a search, a fifth of the space, among which chance finds a good network, too, evolution gained 0.37 points
on random search, which refuted its claim, local search 0.64, and three stayed open at the margin: TPE (0.4 to 0.5),
Hyperband (0.55) and the regression on evolution (0.55); ten times as many searches decided Hyperband's alone. Since
2026-11-28 there are 30 trainings. Other searches of the table, by the thousand, had said that so many part the
strategies further: the regression by 0.84, Hyperband by 0.61, TPE by 0.54, local search by 0.65, evolution by 0.32.
Then claims were added on halving, the comparator against random search, the hedge and the regression's ranks.

A strategy or a space of your own goes beside these in a file of your own: see YOURS.md, "My search
strategy".
"""

from dataclasses import replace
from functools import partial

import numpy as np

from harness import Arm, Budget, By, Claim, Data, Metric, Optimizer, Study, Training, Trial, claims
from harness.figures import blank, curves, custom, intervals, panels
from harness.nas.darts import Derived, cost, relaxed
from harness.nas.network import ConvNet
from harness.nas.ranking import ranking
from harness.nas.space import HYPERPARAMETERS, SPACES
from harness.nas.strategies import STRATEGIES
from harness.nas.table import METRICS, REFERENCE, JointSpace, Scores, joint, read, search
from harness.study import Published, classification

# Strategies of which a trial is fewer searches: that much longer they take.
SLOW = {"nsga2": 2, "tpe": 16, "regression": 32, "comparator": 40, "comparator_clean": 40}
MEANS = ("regret", "hypervolume", "evaluations")  # of the searches of a trial


def trial(t: Trial):
    """A search, a look at the table, or a training on other images."""
    kind = t["kind"]
    if kind == "transfer":
        return transferred(t)
    return {"search": searched, "differentiable": differentiable, "ranking": ranked}[kind](t)


def spaces(t: Trial, scores: Scores):
    """The space that a trial searches, and the one whose best it is judged by."""
    whole = SPACES[t["table"]]
    if t["space"] == "whole":
        return whole, whole
    if t["space"] == "cell":
        cell = replace(whole, depths=(t["depth"],), widths=(t["width"],))
        return cell, cell
    both = joint(whole, scores)
    alone = JointSpace(whole, both.architectures, (REFERENCE,))
    return (both if t["space"] == "joint" else alone), both


def searched(t: Trial):
    """Searches of one strategy, and the means of their rows; the front is the first one's."""
    scores = read("architectures")
    space, among = spaces(t, scores)
    strategy = STRATEGIES[t["strategy"]]
    if t["learns"]:
        strategy = partial(strategy, first=t["first"])
    budget = t["trainings"]
    if t["space"] == "cell":
        budget = max(1, round(cost(space, "second", t["epochs"], t["full"])))
    count = max(1, t["searches"] // SLOW.get(t["strategy"], 1))
    seeds = range(t.seed * count, (t.seed + 1) * count)
    run = partial(search, strategy, space, scores)
    runs = [run(seed, budget, among, every=t["every"]) for seed in seeds]
    for rows in zip(*runs, strict=True):
        means = {name: float(np.mean([row[name] for row in rows])) for name in MEANS}
        yield {**rows[0], **means}


def differentiable(t: Trial) -> Training:
    space, order, setting = (
        spaces(t, read("architectures"))[0],
        t["order"],
        HYPERPARAMETERS[REFERENCE],
    )
    spent = cost(space, order, t["epochs"], t["full"])
    search_ = partial(relaxed, space, Data(t["data"], t["train"]), order, t["epochs"], setting)
    return search_((Derived("architectures", space, spent, search_().updates),))


def ranked(t: Trial):
    """How well one source of scores ranks the whole space, against full trainings' mean test."""
    scores = read("architectures")
    space, _ = spaces(t, scores)
    return ranking(
        space, scores, t["reads"], np.random.default_rng([t.seed, 3]), t["pairs"], t["shown"]
    )


def transferred(t: Trial) -> Training:
    """An architecture of the table trained on images that it was not chosen for."""
    scores = read("architectures")
    space, _ = spaces(t, scores)
    full = scores.valid[scores.rows(space.architectures), -1].mean(1)
    architecture = space.architectures[int(full.argmax())]
    if t["reads"] != "best":
        if t["reads"] == "peer":
            one = {"depths": (architecture.depth,), "widths": (architecture.width,)}
            space = replace(space, **one)
        architecture = space.sample(np.random.default_rng([t.seed, 4]))
    setting = HYPERPARAMETERS[REFERENCE]
    updates = t["full"] * (t["other_size"] // setting.batch_size)
    return Training(
        model=partial(ConvNet, replace(space, side=t["other_side"]), architecture),
        optimizer=Optimizer("adamw", lr=setting.lr, weight_decay=setting.weight_decay),
        data=Data(t["other_data"], t["other_size"], draw=t.seed),
        steps=updates,
        every=updates,  # measuring on 20,000 images takes longer than training on 500
        batch_size=setting.batch_size,
    )


ARMS = {
    "random": Arm({"kind": "search", "strategy": "random", "learns": False}, label="random search"),
    "evolution": Arm({"kind": "search", "strategy": "evolution", "learns": True}, label="regularized evolution"),
    "regression": Arm({"kind": "search", "strategy": "regression", "learns": True}, label="regression-guided"),
    "tpe": Arm({"kind": "search", "strategy": "tpe", "learns": True}, label="TPE"),
    "local": Arm({"kind": "search", "strategy": "local", "learns": False}, label="local search"),
    "halving": Arm({"kind": "search", "strategy": "halving", "learns": False}, label="successive halving"),
    "hyperband": Arm({"kind": "search", "strategy": "hyperband", "learns": False}, label="Hyperband"),
    "comparator": Arm({"kind": "search", "strategy": "comparator", "learns": True}, label="comparator, noisy then clean"),
    "comparator_clean": Arm({"kind": "search", "strategy": "comparator_clean", "learns": True}, label="comparator, clean only"),
    "nsga2": Arm({"kind": "search", "strategy": "nsga2", "learns": True}, label="NSGA-II"),
    "darts_first": Arm({"kind": "differentiable", "order": "first"}, label="differentiable, first order"),
    "darts_second": Arm({"kind": "differentiable", "order": "second"}, label="differentiable, second order"),
    "darts_joint": Arm({"kind": "differentiable", "order": "joint"}, label="differentiable, on the same data"),
    "by_short": Arm({"kind": "ranking", "reads": "short"}, label="a short training"),
    "by_full": Arm({"kind": "ranking", "reads": "full"}, label="a full training"),
    "by_regression": Arm({"kind": "ranking", "reads": "regression"}, label="a regression on 100 scores"),
    "transfer_best": Arm({"kind": "transfer", "reads": "best"}, label="the best architecture"),
    "transfer_random": Arm({"kind": "transfer", "reads": "random"}, label="a random one"),
    "transfer_peer": Arm({"kind": "transfer", "reads": "peer"}, label="a random one of its depth and width"),
}  # fmt: skip
TABLE, DARTS, TRANSFER = tuple(ARMS)[:10], tuple(ARMS)[10:13], tuple(ARMS)[16:]


def included(arm, cell) -> bool:
    """Two strategies in the subset and joint; random and differentiable search in one cell; all
    else in the whole space."""
    if cell["space"] in ("subset", "joint"):
        return arm in ("random", "evolution")
    if cell["space"] == "cell":
        return arm == "random" or arm in DARTS
    return arm not in DARTS


def fronts(study, frame, colours):
    """For each size, the best mean test accuracy among networks of a search's front that are at
    most as large: the median over seeds, and where eight of ten lie."""
    from matplotlib.ticker import LogLocator  # a study file stays light

    rows = frame[(frame["space"] == "whole") & frame["front_params"].notna()]
    rows = rows[rows["arm"].isin(["random", "evolution", "nsga2"])]
    if not len(rows):
        return blank()
    figure, (ax,) = panels(1, height=3.2)
    sizes = np.unique(rows["front_params"])
    for arm in rows["arm"].unique():
        own = rows[rows["arm"] == arm]
        some = own.pivot_table(index="front_params", columns="seed", values="front_accuracy")
        if len(some):
            best = 100 * some.reindex(sizes).cummax().ffill()  # (sizes, seeds)
            best = best[best.notna().mean(axis=1) > 0.5]  # where most searches have a network
            low, middle, high = (best.quantile(share, axis=1) for share in (0.1, 0.5, 0.9))
            ax.fill_between(
                best.index, low, high, step="post", color=colours[arm], alpha=0.15, lw=0
            )
            ax.step(best.index, middle, where="post", color=colours[arm], label=study.label(arm))
    ax.set(xscale="log", xlabel="trained numbers", ylabel="test accuracy (%)")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    ax.xaxis.set_minor_formatter("")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def told_and_true(study, frame, colours):
    """What each source of scores says of an architecture, against its mean test accuracy."""
    arms = [arm for arm in ARMS if arm.startswith("by_")]
    figure, axes = panels(len(arms), height=2.4, legend=0.0)
    for ax, arm in zip(axes, arms, strict=True):
        some = frame[frame["arm"] == arm]
        ax.plot(100 * some["told_accuracy"], 100 * some["true_accuracy"], "o", ms=1.6, mew=0,
                alpha=0.25, color=colours[arm])  # fmt: skip
        ax.set(title=study.label(arm), xlabel="score (%)", ylabel="test accuracy (%)")
    for ax in axes[1:]:
        ax.set_ylabel("")
    return figure


whole, cell = claims.place(space="whole"), claims.place(space="cell")
HALF = 0.5  # a percentage point: about two test images of digits
ECNU, OURS = "[ECNU], “Neural architecture search”", "[ECNU], “Our research on NAS”"


def below_random(arm: str, name: str, source: str) -> Claim:
    """A strategy's regret under random search's, at equal cost."""
    statement = f"{name} leaves at least half a point less regret than random search of equal cost."
    check = whole.lower("regret", arm=arm, than="random", by=HALF)
    return Claim(statement, source, check, "regret")


CLAIMS = {
    "evolution-random": below_random("evolution", "Regularized evolution", f"{ECNU}; [Real], section 5; [Ying], figure 7"),
    "tpe-random": below_random("tpe", "TPE", f"{ECNU}; [Bergstra], section 6"),
    "local-random": below_random("local", "Local search", "[White], section 5"),
    "hyperband-random": below_random("hyperband", "Hyperband", "[Hyperband], section 4; [Ying], section 5"),
    "halving-random": below_random("halving", "Successive halving", "[Hyperband], section 3.1; [Ying], section 5"),
    "hedge": Claim("Hyperband's hedge is cheap: it leaves at most half a point more regret than successive halving, in brackets of 27 where its own have 9.",
        "[Hyperband], section 3.2",
        whole.lower("regret", arm="hyperband", than="halving", by=-HALF), "regret"),
    "comparator-random": below_random("comparator", "Search guided by a comparator", f"{OURS}; [AutoCTS]"),
    "regression-evolution": Claim("Search guided by a regression leaves at least half a point less regret than regularized evolution.",
        ECNU,
        whole.lower("regret", arm="regression", than="evolution", by=HALF), "regret"),
    "regression-ranks": Claim("A regression on 100 architectures with their scores ranks those that it has not seen with a Spearman correlation of at least 0.6.",
        ECNU,
        whole.above("spearman", 0.6, arm="by_regression"), "told"),
    "regression-short": Claim("It ranks them better than a ninth of a training does.",
        ECNU,
        whole.higher("spearman", arm="by_regression", than="by_short"), "spearman"),
    "joint": Claim("At equal cost, joint search of architecture and training settings leaves less regret than search of the architecture alone.",
        f"{OURS}; [AutoCTS]",
        claims.lower("regret", arm="evolution", than="evolution", space="joint", against={"space": "subset"}), "joint"),
    "noisy-clean": Claim("A comparator that learns from noisy short trainings first and clean ones then leaves at least half a point less regret after 30 trainings than one that learns from as costly clean ones only.",
        f"{OURS}; [AutoCTS]",
        whole.lower("regret", arm="comparator", than="comparator_clean", by=HALF, at=30), "comparators"),
    "random-differentiable": Claim("Random search leaves at most half a point more regret than second-order differentiable search of equal cost.",
        f"[LiTalwalkar], section 5; {OURS}",
        cell.lower("regret", arm="random", than="darts_second", by=-HALF), "cell",
        Published("CIFAR-10 test error: random search with weight sharing 2.85 %, DARTS 2.78 % in their rerun", "read in the paper", 0.07)),
    "same-data": Claim("Differentiable search on the same data for weights and architecture leaves more regret than on two halves in turn.",
        "[DARTS], section 3.3",
        cell.higher("regret", arm="darts_joint", than="darts_first"), "cell",
        Published("CIFAR-10 test error: 4.16 % on the same data, 3.00 % in turn", "read in the paper", 1.16)),
    "second-order": Claim("The second order leaves at least six points less regret than the first.",
        "[DARTS], table 1",
        cell.lower("regret", arm="darts_second", than="darts_first", by=6.0), "cell",
        Published("CIFAR-10 test error: 2.76 % with the second order, 3.00 % with the first", "read in the paper", -0.24)),
    "short-ranks": Claim("A ninth of a training ranks architectures well: a Spearman correlation with full trainings of at least 0.6.",
        f"{ECNU}; [LiTalwalkar]",
        whole.above("spearman", 0.6, arm="by_short"), "told"),
    "short-top": Claim("But its ten best are not the ten best: they share fewer than half, and fewer than those of a full training.",
        f"{ECNU}; [LiTalwalkar]",
        claims.every(whole.below("overlap", 0.5, arm="by_short"),
                     whole.lower("overlap", arm="by_short", than="by_full")), "overlap"),
    "nsga2-front": Claim("The front of accuracy against size that NSGA-II finds covers more than that of random search of equal cost.",
        f"[Deb]; {ECNU}",
        whole.higher("hypervolume", arm="nsga2", than="random"), "fronts"),
    "transfer": Claim("The architecture that is best on the images of the table is better than a random one on others: on Fashion-MNIST, after digits.",
        ECNU,
        whole.higher("test_accuracy", arm="transfer_best", than="transfer_random"), "transfer"),
    "transfer-peer": Claim("It is better there than a random one of its own depth and width, too.",
        ECNU,
        whole.higher("test_accuracy", arm="transfer_best", than="transfer_peer"), "transfer"),
}  # fmt: skip

SPENT = {"step": "full trainings"}
FIGURES = (
    curves("regret", "Regret against full trainings spent, over the whole space.",
           "regret", where=whole, arms=TABLE[:7], **SPENT),
    curves("comparators", "Regret of searches that are guided by a model, over the whole space.",
           "regret", where=whole, arms=("random", "regression", "comparator", "comparator_clean"), **SPENT),
    curves("joint", "Regret against full trainings spent: architectures alone, and with training settings, from the best of all pairs.",
           "regret", levels=("subset", "joint"), arms=("random", "evolution"), **SPENT),
    intervals("cell", "Regret of differentiable search, and of random search of equal cost, with depth and width held.",
              "regret", where=cell),
    custom("told", "What a short training, a full one and a regression say of an architecture, against the mean test accuracy of full trainings.", told_and_true),
    intervals("spearman", "How each ranks what it was not fitted to.", "spearman", where=whole),
    intervals("overlap", "The share of the true ten best among the ten that each puts highest.", "overlap", where=whole),
    custom("fronts", "The fronts of accuracy against size that are found.", fronts),
    intervals("transfer", "Test accuracy on other images.", "test_accuracy", where=whole),
)  # fmt: skip


def trainings(whole: int, some: int, cell: int = 0) -> By:
    """What a search may spend; in one cell what differentiable search costs."""
    return By("space", {"whole": whole, "subset": some, "joint": some, "cell": cell})


BUDGETS = {
    "smoke": Budget(
        draws=0, seeds=2, table="smoke", width=4, searches=2, train=128, first=4, epochs=1, pairs=15, other_data="digits",
        other_side=8, other_size=100, every=1, trainings=trainings(12, 6)),
    "default": Budget(draws=0, seeds=12, most_seeds=48, futility=0.05, train=512, pairs=100, trainings=trainings(30, 50), first=trainings(12, 20, 20)),
    "paper": Budget(
        draws=0, seeds=100, table="paper", width=8, data="fashion_mnist", epochs=25,
        other_data="mnist", other_size=10_000, trainings=trainings(300, 100)),
}  # fmt: skip

STUDY = Study(
    question="Which search finds the best architecture, judged by exact regret, and how soon?",
    trial=trial,
    reads=("architectures",),
    needs=dict.fromkeys(TRANSFER, "other_data"),
    arms=ARMS,
    vary={"space": ("whole", "subset", "joint", "cell")},
    include=included,
    fixed={
        "table": "default", "searches": 160, "trainings": 100, "every": 5, "first": 20, "depth": 1, "width": 6,
        "data": "digits", "train": None, "epochs": 9, "full": 9,  # epochs of a training of the table
        "pairs": 300, "shown": 20, "other_data": "fashion_mnist", "other_side": 28, "other_size": 500,
    },
    metrics={
        **METRICS,
        "train_loss_weights": Metric("nats", better="low", log=True, label="loss of the supernet"),
        "spearman": Metric("rank correlation", better="high", worst=-1.0, label="Spearman's ρ"),
        "overlap": Metric("fraction", better="high", worst=0.0, label="share of the true top ten among its own"),
        "told_accuracy": Metric("fraction", better="high"),
        "true_accuracy": Metric("fraction", better="high"),
        **classification("train_loss", "valid_accuracy", "test_accuracy"),
    },
    budgets=BUDGETS,
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
