"""Long memory: from what length on do recurrent networks forget, and what helps?

Three tasks of memory, on fresh sequences of 10 to 200 steps: temporal order (which of two symbols came
first, AA, AB, BA, BB), adding (the sum of two marked numbers) and copying (symbols said again after
blanks). Networks of 32 units are trained by Adam with gradients clipped to a norm of 1, at a rate that
falls along a cosine and is tuned with the same draws for all. What is judged is the share of what memory
can gain: 0 is the best answer without memory (four classes of equal chance; a squared error of 1/6;
m ln 8 / length), 1 is no error. Success is Pascanu et al.'s, under 1 % of errors, for all tasks as a share.

Arms. Tanh and ReLU start from N(0, 1/100), which gives a radius of 0.57 (Pascanu's "basic tanh"); IRNN is
ReLU from the identity; leaky units keep 0.9. "Skip" adds links over five steps to those of one; "longer
links" have no others, and there the last five states are read. Ω is Pascanu's penalty, a mean over steps and
sequences, its weight drawn. LSTMs have no peepholes; chrono is Tallec & Ollivier's start. A reservoir of
128 units is read by ridge regression on 5,000 sequences. Clipping is judged under plain descent, for Adam
divides by the gradient's size: by norm to 1, by value to 0.1.

Toys: powers of a symmetric matrix; Jacobians through 100 steps of a tanh network; leaky units after one
pulse; how much of uniform noise a reservoir of 50 units recalls, the sum of squared correlations.

How sentences were read. "Explode or vanish" is about the start: the gradient by the first input over that by
the last, in decades. "Most effective" (SNU): an LSTM of forget bias 1 beats each other kind of unit by two
points. Oxford's "reasonably small" radius is held against 1.

Departures: 500 or 600 updates in place of millions, so that "fails" means within these; Adam. Margins were
fixed before any run; pilots of one seed set tasks, lengths and rates.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.func import grad
from torch.nn import functional as F

from harness import (
    Arm,
    Budget,
    By,
    Claim,
    Data,
    Float,
    Loss,
    Metric,
    Optimizer,
    Study,
    Training,
    Trial,
)
from harness.claims import every, everywhere, place
from harness.figures import across, custom, intervals, panels, sensitivity
from harness.parts.models import EchoState, Recurrent
from harness.parts.models.reservoir import spectral_radius
from harness.parts.objectives import CrossEntropy, SquaredError
from harness.parts.optimizers.rules import SGD
from harness.parts.schedules import Constant, Cosine
from harness.study import Published, classification

FAR, STEPS, DELAYS, SHOWN = (
    5,
    100,
    100,
    40,
)  # steps of a long link, and of toys; delays, and how many are drawn
KEPT = (0.5, 0.9, 0.99)  # by leaky units of the toy
SHAPES = {"order": (6, 4), "adding": (2, 1), "copy": (10, 9)}  # numbers read and put out


def noise():
    """Uniform numbers in (−1, 1), and at each step the last `DELAYS` of them."""
    u = np.random.default_rng(0).uniform(-1, 1, (22, 4 * DELAYS, 1)).astype(np.float32)
    past = [u[:, DELAYS - back : 4 * DELAYS - back, 0] for back in range(1, DELAYS + 1)]
    y = np.stack(past, 2)
    return (u[:10], y[:10]), (u[10:12], y[10:12]), (u[12:], y[12:])


NOISE = Data.of(noise, name="delays", task="regression")


class Plain(nn.Module):
    """Units that are no gates: (B, T, inputs) to (B, outputs), or with `every_step` symbols (B, T) to (B, T, outputs).

    Args:
        act: "tanh", "sigmoid" or "relu".
        identity: Whether the recurrent weights start as it.
        keep: The share of a unit's state that stays at a step.
        far: Whether there are links over `FAR` steps.
        near: Whether there are links of one step; without them the last `FAR` states are read.
    """

    def __init__(
        self, inputs: int, units: int, outputs: int, every_step: bool = False, act: str = "tanh",
        identity: bool = False, keep: float = 0.0, far: bool = False, near: bool = True, std: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs, self.every_step, self.relu, self.near = inputs, every_step, act == "relu", near
        start = torch.eye(units) if identity else std * torch.randn(units, units)
        self.within = nn.Parameter(start * near)
        self.back = nn.Parameter(std * torch.randn(units, units)) if far else None
        self.into, self.out = nn.Linear(inputs, units), nn.Linear(units, outputs)
        for layer in (self.into, self.out):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.register_buffer("keep", torch.tensor(keep))
        self.register_buffer("scale", torch.tensor(0.5 if act == "sigmoid" else 1.0))

    def states(self, x):
        """T of (B, units)."""
        driven = self.into(x)
        h, found = torch.zeros_like(driven[:, 0]), []
        for t, total in enumerate(driven.unbind(1)):
            if self.near:
                total = total + F.linear(h, self.within)
            if self.back is not None and t >= FAR:
                total = total + F.linear(found[t - FAR], self.back)
            if self.relu:
                h = total.relu()
            else:  # a sigmoid is (1 + tanh(x / 2)) / 2
                value = 1 - self.scale + self.scale * torch.tanh(self.scale * total)
                h = self.keep * h + (1 - self.keep) * value
            found.append(h)
        return found

    def forward(self, x):
        if not x.is_floating_point():
            x = (x.unsqueeze(2) == torch.arange(self.inputs, device=x.device)).float()
        h = self.states(x)
        return self.out(
            torch.stack(h, 1) if self.every_step else sum(h[-1 if self.near else -FAR :])
        )


def gated(
    inputs: int, units: int, outputs: int, every_step: bool, forget: float | None, longest: int
) -> nn.Module:
    """A GRU, or an LSTM of a forget bias: 0 or more, or where there is a `longest`, chrono's."""
    net = Recurrent(
        "GRU" if forget is None else "NP", inputs, units, outputs, every_step=every_step
    )
    if forget is not None:
        bias = net.cells[0].bias
        with torch.no_grad():
            bias.zero_()
            bias[1] = forget
            if longest:
                bias[1] = (1 + (longest - 2) * torch.rand(units)).log()
                bias[0] = -bias[1]
    return net


