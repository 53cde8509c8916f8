"""Long memory: from what length on do recurrent networks forget, and what helps?

Three tasks of memory, each on fresh sequences: temporal order (which of two symbols came first: AA, AB, BA, BB),
adding (the sum of two marked numbers) and copying (symbols, said again after blanks). Networks of 32 units (50 at the
evening scale, 100 at the paper scale) are trained by Adam, their gradients clipped to a norm of 1, at a rate that
falls along a cosine and is tuned with the same draws for all. What is judged is the share of what memory can gain: 0
is the best answer without memory (classes of equal chance; a squared error of 1/6; m ln 8 / length), 1 is no error.
Success on temporal order is Pascanu et al.'s, under 1 % of errors.

Arms. Tanh and ReLU start from N(0, 1/100) (Pascanu's "basic tanh"), at a radius of √units/10, 0.57 of 32; IRNN is
ReLU from the identity; leaky units keep 0.9. "Skip" adds links over five steps to those of one; "longer links" has no
others, and the last five states are read. Ω is Pascanu's penalty, a mean over steps and sequences, its weight drawn.
LSTMs have no peepholes; chrono is Tallec & Ollivier's start. Reservoirs of 128 units are read by ridge regression on
5,000 sequences. Clipping, to a norm of 1 or to values of 0.1, is judged under plain descent at a constant rate, for
Adam divides by the gradient's size. Toys: powers of a matrix, Jacobians, leaky units, and what 50 units recall of
uniform noise.

How sentences were read. "Vanish" is about the start: the gradient by the first input over that by the last, in
decades. "Most effective" (SNU): an LSTM of forget bias 1 is two points better than each other kind of unit. Oxford's
"reasonably small" radius is ½, held against 1.

Departures: 300 to 700 updates in place of millions, so that "fails" means within these, and 5,000 at the evening
scale, which is temporal order alone; Adam. Margins were fixed before any run; pilots of one seed, on validation data,
set tasks, lengths and rates. Two first runs, of fewer updates and reservoirs of 30 units, left six and three claims
open; margins have not moved, but 20 and 50 steps were judged in one claim then, and leaky units over 100 steps in
none. A third had up to 18 seeds; now seeds are added only for claims that they would probably decide. Refuted: an
LSTM of forget bias 1 learns 50 steps on half of the seeds, where IRNN, leaky units, skip and longer links do on
nearly all; and Ω keeps 0.06 more than tanh, not 0.2. On their margins lie a bias of 1 (0.6 more than 0) and tanh over
20 steps (0.87: two seeds of six fail). Chrono wants a rate of 0.03, IRNN at 50 steps of 0.006, the LSTM of bias 1 the
lowest of four, 0.003: at lower ones, which were not drawn, it might learn on more seeds. IRNN by descent without
clipping is at chance at all four. With the 5,000 updates of the evening tanh succeeds at 50 steps on 7 seeds of 24,
where leaky units, skip and IRNN do on all and an LSTM of bias 1 on 22; sigmoid units on none of six at 20. A radius
of 0.71 takes seven decades in 49 steps: that there are not more than eight is the width's doing. Six seeds left seven
claims open there; with up to 24, seven are.
"""

import math
from dataclasses import replace
from functools import partial
from typing import ClassVar

from harness import Arm, Budget, By, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, everywhere, place
from harness.figures import custom, intervals, panels, sensitivity
from harness.parts.data import tasks
from harness.parts.models import EchoState
from harness.parts.models.plain import Plain, gated, stretched
from harness.parts.objectives import CrossEntropy, Loss, SquaredError
from harness.parts.optimizers.rules import SGD
from harness.parts.probes.memory import Kept, Powers, Reach, Recalled, Through
from harness.parts.schedules import Cosine
from harness.study import Published, classification

FAR, STEPS, DELAYS = 5, 100, 80  # steps of a longer link, of powers, and back that are recalled
SHAPES = {"temporal_order": (6, 4), "adding": (2, 1), "copy": (10, 9)}  # numbers read and put out
LENGTHS, TESTED = (10, 20, 50, 100, 200), 1000  # sequences to test on, but at the paper scale


