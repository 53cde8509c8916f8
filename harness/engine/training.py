"""What a trial trains: declared, compared and grouped, and run by no study."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from harness.engine.buckets import Buckets, cut, lengths
from harness.engine.building import structure
from harness.engine.members import Members
from harness.engine.padding import check_padding
from harness.engine.process import PRECISIONS
from harness.engine.stages import Beside, Names, Player, Stage
from harness.engine.vouching import UPDATES, Vouched, vouched, vouched_before
from harness.parts import data as data_
from harness.parts.data.augment import Augment
from harness.parts.data.rows import shown
from harness.parts.objectives import (
    CrossEntropy,
    Loss,
    Objective,
    Output,
    Said,
    having,
    parted,
    targets_of,
)
from harness.parts.optimizers import Optimizer
from harness.parts.probes import Probe
from harness.study import Study, Trial

VOUCHED_ON = 16  # examples of an update, at most, on which a program is held to its module
T = TypeVar("T")


@dataclass(frozen=True)
class Stop:
    """Early stopping: a trial ends when a metric has not improved for `patience` records.

    Args:
        metric: A recorded metric, of the validation split.
        patience: Records without improvement that end the trial; may differ within a pack.
        better: Which direction of the metric is an improvement.
        restore: Whether the trial ends with the parameters and running statistics of its best
            record, as Goodfellow et al. 2016, algorithm 7.1, do: its last row is measured on those.
    """

    metric: str = "valid_loss"
    patience: float = math.inf
    better: str = "low"
    restore: bool = False

    def __post_init__(self) -> None:
        if self.metric.startswith("test"):
            raise ValueError(
                f"Stop.metric is {self.metric!r}; allowed: no metric of the test split"
            )
        if self.better not in ("high", "low"):
            raise ValueError(f"Stop.better is {self.better!r}; allowed: 'high', 'low'")


@dataclass(frozen=True)
class Training:
    """What a trial trains: declared, compared and grouped, and not run by the study.

    Args:
        model: Builds the module; called once a trial under that trial's own random seed. A number
            of the module that differs between trials is a buffer, so that one program serves all.
        optimizer: The rule, its numbers and schedule; numbers and schedules may differ in a pack.
        data: The data set, or None where the model's output is itself the loss.
        objective: The loss; by default `CrossEntropy` with data and `Output` without. A `Loss`, any
            function of the module and a batch, becomes a part of the model.
        epochs: Passes over the training split (with data), or
        steps: number of updates.
        batch_size: Examples an update (with data).
        every: Updates between recorded rows, by default an epoch with data, else all steps; or the
            updates before which there is a row. The last row comes after the last update.
        probes: Measurements beyond losses and scores.
        noise: Standard deviation of Gaussian noise on the inputs in training; of several, on the
            first.
        augment: How images are moved in training, the first of several inputs; its numbers may
            differ in a pack.
        stop: Early stopping.
        pad_to: Builds the same architecture at a greater width. Trials of different widths with
            equal `pad_to` share a pack: each is padded with zeros that stay zero. A trial's rows
            depend on it in the last bits, so derive it from the trial's width alone. Optimizers that
            step each trial by itself do so at its own width, and it counts for nothing.
        precision: "float32", "tf32" (CUDA's matrix products) or "bf16" (the model, by autocast).
        buckets: How many buckets padded sequences are put in by length: an update reads one, the same
            in all trials, and is no longer than that bucket's longest (`harness.buckets`).
        sealed: Whether the test split is left alone: it is not scored, and probes cannot see it. All
            else is as it would be. A study's trials are sealed before the confirm phase (`declared`).
        trains: Names of the parameters that are moved, by glob ("head.*"); the others have no
            gradient and take no optimizer memory.
        players: Those that take turns at each update, in place of one objective (`Player`).
        stages: What follows each other (`Stage`), each with a length of its own; rows have its number
            as the metric ``stage``. Early stopping is of the last: where stages meet, all trials of
            a pack go on at the same update.
        members: Where a trial is several networks that vote (`Members`).
        beside: Another data set that is read beside `data` (`Beside`).

    Attributes:
        legs: The stages as Trainings of one each.
        sides: Of a Training of one stage: its players as Trainings of one each.
    """

    model: Callable[[], nn.Module]
    optimizer: Optimizer
    data: data_.Data | None = None
    objective: Objective | Loss | None = None
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    every: int | tuple[int, ...] | None = None
    probes: tuple[Probe, ...] = ()
    noise: float = 0.0
    augment: Augment | None = None
    stop: Stop | None = None
    pad_to: Callable[[], nn.Module] | None = None
    precision: str = "float32"
    buckets: int = 1
    sealed: bool = False
    trains: Names = "*"
    players: tuple[Player, ...] = ()
    stages: tuple[Stage, ...] = ()
    members: Members | None = None
    beside: Beside | None = None

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.stages:
            self._check_stages()
            return
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"Training has epochs={self.epochs} and steps={self.steps}; allowed: one of them"
            )
        if self.data is None and (self.epochs is not None or self.batch_size is not None):
            raise ValueError("Training has epochs or batch_size but no data; allowed: steps")
        if self.data is not None and not self.batch_size:
            raise ValueError(f"Training has batch_size={self.batch_size}; allowed: at least 1")
        if self.updates < 1:
            raise ValueError(f"Training has {self.updates} updates; allowed: at least 1")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"Training.precision is {self.precision!r}; allowed: {', '.join(PRECISIONS)}"
            )
        if not self.noise >= 0 or (self.noise and self.data is None):
            raise ValueError(f"Training.noise is {self.noise}; allowed: at least 0, with data")
        if not 1 <= self.buckets <= self.epoch or (
            self.buckets > 1 and (self.data is None or self.data.draw is not None)
        ):
            raise ValueError(
                f"Training.buckets is {self.buckets}; allowed: 1, or with data and no random subset "
                "up to the updates of an epoch"
            )
        if self.players:
            self._check_players()
            return
        self._check_rule()
        if self.members and (isinstance(self.objective, Loss | Said) or self.data is None):
            raise ValueError(
                "Training has members and no objective that scores outputs on data; allowed: "
                "CrossEntropy(), SquaredError() or another on the shelf"
            )
        if self.beside and not isinstance(self.objective, Said):
            scores = getattr(self.objective, "scores", None)
            if not isinstance(self.objective, Loss) or scores is None:
                raise ValueError(
                    f"Training has data beside and the objective {self.objective}; allowed: Loss(fn, "
                    "scores), of a function fn(module, *batch, *beside)"
                )
        if isinstance(self.objective, Loss):
            if self.data is None:
                raise ValueError(
                    "Training has a Loss but no data; allowed: a model that is the loss"
                )
            scored = len(sum(self.data.parts, ())) if self.beside else None
            for name in ("model", "pad_to"):
                if (built := getattr(self, name)) is not None:
                    object.__setattr__(self, name, self.objective.around(built, scored))
            object.__setattr__(self, "objective", Said())
        if self.optimizer.batched is None:
            object.__setattr__(self, "pad_to", None)
        if self.augment is not None and self.data is None:
            raise ValueError(f"Training.augment is {self.augment}; allowed: only with data")
        if self.data is not None and not isinstance(self.loss, Said):
            given, taken = len(self.data.parts[1]), targets_of(self.loss)
            if given != taken:
                raise ValueError(
                    f"data set {self.data.name!r} has {given} targets ({', '.join(self.data.parts[1])}) "
                    f"and {type(self.loss).__name__} takes {taken}; allowed: as many, or a Loss"
                )

    def _check_kinds(self) -> None:
        """Raise for what is no model, optimizer, data set or objective, as other libraries have them."""
        builds = callable(self.model) and not isinstance(self.model, nn.Module)
        data = self.data is None or isinstance(self.data, data_.Data)
        objective = self.objective is None or isinstance(self.objective, Loss)
        minimised = objective or all(
            hasattr(self.objective, name) for name in ("loss", "scores", "numbers")
        )
        for holds, name, allowed in (
            (builds, "model", "what builds a module, as its class, or partial(Mine, 64), does"),
            (isinstance(self.optimizer, Optimizer), "optimizer",
             "Optimizer('adam', lr=…), or of a class, Optimizer(torch.optim.Adam, lr=…)"),
            (data, "data", "Data('digits'), or Data.of(…) at the top level of the study file"),
            (minimised, "objective", "CrossEntropy(), SquaredError() or another on the shelf, or "
             "Loss(fn) of a function fn(module, x, y)"),
        ):  # fmt: skip
            if not holds:
                raise ValueError(
                    f"Training.{name} is {shown(getattr(self, name))}; allowed: {allowed}"
                )

    def _check_rule(self) -> None:
        """Raise for what the optimizer's rule cannot do."""
        rule, name = self.optimizer.batched, self.optimizer.name
        of_outputs = self.data is not None and not isinstance(self.objective, Loss | Said)
        if rule is not None and rule.of_outputs and not of_outputs:
            raise ValueError(
                f"Training has optimizer {name!r} and no objective of outputs on data; allowed: "
                "CrossEntropy(), SquaredError() or another on the shelf"
            )
        if self.optimizer.solves and self.pad_to is not None:
            raise ValueError(f"Training has optimizer {name!r} and pad_to; allowed: one of them")

    def _check_stages(self) -> None:
        if self.epochs is not None or self.steps is not None or self.players:
            raise ValueError(
                f"Training has stages and epochs={self.epochs}, steps={self.steps}, "
                f"{len(self.players)} players; allowed: those of each stage"
            )
        if self.stages[0].onward or self.stages[0].reset or self.stages[0].copy:
            raise ValueError(
                "the first stage goes on, resets or copies; allowed: what follows another"
            )
        for stage, leg, before in zip(self.stages[1:], self.legs[1:], self.legs, strict=False):
            if stage.onward and before.optimizer.solves:
                raise ValueError(
                    f"a stage goes on with {before.optimizer.name!r}, which has solved its layer; "
                    "allowed: an optimizer that steps"
                )
            if stage.onward and (before.players or before.trains != leg.trains):
                raise ValueError(
                    f"a stage goes on with an optimizer of {before.trains!r} and trains {leg.trains!r}; "
                    "allowed: the same parameters, and no players before"
                )

    def _check_players(self) -> None:
        names = [one.name for one in self.players]
        if len({*names}) < len(names) or self.objective is not None:
            raise ValueError(
                f"Training has players {', '.join(names)} and objective={self.objective}; allowed: "
                "each name once, and no objective beside them"
            )
        assert self.sides  # which check themselves

    @functools.cached_property
    def legs(self) -> tuple[Training, ...]:
        """The stages, each as a Training: this one where there are none."""
        found: list[Training] = []
        for number, stage in enumerate(self.stages):
            own = {
                one.name: getattr(stage, one.name)
                for one in dataclasses.fields(stage)
                if one.name not in ("reset", "copy", "onward")
            }
            said = {name: value for name, value in own.items() if value is not None}
            if stage.players:
                said["objective"] = None
            if stage.onward:
                said["optimizer"] = found[-1].optimizer
            if number + 1 < len(self.stages):
                said["stop"] = None
            found.append(dataclasses.replace(self, stages=(), **said))
        return tuple(found) or (self,)

    @functools.cached_property
    def sides(self) -> tuple[Training, ...]:
        """The players of a stage, each as a Training: this one where there are none."""
        return tuple(
            dataclasses.replace(
                self, players=(), objective=one.loss, trains=one.trains,
                optimizer=one.optimizer or self.optimizer,
            )
            for one in self.players
        ) or (self,)  # fmt: skip

    @property
    def turns(self) -> tuple[int, ...]:
        """How many times each player of a stage moves at an update."""
        return tuple(one.updates for one in self.players) or (1,)

    @property
    def each_side(self) -> tuple[tuple[Training, int], ...]:
        """Every player of every stage, and how many times it moves at an update."""
        return tuple(pair for leg in self.legs for pair in zip(leg.sides, leg.turns, strict=True))

    @functools.cached_property
    def aside(self) -> Training | None:
        """What reads the data beside as its own, if there are any."""
        if self.beside is None:
            return None
        return dataclasses.replace(
            self, data=self.beside.data, batch_size=self.beside.batch_size, beside=None,
            objective=Said(), players=(), buckets=1,
        )  # fmt: skip

    @property
    def read(self) -> int:
        """Examples of an update."""
        return (self.batch_size or 1) + (self.beside.batch_size if self.beside else 0)

    @property
    def epoch(self) -> int:
        """Updates in one pass over the training split; a last, smaller batch is left out."""
        if self.data is None or not self.batch_size:
            return self.updates
        return max(1, data_.train_size(self.data) // self.batch_size)

    @property
    def updates(self) -> int:
        """Updates in all."""
        if self.stages:
            return sum(leg.updates for leg in self.legs)
        return self.steps if self.steps is not None else int(self.epochs or 0) * self.epoch

    @property
    def loss(self) -> Objective:
        """The objective, or the one that goes without saying."""
        assert not isinstance(self.objective, Loss)  # which has become part of the model
        return self.objective or (Output() if self.data is None else CrossEntropy())

    def signature(self) -> tuple[Any, ...]:
        """What must be equal for two Trainings to share a pack.

        Raises:
            ValueError: `pad_to` does not fit the model, or changes what it computes.
        """
        if self.stages:
            kept = tuple((stage.reset, stage.copy, stage.onward) for stage in self.stages)
            return (kept, *(leg.signature() for leg in self.legs))
        if self.players:
            names = tuple((one.name, one.updates) for one in self.players)
            return (names, *(side.signature() for side in self.sides))
        if self.pad_to is not None:
            check_padding(self.model, self.pad_to, self._sample(2))
        zeros = dict.fromkeys(self.loss.numbers, 0.0)
        return (
            structure(self.pad_to or self.model), self.optimizer.rule, self._kinds_of_data(),
            having(self.loss, zeros), self.updates, self.batch_size, self.every,
            self.probes, self.precision, self.stop and dataclasses.replace(self.stop, patience=0),
            self.augment is not None, self.buckets, self.sealed, self.trains, self.members,
        )  # fmt: skip

    def _kinds_of_data(self) -> tuple[Any, ...]:
        """The data, and those beside, but for the number of a random subset."""
        beside = self.beside.data if self.beside else None
        size = self.beside.batch_size if self.beside else 0
        kinds = (
            one if one is None or one.draw is None else dataclasses.replace(one, draw=0)
            for one in (self.data, beside)
        )
        return (*kinds, size)

    def vouched(self) -> Vouched:
        """Whether a program trains trials like this one as their author wrote them: it is tried."""
        if not self.stages and not self.players:
            return self._vouching(vouched)
        whys = (side.vouched().why for side, _ in self.each_side)
        return Vouched(next(filter(None, whys), ""))

    def vouched_before(self) -> Vouched | None:
        """What was found when it was tried on this machine; None where it has not been."""
        if not self.stages and not self.players:
            return self._vouching(vouched_before)
        found = [side.vouched_before() for side, _ in self.each_side]
        if None in found:
            return None
        return Vouched(next((one.why for one in found if one and one.why), ""))

    def _vouching(self, ask: Callable[..., T]) -> T:
        zeros = dict.fromkeys(self.loss.numbers, 0.0)

        model = self.pad_to or self.model
        return ask(
            structure(model), model, having(self.loss, zeros), self._kinds_of_data(),
            functools.partial(self.examples, 2 * UPDATES * VOUCHED_ON),
            min(self.batch_size or 1, VOUCHED_ON),
        )  # fmt: skip

    def examples(self, most: int) -> tuple[Tensor, ...]:
        """The first training examples of all that an update reads, so many at most of each; nothing
        without data."""
        read = [one for one in (self.data, self.beside and self.beside.data) if one]
        return tuple(part[:most] for one in read for part in data_.load(one).train)

    def why_alone(self) -> str:
        """Why trials like this one cannot be fused, or nothing if they can: it is tried."""
        return self.vouched().why

    def sample(self) -> tuple[Tensor, ...]:
        """What the model is given for one example, (1, ...) each, as an update reads it on average:
        in buckets, of their mean length; nothing without data."""
        given = self._sample(1)
        if self.data is None or self.buckets == 1:
            return given
        steps = lengths(data_.load(self.data).train[0])
        if steps is None:
            return given
        longest = Buckets(steps, self.batch_size or 1, self.buckets).steps(0)
        return tuple(cut(part, round(sum(longest) / len(longest))) for part in given)

    def due(self, step: int) -> bool:
        """Whether there is a row before this update, of a stage."""
        every = self.every or self.epoch
        return step in every if isinstance(every, tuple) else step % every == 0

    @property
    def records(self) -> int:
        """Rows of a trial that is not stopped early: where stages meet there is one."""
        if self.stages:
            return sum(leg.records for leg in self.legs) - sum(leg.due(0) for leg in self.legs[1:])
        every = self.every or self.epoch
        if isinstance(every, tuple):
            return len({step for step in every if 0 <= step < self.updates}) + 1
        return math.ceil(self.updates / every) + 1

    def scored(self) -> int:
        """Examples on which a record is measured."""
        if self.data is None:
            return 0
        splits = data_.load(self.data, sealed=self.sealed)
        return len(splits.valid[0]) + (0 if self.sealed else len(splits.test[0]))

    def _sample(self, n: int) -> tuple[Tensor, ...]:
        return parted(self.loss, self.examples(n))[0]


def declared(study: Study, trial: Trial) -> Any:
    """What a study declares for a trial: a Training, sealed where the trial's phase is, or whatever
    else its trial function gives.

    Raises:
        Exception: whatever that function raises.
    """
    one = study.trial(trial)
    if isinstance(one, Training) and study.sealed(trial.phase):
        return dataclasses.replace(one, sealed=True)
    return one
