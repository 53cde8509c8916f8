"""Packs: trials that differ only in numbers, trained as one fused program.

A study declares what a trial trains as a `Training`. `train` stacks the parameters and buffers of
K such Trainings and runs every update of all of them at once (`harness.engine.program`), with a
batched optimizer rule. A trial's rows are a function of its own seed: the same alone, in any pack,
in any order (on the CPU, bitwise).
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from harness.engine import process
from harness.engine.batches import Batches
from harness.engine.building import Tensors, built, drawing, structure
from harness.engine.flat import Flat
from harness.engine.flight import Earlier, Flight
from harness.engine.lanes import Lanes
from harness.engine.looped import Looped
from harness.engine.losses import Losses
from harness.engine.noise import Noise
from harness.engine.outcome import Outcome
from harness.engine.padding import padded
from harness.engine.process import arithmetic
from harness.engine.program import Computation, program
from harness.engine.record import Record
from harness.engine.side import Side
from harness.engine.solving import Solver
from harness.engine.stages import begun_with, named
from harness.engine.stepper import Stepper
from harness.engine.stopping import Stopping
from harness.engine.structure import kept, layout
from harness.engine.training import Training
from harness.engine.trees import Unsettled, settled
from harness.engine.watching import OUTSIDE
from harness.parts.models.layers import Dropout
from harness.parts.objectives import Asked, authors, begins, having

PAYS = 1.5  # compacting must save this many times what tracing anew costs
RETRACED = 60  # which is as much as so many updates


def train(
    trainings: Sequence[Training], seeds: Sequence[int], device: str | None = None
) -> list[Outcome]:
    """Train Trainings without a study: those that share a signature together, as one program.

    Args:
        trainings: K Trainings.
        seeds: K seeds; each trial's rows depend on its own only.
        device: Where to train: "cpu" or "cuda"; by default a GPU where there is one.

    Returns:
        K outcomes in the same order. Losses that leave the finite numbers make a trial "diverged".

    Raises:
        ValueError: as many seeds as Trainings were not given, or a Training does not fit its data.
    """
    if len(trainings) != len(seeds):
        raise ValueError(f"{len(trainings)} trainings and {len(seeds)} seeds; allowed: as many")
    where = device or process.device()
    groups: dict[Any, list[int]] = {}
    for place, training in enumerate(trainings):
        groups.setdefault(training.signature(), []).append(place)
    return _apart(trainings, seeds, where, [*groups.values()])


def train_pack(
    trainings: Sequence[Training], seeds: Sequence[int], device: str = "cpu",
    flight: Flight | None = None,
) -> list[Outcome]:  # fmt: skip
    """Train K Trainings of one signature together: `train` for what is known to fit.

    Args:
        trainings, seeds, device: As of `train`.
        flight: Where the pack is saved, and may be gone on with.

    Raises:
        Landed: the run is to end; the pack has been saved.
    """
    if (members := trainings[0].members) is not None:
        own = [place for place in range(len(trainings)) for _ in range(members.count)]
        lanes = [seed for trial in seeds for seed in members.seeds(trial)]
        return members.together(
            _train([trainings[i] for i in own], lanes, device, flight and flight.part(own))
        )
    return _train(trainings, seeds, device, flight)


def _train(
    trainings: Sequence[Training], seeds: Sequence[int], device: str, flight: Flight | None
) -> list[Outcome]:
    """One lane each."""
    started = time.perf_counter()
    if len(trainings) == 1 and not trainings[0].why_alone():
        # A batch of one takes other kernels, which differ in the last bit: give it a twin.
        twins = flight and flight.part([0, 0])
        (outcome, twin) = train_pack([trainings[0]] * 2, [seeds[0]] * 2, device, twins)
        outcome.seconds += twin.seconds
        return [outcome]
    earlier = flight.earlier() if flight else None
    if flight and earlier:
        flight.seconds = len(trainings) * earlier.share
    with arithmetic(trainings[0].precision):
        pack = None
        try:
            with drawing():
                if earlier and len(found := earlier.outcomes()) == len(trainings):
                    outcomes = [found[place] for place in range(len(trainings))]
                else:
                    pack = _begun(trainings, seeds, device, earlier)
                    outcomes = pack.run(flight)[: len(trainings)]
        except Unlike as error:
            if trainings[0].members is not None:
                raise ValueError(
                    "members keep different things in Python; allowed: a buffer for what differs"
                ) from error
            return _apart(trainings, seeds, device, error.groups, flight)
        finally:
            if pack is not None:
                pack.close()
    seconds = (time.perf_counter() - started) / len(outcomes)
    if earlier:
        seconds += earlier.share
    for outcome in outcomes:
        outcome.seconds = seconds
    return outcomes


def _begun(
    trainings: Sequence[Training], seeds: Sequence[int], device: str, earlier: Earlier | None
) -> PackInFlight:
    """A pack at its first update, or where an earlier one was saved: of those of its trials that are
    wanted and have not ended."""
    if earlier:
        with contextlib.suppress(Unsettled):  # it was of another structure
            return _resumed(trainings, seeds, device, earlier)
    return PackInFlight(trainings, seeds, device)


def _resumed(
    trainings: Sequence[Training], seeds: Sequence[int], device: str, earlier: Earlier
) -> PackInFlight:
    places = [earlier.places.get(lane) for lane in earlier.state["each"]["lanes"]]
    # any trial stands in for those that are not wanted, until they are left out
    stand = [place or 0 for place in places]
    pack = PackInFlight([trainings[i] for i in stand], [seeds[i] for i in stand], device)
    pack.restore(earlier.state)
    extra = itertools.count(len(trainings))
    pack.each.lanes = [next(extra) if place is None else place for place in places]
    pack.rows.done = earlier.outcomes()
    wanted = [lane for lane, place in enumerate(places) if place is not None]
    alone = len(wanted) == 1 < len(places)
    if len(wanted) < len(places):
        pack.keep(
            torch.tensor(wanted * (1 + alone), device=device)
        )  # with a twin: see `train_pack`
    if alone:
        pack.each.lanes[1] = next(extra)
    return pack


class Unlike(Exception):
    """Trials whose modules differ in what one copy would serve: `groups` of lanes are alike."""

    def __init__(self, groups: list[list[int]]) -> None:
        super().__init__(f"{len(groups)} kinds of modules in one pack")
        self.groups = groups


def _apart(
    trainings: Sequence[Training], seeds: Sequence[int], device: str, groups: list[list[int]],
    flight: Flight | None = None,
) -> list[Outcome]:  # fmt: skip
    """Each group of lanes as a pack of its own."""
    found: dict[int, Outcome] = {}
    for lanes in groups:
        own = flight and flight.part(lanes)
        outcomes = train_pack([trainings[i] for i in lanes], [seeds[i] for i in lanes], device, own)
        found |= dict(zip(lanes, outcomes, strict=True))
    return [found[lane] for lane in range(len(trainings))]


class PackInFlight:
    """K trials in flight: what they are made of, and the loop that trains them.

    Whatever there is of each trial lies in `each`, or in the parameters, the optimizers' slots and
    the losses, which are cut with it in `keep`. One class, since the order of its steps is what
    makes an update: a batch is chosen, keys are drawn, gradients taken, a row measured with the
    parameters that had them, lanes left out, and then the parameters moved; and then, where there
    are more turns or players, theirs.

    Args:
        trainings, seeds: Of K trials that share a signature.
        device: Where to train.

    Raises:
        Unlike: their modules differ in what one copy would serve.
        ValueError: nothing of the module is trained, or one parameter by several players.
    """

    def __init__(self, trainings: Sequence[Training], seeds: Sequence[int], device: str) -> None:
        self.one, self.device = trainings[0], device
        self.trainings = list(trainings)
        self.each = Lanes(
            lanes=list(range(len(trainings))),  # which trials they are
            seeds=list(seeds),
            first_rate=None,  # (K,) what multiplied the gradient in the first update of the stage
        )
        self.losses = Losses(self.one.updates, self.size, device)
        self.rows = Record(self.each, self.losses, device)
        self.step = 0  # updates so far
        self.sides: list[Side] = []
        self._enter(0, {})

    @property
    def size(self) -> int:
        """Trials that are trained on."""
        return len(self.each.lanes)

    # --- stages ----------------------------------------------------------------------------------

    def _enter(self, number: int, handed: Tensors) -> None:
        """Begin a stage, with what the one before hands on: (K, ...) by the author's names."""
        legs, device, each = self.one.legs, self.device, self.each
        self.number, self.leg = number, legs[number]
        self.begin = sum(leg.updates for leg in legs[:number])
        self.end = self.begin + self.leg.updates
        own = [training.legs[number] for training in self.trainings]
        turns = sum(sum(leg.turns) * leg.updates for leg in legs[:number])  # before this stage
        self._turns = turns - self.begin * sum(self.leg.turns)
        goes_on = number > 0 and self.one.stages[number].onward
        slots = [side.stepper.state() for side in self.sides] if goes_on and handed else []

        modules, masks = _modules([leg.sides[0] for leg in own], each.seeds, number)
        params, buffers = stack_module_state(modules)  # (K, ...) each
        within = begins(modules[0])
        for stage in self.one.stages[1:] if not number else ():
            begun_with(stage, authors({**params, **buffers}, within))  # a mistake is known at once
        old = begun_with(self.one.stages[number], handed) if handed else {}
        buffers = {name: b for name, b in buffers.items() if name.startswith(within)}
        for group in (params, buffers):
            for name, tensor in group.items():
                now = old.get(name.removeprefix(within), tensor)
                group[name] = now.detach().to(device).contiguous()
        # what never moves is kept with the buffers: what is frozen, and what no loss depends on
        trained = {name for name, w in modules[0].named_parameters() if w.requires_grad}
        moved, found = [], [side.vouched() for side in self.leg.sides]
        idle = frozenset.intersection(*(one.idle for one in found))
        for side, one in zip(self.leg.sides, found, strict=True):
            wanted = named(side.trains, authors(params, within))
            moved.append({n for n in trained if n.removeprefix(within) in wanted} - one.idle)
        _check_moved(self.leg, modules[0], moved)
        still = params.keys() - trained | idle
        others = {n: w for n, w in params.items() if n not in still.union(*moved)}
        self.rest = Flat(others, device != "cpu")  # that this stage does not move
        each.buffers = buffers | {name: params[name] for name in still}
        drops = [path for path, m in modules[0].named_modules() if isinstance(m, Dropout)]
        fused = [not one.why for one in found]
        first = [leg.sides[0] for leg in own]
        span = turns, sum(self.leg.turns) * self.leg.updates
        self.noise = Noise(first, each.seeds, each, drops, any(fused), span, device)
        self.batches = Batches(own, each.seeds, each, device, number, turns)
        self._contained = not any(one.why.startswith(OUTSIDE) for one in found)
        self.close()  # of the stage before
        each.loss, each.own, self.sides = {}, {}, []
        names = [player.name for player in self.leg.players] or [""]
        for place, side in enumerate(self.leg.sides):
            if place:
                modules, masks = _modules([leg.sides[place] for leg in own], each.seeds, number)
            each.own[names[place]] = _numbers(modules, device)
            flat = Flat(
                {name: w for name, w in params.items() if name in moved[place]}, device != "cpu"
            )
            mask = (
                flat.lay({name: masks[name] for name in flat.shapes}).to(device) if masks else None
            )
            rules = [leg.sides[place].optimizer for leg in own]
            updates = _stretch(self.one, number) * self.leg.turns[place]
            stepper = (
                Solver(rules, flat, updates)
                if side.optimizer.solves
                else Stepper(rules, flat, updates, mask, self.noise.sow_step)
            )
            if slots:
                stepper.restore(slots[place])
            self.sides.append(
                Side(
                    names[place],
                    self.leg.turns[place],
                    self._program(side, modules, fused[place]),
                    flat,
                    stepper,
                    each,
                    self.noise,
                    self.batches,
                    device,
                )
            )
        self.each.heard = {
            name: torch.zeros(self.size, dtype=torch.float64, device=device) for name in names[1:]
        }
        flats = [side.params for side in self.sides]
        self.rows.enter(self, Stopping(own, each, flats, self.noise.keys, self.one.updates, device))
        self._lengths: set[int | None] = set()  # for which there has been code
        self._afresh()

    def _program(self, one: Training, modules: list[nn.Module], fused: bool) -> Computation:
        objective = having(one.loss, dict.fromkeys(one.loss.numbers, 0.0))
        if fused:
            return program(structure(one.pad_to or one.model), modules[0], objective, one.precision)
        there = [module.to(self.device) for module in modules]
        return Looped(there, objective, one.precision, self.noise.sow)

    def _afresh(self) -> None:
        """Let the players know where everything lies now."""
        pool = None if self.device == "cpu" else torch.cuda.graph_pool_handle()
        for side in self.sides:
            others = [other.params.views for other in self.sides if other is not side]
            own = self.each.own[side.name]
            side.bind(_together(self.each.buffers, self.rest.views, own, *others), pool)

    @property
    def trained(self) -> Tensors:
        """What this stage moves, (K, ...) each."""
        return _together(*(side.params.views for side in self.sides))

    @property
    def given(self) -> Tensors:
        """And what it does not: buffers, other parameters, and the numbers of the first loss."""
        own = self.each.own[self.sides[0].name]
        return _together(self.each.buffers, self.rest.views, own)

    def close(self) -> None:
        """Let go of what refers back to this pack: its memory is free now, and not when Python next
        looks for cycles."""
        for side in self.sides:
            side.close()

    # --- one update ------------------------------------------------------------------------------

    def turn(self, step: int) -> int:
        """How many batches have been read before an update."""
        return self._turns + step * sum(self.leg.turns)

    def gradient(self, step: int) -> None:
        """That of the first player, and its loss, at this step, on its batch."""
        side = self.sides[0]
        side.gradient(self.turn(step))
        self._lengths.add(self.batches.steps)

    def move(self, step: int) -> None:
        """The parameters of the first player along its gradient, and then all other turns."""
        first, turn = self.sides[0], self.turn(step)
        first.move()
        if step == self.begin:
            self.each.first_rate = first.stepper.mean_rate()
        for side in self.sides:
            for again in range(side.turns):
                if side is not first or again:
                    turn += 1
                    side.gradient(turn)
                    self._lengths.add(self.batches.steps)
                    side.move()
                    if side is not first:
                        self.each.heard[side.name] += self.each.loss[side.name]

    def update(self, step: int) -> None:
        """One whole update, with nothing recorded."""
        self.gradient(step)
        self.move(step)

    def loss(self) -> Tensor:
        """(K,) that of the first player; NaN where another's has left the finite numbers."""
        loss: Tensor = self.each.loss[self.sides[0].name]
        for heard in self.each.heard.values():
            loss = torch.where(heard.isfinite(), loss, torch.nan)
        return loss

    # --- the loop --------------------------------------------------------------------------------

    def run(self, flight: Flight | None = None) -> list[Outcome]:
        """All updates that are left, recording as declared; the outcomes, in the order the trials
        came in.

        Raises:
            Landed: the run is to end; the pack has been saved.
        """
        with flight.held() if flight else contextlib.nullcontext():
            while self._run(flight) and self.number + 1 < len(self.one.legs):
                self._enter(self.number + 1, self._handed())
            outcomes = self.rows.outcomes()
            if flight:
                flight.ended(self.one.updates, outcomes)
        return outcomes

    def _handed(self) -> Tensors:
        """All tensors of this stage by the author's names."""
        passing = {*self.noise.keys}
        found = {n: t for n, t in _together(self.given, self.trained).items() if n not in passing}
        return authors(found, begins(self.sides[0].program.module))

    def _run(self, flight: Flight | None) -> bool:
        """This stage; whether any trial is left for the next."""
        for step in range(self.step, self.end):
            self.step = step
            if flight:
                flight.look(step, self.one.updates, self.state)
            self.gradient(step)
            self.losses.count(self.loss())
            # where stages meet there has been a row
            if self.leg.due(step - self.begin) and (step > self.begin or not step):
                self.record(step)
                ends = self.leg.data is not None or self.leg.stop is not None
                if step and ends and not self.compact(step):
                    return False
            self.move(step)
        self.step = self.end
        self._close()
        self.rows.closed(self.end)
        return self.end < self.one.updates and self.compact(self.end)

    def record(self, step: int) -> None:
        """One row a trial, as they are before this update."""
        self.noise.step = self.turn(step)
        with contextlib.ExitStack() as stack:
            for side in self.sides:
                stack.enter_context(side.stepper.scoring())
            self.rows.take(step)

    def _close(self) -> None:
        """The loss after the last update of a stage, and its last row."""
        end = self.end
        if self.leg.data is None:
            self.gradient(end)
            self.losses.all[end] = self.loss()
        else:
            # the mean over the last epoch's batches stands for the training loss
            since = max(self.begin, end - self.leg.epoch)
            if (found := self.sides[0].stepper.found) is not None:
                self.losses.settle(self.begin, end, found)
            self.losses.all[end] = self.losses.mean(since, end)
        self.record(end)

    # --- saved ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """All that the rest of training depends on, at the beginning of an update; None where that
        cannot be told, as a module or an optimizer keeps something in Python."""
        contained = self._contained and all(
            side.program.unchanged() and side.stepper.contained() for side in self.sides
        )
        if not contained:
            return None
        return {
            "step": self.step,
            "stage": self.number,
            "each": self.each.state(),
            "params": [side.params.all for side in self.sides],
            "rest": self.rest.all,
            "steppers": [side.stepper.state() for side in self.sides],
            "losses": self.losses.state(),
            "done": self.rows.state(),
            "lengths": [*self._lengths],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another pack was, of as many trials, before anything has been trained.

        Raises:
            Unsettled: it was of another structure.
        """
        if state["stage"]:
            self._enter(state["stage"], {})
        self.each.restore(state["each"])
        for side, params, slots in zip(self.sides, state["params"], state["steppers"], strict=True):
            settled(side.params.all, params)
            side.stepper.restore(slots)
        settled(self.rest.all, state["rest"])
        self.losses.restore(state["losses"])
        self.rows.restore(state["done"])
        self.step, self._lengths = state["step"], set(state["lengths"])
        self._afresh()

    # --- trials that have ended ------------------------------------------------------------------

    def compact(self, step: int) -> bool:
        """Leave out the lanes of trials that have ended, where that pays by forecast; whether any
        are left."""
        over = (self.each.end <= step) | (self.each.lost <= step)  # (K,)
        over |= ~self.losses.all[: step + 1].isfinite().all(0)
        if (members := self.one.members) is not None:  # a trial ends with the first of them
            over = over.view(-1, members.count).any(1).repeat_interleave(members.count)
        alive = (~over).nonzero().flatten()
        if not len(alive):
            return False
        if len(alive) == 1 and self.size > 2:  # never alone: see `train_pack`
            alive = torch.cat([alive, over.nonzero()[:1].flatten()])
        # last bits may depend on a pack's size: no clock may choose it
        if self.device == "cpu":
            saved = (1 - len(alive) / self.size) * (self.one.updates - step)  # updates' worth
            fused = all(side.program.fused for side in self.sides)
            traced = RETRACED * len(self._lengths) * len(self.sides) if fused else 0
            pays = saved > PAYS * traced
        else:
            pays = 2 * len(alive) <= self.size
        if len(alive) < self.size and pays:
            self.keep(alive)
        return True

    def keep(self, alive: Tensor) -> None:
        """Go on with these lanes; the others' outcomes are taken down."""
        lanes = alive.tolist()
        self.rows.leave(staying=set(lanes))
        self.trainings = [self.trainings[lane] for lane in lanes]
        self.each.keep(alive)
        self.rest.keep(alive)
        for side in self.sides:
            side.keep(alive, lanes)
        self.losses.keep(alive)
        self.batches.forget()
        self._afresh()


