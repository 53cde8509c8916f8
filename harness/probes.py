"""Read-only measurements of a pack while it trains. Layer 3.

A probe is a frozen value; `read(pack)` returns ``{metric: (K,) tensor}`` and is called at every
recorded step with the parameters as they are then, or once, where a trial ends, if `at_end` is
true. Probes never write to what they are shown: a trial trains the same with and without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from harness import random
from harness.data import Splits
from harness.fusing import Program

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
    splits: Splits | None = None
    subset: Tensor | None = None  # (K, n) each trial's own examples of `train`; None: all of them

    def examples(self) -> tuple[Tensor, ...]:
        """The first training examples and targets, (n, ...)."""
        return () if self.train is None else tuple(part[:SAMPLE] for part in self.train)

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

        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
            return self._tapped(params, buffers, paths, None)[0]

        return list(self.each(run))

    def backpropagated(self, paths: list[str]) -> list[Tensor]:
        """Gradients of the loss with respect to what modules put out: (K, n, ...) each."""
        shapes = [out.shape[1:] for out in self.outputs(paths)]

        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> tuple[Tensor, ...]:
            taps = tuple(self.loss.new_zeros(shape) for shape in shapes)

            def loss(taps: tuple[Tensor, ...]) -> Tensor:
                output = self._tapped(params, buffers, paths, taps)[1]
                return self.program.objective.loss(output.float(), *self.examples()[1:])

            found: tuple[Tensor, ...] = grad(loss)(taps)
            return found

        return list(self.each(run))

    def _tapped(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], paths: list[str],
        taps: tuple[Tensor, ...] | None,
    ) -> tuple[tuple[Tensor, ...], Tensor]:  # fmt: skip
        """A forward pass that adds a tap to the outputs of modules, and those outputs."""
        seen: dict[str, Tensor] = {}
        hooks = []
        for number, path in enumerate(paths):

            def hook(
                _: Any, __: Any, out: Tensor, number: int = number, path: str = path
            ) -> Tensor:
                out = out if taps is None else out + taps[number]
                seen[path] = out
                return out

            hooks.append(self.program.module.get_submodule(path).register_forward_hook(hook))
        try:
            output = self.program.output(params, buffers, self.examples()[:1])
        finally:
            for one in hooks:
                one.remove()
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
    """

    metric: str
    level: float
    name: str
    at_end: ClassVar[bool] = True

    def read(self, pack: Moment) -> dict[str, Tensor]:
        first = torch.full_like(pack.loss, torch.inf)
        for step, metrics in reversed([*pack.recorded, (pack.step, pack.metrics)]):
            if self.metric in metrics:
                first = torch.where(metrics[self.metric] >= self.level, float(step), first)
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


# --- layer by layer ------------------------------------------------------------------------------

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def _weights(pack: Moment) -> list[str]:
    """Names of the parameters with at least two dimensions: weights, not biases."""
    return [name for name, w in pack.params.items() if w.dim() > 2]


@dataclass(frozen=True)
class GradientNorms:
    """The Euclidean norm of each weight matrix's gradient on the latest batch: metrics
    ``grad_norm_1`` (the first layer) onwards."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        return {
            f"grad_norm_{number}": pack.grads[name].flatten(1).norm(dim=1)
            for number, name in enumerate(_weights(pack), 1)
        }


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
    types: ``act_mean_1``, ``act_std_1``, ``act_zeros_1`` (the share of zeros), ``act_dead_1`` (the
    share of units that are zero on every example) and ``act_saturated_1`` (the share within
    `edge` of a bound), where `low` and `high` are the activation's bounds.

    Args:
        kinds: Names of torch.nn classes.
        low, high: The bounds, or infinite where there are none.
        edge: How near to a bound counts as saturated.
    """

    kinds: tuple[str, ...] = ("Sigmoid", "Tanh", "Softsign", "Softplus", "ReLU", "LeakyReLU",
                              "ELU", "GELU", "SiLU")  # fmt: skip
    low: float = -float("inf")
    high: float = float("inf")
    edge: float = 0.05
    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        paths = pack.layers(tuple(getattr(nn, kind) for kind in self.kinds))
        for number, out in enumerate(pack.outputs(paths), 1):
            flat = out.flatten(1)  # (K, n, ...) -> (K, n ...)
            zero = out == 0
            bound = (flat < self.low + self.edge) | (flat > self.high - self.edge)
            found |= {
                f"act_mean_{number}": flat.mean(1),
                f"act_std_{number}": flat.std(1),
                f"act_zeros_{number}": zero.flatten(1).float().mean(1),
                f"act_dead_{number}": zero.all(1).flatten(1).float().mean(1),
                f"act_saturated_{number}": bound.float().mean(1),
            }
        return found


@dataclass(frozen=True)
class Backpropagated:
    """The norm of the gradient with respect to what each weighted layer puts out, on training
    examples: metrics ``delta_norm_1`` onwards. It is this signal that vanishes or explodes
    (Overview, "Vanishing Gradient and Exploding Gradient Problem")."""

    at_end: ClassVar[bool] = False

    def read(self, pack: Moment) -> dict[str, Tensor]:
        found = pack.backpropagated(pack.layers(WEIGHTED))
        return {f"delta_norm_{n}": d.flatten(1).norm(dim=1) for n, d in enumerate(found, 1)}


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
