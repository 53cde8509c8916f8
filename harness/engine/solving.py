"""A linear layer solved in closed form, from what it is given over the updates of a stage."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.building import Tensors
from harness.engine.flat import Flat
from harness.engine.program import Computation, Program, perturbed
from harness.engine.trees import settled
from harness.parts.objectives import parted
from harness.parts.optimizers.base import Rule
from harness.parts.optimizers.declared import Optimizer

LINE = 8  # float64 of a cache line, at which the matrix of each trial begins


class Solver:
    """Ridge regressions of K trials, in the place of a `Stepper`: what an update's batch adds to the
    normal equations stands for its gradient, and after the last update they are solved.

    They are summed and solved in float64, by Cholesky factors, so that memory does not depend on how
    many examples there are. Products of a layer's inputs square their condition number; but these are
    float32, and what float32 can tell apart its squares in float64 still can, so that factors of the
    inputs themselves (QR) would say no more. A trial of which an input follows from the others, but
    for rounding, and no penalty decides between them, gets NaN, as one does whose equations hold what
    is no number; no other does.

    Args:
        optimizers: K optimizers of the rule ``ridge``.
        params: The weight, and the bias where there is one, of K linear layers.
        updates: Of the stage.

    Attributes:
        found: (K,) the mean squared error of all that was read, with what was solved; None before.

    Raises:
        ValueError: what is trained is not one linear layer.
    """

    mask = None
    repeats = False

    def __init__(self, optimizers: Sequence[Optimizer], params: Flat, updates: int) -> None:
        self.rule: Rule = (optimizers[0].batched or Rule)()
        self.optimizers, self.params, self.updates = list(optimizers), params, updates
        self.t, self.parts = 0, dict[str, Tensor]()
        self.found: Tensor | None = None
        names = {name.rpartition(".")[2]: name for name in params.shapes}
        paths = {name.rpartition(".")[0] for name in params.shapes}
        weight = params.shapes.get(names.get("weight", ""), torch.Size())
        if (
            len(paths) > 1
            or not {"weight"} <= names.keys() <= {"weight", "bias"}
            or len(weight) != 2
        ):
            raise ValueError(
                f"ridge would train {', '.join(params.shapes)}; allowed: trains of one linear layer, "
                "as 'readout.*'"
            )
        self.path, self._names = next(iter(paths)), names
        outputs, inputs = weight
        size = inputs + ("bias" in names)
        self._inputs, self._size = inputs, size + -size % LINE
        like = params.all
        zeros = {
            "gram": like.new_zeros(len(like), self._size, self._size, dtype=torch.float64),
            "cross": like.new_zeros(len(like), self._size, outputs, dtype=torch.float64),
            "square": like.new_zeros(len(like), dtype=torch.float64),
            "count": like.new_zeros(len(like), dtype=torch.float64),
        }
        self.sums, self._batch = zeros, {name: zero.clone() for name, zero in zeros.items()}

    # --- what is read ----------------------------------------------------------------------------

    def taking(
        self, program: Computation, given: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:
        """As of `Stepper`: squared errors (K,) of the layer as it is. The module is in evaluation
        mode, as it will be used; noise on the inputs is added."""
        params, own = self.params.views, self._batch

        def read(
            params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
            into: Tensors,
        ) -> Tensor:  # fmt: skip
            with torch.no_grad():
                found, loss = program.each(self._of_one(program), params, buffers, batch, numbers)
            for name, value in found.items():
                into[name].copy_(value)
            return torch.as_tensor(loss)

        if isinstance(program, Program):
            what = f"ridge of {self.path}, {self._size}"
            return program.bound(what, read, params, given, batch, numbers, own)
        return lambda batch: read(params, given, batch, numbers, own)

    def _of_one(self, program: Computation) -> Callable[..., tuple[Tensors, Tensor]]:
        """What a trial's batch adds, and its squared error."""

        def one(
            params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors
        ) -> tuple[Tensors, Tensor]:
            inputs, (target,) = parted(program.objective, batch)
            layer = program.module.get_submodule(self.path)
            seen: list[tuple[Tensor, Tensor]] = []
            hook = layer.register_forward_hook(
                lambda _, args, out: seen.append((args[0], out))  # None: its output stays
            )
            try:
                x = perturbed(inputs, numbers)
                told = numbers.get("mask_key"), numbers.get("progress")
                said = program.output(params, buffers, x, *told)
            finally:
                hook.remove()
            self._check(layer, seen, said)
            z, out = seen[0]
            z = z.reshape(-1, self._inputs).double()  # (..., F) -> (n, F)
            y = self._target(target, out.shape[-1], len(z))
            past = z.new_zeros(len(z), self._size - self._inputs)
            if "bias" in self._names:
                past = past + (torch.arange(past.shape[1], device=z.device) == 0)
            z = torch.cat([z, past], 1)
            found = {
                "gram": z.mT @ z, "cross": z.mT @ y, "square": y.square().sum(),
                "count": z.new_ones(()) * len(z),
            }  # fmt: skip
            return found, (out.reshape(y.shape).double() - y).square().mean().float()

        return one

    def _check(self, layer: nn.Module, seen: list[tuple[Tensor, Tensor]], said: Tensor) -> None:
        if not isinstance(layer, nn.Linear):
            raise ValueError(
                f"ridge would train {self.path}, a {type(layer).__name__}; allowed: a linear layer"
            )
        if len(seen) != 1 or seen[0][1].numel() != said.numel():
            raise ValueError(
                f"the output of {self.path} is used {len(seen)} times and is not the model's; "
                "allowed: a last layer, for ridge"
            )
        if not _in_order(seen[0][1], said):
            raise ValueError(
                f"the model's output {tuple(said.shape)} is that of {self.path}, "
                f"{tuple(seen[0][1].shape)}, in another order; allowed: as it is, or with axes joined or parted, for ridge"
            )

    def _target(self, target: Tensor, outputs: int, n: int) -> Tensor:
        """(n, C) float64: classes as one 1 and zeros."""
        if not target.is_floating_point():
            classes = torch.arange(outputs, device=target.device)
            target = (target.reshape(-1, 1) == classes).double()
        if target.numel() != n * outputs:
            raise ValueError(
                f"ridge has {n} rows of {outputs} outputs and a target of {tuple(target.shape)}; "
                "allowed: as many numbers"
            )
        return target.reshape(n, outputs).double()

    # --- as a stepper ----------------------------------------------------------------------------

    def taken(self) -> None:
        """As of `Stepper`."""

    def advance(self) -> None:
        """As of `Stepper`."""
        self.t += 1

    def apply(self, skipped: Sequence[tuple[int, str]] = (), around: object = None) -> None:
        """Take in the batch, and after the last one solve."""
        for name, part in self._batch.items():
            self.sums[name] += part
        if self.t == self.updates:
            self._solve()

    def _solve(self) -> None:
        gram, cross = self.sums["gram"], self.sums["cross"]
        penalty = torch.tensor([o.numbers["l2"] for o in self.optimizers], dtype=torch.float64)
        of = torch.arange(self._size, device=gram.device)
        used = self._inputs + ("bias" in self._names)
        # the bias is not penalised, and what only fills a line is solved as zero
        ridge = penalty.to(gram.device).unsqueeze(1) * (of < self._inputs) + (of >= used)
        whole = gram + ridge.diag_embed()
        factor, failed = torch.linalg.cholesky_ex(whole)
        # the share of each input that those before it leave unexplained
        left = factor.diagonal(dim1=1, dim2=2).square() / whole.diagonal(dim1=1, dim2=2)
        fine = (failed == 0) & (left > self._size * torch.finfo(left.dtype).eps).all(1)
        solved = torch.cholesky_solve(cross, factor)
        solved = torch.where(fine.view(-1, 1, 1), solved, torch.nan)  # (K, F', C)
        views, names = self.params.views, self._names
        views[names["weight"]].copy_(solved[:, : self._inputs].mT)
        if "bias" in names:
            views[names["bias"]].copy_(solved[:, self._inputs])
        explained = (solved * (2 * cross - gram @ solved)).sum((1, 2))
        rest = (self.sums["square"] - explained).clamp_min(0)
        self.found = (rest / (self.sums["count"] * cross.shape[2])).float()

    def scoring(self) -> AbstractContextManager[None]:
        """As of `Stepper`."""
        return contextlib.nullcontext()

    def mean_rate(self) -> Tensor:
        """(K,) NaN: nothing multiplies a gradient."""
        return torch.full_like(self.sums["square"], torch.nan, dtype=torch.float32)

    def keep(self, lanes: Tensor) -> None:
        """As of `Stepper`."""
        self.optimizers = [self.optimizers[i] for i in lanes.tolist()]
        self.sums = {name: total[lanes].contiguous() for name, total in self.sums.items()}
        self._batch = {name: part[lanes].contiguous() for name, part in self._batch.items()}

    def contained(self) -> bool:
        """As of `Stepper`."""
        return True

    def state(self) -> dict[str, Any]:
        """As of `Stepper`."""
        return {"t": self.t, "sums": self.sums}

    def restore(self, state: Mapping[str, Any]) -> None:
        """As of `Stepper`."""
        self.t, self.sums = state["t"], settled(self.sums, state["sums"])


def _in_order(found: Tensor, said: Tensor) -> bool:
    """Whether a tensor may be another's numbers in their order: the same axes, or one in the place of
    some that follow each other. Only shapes are asked, as the numbers may be those of many trials
    (axes of one size that were swapped are not found out)."""
    one, other = ([n for n in of.shape if n > 1] for of in (found, said))
    while one and other:
        here, there = [one.pop(0)], [other.pop(0)]
        while (a := math.prod(here)) != (b := math.prod(there)):
            short, rest = (here, one) if a < b else (there, other)
            if not rest:
                return False
            short.append(rest.pop(0))
        if min(len(here), len(there)) > 1:
            return False
    return not one and not other
