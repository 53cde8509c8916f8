"""Read-only measurements of a pack while it trains. Layer 3.

A probe is a frozen value; `read(pack)` returns ``{metric: (K,) tensor}`` and is called at every
recorded step with the parameters as they are then, or once, where a trial ends, if `at_end` is
true. Probes never write to what they are shown: a trial trains the same with and without them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import grad, jacrev, vmap

from harness import random
from harness.fusing import Program
from harness.models import Skip

SAMPLE = 256  # training examples that activations are measured on, the same for every trial


@dataclass
class Moment:
    """What a probe is shown: a pack of K trials at one recorded step."""

    step: int
    params: dict[str, Tensor]  # (K, ...)
    loss: Tensor  # (K,) training loss at this step
    losses: Tensor  # (step + 1, K) training loss at every step so far
    metrics: dict[str, Tensor]  # (K,) what this step has measured already
    recorded: list[tuple[int, dict[str, Tensor]]]  # earlier recorded steps
    first_rate: Tensor | None  # (K,) what multiplied the gradient in the first update
    rate: Callable[[], Tensor]  # (K,) and in the latest
    grads: dict[str, Tensor]  # (K, ...) of the latest batch
    buffers: dict[str, Tensor]  # (K, ...)
    program: Program
    train: tuple[Tensor, Tensor] | None  # the training split, shared by all
    mask: Tensor | None = None  # (K, P) ones at a trial's own numbers, zeros at padding

    def examples(self, n: int = SAMPLE) -> tuple[Tensor, ...]:
        """The first n training examples and targets, (n, ...)."""
        return () if self.train is None else tuple(part[:n] for part in self.train)

    def each(self, fn: Callable[..., Any]) -> Any:
        """``fn(params, buffers)`` of every trial, in evaluation mode: fused where packs are."""
        params = {name: w.detach() for name, w in self.params.items()}
        self.program.module.eval()
        try:
            if self.program.fused:
                return vmap(fn)(params, self.buffers)
            lanes = range(len(self.loss))
            found = [
                fn({n: w[k] for n, w in params.items()}, {n: b[k] for n, b in self.buffers.items()})
                for k in lanes
            ]
            return torch.utils._pytree.tree_map(lambda *parts: torch.stack(parts), *found)
        finally:
            self.program.module.train()

    def layers(self, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
        """Paths of the modules of some types, in the order they were made."""
        return [path for path, m in self.program.module.named_modules() if isinstance(m, kind)]

    def outputs(self, paths: list[str]) -> list[Tensor]:
        """What modules put out on the examples: (K, n, ...) each."""
        return self._seen(paths, before=False)

    def inputs(self, paths: list[str]) -> list[Tensor]:
        """What modules are given on the examples: (K, n, ...) each."""
        return self._seen(paths, before=True)

    def _seen(self, paths: list[str], before: bool, n: int = SAMPLE) -> list[Tensor]:
        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
            return self._tapped(params, buffers, paths, {}, before, n)[0]

        return list(self.each(run))

    def backpropagated(self, paths: list[str]) -> list[Tensor]:
        """Gradients of the loss with respect to what modules put out: (K, n, ...) each."""
        shapes = [out.shape[1:] for out in self.outputs(paths)]

        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
            taps = tuple(self.loss.new_zeros(shape) for shape in shapes)

            def loss(taps: tuple[Tensor, ...]) -> Tensor:
                given = dict(zip(paths, taps, strict=True))
                output = self._tapped(params, buffers, paths, given)[1]
                return self.program.objective.loss(output.float(), *self.examples()[1:])

            found: tuple[Tensor, ...] = grad(loss)(taps)
            return found

        return list(self.each(run))

    def jacobians(self, source: str, target: str, examples: int, among: int) -> Tensor:
        """Derivatives of what one module is given by what an earlier one is given.

        Args:
            source, target: Paths of the modules.
            examples: On how many examples, from the first, one by one.
            among: The size of the batch that they are in, where layers normalise over it.

        Returns:
            (K, examples, numbers given to target, numbers given to source)
        """
        shape = self._seen([source], before=True, n=among)[0].shape[1:]  # (n, ...)

        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            def move(example: int, tap: Tensor) -> Tensor:
                seen, _ = self._tapped(
                    params, buffers, [target], {source: tap}, before=True, n=among
                )
                return seen[0][example].flatten()

            found = [
                jacrev(partial(move, example))(self.loss.new_zeros(shape))[:, example].flatten(1)
                for example in range(examples)
            ]
            return torch.stack(found)

        out: Tensor = self.each(run)
        return out

    def _tapped(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], paths: list[str],
        taps: dict[str, Tensor], before: bool = False, n: int = SAMPLE,
    ) -> tuple[tuple[Tensor, ...], Tensor]:  # fmt: skip
        """A forward pass that adds taps to what modules put out (or, `before`, are given), what
        it sees there, and the network's output.

        Batches are normalised by their own statistics, as in training: at initialisation running
        ones say nothing yet. The running ones are copied, so that they stay as they are.
        """
        seen: dict[str, Tensor] = {}
        module = self.program.module

        def keep(path: str, x: Tensor) -> Tensor:
            seen[path] = x + taps[path] if path in taps else x
            return seen[path]

        def after_(path: str) -> Callable[[Any, Any, Tensor], Tensor]:
            return lambda _, __, out: keep(path, out)

        def before_(path: str) -> Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, ...]]:
            return lambda _, args: (keep(path, args[0]), *args[1:])

        hooks = [
            module.get_submodule(path).register_forward_pre_hook(before_(path))
            if before
            else module.get_submodule(path).register_forward_hook(after_(path))
            for path in dict.fromkeys([*paths, *taps])
        ]
        norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        try:
            for norm in norms:
                norm.train()
            kept = {name: b.clone() for name, b in buffers.items()}
            output = self.program.output(params, kept, self.examples(n)[:1])
        finally:
            for norm in norms:
                norm.eval()
            for hook in hooks:
                hook.remove()
        return tuple(seen[path] for path in paths), output


class Probe(Protocol):
    """What a probe is."""

    at_end: ClassVar[bool]

    def read(self, pack: Moment) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Position:
    """The coordinates of a point on a surface: metrics ``x`` and ``y``."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        xy = pack.params["xy"]  # (K, 2)
        return {"x": xy[:, 0], "y": xy[:, 1]}


