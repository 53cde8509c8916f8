"""What is trained: each work as `Training`s, which both sides take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import nn

from benchmarks.chorales import search
from benchmarks.kinds import Kernel
from benchmarks.models import CNN, Encoder, PeepholeLSTM, Signals
from benchmarks.several import ensemble, gan, outliers, pretrained
from harness.engine.training import Training
from harness.nas.forecasts import drawn
from harness.parts.data import Data, at_hand
from harness.parts.data.series import driven, ring, windows
from harness.parts.models import MLP, SURFACES, Descent, EchoState, Searchable
from harness.parts.objectives import SquaredError
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Position

RULES = (
    "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "adamax",
    "nadam",
)  # fmt: skip
MLP_WIDTHS = (64, 64, 64, 64, 10)
EPOCHS = 10
PACK = 64  # most trials in one program on the CPU, if a work does not say


@dataclass(frozen=True)
class Work:
    """A number of trials of one kind.

    Args:
        name: One word.
        title: What it is, in a table.
        declare: Says what trial i trains.
        trials: How many in all.
        peer_trials: How many of them, evenly spread, the plain loop trains.
        must: Least ratio of throughputs on two CPU cores.
        aim: And the aim on one H200.
        pack: Most trials that we train as one program on the CPU.
        warm: Trials that both sides train briefly before the clock starts.
        block: Neighbouring trials that belong together (every rule once).
        compare: The metric whose last value must agree.
        within: By which share of it; more where each side draws masks of its own.
    """

    name: str
    title: str
    declare: Callable[[int], Training]
    trials: int
    peer_trials: int
    must: float
    aim: float
    pack: int = PACK
    warm: tuple[int, ...] = (0,)
    block: int = 1
    compare: str = "valid_loss"
    within: float = 0.05

    def peers(self) -> list[int]:
        """The trials that the plain loop trains."""
        blocks, all_blocks = self.peer_trials // self.block, self.trials // self.block
        starts = [(2 * b + 1) * all_blocks // (2 * blocks) * self.block for b in range(blocks)]
        return [start + i for start in starts for i in range(self.block)]

    def packs(self, size: int) -> list[tuple[int, ...]]:
        """Trials with equal signatures together, cut evenly, the largest packs first.

        Args:
            size: Most trials a pack.
        """
        groups: dict[object, list[int]] = {}
        for i in range(self.trials):
            groups.setdefault(self.declare(i).signature(), []).append(i)
        packs = []
        for members in groups.values():
            even = -(-len(members) // -(-len(members) // size))
            packs += [tuple(members[at : at + even]) for at in range(0, len(members), even)]
        return sorted(packs, key=len, reverse=True)


def _spread(i: int, n: int, low: float, high: float) -> float:
    """The i-th of n numbers between low and high, evenly apart in the logarithm."""
    return float(low * (high / low) ** (i / max(1, n - 1)))


def contour(i: int, trials: int, surfaces: tuple[str, ...], steps: int = 500) -> Training:
    """A point on a surface: rules take turns, then surfaces, then rates."""
    rule = RULES[i % len(RULES)]
    rate = _spread(i // len(RULES), trials // len(RULES), 1e-4, 1e-2)
    return Training(
        partial(Descent, surfaces[i // len(RULES) % len(surfaces)]),
        Optimizer(rule, lr=rate),
        steps=steps,
        every=5,
        probes=(Position(),),
    )


def mlp_at(rate: float, epochs: int = EPOCHS, batch: int = 64) -> Training:
    """Digits, three hidden layers of 64, Adam."""
    return Training(
        partial(MLP, MLP_WIDTHS),
        Optimizer("adam", lr=rate),
        data=Data("digits"),
        epochs=epochs,
        batch_size=batch,
    )


def mlp(i: int, trials: int, epochs: int = EPOCHS, batch: int = 64) -> Training:
    return mlp_at(_spread(i, trials, 3e-4, 1e-2), epochs, batch)


def lstm(i: int, trials: int, steps: int) -> Training:
    """Digits read one pixel a step, one digit an update; hidden sizes from 20 to 64."""
    hidden = 20 + round(44 * i / max(1, trials - 1))
    wide = 32 if hidden <= 32 else 64
    return Training(
        partial(PeepholeLSTM, hidden),
        Optimizer("adam", lr=_spread(i, trials, 3e-4, 3e-3)),
        data=Data("digits"),
        steps=steps,
        every=steps,
        batch_size=1,
        pad_to=partial(PeepholeLSTM, wide),
    )


def cnn(i: int, trials: int, epochs: int = EPOCHS, norm: bool = False) -> Training:
    return Training(
        partial(CNN, (8, 16), norm),
        Optimizer("adam", lr=_spread(i, trials, 1e-3, 1e-2)),
        data=Data("digits"),
        epochs=epochs,
        batch_size=64,
    )


def signals(i: int, trials: int, epochs: int = EPOCHS) -> Training:
    """Digits' first 40 pixels as a signal, three convolutions along it, Adam."""
    return Training(
        Signals,
        Optimizer("adam", lr=_spread(i, trials, 1e-3, 1e-2)),
        data=Data("digits"),
        epochs=epochs,
        batch_size=100,
    )


