"""K trials as one program: the vmapped gradient, traced into plain batched kernels.

`Computation` is what a pack and its probes ask of K trials, whether they are fused or not; `Program`
is the fused one. They lie together, since all that an author wrote is called in the first and all
that vmap and tracing make of it is in the second.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from harness.engine.building import Tensors, begin
from harness.engine.cost import Counted
from harness.engine.lowering import Lowered
from harness.engine.tracing import Untraceable, trace
from harness.engine.trees import filled, mapped
from harness.parts import draws, keyed
from harness.parts.data.augment import moved
from harness.parts.objectives import Objective, having, parted
from harness.parts.torch_private import registers

# Where scoring one trial takes more operations than this, so few trials are scored at once that
# they make this many examples: what they hold, above all while the code is traced, stays small and
# near. LSTMs of 64 steps, 64 trials on one core, 360 examples: 27 ms a trial in place of 41. For
# light models (an MLP: 153 microseconds a trial, and 171 by eights) it would only be more calls.
HEAVY = 2e7
SCORED = 1536
SCORED_ON_GPU = 2**16  # whose memory is what matters: tracing keeps all that a pass makes


def hollow(module: nn.Module) -> nn.Module:
    """The module without its numbers: what has several names stays one tensor."""
    made: dict[int, Tensor] = {}
    for child in module.modules():
        for group in registers(child):
            for name, tensor in group.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    empty = tensor.detach().to("meta")
                    trained = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = (
                        nn.Parameter(empty, tensor.requires_grad) if trained else empty
                    )
                group[name] = made[id(tensor)]
    return module


def perturbed(inputs: tuple[Tensor, ...], numbers: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """One trial's inputs (B, ...) of an update, the first moved and noisy as far as its numbers say.

    Args:
        inputs: What the module is to be given; nothing without data.
        numbers: `shift`, `turn` and `augment_key`; `noise` and `noise_key`: each () or absent.
    """
    if "augment_key" in numbers:
        x, *others = inputs
        inputs = (moved(x, numbers["augment_key"], numbers["shift"], numbers["turn"]), *others)
    if "noise" in numbers:
        x, *others = inputs
        drawn = keyed.normal(numbers["noise_key"].unsqueeze(0), x.numel())  # (1, n)
        inputs = (x + numbers["noise"] * drawn.view(x.shape), *others)
    return inputs


class Computation(ABC):
    """Losses, gradients and scores of K trials from the author's module and an objective: fused
    (`Program`) or one by one (`looped.Looped`).

    Args:
        objective: The loss and scores.
        precision: "float32", "tf32" or "bf16" (the model runs under autocast).

    Attributes:
        skipped: The lanes and parameters that the latest gradients have left out, as a module may
            that decides in Python what it computes; a plain optimizer does not move them.
    """

    fused: ClassVar[bool]
    module: nn.Module  # of one trial

    def __init__(self, objective: Objective, precision: str) -> None:
        self.objective, self.precision = objective, precision
        self.most_bytes = 0  # that the traced code holds at once
        self.masks = (
            0  # that a pack draws for dropout that is called as a function, and all else like it
        )
        self.skipped: list[tuple[int, str]] = []

    @abstractmethod
    def gradients(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:  # fmt: skip
        """Losses (K,) in training mode as a function of batches shaped as this one, with the
        gradients (K, ...) written to the tensors `into`; running statistics move.

        A function, since for a small model finding the code that belongs to these tensors takes as
        long as running it.
        """

    @abstractmethod
    def score(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], own: bool = False
    ) -> Tensors:
        """Scores (K,) each in evaluation mode, on examples that all trials share, (n, ...), or with
        `own` on each trial's own, (K, n, ...)."""

    @abstractmethod
    def each(self, fn: Callable[..., Any], *given: Any) -> Any:
        """``fn(*given)`` of every trial in evaluation mode: what is (K, ...) without is (...)
        within, in what is given and in what is returned."""

    @abstractmethod
    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with only these trials."""

    @abstractmethod
    def unchanged(self) -> bool:
        """Whether the modules keep nothing in Python but what they did at first."""

    def output(
        self, params: Tensors, buffers: Tensors, x: tuple[Tensor, ...], key: Tensor | None = None,
        progress: Tensor | None = None,
    ) -> Any:  # fmt: skip
        """What one trial's model says, in float32.

        Args:
            params: Its parameters.
            buffers: Its buffers.
            x: What the module is given.
            key: () int64, of which masks are a function that no layer of ours draws, and what is
                drawn (`harness.parts.draws`).
            progress: () how far training has come; in scoring 1.
        """
        lowered = Lowered(key) if self.fused else None
        within = lowered or contextlib.nullcontext()
        given = [*params.values(), *buffers.values(), *x]
        key = given[0].new_zeros((), dtype=torch.int64) if key is None else key
        share = key.new_ones((), dtype=torch.float32) if progress is None else progress
        with (
            self.autocast(given),
            draws.keyed_by(key) as source,
            draws.trained(share) as told,
            within,
        ):
            out = functional_call(begin(self.module), (params, buffers), x)
        if lowered and self.module.training:
            self.masks = max(self.masks, lowered.masks + source.drawn + told.asked)
        return mapped(out, Tensor.float)

    def autocast(self, tensors: list[Tensor]) -> Any:
        """What a forward pass on these tensors runs in, by the precision."""
        if self.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(tensors[0].device.type, dtype=torch.bfloat16)

    def loss(
        self, output: Callable[[tuple[Tensor, ...]], Any], batch: tuple[Tensor, ...],
        numbers: Tensors,
    ) -> Tensor:  # fmt: skip
        """The loss of one trial: of what its model makes of a batch, perturbed as declared."""
        own = {name: numbers[name] for name in self.objective.numbers if name in numbers}
        inputs, targets = parted(self.objective, batch)
        return having(self.objective, own).loss(output(perturbed(inputs, numbers)), *targets)


class Program(Computation):
    """K trials as one: vmapped, and traced into plain batched kernels.

    Args:
        module: One trial's module, on any device; only its code is used.
        objective, precision: As of every `Computation`.
    """

    fused = True

    def __init__(self, module: nn.Module, objective: Objective, precision: str) -> None:
        super().__init__(objective, precision)
        self.module = hollow(copy.deepcopy(module))
        self.masks = -1  # not known yet
        self._traced: OrderedDict[Hashable, Callable[[list[Tensor]], Any]] = OrderedDict()
        # of a forward pass on one example, by its shapes
        self._flops: dict[tuple[torch.Size, ...], int] = {}

    def keep(self, lanes: Sequence[int]) -> None:
        """Any number of trials will do."""

    def unchanged(self) -> bool:
        """As of every `Computation`."""
        return True

    def each(self, fn: Callable[..., Any], *given: Any) -> Any:
        """As of every `Computation`."""
        self.module.eval()
        try:
            return vmap(fn)(*given)
        finally:
            self.module.train()

    def gradients(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:  # fmt: skip
        """As of every `Computation`."""
        return self.bound("gradient", self.gradient, params, buffers, batch, numbers, into)

    @torch.no_grad()
    def score(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], own: bool = False
    ) -> Tensors:
        """As of every `Computation`."""
        what, fn = f"score, own: {own}", functools.partial(self._score, own)
        count, x = len(next(iter({**params, **buffers}.values()))), batch[0]
        on_cpu = x.device.type == "cpu"
        groups = 1 if own else math.ceil(count * len(x) / (SCORED if on_cpu else SCORED_ON_GPU))
        if groups == 1 or count < 4 or (on_cpu and not self._heavy(params, buffers, batch)):
            found: Tensors = self.bound(what, fn, params, buffers, batch, {}, {})(batch)
            return found
        totals: Tensors = {}
        size = max(2, math.ceil(count / groups))
        for start in range(0, count, size):
            first = min(start, count - size)  # the last may overlap: another size is other code
            some = slice(first, first + size)
            own_params, own_buffers = _cut(params, some), _cut(buffers, some)
            part = self.bound(what, fn, own_params, own_buffers, batch, {}, {})(batch)
            for name, value in part.items():
                totals.setdefault(name, value.new_empty(count))[some] = value
        return totals

    def _heavy(self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...]) -> bool:
        """Whether a forward pass of one trial on these examples is long."""
        inputs, _ = parted(self.objective, batch)
        shapes = tuple(x.shape[1:] for x in inputs)
        if shapes not in self._flops:
            self.module.eval()
            # on its numbers: torch takes a second to import what it needs to do without any
            with Counted() as counted:
                self.output(_cut(params, 0), _cut(buffers, 0), tuple(x[:1] for x in inputs))
            self._flops[shapes] = counted.flops
        return self._flops[shapes] * len(inputs[0]) > HEAVY

    def bound(
        self, what: str, fn: Callable[..., Any], params: Tensors, buffers: Tensors,
        batch: tuple[Tensor, ...], numbers: Tensors, into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Any]:  # fmt: skip
        """A function such as `gradient` by its traced code, made once for each set of shapes, with
        all but the batch given.

        Args:
            what: The function's name, which is part of what the code is known by.
            fn: The function.
            params, buffers, batch, numbers, into: What it is given.
        """
        # as `leaves` would, which for a small model takes longer than its arithmetic
        before = [*params.values(), *buffers.values()]
        after = [*numbers.values(), *into.values()]
        given = [*before, *batch, *after]
        names = (*params, "", *buffers, "", *numbers)  # which may be moved by several, each its own
        key = (what, *names, *((t.shape, t.stride(), t.dtype, t.device.type) for t in given))
        if key not in self._traced:
            args = params, buffers, batch, numbers, into
            try:
                self._traced[key], most = trace(fn, args)
            except Untraceable:
                layout = mapped(args, lambda _: None)
                self._traced[key], most = lambda given: fn(*filled(layout, given)), 0
            self.most_bytes = max(self.most_bytes, most)
            if len(self._traced) > KEEP_TRACED:
                self._traced.popitem(last=False)
        self._traced.move_to_end(key)
        run = self._traced[key]
        return lambda batch: run([*before, *batch, *after])

    def gradient(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Tensor:  # fmt: skip
        """Losses (K,) in training mode, with the gradients (K, ...) written to `into`: as it is
        written, and not by traced code.

        No lane's loss depends on another's parameters, so the gradient of their sum is that of
        each. (`torch.func.grad` imports torch's compiler, which takes longer than many a pack.)
        """
        own = {name: w.detach().requires_grad_() for name, w in params.items()}
        with torch.enable_grad():
            losses = self.losses(own, buffers, batch, numbers)
            found = torch.autograd.grad(losses.sum(), list(own.values()), allow_unused=True)
        for name, g in zip(own, found, strict=True):
            into[name].copy_(torch.zeros_like(own[name]) if g is None else g)
        return losses.detach()

    def losses(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
    ) -> Tensor:
        """Losses (K,) in training mode, as it is written."""

        def loss(
            params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
        ) -> Tensor:
            told = numbers.get("mask_key"), numbers.get("progress")
            return self.loss(lambda x: self.output(params, buffers, x, *told), batch, numbers)

        self.module.train()
        losses: Tensor = vmap(loss)(params, buffers, batch, numbers)
        return losses

    def _score(
        self, own: bool, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], *_: Tensors
    ) -> Any:
        def scores(params: Tensors, buffers: Tensors, *batch: Tensor) -> Tensors:
            inputs, targets = parted(self.objective, batch)
            return dict(self.objective.scores(self.output(params, buffers, inputs), *targets))

        self.module.eval()
        of = [0 if own else None] * len(batch)
        return vmap(scores, in_dims=(0, 0, *of))(params, buffers, *batch)


def _cut(tensors: Tensors, lanes: slice | int) -> Tensors:
    return {name: t[lanes] for name, t in tensors.items()}


_PROGRAMS: OrderedDict[tuple[Any, ...], Program] = OrderedDict()
KEEP_PROGRAMS = 64  # structures: with fewer than a study has, each phase traces all anew
KEEP_TRACED = 64  # sets of shapes of one structure


def program(
    structure: tuple[Any, ...], module: nn.Module, objective: Objective, precision: str
) -> Program:
    """The program of a structure, kept for the next pack that has the same."""
    key = (structure, objective, precision)
    if key not in _PROGRAMS:
        _PROGRAMS[key] = Program(module, objective, precision)
        if len(_PROGRAMS) > KEEP_PROGRAMS:
            _PROGRAMS.popitem(last=False)
    _PROGRAMS.move_to_end(key)
    return _PROGRAMS[key]
