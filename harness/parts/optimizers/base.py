"""What an update rule is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor

State = dict[str, Tensor]
Numbers = Mapping[str, Tensor]
Rows = list[Tensor]  # a (P,) tensor of each of some trials
Step = Callable[[float, Tensor], object]  # of a rate, and of which step it is, from 1, a ()

# What every rule takes beside its own numbers, with the value that changes nothing.
COMMON: Mapping[str, float] = {
    "weight_decay": 0.0,  # adds wd w to the gradient (L2), unless the rule decays apart from it
    "l1": 0.0,  # adds l1 sign(w) to the gradient
    "clip": math.inf,  # the gradient's norm, over all parameters, is cut to this
    "max_norm": math.inf,  # each unit's incoming weights are scaled back to this norm
}


class Around(Protocol):
    """What a rule may ask of the loss of an update: on the update's batch, masks and noise.

    Parameters and directions are (K, P). What is returned is written over by the next call.
    """

    @property
    def loss(self) -> Tensor:
        """(K,) where the parameters are."""

    def losses(self, w: Tensor) -> Tensor:
        """(K,) at other parameters."""

    def gradient(self, w: Tensor) -> Tensor:
        """(K, P) at other parameters."""

    def product(self, v: Tensor, kind: str) -> Tensor:
        """(K, P): the curvature times a direction, where the parameters are; "hessian" or
        "gauss_newton"."""


class Rule:
    """One update rule. Subclasses say which numbers they take and how a step is made.

    `scalars` turns the numbers into what `update` needs, in float64 and for many steps at once;
    `update` gets them as (K, 1) float32 and works in place. `free` is scratch memory shaped like w.
    A rule that torch has a kernel of for the CPU may also say how trials of equal numbers are moved
    by it (`rows`): in one pass through memory in place of one an operation.

    A rule that `asks` steps by `search` in place of `update`: it is given what tells the loss and
    its curvature elsewhere on the same batch.
    """

    defaults: ClassVar[Mapping[str, float]] = {}
    slots: tuple[str, ...] = ()
    coupled = True  # whether weight decay is added to the gradient
    common: ClassVar[frozenset[str]] = frozenset(COMMON)  # which of `COMMON` it takes
    asks: ClassVar[bool] = False
    of_outputs: ClassVar[bool] = False  # whether it needs an objective of a model's outputs
    rounds: ClassVar[str] = ""  # the number that says how often it asks at a step, at most
    many: ClassVar[int] = 4096  # parameters of a trial from which `rows` is faster than `update`

    def scalars(self, n: Numbers, t: Tensor, carry: State) -> dict[str, Tensor]:
        """Each (T, K), (T, 1) or (K,) float64, from the numbers n, of which the rate is (T, K) and
        the rest (K,), and the steps t (T, 1), counted from 1.

        `carry` starts empty and keeps what a rule needs from one stretch of steps to the next.
        """
        return dict(n)

    def update(self, w: Tensor, g: Tensor, s: State, c: Numbers, free: Tensor) -> None:
        """Move w (K, P) along g in place; s holds the slots, c what `scalars` returned."""
        raise NotImplementedError

    def begin(self, w: Tensor, n: Numbers) -> State:
        """The slots at first, (K, ...) each, of parameters w (K, P) and numbers n (K,)."""
        return {name: torch.zeros_like(w) for name in self.slots}

    def search(
        self, w: Tensor, g: Tensor, s: State, c: Numbers, around: Around, rounds: int
    ) -> None:
        """Move w as `update` does, asking as often as the most of any trial's `rounds`."""
        raise NotImplementedError

    def rows(self, w: Rows, g: Rows, s: Mapping[str, Rows], n: Mapping[str, float]) -> Step:
        """What makes a step, in place, of trials that share the numbers n but for the rate: with
        their weight decay, which `update` is given as part of g."""
        raise NotImplementedError

    def rate(self, s: State, c: Numbers) -> Tensor:
        """What multiplies the (averaged) gradient in a step, (K, P) or (K, 1)."""
        return c["lr"]


class Ridge(Rule):
    """A linear layer in closed form: what makes ``sum |W z + b - y|^2 + l2 |W|^2`` least, over all
    inputs z of the layer and targets y of a stage (Hoerl & Kennard 1970; scikit-learn's `Ridge`).

    It is solved once, after the last update (`harness.engine.solving`). Classes are targets of one 1
    and zeros.
    """

    defaults = {"l2": 1.0}
    common = frozenset()
    of_outputs = True
