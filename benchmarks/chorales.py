"""The search of one LSTM variant on JSB Chorales: our trials, and the plain loop beside them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.engine.buckets import Buckets, lengths
from harness.engine.training import Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.models import Recurrent
from harness.parts.objectives import Bernoulli
from harness.parts.optimizers import Optimizer

BUCKETS = 4
GOLDEN = 0.6180339887  # multiples of it fill the unit interval evenly


def search(i: int, trials: int, epochs: int) -> Training:
    """Vanilla, one sequence an update, Nesterov momentum, 20 to 64 units; rates and widths spread
    evenly and apart from each other."""
    rate = 1e-2 * 30 ** (i / max(1, trials - 1))
    hidden = round(20 * 3.2 ** (GOLDEN * i % 1))
    build = partial(Recurrent, "vanilla", 88, outputs=88, every_step=True, ragged=True)
    return Training(
        partial(build, hidden=hidden),
        Optimizer("nesterov", lr=0.1 * rate, momentum=0.9),
        data=Data("jsb_chorales"),
        objective=Bernoulli(),
        epochs=epochs,
        batch_size=1,
        pad_to=partial(build, hidden=40 if hidden <= 40 else 64),
        buckets=BUCKETS,
    )


def rows(
    training: Training, model: nn.Module, peer: torch.optim.Optimizer, seed: int, device: str
) -> Iterator[tuple[int, dict[str, float]]]:
    """The plain loop: each sequence at its own length, in the order in which our side reads them;
    whole splits scored at once."""
    assert training.data is not None
    splits = load(training.data, device)
    x, y = splits.train
    steps = lengths(x)
    assert steps is not None
    buckets, ends = Buckets(steps.cpu(), 1, training.buckets), steps.tolist()
    key = keyed.keys([seed], "batches", device)
    losses: list[Tensor] = []

    def row(recent: list[Tensor]) -> dict[str, float]:
        found = {"train_loss": torch.stack(recent).mean().item()}
        with torch.no_grad():
            for name, (inputs, target) in (("valid", splits.valid), ("test", splits.test)):
                scores = Bernoulli().scores(model(inputs), target)
                found |= {f"{name}_{score}": value.item() for score, value in scores.items()}
        return found

    for step in range(training.updates):
        if step % training.epoch == 0:
            order = keyed.permutation(keyed.mix(key, step // training.epoch), len(x))
            chosen = buckets.batches(order, step // training.epoch).flatten().tolist()
        one = chosen[step % training.epoch]
        inputs, target = x[one : one + 1, : ends[one]], y[one : one + 1, : ends[one], :-1]
        peer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(
            model(inputs), target, reduction="none"
        ).sum(2).mean()  # fmt: skip
        loss.backward()
        if step % training.epoch == 0:
            yield step, row(losses or [loss.detach()])
            losses = []
        losses.append(loss.detach())
        peer.step()
    yield training.updates, row(losses)