def few(task: str, length: int):
    """The sequences of a task, of which fewer are tested on."""
    x, y, x_valid, y_valid, x_test, y_test = tasks.made(task, length)
    return (x, y), (x_valid[:TESTED], y_valid[:TESTED]), (x_test[:TESTED], y_test[:TESTED])


NOISE = Data.of(partial(tasks.delays, DELAYS), name="delays", task="regression")
FEW = {(task, length): Data.of(partial(few, task, length), name=f"{task}_{length}", duplicates="allow")
       for task in SHAPES for length in LENGTHS[:-1]}  # fmt: skip


class Clipped(SGD):
    """Plain descent along a gradient of which each number is cut to `value`."""

    defaults: ClassVar = {"lr": 0.01, "value": math.inf}

    def update(self, w, g, s, c, free):
        super().update(w, g.minimum(c["value"]).maximum(-c["value"]), s, c, free)


def trial(t: Trial) -> Training:
    task, length = t["task"], t["length"]
    if "steps" in t.settings:
        model = partial(Through, t["radius"], STEPS, (0.5, 0.9, 0.99))
        return Training(model, Optimizer("sgd", lr=1e-30), steps=1, probes=(Powers(),))
    if task == "toy":
        model = partial(EchoState, 1, 50, DELAYS, t["radius"], scale=0.1, washout=DELAYS)
        return Training(model, Optimizer("ridge", l2=1e-6), NOISE, SquaredError(), epochs=1, batch_size=2,
                        trains="readout.*", probes=() if t.phase == "tune" else (Recalled(),))  # fmt: skip
    n_in, n_out = SHAPES[task]
    data = FEW[task, length] if t["few"] else Data(task, length=length)
    loss = SquaredError() if task == "adding" else CrossEntropy()
    without = {"adding": 1 / 6, "copy": min(10, length // 4) * math.log(8) / length}.get(task)
    if "radius" in t.settings:
        model = partial(EchoState, n_in, 128, n_out, t["radius"], scale=t["scale"], every_step=False)  # fmt: skip
        return Training(model, Optimizer("ridge", l2=1e-4), replace(data, train=t["read"]), loss, epochs=1,
                        batch_size=250, trains="readout.*", probes=(Kept(without),))  # fmt: skip
    if "forget" in t.settings:
        longest = length if t.arm == "chrono" else 0
        model = partial(gated, n_in, t["units"], n_out, task == "copy", t["forget"], longest)
    else:
        own = {n: t[n] for n in ("act", "identity", "keep", "far", "near") if n in t.settings}
        model = partial(Plain, n_in, t["units"], n_out, task == "copy", **own)
    rule = Optimizer("adam", Cosine(), lr=t["lr"], clip=1.0)
    if "clip" in t.settings:
        cut = {"norm": {"clip": 1.0}, "value": {"value": 0.1}, "none": {}}[t["clip"]]
        rule = Optimizer(Clipped, lr=t["lr"] * t.get("times", 1), **cut)
    steps = t.get("short", t["updates"])
    reaches = length in (20, 50) and task == "temporal_order" and t.arm in REACHES
    return Training(
        model, rule, data, Loss(stretched, loss, {"weight": t["weight"]}) if "weight" in t.settings else loss,
        steps=steps, every=steps, batch_size=t["batch_size"],
        probes=(Kept(without), *((Reach(),) if reaches and t.phase == "confirm" else ())),
    )  # fmt: skip


IRNN, SIGMOID, HELD = {"act": "relu", "identity": True}, {"act": "sigmoid", "times": 20}, {"lr": 0.1}  # fmt: skip
ECHO = {"radius": Float(0.5, 1.25), "scale": Float(0.03, 1.0, log=True)}
ARMS = {
    "tanh": Arm({}, label="tanh"),
    "relu": Arm({"act": "relu"}, label="ReLU"),
    "irnn": Arm(IRNN, label="IRNN"),
    "leaky": Arm({"keep": 0.9}, label="leaky"),
    "skip": Arm({"far": FAR}, label="skip"),
    "longer": Arm({"far": FAR, "near": False}, label="longer links"),
    "omega": Arm({}, nuisance={"weight": Float(3e-3, 1.0, log=True)}, label="Ω"),
    **{f"lstm_{name}": Arm({"forget": bias}, label=f"LSTM, bias {words}") for name, bias, words in (("neg", -1.0, "−1"), ("0", 0.0, "0"), ("1", 1.0, "1"))},
    "chrono": Arm({"forget": 0.0}, label="LSTM, chrono"),
    "gru": Arm({"forget": None}, label="GRU"),
    "echo": Arm({}, nuisance=ECHO, held=HELD, label="reservoir"),
    **{f"{unit.lower()}_{how}": Arm(own | {"clip": cut}, label=f"{unit}, {how}")
       for unit, own in (("IRNN", IRNN), ("sigmoid", SIGMOID)) for how, cut in (("descent", "none"), ("clipped", "norm"))},
    **{f"explode_{cut}": Arm(IRNN | {"clip": cut, "short": 100}, held=HELD, label=words) for cut, words in (("none", "not clipped"), ("norm", "by norm"), ("value", "by value"))},
    **{name: Arm({"radius": r, "steps": STEPS}, held=HELD, label=f"radius {r}") for name, r in (("decay", 0.9), ("growth", 1.1))},
    **{f"echo_{r}": Arm({"radius": r / 100}, held=HELD, label=f"radius {r / 100:g}") for r in (50, 90, 100, 125)},
}  # fmt: skip
RADII = tuple(arm for arm in ARMS if arm.startswith("echo_"))
UNITS = tuple(ARMS)[: tuple(ARMS).index("echo") + 1]
REACHES = tuple(arm for arm in UNITS if arm not in ("omega", "gru", "echo"))
EXPLODE = ("explode_none", "explode_norm", "explode_value")
DESCENT = ("irnn_descent", "irnn_clipped", "sigmoid_descent", "sigmoid_clipped")
ADDING, COPYING = ("tanh", "irnn", "leaky", "lstm_1", "chrono", "gru"), ("tanh", "irnn", "chrono", "gru")  # fmt: skip
RUNS = {
    ("toy", 100): ("decay", "growth", *RADII),
    ("temporal_order", 10): ("tanh", "echo"),
    ("temporal_order", 20): ("tanh", "irnn", "leaky", "omega", "echo", *DESCENT[2:]),
    ("temporal_order", 50): (*UNITS[:-2], "echo", *DESCENT[:2]),
    ("temporal_order", 100): ("tanh", "irnn", "leaky"), ("temporal_order", 200): UNITS,
    ("adding", 50): (*ADDING, *EXPLODE), ("adding", 200): ADDING,
    ("copy", 20): COPYING, ("copy", 200): COPYING,
}  # fmt: skip


def included(arm, cell) -> bool:
    return arm in RUNS.get((cell["task"], cell["length"]), ())


METRICS = {
    **classification("train_loss", "valid_loss", "test_loss", "valid_accuracy", "test_accuracy"),
    "valid_kept": Metric("share", better="high", worst=0.0, label="share kept"),
    "test_kept": Metric("share", better="high", worst=0.0, label="share of what memory can gain"),
    **{f"{split}_success": Metric("share", better="high", worst=0.0) for split in ("valid", "test")},
    "survived": Metric("share", better="high", worst=0.0, label="share of trials that did not diverge"),
    "gap": Metric("relative", better="low", log=True), "half_life": Metric("relative", better="low", log=True),
    **{name: Metric("decades") for name in ("growth", "bound", "through")}, "to_bound": Metric("ratio"),
    "test_capacity": Metric("steps", better="high", worst=0.0),
    **{f"test_recall_{back}": Metric("squared correlation") for back in range(1, DELAYS + 1)},
    **{f"reach_{step}": Metric("decades") for step in range(1, 51)},
}  # fmt: skip
UPDATES, DRAWS = {10: 300, 20: 700, 50: 600, 100: 500}, {"toy": 1} | dict.fromkeys(SHAPES, 4)
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, length=(20, 100), task=("toy", "temporal_order", "copy"), updates=4, batch_size=32, read=500),
    "default": Budget(draws=By("task", DRAWS), seeds=6, most_seeds=24, futility=0.05, length=LENGTHS[:-1], updates=By("length", UPDATES)),
    "evening": Budget(draws=4, seeds=6, most_seeds=24, futility=0.05, length=(20, 50), task=("temporal_order",), units=50, updates=5000, batch_size=20, few=False),
    "paper": Budget(draws=10, seeds=10, most_seeds=40, finalists=3, units=100, updates=50_000, batch_size=20, few=False),
}  # fmt: skip

