"""K trials as one program: the vmapped gradient, traced into plain batched kernels."""

from __future__ import annotations

import contextlib
import copy
import math
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten

from harness.engine.building import begin
from harness.engine.cost import _Counted
from harness.engine.lowering import Lowered
from harness.engine.tracing import Untraceable, trace
from harness.parts import keyed
from harness.parts.augment import moved
from harness.parts.objectives import Objective, having

Tensors = dict[str, Tensor]
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
        for group in (child._parameters, child._buffers):
            for name, tensor in group.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    empty = tensor.detach().to("meta")
                    trained = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = (
                        nn.Parameter(empty, tensor.requires_grad) if trained else empty
                    )
                group[name] = made[id(tensor)]  # type: ignore[assignment]
    return module


class Computation(ABC):
    """Losses, gradients and scores of K trials from the author's module and an objective: what
    `Program` and `looped.Looped` have in common.

    Args:
        objective: The loss and scores.
        precision: "float32", "tf32" or "bf16" (the model runs under autocast).
    """

    fused: ClassVar[bool]
    module: nn.Module  # of one trial

    def __init__(self, objective: Objective, precision: str) -> None:
        self.objective, self.precision = objective, precision
        self.most_bytes = 0  # that the traced code holds at once
        self.masks = 0  # that a pass draws for dropout that is called as a function

    @abstractmethod
    def lane(self, number: int) -> None:
        """What follows is computed for this trial, where they are computed one by one."""

    def output(
        self, params: Tensors, buffers: Tensors, x: tuple[Tensor, ...], key: Tensor | None = None
    ) -> Tensor:
        """What one trial's model says, in float32.

        Args:
            params: Its parameters.
            buffers: Its buffers.
            x: What the module is given.
            key: () int64, of which masks are a function that no layer of ours draws.
        """
        lowered = Lowered(key) if self.fused else None
        within = lowered or contextlib.nullcontext()
        with self.autocast([*params.values(), *buffers.values(), *x]), within:
            out: Tensor = functional_call(begin(self.module), (params, buffers), x)
        if lowered and self.module.training:
            self.masks = max(self.masks, lowered.masks)
        return out.float()

    def autocast(self, tensors: list[Tensor]) -> Any:
        if self.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(tensors[0].device.type, dtype=torch.bfloat16)

    def loss(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
    ) -> Tensor:
        """The loss of one trial, as its author wrote it: no K in sight."""
        key = numbers.get("mask_key")
        return self.loss_of(lambda x: self.output(params, buffers, x, key), batch, numbers)

    def loss_of(
        self, output: Callable[[tuple[Tensor, ...]], Tensor], batch: tuple[Tensor, ...],
        numbers: Tensors,
    ) -> Tensor:  # fmt: skip
        """The loss of what a function makes of a batch that is moved and noisy as declared."""
        inputs = batch[:1]
        if "augment_key" in numbers:
            inputs = (moved(inputs[0], numbers["augment_key"], numbers["shift"], numbers["turn"]),)
        if "noise" in numbers:
            (x,) = inputs
            drawn = keyed.normal(numbers["noise_key"].unsqueeze(0), x.numel())  # (1, n)
            inputs = (x + numbers["noise"] * drawn.view(x.shape),)
        own = {name: numbers[name] for name in self.objective.numbers if name in numbers}
        objective = having(self.objective, own)
        return objective.loss(output(inputs), *batch[1:])

    @abstractmethod
    def score(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """Scores (K,) each in evaluation mode, on examples that all trials share."""

    @abstractmethod
    def score_own(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """The same, on each trial's own examples: x (K, n, ...), y (K, n)."""

    def scores(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """Scores of one trial on a part of a split."""
        return self.objective.scores(self.output(params, buffers, (x,)), y)


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
        self._flops: dict[torch.Size, int] = {}  # of a forward pass on one example, by its shape

    def lane(self, number: int) -> None:
        """All are computed at once."""

    def gradients(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:  # fmt: skip
        """Losses (K,) in training mode as a function of batches shaped as this one, with the
        gradients (K, ...) written to the tensors `into`; running statistics move.

        A function, since for a small model finding the code that belongs to these tensors takes as
        long as running it.
        """
        return self._bound("gradient", params, buffers, batch, numbers, into)

    @torch.no_grad()
    def score(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """As of every `Computation`."""
        count = len(_lanes(params, buffers))
        on_cpu = x.device.type == "cpu"
        groups = math.ceil(count * len(x) / (SCORED if on_cpu else SCORED_ON_GPU))
        if groups == 1 or count < 4 or (on_cpu and not self._heavy(params, buffers, x)):
            found: Tensors = self._bound("score", params, buffers, (x, y), {}, {})((x, y))
            return found
        totals: Tensors = {}
        size = max(2, math.ceil(count / groups))
        for start in range(0, count, size):
            first = min(start, count - size)  # the last may overlap: another size is other code
            some = slice(first, first + size)
            own, kept = ({n: t[some] for n, t in group.items()} for group in (params, buffers))
            part = self._bound("score", own, kept, (x, y), {}, {})((x, y))
            for name, value in part.items():
                totals.setdefault(name, value.new_empty(count))[some] = value
        return totals

    def _heavy(self, params: Tensors, buffers: Tensors, x: Tensor) -> bool:
        """Whether a forward pass of one trial on these examples is long."""
        shape = x.shape[1:]
        if shape not in self._flops:
            self.module.eval()
            # on its numbers: torch takes a second to import what it needs to do without any
            own, kept = _lane(0, params, buffers)
            with _Counted() as counted:
                self.output(own, kept, (x[:1],))
            self._flops[shape] = counted.flops
        return self._flops[shape] * len(x) > HEAVY

    @torch.no_grad()
    def score_own(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """As of every `Computation`."""
        found: Tensors = self._bound("score_own", params, buffers, (x, y), {}, {})((x, y))
        return found

    def _bound(
        self, what: str, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...],
        numbers: Tensors, into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Any]:  # fmt: skip
        """A vmapped function by its traced code, made once for each set of shapes, with all but the
        batch given."""
        # as `tree_flatten` would, which for a small model takes longer than its arithmetic
        before = [*params.values(), *buffers.values()]
        after = [*numbers.values(), *into.values()]
        leaves = [*before, *batch, *after]
        key = (what, *numbers, *((t.shape, t.stride(), t.dtype, t.device.type) for t in leaves))
        if key not in self._traced:
            args = params, buffers, batch, numbers, into
            fn = getattr(self, f"_vmapped_{what}")
            try:
                self._traced[key], most = trace(fn, args)
            except Untraceable:
                layout = tree_flatten(args)[1]
                self._traced[key], most = lambda given: fn(*tree_unflatten(given, layout)), 0
            self.most_bytes = max(self.most_bytes, most)
            if len(self._traced) > KEEP_TRACED:
                self._traced.popitem(last=False)
        self._traced.move_to_end(key)
        run = self._traced[key]
        return lambda batch: run([*before, *batch, *after])

    def _vmapped_gradient(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Tensor:  # fmt: skip
        losses, grads = self._forward_and_back(params, buffers, batch, numbers)
        for name, g in grads.items():
            into[name].copy_(g)
        return losses

    def _forward_and_back(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
    ) -> tuple[Tensor, Tensors]:
        """Losses (K,) in training mode and gradients (K, ...).

        No lane's loss depends on another's parameters, so the gradient of their sum is that of
        each. (`torch.func.grad` imports torch's compiler, which takes longer than many a pack.)
        """
        self.module.train()
        own = {name: w.detach().requires_grad_() for name, w in params.items()}
        with torch.enable_grad():
            losses: Tensor = vmap(self.loss)(own, buffers, batch, numbers)
            found = torch.autograd.grad(losses.sum(), list(own.values()), allow_unused=True)
        grads = {
            name: torch.zeros_like(w) if g is None else g
            for (name, w), g in zip(own.items(), found, strict=True)
        }
        return losses.detach(), grads

    def _vmapped_score(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], *_: Tensors
    ) -> Any:
        self.module.eval()
        x, y = batch
        return vmap(self.scores, in_dims=(0, 0, None, None))(params, buffers, x, y)

    def _vmapped_score_own(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], *_: Tensors
    ) -> Any:
        self.module.eval()
        x, y = batch
        return vmap(self.scores)(params, buffers, x, y)


def _lanes(params: Tensors, buffers: Tensors) -> range:
    return range(len(next(iter({**params, **buffers}.values()))))


def _lane(lane: int, *groups: Mapping[str, Tensor]) -> list[Tensors]:
    return [{name: t[lane] for name, t in group.items()} for group in groups]


_PROGRAMS: OrderedDict[tuple[Any, ...], Program] = OrderedDict()
KEEP_PROGRAMS = 16  # structures
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
