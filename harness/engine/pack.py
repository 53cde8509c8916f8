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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from harness.engine import process
from harness.engine.batches import Batches
from harness.engine.building import Tensors, built, drawing, structure
from harness.engine.flat import Flat
from harness.engine.flight import Earlier, Flight
from harness.engine.graph import Repeated
from harness.engine.lanes import Lanes
from harness.engine.looped import Looped
from harness.engine.losses import Losses
from harness.engine.noise import Noise
from harness.engine.outcome import Outcome
from harness.engine.padding import padded
from harness.engine.process import arithmetic
from harness.engine.program import Computation, program
from harness.engine.record import Record
from harness.engine.stepper import Stepper
from harness.engine.stopping import Stopping
from harness.engine.structure import kept, layout
from harness.engine.training import Training
from harness.engine.trees import settled
from harness.engine.watching import OUTSIDE
from harness.parts.models.layers import Dropout
from harness.parts.objectives import having

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
        with contextlib.suppress(ValueError, KeyError):  # of another structure
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

    Whatever there is of each trial lies in `each`, or in the parameters, the optimizer's slots and
    the losses, which are cut with it in `keep`. One class, since the order of its steps is what
    makes an update: a batch is chosen, keys are drawn, gradients taken, a row measured with the
    parameters that had them, lanes left out, and then the parameters moved.

    Args:
        trainings, seeds: Of K trials that share a signature.
        device: Where to train.

    Raises:
        Unlike: their modules differ in what one copy would serve.
        ValueError: nothing of the module is trained.
    """

    def __init__(self, trainings: Sequence[Training], seeds: Sequence[int], device: str) -> None:
        one = trainings[0]
        self.one, self.device = one, device
        modules, masks = _modules(trainings, seeds)
        found = one.vouched()
        params, buffers = stack_module_state(modules)  # (K, ...) each
        # what never moves is kept with the buffers: what is frozen, and what no loss depends on
        still = {name for name, w in modules[0].named_parameters() if not w.requires_grad}
        still |= found.idle
        if params.keys() <= still:
            raise ValueError(
                f"{type(modules[0]).__name__} has no parameter that is trained; allowed: at least one"
            )
        buffers |= {name: params.pop(name).detach() for name in still}
        self.params = Flat({name: w.to(device) for name, w in params.items()}, device != "cpu")
        self.each = Lanes(
            lanes=list(range(len(trainings))),  # which trials they are
            buffers={name: b.to(device) for name, b in buffers.items()},
            loss=torch.zeros(len(trainings), device=device),  # (K,) of the latest update
            first_rate=None,  # (K,) what multiplied the gradient in the first update
        )
        drops = [path for path, m in modules[0].named_modules() if isinstance(m, Dropout)]
        self.noise = Noise(trainings, seeds, self.each, drops, not found.why, device)
        self.batches = Batches(trainings, seeds, self.each, device)
        objective = having(one.loss, dict.fromkeys(one.loss.numbers, 0.0))
        self.program: Computation
        self._contained = not found.why.startswith(OUTSIDE)
        if found.why:
            there = [module.to(device) for module in modules]
            self.program = Looped(there, objective, one.precision, self.noise.sow)
        else:
            alike = structure(one.pad_to or one.model)
            self.program = program(alike, modules[0], objective, one.precision)
        mask = self.params.lay({name: masks[name] for name in params}) if masks else None
        mask = mask if mask is None else mask.to(device)
        self.stepper = Stepper(
            [t.optimizer for t in trainings], self.params, one.updates, mask, self.noise.sow_step
        )
        self.losses = Losses(one.updates, self.size, device)
        stopping = Stopping(trainings, self.each, self.params, self.noise.keys, device)
        self.rows = Record(
            one, self.each, self.losses, self.params, self.stepper, self.program, stopping,
            self.batches.splits, device,
        )  # fmt: skip
        self.step = 0  # updates so far
        self._afresh()

    @property
    def size(self) -> int:
        """Trials that are trained on."""
        return len(self.each.lanes)

    def _afresh(self) -> None:
        # both by the length of sequences
        self._calls: dict[int | None, Callable[[tuple[Tensor, ...]], Tensor]] = {}
        self._gradients: dict[int | None, Repeated] = {}
        self._lengths: set[int | None] = set()  # for which there has been code
        # one memory for all graphs of a pack: they follow each other and leave nothing in it
        self._pool = None if self.device == "cpu" else torch.cuda.graph_pool_handle()
        where = self.device if self.stepper.repeats else "cpu"
        self._apply = Repeated(self.stepper.apply, where, self._pool)

    def close(self) -> None:
        """Let go of what refers back to this pack: its memory is free now, and not when Python next
        looks for cycles."""
        self._gradients.clear()
        self._calls.clear()
        self._apply = Repeated(lambda: None, "cpu")

    # --- one update ------------------------------------------------------------------------------

    def _take_gradient(self) -> None:
        self.noise.draw(self.program.masks)
        batch, length = self.batches.take(), self.batches.steps
        if length not in self._calls:
            self._calls[length] = self.program.gradients(
                self.params.views, self.each.buffers, batch, self.each.numbers, self.stepper.parts
            )
        losses = self._calls[length](batch)
        self.stepper.taken()
        if self.device == "cpu":
            self.each.loss = losses
        else:
            self.each.loss.copy_(losses)  # a graph that is launched again writes to the same memory

    def gradient(self, step: int) -> None:
        """The stepper's `grads`, and the loss of each, at this step, on its batch."""
        self.noise.at(step)
        self.batches.choose(step)
        length = self.batches.steps
        self._lengths.add(length)
        if length not in self._gradients:
            # a layer that draws its own random numbers would draw the same ones in every replay
            where = self.device if self.program.fused else "cpu"
            self._gradients[length] = Repeated(self._take_gradient, where, self._pool)
        self._gradients[length]()

    def move(self, step: int) -> None:
        """The parameters one update along `grads`."""
        self.stepper.advance()
        if self.program.skipped:
            self.stepper.apply(self.program.skipped)
        else:
            self._apply()
        if step == 0:
            self.each.first_rate = self.stepper.mean_rate()

    def update(self, step: int) -> None:
        """One whole update, with nothing recorded."""
        self.gradient(step)
        self.move(step)

    # --- the loop --------------------------------------------------------------------------------

    def run(self, flight: Flight | None = None) -> list[Outcome]:
        """All updates that are left, recording as declared; the outcomes, in the order the trials
        came in.

        Raises:
            Landed: the run is to end; the pack has been saved.
        """
        with flight.held() if flight else contextlib.nullcontext():
            self._run(flight)
            outcomes = self.rows.outcomes()
            if flight:
                flight.ended(self.one.updates, outcomes)
        return outcomes

    def _run(self, flight: Flight | None) -> None:
        one = self.one
        for step in range(self.step, one.updates):
            self.step = step
            if flight:
                flight.look(step, one.updates, self.state)
            self.gradient(step)
            self.losses.count(self.each.loss)
            if self._due(step):
                self.record(step)
                ends = one.data is not None or one.stop is not None
                if step and ends and not self.compact(step):
                    return
            self.move(step)
        self._close()

    def _due(self, step: int) -> bool:
        """Whether there is a row before this update."""
        every = self.one.every or self.one.epoch
        return step in every if isinstance(every, tuple) else step % every == 0

    def record(self, step: int) -> None:
        """One row a trial, as they are before this update."""
        self.noise.step = step
        with self.stepper.scoring():
            self.rows.take(step)

    def _close(self) -> None:
        """The loss after the last update, and the last row."""
        updates = self.one.updates
        if self.one.data is None:
            self.gradient(updates)
            self.losses.all[-1] = self.each.loss
        else:
            # the mean over the last epoch's batches stands for the training loss
            self.losses.all[-1] = self.losses.mean(max(0, updates - self.one.epoch), -1)
        self.record(updates)

    # --- saved ------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """All that the rest of training depends on, at the beginning of an update; None where that
        cannot be told, as a module or an optimizer keeps something in Python."""
        contained = self._contained and self.program.unchanged() and self.stepper.contained()
        if not contained:
            return None
        return {
            "step": self.step,
            "each": self.each.state(),
            "params": self.params.all,
            "stepper": self.stepper.state(),
            "losses": self.losses.state(),
            "done": self.rows.state(),
            "lengths": [*self._lengths],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where another pack was, of as many trials, before anything has been trained.

        Raises:
            ValueError: it was of another structure.
        """
        self.each.restore(state["each"])
        settled(self.params.all, state["params"])
        self.stepper.restore(state["stepper"])
        self.losses.restore(state["losses"])
        self.rows.restore(state["done"])
        self.step, self._lengths = state["step"], set(state["lengths"])

    # --- trials that have ended ------------------------------------------------------------------

    def compact(self, step: int) -> bool:
        """Leave out the lanes of trials that have ended, where that pays by forecast; whether any
        are left."""
        over = (self.each.end <= step) | ~self.losses.all[: step + 1].isfinite().all(0)  # (K,)
        alive = (~over).nonzero().flatten()
        if not len(alive):
            return False
        if len(alive) == 1 and self.size > 2:  # never alone: see `train_pack`
            alive = torch.cat([alive, over.nonzero()[:1].flatten()])
        # last bits may depend on a pack's size: no clock may choose it
        if self.device == "cpu":
            saved = (1 - len(alive) / self.size) * (self.one.updates - step)  # updates' worth
            traced = RETRACED * len(self._lengths) if self.program.fused else 0
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
        self.each.keep(alive)
        self.params.keep(alive)
        self.stepper.keep(alive)
        self.losses.keep(alive)
        self.program.keep(lanes)
        self.batches.forget()
        self._afresh()


def _modules(
    trainings: Sequence[Training], seeds: Sequence[int]
) -> tuple[list[nn.Module], Tensors]:
    """Each trial's module, padded where declared, and the masks (K, ...) of its own numbers."""
    modules = built([t.model for t in trainings], seeds)
    wider = [t.pad_to for t in trainings if t.pad_to is not None]
    if wider:
        return padded(modules, wider)
    alike: dict[Any, list[int]] = {}
    for lane, module in enumerate(modules):
        alike.setdefault((kept(module), layout(module)), []).append(lane)
    if len(alike) > 1:
        raise Unlike([*alike.values()])
    return modules, {}
