"""From an author's module to one program for K of them.

`build` makes one trial's module, `structure` says what must be equal for two to fuse, and `Program`
is the vmapped gradient, traced into plain batched kernels; `harness.engine.vouching` tries it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import operator
import random as python_random
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import flop_registry

from harness.engine.lowering import Lowered
from harness.engine.structure import described
from harness.engine.tracing import Untraceable, trace
from harness.engine.tracing.operations import Mode
from harness.parts import keyed
from harness.parts.data.augment import moved
from harness.parts.models.layers import USES, BatchNorm, Dropout, Head
from harness.parts.objectives import Objective, having

Tensors = dict[str, Tensor]
Builder = Callable[[], nn.Module]


def begin(module: nn.Module) -> nn.Module:
    """A module at the beginning of a forward pass: its dropout layers count their uses anew."""
    for child in module.modules():
        if isinstance(child, Dropout):
            child.__dict__[USES] = 0
    return module


_HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]
_CHANNELS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


def _adopt(module: nn.Module) -> nn.Module:
    """Put our layers in the place of torch's where those would depend on what ran before
    (dropout's masks), on a trial's place in the pack (batch normalisation's last bits), or be
    slow (few outputs)."""
    layer, last = 0, module
    put: dict[int, nn.Module] = {}  # a layer that stands in several places is one layer
    for path, child in list(module.named_modules(remove_duplicate=False)):
        last = child
        if type(child) is nn.BatchNorm1d:
            child.__class__ = BatchNorm
        if type(child) in _CHANNELS:
            if id(child) not in put:
                ours = Dropout(child.p, layer, _CHANNELS[type(child)], child.inplace)
                for name in _HOOKS:
                    vars(ours)[name] = vars(child)[name]
                put[id(child)], layer = ours, layer + 1
            if not path:
                return put[id(child)]
            module.set_submodule(path, put[id(child)])
    if Head.fits(last):  # not before an activation: some of torch's want rows side by side
        last.__class__ = Head
    return module


def build(model: Builder, seed: int) -> nn.Module:
    """The module as initialised by its own constructor under the trial's seed, which Python's and
    numpy's generators have as well."""
    return built([model], [seed])[0]


def built(models: Sequence[Builder], seeds: Sequence[int]) -> list[nn.Module]:
    """`build` of each."""
    modules = []
    with drawing():
        for model, seed in zip(models, seeds, strict=True):
            sow(keyed.torch_seed(seed, "init"))
            modules.append(_adopt(model()))
    return modules


@contextlib.contextmanager
def drawing(seed: int | None = None) -> Iterator[None]:
    """Within, the generators that belong to the whole process draw from a seed; put back after."""
    before = torch.get_rng_state(), python_random.getstate(), np.random.get_state()
    if seed is not None:
        sow(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        python_random.setstate(before[1])
        np.random.set_state(before[2])


def sow(seed: int) -> None:
    """Seed the generators that belong to the whole process."""
    # not torch.manual_seed, which keeps a stack trace of each call for a CUDA that is not there
    torch.default_generator.manual_seed(seed)
    python_random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


# --- what must be equal --------------------------------------------------------------------------


def structure(model: Builder) -> tuple[Any, ...]:
    """The module's types, layout and tensors' shapes, from one build (kept for partials)."""
    if isinstance(model, functools.partial):
        with contextlib.suppress(TypeError):  # unhashable arguments: built anew each time
            return _structure_of(model.func, model.args, tuple(sorted(model.keywords.items())))
    return _describe(model)


@functools.lru_cache(maxsize=4096, typed=True)
def _structure_of(func: Any, args: tuple[Any, ...], keywords: tuple[Any, ...]) -> tuple[Any, ...]:
    return _describe(functools.partial(func, *args, **dict(keywords)))


def _describe(model: Builder) -> tuple[Any, ...]:
    return described(build(model, 0))


def numbers_of(structure: tuple[Any, ...]) -> int:
    """How many numbers a module of this structure holds."""
    each = {number: math.prod(shape) for _, shape, _, _, number in structure[3]}
    return sum(each.values())


@dataclass(frozen=True)
class Work:
    """What a forward pass takes: operations, additions and multiplications of its matrix products
    and convolutions, and bytes that it makes; the latter two for each example, and whatever the
    number of examples, as a matrix is made of kernels."""

    operations: int
    flops: int
    size: int
    flops_once: int
    size_once: int


_WORK: dict[tuple[Any, ...], Work] = {}


class _Counted(Mode):  # type: ignore[no-untyped-call]
    """Counts what reaches the backend."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = self.size = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        given = {t.data_ptr() for t in _tensors(args)}
        self.size += sum(
            t.nbytes for t in _tensors((out,)) if t.data_ptr() not in given
        )  # no views
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    """Those among values and within them: pytree takes ten times as long."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def work_of(model: Builder, example: Tensor) -> Work:
    """The work of a module on an example (1, ...), counted once for each structure and shape."""
    key = (structure(model), example.shape)
    if key not in _WORK:
        module = build(model, 0).eval()
        with torch.no_grad(), _Counted() as one:
            module(example)
        with torch.no_grad(), _Counted() as two:
            module(torch.cat([example, example]))
        flops, size = max(0, two.flops - one.flops), max(0, two.size - one.size)
        once = max(0, one.flops - flops), max(0, one.size - size)
        _WORK[key] = Work(one.operations, flops, size, *once)
    return _WORK[key]


# --- different widths ----------------------------------------------------------------------------


def pad(module: nn.Module, template: nn.Module) -> tuple[nn.Module, Tensors]:
    """A module's tensors in the low corner of a wider one's, zeros around them.

    Args:
        module: One trial's.
        template: The same architecture at least as wide everywhere; overwritten and returned.

    Returns:
        The wide module, and for each parameter a mask of ones where the trial's own numbers are.

    Raises:
        ValueError: the two have different tensors, or the template is narrower.
    """
    masks: Tensors = {}
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    wide = {**dict(template.named_parameters()), **dict(template.named_buffers())}
    for name, into in wide.items():
        part = own.get(name)
        fits = part is not None and part.dim() == into.dim()
        if part is None or not fits or any(map(operator.gt, part.shape, into.shape)):
            received = None if part is None else tuple(part.shape)
            raise ValueError(
                f"pad_to has {name} of shape {tuple(into.shape)}, the model {received}; allowed: "
                "the same tensors, none of them narrower"
            )
        corner = tuple(slice(0, n) for n in part.shape)
        mask = torch.zeros_like(into)
        mask[corner] = 1
        with torch.no_grad():
            into.zero_()
            into[corner] = part
        masks[name] = mask
    return template, {name: masks[name] for name, _ in template.named_parameters()}


_EXACT: set[tuple[Any, ...]] = set()


def check_padding(model: Builder, pad_to: Builder, sample: Tensor | None) -> None:
    """Run a model as it is and padded, once for each pair of structures.

    Raises:
        ValueError: the padding changes what the model computes.
    """
    pair = (structure(model), structure(pad_to))
    if sample is None or pair in _EXACT:
        return
    module = build(model, 0)
    padded, _ = pad(module, build(pad_to, 0))
    for one in (module, padded):
        one.eval()
    # Eight steps of a sequence say as much as all of them, and there may be hundreds of widths.
    short = sample[:, :8] if sample.dim() == 3 else sample  # (B, T, F)
    with torch.no_grad():
        try:
            outputs = module(short), padded(short)
        except (RuntimeError, ValueError, IndexError):  # a module that takes no other length
            outputs = module(sample), padded(sample)
        difference = float((outputs[0] - outputs[1]).abs().max())
    if not difference <= 1e-4:
        raise ValueError(
            f"pad_to changes the model's output by {difference:.3g}; allowed: a module in which "
            "zero weights leave the added units without effect (no normalisation over them)"
        )
    _EXACT.add(pair)


# Where scoring one trial takes more operations than this, so few trials are scored at once that
# they make this many examples: what they hold, above all while the code is traced, stays small and
# near. LSTMs of 64 steps, 64 trials on one core, 360 examples: 27 ms a trial in place of 41. For
# light models (an MLP: 153 microseconds a trial, and 171 by eights) it would only be more calls.
HEAVY = 2e7
SCORED = 1536
SCORED_ON_GPU = 2**16  # whose memory is what matters: tracing keeps all that a pass makes

# --- the program ---------------------------------------------------------------------------------


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