@dataclass(frozen=True)
class Gap:
    """log10 of how far the loss is above its least value: metric ``gap``, in decades.

    Args:
        floor: The least value.
        smallest: Gaps below this count as this; float32 knows no better.
    """

    floor: float
    smallest: float = 1e-10
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {"gap": (pack.loss - self.floor).clamp_min(self.smallest).log10()}


@dataclass(frozen=True)
class StepsTo:
    """The first step from which the training loss stays at or below `target`: infinity if never.

    Reported at the end, from the loss of *every* step and not only the recorded ones. Passing
    through the target on the way elsewhere is no arrival, so it does not count.
    """

    target: float
    name: str = "steps_to_target"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        outside = ~(pack.losses <= self.target)  # (steps + 1, K); NaN is outside
        after_last = len(outside) - outside.flip(0).to(torch.uint8).argmax(0)  # the first maximum
        settled = torch.where(outside.any(0), after_last, 0).float()
        return {self.name: torch.where(outside[-1], torch.inf, settled)}


@dataclass(frozen=True)
class RecordTo:
    """The first recorded step at which a metric has reached a level: infinity where it never did.

    Reported at the end.

    Args:
        metric, level: What has to reach what.
        name: The metric to report.
        per: Steps that count as one: an epoch's, for a number of epochs.
    """

    metric: str
    level: float
    name: str
    per: float = 1.0
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        first = torch.full_like(pack.loss, torch.inf)
        for step, metrics in reversed([*pack.recorded, (pack.step, pack.metrics)]):
            if self.metric in metrics:
                reached = metrics[self.metric] >= self.level
                first = torch.where(reached, step / self.per, first)
        return {self.name: first}


@dataclass(frozen=True)
class Best:
    """Other metrics at the recorded step where one was best: ``best_test_loss`` is the test loss
    where the validation loss was lowest. Reported at the end.

    Args:
        by: The metric that chooses; never one of the test split.
        take: The metrics to report; ``best_step`` is reported too.
        better: Which direction of `by` is better.
    """

    by: str = "valid_loss"
    take: tuple[str, ...] = ("valid_loss", "test_loss")
    better: str = "low"
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        rows = [*pack.recorded, (pack.step, pack.metrics)]
        sign = -1 if self.better == "high" else 1
        score = torch.stack([row[self.by] * sign for _, row in rows])  # (records, K)
        best = score.nan_to_num(torch.inf, torch.inf, -torch.inf).argmin(0, keepdim=True)  # (1, K)
        steps = torch.tensor([float(step) for step, _ in rows], device=score.device)
        found = {"best_step": steps[best[0]]}
        for name in self.take:
            column = torch.stack([row[name] for _, row in rows])  # (records, K)
            found[f"best_{name}"] = column.gather(0, best)[0]
        return found


@dataclass(frozen=True)
class EffectiveRate:
    """What multiplies the gradient (averaged with weights |g|), relative to the first step's:
    metric ``rate_kept``. It is 1 for plain descent and falls as AdaGrad's denominator grows
    (Overview, "AdaGrad Optimizer (2)")."""

    name: str = "rate_kept"
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        if pack.first_rate is None:  # nothing has been updated yet
            return {}
        return {self.name: pack.rate() / pack.first_rate}


