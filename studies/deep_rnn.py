"""Deep and bidirectional recurrent networks: what do more layers and a second direction gain?

LSTMs of one to three layers that read one way or both, plain tanh networks and deep transitions (a hidden layer
between states), with at most 3,000 parameters each (2,434 to 3,000; windows 708 to 5,322); and dense networks of 64
units on a window. All are trained by Adam at a rate that falls along a cosine, whose peak is tuned with the same
draws for each.

*Sides*: events A or B, drawn by a coin, stand with probability 1/6 at each of 16 steps, and at both ends. The label is
which was the latest and which is the next. One direction is at chance on the second half; what a window, or answers
that come late, can know at best is exact (`known`). *Xor*: whether these two differ. One layer of two directions adds
what it says of each side, and a sum is right on three of the four cases. *Frames*, for TIMIT: MNIST-1D's signals one
after another, eight numbers a frame, five frames a digit, cut anywhere; a frame's label is its digit. *Chords* go up or
down a fifth by a coin; one of four is hidden, to be filled in. From before, six notes are open, 6 ln 2 nats; from both
sides 3 ln 2; what adds two sides, as one layer does, has 3.275 at best (logistic regression on both neighbours).
*Next*: the same a step ahead, which `NextStep` refuses to networks that read both ways; one is let through here, to
show the leak. At the paper scale chorales stand beside the chords.

How sentences were read. SNU's “Deep LSTM” shows layers and claims nothing: judged is what Graves et al. found, at equal
width, as they compared, and at equal parameters. “Model complexity exponential in window size” is read as a
network's parameters; it is true of a table of all windows, which has 3^(2r + 1) entries here.

Departures: a label a frame in place of CTC, no TIMIT, no weight noise; input weights of deep transitions start 2.5
times as large as those of plain networks. Margins were fixed before any run; pilots on validation data set updates
and rates. Two runs left four claims open each. New since the first (old values in brackets): finalists, 16 steps
(20), answers 6 late (8), no test sequence from training, one layer for chords one way, two layers at equal width. New
since the second (xor failed on 6 of 24 seeds, chords 2.36 nats, three layers +1.3 points, transitions +0.3): 800
updates on frames (450), where two layers one way were dropped, 1,000 on chords (500), 450 on xor (300), rates up to
0.07 (0.2; LSTMs did worse at 0.17 on frames), draws and seeds by task. Refuted: windows grow 1.7-fold; on frames both
ways gain 4.2 points, 2.9 on a window; depth one way loses 2.7, transitions 1.8, shortcuts 3.6.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from harness import Arm, Budget, By, Claim, Data, Float, Optimizer, Study, Training, Trial
from harness.claims import every, place
from harness.figures import custom, intervals, panels, sensitivity
from harness.parts.data import load
from harness.parts.data.labelled import apart, events, fifths, joined, known
from harness.parts.draws import uniform
from harness.parts.models import Late, NextStep, Recurrent, Transition, Window, widest
from harness.parts.objectives import Loss
from harness.parts.schedules import Cosine
from harness.study import Metric, Published, classification

STEPS, EVENT, NOISE = 16, 1 / 6, 0.05  # of a sequence; the chance of an event at a step, and noise
CHORDS, PERIOD, LATE = 12, 4, 6  # chords; of so many one is hidden; steps by which answers are late
FAR, POINT = 10, 0.01  # steps ahead, up to which the next event is counted apart; of accuracy
MADE = (12_000, 500, 5_000)  # sequences to train on, to validate and to test


def labelled(label, drawn, n):
    x, latest, following = events(drawn, n, STEPS, EVENT, NOISE)
    return x, label(latest, following)


def frames():
    splits = load(Data("mnist1d"))
    return tuple(joined(np.random.default_rng(seed), *(part.numpy() for part in split), 4, 8)
                 for seed, split in enumerate((splits.train, splits.valid, splits.test)))  # fmt: skip


MINE = {
    "sides": partial(labelled, lambda a, b: 2 * a + b), "xor": partial(labelled, lambda a, b: a ^ b),
    "chords": partial(fifths, steps=CHORDS),
}  # fmt: skip
DATA = {name: Data.of(partial(apart, make, MADE), name=name) for name, make in MINE.items()}  # fmt: skip
DATA |= {"next": DATA["chords"], "frames": Data.of(frames, name="frames"), "chorales": Data("jsb_chorales")}  # fmt: skip
SHAPES = {"sides": (2, 4), "xor": (2, 2), "frames": (8, 10), "chords": (13, 12), "next": (12, 12), "chorales": (89, 88)}  # fmt: skip


def network(task: str, kind: str, layers: int, both: bool, hidden: int, radius: int = 0):
    """What answers at every step."""
    inputs, outputs = SHAPES[task]
    if kind == "window":
        return Window(inputs, hidden, outputs, radius)
    if kind in ("deep", "shortcut"):
        return Transition(inputs, hidden, outputs, kind == "shortcut")
    std = (3 * hidden) ** -0.5  # that of torch's own start
    return Recurrent(kind, inputs, hidden, outputs, layers, both, True, task == "chorales", std)


@cache
def width(size: int, *kind) -> int:
    """Units of a network of at most so many parameters."""
    return widest(partial(network, *kind), size)


def asked(delay: int, task: str, *kind):
    """The network, as its task asks it."""
    net = network(task, *kind)
    if task == "next":
        return NextStep(net, SHAPES[task][0], leaks=kind[2])
    return Late(net, delay, STEPS - 1) if task in ("sides", "xor") else net


def open_notes(logits, notes, counted):
    """The nats of a step's notes, in the mean over the steps that count."""
    nats = F.binary_cross_entropy_with_logits(logits, notes, reduction="none").sum(-1)  # (B, T)
    return (nats * counted).sum() / counted.sum()