def stretched(net, x, y, weight):
    """The loss with Ω: how far a step back changes the norm of the gradient by what a unit sums up.
    Only its immediate derivative by the recurrent weights is taken, as in the paper."""
    h = net.states(x)
    said = net.out(h[-1])
    slopes = [1 - state.detach().square() for state in h[::-1]]
    back = grad(lambda out: F.cross_entropy(out, y))(said.detach()) @ net.out.weight.detach()
    back, backs = back * slopes[0], []
    for slope in slopes[1:]:
        backs.append(back / back.norm(dim=1, keepdim=True).clamp_min(1e-20))
        back = backs[-1] @ net.within.detach() * slope
    kept = (torch.stack(backs) @ net.within * torch.stack(slopes[1:])).norm(dim=2)
    return F.cross_entropy(said, y) + weight * (kept - 1).square().mean()


class Clipped(SGD):
    """Plain descent along a gradient of which each number is cut to `value`."""

    defaults: ClassVar = {"lr": 0.01, "value": math.inf}

    def update(self, w, g, s, c, free):
        super().update(w, g.minimum(c["value"]).maximum(-c["value"]), s, c, free)


class Toy(nn.Module):
    """() a loss that is not trained: matrices of a spectral radius, what drives a network, leaky units."""

    def __init__(self, radius: float, units: int = 32) -> None:
        super().__init__()
        normal = torch.randn(units, units, dtype=torch.float64)
        for name, matrix in {"symmetric": normal + normal.T, "within": normal}.items():
            self.register_buffer(name, radius / spectral_radius(matrix) * matrix)
        self.register_buffer("drive", torch.randn(STEPS, units, dtype=torch.float64))
        self.leaky = nn.ModuleList(Plain(1, 1, 1, keep=keep, near=False) for keep in KEPT)
        self.h = nn.Parameter(torch.randn(units))

    def forward(self):
        return self.h.square().mean()