def _together(*groups: Tensors) -> Tensors:
    """Tensors by name; the first group itself where the others are empty."""
    full = [group for group in groups if group]
    return full[0] if len(full) == 1 else {n: t for group in full for n, t in group.items()}


def _numbers(modules: Sequence[nn.Module], device: str) -> Tensors:
    """(K,) each, those of a loss."""
    own = [dict(module.numbers.named_buffers()) for module in modules if isinstance(module, Asked)]
    found = {name: torch.stack([one[name] for one in own]) for name in (own[0] if own else ())}
    return {f"numbers.{name}": values.to(device) for name, values in found.items()}


def _stretch(one: Training, number: int) -> int:
    """Updates of a stage and of those that its optimizer comes from and goes on to, which schedules
    refer to."""
    first = last = number
    while first and one.stages[first].onward:
        first -= 1
    while last + 1 < len(one.legs) and one.stages[last + 1].onward:
        last += 1
    return sum(leg.updates for leg in one.legs[first : last + 1])


def _check_moved(leg: Training, module: nn.Module, moved: list[set[str]]) -> None:
    """Raise where a player moves nothing, or what another does."""
    for place, names in enumerate(moved):
        side = leg.sides[place]
        if not names and side.trains == "*":
            raise ValueError(
                f"{type(module).__name__} has no parameter that is trained; allowed: at least one"
            )
        if not names:
            there = ", ".join(name for name, _ in module.named_parameters())
            raise ValueError(f"trains is {side.trains!r}, and moves none of {there}; allowed: one")
        for other in moved[:place]:
            if both := names & other:
                raise ValueError(
                    f"{', '.join(sorted(both))} would be moved by two players; allowed: one"
                )


def _modules(
    trainings: Sequence[Training], seeds: Sequence[int], stage: int
) -> tuple[list[nn.Module], Tensors]:
    """Each trial's module, padded where declared, and the masks (K, ...) of its own numbers. Of each
    stage it is another, though alike: what is reset begins with other numbers."""
    modules = built([t.model for t in trainings], seeds, stage)
    wider = [t.pad_to for t in trainings if t.pad_to is not None]
    if wider:
        return padded(modules, wider)
    alike: dict[Any, list[int]] = {}
    for lane, module in enumerate(modules):
        alike.setdefault((kept(module), layout(module)), []).append(lane)
    if len(alike) > 1:
        raise Unlike([*alike.values()])
    return modules, {}