toy, order, adding, copy = (place(task=task, length=n) for task, n in (("toy", 100), ("temporal_order", 50), ("adding", 50), ("copy", 20)))  # fmt: skip
at_20, OXFORD = order(length=20), "[Oxford], “Capture Regularity in the input space”"
SNU, CLIPPING, PROPER, RESERVOIRS, LSTM = (f"[SNU], “{slide}”" for slide in (
    "Vanishing or exploding gradients", "Solution (for exploding): gradient clipping", "Solution: proper weights & activation functions",
    "Solution: echo state networks and leaky units", "Solution: long short-term memory (LSTM)"))  # fmt: skip
PROBLEM, READ = "[Overview], “Recurrent Neural Network Problem”", "read off a figure"
NEAR = "the effect lies near its margin, and is worth no more time"
CLAIMS = {
    "powers": Claim("h⁽ᵗ⁾ = QᵀΛᵗQ h⁽⁰⁾ (exact): through 100 steps of a symmetric matrix the two differ by less than a part in 10¹⁰.",
        OXFORD, everywhere(toy.below("gap", 1e-10, arm="decay"), arm=("decay", "growth")), "powers"),
    "either": Claim("So states vanish or explode: to below 10^−4.57 at a radius of 0.9 (0.9¹⁰⁰, exact), more than 100-fold at 1.1.",
        OXFORD, every(toy.below("growth", -4.57, arm="decay"), toy.above("growth", 2.0, arm="growth")), "powers"),
    "bound": Claim("A gradient through t steps of a tanh network is at most (β_w β_h)ᵗ, at every t up to 100 (exact).",
        SNU, everywhere(toy.below("to_bound", 1.000001, arm="decay"), arm=("decay", "growth")), "powers"),
    "loose": Claim("The bound says little: at a radius of 0.9 it allows growth by ten decades, where the gradient falls by more than four.",
        SNU + " (counter-evidence)", every(toy.above("bound", 10.0, arm="decay"), toy.below("through", -4.0, arm="decay")), "powers"),
    "half-life": Claim("A leaky unit forgets half in ln ½ / ln α steps (exact): within a thousandth at α of 0.5, 0.9 and 0.99.",
        RESERVOIRS, toy.below("half_life", 1e-3, arm="decay"), "powers"),
    "capacity": Claim("The memory capacity of a reservoir is at most its units, 50 (exact), at radii from 0.5 to 1.25.",
        "[Jaeger], proposition 2; " + RESERVOIRS, everywhere(toy.below("test_capacity", 50.0, arm="echo_50"), arm=RADII), "capacity"),
    "small-radius": Claim("A small radius forgets: 0.5 recalls at least five steps fewer than 1.",
        OXFORD + " (“some reasonably small value”)", toy.lower("test_capacity", arm="echo_50", than="echo_100", by=5.0), "capacity"),
    "large-radius": Claim("So does a large one: 1.25 recalls at least three steps fewer than 1.",
        RESERVOIRS, toy.lower("test_capacity", arm="echo_125", than="echo_100", by=3.0), "capacity"),
    "vanish": Claim("In a plain network gradients vanish: that by the first of 50 inputs starts more than eight decades below that by the last (theory: 0.57⁴⁹, twelve).",
        "[ECNU], “Back-propagation through time”; " + SNU, order.below("reach_1", -8.0, arm="tanh", at="start"), "reach"),
    "identity": Claim("From the identity they do not: ReLU keeps it within one decade.",
        PROPER, order.above("reach_1", -1.0, arm="irnn", at="start"), "reach"),
    "cell": Claim("An LSTM's cell alone does not keep it: with a forget bias of 0 more than eight decades are lost (theory: 2⁻⁴⁹, fifteen).",
        LSTM + " (product of gradients close to one); [ECNU], “Long-short term memory (LSTM)”", order.below("reach_1", -8.0, arm="lstm_0", at="start"), "reach"),
    "start": Claim("Chrono's biases keep it within three decades, and links of five steps in place of one within four (theory: 0.57⁹, two).",
        "[Tallec], section 2; " + OXFORD + " (remove connection)", every(order.above("reach_1", -3.0, arm="chrono", at="start"), order.above("reach_1", -4.0, arm="longer", at="start")), "reach"),
    "short": Claim("Over 20 steps the plain network remembers: it keeps over 0.9 of temporal order.",
        "[Pascanu], figure 7", at_20.above("test_kept", 0.9, arm="tanh"), "success", Published("All succeed up to 35 steps (tanh, not clipped)", READ), underpowered=NEAR),
    "fails": Claim("From a length on it fails: over 50 steps it keeps below 0.1.",
        PROBLEM + "; [UIUC], “Recurrent Neural Networks: General Concepts”; [Pascanu], figure 7", order.below("test_kept", 0.1, arm="tanh"), "success", Published("None succeeds from 50 steps on (tanh, not clipped)", READ)),
    "by-task": Claim("The length depends on the task: it fails at 20 steps of copying, and at 50 of adding, too (below 0.1).",
        PROBLEM, every(copy.below("test_kept", 0.1, arm="tanh"), adding.below("test_kept", 0.1, arm="tanh")), "adding"),
    "irnn": Claim("IRNN learns what tanh cannot: at 50 steps it keeps more than 0.5 more, of temporal order and of adding.",
        PROPER + "; [Le], section 4.1", every(*(at.higher("test_kept", arm="irnn", than="tanh", by=0.5) for at in (order, adding))), "adding"),
    "identity-only": Claim("It is the identity, not ReLU: from small weights ReLU keeps below 0.1 of temporal order at 50 steps.",
        PROPER, order.below("test_kept", 0.1, arm="relu"), "order"),
    "leaky": Claim("Leaky units remember longer: more than 0.5 more than tanh of temporal order at 50 steps.",
        RESERVOIRS, order.higher("test_kept", arm="leaky", than="tanh", by=0.5), "order"),
    "leaky-100": Claim("And over 100 steps, too, where half of a state is gone in 6.6.",
        RESERVOIRS, order(length=100).higher("test_kept", arm="leaky", than="tanh", by=0.5), "success"),
    "leaky-adding": Claim("But cannot hold one number and ignore others: they keep below 0.2 of adding.",
        LSTM + " (leaky units vs. LSTM)", adding.below("test_kept", 0.2, arm="leaky"), "adding"),
    "skip": Claim("Skip connections through time, and longer links alone, keep more than 0.5 more than tanh of temporal order at 50 steps.",
        OXFORD, everywhere(order.higher("test_kept", arm="skip", than="tanh", by=0.5), arm=("skip", "longer")), "order"),
    "omega": Claim("Ω lengthens memory: it keeps more than 0.2 more than tanh of temporal order at 50 steps.",
        "[SNU], “Solution: regularization”; [Pascanu], figure 7", order.higher("test_kept", arm="omega", than="tanh", by=0.2), "order",
        Published("All succeed up to 250 steps with clipping and Ω, with clipping alone up to 50 (tanh)", READ), underpowered=NEAR),
    "diverges": Claim("Clipping prevents divergence: at a rate of 0.1 fewer than half of IRNNs survive plain descent on adding, and more than 95 % with either clipping.",
        CLIPPING + "; [Overview], “Vanishing Gradient and Exploding Gradient Problem (2)”",
        every(adding.below("survived", 0.5, arm=EXPLODE[0]), everywhere(adding.above("survived", 0.95, arm=EXPLODE[1]), arm=EXPLODE[1:])), "survived"),
    "clipping": Claim("So it helps where gradients do not vanish: IRNN by clipped descent keeps more than 0.2 more of temporal order at 50 steps, both tuned.",
        CLIPPING, order.higher("test_kept", arm="irnn_clipped", than="irnn_descent", by=0.2), "clipping"),
    "no-cure": Claim("It does not cure vanishing: with sigmoid units it gains nothing at 20 steps, within 0.05.",
        CLIPPING + "; [Pascanu], figure 7", at_20.equivalent("test_kept", arm="sigmoid_clipped", to="sigmoid_descent", within=0.05), "clipping", Published("At 20 steps 0.2 of runs succeed, with and without clipping (sigmoid)", READ, 0.0)),
    "forget-bias": Claim("A forget bias of 1 helps: it keeps more than 0.5 more than 0, and than −1, of temporal order at 50 steps.",
        "[Jozefowicz], abstract; " + LSTM, everywhere(order.higher("test_kept", arm="lstm_1", than="lstm_0", by=0.5), than=("lstm_0", "lstm_neg")), "order", underpowered=NEAR),
    "chrono": Claim("Chrono's go further: more than 0.5 more than a bias of 1 of adding at 50 steps.",
        "[Tallec], section 3", adding.higher("test_kept", arm="chrono", than="lstm_1", by=0.5), "adding"),
    "gru": Claim("A GRU keeps more than 0.9 of adding at 50 steps, and 0.1 more than tanh of copying at 20.",
        LSTM, every(adding.above("test_kept", 0.9, arm="gru"), copy.higher("test_kept", arm="gru", than="tanh", by=0.1)), "adding"),
    "most-effective": Claim("Gates are the most effective: at 50 steps of temporal order an LSTM of bias 1 keeps two points more than each of IRNN, leaky units, skip and longer links.",
        LSTM, everywhere(order.higher("test_kept", arm="lstm_1", than="irnn", by=0.02), than=("irnn", "leaky", "skip", "longer")), "order"),
    "reservoir": Claim("A reservoir that is never trained keeps more than 0.3 of temporal order at 20 steps, and below 0.3 at 50.",
        RESERVOIRS + "; [Jaeger12], abstract", every(at_20.above("test_kept", 0.3, arm="echo"), order.below("test_kept", 0.3, arm="echo")), "success"),
}  # fmt: skip


