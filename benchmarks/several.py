"""Trainings of more than one loss: autoencoders then fine-tuning, a GAN, ensembles of classifiers and of
autoencoders; and the plain loops."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.engine.members import Members
from harness.engine.stages import Player, Stage
from harness.engine.training import Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.data.planted import planted
from harness.parts.draws import normal
from harness.parts.models import MLP
from harness.parts.models.detectors import Recurrent
from harness.parts.objectives import CrossEntropy, Loss, SquaredError
from harness.parts.optimizers import Optimizer

Row = tuple[int, dict[str, float]]
Rule = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
WIDTHS = (64, 128, 128, 128)
CODE = 2  # numbers that a generator is given


def _rate(i: int, trials: int, low: float, high: float) -> float:
    return float(low * (high / low) ** (i / max(1, trials - 1)))


class Stack(nn.Module):
    """Encoders, a decoder for each, and a read-out.

    Shapes: input (B, 64); output (B, 10) logits.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        pairs = [*itertools.pairwise(widths)]
        self.encode = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.decode = nn.ModuleList(nn.Linear(b, a) for a, b in pairs)
        self.read = nn.Linear(widths[-1], 10)

    def up(self, x: Tensor, layers: int) -> Tensor:
        """What so many layers make of inputs."""
        for layer in itertools.islice(self.encode, layers):
            x = layer(x).sigmoid()
        return x

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(self.up(x, len(self.encode)))
        return out


def rebuilt(net: Stack, x: Tensor, _: Tensor, *, layer: int) -> Tensor:
    """The squared error of what a layer's decoder makes of its code."""
    below = net.up(x, layer).detach()
    return F.mse_loss(net.decode[layer](net.encode[layer](below).sigmoid()), below)


REBUILT = tuple(Loss(partial(rebuilt, layer=layer)) for layer in range(3))


def pretrained(i: int, trials: int, epochs: int = 10) -> Training:
    """Digits: three layers of 128 as autoencoders, one after another, then all for the classes."""
    return Training(
        Stack, Optimizer("adam", lr=_rate(i, trials, 1e-3, 1e-2)), Data("digits"), batch_size=64,
        stages=(
            *(
                Stage(epochs=epochs, objective=loss, trains=(f"encode.{n}.*", f"decode.{n}.*"))
                for n, loss in enumerate(REBUILT)
            ),
            Stage(epochs=epochs, trains=("encode.*", "read.*")),
        ),
    )  # fmt: skip