def filled(net, x, y):
    """Of hidden steps, whose neighbours are shown."""
    inside = ~x[..., 0].isnan()  # (B, T)
    hidden = (
        torch.arange(x.shape[1], device=x.device) % PERIOD == (uniform(len(x), 1) * PERIOD).long()
    )
    hidden = F.pad(hidden[:, 1:-1] & inside[:, 2:], (1, 1)).unsqueeze(2)
    said = net(torch.cat([torch.where(hidden, 0, x), hidden.to(x.dtype)], 2))
    return open_notes(said, x.nan_to_num(), hidden.squeeze(2).to(x.dtype))


def ahead(net, x, y):
    """Of all steps but the first."""
    return open_notes(net(x), x[:, 1:], torch.ones_like(x[:, 1:, 0]))


LOSSES = {"chords": Loss(filled), "next": Loss(ahead)}


@dataclass(frozen=True)
class Halves:
    """On `sides`: test accuracy on the next event, ``ahead``, and by how many steps off it is, ``ahead_1``
    …; ``foresight``, by how much answers of the first half change with the second; ``parameters``."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        x, y = pack.splits.test
        half, t = STEPS // 2, torch.arange(STEPS, device=x.device)
        changed = torch.cat([x[:256, :half], x[:256, half:].flip(0)], 1)
        following = torch.where(x.sum(2) > 0.5, t, STEPS).flip(1).cummin(1).values.flip(1)[:, 1:]
        gap = following - t[:-1]

        def halves(net):
            right = (net(x).argmax(-1) % 2 == y % 2).float()
            moved = (net(changed) - net(x[:256]))[:, :half].abs().amax()
            each = {f"ahead_{d}": right[gap == d].mean() for d in range(1, FAR + 1)}
            return {"ahead": right.mean(), "foresight": moved} | each

        size = sum(weight[0].numel() for weight in pack.params.values())
        return pack.ask(halves) | {"parameters": torch.full_like(pack.loss, size)}


def trial(t: Trial) -> Training:
    task, layers = t["task"], t.get("layers", 1)
    objective = LOSSES.get("chords" if task == "chorales" else task)
    kind = task, t.get("kind", "vanilla"), layers, t.get("both", False)
    like = (*kind[:2], 1, kind[3]) if t.get("wide") else kind  # as wide as a single layer
    hidden = t["units"] if "window" in kind else width(t["size"], *like)
    return Training(
        partial(asked, t.get("delay", 0), *kind, hidden, t.get("radius", 0)),
        Optimizer("adam", Cosine(), lr=t["lr"], clip=1.0), DATA[task], *([objective] if objective else []),
        steps=t["updates"], every=t["updates"], batch_size=32,
        probes=(Halves(),) if task == "sides" and t.phase == "confirm" else (),
    )  # fmt: skip


TWO, RADII = {"both": True}, (1, 2, 4, 8)
ARMS = {
    "one": Arm({}, label="one way"),
    "one2": Arm({"layers": 2}, label="one way, 2 layers"),
    "one3": Arm({"layers": 3}, label="one way, 3 layers"),
    "two": Arm(TWO, label="both ways"),
    "two2": Arm(TWO | {"layers": 2}, label="both ways, 2 layers"),
    "two3": Arm(TWO | {"layers": 3}, label="both ways, 3 layers"),
    "wide2": Arm(TWO | {"layers": 2, "wide": True}, label="both ways, 2 wide layers"),
    "late": Arm({"delay": LATE}, label="one way, 6 steps late"),
    "tanh": Arm({"kind": "RNN"}, label="tanh, one way"),
    "deep": Arm({"kind": "deep"}, label="deep transition"),
    "deep_skip": Arm({"kind": "shortcut"}, label="deep transition, shortcut"),
    **{f"window{r}": Arm({"kind": "window", "radius": r}, label=f"window of {2 * r + 1} frames") for r in RADII},
}  # fmt: skip
WINDOWS = tuple(f"window{r}" for r in RADII)
RUNS = {
    "sides": ("one", "two", "late", *WINDOWS), "xor": ("one2", "two", "two2"),
    "frames": ("one", "one3", "two", "two2", "two3", "wide2", "tanh", "deep", "deep_skip", *WINDOWS[:3]),
    "chords": ("one", "two", "two2"), "next": ("one", "two"), "chorales": ("one", "two", "two2"),
}  # fmt: skip


def included(arm, cell) -> bool:
    return arm in RUNS[cell["task"]]


METRICS = {
    **classification(),
    "test_loss": Metric("nats", better="low", log=True, label="test loss (nats)"),
    "ahead": Metric("fraction", better="high", worst=0.0, label="accuracy on the next event"),
    "foresight": Metric("logits", log=True, label="change of answers by what comes later"),
    "parameters": Metric("count", log=True, label="parameters"),
    **{f"ahead_{d}": Metric("fraction", label="accuracy on the next event") for d in range(1, FAR + 1)},
}  # fmt: skip
SPENT = {"sides": (300, 3, 1), "xor": (450, 2, 2), "frames": (800, 4, 1), "chords": (1000, 3, 1), "next": (250, 3, 1)}  # fmt: skip
UPDATES, DRAWS, FINAL = ({task: each[n] for task, each in SPENT.items()} for n in range(3))
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, updates=3, size=500, task=("sides", "frames", "chords", "next")),
    "default": Budget(draws=By("task", DRAWS), seeds=6, most_seeds=12, futility=0.05, finalists=2, final_seeds=By("task", FINAL), task=tuple(UPDATES), updates=By("task", UPDATES)),
    "paper": Budget(draws=12, seeds=10, most_seeds=40, finalists=3, size=100_000, units=512),
}  # fmt: skip

at_sides, at_xor, at_frames, at_chords, at_next, at_chorales = (place(task=task) for task in SHAPES)
BOTH, DEEP = (f"[SNU], “LSTM variants: {heading}”" for heading in ("bidirectional LSTM (RNN)", "Deep LSTM (RNN)"))  # fmt: skip
MODEL = "[SNU], “Applications of RNN (LSTM): acoustic model”"
CLAIMS = {
    "blind": Claim("What one direction answers does not depend on what comes later (exact): changing it changes no answer, below one part in a trillion.",
        BOTH, at_sides.below("foresight", 1e-12, arm="one"), "foresight"),
    "chance": Claim("So on the half of the label that lies ahead it is at chance, within a point (exact in expectation).",
        BOTH, every(at_sides.above("ahead", 0.5 - POINT, arm="one"), at_sides.below("ahead", 0.5 + POINT, arm="one")), "reach"),
    "both": Claim("With as many parameters two directions label right 40 points more (at most 50, exact).",
        BOTH, at_sides.higher("test_accuracy", arm="two", than="one", by=0.4), "sides"),
    "late": Claim("One direction that may answer six steps late needs no second: it comes within three points of the most that the delay allows, 0.90.",
        "[Graves05], section 5.2 (target delays); counter-evidence to " + BOTH, at_sides.above("test_accuracy", known(STEPS, EVENT, STEPS, LATE) - 3 * POINT, arm="late"), "sides"),
    "windows": Claim("Windows of 3, 5 and 9 frames end within three points of the most that they can know (exact), and no more than one above.",
        MODEL, every(*(check for r in RADII[:3] for check in (at_sides.above("test_accuracy", known(STEPS, EVENT, r, r) - 3 * POINT, arm=f"window{r}"),
            at_sides.below("test_accuracy", known(STEPS, EVENT, r, r) + POINT, arm=f"window{r}")))), "sides"),
    "edge": Claim("A window of 9 frames knows an event four steps ahead (above 0.97) and is at chance on one five steps ahead (within five points).",
        MODEL, every(at_sides.above("ahead_4", 0.97, arm="window4"), at_sides.above("ahead_5", 0.45, arm="window4"), at_sides.below("ahead_5", 0.55, arm="window4")), "reach"),
    "context": Claim("Two directions know the whole sequence: they label right 25 points more than a window of 9 frames, and five more than one of 17.",
        MODEL + " (“use entire sequence”)", every(at_sides.higher("test_accuracy", arm="two", than="window4", by=0.25),
              at_sides.higher("test_accuracy", arm="two", than="window8", by=5 * POINT)), "sides"),
    "grows": Claim("A window's parameters grow with it (exact): 17 frames take more than half as many again as 9.",
        MODEL, at_sides.ratio_above("parameters", 1.5, arm="window8", than="window4"), "size"),
    "exponential": Claim("They grow exponentially: eight more frames multiply them by more than four.",
        MODEL + " (“model complexity: exponential in window size”)", at_sides.ratio_above("parameters", 4.0, arm="window8", than="window4"), "size"),
    "xor-one-layer": Claim("One layer of two directions adds what each says, and is right on at most three of four cases of an exclusive or (exact in expectation): below 0.76.",
        "[Overview], “XOR Problem”; " + DEEP, at_xor.below("test_accuracy", 0.76, arm="two"), "xor"),
    "xor-two-layers": Claim("With as many parameters two layers solve it: above 0.95.",
        DEEP, at_xor.above("test_accuracy", 0.95, arm="two2"), "xor"),
    "xor-one-way": Claim("Depth does not make up for a direction: two layers that read one way are at chance, within a point.",
        BOTH, every(at_xor.above("test_accuracy", 0.5 - POINT, arm="one2"), at_xor.below("test_accuracy", 0.5 + POINT, arm="one2")), "xor"),
    "frames-both": Claim("On frames of signals two directions are more than five points more accurate than one.",
        BOTH, at_frames.higher("test_accuracy", arm="two", than="one", by=5 * POINT), "frames",
        Published("18.6 % phone errors against 19.6 % with one direction (three layers, TIMIT).", "from memory")),
    "frames-two": Claim("At equal parameters two layers of both ways are more than a point more accurate than one.",
        DEEP + "; [Graves13], table 1", at_frames.higher("test_accuracy", arm="two2", than="two", by=POINT), "frames"),
    "frames-three": Claim("And three layers than one, by more than two points.",
        DEEP + "; [Graves13], table 1", at_frames.higher("test_accuracy", arm="two3", than="two", by=2 * POINT), "frames"),
    "frames-wide": Claim("At equal width, as it was published, two layers are more than two points more accurate than one.",
        DEEP + "; [Graves13], table 1", at_frames.higher("test_accuracy", arm="wide2", than="two", by=2 * POINT), "frames",
        Published("21.0 % phone errors with two layers, 23.9 % with one (250 units, TIMIT).", "from memory")),
    "frames-one-way": Claim("Depth helps one direction, too: three layers are more than a point more accurate than one, at equal parameters.",
        DEEP, at_frames.higher("test_accuracy", arm="one3", than="one", by=POINT), "frames"),
    "frames-window": Claim("Both ways are more than five points more accurate than a window of 9 frames.",
        MODEL, at_frames.higher("test_accuracy", arm="two", than="window4", by=5 * POINT), "frames"),
    "lstm": Claim("The LSTM is more than two points more accurate than a plain tanh network with as many parameters.",
        "[Graves13], table 1", at_frames.higher("test_accuracy", arm="one", than="tanh", by=2 * POINT), "frames",
        Published("18.6 % phone errors with LSTM, 37.6 % with tanh (three layers, both ways, TIMIT).", "quoted by someone else")),
    "transition": Claim("A deep transition with a shortcut is more than a point more accurate than a plain tanh network with as many parameters.",
        "[Pascanu14], section 3.3.1", at_frames.higher("test_accuracy", arm="deep_skip", than="tanh", by=POINT), "frames"),
    "shortcut": Claim("It needs the shortcut, for without it the way back in time is twice as long: it is more than a point better with it.",
        "[Pascanu14], section 3.3.1", at_frames.higher("test_accuracy", arm="deep_skip", than="deep", by=POINT), "frames"),
    "missing": Claim("To fill in a hidden chord, from before no network does better than 6 ln 2 (exact): one direction ends above 4.10 nats and below 4.30.",
        BOTH, every(at_chords.above("test_loss", 4.10, arm="one"), at_chords.below("test_loss", 4.30, arm="one")), "chords"),
    "missing-both": Claim("From both sides at least half is open, 3 ln 2 (exact): two layers of both ways end below 2.4 nats.",
        BOTH + " (“to predict a missing word in a sequence”)", at_chords.below("test_loss", 2.4, arm="two2"), "chords"),
    "missing-layer": Claim("One layer of both ways cannot do that (exact: it has 3.275 at best): it ends above 3.2 nats.",
        DEEP, at_chords.above("test_loss", 3.2, arm="two"), "chords"),
    "leak": Claim("Let through, two directions predict the next chord by copying it: below 0.2 nats, where 6 ln 2 is the least that can be predicted (exact).",
        BOTH + " (what it may not be asked)", at_next.below("test_loss", 0.2, arm="two"), "next"),
    "honest": Claim("One direction, which cannot, ends between 4.10 and 4.30 nats.",
        "[Pascanu14], section 4.1 (next-step prediction)", every(at_next.above("test_loss", 4.10, arm="one"), at_next.below("test_loss", 4.30, arm="one")), "next"),
    "chorales": Claim("On chorales, too, both ways fill hidden frames with a loss more than a tenth lower than one.",
        BOTH, at_chorales.ratio_below("test_loss", 0.9, arm="two2", than="one"), "chords"),
}  # fmt: skip


def reach(study, frame, palette):
    """Accuracy on the next event by how far ahead it is, and on the label by the window's size."""
    figure, axes = panels(2, columns=2, height=2.4)
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == "sides")].groupby("trial").last()
    for arm in ("one", "late", *WINDOWS, "two"):
        own = 100 * rows.loc[rows["arm"] == arm, [f"ahead_{d}" for d in range(1, FAR + 1)]].mean()
        style = ".:" if arm in WINDOWS else ".-"
        axes[0].plot(range(1, FAR + 1), own, style, color=palette[arm], label=study.label(arm))
    axes[0].set(title="the next event", xlabel="steps until it comes", ylabel="right (%)", ylim=(40, 104))  # fmt: skip
    means = 100 * rows.groupby("arm")["test_accuracy"].mean()
    most = [100 * known(STEPS, EVENT, r, r) for r in range(9)]
    axes[1].plot(range(1, 18, 2), most, color="0.6", lw=1.2)
    for r, arm in zip(RADII, WINDOWS, strict=True):
        axes[1].plot(2 * r + 1, means.get(arm), "o", color=palette[arm], ms=5)
    for arm in ("one", "late", "two"):
        axes[1].axhline(means.get(arm, 0), color=palette[arm], lw=1.2, ls="--")
        axes[1].text(0.5, means.get(arm, 0) - 1, study.label(arm), va="top", fontsize=6.5)
    axes[1].set(title="latest and next event", xlabel="frames in the window", ylim=(20, 104))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


