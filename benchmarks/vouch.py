"""`python -m benchmarks.vouch`: many kinds of modules trained by `harness.train`, and each beside a
plain PyTorch loop. Prints a table; exits 1 where any trial is not what the loop makes it."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional as F

import harness
from benchmarks.kinds import KINDS
from harness import Data, Optimizer, Training
from harness.engine.buckets import scored_batches
from harness.engine.building import begin, build, drawing, sow
from harness.parts import keyed
from harness.parts.data import Splits, load
from harness.parts.models.layers import Dropout
from harness.parts.probes.moment import EVAL_ROWS

DATA, SIZE, EPOCHS = Data("digits", 120), 20, 3
RATES = (0.02, 0.05, 0.1)
SEEDS = (1, 2, 3)
NEAR = 2e-3  # relative difference of a loss after training that rounding may explain
MOMENTUM, DECAY = 0.5, 0.01


def declared(model: Callable[[], nn.Module], rate: float) -> Training:
    """Descent with momentum and weight decay on a few digits."""
    optimizer = Optimizer("momentum", lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
    return Training(model, optimizer, data=DATA, batch_size=SIZE, epochs=EPOCHS)


def losses(model: Callable[[], nn.Module], rate: float, seed: int, why: str) -> list[float]:
    """Validation losses after each epoch of the author's module in an ordinary loop.

    From torch are the module, autograd and the optimizer; from the harness the seeds: of the
    weights, the batches, dropout's masks, and whatever draws from the process's generators.
    """
    with drawing():
        module = build(model, seed)
        trained = [w for w in module.parameters() if w.requires_grad]
        peer = torch.optim.SGD(trained, lr=rate, momentum=MOMENTUM, weight_decay=DECAY)
        splits, found = load(DATA), []
        x, y = splits.train
        keys = {stream: keyed.keys([seed], stream) for stream in ("batches", "mask")}
        step, epoch = 0, len(x) // SIZE
        for number in range(EPOCHS):
            order = keyed.permutation(keyed.mix(keys["batches"], number), len(x))[0]
            for batch in order.split(SIZE)[:epoch]:
                for child in module.modules():
                    if isinstance(child, Dropout):
                        child.key.copy_(keyed.mix(keys["mask"], step)[0])
                peer.zero_grad()
                sow(keyed.torch_seed(seed, "mask") ^ (2 * step))
                out = begin(module.train())(x[batch])
                F.cross_entropy(out.float(), y[batch]).backward()
                if step % epoch == 0:  # a row is measured between an update's two halves
                    found.append(_scored(module, splits, seed, step, why))
                peer.step()
                step += 1
        return [*found[1:], _scored(module, splits, seed, step, why)]


def _scored(module: nn.Module, splits: Splits, seed: int, step: int, why: str) -> float:
    """The validation loss; the test split is scored after it, in parts as the harness does."""
    found = []
    module.eval()
    with torch.no_grad():
        for x, y in (splits.valid, splits.test):
            total = 0.0
            for rows, _ in scored_batches(x, EVAL_ROWS["alone" if why else "cpu"]):
                sow(keyed.torch_seed(seed, "mask") ^ (2 * step + 1))
                out = begin(module)(x[rows].clone()).float()
                total += float(F.cross_entropy(out, y[rows])) * (len(out) / len(x))
            found.append(total)
    return found[0]


@dataclass(frozen=True)
class Found:
    """How one kind came out: why it trains alone, if it does, and the largest relative difference
    of a loss from the plain loop's."""

    why: str
    difference: float
    error: str = ""

    @property
    def right(self) -> bool:
        return not self.error and self.difference <= NEAR


def tried(model: Callable[[], nn.Module]) -> Found:
    """One kind, three trials of other rates and seeds."""
    trainings = [declared(model, rate) for rate in RATES]
    why, worst = trainings[0].why_alone(), 0.0
    outcomes = harness.train(trainings, SEEDS[: len(RATES)], device="cpu")
    for rate, seed, outcome in zip(RATES, SEEDS, outcomes, strict=False):
        expected = losses(model, rate, seed, why)
        own = outcome.metrics["valid_loss"][1:]
        if outcome.status != "finished" or len(own) != len(expected):
            return Found(why, math.inf, outcome.error or f"it is {outcome.status}")
        worst = max(worst, *(abs(a - b) / abs(b) for a, b in zip(own, expected, strict=True)))
    return Found(why, worst)


def main(argv: Sequence[str] | None = None) -> int:
    """Try every kind and print the table."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.vouch", description=__doc__)
    words.add_argument("--only", action="append", choices=[*KINDS], help="this kind (repeatable)")
    given = words.parse_args(argv)
    torch.set_num_threads(1)
    console = Console()
    if not console.is_terminal:
        console.width = 140
    table = Table("kind", "trains", "loss differs by", "", "why alone")
    wrong = alone = 0
    started = time.perf_counter()
    chosen = given.only or [*KINDS]
    for name in chosen:
        model, _ = KINDS[name]
        found = tried(model)
        right = found.right
        wrong += not right
        alone += bool(found.why)
        table.add_row(
            name, "alone" if found.why else "fused", f"{found.difference:.1g}",
            "as written" if right else f"[red]WRONG[/] {found.error}", found.why,
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{len(chosen)} kinds: {len(chosen) - alone} fused, {alone} alone, {wrong} wrong "
        f"({len(RATES)} trials each of {EPOCHS} epochs, beside a plain PyTorch loop; "
        f"{time.perf_counter() - started:.0f} s)"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
