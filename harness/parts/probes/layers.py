"""Measures of the network itself, most of them layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import grad

from harness.parts import keyed
from harness.parts.models.networks import Skip
from harness.parts.objectives import parted
from harness.parts.probes.moment import Moment

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


def _singular_values(matrices: Tensor) -> Tensor:
    """(..., m, n) to (..., min(m, n)); NaN where a trial has diverged, which must not raise."""
    finite = matrices.isfinite().all(-1).all(-1)[..., None]  # (..., 1)
    values: Tensor = torch.linalg.svdvals(torch.where(finite[..., None], matrices, 0.0))
    return torch.where(finite, values, torch.nan)


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
        for number, name in enumerate(_weights(pack), 1):
            w = pack.params[name].flatten(1)  # (K, ...) -> (K, n)
            small = (w.abs() < self.zero).float()
            own = pack.masks[name].flatten(1) if pack.masks else torch.ones_like(small)
            share = (small * own).sum(1) / own.sum(1)
            found |= {f"weight_norm_{number}": w.norm(dim=1), f"weight_sparsity_{number}": share}
        return found


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
        mean = flat.mean(1, keepdim=True)
        # in two passes: torch's own, in one, takes twenty times as long
        variance = (flat - mean).square_().sum(1) / (flat.shape[1] - 1)
        return {
            "act_mean": mean.squeeze(1),
            "act_std": variance.sqrt(),
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
                values = _singular_values(each)  # (K, examples, units)
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
            name: keyed.normal(torch.full((1,), number, dtype=torch.int64, device=w.device),
                                w[0].numel()).view(w.shape[1:])
            for number, (name, w) in enumerate(pack.params.items())
        }  # fmt: skip

        def top(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            def loss(p: dict[str, Tensor]) -> Tensor:
                inputs, targets = parted(pack.program.objective, pack.examples())
                output = pack.program.output(p, buffers, inputs)
                return pack.program.objective.loss(output, *targets)

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
