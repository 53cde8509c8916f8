"""Trainings of more than one loss: stages that follow each other, and players that take turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor

from harness.parts import data as data_
from harness.parts.data.augment import Augment
from harness.parts.objectives import Loss, Objective
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Probe

Names = str | tuple[str, ...]  # of parameters and buffers, by glob: "encoder.*"


@dataclass(frozen=True)
class Beside:
    """A data set that is read beside another, a batch of each at every update, as examples without
    labels are beside those with them.

    The loss is given both: ``fn(module, *batch, *beside)``. Epochs, scores, noise and augmentation are of
    the other.

    Args:
        data: Which.
        batch_size: Examples an update, in an order of their own.
    """

    data: data_.Data
    batch_size: int

    def __post_init__(self) -> None:
        if not isinstance(self.data, data_.Data) or self.batch_size < 1:
            raise ValueError(
                f"Beside has data={self.data!r} and batch_size={self.batch_size}; allowed: Data, and "
                "at least 1"
            )


@dataclass(frozen=True)
class Player:
    """One of those that take turns at each update, each with a loss and parameters of its own.

    Args:
        name: Ends the names of its metrics: ``train_loss_critic``, ``valid_loss_critic``.
        loss: What it minimises.
        trains: The parameters that it moves, and no other player does.
        optimizer: Its rule; None for that of the Training.
        updates: How many it makes in its turn, each on the next batch.
    """

    name: str
    loss: Loss
    trains: Names
    optimizer: Optimizer | None = None
    updates: int = 1

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"Player.name is {self.name!r}; allowed: a word, as 'critic'")
        if not isinstance(self.loss, Loss):
            raise ValueError(
                f"Player.loss is {self.loss!r}; allowed: Loss(fn) of a function fn(module, x, y)"
            )
        if self.updates < 1:
            raise ValueError(f"Player.updates is {self.updates}; allowed: at least 1")


@dataclass(frozen=True)
class Stage:
    """A part of a training, which begins with the parameters that the one before ended with.

    What is not said here is as the `Training` says. Randomness goes on: no batch, mask or noise is
    drawn twice.

    Args:
        epochs, steps: Its length: one of them.
        objective, optimizer, data, beside, batch_size, every, noise, augment, probes: As of a
            `Training`.
        trains: The parameters that it moves; the others have no gradient and take no optimizer
            memory.
        players: Those that take turns, in place of one objective.
        reset: What begins anew as the module's constructor makes it, and not as the stage before
            left it.
        copy: What begins as something else was left: ``{"decode.0": "encode.0"}`` of modules, or
            ``{"decode.0.weight": "encode.0.weight.T"}`` of tensors, the latter transposed.
        onward: Whether the optimizer of the stage before goes on, slots, schedule and all, as where
            only the batches grow; else it begins anew.
    """

    epochs: int | None = None
    steps: int | None = None
    objective: Objective | Loss | None = None
    optimizer: Optimizer | None = None
    trains: Names | None = None
    players: tuple[Player, ...] = ()
    data: data_.Data | None = None
    beside: Beside | None = None
    batch_size: int | None = None
    every: int | tuple[int, ...] | None = None
    noise: float | None = None
    augment: Augment | None = None
    probes: tuple[Probe, ...] | None = None
    reset: Names = ()
    copy: Mapping[str, str] | tuple[tuple[str, str], ...] = ()
    onward: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "copy", tuple(dict(self.copy).items()))
        if self.onward and (self.optimizer is not None or self.players):
            raise ValueError(
                "Stage.onward with an optimizer or players; allowed: the optimizer of the stage before"
            )


def named(names: Names, among: Iterable[str]) -> set[str]:
    """Those that a glob, or any of several, matches."""
    globs = (names,) if isinstance(names, str) else names
    return {name for name in among if any(fnmatchcase(name, glob) for glob in globs)}


def begun_with(stage: Stage, left: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a stage goes on with, by name, of the tensors (K, ...) that the one before left.

    Raises:
        ValueError: it resets or copies what is not there, or copies to another shape.
    """
    globs = (stage.reset,) if isinstance(stage.reset, str) else stage.reset
    for glob in globs:
        if not named(glob, left):
            raise ValueError(f"Stage.reset is {glob!r}; allowed: one of {', '.join(left)}")
    found = {name: left[name] for name in left.keys() - named(globs, left)}
    for into, source in dict(stage.copy).items():
        plain = source.removesuffix(".T")
        names = [name for name in left if name == into or name.startswith(f"{into}.")]
        if not names:
            raise ValueError(f"Stage.copy has {into!r}; allowed: one of {', '.join(left)}")
        for name in names:
            value = left.get(plain + name.removeprefix(into))
            if value is not None and plain != source:
                value = value.mT if value.dim() == 3 else None
            if value is None or value.shape != left[name].shape:
                shape = None if value is None else tuple(value.shape[1:])
                raise ValueError(
                    f"Stage.copy has {into!r}: {source!r}, which for {name} is {shape}; allowed: "
                    f"{tuple(left[name].shape[1:])}"
                )
            found[name] = value
    return found
