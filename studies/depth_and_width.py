"""Depth and width: what more layers can do, and what training finds.

Small networks on tasks whose best error is known: XOR; 64 points on a line with alternating labels;
parity of eight bits; checkerboards; two spirals; a ball in ten dimensions. What a network *can*
represent is shown by witnesses, whose weights are written down and not trained; what training
*finds* is a claim of its own, of networks of the same shape.

XOR, the line and parity are trained and scored on all points that there are. The others are scored on fresh ones.
Hidden units are ReLUs with He's initialisation (the two of XOR are tanh, as rectifiers die there, with Xavier's);
Adam, whose rate is tuned with the same draws for every network on every task, falls to zero along a cosine. "Equal
parameters" is within one percent of three layers of 32 units (2,274 on the plane) and two layers of 32 (1,474 in the
ball).

How vague sentences were read: Overview shows three pictures, of 0, 3 and 20 hidden layers, without a
sentence, as if more were better; we put to the test that three beat none by far, and that twenty plain
ones are no better than three. SNU's "huge number of computational units" for a checkerboard is read as:
at equal parameters three layers are better than one; it could also mean that the number grows
exponentially, which no one size can show. ECNU's universal approximation theorem says that a wide
enough layer exists, not that training finds it; what is tested is that wider layers fit better.

Margins were fixed before any run; bounds are exact. What a first run refuted: two tanh units were right on 79 % of
XOR in the mean, as many seeds get stuck; and the ball was told better by one layer than by two. Three layers beat one
on the checkerboard by about five points (4.8 and 5.2 in two runs), at their margin; at the paper scale by none (0.2).
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import chi2
from torch import nn

from harness import Arm, Budget, Claim, Data, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import every, place
from harness.figures import curves, intervals, pictures, sensitivity
from harness.parts.models import ACTIVATIONS, initialise
from harness.parts.probes import Field
from harness.parts.probes.pictures import names
from harness.parts.schedules import Cosine
from harness.study import classification

SIDE = 40  # pixels of a map
POINTS, BITS, SQUARES, BALL = 64, 8, 6, 10


def all_of(x, y, times: int):
    """A whole truth table as each of the three splits."""
    one = np.tile(x.astype(np.float32), (times, 1)), np.tile(y, times)
    return one, one, one


def xor():
    x = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return all_of(x, np.array([0, 1, 1, 0]), 16)


def line():
    x = np.arange(POINTS)[:, None] / POINTS
    return all_of(x, np.arange(POINTS) % 2, 1)


def parity():
    x = (np.arange(2**BITS)[:, None] >> np.arange(BITS)) & 1  # (256, 8)
    return all_of(x, x.sum(1) % 2, 1)


def fresh(make):
    """Training, validation and test examples of their own."""
    return tuple(make(np.random.default_rng(seed), n) for seed, n in enumerate((2000, 1000, 5000)))


def squares(drawn, n):
    x = drawn.uniform(-1, 1, (n, 2))
    return x.astype(np.float32), np.floor((x + 1) / 2 * SQUARES).sum(1).astype(int) % 2


def spiral(drawn, n):
    y = np.arange(n) % 2
    along = np.sqrt(drawn.uniform(0.01, 1, n))
    angle = 2 * np.pi * 1.75 * along + np.pi * y
    return np.stack([along * np.cos(angle), along * np.sin(angle)], 1).astype(np.float32), y


def inside(drawn, n):
    x = drawn.normal(size=(n, BALL))
    return x.astype(np.float32), ((x**2).sum(1) < chi2.ppf(0.5, BALL)).astype(int)


TASKS = {
    "xor": Data.of(xor, name="xor", duplicates="allow"),
    "line": Data.of(line, name="line", duplicates="allow"),
    "parity": Data.of(parity, name="parity", duplicates="allow"),
    "checkerboard": Data.of(partial(fresh, squares), name="checkerboard"),
    "spirals": Data.of(partial(fresh, spiral), name="spirals"),
    "ball": Data.of(partial(fresh, inside), name="ball"),
}
INPUTS = {"xor": 2, "line": 1, "parity": BITS, "checkerboard": 2, "spirals": 2, "ball": BALL}


def network(inputs: int, hidden: tuple[int, ...], activation: str = "relu") -> nn.Module:
    """(B, inputs) to (B, 2) logits."""
    layers: list[nn.Module] = []
    for n_in, n_out in zip((inputs, *hidden), hidden, strict=False):
        function = ACTIVATIONS[activation]() if activation != "identity" else nn.Identity()
        layers += [nn.Linear(n_in, n_out), function]
    layers.append(nn.Linear((inputs, *hidden)[-1], 2))
    for layer in layers[::2]:
        initialise(layer, "he" if activation == "relu" else "xavier")
    return nn.Sequential(*layers)


def written(net: nn.Module, weights: list) -> nn.Module:
    """The network with these weights and biases, layer by layer."""
    with torch.no_grad():
        for layer, (weight, bias) in zip(list(net)[::2], weights, strict=True):
            layer.weight.copy_(torch.tensor(weight, dtype=torch.float32))
            layer.bias.copy_(torch.tensor(bias, dtype=torch.float32))
    return net


def tents() -> nn.Module:
    """The tent map 2 relu(x) − 4 relu(x − ½), six times over: 64 linear pieces of 12 units."""
    below = [[2.0, -4.0], [2.0, -4.0]]
    layers = [([[1.0], [1.0]], [0.0, -0.5]), *[(below, [0.0, -0.5])] * 5]
    return written(network(1, (2,) * 6), [*layers, ([[0.0, 0.0], [2.0, -4.0]], [0.0, -0.5])])


def counts() -> nn.Module:
    """The sum s of eight bits goes up and down: relu(s) − 2 relu(s − 1) + 2 relu(s − 2) − …"""
    steps = [1.0] + [2.0 * (-1) ** k for k in range(1, BITS)]
    return written(network(BITS, (BITS,)), [
        ([[1.0] * BITS] * BITS, [-float(k) for k in range(BITS)]), ([[0.0] * BITS, steps], [0.0, -0.5]),
    ])  # fmt: skip


@dataclass(frozen=True)
class Bend:
    """How far a network is from any affine map of its inputs, on 256 training examples, as a share of
    what it says: metric ``bend``."""

    at_end: ClassVar[bool] = True

    def read(self, pack):
        x = pack.examples(256)[0]

        def bend(net):
            origin = net(torch.zeros_like(x[:1]))  # (1, 2)
            slopes = net(torch.eye(x.shape[1], device=x.device)) - origin  # (inputs, 2)
            out = net(x)
            return (out - origin - x @ slopes).abs().amax() / out.abs().amax()

        return {"bend": pack.ask(bend)}


WIDE = {f"wide_{m}": (m,) for m in (4, 16, 64, 256)}
HIDDEN = {
    "none": (), "one": (32,), "two": (32, 32), "three": (32,) * 3, "six": (32,) * 6, "twenty": (32,) * 20,
    "pair": (2,), "eight": (8,), "narrow": (2,) * 6, "flat": (454,), "flat_ball": (113,),
    "identity": (32,) * 3, **WIDE,
}  # fmt: skip
ACTIVATION = {"pair": "tanh", "identity": "identity"}
WITNESSES = {"tents": tents, "counts": counts}


def trial(t: Trial) -> Training:
    drawn = t.phase == "confirm" and t.seed == 0 and t["task"] in ("spirals", "checkerboard")
    build = WITNESSES.get(t.arm) or partial(
        network, INPUTS[t["task"]], HIDDEN[t.arm], ACTIVATION.get(t.arm, "relu")
    )
    return Training(
        model=build,
        optimizer=Optimizer("adam", Cosine(), lr=t["lr"]),
        data=TASKS[t["task"]],
        steps=t["steps"],
        every=max(1, t["steps"] // 20) if t.phase == "confirm" else t["steps"],
        batch_size=t["batch_size"],
        probes=(Bend(), *([Field(side=SIDE)] if drawn else ())),
    )


WRITTEN = {"lr": 0.0}  # witnesses are not trained
ARMS = {
    "none": Arm({}, label="no hidden layer"),
    "one": Arm({}, label="1 layer of 32"),
    "two": Arm({}, label="2 of 32"),
    "three": Arm({}, label="3 of 32"),
    "six": Arm({}, label="6 of 32"),
    "twenty": Arm({}, label="20 of 32"),
    "identity": Arm({}, label="3 of 32, linear"),
    "flat": Arm({}, label="1 of 454"),
    "flat_ball": Arm({}, label="1 of 113"),
    "pair": Arm({}, label="1 of 2 (tanh)"),
    "eight": Arm({}, label="1 of 8"),
    "narrow": Arm({}, label="6 of 2"),
    "tents": Arm({}, held=WRITTEN, label="6 of 2, written down"),
    "counts": Arm({}, held=WRITTEN, label="1 of 8, written down"),
    **{name: Arm({}, label=f"1 of {m}") for name, (m,) in WIDE.items()},
}
RUNS = {
    "xor": ("none", "identity", "pair"),
    "line": ("eight", "narrow", "tents", "flat"),
    "parity": ("none", "eight", "counts"),
    "checkerboard": ("none", "three", "flat", *WIDE),
    "spirals": ("none", "identity", "one", "three", "six", "twenty"),
    "ball": ("one", "two", "flat_ball"),
}


def included(arm, cell) -> bool:
    return arm in RUNS[cell["task"]]


METRICS = {
    **classification(),
    "bend": Metric("share", log=True, label="distance from any affine map"),
    **{name: Metric("pixels") for name in names("map", SIDE * SIDE)},
}
BUDGETS = {
    "smoke": Budget(draws=2, seeds=2, steps=100, task=("xor", "line", "spirals")),
    "default": Budget(draws=10, seeds=12, most_seeds=48, futility=0.05, finalists=3),
    "paper": Budget(draws=24, seeds=20, most_seeds=80, finalists=4, steps=10_000),
}

xor_, line_, parity_ = place(task="xor"), place(task="line"), place(task="parity")
board, spirals, ball = place(task="checkerboard"), place(task="spirals"), place(task="ball")
XOR = "[Overview], “XOR Problem”, “Solution of XOR”; [UIUC], “Feed-forward Neural Networks”"
PICTURES = "[Overview], “Impacts of Hidden Layers on A Neural Network”"
CLAIMS = {
    "xor-needs-more": Claim("Without a hidden layer a network is right on at most three quarters of XOR: below 75.1 % (exact).",
        XOR, xor_.below("test_accuracy", 0.751, arm="none"), "small"),
    "two-units": Claim("Two hidden units learn XOR: their accuracy exceeds 95 % in the mean over seeds.",
        XOR, xor_.above("test_accuracy", 0.95, arm="pair"), "small"),
    "linear-layers": Claim("Stacked linear layers are one linear layer: three of 32 without activation stay within 0.001 % of an affine map after training (exact up to rounding).",
        "[ECNU], “The universal approximation theorem” (the activation must be nonlinear)",
        spirals.below("bend", 1e-5, arm="identity"), "bend"),
    "linear-layers-gain-nothing": Claim("So they gain nothing on two spirals: they are within two points of no hidden layer.",
        "[ECNU], “The universal approximation theorem”",
        spirals.equivalent("test_accuracy", arm="identity", to="none", within=0.02), "spirals"),
    "line-bound": Claim("Eight ReLUs in one layer err on at least ½ − 10/128 of 64 alternating points (exact): their accuracy is below 57.9 %.",
        "[Telgarsky], Theorem 1.1 (units counted here); [SNU], “Why “deep”, i.e., multi-layer neural networks?”",
        line_.below("test_accuracy", 0.579, arm="eight"), "small"),
    "line-witness": Claim("Twelve ReLUs in six layers of two represent all 64 (exact): with weights that are written down the accuracy exceeds 99.9 %.",
        "[Telgarsky], Theorem 1.1; [SNU], “Why “deep”, i.e., multi-layer neural networks?”",
        line_.above("test_accuracy", 0.999, arm="tents"), "small"),
    "line-not-found": Claim("Training does not find them: six layers of two, tuned, stay below 75 %.",
        "[Hanin], introduction (counter-evidence to [SNU], “Deep NNs can learn right transformations”)",
        line_.below("test_accuracy", 0.75, arm="narrow"), "small"),
    "parity-witness": Claim("Eight ReLUs in one layer represent the parity of eight bits (exact): with weights that are written down the accuracy exceeds 99.9 %.",
        "[Hanin], introduction (parity needs no depth)",
        parity_.above("test_accuracy", 0.999, arm="counts"), "small"),
    "parity-not-found": Claim("Nor are these found: eight ReLUs, tuned, stay below 90 % on the table they are trained on.",
        "[Hanin], introduction",
        parity_.below("test_accuracy", 0.9, arm="eight"), "small"),
    "wider-fits": Claim("One hidden layer fits better the wider it is: from 4 to 16, 64 and 256 units each fourfold width gains more than two points on a checkerboard of six by six.",
        "[ECNU], “The universal approximation theorem”",
        every(*(board.higher("test_accuracy", arm=f"wide_{4 * m}", than=f"wide_{m}", by=0.02) for m in (4, 16, 64))), "checkerboard"),
    "deep-beats-wide": Claim("At equal parameters three layers are more than five points better than one on a checkerboard.",
        "[SNU], “Why “deep”, i.e., multi-layer neural networks?”",
        board.higher("test_accuracy", arm="three", than="flat", by=0.05), "checkerboard"),
    "ball": Claim("At equal parameters two hidden layers tell the inside of a ball in ten dimensions from the outside better than one, by more than one point.",
        "[Safran], section 5",
        ball.higher("test_accuracy", arm="two", than="flat_ball", by=0.01), "ball"),
    "hidden-layers": Claim("Three hidden layers are more than 20 points better than none on two spirals.",
        PICTURES, spirals.higher("test_accuracy", arm="three", than="none", by=0.2), "boundaries"),
    "twenty": Claim("Twenty plain layers are not better than three there: by one point at most.",
        PICTURES + " (read as more is better; counter-evidence in [He16])",
        spirals.higher("test_accuracy", arm="three", than="twenty", by=-0.01), "boundaries"),
}  # fmt: skip


def some_spiral():
    return spiral(np.random.default_rng(9), 240)


def some_squares():
    return squares(np.random.default_rng(9), 360)


FIGURES = (
    pictures("boundaries", "What networks of 0, 1, 3, 6 and 20 hidden layers make of two spirals (seed 0): the probability of each class over the plane. No layer draws one line; three turn with the spirals; twenty gain nothing.",
             "map", shape=(SIDE, SIDE), where=spirals, arms=("none", "identity", "one", "three", "six", "twenty"), points=some_spiral),
    pictures("squares", "One hidden layer of 4, 16, 64 and 256 units on a checkerboard, and at equal parameters 454 units in one layer and three layers of 32 (seed 0).",
             "map", shape=(SIDE, SIDE), where=board, arms=(*WIDE, "flat", "three"), points=some_squares),
    intervals("small", "Accuracy on the whole table of XOR, of 64 alternating points and of parity: mean and 95 % interval over seeds.", "test_accuracy", factor="task", levels=("xor", "line", "parity")),
    intervals("spirals", "Test accuracy on two spirals by depth.", "test_accuracy", where=spirals),
    intervals("checkerboard", "Test accuracy on a checkerboard of six by six, by width, and at equal parameters.", "test_accuracy", where=board),
    intervals("ball", "Test accuracy on the inside and outside of a ball in ten dimensions.", "test_accuracy", where=ball),
    intervals("bend", "How far each network is from any affine map after training on two spirals: linear layers to the last digit.", "bend", where=spirals),
    curves("training", "Validation accuracy through training.", "valid_accuracy", factor="task", levels=("checkerboard", "spirals", "ball")),
    sensitivity("sensitivity", "Validation accuracy on two spirals against the learning rate: every draw of the tune phase.", "valid_accuracy", where=spirals),
)  # fmt: skip

STUDY = Study(
    question="What can more layers do, and what of it does training find?",
    trial=trial,
    arms=ARMS,
    vary={"task": tuple(TASKS)},
    include=included,
    nuisance={"lr": Float(3e-4, 0.1, log=True)},
    fixed={"steps": 2000, "batch_size": 64},
    select=("valid_accuracy", "valid_loss"),
    metrics=METRICS,
    budgets=BUDGETS,
    sources={
        "[Telgarsky]": "Telgarsky 2016, Benefits of depth in neural networks",
        "[Hanin]": "Hanin & Rolnick 2019, Deep ReLU networks have surprisingly few activation patterns",
        "[Safran]": "Safran & Shamir 2017, Depth-width tradeoffs in approximating natural functions with neural networks",
    },
    claims=CLAIMS,
    figures=FIGURES,
)  # fmt: skip
