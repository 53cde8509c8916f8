"""Packs: trials that differ only in numbers, trained as one fused program. Layer 3.

A study declares what a trial trains as a `Training`. `train` stacks the parameters and buffers of
K such Trainings and runs every update of all of them at once: `torch.func.vmap` over the gradient
of the loss, traced into plain batched kernels, and a batched optimizer rule. A trial's rows are a
function of its own seed: the same alone, in any pack, in any order (on the CPU, bitwise).
"""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from harness import data as data_
from harness import random
from harness.objectives import CrossEntropy, Objective, Output
from harness.optimizers import Optimizer, Stepper
from harness.probes import Probe

EVAL_ROWS = 2048  # examples of a split scored at once, times the pack


@dataclass(frozen=True)
class Training:
    """What a trial trains: declared, compared and grouped, and not run by the study.

    Args:
        model: Builds the module; called once a trial under that trial's own random seed.
        optimizer: The rule and its numbers, which may differ between trials of a pack.
        data: The data set, or None where the model's output is itself the loss.
        objective: The loss; by default `CrossEntropy` with data and `Output` without.
        epochs: Passes over the training split (with data), or
        steps: number of updates.
        batch_size: Examples an update (with data).
        every: Updates between recorded rows; by default an epoch with data, else all steps.
        probes: Measurements beyond losses and scores.
    """

    model: Callable[[], nn.Module]
    optimizer: Optimizer
    data: data_.Data | None = None
    objective: Objective | None = None
    epochs: int | None = None
    steps: int | None = None
    batch_size: int | None = None
    every: int | None = None
    probes: tuple[Probe, ...] = ()

    def __post_init__(self) -> None:
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

    @property
    def epoch(self) -> int:
        """Updates in one pass over the training split; a last, smaller batch is left out."""
        if self.data is None or not self.batch_size:
            return self.updates
        return max(1, data_.train_size(self.data) // self.batch_size)

    @property
    def updates(self) -> int:
        """Updates in all."""
        return self.steps if self.steps is not None else int(self.epochs or 0) * self.epoch

    def signature(self) -> tuple[Any, ...]:
        """What must be equal for two Trainings to share a pack."""
        return (
            _structure(self.model), self.optimizer.rule, self.data, self.objective, self.updates,
            self.batch_size, self.every, self.probes,
        )  # fmt: skip


def _structure(model: Callable[[], nn.Module]) -> tuple[Any, ...]:
    """The module's type, layout and tensors' shapes, from one build (kept for partials)."""
    if isinstance(model, functools.partial):
        return _structure_of(model.func, model.args, tuple(sorted(model.keywords.items())))
    return _describe(model)


@functools.lru_cache(maxsize=4096, typed=True)
def _structure_of(func: Any, args: tuple[Any, ...], keywords: tuple[Any, ...]) -> tuple[Any, ...]:
    return _describe(functools.partial(func, *args, **dict(keywords)))


def _describe(model: Callable[[], nn.Module]) -> tuple[Any, ...]:
    module = _build(model, 0)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    layout = tuple((name, tuple(t.shape), str(t.dtype)) for name, t in tensors)
    return (type(module).__qualname__, repr(module), _kept(module), layout)


def _kept(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """What modules keep beside their tensors and may use in `forward`: one copy serves all lanes,
    so two models that differ here do not fuse."""
    return tuple(
        (f"{path}.{name}", _told(value))
        for path, child in module.named_modules()
        for name, value in sorted(vars(child).items())
        if not name.startswith("_")
    )


def _told(value: Any) -> str:
    """A value as text that does not depend on where in memory it lies."""
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', '')}.{name}"
    if getattr(type(value), "__dataclass_params__", None) is not None:
        return str({key: _told(kept) for key, kept in vars(value).items()})
    return repr(value)


def _build(model: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The module as initialised by its own constructor under the trial's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.torch_seed(seed, "init"))
        return model()


@dataclass
class Moment:
    """What a probe is shown: a pack at one recorded step."""

    step: int
    last: bool
    params: dict[str, Tensor]  # (K, ...)
    loss: Tensor  # (K,) training loss at this step
    losses: Tensor  # (step + 1, K) training loss at every step so far
    metrics: dict[str, Tensor]  # (K,) what this step has measured already
    recorded: list[tuple[int, dict[str, Tensor]]]  # earlier recorded steps
    first_rate: Tensor | None  # (K,) what multiplied the gradient in the first update
    rate: Callable[[], Tensor]  # (K,) and in the latest


@dataclass
class Outcome:
    """How one trial ended."""

    status: str  # finished, diverged or failed
    steps: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    error: str = ""
    seconds: float = 0.0  # its share of the pack's time


def train(
    trainings: Sequence[Training], seeds: Sequence[int], device: str = "cpu"
) -> list[Outcome]:
    """Train K Trainings of one signature together.

    Args:
        trainings: K Trainings that share a `signature`.
        seeds: K seeds; each trial's rows depend on its own only.
        device: Where to train ("cpu", "cuda").

    Returns:
        K outcomes in the same order. Losses that leave the finite numbers make a trial "diverged".
    """
    started = time.perf_counter()
    if len(trainings) == 1:
        # A batch of one takes other kernels, which differ in the last bit: give it a twin.
        (outcome, twin) = train([trainings[0]] * 2, [seeds[0]] * 2, device)
        outcome.seconds += twin.seconds
        return [outcome]
    pack = _Pack(trainings, seeds, device)
    pack.run()
    outcomes = pack.outcomes()
    seconds = (time.perf_counter() - started) / len(outcomes)
    for outcome in outcomes:
        outcome.seconds = seconds
    return outcomes


def _mean(losses: Tensor) -> Tensor:
    """(n, K) to (K,), each lane summed by itself: a sum across rows would depend on K."""
    return losses.t().contiguous().double().mean(1).float()


class _Pack:
    """K trials in flight: stacked parameters, the traced gradient, and what has been recorded."""

    def __init__(self, trainings: Sequence[Training], seeds: Sequence[int], device: str) -> None:
        one = trainings[0]
        self.one = one
        self.size = len(trainings)
        modules = [_build(t.model, s) for t, s in zip(trainings, seeds, strict=True)]
        params, buffers = stack_module_state(modules)  # (K, ...) each
        self.params = {name: w.detach().clone().to(device) for name, w in params.items()}
        self.buffers = {name: b.to(device) for name, b in buffers.items()}
        self.module = copy.deepcopy(modules[0]).to("meta")
        self.objective = one.objective or (Output() if one.data is None else CrossEntropy())
        self.splits = None if one.data is None else data_.load(one.data, device)
        self.stepper = Stepper([t.optimizer for t in trainings], self.params)
        self.batch_keys = random.keys(list(seeds), "batches", device)
        self.losses = torch.full((one.updates + 1, self.size), torch.nan, device=device)
        self.recorded: list[tuple[int, dict[str, Tensor]]] = []
        self.first_rate: Tensor | None = None
        self.grads: dict[str, Tensor] = {}
        self._gradient: Callable[..., Any] | None = None

    # --- one update ------------------------------------------------------------------------------

    def _loss(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], *batch: Tensor
    ) -> Tensor:
        """The loss of one trial, as its author wrote it: no K in sight."""
        output = functional_call(self.module, (params, buffers), batch[:1])
        return self.objective.loss(output, *batch[1:])

    def gradient(self, *batch: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Gradients (K, ...) and losses (K,) on a batch (K, B, ...), or on none.

        The first call traces the vmapped gradient into plain batched operations, which saves the
        function transforms' bookkeeping in every later one.
        """
        if self._gradient is None:
            transformed = vmap(grad_and_value(self._loss))
            self._gradient = make_fx(transformed)(self.params, self.buffers, *batch)
        grads, losses = self._gradient(self.params, self.buffers, *batch)
        return grads, losses

    def batches(self, epoch: int) -> Tensor:
        """(updates, K, B) indices of one epoch: each trial's own permutation of the examples."""
        assert self.splits is not None and self.one.batch_size is not None
        n, size = len(self.splits.train[0]), min(self.one.batch_size, len(self.splits.train[0]))
        order = random.permutation(random.mix(self.batch_keys, epoch), n)  # (K, n)
        order = order[:, : self.one.epoch * size]
        return order.view(self.size, self.one.epoch, size).transpose(0, 1)  # (updates, K, B)

    def run(self) -> None:
        """All updates, recording as declared."""
        one, every = self.one, self.one.every or self.one.epoch
        indices = None
        for step in range(one.updates):
            batch: tuple[Tensor, ...] = ()
            if self.splits is not None:
                if step % one.epoch == 0:
                    indices = self.batches(step // one.epoch)
                assert indices is not None
                chosen = indices[step % one.epoch]  # (K, B)
                batch = tuple(part[chosen] for part in self.splits.train)  # (K, B, ...)
            grads, losses = self.gradient(*batch)
            self.losses[step] = losses
            if step % every == 0:
                self.record(step)
            self.stepper.step(grads)
            self.grads = grads
            if step == 0:
                self.first_rate = self.stepper.mean_rate(grads)
        self._close()

    def _close(self) -> None:
        """The loss after the last update, and the last row."""
        if self.splits is None:
            _, losses = self.gradient()
            self.losses[-1] = losses
        else:
            # the mean over the last epoch's batches stands for the training loss
            self.losses[-1] = _mean(self.losses[max(0, self.one.updates - self.one.epoch) : -1])
        self.record(self.one.updates)

    # --- measuring -------------------------------------------------------------------------------

    def record(self, step: int) -> None:
        """One row a trial: losses, scores of the splits, probes."""
        last = step == self.one.updates
        loss = self.losses[step]
        if self.splits is None:
            metrics = {"loss": loss}
        else:
            metrics = {"train_loss": self._recent_loss(step)}
            metrics |= self._scores("valid") | self._scores("test")
        moment = Moment(
            step, last, self.params, loss, self.losses[: step + 1], metrics, self.recorded,
            self.first_rate, lambda: self.stepper.mean_rate(self.grads),
        )  # fmt: skip
        for probe in self.one.probes:
            metrics |= probe.read(moment)
        self.recorded.append(
            (step, {name: value.detach().clone() for name, value in metrics.items()})
        )

    def _recent_loss(self, step: int) -> Tensor:
        """Mean training loss of the batches since the last row (before the first: of that batch)."""
        since = self.recorded[-1][0] if self.recorded else 0
        return _mean(self.losses[since : max(step, since + 1)])

    @torch.no_grad()
    def _scores(self, split: str) -> dict[str, Tensor]:
        """Loss and accuracy of every trial on a whole split, in evaluation mode."""
        x, y = getattr(self.splits, split)
        self.module.eval()

        def score(
            params: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor
        ) -> dict[str, Tensor]:
            return self.objective.scores(functional_call(self.module, (params, buffers), (x,)), y)

        totals: dict[str, Tensor] = {}
        rows = max(64, EVAL_ROWS * 64 // self.size)
        for chunk_x, chunk_y in zip(x.split(rows), y.split(rows), strict=True):
            part = vmap(score, in_dims=(0, 0, None, None))(
                self.params, self.buffers, chunk_x, chunk_y
            )
            for name, value in part.items():
                share = value * (len(chunk_x) / len(x))
                totals[name] = totals[name] + share if name in totals else share
        self.module.train()
        return {f"{split}_{name}": value for name, value in totals.items()}

    def outcomes(self) -> list[Outcome]:
        """Rows and status of every trial, on the host."""
        losses = self.losses.cpu().numpy()  # (steps + 1, K)
        finite = np.isfinite(losses)
        first_bad = np.where(finite.all(0), math.inf, finite.argmin(0))  # (K,)
        table = [(s, {m: v.cpu().numpy() for m, v in row.items()}) for s, row in self.recorded]
        outcomes = []
        for lane in range(self.size):
            bad = first_bad[lane]
            outcome = Outcome("finished" if bad == math.inf else "diverged")
            for step, row in table:
                outcome.steps.append(step)
                for name in {**outcome.metrics, **dict.fromkeys(row)}:
                    column = outcome.metrics.setdefault(name, [math.nan] * (len(outcome.steps) - 1))
                    column.append(float(row[name][lane]) if name in row else math.nan)
                if step >= bad:  # what follows a divergence says nothing
                    break
            outcomes.append(outcome)
        return outcomes