@dataclass(frozen=True)
class Powers:
    """What the toys do through `STEPS` steps, in float64: ``gap``, of Wᵗh from QΛᵗQᵀh, relative, the largest
    over t; ``growth`` of its norm, in decades; ``to_bound``, the largest over t of a Jacobian's norm over
    (β_w β_h)ᵗ; ``bound`` and ``through``, in decades, that bound and that norm at the end; ``half_life``, how
    far a pulse's in leaky units is from ln ½ / ln α, relative, at most."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        pulse = F.pad(torch.ones(1, 1, 1), (0, 0, 0, 3 * STEPS))
        faded = pack.ask(
            lambda net: torch.stack([torch.cat(one.states(pulse)) for one in net.leaky])
        )
        parts, found = pack.ask(lambda net: (net.symmetric, net.within, net.drive, net.h)), []
        for lane in range(len(pack.loss)):
            symmetric, within, drive, start = (part[lane].double() for part in parts)
            values, q = torch.linalg.eigh(symmetric)
            beta, through = torch.linalg.matrix_norm(within, 2), torch.eye(len(start)).to(within)
            h, state, gaps, norms = start, 0 * start, [], []
            for t in range(1, STEPS + 1):
                h, exact = symmetric @ h, q @ (values**t * (q.T @ start))
                gaps.append((h - exact).norm() / exact.norm())
                state = torch.tanh(within @ state + drive[t - 1])
                through = (1 - state.square())[:, None] * within @ through
                norms.append(torch.linalg.matrix_norm(through, 2))
            lives = [
                half_life(path.flatten()) * math.log(keep) / math.log(0.5)
                for keep, path in zip(KEPT, faded[lane].double(), strict=True)
            ]
            found.append({
                "gap": torch.stack(gaps).max(), "growth": (h.norm() / start.norm()).log10(),
                "to_bound": (torch.stack(norms) / beta ** torch.arange(1, STEPS + 1)).max(),
                "bound": STEPS * beta.log10(), "through": norms[-1].log10(),
                "half_life": (torch.stack(lives) - 1).abs().max(),
            })  # fmt: skip
        return {name: torch.stack([one[name] for one in found]).float() for name in found[0]}


def half_life(path):
    """Steps until a path (T,) has fallen to half of its first value, between steps as a power."""
    share = (path / path[0]).log2()  # 0 at first
    after = (share > -1).sum()
    return after - 1 + (1 + share[after - 1]) / (share[after - 1] - share[after])


@dataclass(frozen=True)
class Recalled:
    """Of each delay the squared correlation of what is said of it, ``test_recall_1`` onwards, and their sum."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        if pack.sealed:
            return {}
        x, y = pack.splits.test
        said = pack.ask(lambda net: net(x)).flatten(1, 2).double()  # (K, n, DELAYS)
        said, true = said - said.mean(1, keepdim=True), (y - y.mean((0, 1))).flatten(0, 1).double()
        shares = (said * true).sum(1).square() / (said.square().sum(1) * true.square().sum(0))
        each = {f"test_recall_{back}": shares[:, back - 1].float() for back in range(1, SHOWN + 1)}
        return {"test_capacity": shares.sum(1).float(), **each}


@dataclass(frozen=True)
class Kept:
    """The share of what memory can gain, ``valid_kept`` and ``test_kept``; whether it is a success; and that
    the trial has ``survived``."""

    task: str
    without: float  # the best loss without memory
    at_end: ClassVar[bool] = True

    def read(self, pack):
        found = {"survived": torch.ones_like(pack.loss)}
        for split in ("valid",) if pack.sealed else ("valid", "test"):
            if self.task == "order":
                kept = (pack.metrics[f"{split}_accuracy"] - 0.25) / 0.75
            else:
                kept = 1 - pack.metrics[f"{split}_loss"] / self.without
            found[f"{split}_kept"] = kept.clamp_min(0)
            found[f"{split}_success"] = (kept > 1 - 0.01 / 0.75).float()
        return found


@dataclass(frozen=True)
class Reach:
    """At the start, in decades: the norm of the gradient by each step's input over that by the last's,
    ``reach_1`` onwards, on 256 training sequences."""

    at_end: ClassVar[bool] = False

    def read(self, pack):
        if pack.recorded:
            return {}
        x, y = pack.examples(256)
        lost = lambda net: grad(lambda x: pack.program.objective.loss(net(x), y))(x)  # noqa: E731
        norms = pack.ask(lost).double().square().sum((1, 3)).sqrt()  # (K, T)
        decades = (norms / norms[:, -1:]).log10().float()
        return {f"reach_{step}": decades[:, step - 1] for step in range(1, decades.shape[1] + 1)}


def network(t: Trial) -> partial:
    """What builds the network of a trained arm."""
    task, given = (
        t["task"],
        {n: t[n] for n in ("act", "identity", "keep", "far", "near") if n in t.settings},
    )
    shape = (SHAPES[task][0], t["units"], SHAPES[task][1], task == "copy")
    if "forget" in t.settings:
        return partial(gated, *shape, t["forget"], t["length"] if t.arm == "chrono" else 0)
    return partial(Plain, *shape, **given)