@dataclass(frozen=True)
class Every:
    """Another probe at every n-th recorded row only, from the first on: what costs a pass of its
    own through the network is seldom worth one at each."""

    records: int
    probe: Probe
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {} if len(pack.recorded) % self.records else self.probe.read(pack)


# --- layer by layer ------------------------------------------------------------------------------

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)
NONLINEAR = ("Sigmoid", "Tanh", "Softsign", "Softplus", "ReLU", "LeakyReLU", "ELU", "GELU",
             "SiLU")  # fmt: skip


def _weights(pack: Moment) -> list[str]:
    """Names of the parameters with at least two dimensions: weights, not biases."""
    return [name for name, w in pack.params.items() if w.dim() > 2]


def _norm(x: Tensor) -> Tensor:
    """(K, ...) to (K,), the Euclidean norm; the squares of a vanished signal need float64."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1).double(), dim=1)
    return norm.float()


def _mean(layers: list[Tensor]) -> Tensor:
    """(K,) of each layer to (K,), each lane summed by itself: a sum across rows depends on K."""
    return torch.stack(layers, 1).double().mean(1).float()  # (K, layers) -> (K,)


@dataclass(frozen=True)
class GradientNorms:
    """The Euclidean norm of each weight matrix's gradient on the latest batch: metrics
    ``grad_norm_1`` (the first layer) onwards; and ``grad_spread``, the largest of them over the
    smallest (Glorot & Bengio 2010, eq. 14 and Fig. 8)."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        norms = [_norm(pack.grads[name]) for name in _weights(pack)]
        found = {f"grad_norm_{number}": norm for number, norm in enumerate(norms, 1)}
        if len(norms) > 1:
            stacked = torch.stack(norms)  # (layers, K)
            found["grad_spread"] = stacked.amax(0) / stacked.amin(0)
        return found


@dataclass(frozen=True)
class WeightNorms:
    """The Euclidean norm of each weight matrix, and the share of its entries nearer to zero than
    `zero`: metrics ``weight_norm_1``, ``weight_sparsity_1`` onwards.

    A padded trial's sparsity counts its own entries only.
    """

    zero: float = 1e-3
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        masks = self._masks(pack)
        for number, name in enumerate(_weights(pack), 1):
            w = pack.params[name].flatten(1)  # (K, ...) -> (K, n)
            small = (w.abs() < self.zero).float()
            own = masks.get(name)
            share = small.mean(1) if own is None else (small * own).sum(1) / own.sum(1)
            found |= {f"weight_norm_{number}": w.norm(dim=1), f"weight_sparsity_{number}": share}
        return found

    @staticmethod
    def _masks(pack: Moment) -> dict[str, Tensor]:
        if pack.mask is None:
            return {}
        sizes = [w[0].numel() for w in pack.params.values()]
        return dict(zip(pack.params, torch.split(pack.mask, sizes, 1), strict=True))


@dataclass(frozen=True)
class Activations:
    """What the activations of each layer look like on training examples, for the modules of some
    types, which act on each number by itself:

    - ``act_mean_1``, ``act_std_1``: mean and spread;
    - ``act_zeros_1``: the share of zeros;
    - ``act_slope_1``: the mean local derivative;
    - ``act_saturated_1``: the share whose local derivative is under `flat` of the activation's
      steepest (ECNU, "Vanishing Gradient": "the flat operating region");
    - ``act_dead_1``: the share of units whose local derivative is zero on every example, so that
      no gradient reaches their weights.

    Without a number, each is the mean over all layers.

    Args:
        kinds: Names of torch.nn classes.
        flat: What share of the steepest derivative counts as saturated.
        layers: Which layers to report by number, counted from 1; by default all.
    """

    kinds: tuple[str, ...] = NONLINEAR
    flat: float = 0.05
    layers: tuple[int, ...] | None = None
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        paths = pack.layers(tuple(getattr(nn, kind) for kind in self.kinds))
        each = [
            self._measure(pack.program.module.get_submodule(path), z)
            for path, z in zip(paths, pack.inputs(paths), strict=True)
        ]
        for name in each[0] if each else ():
            found[name] = _mean([one[name] for one in each])
            for number, one in enumerate(each, 1):
                if self.layers is None or number in self.layers:
                    found[f"{name}_{number}"] = one[name]
        return found

    def _measure(self, activation: nn.Module, z: Tensor) -> dict[str, Tensor]:
        """The measures (K,) of one layer from its pre-activations z (K, n, ...)."""
        slopes = grad(lambda z: activation(z).sum())
        out, slope = activation(z), slopes(z)
        steepest = slopes(torch.linspace(-10, 10, 2001, device=z.device)).abs().max()
        flat = out.flatten(1)  # (K, n, ...) -> (K, n ...)
        return {
            "act_mean": flat.mean(1),
            "act_std": flat.std(1),
            "act_zeros": (flat == 0).float().mean(1),
            "act_slope": slope.flatten(1).mean(1),
            "act_saturated": (slope.abs() < self.flat * steepest).flatten(1).float().mean(1),
            "act_dead": (slope == 0).all(1).flatten(1).float().mean(1),
        }


