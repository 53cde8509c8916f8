"""Optimizers that step one trial each, on what a pack holds of it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.building import Tensors
from harness.engine.flat import Flat
from harness.engine.structure import told
from harness.engine.trees import leaves
from harness.parts.optimizers import own
from harness.parts.optimizers.declared import Optimizer


class Instances:
    """An instance a trial, whose parameters and gradients are windows into the pack's.

    Args:
        optimizers: K optimizers of one class or function.
        params: The parameters of K trials; moved in place.
        sow: Seeds the generators that belong to the process, for a lane: an optimizer may draw.

    Raises:
        ValueError: a schedule, and nothing that it could multiply.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], params: Flat, sow: Callable[[int], None]
    ) -> None:
        self.params, self.sow = params, sow
        self._weights: list[dict[str, nn.Parameter]] = []
        self.all: list[torch.optim.Optimizer] = []
        self._rates: list[list[float | None]] = []  # of each group, as it was made
        self._factors = [1.0] * len(optimizers)
        for lane, o in enumerate(optimizers):
            weights = {name: nn.Parameter(w[lane]) for name, w in params.views.items()}
            one = own.made(o.maker, [*weights.items()], o.given)
            self._weights.append(weights)
            self.all.append(one)
            self._rates.append([group.get("lr") for group in one.param_groups])
        self._attributes = [_beside(one) for one in self.all]  # before any step
        self._lay()
        own.put(self.all, "train")

    def _lay(self) -> None:
        """Windows into where the pack's parameters are now."""
        # a copy of the gradient: an optimizer may write to it, and probes read it afterwards
        self._grads = torch.zeros_like(self.params.all)
        self._before = self.params.all.clone()
        self._windows: list[Tensors] = []
        self._slopes: list[Tensors] = []
        slopes = self.params.cut(self._grads)
        for lane, weights in enumerate(self._weights):
            self._windows.append({name: w[lane] for name, w in self.params.views.items()})
            self._slopes.append({name: g[lane] for name, g in slopes.items()})
            for name, w in weights.items():
                w.data = self._windows[lane][name]

    def step(self, grads: Tensor, factors: Sequence[float], skipped: set[tuple[int, str]]) -> None:
        """Each along its gradient.

        Args:
            grads: (K, P).
            factors: What multiplies each trial's rate.
            skipped: Lanes and parameters whose gradient is None in a plain loop.
        """
        self._grads.copy_(grads)
        self._before.copy_(self.params.all)
        for lane, one in enumerate(self.all):
            self._set_rate(lane, factors[lane])
            weights = self._weights[lane]
            for name, w in weights.items():
                w.grad = None if (lane, name) in skipped else self._slopes[lane][name]
            self.sow(lane)
            one.step()
            self._settle(lane)

    def _settle(self, lane: int) -> None:
        """Take in parameters that an optimizer has put in the place of the pack's."""
        for name, w in self._weights[lane].items():
            window = self._windows[lane][name]
            if w.data_ptr() != window.data_ptr() or w.stride() != window.stride():
                window.copy_(w.detach())
                w.data = window

    def _set_rate(self, lane: int, factor: float) -> None:
        if factor == self._factors[lane]:
            return  # an optimizer may set its own rate
        self._factors[lane] = factor
        for group, rate in zip(self.all[lane].param_groups, self._rates[lane], strict=True):
            if rate is None:
                raise ValueError(
                    f"{type(self.all[lane]).__name__} has no lr that a schedule could multiply; "
                    "allowed: no schedule"
                )
            group["lr"] = rate * factor

    @contextlib.contextmanager
    def scoring(self) -> Iterator[None]:
        """Within, parameters are those that are scored, of optimizers that keep others to train."""
        if not any(map(own.moded, self.all)):
            yield
            return
        for mode in ("eval", "train"):
            own.put(self.all, mode)
            for lane in range(len(self.all)):
                self._settle(lane)
            if mode == "eval":
                yield

    def moved(self) -> Tensor:
        """(K, P): how far each parameter went in the latest step."""
        return self.params.all - self._before

    def contained(self) -> bool:
        """Whether `state` tells all that later steps depend on: not where an optimizer changes
        attributes of its own, or keeps what is no number, text or tensor."""
        return [_beside(one) for one in self.all] == self._attributes and all(
            isinstance(value, Tensor | bool | int | float | str | None)
            for one in self.all
            for value in leaves(one.state_dict())
        )

    def state(self) -> dict[str, Any]:
        """All that later steps depend on, but for the parameters."""
        each = [one.state_dict() for one in self.all]
        return {"each": each, "factors": self._factors, "before": self._before}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where others were, of as many trials."""
        for one, before in zip(self.all, state["each"], strict=True):
            one.load_state_dict(before)
        self._factors = [*state["factors"]]
        self._before.copy_(state["before"])

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with only these trials, of which one may be there twice; `params` has kept the same
        ones."""
        pairs = []
        for place, lane in enumerate(lanes):
            pair = self.all[lane], self._weights[lane]
            pairs.append(copy.deepcopy(pair) if lane in lanes[:place] else pair)
        self.all, self._weights = [one for one, _ in pairs], [own for _, own in pairs]
        self._rates = [self._rates[lane] for lane in lanes]
        self._attributes = [self._attributes[lane] for lane in lanes]
        self._factors = [self._factors[lane] for lane in lanes]
        before = self._before[list(lanes)]
        self._lay()
        self._before = before


def _beside(optimizer: torch.optim.Optimizer) -> Hashable:
    """What it keeps in attributes of its own, beside its state, its groups and torch's hooks."""
    own = {
        name: value
        for name, value in vars(optimizer).items()
        if name not in ("state", "param_groups") and "hook" not in name
    }
    return told(own)
