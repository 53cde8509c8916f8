"""Trainings of more than one loss: stages that follow each other, and players that take turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.parts import data as data_
from harness.parts.data.augment import Augment
from harness.parts.objectives import Loss, Objective
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Probe

Names = str | tuple[str, ...]  # of parameters and buffers, by glob: "encoder.*"


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
        objective, optimizer, data, batch_size, every, noise, augment, probes: As of a `Training`.
        trains: The parameters that it moves; the others have no gradient and take no optimizer
            memory.
        players: Those that take turns, in place of one objective.
        reset: What begins anew as the module's constructor makes it, and not as the stage before
            left it.
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
    batch_size: int | None = None
    every: int | tuple[int, ...] | None = None
    noise: float | None = None
    augment: Augment | None = None
    probes: tuple[Probe, ...] | None = None
    reset: Names = ()
    onward: bool = False

    def __post_init__(self) -> None:
        if self.onward and (self.optimizer is not None or self.players):
            raise ValueError(
                "Stage.onward with an optimizer or players; allowed: the optimizer of the stage before"
            )


def named(names: Names, among: Iterable[str]) -> set[str]:
    """Those that a glob, or any of several, matches."""
    globs = (names,) if isinstance(names, str) else names
    return {name for name in among if any(fnmatchcase(name, glob) for glob in globs)}