def trial(t: Trial) -> Training:
    task, length = t["task"], t["length"]
    if task == "toy" and t.arm in ("decay", "growth"):
        none = Optimizer("sgd", lr=1e-30)
        return Training(partial(Toy, t["radius"]), none, steps=1, probes=(Powers(),))
    scored = CrossEntropy() if task in ("order", "copy") else SquaredError()
    if "radius" in t.settings:
        toy = task == "toy"
        shape = (1, 50, DELAYS) if toy else (SHAPES[task][0], 128, SHAPES[task][1])
        return Training(
            partial(EchoState, *shape, radius=t["radius"], scale=t["scale"],
                    washout=DELAYS if toy else 0, every_step=toy),
            Optimizer("ridge", l2=1e-6 if toy else 1e-4),
            NOISE if toy else Data(DATA[task], 5000, length=length), scored,
            epochs=1, batch_size=2 if toy else 250, trains="readout.*",
            probes=(Recalled(),) if toy else (Kept(task, 1 / 6),),
        )  # fmt: skip
    rate = t["lr"] * t.get("times", 1.0)
    descent = t.get("clip")
    rule = Optimizer("adam", Cosine(), lr=rate, clip=1.0)
    if descent:
        cut = {"norm": {"clip": 1.0}, "value": {"value": 0.1}, "none": {}}[descent]
        rule = Optimizer(Clipped, Constant() if "explode" in t.arm else Cosine(), lr=rate, **cut)
    symbols = min(10, length // 4)
    without = {"order": math.log(4), "adding": 1 / 6, "copy": symbols * math.log(8) / length}[task]
    reaches = task == "order" and length == 50 and t.phase == "confirm" and t.arm in REACHES
    return Training(
        network(t), rule, Data(DATA[task], length=length),
        Loss(stretched, scored, {"weight": t["weight"]}) if t.arm == "omega" else scored,
        steps=t["updates"], batch_size=t["batch_size"], every=t["updates"],
        probes=(Kept(task, without), *((Reach(),) if reaches else ())),
    )  # fmt: skip


DATA = {"order": "temporal_order", "adding": "adding", "copy": "copy"}
ECHO = {"radius": Float(0.5, 1.25), "scale": Float(0.03, 1.0, log=True)}
IRNN, SIGMOID = {"act": "relu", "identity": True}, {"act": "sigmoid", "times": 20.0}
ARMS = {
    "tanh": Arm({}, label="tanh"),
    "relu": Arm({"act": "relu"}, label="ReLU"),
    "irnn": Arm(IRNN, label="IRNN"),
    "leaky": Arm({"keep": 0.9}, label="leaky"),
    "skip": Arm({"far": True}, label="skip"),
    "longer": Arm({"far": True, "near": False}, label="longer links"),
    "omega": Arm({}, nuisance={"weight": Float(3e-3, 1.0, log=True)}, label="Ω"),
    "lstm_neg": Arm({"forget": -1.0}, label="LSTM, bias −1"),
    "lstm_0": Arm({"forget": 0.0}, label="LSTM, bias 0"),
    "lstm_1": Arm({"forget": 1.0}, label="LSTM, bias 1"),
    "chrono": Arm({"forget": 0.0}, label="LSTM, chrono"),
    "gru": Arm({"forget": None}, label="GRU"),
    "echo": Arm({}, nuisance=ECHO, held={"lr": 1.0}, label="reservoir"),
    "irnn_plain": Arm(IRNN | {"clip": "none"}, label="IRNN, descent"),
    "irnn_clipped": Arm(IRNN | {"clip": "norm"}, label="IRNN, clipped descent"),
    "sigmoid_plain": Arm(SIGMOID | {"clip": "none"}, label="sigmoid, descent"),
    "sigmoid_clipped": Arm(SIGMOID | {"clip": "norm"}, label="sigmoid, clipped descent"),
    **{f"explode_{cut}": Arm(IRNN | {"clip": cut}, held={"lr": 0.1}, label=f"IRNN, rate 0.1, {words}")
       for cut, words in (("none", "not clipped"), ("norm", "clipped by norm"), ("value", "by value"))},
    "decay": Arm({"radius": 0.9}, held={"lr": 1.0}, label="radius 0.9"),
    "growth": Arm({"radius": 1.1}, held={"lr": 1.0}, label="radius 1.1"),
    **{f"echo_{r}": Arm({"radius": r / 100, "scale": 0.1}, held={"lr": 1.0}, label=f"radius {r / 100:g}")
       for r in (50, 90, 100, 125)},
}  # fmt: skip
RADII = tuple(arm for arm in ARMS if arm.startswith("echo_"))
UNITS = (
    "tanh",
    "relu",
    "irnn",
    "leaky",
    "skip",
    "longer",
    "omega",
    "lstm_neg",
    "lstm_0",
    "lstm_1",
    "chrono",
    "gru",
    "echo",
)
REACHES = tuple(arm for arm in UNITS if arm not in ("omega", "echo"))
CLIPPED = ("explode_none", "explode_norm", "explode_value")
SOME = ("tanh", "irnn", "omega", "leaky", "lstm_1", "chrono")  # at other lengths of temporal order
RUNS = {
    ("toy", 100): ("decay", "growth", *RADII),
    ("order", 10): ("tanh", "echo", "lstm_1"),
    ("order", 20): (*SOME, "echo", "lstm_0", "sigmoid_plain", "sigmoid_clipped"),
    ("order", 50): (*UNITS, "irnn_plain", "irnn_clipped"),
    ("order", 100): SOME, ("order", 200): SOME,
    ("adding", 20): ("tanh", "irnn", "gru", "chrono", "echo"),
    ("adding", 50): ("tanh", "irnn", "leaky", "gru", "lstm_1", "chrono", *CLIPPED),
    ("adding", 200): ("tanh", "irnn", "gru", "lstm_1", "chrono"),
    ("copy", 20): ("tanh", "irnn", "gru", "lstm_1", "chrono"),
    ("copy", 200): ("tanh", "irnn", "gru", "lstm_1", "chrono"),
}  # fmt: skip


def included(arm, cell) -> bool:
    return arm in RUNS.get((cell["task"], cell["length"]), ())


METRICS = {
    **classification("train_loss", "valid_loss", "test_loss", "valid_accuracy", "test_accuracy"),
    "valid_kept": Metric("share", better="high", worst=0.0),
    "test_kept": Metric("share", better="high", worst=0.0, label="share of what memory can gain"),
    "test_success": Metric("share", better="high", worst=0.0, label="successes"),
    "valid_success": Metric("share", better="high", worst=0.0),
    "survived": Metric("share", better="high", worst=0.0, label="trials that did not diverge"),
    "gap": Metric("relative", better="low", log=True),
    "growth": Metric("decades"), "bound": Metric("decades"), "through": Metric("decades"),
    "to_bound": Metric("ratio"), "half_life": Metric("relative", better="low", log=True),
    "test_capacity": Metric("steps", better="high", worst=0.0, label="memory capacity (steps)"),
    **{f"test_recall_{n}": Metric("squared correlation") for n in range(1, SHOWN + 1)},
    **{f"reach_{n}": Metric("decades") for n in range(1, 51)},
}  # fmt: skip
WORK = {
    "updates": By("task", {"toy": 1, "order": 500, "adding": 600, "copy": 1000}),
    "batch_size": By("task", {"toy": 1, "order": 16, "adding": 32, "copy": 16}),
}
BUDGETS = {
    "smoke": Budget(draws=1, seeds=2, length=(20, 100), updates=4, task=("toy", "order", "adding"), units=32, batch_size=32),
    "default": Budget(draws=By("task", {"toy": 1, "order": 4, "adding": 4, "copy": 4}), seeds=6, most_seeds=24,
                      finalists=2, final_seeds=2, length=(10, 20, 50, 100), **WORK),
    "paper": Budget(draws=10, seeds=10, most_seeds=40, finalists=3, units=100, updates=50_000, batch_size=20),
}  # fmt: skip

toy = place(task="toy", length=100)
order, adding, copy = (
    place(task="order", length=50),
    place(task="adding", length=50),
    place(task="copy", length=20),
)
OXFORD = "[Oxford], “Capture Regularity in the input space”"
SNU, SOLUTION = "[SNU], “Vanishing or exploding gradients”", "[SNU], “Solution: "
LEAKY, LSTM = (
    SOLUTION + "echo state networks and leaky units”",
    SOLUTION + "long short-term memory (LSTM)”",
)
CLIPPING, READ = "[SNU], “Solution (for exploding): gradient clipping”", "read off a figure"
CLAIMS = {
    "powers": Claim("h⁽ᵗ⁾ = QᵀΛᵗQ h⁽⁰⁾ (exact): through 100 steps of a symmetric matrix the two differ by less than a part in 10¹⁰.",
        OXFORD, everywhere(toy.below("gap", 1e-10, arm="decay"), arm=("decay", "growth")), "powers"),
    "either": Claim("So states vanish or explode: below 10^−4.57 of what they were at a radius of 0.9 (0.9¹⁰⁰, exact), more than 100-fold at 1.1.",
        OXFORD, every(toy.below("growth", -4.57, arm="decay"), toy.above("growth", 2.0, arm="growth")), "powers"),
    "bound": Claim("A gradient through t steps of a tanh network is at most (β_w β_h)ᵗ, at every t up to 100 (exact).",
        SNU, everywhere(toy.below("to_bound", 1.000001, arm="decay"), arm=("decay", "growth")), "powers"),
    "loose": Claim("The bound says little: at a radius of 0.9 it allows a growth of ten decades, where the gradient falls by more than four.",
        SNU + " (counter-evidence)",
        every(toy.above("bound", 10.0, arm="decay"), toy.below("through", -4.0, arm="decay")), "powers"),
    "half-life": Claim("A leaky unit forgets half in ln ½ / ln α steps (exact): within a thousandth at α of 0.5, 0.9 and 0.99.",
        LEAKY, toy.below("half_life", 1e-3, arm="decay"), "powers"),
    "capacity": Claim("The memory capacity of a reservoir is at most its units, 50 (exact), at radii from 0.5 to 1.25.",
        "[Jaeger], proposition 2; " + LEAKY, everywhere(toy.below("test_capacity", 50.0, arm="echo_50"), arm=RADII), "capacity"),
    "small-radius": Claim("A small radius forgets: 0.5 recalls at least five steps less than 1.",
        OXFORD + " (“some reasonably small value”)", toy.lower("test_capacity", arm="echo_50", than="echo_100", by=5.0), "capacity"),
    "large-radius": Claim("So does a large one: 1.25 recalls at least three steps less than 1.",
        LEAKY, toy.lower("test_capacity", arm="echo_125", than="echo_100", by=3.0), "capacity"),
    "vanish": Claim("In a plain tanh network gradients vanish: at the start that by the first of 50 inputs is more than eight decades below that by the last (theory: 0.57⁴⁹, twelve).",
        "[ECNU], “Back-propagation through time”; [Overview], “Recurrent Neural Network Problem”",
        order.below("reach_1", -8.0, arm="tanh", at="start"), "reach"),
    "identity": Claim("From the identity they do not: ReLU keeps it within one decade.",
        SOLUTION + "proper weights & activation functions”", order.above("reach_1", -1.0, arm="irnn", at="start"), "reach"),
    "gates-vanish": Claim("An LSTM's cell alone does not keep it: with a forget bias of 0 more than eight decades are lost (theory: 2⁻⁴⁹, fifteen).",
        LSTM + " (the product of gradients close to one); [ECNU], “Long-short term memory (LSTM)”",
        order.below("reach_1", -8.0, arm="lstm_0", at="start"), "reach"),
    "chrono-start": Claim("Chrono's biases do: fewer than three decades are lost.",
        "[Tallec], section 2", order.above("reach_1", -3.0, arm="chrono", at="start"), "reach"),
    "longer-start": Claim("So do links of five steps in place of one: fewer than four decades (theory: 0.57⁹, two).",
        OXFORD + " (remove connection)", order.above("reach_1", -4.0, arm="longer", at="start"), "reach"),
    "plain-fails": Claim("From a length on the plain network fails: on temporal order it keeps over 0.9 at 20 steps, and below 0.1 at 50.",
        "[Overview], “Recurrent Neural Network Problem”; [UIUC], “Recurrent Neural Networks: General Concepts”; [Pascanu], figure 7",
        every(order(length=20).above("test_kept", 0.9, arm="tanh"), order.below("test_kept", 0.1, arm="tanh")), "success",
        Published("All succeed up to 35 steps, none from 50 (tanh, no clipping)", READ)),
    "by-task": Claim("Which length depends on the task: it fails at 50 steps of adding, and at 20 of copying, too (below 0.1).",
        "[Overview], “Recurrent Neural Network Problem”",
        every(adding.below("test_kept", 0.1, arm="tanh"), copy.below("test_kept", 0.1, arm="tanh")), "tasks"),
    "irnn": Claim("IRNN learns what tanh cannot: at 50 steps it keeps more than 0.5 more, of temporal order and of adding.",
        SOLUTION + "proper weights & activation functions”; [Le], section 4.1",
        every(order.higher("test_kept", arm="irnn", than="tanh", by=0.5), adding.higher("test_kept", arm="irnn", than="tanh", by=0.5)), "tasks"),
    "identity-only": Claim("It is the identity, not ReLU: from small weights ReLU keeps below 0.1 of temporal order at 50 steps.",
        SOLUTION + "proper weights & activation functions”", order.below("test_kept", 0.1, arm="relu"), "order"),
    "leaky": Claim("Leaky units remember longer: more than 0.5 more than tanh of temporal order at 50 steps.",
        LEAKY, order.higher("test_kept", arm="leaky", than="tanh", by=0.5), "order"),
    "leaky-adding": Claim("But cannot hold a number and ignore others: below 0.2 of adding at 50 steps.",
        LSTM + " (leaky units vs. LSTM)", adding.below("test_kept", 0.2, arm="leaky"), "tasks"),
    "skip": Claim("Skip connections through time, and longer links alone, keep more than 0.5 more than tanh of temporal order at 50 steps.",
        OXFORD, everywhere(order.higher("test_kept", arm="skip", than="tanh", by=0.5), arm=("skip", "longer")), "order"),
    "omega": Claim("Ω lengthens memory: it keeps more than 0.2 more than tanh of temporal order at 50 steps.",
        SOLUTION + "regularization”; [Pascanu], figure 7",
        order.higher("test_kept", arm="omega", than="tanh", by=0.2), "order",
        Published("All succeed up to 250 steps with clipping and Ω, with clipping alone up to 50", READ)),
    "diverges": Claim("Clipping prevents divergence: at a rate of 0.1 fewer than half of IRNNs survive plain descent on adding, and more than 95 % with either clipping.",
        CLIPPING + "; [Overview], “Vanishing Gradient and Exploding Gradient Problem (2)”",
        every(adding.below("survived", 0.5, arm="explode_none"), adding.above("survived", 0.95, arm="explode_norm"),
              adding.above("survived", 0.95, arm="explode_value")), "survived"),
    "clipping": Claim("So it helps where gradients do not vanish: IRNN by clipped descent keeps more than 0.2 more of temporal order at 50 steps, both tuned.",
        CLIPPING, order.higher("test_kept", arm="irnn_clipped", than="irnn_plain", by=0.2), "clipping"),
    "no-cure": Claim("It does not cure vanishing: with sigmoid units it gains nothing at 20 steps, within 0.05.",
        CLIPPING + "; [Pascanu], figure 7",
        order(length=20).equivalent("test_kept", arm="sigmoid_clipped", to="sigmoid_plain", within=0.05), "clipping",
        Published("0.2 of runs succeed at 20 steps, with and without clipping (sigmoid)", READ, 0.0)),
    "forget-bias": Claim("A forget bias of 1 helps: at 50 steps of temporal order it keeps more than 0.5 more than 0, and than −1.",
        "[Jozefowicz], abstract; " + LSTM,
        everywhere(order.higher("test_kept", arm="lstm_1", than="lstm_0", by=0.5), than=("lstm_0", "lstm_neg")), "order"),
    "chrono": Claim("Chrono initialisation goes further: more than 0.5 more than a bias of 1, of adding at 50 steps and of temporal order at 100.",
        "[Tallec], section 3",
        every(adding.higher("test_kept", arm="chrono", than="lstm_1", by=0.5),
              order(length=100).higher("test_kept", arm="chrono", than="lstm_1", by=0.5)), "success"),
    "gru": Claim("A GRU learns adding at 50 steps: it keeps more than 0.9.",
        LSTM, adding.above("test_kept", 0.9, arm="gru"), "tasks"),
    "most-effective": Claim("Gates are the most effective: at 50 steps of temporal order an LSTM of bias 1 keeps two points more than each of IRNN, leaky units, skip and longer links.",
        LSTM, everywhere(order.higher("test_kept", arm="lstm_1", than="irnn", by=0.02), than=("irnn", "leaky", "skip", "longer")), "order"),
    "reservoir": Claim("A reservoir that is never trained keeps more than 0.3 of temporal order at 20 steps, and below 0.3 at 50.",
        LEAKY + "; against [Jaeger12], abstract",
        every(order(length=20).above("test_kept", 0.3, arm="echo"), order.below("test_kept", 0.3, arm="echo")), "success"),
    "copy": Claim("Gates copy what tanh cannot: a GRU keeps more than 0.1 more at 20 steps.",
        LSTM, copy.higher("test_kept", arm="gru", than="tanh", by=0.1), "tasks"),
}  # fmt: skip


def reach(study, frame, palette):
    """How far gradients reach back at the start: the median of seeds, against steps from the end."""
    figure, (ax,) = panels(1, height=2.6)
    rows = frame[(frame["phase"] == "confirm") & (frame["length"] == 50)].groupby("trial").first()
    for arm in REACHES:
        own = rows[rows["arm"] == arm].filter(regex=r"^reach_\d+$").median()
        back = [50 - int(name.removeprefix("reach_")) for name in own.index]
        ax.plot(back, own, color=palette[arm], label=study.label(arm))
    ax.set(
        xlabel="steps back from the end", ylabel="gradient by the input (decades)", ylim=(-16, 1)
    )
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right center", fontsize=6.5)
    return figure


def success(study, frame, palette):
    """Success rates by length, ours and those of Pascanu et al."""
    figure, axes = panels(2, columns=2, height=2.4)
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == "order")].groupby("trial").last()
    shown = ("tanh", "omega", "irnn", "leaky", "lstm_1", "chrono", "echo")
    for arm in shown:
        rates = rows[rows["arm"] == arm].groupby("length")["test_success"].mean()
        axes[0].plot(rates.index, rates, "o-", ms=3, color=palette[arm], label=study.label(arm))
    for words, (x, y), line in FIGURE_7:
        axes[1].plot(x, y, line, ms=3, color="0.25", label=words)
    axes[0].set(title="here, 500 updates", xlabel="length", ylabel="share of runs that succeed")
    axes[1].set(title="Pascanu et al., up to 5 million", xlabel="length")
    for ax in axes:
        ax.set(
            xscale="log",
            ylim=(-0.05, 1.05),
            xlim=(9, 270),
            xticks=(10, 20, 50, 100, 200),
            xticklabels=(10, 20, 50, 100, 200),
        )
        ax.minorticks_off()
        ax.legend(fontsize=6, loc="lower left")
    return figure