class Gan(nn.Module):
    """A generator and a critic of two hidden layers of 64 (Goodfellow et al. 2014), for points."""

    def __init__(self, wide: int = 64) -> None:
        super().__init__()
        self.g = nn.Sequential(
            nn.Linear(CODE, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 2)
        )
        self.d = nn.Sequential(
            nn.Linear(2, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(), nn.Linear(wide, 1)
        )


def told_apart(net: Gan, x: Tensor, _: Tensor, draw: Callable[..., Tensor] = normal) -> Tensor:
    """The critic's loss."""
    made = net.g(draw(len(x), CODE)).detach()
    return F.softplus(-net.d(x)).mean() + F.softplus(net.d(made)).mean()


def fooled(net: Gan, x: Tensor, _: Tensor, draw: Callable[..., Tensor] = normal) -> Tensor:
    """The generator's loss, which does not saturate."""
    return F.softplus(-net.d(net.g(draw(len(x), CODE)))).mean()


def _ring() -> tuple[Tensor, Tensor]:
    """Eight Gaussians of width 0.02 on a circle of radius 1 (Metz et al. 2017)."""
    drawn = torch.Generator().manual_seed(0)
    which = torch.arange(4096) % 8
    at = torch.stack([(which * math.pi / 4).cos(), (which * math.pi / 4).sin()], 1)  # (n, 2)
    return at + 0.02 * torch.randn(4096, 2, generator=drawn), which


RING = Data.of(_ring, name="ring")
PLAYERS = (
    Player("critic", Loss(told_apart), trains="d.*"),
    Player("generator", Loss(fooled), trains="g.*"),
)


def gan(i: int, trials: int, steps: int = 500) -> Training:
    """A ring of eight Gaussians, two networks of 2x64, batch 128, Adam."""
    return Training(
        Gan, Optimizer("adam", lr=_rate(i, trials, 1e-4, 1e-3), beta1=0.5), RING, steps=steps,
        batch_size=128, every=steps, players=PLAYERS,
    )  # fmt: skip


def ensemble(i: int, trials: int, epochs: int = 5, members: int = 10) -> Training:
    """Digits: networks of three hidden layers of 64 that vote, Adam."""
    return Training(
        partial(MLP, (64, 64, 64, 64, 10)), Optimizer("adam", lr=_rate(i, trials, 3e-4, 1e-2)),
        Data("digits"), epochs=epochs, batch_size=64, members=Members(members),
    )  # fmt: skip


WINDOW = 16  # points that an autoencoder rebuilds


class Autoencoder(Recurrent):
    """One recurrent autoencoder of random skips (Kieu et al. 2019).

    Shapes: input and output (B, 16).
    """

    def __init__(self, units: int = 8) -> None:
        super().__init__(1, WINDOW, units, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


def _windows() -> tuple[tuple[Tensor, Tensor], ...]:
    """All windows of the three parts of a series, which are to be said again."""
    return tuple((x, x) for x in (part.unfold(0, WINDOW, 1) for part in planted("shapes", 0)[:3]))


WINDOWS = Data.of(_windows, name="windows")


def outliers(i: int, trials: int, epochs: int = 10, members: int = 8) -> Training:
    """Windows of a series: recurrent autoencoders of random skips, whose mean is what they say, Adam."""
    return Training(
        Autoencoder, Optimizer("adam", lr=_rate(i, trials, 1e-3, 3e-2)), WINDOWS, SquaredError(),
        epochs=epochs, batch_size=32, members=Members(members),
    )  # fmt: skip


# --- the plain loops -----------------------------------------------------------------------------


def rows(training: Training, seed: int, rule: Rule, device: str) -> Iterator[Row]:
    """One trial, with the rows of our side."""
    if training.members is not None:
        yield from _vote(training, seed, rule, device)
    elif training.players:
        yield from _play(training, seed, rule, device)
    else:
        yield from _pretrain(training, seed, rule, device)


def _made(training: Training, seed: int, device: str) -> nn.Module:
    torch.manual_seed(keyed.torch_seed(seed, "init"))
    return training.model().to(device)


def _batches(
    seed: int, data: Data, size: int, stage: int, device: str
) -> Iterator[tuple[Tensor, ...]]:
    """Those of our side, without an end."""
    examples = load(data, device).train
    key = keyed.keys([seed], "batches", device)
    key = keyed.mix(key, stage) if stage else key
    for epoch in itertools.count():
        order = keyed.permutation(keyed.mix(key, epoch), len(examples[0]))[0]
        for chosen in order[: len(order) // size * size].split(size):
            yield tuple(part[chosen] for part in examples)


Scored = Callable[[Tensor, Tensor], dict[str, Tensor]]


def _row(training: Training, losses: list[Tensor], scored: Scored, device: str) -> dict[str, float]:
    """The mean of recent losses, and what both other splits score."""
    assert training.data is not None
    found = {"train_loss": torch.stack(losses).mean().item()}
    splits = load(training.data, device)
    with torch.no_grad():
        for name, split in (("valid", splits.valid), ("test", splits.test)):
            found |= {f"{name}_{what}": value.item() for what, value in scored(*split).items()}
    return found


def _pretrain(training: Training, seed: int, rule: Rule, device: str) -> Iterator[Row]:
    net, at = _made(training, seed, device), 0
    for stage, leg in enumerate(training.legs):
        assert leg.data is not None
        assert leg.batch_size is not None
        last, loss_of = stage + 1 == len(training.legs), partial(rebuilt, layer=stage)
        names = ("encode", "read") if last else (f"encode.{stage}", f"decode.{stage}")
        peer = rule([w for name, w in net.named_parameters() if name.startswith(names)])
        read = _batches(seed, leg.data, leg.batch_size, stage, device)
        losses: list[Tensor] = []

        def scored(
            x: Tensor, y: Tensor, last: bool = last, loss_of: Callable[..., Tensor] = loss_of
        ) -> dict[str, Tensor]:
            if last:
                return CrossEntropy().scores(net(x), y)
            return {"loss": loss_of(net, x, y), "accuracy": torch.tensor(math.nan)}

        for step in range(leg.updates):
            x, y = next(read)
            peer.zero_grad()
            loss = F.cross_entropy(net(x), y) if last else loss_of(net, x, y)
            loss.backward()  # type: ignore[no-untyped-call]
            if step % leg.epoch == 0 and (step or not stage):
                row = _row(leg, losses or [loss.detach()], scored, device)
                yield at + step, {"stage": float(stage), **row}
                losses = []
            losses.append(loss.detach())
            peer.step()
        at += leg.updates
        yield at, {"stage": float(stage), **_row(leg, losses, scored, device)}


def _play(training: Training, seed: int, rule: Rule, device: str) -> Iterator[Row]:
    assert training.data is not None
    assert training.batch_size is not None
    net = _made(training, seed, device)
    assert isinstance(net, Gan)
    draw = partial(torch.randn, device=device)
    turns = [("critic", partial(told_apart, draw=draw), rule([*net.d.parameters()])),
             ("generator", partial(fooled, draw=draw), rule([*net.g.parameters()]))]  # fmt: skip
    read = _batches(seed, training.data, training.batch_size, 0, device)
    splits = load(training.data, device)
    losses: dict[str, list[Tensor]] = {name: [] for name, *_ in turns}

    def row() -> dict[str, float]:
        found = {
            f"train_loss_{name}": torch.stack(each).mean().item() if each else math.nan
            for name, each in losses.items()
        }
        with torch.no_grad():
            for split in ("valid", "test"):
                for name, loss_of, _ in turns:
                    score = loss_of(net, *getattr(splits, split))
                    found[f"{split}_loss_{name}"] = score.item()
        return found

    for step in range(training.updates):
        for name, loss_of, peer in turns:
            net.zero_grad()
            loss = loss_of(net, *next(read))
            loss.backward()  # type: ignore[no-untyped-call]
            if not step and name == "critic":
                losses[name].append(loss.detach())
                yield 0, row()
                losses[name] = []
            losses[name].append(loss.detach())
            peer.step()
    yield training.updates, row()


def _vote(training: Training, seed: int, rule: Rule, device: str) -> Iterator[Row]:
    """The members one after another; their outputs are kept at each record, and vote at the end."""
    assert training.members is not None
    assert training.data is not None
    assert training.batch_size is not None
    members, splits, objective = training.members, load(training.data, device), training.loss
    classes = isinstance(objective, CrossEntropy)
    found: dict[int, dict[str, list[float]]] = {}
    outputs: dict[tuple[int, str], list[Tensor]] = {}
    for own in members.seeds(seed):
        net = _made(training, own, device)
        peer = rule([*net.parameters()])
        read = _batches(own, training.data, training.batch_size, 0, device)
        losses: list[Tensor] = []

        def record(
            step: int, recent: list[Tensor], net: nn.Module = net
        ) -> None:  # this member's part of a row
            row = found.setdefault(step, {})
            row.setdefault("train_loss", []).append(torch.stack(recent).mean().item())
            with torch.no_grad():
                for split in ("valid", "test"):
                    x, y = getattr(splits, split)
                    said = net(x)
                    outputs.setdefault((step, split), []).append(said)
                    for what, value in objective.scores(said, y).items():
                        row.setdefault(f"{split}_member_{what}", []).append(value.item())

        for step in range(training.updates):
            x, y = next(read)
            peer.zero_grad()
            loss = objective.loss(net(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            if step % training.epoch == 0:
                record(step, losses or [loss.detach()])
                losses = []
            losses.append(loss.detach())
            peer.step()
        record(training.updates, losses)
    for step, row in sorted(found.items()):
        means = {name: sum(each) / members.count for name, each in row.items()}
        for split in ("valid", "test"):
            said = torch.stack(outputs[step, split])  # (M, n, C)
            voted = said.softmax(-1).mean(0).log() if classes else said.mean(0)
            target = getattr(splits, split)[1]
            for what, value in objective.scores(voted, target).items():
                means[f"{split}_{what}"] = value.item()
            if not classes:
                continue
            alike = F.one_hot(said.argmax(-1), said.shape[-1]).sum(0)  # (n, C)
            pairs = members.count * (members.count - 1)
            apart = 1 - (alike * (alike - 1)).sum(1).double().mean().item() / pairs
            means[f"{split}_disagreement"] = apart
        yield step, means
