"""Packs: trials that differ only in numbers, trained as one fused program."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from harness.engine import building, padding, process, program
from harness.engine.buckets import Buckets, lengths, parts
from harness.engine.building import build, built, drawing, sow
from harness.engine.flat import Flat
from harness.engine.graph import Repeated
from harness.engine.lanes import Lanes
from harness.engine.looped import Looped
from harness.engine.outcome import Outcome
from harness.engine.process import arithmetic
from harness.engine.stepper import Stepper
from harness.engine.structure import kept, layout
from harness.engine.training import Training
from harness.parts import data as data_
from harness.parts import keyed
from harness.parts.augment import Augment
from harness.parts.models.layers import Dropout
from harness.parts.objectives import having
from harness.parts.probes import Moment
from harness.parts.probes.moment import EVAL_ROWS


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
    trainings: Sequence[Training], seeds: Sequence[int], device: str = "cpu"
) -> list[Outcome]:
    """Train K Trainings of one signature together: `train` for what is known to fit."""
    started = time.perf_counter()
    if len(trainings) == 1 and not trainings[0].why_alone():
        # A batch of one takes other kernels, which differ in the last bit: give it a twin.
        (outcome, twin) = train_pack([trainings[0]] * 2, [seeds[0]] * 2, device)
        outcome.seconds += twin.seconds
        return [outcome]
    with arithmetic(trainings[0].precision):
        pack = None
        try:
            with drawing():
                pack = PackInFlight(trainings, seeds, device)
                pack.run()
                outcomes = pack.outcomes()
        except Unlike as error:
            return _apart(trainings, seeds, device, error.groups)
        finally:
            if pack is not None:
                pack.close()
    seconds = (time.perf_counter() - started) / len(outcomes)
    for outcome in outcomes:
        outcome.seconds = seconds
    return outcomes


class Unlike(Exception):
    """Trials whose modules differ in what one copy would serve: `groups` of lanes are alike."""

    def __init__(self, groups: list[list[int]]) -> None:
        super().__init__(f"{len(groups)} kinds of modules in one pack")
        self.groups = groups


def _apart(
    trainings: Sequence[Training], seeds: Sequence[int], device: str, groups: list[list[int]]
) -> list[Outcome]:
    """Each group of lanes as a pack of its own."""
    found: dict[int, Outcome] = {}
    for lanes in groups:
        outcomes = train_pack([trainings[i] for i in lanes], [seeds[i] for i in lanes], device)
        found |= dict(zip(lanes, outcomes, strict=True))
    return [found[lane] for lane in range(len(trainings))]


def cut(part: Tensor, steps: int | None) -> Tensor:
    """Sequences (n, T, ...) without what lies beyond so many steps."""
    return part if steps is None or part.dim() < 2 else part[:, :steps]


def _mean(losses: Tensor) -> Tensor:
    """(n, K) to (K,), each lane summed by itself: a sum across rows would depend on K."""
    return losses.t().contiguous().double().mean(1).float()


class PackInFlight:
    """K trials in flight: stacked parameters, the program, and what has been recorded."""

    def __init__(self, trainings: Sequence[Training], seeds: Sequence[int], device: str) -> None:
        one = trainings[0]
        self.one, self.device = one, device
        self.each = Lanes()  # all that there is of each trial, but for what has a home of its own
        self.size = len(trainings)
        modules, masks = self._modules(trainings, seeds)
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
        self.each.buffers = {name: b.to(device) for name, b in buffers.items()}
        self.drops = [p for p, m in modules[0].named_modules() if isinstance(m, Dropout)]
        objective = having(one.loss, dict.fromkeys(one.loss.numbers, 0.0))
        self.program: program.Program | Looped
        if found.why:
            there = [module.to(device) for module in modules]
            self.program = Looped(there, objective, one.precision, self._sow)
        else:
            structure = building.structure(one.pad_to or one.model)
            self.program = program.program(structure, modules[0], objective, one.precision)
        self.splits = None if one.data is None else data_.load(one.data, device)
        self.each.subset = self._subset(trainings)
        self.buckets = self._buckets()
        self._parts: dict[str, Any] = {}  # what is scored together, of each split
        self.padded: int | None = None  # steps of the coming update, where it is cut short
        masks = {name: masks[name] for name in params} if masks else {}
        mask = self.params.lay(masks).to(device) if masks else None
        self.stepper = Stepper([t.optimizer for t in trainings], self.params, one.updates, mask)
        self.each.lanes = list(range(self.size))  # which trials the lanes are
        self.done: dict[int, Outcome] = {}
        self._epoch: int | None = None  # whose batches are at hand
        self._indices = torch.zeros(0)
        self._keys(trainings, list(seeds))
        self._losses = torch.full((one.updates + 1, self.size), torch.nan, device=device)
        self._counted = 0  # updates whose losses are in there; those of the latest wait
        self._latest: list[Tensor] = []
        self.each.loss = torch.zeros(self.size, device=device)
        self.each.recorded = []
        self.each.first_rate = None
        self.each.patience = torch.tensor(
            [t.stop.patience if t.stop else math.inf for t in trainings], device=device
        )
        self.each.best = torch.full((self.size,), math.inf, device=device)
        self.each.waited = torch.zeros(self.size, device=device)
        self.each.end = torch.full(
            (self.size,), one.updates, device=device
        )  # the last step of each
        # what each trial goes back to where it ends, if it does: (K, P), and buffers (K, ...)
        self.each.kept = None
        self.each.kept_buffers = {}
        self._fresh_programs()

    def _modules(
        self, trainings: Sequence[Training], seeds: Sequence[int]
    ) -> tuple[list[nn.Module], dict[str, Tensor]]:
        """Each trial's module, padded where declared, and the masks (K, ...) of its own numbers."""
        modules = built([t.model for t in trainings], seeds)
        if trainings[0].pad_to is None:
            alike: dict[Any, list[int]] = {}
            for lane, module in enumerate(modules):
                alike.setdefault((kept(module), layout(module)), []).append(lane)
            if len(alike) > 1:
                raise Unlike([*alike.values()])
            return modules, {}
        masks = []
        for lane, training in enumerate(trainings):
            assert training.pad_to is not None
            template = build(training.pad_to, 0)
            modules[lane], mask = padding.pad(modules[lane], template)
            masks.append(mask)
        return modules, {name: torch.stack([mask[name] for mask in masks]) for name in masks[0]}

    def _subset(self, trainings: Sequence[Training]) -> Tensor | None:
        """Each trial's own training examples (K, n), or None where all share the first ones.

        The first n of a permutation that depends on the number of the draw alone: a smaller subset
        is part of a larger one.
        """
        draws = [t.data.draw for t in trainings if t.data is not None and t.data.draw is not None]
        if not draws or self.splits is None or self.one.data is None:
            return None
        keys, pool = keyed.keys(draws, "subset", self.device), len(self.splits.train[0])
        return keyed.permutation(keys, pool)[:, : data_.train_size(self.one.data)].contiguous()

    def _buckets(self) -> Buckets | None:
        """The training sequences by length, where they are to be read so and differ in it."""
        if self.one.buckets == 1 or self.splits is None or self.one.batch_size is None:
            return None
        x, _ = self.splits.train
        steps = lengths(x)
        if steps is None:
            return None
        return Buckets(steps.cpu(), min(self.one.batch_size, len(x)), self.one.buckets)

    def _keys(self, trainings: Sequence[Training], seeds: list[int]) -> None:
        """Keys of what is random, and the numbers of the loss that any trial uses."""
        self.each.batch_keys = keyed.keys(seeds, "batches", self.device)
        self.each.mask_keys = keyed.keys(seeds, "mask", self.device)
        self.each.noise_keys = keyed.keys(seeds, "noise", self.device)
        self.each.augment_keys = keyed.keys(seeds, "augment", self.device)
        self.each.seeds = seeds
        self.each.step_key = torch.zeros_like(self.each.mask_keys)
        # the step, where a graph can see it
        self.at = torch.zeros((), dtype=torch.int64, device=self.device)
        # every dropout layer mixes its own number into the step's key
        self.dropouts = [f"{path}.key".lstrip(".") for path in self.drops]
        for name in self.dropouts:
            self.each.buffers[name] = self.each.step_key
        self.each.numbers = {}
        given = {"noise": [t.noise for t in trainings]} | {
            name: [float(getattr(t.loss, name)) for t in trainings]
            for name in self.one.loss.numbers
        }
        for name, values in given.items():
            if any(values):
                self.each.numbers[name] = torch.tensor(values, device=self.device)
        if self.program.fused:  # for dropout that is called as a function
            self.each.numbers["mask_key"] = self.each.step_key
        if "noise" in self.each.numbers:
            self.each.numbers["noise_key"] = torch.zeros_like(self.each.noise_keys)
        if self.one.augment is not None:
            for name in Augment.numbers:
                values = [float(getattr(t.augment, name)) for t in trainings]
                self.each.numbers[name] = torch.tensor(values, device=self.device)
            self.each.numbers["augment_key"] = torch.zeros_like(self.each.augment_keys)

    def _fresh_programs(self) -> None:
        self.chosen: Tensor | None = None  # (K, B) examples of the coming update
        # both by the length of sequences
        self._calls: dict[int | None, Callable[[tuple[Tensor, ...]], Tensor]] = {}
        self._gradients: dict[int | None, Repeated] = {}
        # one memory for all graphs of a pack: they follow each other and leave nothing in it
        self._pool = None if self.device == "cpu" else torch.cuda.graph_pool_handle()
        self._apply = Repeated(self.stepper.apply, self.device, self._pool)

    def close(self) -> None:
        """Let go of what refers back to this pack: its memory is free now, and not when Python next
        looks for cycles."""
        self._gradients.clear()
        self._calls.clear()
        self._apply = Repeated(lambda: None, "cpu")

    @property
    def losses(self) -> Tensor:
        """(updates + 1, K), NaN where training has not been."""
        if self._latest:
            done = self._counted + len(self._latest)
            self._losses[self._counted : done] = torch.stack(self._latest)
            self._counted, self._latest = done, []
        return self._losses

    def _count(self, loss: Tensor) -> None:
        """Keep the losses (K,) of an update: some hundred at once, which takes less than each."""
        self._latest.append(loss if self.device == "cpu" else loss.clone())
        if len(self._latest) == GATHERED:
            _ = self.losses

    @property
    def buffers(self) -> dict[str, Tensor]:
        """(K, ...), with the parameters that never move."""
        found: dict[str, Tensor] = self.each.buffers
        return found

    @property
    def loss(self) -> Tensor:
        """(K,) of the latest update."""
        found: Tensor = self.each.loss
        return found

    # --- one update ------------------------------------------------------------------------------

    def batch(self) -> tuple[Tensor, ...]:
        """Inputs and targets (K, B, ...) of the coming update; nothing without data."""
        if self.splits is None:
            return ()
        assert self.chosen is not None
        rows, shape = self.chosen.flatten(), self.chosen.shape  # (K, B) -> (K B,)
        return tuple(
            part.index_select(0, rows).view(*shape, *part.shape[1:])  # (K B, ...) -> (K, B, ...)
            for part in (cut(part, self.padded) for part in self.splits.train)
        )

    def _take_gradient(self) -> None:
        step = self.step if self.device == "cpu" else self.at
        if self.dropouts or self.program.masks:
            self.each.step_key.copy_(keyed.mix(self.each.mask_keys, step))
        if "noise" in self.each.numbers:
            self.each.numbers["noise_key"].copy_(keyed.mix(self.each.noise_keys, step))
        if "augment_key" in self.each.numbers:
            self.each.numbers["augment_key"].copy_(keyed.mix(self.each.augment_keys, step))
        batch = self.batch()
        if self.padded not in self._calls:
            self._calls[self.padded] = self.program.gradients(
                self.params.views, self.each.buffers, batch, self.each.numbers, self.stepper.parts
            )
        losses = self._calls[self.padded](batch)
        self.stepper.taken()
        if self.device == "cpu":
            self.each.loss = losses
        else:
            self.each.loss.copy_(losses)  # a graph that is launched again writes to the same memory

    def _sow(self, lane: int, training: bool) -> None:
        """Before a lane that cannot be fused: its module may draw random numbers of its own."""
        seed = keyed.torch_seed(self.each.seeds[lane], "mask") ^ (2 * self.step + (not training))
        sow(seed)
        if self.device != "cpu":
            torch.cuda.manual_seed(seed)

    def gradient(self, step: int) -> None:
        """The stepper's `grads`, and `loss`, at this step, on its batch."""
        self.step = step
        if self.splits is not None:
            indices = self.batches(step // self.one.epoch)
            chosen = indices[step % self.one.epoch]
            self.padded = self._steps[step % self.one.epoch]
            if self.chosen is None:
                self.chosen = chosen.clone()
            self.chosen.copy_(chosen)
        if self.device != "cpu":
            self.at.fill_(step)
        if self.padded not in self._gradients:
            # a layer that draws its own random numbers would draw the same ones in every replay
            where = self.device if self.program.fused else "cpu"
            self._gradients[self.padded] = Repeated(self._take_gradient, where, self._pool)
        self._gradients[self.padded]()

    def move(self, step: int) -> None:
        """The parameters one update along `grads`."""
        self.stepper.advance()
        if isinstance(self.program, Looped) and self.program.skipped:
            with self._left_out(self.program.skipped):
                self._apply()
        else:
            self._apply()
        if step == 0:
            self.each.first_rate = self.stepper.mean_rate()

    @contextlib.contextmanager
    def _left_out(self, skipped: list[tuple[int, str]]) -> Iterator[None]:
        """Parameters that a lane's loss did not depend on stay as they are, slots and all."""
        parts = [self.params.views, *map(self.params.cut, self.stepper.slots.values())]
        windows = [part[name][lane] for part in parts for lane, name in skipped]
        before = [window.clone() for window in windows]
        yield
        for window, value in zip(windows, before, strict=True):
            window.copy_(value)

    def update(self, step: int) -> None:
        """One whole update, with nothing recorded."""
        self.gradient(step)
        self.move(step)

    def batches(self, epoch: int) -> Tensor:
        """(updates, K, B) indices of one epoch: each trial's own permutation of its examples."""
        if self._epoch != epoch:
            assert self.one.data is not None and self.one.batch_size is not None
            n = data_.train_size(self.one.data)
            size = min(self.one.batch_size, n)
            order = keyed.permutation(keyed.mix(self.each.batch_keys, epoch), n)  # (K, n)
            if self.each.subset is not None:
                order = self.each.subset.gather(1, order)
            if self.buckets is not None:
                self._indices = self.buckets.batches(order, epoch)
            else:
                order = order[:, : self.one.epoch * size]
                order = order.view(self.size, self.one.epoch, size)
                self._indices = order.transpose(0, 1).contiguous()  # (updates, K, B)
            self._steps: list[int | None] = [None] * self.one.epoch
            if self.buckets is not None:
                self._steps = [*self.buckets.steps(epoch)]
            self._epoch = epoch
        return self._indices

    def run(self) -> None:
        """All updates, recording as declared."""
        one = self.one
        for step in range(one.updates):
            self.gradient(step)
            self._count(self.each.loss)
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

    def _close(self) -> None:
        """The loss after the last update, and the last row."""
        updates = self.one.updates
        if self.splits is None:
            self.gradient(updates)
            self.losses[-1] = self.each.loss
        else:
            # the mean over the last epoch's batches stands for the training loss
            self.losses[-1] = _mean(self.losses[max(0, updates - self.one.epoch) : -1])
        self.record(updates)

    # --- trials that have ended ------------------------------------------------------------------

    def compact(self, step: int) -> bool:
        """Leave out the lanes of trials that have ended, where that pays by forecast; whether any
        are left."""
        over = (self.each.end <= step) | ~self.losses[: step + 1].isfinite().all(0)  # (K,)
        alive = (~over).nonzero().flatten()
        if not len(alive):
            return False
        if len(alive) == 1 and self.size > 2:  # never alone: see `train`
            alive = torch.cat([alive, over.nonzero()[:1].flatten()])
        # last bits may depend on a pack's size: no clock may choose it
        if self.device == "cpu":
            saved = (1 - len(alive) / self.size) * (self.one.updates - step)  # updates' worth
            traced = RETRACED * len(self._gradients) if self.program.fused else 0
            pays = saved > PAYS * traced
        else:
            pays = 2 * len(alive) <= self.size
        if len(alive) < self.size and pays:
            self.keep(alive)
        return True

    def keep(self, alive: Tensor) -> None:
        """Go on with these lanes; the others' outcomes are taken down."""
        staying = set(alive.tolist())
        for lane, outcome in enumerate(self._lane_outcomes()):
            if lane not in staying:
                self.done[self.each.lanes[lane]] = outcome
        self.each.keep(alive)
        self.size = len(self.each.lanes)
        self.params.keep(alive)
        self.stepper.keep(alive)
        if isinstance(self.program, Looped):
            self.program.keep(alive.tolist())
        self._losses = self.losses[:, alive].contiguous()
        self._epoch, self._indices = None, torch.zeros(0)
        self._fresh_programs()

    def _stop(self, step: int, metrics: dict[str, Tensor]) -> None:
        """Move `end` to this step for trials that have waited long enough."""
        stop = self.one.stop
        if stop is None:
            return
        if stop.metric not in metrics:
            raise ValueError(
                f"Stop.metric is {stop.metric!r}; allowed: {', '.join(sorted(metrics))}"
            )
        value = metrics[stop.metric] * (-1 if stop.better == "high" else 1)
        improved = value < self.each.best
        self.each.best = torch.where(improved, value, self.each.best)
        self.each.waited = torch.where(improved, 0, self.each.waited + 1)
        ends = (self.each.waited >= self.each.patience) & (self.each.end > step)
        self.each.end = torch.where(ends, step, self.each.end)
        if stop.restore:
            self._keep_best(improved)
            self._restore(self.each.end == step)

    def _keep_best(self, improved: Tensor) -> None:
        """Remember the parameters and running statistics of the trials that are at their best."""
        if self.each.kept is None:
            self.each.kept = self.params.all.clone()
            self.each.kept_buffers = {
                name: b.clone()
                for name, b in self.each.buffers.items()
                if name not in self.dropouts
            }
            return
        self.each.kept = torch.where(improved.unsqueeze(1), self.params.all, self.each.kept)
        for name, before in self.each.kept_buffers.items():
            where = improved.view(-1, *(1,) * (before.dim() - 1))
            self.each.kept_buffers[name] = torch.where(where, self.each.buffers[name], before)

    def _restore(self, ending: Tensor) -> None:
        """Put the ending trials back to their best; nothing that they do later counts."""
        assert self.each.kept is not None
        self.params.all.copy_(torch.where(ending.unsqueeze(1), self.each.kept, self.params.all))
        for name, best in self.each.kept_buffers.items():
            where = ending.view(-1, *(1,) * (best.dim() - 1))
            self.each.buffers[name].copy_(torch.where(where, best, self.each.buffers[name]))

    # --- measuring -------------------------------------------------------------------------------

    def record(self, step: int) -> None:
        """One row a trial: losses, scores of the splits, probes."""
        self.step = step
        loss = self.losses[step]
        if self.splits is None:
            metrics = {"loss": loss}
        else:
            metrics = {"train_loss": self._recent_loss(step)}
            metrics |= self._scores("valid") | self._scores("test")
        self._stop(step, metrics)
        ending = None
        if self.each.kept is not None or any(probe.at_end for probe in self.one.probes):
            ending = self.each.end == step
        if self.each.kept is not None and ending is not None and bool(ending.any()):
            metrics |= self._scores("valid") | self._scores("test")
        moment = Moment(
            step, self.params.views, loss, self.losses[: step + 1], metrics, self.each.recorded,
            self.each.first_rate, self.stepper.mean_rate,
            self.stepper.parts, self.each.buffers, self.program,
            None if self.splits is None else self.splits.train,
            {} if self.stepper.mask is None else self.params.cut(self.stepper.mask),
            self.splits, self.each.subset,
        )  # fmt: skip
        for probe in self.one.probes:
            if not probe.at_end:
                metrics |= probe.read(moment)
            elif ending is not None and bool(ending.any()):
                found = probe.read(moment)
                metrics |= {n: torch.where(ending, v, torch.nan) for n, v in found.items()}
        self.each.recorded.append(
            (step, {name: value.detach().clone() for name, value in metrics.items()})
        )

    def _recent_loss(self, step: int) -> Tensor:
        """Mean training loss of the batches since the last row (before the first: of that batch)."""
        since = self.each.recorded[-1][0] if self.each.recorded else 0
        return _mean(self.losses[since : max(step, since + 1)])

    def _scores(self, split: str) -> dict[str, Tensor]:
        """Loss and accuracy of every trial on a whole split, in evaluation mode."""
        x, y = getattr(self.splits, split)
        totals: dict[str, Tensor] = {}
        # the same for every pack: sums over other parts would differ in their last bits
        if split not in self._parts:
            where = self.device.split(":")[0] if self.program.fused else "alone"
            self._parts[split] = parts(x, EVAL_ROWS[where])
        for rows, steps in self._parts[split]:
            chunk_x, chunk_y = (cut(part, steps)[rows] for part in (x, y))
            part = self.program.score(self.params.views, self.each.buffers, chunk_x, chunk_y)
            for name, value in part.items():
                share = value * (len(chunk_x) / len(x))
                totals[name] = totals[name] + share if name in totals else share
        return {f"{split}_{name}": value for name, value in totals.items()}

    def outcomes(self) -> list[Outcome]:
        """Rows and status of every trial, on the host, in the order they came in."""
        found = dict(zip(self.each.lanes, self._lane_outcomes(), strict=True))
        return [outcome for _, outcome in sorted({**found, **self.done}.items())]

    def _lane_outcomes(self) -> list[Outcome]:
        losses, end = self.losses.cpu().numpy(), self.each.end.cpu().numpy()  # (steps + 1, K), (K,)
        inside = np.arange(len(losses))[:, None] <= end
        reached = self.each.recorded[-1][0] if self.each.recorded else 0
        bad = ~np.isfinite(losses) & inside & (np.arange(len(losses))[:, None] <= reached)
        first_bad = np.where(bad.any(0), bad.argmax(0), math.inf)  # (K,)
        steps = np.array([step for step, _ in self.each.recorded])
        columns = self._columns()  # each (records, K)
        outcomes = []
        for lane in range(self.size):
            worst = first_bad[lane]
            # what follows an end says nothing
            rows = min(int(np.searchsorted(steps, min(worst, end[lane]))) + 1, len(steps))
            kept = {name: column[:rows, lane] for name, column in columns.items()}
            kept = {name: column for name, column in kept.items() if not np.isnan(column).all()}
            # or the last update left the finite numbers, which only the scores have seen
            lost = [
                n for n in LOSSES if n in columns and not np.isfinite(columns[n][rows - 1, lane])
            ]
            outcomes.append(
                Outcome(
                    "finished" if worst == math.inf and not lost else "diverged",
                    steps[:rows].tolist(),
                    {name: column.tolist() for name, column in kept.items()},
                )
            )
        return outcomes

    def _columns(self) -> dict[str, np.ndarray]:
        """Each metric at every recorded step, (records, K) on the host; NaN where not measured."""
        columns: dict[str, np.ndarray] = {}
        for number, (_, row) in enumerate(self.each.recorded):
            for name in row:
                if name not in columns:
                    columns[name] = np.full((len(self.each.recorded), self.size), np.nan)
            if row:
                stacked = torch.stack([v.float() for v in row.values()]).cpu().numpy()  # (M, K)
                for name, values in zip(row, stacked, strict=True):
                    columns[name][number] = values
        return columns


LOSSES = ("train_loss", "valid_loss", "test_loss")
GATHERED = 256  # updates whose losses wait, at most
PAYS = 1.5  # compacting must save this many times what tracing anew costs
RETRACED = 60  # which is as much as so many updates
