"""K trials one after the other, each its author's module in plain PyTorch.

For what cannot be fused, and as what fused programs are held to: modules are called as they are,
`backward` fills `grad`, and whatever they keep in Python is their own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.building import Tensors, begin
from harness.engine.program import Computation
from harness.engine.structure import kept
from harness.engine.trees import mapped, stacked
from harness.parts import draws
from harness.parts.objectives import Objective, parted
from harness.parts.torch_private import registers


class Looped(Computation):
    """Trials computed one by one.

    Args:
        modules: Each trial's own, on the device; their tensors become windows into the pack's.
        objective, precision: As of every `Computation`.
        sow: Seeds what a trial's module may draw from; called before each forward pass with its
            lane and whether it is in training.
        around: What a lane's forward pass runs in.
    """

    fused = False

    def __init__(
        self, modules: Sequence[nn.Module], objective: Objective, precision: str,
        sow: Callable[[int, bool], None] = lambda lane, training: None,
        around: Callable[[int], AbstractContextManager[Any]] = lambda lane: nullcontext(),
    ) -> None:  # fmt: skip
        super().__init__(objective, precision)
        self.modules, self.sow, self.around = list(modules), sow, around
        self.module = self.modules[0]
        self._first: list[Hashable] = [kept(module) for module in self.modules]
        self._given: tuple[Tensors, Tensors] | None = None
        self._buffers: list[list[tuple[nn.Module, str, Tensor]]] = []
        self._trained: list[dict[str, nn.Parameter]] = []  # of each lane, by name
        self._modes: dict[nn.Module, bool] = {}  # whether each is in training

    def keep(self, lanes: Sequence[int]) -> None:
        """Go on with only these trials."""
        self.modules = [self.modules[lane] for lane in lanes]
        self._first = [self._first[lane] for lane in lanes]
        self.module, self._given, self.skipped = self.modules[0], None, []

    def each(self, fn: Callable[..., Any], *given: Any) -> Any:
        """As of every `Computation`."""
        found = []
        for lane in range(len(self.modules)):
            self.module = self._put(lane, False)
            found.append(fn(*mapped(given, operator.itemgetter(lane))))
        return stacked(found)

    def unchanged(self) -> bool:
        """As of every `Computation`."""
        return self._first == [kept(module) for module in self.modules]

    def _put(self, lane: int, training: bool) -> nn.Module:
        """A lane's module in training or not, as a loop puts it: when that changes."""
        module = self.modules[lane]
        if self._modes.get(module) is not training:
            self._modes[module] = training
            module.train(training)
        return module

    def _bind(self, params: Tensors, buffers: Tensors) -> None:
        """Let the modules' tensors be windows into the pack's."""
        if self._given and self._given[0] is params and self._given[1] is buffers:
            return
        self._given, self._buffers, self._trained = (params, buffers), [], []
        for lane, module in enumerate(self.modules):
            for name, w in module.named_parameters():
                window = (params if name in params else buffers)[name][lane]
                w.requires_grad_(name in params)
                if type(w) is nn.Parameter:
                    w.data = window
                else:  # a tensor of another class
                    _replace(module, w, nn.Parameter(window, w.requires_grad))
            bound = []
            for path, child in module.named_modules():
                for name, b in registers(child)[1].items():
                    full = f"{path}.{name}".lstrip(".")
                    if b is not None and full in buffers:
                        window = buffers[full][lane]
                        # a GPU's kernels may want memory that begins at a line: a copy does
                        own = window if b.device.type == "cpu" else window.clone()
                        registers(child)[1][name] = own
                        bound.append((child, name, window))
            self._buffers.append(bound)
            self._trained.append({n: w for n, w in module.named_parameters() if n in params})

    def _settle(self, lane: int) -> None:
        """Take in buffers that the module has put in the place of its own."""
        for child, name, window in self._buffers[lane]:
            new = registers(child)[1][name]
            if new is not window:
                if new is None or new.shape != window.shape:
                    raise ValueError(
                        f"buffer {name!r} of {type(child).__name__} became "
                        f"{None if new is None else tuple(new.shape)}; allowed: its own shape, "
                        f"{tuple(window.shape)}"
                    )
                with torch.no_grad():
                    window.copy_(new)
                if window.device.type == "cpu":
                    registers(child)[1][name] = window

    def _call(self, lane: int, x: tuple[Tensor, ...], progress: Tensor | None = None) -> Any:
        module = begin(self.modules[lane])
        for child, name, window in self._buffers[lane]:
            own = registers(child)[1][name]
            if own is not window and own is not None:
                registers(child)[1][name] = own.detach().copy_(window)
        self.sow(lane, module.training)
        share = torch.ones(()) if progress is None else progress
        autocast = self.autocast([*x, *self._trained[lane].values()])
        with autocast, draws.trained(share), self.around(lane):
            out = module(*x)
        return mapped(out, Tensor.float)

    def gradients(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], numbers: Tensors,
        into: Tensors,
    ) -> Callable[[tuple[Tensor, ...]], Tensor]:  # fmt: skip
        """As of every `Computation`."""

        def gradient(batch: tuple[Tensor, ...]) -> Tensor:
            self._bind(params, buffers)
            self.skipped = []
            losses = []
            for lane in range(len(self.modules)):
                self._put(lane, True)
                own = {name: t[lane] for name, t in numbers.items()}

                def said(x: tuple[Tensor, ...], lane: int = lane) -> Any:
                    return self._call(lane, x, numbers["progress"][lane])

                loss = self.loss(said, _cut(batch, lane), own)
                loss.backward()  # type: ignore[no-untyped-call]
                for name, w in self._trained[lane].items():
                    if w.grad is None:
                        into[name][lane] = 0
                        self.skipped.append((lane, name))
                    else:
                        into[name][lane] = w.grad
                        w.grad = None
                self._settle(lane)
                losses.append(loss.detach())
            return torch.stack(losses)

        return gradient

    def _scored(self, lane: int, batch: tuple[Tensor, ...]) -> Tensors:
        self._put(lane, False)
        inputs, targets = parted(self.objective, batch)
        # a module may write to what it is given
        found = self.objective.scores(self._call(lane, tuple(x.clone() for x in inputs)), *targets)
        self._settle(lane)
        return dict(found)

    @torch.no_grad()
    def score(
        self, params: Tensors, buffers: Tensors, batch: tuple[Tensor, ...], own: bool = False
    ) -> Tensors:
        """As of every `Computation`."""
        self._bind(params, buffers)
        lanes = range(len(self.modules))
        found: Tensors = stacked(
            [self._scored(lane, _cut(batch, lane) if own else batch) for lane in lanes]
        )
        return found


def _cut(batch: tuple[Tensor, ...], lane: int) -> tuple[Tensor, ...]:
    return tuple(part[lane] for part in batch)


def _replace(module: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Put a parameter in another's place, by each of its names."""
    for child in module.modules():
        parameters, _ = registers(child)
        for name, w in parameters.items():
            if w is old:
                parameters[name] = new