def confirmed(frame, task, row="last"):
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == task)]
    return getattr(rows.groupby("trial"), row)()


def back_in_time(study, palette, rows, arms, name, ago, **axis):
    """Of each arm a metric that has a number a step, by how long ago that is: its median over seeds."""
    figure, (ax,) = panels(1, height=2.5)
    for arm in arms:
        own = rows[rows["arm"] == arm].filter(like=name).median()
        steps = [ago(int(metric.removeprefix(name))) for metric in own.index]
        ax.plot(steps, own, color=palette[arm], label=study.label(arm))
    ax.set(**axis)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def reach(study, frame, palette):
    """How far gradients reach back at the start."""
    rows = confirmed(frame[frame["length"] == 50], "temporal_order", "first")
    axis = {"xlabel": "steps back", "ylabel": "gradient by the input (decades)", "ylim": (-25, 1)}
    return back_in_time(study, palette, rows, REACHES, "reach_", lambda step: 50 - step, **axis)


def memory(study, frame, palette):
    """What a reservoir recalls, against how long ago it was."""
    axis = {"xlabel": "delay (steps)", "ylabel": "squared correlation", "xlim": (0, 40)}
    rows = confirmed(frame, "toy")
    return back_in_time(study, palette, rows, RADII, "test_recall_", int, **axis)