def encoder(i: int, trials: int, epochs: int = EPOCHS, wide: int = 64) -> Training:
    """Digits read as eight rows by one layer of a transformer, dropout 0.1, Adam."""
    return Training(
        partial(Encoder, wide=wide),
        Optimizer("adam", lr=_spread(i, trials, 3e-4, 3e-3)),
        data=Data("digits"),
        epochs=epochs,
        batch_size=32,
    )


def alone(i: int, trials: int, epochs: int = EPOCHS) -> Training:
    """Digits read row by row by torch's own LSTM, which has no batching rule, Adam."""
    return Training(
        partial(Kernel, nn.LSTM),
        Optimizer("adam", lr=_spread(i, trials, 3e-4, 1e-2)),
        data=Data("digits"),
        epochs=epochs,
        batch_size=32,
    )


LSTM_STEPS = 500
SERIES = 200  # steps of a sequence
WASHOUT = 20  # of them that a reservoir reads before it is read


def _narma() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Sequences of NARMA-10 (Atiya & Parlos 2000) to train on, to validate and to test: even noise,
    and what a system with ten steps' memory makes of it, after the washout."""
    u = np.random.default_rng(10).uniform(0, 0.5, (16, SERIES))
    y = np.zeros_like(u)
    for t in range(9, SERIES - 1):
        ten = y[:, t - 9 : t + 1].sum(1)
        y[:, t + 1] = 0.3 * y[:, t] + 0.05 * y[:, t] * ten + 1.5 * u[:, t - 9] * u[:, t] + 0.1
    x, y = u[..., None].astype(np.float32), y[:, WASHOUT:, None].astype(np.float32)
    return tuple((x[rows], y[rows]) for rows in (slice(8), slice(8, 12), slice(12, 16)))


NARMA = Data.of(_narma, name="narma10")


def echo(i: int, trials: int, units: int = 100) -> Training:
    """Reservoirs of radius 0.5 to 1.2, each read by a ridge regression."""
    return Training(
        partial(
            EchoState, 1, units, 1, 0.5 + 0.7 * i / max(1, trials - 1), scale=0.5, washout=WASHOUT
        ),
        Optimizer("ridge", l2=1e-4),
        NARMA,
        SquaredError(),
        epochs=1,
        batch_size=4,
        trains="readout.*",
    )


STEPS = 6  # that a forecaster reads