FIGURES = (
    custom("reach", "What a network can know of the future. Left: how often it is right about the next event, by how far ahead that is; one direction guesses, a window and a delay know it up to their edge and guess from there on, two directions know it wherever it is. Right: accuracy on both events against the window; grey is the most that a window can know.", reach),
    intervals("sides", "Accuracy on the latest and the next event.", "test_accuracy", where=at_sides, arms=RUNS["sides"]),
    intervals("size", "Parameters on that task: of a window in proportion to its frames.", "parameters", where=at_sides, arms=RUNS["sides"]),
    intervals("foresight", "How much answers in the first half change when the second half does.", "foresight", where=at_sides, arms=("two", "late", *WINDOWS)),
    intervals("xor", "Accuracy on whether the latest and the next event differ: one layer of both ways adds, two layers combine.", "test_accuracy", where=at_xor, arms=RUNS["xor"]),
    intervals("frames", "Frames of MNIST-1D labelled right, each network at its tuned rate and, but for wide layers and windows, with 3,000 parameters.", "test_accuracy", where=at_frames, arms=RUNS["frames"]),
    intervals("chords", "Loss on hidden chords: 6 ln 2 = 4.16 is the least from before, 3 ln 2 = 2.08 from both sides, 3.275 where sides are added.", "test_loss", factor="task", levels=("chords", "chorales"), arms=RUNS["chords"]),
    intervals("next", "Loss a step ahead, where 6 ln 2 = 4.16 is the least: two directions have read the step.", "test_loss", where=at_next, arms=RUNS["next"]),
    sensitivity("sensitivity", "Validation accuracy on frames against the peak rate: every draw of the tune phase.", "valid_accuracy", where=at_frames, arms=("one", "two", "two3", "wide2", "tanh", "deep", "deep_skip", "window4")),
)  # fmt: skip

STUDY = Study(
    question="What do more layers, and a second direction, gain a recurrent network?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"task": (*UPDATES, "chorales")}, include=included, nuisance={"lr": Float(4e-3, 0.07, log=True)},
    fixed={"updates": 20_000, "size": 3000, "units": 64}, select=("valid_accuracy", "valid_loss"),
    sources={
        "[Graves05]": "Graves & Schmidhuber 2005, Framewise phoneme classification with bidirectional LSTM and other neural network architectures",
        "[Graves13]": "Graves, Mohamed & Hinton 2013, Speech recognition with deep recurrent neural networks",
        "[Pascanu14]": "Pascanu, Gulcehre, Cho & Bengio 2014, How to construct deep recurrent neural networks",
    },
)  # fmt: skip