def success(study, frame, palette):
    """Success rates by length, ours and those of Pascanu et al."""
    figure, axes = panels(2, columns=2, height=2.9)
    rows = confirmed(frame, "temporal_order")
    for arm in ("tanh", "omega", "irnn", "leaky", "chrono", "echo"):
        rates = rows[rows["arm"] == arm].groupby("length")["test_success"].mean()
        axes[0].plot(rates.index, rates, "o-", ms=3, color=palette[arm], label=study.label(arm))
    for words, x, y, line in FIGURE_7:
        axes[1].plot(x, y, line, ms=3, color="0.3", label=words)
    titles = ("here", "Pascanu et al.: up to 5 million")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, ylabel="runs that succeed", xlabel="length", xscale="log")
        ax.set(ylim=(-0.05, 1.05), xlim=(9, 270))
        ax.set_xticks((10, 20, 50, 100, 200), (10, 20, 50, 100, 200))
        ax.minorticks_off()
        ax.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3)
    return figure


FIGURE_7 = (("tanh", (20, 35, 50, 250), (1, 1, 0, 0), "o:"), ("tanh, clipped", (20, 50, 75, 100, 250), (1, 1, 0.4, 0, 0), "s--"),
            ("tanh, clipped, Ω", (20, 250), (1, 1), "^-"), ("sigmoid, clipped", (16, 20, 22, 250), (1, 0.2, 0, 0), "v-."))  # fmt: skip