def _driven() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Windows of eight series that drive each other: to train on, to validate and to test."""
    found = driven(3000, ring(8, (1, 3)), coupling=2.0, bent=True)
    return tuple(windows(part, STEPS, 3) for part in np.split(found, (2000, 2500)))


DRIVEN = Data.of(_driven, name="driven")


def forecaster(i: int, trials: int, updates: int) -> Training:
    """A candidate of a search: a wiring drawn at random, Adam, batch 16."""
    one = drawn(np.random.default_rng(i), joint=False)
    return Training(
        partial(Searchable, STEPS, 3, 8, (1, 3), one.cells, one.links),
        Optimizer("adam", lr=_spread(i, trials, 3e-3, 3e-2)),
        DRIVEN,
        SquaredError(),
        steps=updates,
        every=updates,
        batch_size=16,
    )


def works(quick: bool = False) -> dict[str, Work]:
    """Every work by its name; `quick` is a tenth of it, to see that all runs."""
    everywhere, one = tuple(SURFACES), ("valley",)
    n, m, k, c = (60, 16, 8, 8) if quick else (1000, 256, 128, 64)
    updates = 20 if quick else LSTM_STEPS
    rules = tuple(range(len(RULES)))
    found = [
        Work(
            "contour", f"{n:,} contour trajectories, 10 optimizers, 6 surfaces, 500 steps",
            partial(contour, trials=n, surfaces=everywhere), n, 20 if quick else 40, 50, 500,
            pack=100, warm=rules, block=len(rules), compare="loss",
        ),
        Work(
            "valley", f"{n:,} contour trajectories, 10 optimizers, 1 surface, 500 steps",
            partial(contour, trials=n, surfaces=one), n, 20 if quick else 40, 50, 500,
            pack=100, warm=rules, block=len(rules), compare="loss",
        ),
        Work(
            "mlp", f"{m} MLPs 3x64 on digits, Adam, batch 64, {EPOCHS} epochs",
            partial(mlp, trials=m), m, 4 if quick else 16, 4, 50, pack=32,
        ),
        Work(
            "mlp32", f"{m} MLPs 3x64 on digits, Adam, batch 32, {EPOCHS} epochs",
            partial(mlp, trials=m, batch=32), m, 4 if quick else 16, 4, 50, pack=32,
        ),
        Work(
            "lstm", f"{k} peephole LSTMs of 20-64 units, 64 steps, batch 1, {updates} updates",
            partial(lstm, trials=k, steps=updates), k, 2 if quick else 4, 8, 100, warm=(),
        ),
        Work(
            "cnn", f"{c} CNNs on digits, Adam, batch 64, {EPOCHS} epochs",
            partial(cnn, trials=c), c, 4 if quick else 8, 3, 20, pack=16,
        ),
        Work(
            "signals", f"{c} CNNs of MNIST-1D, 3 Conv1d of 25 channels, batch 100, {EPOCHS} epochs",
            partial(signals, trials=c), c, 4 if quick else 8, 3, 20, pack=32,
        ),
        Work(
            "encoder", f"{c} transformer layers of width 16, dropout 0.1, batch 32, {EPOCHS} epochs",
            partial(encoder, trials=c), c, 4 if quick else 8, 3, 20, pack=16,
            compare="valid_accuracy", within=0.2,
        ),
        Work(
            "echo", f"{m} echo state networks of 100 units, {SERIES} steps, read by ridge regression",
            partial(echo, trials=m), m, 4 if quick else 16, 8, 20, pack=16, compare="valid_loss",
        ),
        Work(
            "forecasters", f"{m} candidates of a search of forecasters, 8 series, batch 16, {updates} updates",
            partial(forecaster, trials=m, updates=updates), m, 4 if quick else 16, 8, 50, pack=32,
        ),
        Work(
"alone", f"{4 if quick else 16} of torch's LSTMs, which cannot fuse, batch 32, {EPOCHS} epochs",
            partial(alone, trials=4 if quick else 16), 4 if quick else 16, 2 if quick else 8,
            0.95, 0.95, pack=1,
        ),
        Work(
            "pretraining", f"{c} stacks of 3x128: autoencoders layer by layer, then fine-tuning",
            partial(pretrained, trials=c, epochs=1 if quick else 10), c, 2 if quick else 8, 4, 50,
            pack=16, compare="valid_accuracy",
        ),
        Work(
            "gan", f"{c} GANs of 2x64 on a ring of Gaussians, batch 128, {updates} updates",
            partial(gan, trials=c, steps=updates), c, 2 if quick else 8, 4, 50, pack=32,
            compare="valid_loss_critic", within=0.2,
        ),
        Work(
            "ensemble", f"{c // 2} ensembles of 10 MLPs 3x64 on digits, batch 64, 5 epochs",
            partial(ensemble, trials=c // 2), c // 2, 2 if quick else 4, 4, 50, pack=16,
            compare="valid_accuracy",
        ),
        Work(
            "outliers", f"{c // 2} ensembles of 8 sparse recurrent autoencoders, windows of 16, 5 epochs",
            partial(outliers, trials=c // 2, epochs=1 if quick else 5), c // 2, 2, 8, 50, pack=16,
        ),
    ]  # fmt: skip
    if at_hand(Data("jsb_chorales")):
        s, epochs = (4, 1) if quick else (200, 10)
        found.append(
            Work(
                "search", f"the search of one LSTM variant on JSB: {s} settings, {epochs} epochs",
                partial(search, trials=s, epochs=epochs), s, 2 if quick else 4, 4, 100, warm=(),
            )
        )  # fmt: skip
    return {work.name: work for work in found}
