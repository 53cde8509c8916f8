"""From an author's module to one program for K of them. Layer 3.

`lane` builds one trial's module, `structure` says what must be equal for two to fuse, `why_alone`
tries it, and `Program` is the vmapped gradient, traced into plain batched kernels.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import operator
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.flop_counter import flop_registry

from harness import random
from harness.augment import moved
from harness.lowering import Lowered
from harness.objectives import Objective, having
from harness.tracing import Untraceable, trace
from harness.tracing.operations import Mode

Tensors = dict[str, Tensor]
Builder = Callable[[], nn.Module]


class Dropout(nn.Module):
    """Dropout whose mask is a function of a key; takes the place of torch's in every pack.

    Each unit (or channel) is zero with probability `rate` and otherwise divided by 1 - rate
    (Srivastava et al. 2014, inverted). The rate may differ between trials.
    """

    rate: Tensor
    key: Tensor

    def __init__(self, rate: float, layer: int, channels: bool) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout rate is {rate}; allowed: at least 0 and below 1")
        self.layer, self.channels = layer, channels
        self.register_buffer("rate", torch.tensor(float(rate)))
        self.register_buffer("key", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        shape = x.shape[:2] if self.channels else x.shape
        key = random.mix(self.key, self.layer).unsqueeze(0)  # () -> (1,)
        kept = random.kept(key, math.prod(shape), self.rate).view(shape)  # (1, n) -> (B, ...)
        return x * kept.view(*shape, *(1,) * (x.dim() - len(shape))).to(x.dtype)


_CHANNELS = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors in plain operations (Ioffe & Szegedy 2015).

    torch's kernel lays the units of all lanes side by side and takes what is left over beside full
    vector registers another way, so that a trial's last bits would depend on its place in a pack.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            return super().forward(x)
        if not self.training and self.running_mean is not None and self.running_var is not None:
            return self._affine((x - self.running_mean) * (self.running_var + self.eps).rsqrt())
        if len(x) < 2:
            raise ValueError(f"batch normalisation of {len(x)} examples; allowed: at least 2")
        mean = x.mean(0)  # (B, C) -> (C,)
        centred = x - mean
        variance = (centred * centred).mean(0)
        if self.running_mean is not None and self.running_var is not None:
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            rate = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
            unbiased = variance.detach() * (len(x) / (len(x) - 1))
            self.running_mean.mul_(1 - rate).add_(mean.detach() * rate)
            self.running_var.mul_(1 - rate).add_(unbiased * rate)
        return self._affine(centred * (variance + self.eps).rsqrt())

    def _affine(self, out: Tensor) -> Tensor:
        return out if self.weight is None else out * self.weight + self.bias


REGISTER = 16  # floats of a vector register


class Head(nn.Linear):
    """A last layer whose few outputs lie apart in memory, and the examples side by side.

    On a CPU such a product takes half the time, and what follows (a softmax, above all) works on
    full vector registers: ten classes fill none. Nor do its last bits depend on where in memory a
    trial lies, as those of the product the usual way round do for fewer than twelve outputs, and
    those of this one for fewer than four.
    """

    @staticmethod
    def fits(layer: nn.Module) -> bool:
        return type(layer) is nn.Linear and 4 <= layer.out_features < REGISTER <= layer.in_features

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or len(x) < REGISTER or x.device.type != "cpu":
            return super().forward(x)
        out = self.weight @ x.t()  # (C, F), (F, B) -> (C, B)
        return (out if self.bias is None else out + self.bias.unsqueeze(1)).t()


def _adopt(module: nn.Module) -> nn.Module:
    """Put our layers in the place of torch's where those would depend on what ran before
    (dropout's masks), on a trial's place in the pack (batch normalisation's last bits), or be
    slow (few outputs)."""
    layer, last = 0, module
    for path, child in list(module.named_modules()):
        last = child
        if type(child) is nn.BatchNorm1d:
            child.__class__ = BatchNorm
        if type(child) in _CHANNELS:
            ours = Dropout(child.p, layer, _CHANNELS[type(child)])
            if not path:
                return ours
            module.set_submodule(path, ours)
            layer += 1
    if Head.fits(last):  # not before an activation: some of torch's want rows side by side
        last.__class__ = Head
    return module


def build(model: Builder, seed: int) -> nn.Module:
    """The module as initialised by its own constructor under the trial's seed."""
    generator, before = torch.default_generator, torch.get_rng_state()
    # not torch.manual_seed, which keeps a stack trace of each call for a CUDA that is not there
    generator.manual_seed(random.torch_seed(seed, "init"))
    try:
        return _adopt(model())
    finally:
        torch.set_rng_state(before)


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
    module = build(model, 0)
    tensors = [*module.named_parameters(), *module.named_buffers()]
    layout = tuple((name, tuple(t.shape), str(t.dtype)) for name, t in tensors)
    types = tuple(type(child) for child in module.modules())
    return (types, repr(module), _kept(module), layout)


def numbers_of(described: tuple[Any, ...]) -> int:
    """How many numbers a module of this structure holds."""
    return sum(math.prod(shape) for _, shape, _ in described[3])


@dataclass(frozen=True)
class Work:
    """What a forward pass on one example takes: operations, and additions and multiplications of
    its matrix products and convolutions."""

    operations: int
    flops: int


_WORK: dict[tuple[Any, ...], Work] = {}


class _Counted(Mode):  # type: ignore[no-untyped-call]
    """Counts what reaches the backend."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


def work_of(model: Builder, example: Tensor) -> Work:
    """The work of a module on one example (1, ...), counted once for each structure and shape."""
    key = (structure(model), example.shape)
    if key not in _WORK:
        module = build(model, 0).eval()
        with torch.no_grad(), _Counted() as counted:
            module(example)
        _WORK[key] = Work(counted.operations, counted.flops)
    return _WORK[key]


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


class Program:
    """Losses, gradients and scores of K trials, from the author's module and an objective.

    Args:
        module: One trial's module, on any device; only its code is used.
        objective: The loss and scores.
        precision: "float32", "tf32" or "bf16" (the model runs under autocast).
        fused: Whether to vmap; otherwise lanes are computed one after the other.
    """

    def __init__(
        self, module: nn.Module, objective: Objective, precision: str, fused: bool
    ) -> None:
        self.module = copy.deepcopy(module).to("meta")
        self.objective, self.precision, self.fused = objective, precision, fused
        self._traced: dict[Hashable, Callable[[list[Tensor]], Any]] = {}
        self._flops: dict[torch.Size, int] = {}  # of a forward pass on one example, by its shape
        self.seconds_to_trace = 0.0
        self.most_bytes = 0  # that the traced code holds at once
        self.masks = -1  # that a pass draws for dropout called as a function; not known yet
        self._own: tuple[list[Tensor], list[nn.Module]] = [], []  # modules of lanes, and of what
        self._into: Tensors = {}  # where those leave their gradients
        self._filled: list[nn.Module] = []

    def output(
        self, params: Tensors, buffers: Tensors, x: tuple[Tensor, ...], key: Tensor | None = None,
        module: nn.Module | None = None,
    ) -> Tensor:  # fmt: skip
        """What one trial's model says, in float32.

        Args:
            params: Its parameters.
            buffers: Its buffers.
            x: What the module is given.
            key: () int64, of which masks are a function that no layer of ours draws.
            module: One that has these parameters and buffers, where there is one.
        """
        lowered = Lowered(key) if self.fused else None
        own = params or buffers or ({} if module is None else dict(module.named_parameters()))
        with self._autocast(own, x), lowered or contextlib.nullcontext():
            if module is not None:
                out: Tensor = module(*x)
            else:
                out = functional_call(self.module, (params, buffers), x)
        if lowered and self.module.training:
            self.masks = max(self.masks, lowered.masks)
        return out.float()

    def _autocast(self, tensors: Tensors, x: tuple[Tensor, ...]) -> Any:
        if self.precision != "bf16":
            return contextlib.nullcontext()
        device = next(iter([*tensors.values(), *x])).device.type
        return torch.autocast(device, dtype=torch.bfloat16)

    def loss(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        module: nn.Module | None = None,
    ) -> Tensor:  # fmt: skip
        """The loss of one trial, as its author wrote it: no K in sight."""
        inputs = batch[:1]
        if "augment_key" in numbers:
            inputs = (moved(inputs[0], numbers["augment_key"], numbers["shift"], numbers["turn"]),)
        if "noise" in numbers:
            (x,) = inputs
            drawn = random.normal(numbers["noise_key"].unsqueeze(0), x.numel())  # (1, n)
            inputs = (x + numbers["noise"] * drawn.view(x.shape),)
        own = {name: numbers[name] for name in self.objective.numbers if name in numbers}
        objective = having(self.objective, own)
        output = self.output(params, buffers, inputs, numbers.get("mask_key"), module)
        return objective.loss(output, *batch[1:])

    def scores(
        self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor,
        module: nn.Module | None = None,
    ) -> Tensors:  # fmt: skip
        """Scores of one trial on a part of a split."""
        return self.objective.scores(self.output(params, buffers, (x,), module=module), y)

    def gradient(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors, seed: Callable[[int], None] = lambda lane: None,
    ) -> Tensor:  # fmt: skip
        """Losses (K,) in training mode, with the gradients (K, ...) written to the tensors `into`;
        running statistics move.

        `seed` is called before each lane where lanes are computed one after the other.
        """
        return self.gradients(params, buffers, batch, numbers, into, seed)(batch)

    def gradients(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors, seed: Callable[[int], None] = lambda lane: None,
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:  # fmt: skip
        """`gradient` as a function of batches shaped as this one alone: for a small model, finding
        the code that belongs to these tensors takes as long as running it."""
        if not self.fused:

            def one_by_one(batch: tuple[Tensor, ...]) -> Tensor:
                return self._one_by_one(params, buffers, batch, numbers, into, seed)

            return one_by_one
        return self._bound("gradient", params, buffers, batch, numbers, into)

    @torch.no_grad()
    def score(self, params: Tensors, buffers: Tensors, x: Tensor, y: Tensor) -> Tensors:
        """Scores (K,) each in evaluation mode, on examples that all trials share."""
        if not self.fused:
            modules = self._modules(params, buffers, training=False)
            each = [self.scores({}, {}, x, y, module) for module in modules]
            return {name: torch.stack([one[name] for one in each]) for name in each[0]}
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
        """The same, on each trial's own examples: x (K, n, ...), y (K, n)."""
        if not self.fused:
            modules = self._modules(params, buffers, training=False)
            each = [self.scores({}, {}, x[k], y[k], module) for k, module in enumerate(modules)]
            return {name: torch.stack([one[name] for one in each]) for name in each[0]}
        found: Tensors = self._bound("score_own", params, buffers, (x, y), {}, {})((x, y))
        return found

    def _one_by_one(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors, seed: Callable[[int], None],
    ) -> Tensor:  # fmt: skip
        losses = []
        for g in into.values():
            g.zero_()
        modules = self._modules(params, buffers, training=True)
        if self._into is not into or self._filled is not modules:
            self._into, self._filled = into, modules
            for lane, module in enumerate(modules):
                for name, w in module.named_parameters():
                    w.grad = into[name][lane] if w.requires_grad else None
        for lane, module in enumerate(modules):
            seed(lane)
            own = tuple(part[lane] for part in batch)
            (given,) = _lane(lane, numbers)
            loss = self.loss({}, {}, own, given, module)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        return torch.stack(losses)

    def _modules(self, params: Tensors, buffers: Tensors, training: bool) -> list[nn.Module]:
        """Each lane's module, whose parameters and buffers are the lane's part of the tensors; kept
        until there are other tensors, because making them takes longer than a small update."""
        whose, modules = self._own
        tensors = [*params.values(), *buffers.values()]
        if len(whose) != len(tensors) or any(
            a is not b for a, b in zip(whose, tensors, strict=True)
        ):
            modules = [
                _with(self.module, *_lane(lane, params, buffers))
                for lane in _lanes(params, buffers)
            ]
            self._own = tensors, modules
        if modules and modules[0].training != training:
            for module in modules:
                module.train(training)
        return modules

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
            started = time.perf_counter()
            args = params, buffers, batch, numbers, into
            fn = getattr(self, f"_vmapped_{what}")
            try:
                self._traced[key], most = trace(fn, args)
            except Untraceable:
                layout = tree_flatten(args)[1]
                self._traced[key], most = lambda given: fn(*tree_unflatten(given, layout)), 0
            self.most_bytes = max(self.most_bytes, most)
            self.seconds_to_trace = time.perf_counter() - started
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


def _with(module: nn.Module, params: Tensors, buffers: Tensors) -> nn.Module:
    """A copy of a module that has these tensors; what it shares among its parts stays shared."""
    copied = copy.deepcopy(module)
    named = {id(w): params[name] for name, w in copied.named_parameters()}
    named |= {id(b): buffers[name] for name, b in copied.named_buffers()}
    for part in list(copied.modules()):
        for name, w in list(part._parameters.items()):
            if w is not None:
                tensor = named[id(w)]
                if not isinstance(tensor, nn.Parameter):
                    tensor = named[id(w)] = nn.Parameter(tensor.detach(), w.requires_grad)
                setattr(part, name, tensor)
        for name, b in list(part._buffers.items()):
            if b is not None:
                part._buffers[name] = named[id(b)]
    return copied


def _lanes(params: Tensors, buffers: Tensors) -> range:
    return range(len(next(iter({**params, **buffers}.values()))))


def _lane(lane: int, *groups: Mapping[str, Tensor]) -> list[Tensors]:
    return [{name: t[lane] for name, t in group.items()} for group in groups]


_PROGRAMS: OrderedDict[tuple[Any, ...], Program] = OrderedDict()
KEEP_PROGRAMS = 16


def program(
    described: tuple[Any, ...], module: nn.Module, objective: Objective, precision: str, fused: bool
) -> Program:
    """The program of a structure, kept for the next pack that has the same."""
    key = (described, objective, precision, fused)
    if key not in _PROGRAMS:
        _PROGRAMS[key] = Program(module, objective, precision, fused)
        if len(_PROGRAMS) > KEEP_PROGRAMS:
            _PROGRAMS.popitem(last=False)
    _PROGRAMS.move_to_end(key)
    return _PROGRAMS[key]


_REASONS: dict[tuple[Any, ...], str] = {}


def why_alone(model: Builder, objective: Objective, batch: tuple[Tensor, ...]) -> str:
    """Why trials of this model cannot be fused, or nothing if they can: it is tried.

    Args:
        model: Builds the module.
        objective: Its loss.
        batch: Two examples for each of two lanes, (2, 2, ...); empty without data.
    """
    key = (structure(model), objective)
    if key not in _REASONS:
        _REASONS[key] = _try(build(model, 0), objective, batch)
    return _REASONS[key]


def _try(module: nn.Module, objective: Objective, batch: tuple[Tensor, ...]) -> str:
    params, buffers = stack_module_state([module, copy.deepcopy(module)])
    params = {name: w.detach() for name, w in params.items()}
    one = Program(module, objective, "float32", fused=True)
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)  # it would run lane by lane
    try:
        one._forward_and_back(params, buffers, batch, {})
    except Exception as error:
        # its own faults show when it is trained; here only what vmap says of itself counts
        try:
            one.fused = False
            one.gradient(params, buffers, batch, {}, {n: w.clone() for n, w in params.items()})
        except Exception:
            return ""
        said = str(error).strip().splitlines()[0]
        said = said.replace(
            " hit the vmap fallback which is currently disabled", " cannot be batched"
        )
        return f"its model cannot be fused ({said[:120]})"
    finally:
        functorch._set_vmap_fallback_enabled(before)
    return ""