KEPT = "the share of what memory can gain, each at its tuned rate"
FIGURES = (
    custom("reach", "How far gradients reach back at the start: the gradient by each of 50 inputs, relative to the last. A plain network and an LSTM without a bias lose it within some steps; the identity, links of five steps and chrono's biases pass it on.", reach),
    custom("success", "Temporal order: the share of runs with under 1 % of errors, by length; right, figure 7 of Pascanu et al., as read off.", success),
    custom("capacity", "What a linear read-out recalls of uniform noise from 50 units, by how long ago it was: most at a radius near 1.", memory),
    intervals("order", f"Temporal order of 50 steps: {KEPT}.", "test_kept", where=order, arms=RUNS["temporal_order", 50][:-2]),
    intervals("adding", f"Adding of 50 steps: {KEPT}.", "test_kept", where=adding, arms=ADDING),
    intervals("copying", f"Copying of 20 steps: {KEPT}.", "test_kept", where=copy, arms=COPYING),
    intervals("survived", "IRNN on adding by plain descent at a rate of 0.1: trials that did not diverge.", "survived", where=adding, arms=EXPLODE),
    intervals("clipping", f"Plain descent on temporal order: {KEPT}.", "test_kept", factor="length", levels=(20, 50), where={"task": "temporal_order"}, arms=DESCENT),
    intervals("powers", "The norm of a state after 100 multiplications by a symmetric matrix, in decades.", "growth", where=toy, arms=("decay", "growth")),
    sensitivity("sensitivity", "Share kept of temporal order of 50 steps against the rate: every draw of the tune phase.", "valid_kept", "lr", where=order, arms=("tanh", "irnn", "leaky", "lstm_1", "chrono", "skip")),
)  # fmt: skip

STUDY = Study(
    question="From what length on do recurrent networks forget, and what helps?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"task": ("toy", *SHAPES), "length": LENGTHS}, include=included, select=("valid_loss",),
    nuisance={"lr": Float(1.5e-3, 3e-2, log=True)}, fixed={"updates": 400, "batch_size": 16, "units": 32, "read": 5000, "few": True},
    sources={
        "[Jaeger]": "Jaeger 2001, Short term memory in echo state networks",
        "[Jaeger12]": "Jaeger 2012, Long short-term memory in echo state networks: details of a simulation study",
        "[Jozefowicz]": "Jozefowicz, Zaremba & Sutskever 2015, An empirical exploration of recurrent network architectures",
        "[Le]": "Le, Jaitly & Hinton 2015, A simple way to initialize recurrent networks of rectified linear units",
        "[Pascanu]": "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
        "[Tallec]": "Tallec & Ollivier 2018, Can recurrent neural networks warp time?",
    },
)  # fmt: skip