def memory(study, frame, palette):
    """What a reservoir recalls, against how long ago it was."""
    figure, (ax,) = panels(1, height=2.3)
    rows = frame[(frame["phase"] == "confirm") & (frame["task"] == "toy")].groupby("trial").last()
    for arm in RADII:
        own = rows[rows["arm"] == arm].filter(regex=r"^test_recall_").mean()
        if len(own.dropna()):
            ax.plot(range(1, len(own) + 1), own, color=palette[arm], label=study.label(arm))
    ax.set(xlabel="delay (steps)", ylabel="squared correlation", ylim=(0, 1.03))
    ax.legend(loc="upper right")
    return figure


FIGURE_7 = (
    ("tanh", ((20, 35, 50, 250), (1, 1, 0, 0)), "o:"),
    ("tanh, clipped", ((20, 50, 75, 100, 250), (1, 1, 0.4, 0, 0)), "s--"),
    ("tanh, clipped, Ω", ((20, 250), (1, 1)), "^-"),
    ("sigmoid, clipped", ((16, 20, 22, 250), (1, 0.2, 0, 0)), "v-."),
)
FIGURES = (
    custom("reach", "How far gradients reach back at the start: the gradient by each of 50 inputs, relative to the last. A plain network and an LSTM without a bias lose it within a few steps; the identity, long links and chrono's biases pass it on.", reach),
    custom("success", "Temporal order: the share of runs with under 1 % of errors, by length. Right: figure 7 of Pascanu et al., as read off.", success),
    custom("capacity", "What a linear read-out recalls of uniform noise from 50 units, by how long ago it was: most at a radius near 1.", memory),
    intervals("order", "Temporal order of 50 steps: the share of what memory can gain.", "test_kept", where=order, arms=UNITS),
    intervals("tasks", "At 50 steps of adding, and at 20 of copying (below).", "test_kept", where=adding, arms=("tanh", "irnn", "leaky", "gru", "lstm_1", "chrono")),
    intervals("copying", "At 20 steps of copying.", "test_kept", where=copy, arms=("tanh", "irnn", "gru", "lstm_1", "chrono")),
    across("lengths", "Temporal order: the share of what memory can gain, by length.", "test_kept", "length", where={"task": "order"}, arms=SOME),
    intervals("survived", "IRNN on adding at a rate of 0.1, by plain descent: trials that did not diverge.", "survived", where=adding, arms=CLIPPED),
    intervals("clipping", "Plain descent on temporal order, each at its tuned rate: IRNN at 50 steps, sigmoid units at 20.", "test_kept", factor="length", levels=(20, 50), where={"task": "order"}, arms=("irnn_plain", "irnn_clipped", "sigmoid_plain", "sigmoid_clipped")),
    intervals("powers", "The norm of a state after 100 multiplications by a symmetric matrix, in decades.", "growth", where=toy, arms=("decay", "growth")),
    sensitivity("sensitivity", "Share kept of temporal order at 50 steps against the rate: every draw of the tune phase.", "valid_kept", "lr", where=order, arms=("tanh", "irnn", "leaky", "lstm_1", "chrono", "gru")),
)  # fmt: skip

STUDY = Study(
    question="From what length on do recurrent networks forget, and what helps?",
    trial=trial, arms=ARMS, metrics=METRICS, budgets=BUDGETS, claims=CLAIMS, figures=FIGURES,
    vary={"task": ("toy", "order", "adding", "copy"), "length": (10, 20, 50, 100, 200)},
    include=included,
    nuisance={"lr": Float(1e-3, 5e-2, log=True)},
    fixed={"updates": 500, "batch_size": 16, "units": 32},
    select=("valid_loss", "valid_kept"),
    sources={
        "[Jaeger]": "Jaeger 2001, Short term memory in echo state networks",
        "[Jaeger12]": "Jaeger 2012, Long short-term memory in echo state networks: details of a simulation study",
        "[Jozefowicz]": "Jozefowicz, Zaremba & Sutskever 2015, An empirical exploration of recurrent network architectures",
        "[Le]": "Le, Jaitly & Hinton 2015, A simple way to initialize recurrent networks of rectified linear units",
        "[Pascanu]": "Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks",
        "[Tallec]": "Tallec & Ollivier 2018, Can recurrent neural networks warp time?",
    },
)  # fmt: skip