@dataclass(frozen=True)
class Backpropagated:
    """The norm of the gradient with respect to what each weighted layer puts out, on training
    examples: metrics ``delta_norm_1`` onwards. It is this signal that vanishes or explodes
    (Overview, "Vanishing Gradient and Exploding Gradient Problem").

    And of how it goes down through the hidden layers (all but the last), where there are two:
    ``shrink_per_layer``, the geometric mean of a layer's norm over that of the layer above, and
    ``signal_change``, by how many factors of two the first and the last of them differ.
    """

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        norms = [_norm(delta) for delta in pack.backpropagated(pack.layers(WEIGHTED))]
        found = {f"delta_norm_{number}": norm for number, norm in enumerate(norms, 1)}
        if len(norms) > 2:
            first, last = norms[0].double(), norms[-2].double()
            found["shrink_per_layer"] = ((first / last) ** (1 / (len(norms) - 2))).float()
            found["signal_change"] = (first / last).log2().abs().float()
        return found


@dataclass(frozen=True)
class Jacobians:
    """Singular values of the Jacobian from a hidden layer's pre-activations to the next's, on
    single training examples (Glorot & Bengio 2010, section 4.2): metrics ``jacobian_mean_1`` and
    ``jacobian_max_1`` from the first hidden layer to the second, and so on; without a number, the
    mean over the layers measured. A network with one hidden layer has none.

    Args:
        layers: Which, counted from 1; by default all.
        examples: How many examples, from the first.
        among: The size of the batch they are in, for layers that normalise over it.
        kinds: Names of torch.nn classes, the activations.
    """

    layers: tuple[int, ...] | None = None
    examples: int = 2
    among: int = 32
    kinds: tuple[str, ...] = NONLINEAR
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        paths = pack.layers(tuple(getattr(nn, kind) for kind in self.kinds))
        stages = [self._stage(pack.program.module, path) for path in paths]
        for number, (source, target) in enumerate(itertools.pairwise(stages), 1):
            if self.layers is None or number in self.layers:
                each = pack.jacobians(source, target, self.examples, self.among)
                values = torch.linalg.svdvals(each)  # (K, examples, units)
                found[f"jacobian_mean_{number}"] = values.flatten(1).mean(1)
                found[f"jacobian_max_{number}"] = values.amax(2).mean(1)
        for name in ("jacobian_mean", "jacobian_max"):
            measured = [value for key, value in found.items() if key.startswith(name)]
            if measured:
                found[name] = _mean(measured)
        return found

    @staticmethod
    def _stage(module: nn.Module, path: str) -> str:
        """The skip around an activation, which is given what the activation is given, and adds it;
        otherwise the activation."""
        parent = path.rpartition(".")[0]
        return parent if isinstance(module.get_submodule(parent), Skip) else path


@dataclass(frozen=True)
class Sharpness:
    """The largest eigenvalue of the loss's Hessian on training examples, by power iteration:
    metric ``sharpness``.

    Args:
        iterations: Hessian-vector products.
    """

    iterations: int = 20
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        start = {
            name: random.normal(torch.full((1,), number, dtype=torch.int64, device=w.device),
                                w[0].numel()).view(w.shape[1:])
            for number, (name, w) in enumerate(pack.params.items())
        }  # fmt: skip

        def top(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            def loss(p: dict[str, Tensor]) -> Tensor:
                output = pack.program.output(p, buffers, pack.examples()[:1])
                return pack.program.objective.loss(output, *pack.examples()[1:])

            def along(
                loss: Callable[..., Tensor], v: dict[str, Tensor], p: dict[str, Tensor]
            ) -> Tensor:
                g = grad(loss)(p)
                return torch.stack([(g[name] * v[name]).sum() for name in v]).sum()

            v = {name: part + 0 * params[name] for name, part in start.items()}
            value = pack.loss.new_zeros(())
            for _ in range(self.iterations):
                norm = torch.stack([(part * part).sum() for part in v.values()]).sum().sqrt()
                v = {name: part / norm for name, part in v.items()}
                product = grad(partial(along, loss, v))(params)
                value = torch.stack([(v[name] * product[name]).sum() for name in v]).sum()
                v = product
            return value

        return {"sharpness": pack.each(top)}
