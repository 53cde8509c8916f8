"""GAN: does a confident discriminator starve log(1 − D), and does −log D find more of the data?

A generator and a discriminator of two hidden layers take turns on a ring of eight Gaussians, on a grid of
25 and on the 8x8 digits. The generator minimises log(1 − D), which saturates, or −log D, which does not;
the discriminator makes one step or five to one of its. Both rates are tuned with the same draws in every
cell, by the energy distance between samples and validation examples (Székely & Rizzo 2013), two
finalists on two further seeds, at rates that fall along a cosine. Confident is a discriminator that has
been trained for 500 updates against the generator's start.

How Overview's slide was read. That the gradient "is 0" of log(1 − D): in the same state it is at most a tenth of
that of −log D, over all of the generator's weights. That "iteration cannot be performed": against a confident
discriminator that stands still, with plain descent at one rate for both, −log D needs at most a tenth of the
updates until samples pass for real (mean D(G(z)) of ½); and trained on in turns, log(1 − D) covers fewer than half
of the modes. That we "therefore … choose" −log D: it ends at half of the distance or less; a perfect generator's
distance is 0.004 on the ring and 0.007 on the grid, which of 256 samples is no less, so that half is hardly to be
had on the grid. Adam divides a gradient by its size, so its arms are counter-evidence.

Four claims are exact, and without networks: on 32 places D is a number for each, and G a softmax of as many. There
the best D is p/(p + q), its value 2 JSD − log 4 (Goodfellow et al. 2014, proposition 1, theorem 1); against it the
slope of log(1 − D) is that of 2 JSD(p, q), of −log D that of KL(q, p) − 2 JSD(p, q) (Arjovsky & Bottou 2017,
theorem 2.5), and both end at p. On samples of a network the two slopes are as D to 1 − D.

Departures: Gaussians have a standard deviation of 0.05 at the default scale, where noise that covers the ring
counts as all eight modes (a tenth of its samples being good), and 0.01 at larger ones, as in the published tables;
a mode counts if one of 2,000 samples lies within three of them, and so is a sample good. By default networks are a
tenth as wide as PacGAN's; batch normalisation and maxout they have at no scale. Margins were fixed before any run;
pilots of a few seeds chose widths, updates and the ranges of rates.

Found against claims: by Adam the gradient of log(1 − D) is back within some fifty updates of a confident start on
the ring, a hundred on digits, and seven modes within 500; where it is tuned −log D is no closer to ring and grid,
with one step or five, and on digits at 0.7 times the distance. Five steps did not lower the ratio, as the
generator's tuned rate rises with them (0.001 to 0.004). Modes are lost not by the loss but by rates: all eight at
the tuned ones, one or two are left at 10 : 1. A third of samples is good, with five steps over two thirds: between
wide modes this generator draws a line.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn
from torch.func import grad
from torch.nn import functional as F

from harness import Data, Float, Optimizer, Player, Stage, Training
from harness.claims import every, everywhere, place
from harness.figures import across, curves, custom, intervals, panels, pictures, sensitivity
from harness.parts.gan import SATURATING, STEADY, TOLD_APART, Distance, Drawn, Gan, Modes, Slopes
from harness.parts.probes import RecordTo
from harness.parts.probes.pictures import names, unpacked
from harness.parts.schedules import Cosine
from harness.study import Arm, Budget, By, Claim, Metric, Published, Study, Trial

SHOWN_AT, SIDE, REACH = (0, 50, 150, 400, 1000), 48, 1.4  # updates, pixels, half of what is shown
PLACES = 32  # of the table
ANGLES = torch.arange(8) * math.pi / 4
MODES = {
    "ring": torch.stack([ANGLES.cos(), ANGLES.sin()], 1),
    "grid": torch.cartesian_prod(torch.arange(5), torch.arange(5)) / 2 - 1,
}  # (modes, 2) each


def around(modes: torch.Tensor, spread: float):
    """200 points about each of the modes, (n, 2), and which mode, (n,)."""
    which = torch.arange(200 * len(modes)) % len(modes)
    noise = torch.randn(len(which), 2, generator=torch.Generator().manual_seed(0))
    return modes[which] + spread * noise, which


DATA = {(task, spread): Data.of(partial(around, modes, spread), name=f"{task}-{spread}") for task, modes in MODES.items() for spread in (0.05, 0.01)}  # fmt: skip


class Table(nn.Module):
    """() loss of a generator that is a softmax over places, against the best discriminator; and, apart
    from it, of a discriminator that is a number for each place, between `p` and `q`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, at = kind, torch.linspace(-1, 1, PLACES)
        for name, middle in (("p", 0.5), ("q", -0.3)):
            weights = (-((at - middle) ** 2) / 0.1).exp() + 0.05
            self.register_buffer(name, weights / weights.sum())
        self.made, self.logits = (
            nn.Parameter(torch.randn(PLACES)),
            nn.Parameter(torch.zeros(PLACES)),
        )

    def forward(self):
        return self.fooled(self.made) - self.value()

    def fooled(self, made):
        made = made.softmax(0)
        best = (self.p / (self.p + made)).detach()
        return (made * ((1 - best).log() if self.kind == "sat" else -best.log())).sum()

    def value(self):
        return (self.p * F.logsigmoid(self.logits) + self.q * F.logsigmoid(-self.logits)).sum()

    def divergence(self, made):
        """Which theory says that `fooled` descends."""
        made = made.softmax(0)
        twice = 2 * jensen_shannon(self.p, made)
        return twice if self.kind == "sat" else (made * (made / self.p).log()).sum() - twice


