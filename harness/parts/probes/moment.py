"""What a probe is shown, and what a probe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev

from harness.parts.data import Sealed, SealedSplits, Splits
from harness.parts.draws import keyed_by
from harness.parts.objectives import Asked, Objective, authors, begins, parted
from harness.parts.torch_private import BATCH_NORM
from harness.study import of_test

# Examples of a split scored at once: few, so that they stay in a core's cache; a GPU wants many.
EVAL_ROWS = {"cpu": 192, "cuda": 2048, "alone": 2048}
SAMPLE = 256  # training examples that activations are measured on, the same for every trial


class Computation(Protocol):
    """What computes K trials: see `harness.engine.program.Computation`."""

    fused: ClassVar[bool]
    module: nn.Module  # of one trial
    objective: Objective

    def output(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor], x: tuple[Tensor, ...]
    ) -> Any:
        """What one trial's model says, in float32."""

    def each(self, fn: Callable[..., Any], *given: Any) -> Any:
        """``fn(*given)`` of every trial in evaluation mode."""

    def score(
        self, params: dict[str, Tensor], buffers: dict[str, Tensor],
        batch: tuple[Tensor, ...], own: bool = False,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Loss and scores (K,) of K trials on examples (n, ...) that they share, or with `own` on
        each trial's own, (K, n, ...)."""


class SealedMetrics(dict[str, Tensor]):
    """What has been measured of trials whose test split is sealed: to ask for a metric of it, even
    whether there is one, raises `Sealed`."""

    def __getitem__(self, name: str) -> Tensor:
        return super().__getitem__(self._open(name))

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._open(str(name)))

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(self._open(name), default)

    @staticmethod
    def _open(name: str) -> str:
        if of_test(name):
            raise Sealed(f"{name!r} is sealed; allowed: metrics of the other splits")
        return name


@dataclass(kw_only=True)
class Moment:
    """What a probe is shown: a pack of K trials at one recorded step.

    Where the test split is sealed (`sealed`), a probe that asks for it, or for a metric of it, is
    stopped there by `Sealed` and has measured nothing.

    Args:
        step: Updates so far.
        loss: (K,) training loss at this step.
        losses: (step + 1, K) training loss at every step so far.
        metrics: (K,) each, what this step has measured already.
        recorded: Earlier recorded steps, with what they measured.
        params, grads, buffers: (K, ...) each; the gradients are of the latest batch.
        masks: (K, ...) ones at a trial's own numbers, zeros at padding; empty without padding.
        first_rate: (K,) what multiplied the gradient in the first update.
        rate: Gives (K,) what did in the latest.
        program: Computes what the models say.
        splits: The data, shared by all; None without.
        subset: (K, n) each trial's own examples of the training split; None: all of them.
    """

    step: int
    loss: Tensor
    losses: Tensor
    metrics: dict[str, Tensor]
    recorded: list[tuple[int, dict[str, Tensor]]]
    params: dict[str, Tensor]
    grads: dict[str, Tensor]
    buffers: dict[str, Tensor]
    masks: dict[str, Tensor]
    first_rate: Tensor | None
    rate: Callable[[], Tensor]
    program: Computation
    splits: Splits | None
    subset: Tensor | None

    @property
    def sealed(self) -> bool:
        """Whether these trials are to know nothing of the test split."""
        return isinstance(self.splits, SealedSplits)

    @property
    def train(self) -> tuple[Tensor, ...] | None:
        """The training split, inputs first."""
        return None if self.splits is None else self.splits.train

    def examples(self, n: int = SAMPLE) -> tuple[Tensor, ...]:
        """The first n training examples and targets, (n, ...)."""
        return () if self.train is None else tuple(part[:n] for part in self.train)

    def each(self, fn: Callable[..., Any]) -> Any:
        """``fn(params, buffers)`` of every trial, in evaluation mode: fused where packs are."""
        params = {name: w.detach() for name, w in self.params.items()}
        return self.program.each(fn, params, self.buffers)

    def ask(self, fn: Callable[[nn.Module], Any]) -> Any:
        """``fn(module)`` of every trial, the author's module with its own numbers, in evaluation mode:
        fused where packs are. What it draws (`harness.parts.draws`) is the same for all."""

        def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Any:
            module = self.program.module
            author = module.module if isinstance(module, Asked) else module
            theirs = authors({**params, **buffers}, begins(module))
            own = {f"asked.{name}": t for name, t in theirs.items()}
            with keyed_by(next(iter(params.values())).new_zeros((), dtype=torch.int64)):
                return functional_call(_Asking(author, fn), own, ())

        return self.each(run)

    def layers(self, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
        """Paths of the modules of some types, in the order they were made; without the parts of
        torch's attention, which it does not call."""
        modules = dict(self.program.module.named_modules())
        return [
            path
            for path, m in modules.items()
            if isinstance(m, kind)
            and not isinstance(modules[path.rpartition(".")[0]], nn.MultiheadAttention)
        ]

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
                _, targets = parted(self.program.objective, self.examples())
                return self.program.objective.loss(output, *targets)

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
        norms = [m for m in module.modules() if isinstance(m, BATCH_NORM)]
        try:
            for norm in norms:
                norm.train()
            kept = {name: b.clone() for name, b in buffers.items()}
            inputs, _ = parted(self.program.objective, self.examples(n))
            output = self.program.output(params, kept, inputs)
        finally:
            for norm in norms:
                norm.eval()
            for hook in hooks:
                hook.remove()
        return tuple(seen[path] for path in paths), output


class _Asking(nn.Module):
    """Calls a function of a module, so that it can be given other numbers."""

    def __init__(self, asked: nn.Module, fn: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.asked, self.fn = asked, fn

    def forward(self) -> Any:
        return self.fn(self.asked)


class Probe(Protocol):
    """What a probe is."""

    at_end: ClassVar[bool]

    def read(self, pack: Moment) -> dict[str, Tensor]: ...
