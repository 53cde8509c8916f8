"""The peer: a plain PyTorch loop, an nn.Module, autograd and torch.optim, one trial at a time.

It takes the same declarations as our side, starts from the same weights, draws the same batches
and scores the same splits at the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import chorales, several
from harness.engine.outcome import Outcome
from harness.engine.training import Training
from harness.parts import keyed
from harness.parts.data import load
from harness.parts.objectives import Bernoulli, CrossEntropy, SquaredError

Numbers = dict[str, float]


def _adam(n: Numbers) -> dict[str, Any]:
    return {"betas": (n["beta1"], n["beta2"]), "eps": n["eps"]}


# torch.optim's class for each rule, and our numbers in its words.
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], Callable[[Numbers], dict[str, Any]]]] = {
    "sgd": (torch.optim.SGD, lambda n: {}),
    "momentum": (torch.optim.SGD, lambda n: {"momentum": n["momentum"]}),
    "nesterov": (torch.optim.SGD, lambda n: {"momentum": n["momentum"], "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, lambda n: {"eps": n["eps"]}),
    "adadelta": (torch.optim.Adadelta, lambda n: {"rho": n["rho"], "eps": n["eps"]}),
    "rmsprop": (torch.optim.RMSprop, lambda n: {"alpha": n["beta"], "eps": n["eps"]}),
    "adam": (torch.optim.Adam, _adam),
    "adamw": (torch.optim.AdamW, lambda n: {**_adam(n), "weight_decay": n["weight_decay"]}),
    "adamax": (torch.optim.Adamax, _adam),
    "nadam": (torch.optim.NAdam, lambda n: {**_adam(n), "momentum_decay": n["psi"]}),
}
FUSED = ("sgd", "momentum", "nesterov", "adagrad", "adam", "adamw")


def variants(rule: str) -> dict[str, dict[str, bool]]:
    """Implementations that torch.optim documents for a rule; a ridge regression has one."""
    if rule == "ridge":
        return {"torch.linalg": {}}
    found = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}}
    return {**found, "fused": {"fused": True}} if rule in FUSED else found


def build(training: Training, seed: int, device: str) -> nn.Module:
    """The model with the weights that our side starts from."""
    torch.manual_seed(keyed.torch_seed(seed, "init"))
    return training.model().to(device)


def optimizer(
    training: Training, variant: str, moved: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """torch.optim's own, with the same numbers."""
    rule, numbers = training.optimizer.rule, dict(training.optimizer.numbers)
    kind, words = OPTIMIZERS[rule]
    settings = {"lr": numbers["lr"], **words(numbers), **variants(rule)[variant]}
    return kind(moved, **settings)


def alike() -> None:
    """The arithmetic that ours has: numbers that fade away would slow the loop, and on a GPU
    convolutions would be less exact and not the same twice."""
    torch.set_flush_denormal(True)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True


def fastest(training: Training, device: str, steps: int = 40) -> str:
    """The implementation of torch.optim that makes this training's step fastest here."""
    if training.optimizer.solves:
        return next(iter(variants(training.optimizer.rule)))
    taken: dict[str, float] = {}
    for variant in variants(training.optimizer.rule):
        model = build(training, 0, device)
        for w in model.parameters():
            w.grad = torch.full_like(w, 1e-3)
        try:
            peer = optimizer(training, variant, model.parameters())
            peer.step()
        except RuntimeError:  # torch has no such kernel for this device
            continue
        for _ in range(4):
            started = time.perf_counter()
            for _ in range(steps):
                peer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            taken[variant] = min(taken.get(variant, 1e9), time.perf_counter() - started)
    return min(taken, key=lambda variant: taken[variant])


Row = tuple[int, dict[str, float]]


def rows(training: Training, seed: int, variant: str, device: str = "cpu") -> Iterator[Row]:
    """Train one trial; a row whenever our side records one."""
    if training.stages or training.players or training.members:
        yield from several.rows(training, seed, partial(optimizer, training, variant), device)
        return
    model = build(training, seed, device)
    if training.optimizer.solves:
        yield from _regress(training, model, seed, device)
        return
    peer = optimizer(training, variant, model.parameters())
    if training.data is None:
        yield from _descend(training, model, peer)
    elif isinstance(training.loss, Bernoulli):
        yield from chorales.rows(training, model, peer, seed, device)
    else:
        yield from _predict(training, model, peer, seed, device)


def fit(training: Training, seed: int, variant: str, device: str = "cpu") -> Outcome:
    """The rows of one trial, as our side gives them."""
    outcome = Outcome("finished")
    for step, row in rows(training, seed, variant, device):
        outcome.steps.append(step)
        for name, value in row.items():
            outcome.metrics.setdefault(name, []).append(value)
    return outcome