def jensen_shannon(p, q):
    middle = (p + q) / 2
    return ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum()) / 2


@dataclass(frozen=True)
class Exact:
    """How far a `Table` is from theory: ``off_optimum``, ``off_value``, ``off_data``, ``off_slope``."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        def off(net):
            ours, theirs = grad(net.fooled)(net.made), grad(net.divergence)(net.made)
            value = 2 * jensen_shannon(net.p, net.q) - math.log(4)
            return {
                "off_optimum": (net.logits.sigmoid() - net.p / (net.p + net.q)).abs().amax(),
                "off_value": (net.value() - value).abs(),
                "off_data": (net.made.softmax(0) - net.p).abs().sum() / 2,
                "off_slope": (ours - theirs).norm() / theirs.norm(),
            }

        return pack.ask(off)


@dataclass(frozen=True)
class Fooled(RecordTo):
    """The same, counted from where the generator's training begins."""

    begin: int = 0

    def read(self, pack):
        return {name: step - self.begin for name, step in super().read(pack).items()}


def trial(t: Trial) -> Training:
    task, (kind, _, more), rule = t["task"], t.arm.partition("_"), partial(Optimizer, "adam", Cosine(), beta1=0.5)  # fmt: skip
    if task == "table":
        return Training(partial(Table, kind), rule(lr=0.05), steps=t["toy_steps"], every=100, probes=(Exact(),))  # fmt: skip
    common, fooled = {"probes": (Slopes(),)}, {"ns": STEADY, "sat": SATURATING}[kind]
    before = Stage(steps=t["ready"], every=(t["ready"],), objective=TOLD_APART, trains="d.*", optimizer=rule(lr=2e-3))  # fmt: skip
    if task == "frozen":
        still = Optimizer("sgd", lr=1e-2) if more else Optimizer("adam", lr=1e-3, beta1=0.5)
        probes = (Slopes(), Fooled("fake", 0.5, "steps_to_fool", begin=t["ready"]))
        after = Stage(steps=t["frozen_steps"], every=5, objective=fooled, trains="g.*", optimizer=still, probes=probes)  # fmt: skip
    else:
        probes = (Slopes(), Distance("valid"), Distance("test"))
        if task in MODES:
            probes += (Modes(tuple(map(tuple, MODES[task].tolist())), 3 * t["spread"]),)
        if t.phase == "confirm" and t.seed == 0 and t["critic"] == "fresh":
            probes += (Drawn(SHOWN_AT, SIDE, REACH),)
        players = (
            Player("critic", TOLD_APART, "d.*", rule(lr=t["critic_lr"]), 5 if more == "5" else 1),
            Player("generator", fooled, "g.*", rule(lr=t["lr"])),
        )
        every = sorted({*SHOWN_AT, *range(0, t["steps"], t["steps"] // 10)})
        common, after = {"probes": probes}, Stage(steps=t["steps"], every=tuple(every), players=players)  # fmt: skip
    stages = (before, after) if t["critic"] == "confident" else (after,)
    sizes = (2, 2, t["units"]) if task in MODES else (64, 16, 2 * t["units"])
    data = DATA[task, t["spread"]] if task in MODES else Data("digits")
    return Training(partial(Gan, *sizes), rule(lr=1e-3), data, batch_size=t["batch_size"], stages=stages, **common)  # fmt: skip


ARMS = {
    "ns": Arm({}, label="−log D"),
    "sat": Arm({}, label="log(1 − D)"),
    "ns_5": Arm({}, label="−log D, five steps"),
    "sat_5": Arm({}, label="log(1 − D), five steps"),
    "ns_fast": Arm({}, held={"lr": 1e-2, "critic_lr": 1e-3}, label="−log D, rates 10 : 1"),
    "ns_sgd": Arm({}, label="−log D, plain descent"),
    "sat_sgd": Arm({}, label="log(1 − D), plain descent"),
}
BOTH = ("ns", "sat")
RUNS = {
    ("table", "fresh"): BOTH, ("frozen", "confident"): (*BOTH, "ns_sgd", "sat_sgd"),
    ("ring", "fresh"): (*BOTH, "ns_5", "sat_5", "ns_fast"), ("ring", "confident"): BOTH,
    ("grid", "fresh"): BOTH, ("digits", "fresh"): BOTH, ("digits", "confident"): BOTH,
}  # fmt: skip
METRICS = {
    **{f"{split}_distance": Metric("distance", better="low", log=True, label="energy distance") for split in ("valid", "test")},
    "modes": Metric("modes", better="high", worst=0.0, label="modes with a sample"),
    "quality": Metric("fraction", better="high", worst=0.0, label="share of good samples"),
    "share": Metric("ratio", log=True, label="ratio of gradients"),
    "mean_share": Metric("ratio", log=True, label="ratio of gradients, mean over training"),
    "steady_norm": Metric("norm", log=True, label="gradient of −log D"),
    "off_share": Metric("ratio", label="relative error of the ratio of slopes"),
    "fake": Metric("probability", label="mean D(G(z))"),
    "steps_to_fool": Metric("steps", better="low", log=True, label="updates until D(G(z)) is ½"),
    "off_optimum": Metric("probability", log=True, label="largest distance of D to p/(p + q)"),
    "off_value": Metric("nats", log=True, label="distance of its value to 2 JSD − log 4"),
    "off_data": Metric("probability", better="low", log=True, label="total variation of G to p"),
    "off_slope": Metric("ratio", label="relative error of the slope that theory says"),
    **{name: Metric("pixels") for name in names("seen", SIDE**2)},
}  # fmt: skip
DRAWS = {"table": 1, "frozen": 1, "ring": 6, "grid": 6, "digits": 6}
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, steps=30, ready=20, frozen_steps=20, toy_steps=40, task=("table", "frozen", "ring")),
    "default": Budget(draws=By("task", DRAWS), seeds=10, most_seeds=20, finalists=2, final_seeds=2),
    "evening": Budget(draws=3, seeds=5, task=("ring", "grid"), critic=("fresh",), steps=10_000, batch_size=100, units=400, spread=0.01),
    "paper": Budget(draws=By("task", DRAWS), seeds=10, finalists=3, steps=50_000, batch_size=100, units=400, spread=0.01),
}  # fmt: skip

table, frozen, ring = (
    place(task="table", critic="fresh"),
    place(task="frozen", critic="confident"),
    place(task="ring", critic="fresh"),
)
grid, digits = ring(task="grid"), ring(task="digits")
RULES, PROOF = "[Overview], “Training Rules of GAN”", "[GAN], theorem 1"
CLAIMS = {
    "optimal": Claim("The best discriminator between p and q is p/(p + q): on a table it ends within a thousandth everywhere (exact).",
        "[GAN], proposition 1", table.below("off_optimum", 1e-3, arm="ns"), "losses"),
    "value": Claim("Its value is 2 JSD(p, q) − log 4: within 1e-4 nats (exact).",
        PROOF, table.below("off_value", 1e-4, arm="ns"), "losses"),
    "slope": Claim("Against it −log D descends KL(q, p) − 2 JSD(p, q), and log(1 − D) 2 JSD: at the start slopes agree to a thousandth (exact).",
        "[Arjovsky], theorem 2.5; " + PROOF, everywhere(table.below("off_slope", 1e-3, arm="ns", at="start"), arm=BOTH), "losses"),
    "same-fixed-point": Claim("Both end at the data: within 0.01 of p in total variation (exact).",
        RULES + "; " + PROOF, everywhere(table.below("off_data", 0.01, arm="ns"), arm=BOTH), "losses"),
    "ratio": Claim("On each sample of a network the slope of log(1 − D) is to that of −log D as D is to 1 − D, to a thousandth (exact).",
        RULES, ring.below("off_share", 1e-3, arm="ns", at="start"), "share"),
    "vanishes": Claim("Against a confident discriminator the gradient of log(1 − D) is at most a tenth of that of −log D, on the ring and on digits.",
        RULES, everywhere(ring(critic="confident").below("share", 0.1, arm="ns", at="start"), task=("ring", "digits")), "share"),
    "does-not": Claim("That of −log D does not vanish: it is larger than against a fresh discriminator.",
        RULES, everywhere(ring(critic="confident").ratio_above("steady_norm", 1.0, arm="ns", than="ns", at="start", against={"critic": "fresh"}), task=("ring", "digits")), "share"),
    "no-iteration": Claim("Against a confident discriminator that stands still, by plain descent −log D needs at most a tenth of the updates of log(1 − D) until samples pass for real.",
        RULES + " (“iteration cannot be performed”)", frozen.ratio_below("steps_to_fool", 0.1, arm="ns_sgd", than="sat_sgd"), "losses"),
    "adam": Claim("By Adam log(1 − D) needs at most twice the updates of −log D there: Adam divides a gradient by its size.",
        "[Kingma], section 2.1 (counter-evidence to [Overview], “Training Rules of GAN”)", frozen.ratio_below("steps_to_fool", 2.0, arm="sat", than="ns"), "losses"),
    "stuck": Claim("Trained on in turns from a confident discriminator, log(1 − D) covers fewer than half of the ring's modes.",
        RULES + " (“iteration cannot be performed”)", ring(critic="confident").below("modes", 4, arm="sat"), "modes"),
    "better": Claim("So −log D is the one to choose: from a fresh start, both tuned, it ends at no more than half of the distance to the data, on ring, grid and digits.",
        RULES, everywhere(ring.ratio_below("test_distance", 0.5, arm="ns", than="sat"), task=("ring", "grid", "digits")), "distance"),
    "no-better": Claim("Tuned alike neither covers more modes: they are within one of the ring's eight, and within three of the grid's 25.",
        "[Lucic], abstract", every(ring.equivalent("modes", arm="ns", to="sat", within=1), grid.equivalent("modes", arm="ns", to="sat", within=3)), "modes"),
    "more-steps": Claim("More steps of the discriminator widen the gap between the gradients: with five the ratio is at most half of that with one, in the mean over training.",
        "[Arjovsky], theorem 2.4 and figure 2", ring.ratio_below("mean_share", 0.5, arm="sat_5", than="sat"), "share"),
    "five-steps": Claim("With five steps −log D ends at no more than half of the distance of log(1 − D), both tuned.",
        RULES, ring.ratio_below("test_distance", 0.5, arm="ns_5", than="sat_5"), "distance"),
    "modes": Claim("A plain GAN loses modes: it covers fewer than seven of the ring's eight, and fewer than 20 of the grid's 25.",
        "[VEEGAN], table 1; [PacGAN], table 1", every(ring.below("modes", 7, arm="ns"), grid.below("modes", 20, arm="ns")), "modes",
        Published("ring 1 (VEEGAN), 6.3 ± 0.5 (PacGAN); grid 3.3 and 17.3 ± 0.8", "read in the paper", 6.3)),
    "quality": Claim("More than nine in ten of its samples of the ring are good.",
        "[VEEGAN], table 1; [PacGAN], table 1", ring.above("quality", 0.9, arm="ns"), "quality",
        Published("99.3 % (VEEGAN), 98.2 % (PacGAN)", "read in the paper", 0.982)),
    "fast": Claim("The same network loses modes where its rate is ten times the discriminator's: more than two of the ring's eight.",
        "[Heusel], abstract (two time scales); [VEEGAN], table 1 (one mode)", ring.lower("modes", arm="ns_fast", than="ns", by=2), "modes"),
}  # fmt: skip


def over_time(study, frame, palette):
    """Samples of the ring and the grid after some updates, of the first seed."""
    shown = (("ring", "ns"), ("ring", "sat"), ("ring", "ns_fast"), ("grid", "ns"))
    figure, axes = panels(len(shown) * len(SHOWN_AT), columns=len(SHOWN_AT), height=1.42, legend=0)
    rows, family = frame[frame["seen_0"].notna()], names("seen", SIDE**2)
    for i, (ax, step) in enumerate(zip(axes, SHOWN_AT * len(shown), strict=True)):
        task, arm = shown[i // len(SHOWN_AT)]
        own = rows[(rows["task"] == task) & (rows["arm"] == arm) & (rows["step"] == step)]
        ax.set(xticks=[], yticks=[], aspect="equal", xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        ax.set_title(f"{step} updates" if i < len(SHOWN_AT) else "")
        ax.set_ylabel("" if i % len(SHOWN_AT) else study.label(arm))
        if len(own):
            pixels = unpacked(own[family].iloc[0].to_numpy(float)).reshape(SIDE, SIDE)
            ax.imshow(pixels, cmap="Blues", vmin=0, vmax=1, extent=(-REACH, REACH) * 2)
        ax.plot(*MODES[task].T, "o", ms=5, mfc="none", mec=palette["sat"], mew=0.5)
    return figure


def losses(study, frame, palette):
    """Both losses against D(G(z)), and how D(G(z)) rises against a discriminator that stands still."""
    figure, axes = panels(2, columns=2, height=2.4)
    d = torch.linspace(0.002, 0.998, 300)
    axes[0].plot(d, -d.log(), color=palette["ns"], lw=1.6)
    axes[0].plot(d, (1 - d).log(), color=palette["sat"], lw=1.6)
    rows = frame[(frame["task"] == "frozen") & (frame["phase"] == "confirm")]
    for arm in RUNS["frozen", "confident"]:
        along = rows[rows["arm"] == arm].groupby("step")["fake"].mean()
        look = {"ls": "--" if arm.endswith("sgd") else "-", "color": palette[arm.split("_")[0]]}
        axes[1].plot(along.index - along.index.min(), along, label=study.label(arm), lw=1.4, **look)
    axes[0].set(title="what the generator minimises", xlabel="D(G(z))", ylim=(-4, 4))
    axes[1].set(title="mean D(G(z))", xlabel="updates of the generator", ylim=(-0.03, 1.03))
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


FIGURES = (
    custom("samples", "Samples through training (seed 0), the data's modes as circles: two losses on the ring, the first of them with a generator ten times as fast as the discriminator, and on the grid.", over_time),
    custom("losses", "Left, the generator's losses: where D is sure that a sample is made, log(1 − D) is flat and −log D is steep. Right, generators that are trained against such a D, on digits: by plain descent log(1 − D) does not move; Adam divides the small slope by its size.", losses),
    curves("share", "Gradient of log(1 − D) over that of −log D in the same state, through training on the ring: a hundredth at a confident start, and over a third a few hundred updates later, as Adam moves either generator.", "share", factor="critic", where={"task": "ring"}, arms=("ns", "sat", "ns_5", "sat_5")),
    across("distance", "Energy distance of samples to test examples, from a fresh start: mean and 95 % interval over seeds.", "test_distance", "task", levels=("ring", "grid", "digits"), where={"critic": "fresh"}),
    intervals("modes", "Modes that have a sample, of eight and of 25: a generator ten times as fast as the discriminator loses them.", "modes", factor="task", levels=("ring", "grid"), where={"critic": "fresh"}),
    intervals("quality", "Share of samples within three standard deviations of a mode.", "quality", factor="task", levels=("ring", "grid"), where={"critic": "fresh"}),
    pictures("digits", "Digits that generators have made, from a fresh start (seed 0).", "seen", shape=(SIDE, SIDE), where=digits, colours=False),
    sensitivity("sensitivity", "Energy distance of the ring against the rates: every draw of the tune phase.", "valid_distance", where=ring, arms=("ns", "sat", "ns_5", "sat_5")),
)  # fmt: skip

STUDY = Study(
    question="Does a confident discriminator starve log(1 − D), and does −log D find more of the data?",
    trial=trial,
    arms=ARMS,
    vary={"task": ("table", "frozen", "ring", "grid", "digits"), "critic": ("fresh", "confident")},
    include=lambda arm, cell: arm in RUNS.get((cell["task"], cell["critic"]), ()),
    nuisance={"lr": Float(1e-4, 1e-2, log=True), "critic_lr": Float(3e-4, 1e-2, log=True)},
    fixed={"steps": 1000, "ready": 500, "frozen_steps": 400, "toy_steps": 2000, "batch_size": 64, "units": 32, "spread": 0.05},
    select=("valid_distance", "off_data", "steps_to_fool"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[GAN]": "Goodfellow et al. 2014, Generative adversarial nets",
        "[Arjovsky]": "Arjovsky & Bottou 2017, Towards principled methods for training generative adversarial networks",
        "[Lucic]": "Lucic et al. 2018, Are GANs created equal? A large-scale study",
        "[VEEGAN]": "Srivastava et al. 2017, VEEGAN: reducing mode collapse in GANs using implicit variational learning",
        "[PacGAN]": "Lin et al. 2018, PacGAN: the power of two samples in generative adversarial networks",
        "[Heusel]": "Heusel et al. 2017, GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
