"""The loss of an update elsewhere and its curvature, for rules that ask.

Curvature products take two passes backward through the traced loss, which batch as its gradient does
(Pearlmutter 1994; of Gauss and Newton's matrix: Schraudolph 2002, with a Jacobian's product by two
products with its transpose).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import vmap

from harness.engine.building import Tensors
from harness.engine.flat import Flat
from harness.engine.program import Program, perturbed
from harness.parts.objectives import having, parted

ALONG = "along "  # before the names of a direction's parts, among the numbers of a loss


class Curvature:
    """What a rule is told of K trials' losses, on the batch of an update, with its masks and noise.
    Running statistics move by the update's gradient alone.

    Args:
        program: Of the loss.
        params: What is moved; it stays where it is.
        given: What of the module is not moved; copied.
        batch: Inputs and targets (K, B, ...).
        numbers: Each trial's, as of `Computation.gradients`.
        loss: (K,) where the parameters are.
        mask: (K, P) of ones, and zeros where a parameter is padding; None without padding.
    """

    def __init__(
        self, program: Program, params: Flat, given: Tensors, batch: tuple[Tensor, ...],
        numbers: Tensors, loss: Tensor, mask: Tensor | None,
    ) -> None:  # fmt: skip
        self.program, self.params, self.batch = program, params, batch
        self.given = {name: t.clone() for name, t in given.items()}
        self.numbers, self.loss, self.mask = numbers, loss, mask
        self._out, self._along = torch.zeros_like(params.all), torch.zeros_like(params.all)
        self._into, parts = params.cut(self._out), params.cut(self._along)
        self._with_along = numbers | {ALONG + name: part for name, part in parts.items()}
        self._products: dict[str, Callable[[tuple[Tensor, ...]], None]] = {}

    def losses(self, w: Tensor) -> Tensor:
        """As of `Around`."""
        at = self.params.cut(w)
        run = self.program.bound(
            "loss",
            functools.partial(_losses, self.program),
            at,
            self.given,
            self.batch,
            self.numbers,
            {},
        )
        losses: Tensor = run(self.batch)
        return losses

    def gradient(self, w: Tensor) -> Tensor:
        """As of `Around`."""
        at = self.params.cut(w)
        self.program.gradients(at, self.given, self.batch, self.numbers, self._into)(self.batch)
        return self._masked()

    def product(self, v: Tensor, kind: str) -> Tensor:
        """As of `Around`."""
        if kind not in self._products:
            self._products[kind] = self.program.bound(
                kind, functools.partial(KINDS[kind], self.program), self.params.views, self.given, self.batch, self._with_along,
                self._into,
            )  # fmt: skip
        self._along.copy_(v)
        self._products[kind](self.batch)
        return self._masked()

    def _masked(self) -> Tensor:
        return self._out if self.mask is None else self._out.mul_(self.mask)


# --- traced --------------------------------------------------------------------------------------


def _losses(
    program: Program, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...],
    numbers: Tensors, _: Tensors,
) -> Tensor:  # fmt: skip
    with torch.no_grad():
        return program.losses(params, buffers, batch, numbers)


def _hessian(
    program: Program, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...],
    numbers: Tensors, into: Tensors,
) -> None:  # fmt: skip
    """The derivative of the gradient's product with the direction."""
    numbers, along = _parted(numbers)
    own = {name: w.detach().requires_grad_() for name, w in params.items()}
    with torch.enable_grad():
        losses = program.losses(own, buffers, batch, numbers)
        slopes = _derived([losses.sum()], own, None)
        _put(into, _derived([_product(slopes, along)], own, None))


def _gauss_newton(
    program: Program, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...],
    numbers: Tensors, into: Tensors,
) -> None:  # fmt: skip
    """J'(H(J v)), where J v is how J'u changes with u, for any u."""
    numbers, along = _parted(numbers)
    inputs, targets = parted(program.objective, batch)
    names = [name for name in program.objective.numbers if name in numbers]

    def outputs(params: Tensors, buffers: Tensors, x: tuple[Tensor, ...], own: Tensors) -> Tensor:
        told = own.get("mask_key"), own.get("progress")
        said: Tensor = program.output(params, buffers, perturbed(x, own), *told)
        return said

    def loss(said: Tensor, own: Tensors, *targets: Tensor) -> Tensor:
        return having(program.objective, own).loss(said, *targets)

    own = {name: w.detach().requires_grad_() for name, w in params.items()}
    with torch.enable_grad():
        said = vmap(outputs)(own, buffers, inputs, numbers)  # (K, B, ...)
        weights = torch.zeros_like(said).requires_grad_()
        back = _derived([said], own, weights)
        moved = _derived([_product(back, along)], {"": weights}, None)[""]
        there = said.detach().requires_grad_()
        losses = vmap(loss)(there, {name: numbers[name] for name in names}, *targets)
        slopes = _derived([losses.sum()], {"": there}, None)
        bent = _derived([_product(slopes, {"": moved})], {"": there}, None)[""]
        _put(into, _derived([said], own, bent.detach()))


KINDS = {"hessian": _hessian, "gauss_newton": _gauss_newton}


def _parted(numbers: Tensors) -> tuple[Tensors, Tensors]:
    """A loss's numbers, and the parts of a direction."""
    own = {name: t for name, t in numbers.items() if not name.startswith(ALONG)}
    return own, {name.removeprefix(ALONG): numbers[name] for name in numbers if name not in own}


def _derived(of: list[Tensor], by: Tensors, weights: Tensor | None) -> Tensors:
    """Derivatives that can be derived again; zero where nothing depends."""
    if not of[0].requires_grad:
        return {name: torch.zeros_like(t) for name, t in by.items()}
    found = torch.autograd.grad(
        of, [*by.values()], None if weights is None else [weights], create_graph=True,
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    return dict(zip(by, found, strict=True))


def _product(slopes: Tensors, along: Tensors) -> Tensor:
    """The sum over lanes: none depends on another's."""
    return torch.stack([(slopes[name] * along[name]).sum() for name in slopes]).sum()


def _put(into: Tensors, found: Tensors) -> None:
    for name, value in found.items():
        into[name].copy_(value.detach())