def _descend(training: Training, model: nn.Module, peer: torch.optim.Optimizer) -> Iterator[Row]:
    (point,) = model.parameters()
    every = training.every or training.updates
    for step in range(training.updates + 1):
        loss = model()
        if step % every == 0 or step == training.updates:
            x, y = point.tolist()
            yield step, {"loss": loss.item(), "x": x, "y": y}
        if step < training.updates:
            peer.zero_grad()
            loss.backward()
            peer.step()


def _accuracy(output: Tensor, labels: Tensor) -> Tensor:
    return (output.argmax(1) == labels).float().mean()


# The loss of an objective, and what is scored beside it.
CRITERIA: dict[type, tuple[nn.Module, str, Callable[[Tensor, Tensor], Tensor]]] = {
    CrossEntropy: (nn.CrossEntropyLoss(), "accuracy", _accuracy),
    SquaredError: (nn.MSELoss(), "absolute_error", nn.L1Loss()),
}


def _predict(
    training: Training, model: nn.Module, peer: torch.optim.Optimizer, seed: int, device: str
) -> Iterator[Row]:
    assert training.data is not None and training.batch_size is not None
    splits = load(training.data, device)
    x, y = splits.train
    key = keyed.keys([seed], "batches", device)
    every = training.every or training.epoch
    criterion, kind, score = CRITERIA[type(training.loss)]
    losses: list[Tensor] = []

    def row(losses: list[Tensor]) -> dict[str, float]:
        found = {"train_loss": torch.stack(losses).mean().item()}
        model.eval()
        with torch.no_grad():
            for name, (inputs, labels) in (("valid", splits.valid), ("test", splits.test)):
                output = model(inputs)
                found[f"{name}_loss"] = criterion(output, labels).item()
                found[f"{name}_{kind}"] = score(output, labels).item()
        model.train()
        return found

    batches: tuple[Tensor, ...] = ()
    for step in range(training.updates):
        if step % training.epoch == 0:
            order = keyed.permutation(keyed.mix(key, step // training.epoch), len(x))[0]
            batches = torch.split(order, training.batch_size)
        batch = batches[step % training.epoch]
        peer.zero_grad()
        loss = criterion(model(x[batch]), y[batch])
        loss.backward()
        if step % every == 0:
            yield step, row(losses or [loss.detach()])
            losses = []
        losses.append(loss.detach())
        peer.step()
    yield training.updates, row(losses)


@torch.no_grad()
def _regress(training: Training, model: nn.Module, seed: int, device: str) -> Iterator[Row]:
    """A reservoir's states, and its read-out by the normal equations, as ours in float64."""
    assert training.data is not None
    splits = load(training.data, device)
    x, y = splits.train
    within, into, offset, leak = model.buffers()
    weight, bias = model.parameters()

    def states(x: Tensor) -> Tensor:
        driven = nn.functional.linear(x, into, offset)
        h, found = torch.zeros_like(driven[:, 0]), []
        for now in driven.unbind(1):
            h = torch.lerp(h, torch.tanh(torch.addmm(now, h, within)), leak)
            found.append(h)
        return torch.stack(found, 1)[:, model.washout :]  # type: ignore[misc]

    def row(loss: float) -> dict[str, float]:
        found = {"train_loss": loss}
        for name, (inputs, target) in (("valid", splits.valid), ("test", splits.test)):
            off = nn.functional.linear(states(inputs), weight, bias) - target
            found[f"{name}_loss"] = off.square().mean().item()
            found[f"{name}_absolute_error"] = off.abs().mean().item()
        return found

    size = min(training.batch_size or 1, len(x))
    order = keyed.permutation(keyed.mix(keyed.keys([seed], "batches", device), 0), len(x))[0]
    gram = cross = square = count = torch.zeros(())
    for step in range(training.updates):
        batch = order[step * size : (step + 1) * size]
        seen, target = states(x[batch]), y[batch]
        if step == 0:
            said = nn.functional.linear(seen, weight, bias)
            yield step, row((said - target).square().mean().item())
        z = seen.flatten(0, 1).double()
        z = torch.cat([z, torch.ones_like(z[:, :1])], 1)
        t = target.flatten(0, 1).double()
        gram, cross, square = gram + z.T @ z, cross + z.T @ t, square + t.square().sum()
        count = count + t.numel()
    penalty = torch.full_like(gram[0], training.optimizer.numbers["l2"])
    penalty[-1] = 0
    solved = torch.linalg.solve(gram + penalty.diag(), cross)
    weight.copy_(solved[:-1].T)
    bias.copy_(solved[-1])
    rest = square - (solved * (2 * cross - gram @ solved)).sum()
    yield training.updates, row((rest / count).item())
