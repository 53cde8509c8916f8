"""What training minimises and how a model is scored.

An objective is a frozen value with `loss(output, target) -> scalar`, used for gradients, and
`scores(output, target) -> {name: scalar}`, means over examples, used on whole splits. `numbers`
names those of its fields that may differ between trials of a pack. Any class like these will do;
one of several targets, ``loss(output, one, other)``, says how many in `targets`.

What is no function of a model's output is a `Loss`: any function of the module and a batch.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn


class Objective(Protocol):
    """What an objective is."""

    numbers: ClassVar[tuple[str, ...]]

    @property
    def loss(self) -> Callable[..., Tensor]: ...

    @property
    def scores(self) -> Callable[..., Mapping[str, Tensor]]: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Mean negative log-likelihood of a softmax (ECNU, "Output layers and loss functions").

    Args:
        label_smoothing: The share of the target's probability that is spread evenly over all
            classes in training (Szegedy et al. 2016).
        weights: Of each class, or nothing where all count alike: the loss is the mean weighted by
            those of the targets, as `torch.nn.functional.cross_entropy` has it.

    Scores are without either.
    """

    label_smoothing: float | Tensor = 0.0
    weights: tuple[float, ...] = ()
    numbers: ClassVar[tuple[str, ...]] = ("label_smoothing",)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, classes) logits, target (B,) int64. Returns: scalar, nats."""
        # over classes that lie apart: a softmax of ten side by side fills no vector register
        logs = output.mT.log_softmax(-2)  # (B, C) -> (C, B)
        chosen = logs.gather(-2, target.unsqueeze(-2)).squeeze(-2)  # (C, B) -> (B,)
        if self.weights:
            return self._weighted(logs, chosen, target)
        if isinstance(self.label_smoothing, float) and self.label_smoothing == 0:
            return -chosen.mean()
        spread = logs.mean(-2) * self.label_smoothing
        return -(chosen * (1 - self.label_smoothing) + spread).mean()

    def _weighted(self, logs: Tensor, chosen: Tensor, target: Tensor) -> Tensor:
        if len(self.weights) != logs.shape[-2]:
            raise ValueError(
                f"CrossEntropy has {len(self.weights)} weights; allowed: one for each of the "
                f"{logs.shape[-2]} classes"
            )
        weights = logs.new_tensor(self.weights)  # (C,)
        own = weights[target]  # (B,)
        spread = (logs * weights.unsqueeze(-1)).mean(-2) * self.label_smoothing  # (C, B) -> (B,)
        return -(chosen * own * (1 - self.label_smoothing) + spread).sum() / own.sum()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = output.max(-1).indices == target  # argmax is slow where classes lie apart
        return {"loss": CrossEntropy().loss(output, target), "accuracy": hits.float().mean()}


@dataclass(frozen=True)
class Bernoulli:
    """Negative log-likelihood of independent zeros and ones at every step of a sequence, summed
    over them: what models of polyphonic music minimise (Boulanger-Lewandowski et al. 2012).

    The last column of a target is its step's weight: zero beyond the end of the sequence, and
    inside n / (steps of all n sequences together).
    """

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean over sequences of the mean over each one's steps.

        Args: output (B, T, N) logits, target (B, T, N + 1). Returns: scalar, nats a step.
        """
        inside = (target[..., -1] > 0).to(output.dtype)  # (B, T)
        return ((self._steps(output, target) * inside).sum(1) / inside.sum(1)).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The loss, and as `frame_loss` the mean over all steps of the split: a long sequence
        counts for more. Published figures are such means (code of Bai et al. 2018)."""
        frames = (self._steps(output, target) * target[..., -1]).sum(1).mean()
        return {"loss": self.loss(output, target), "frame_loss": frames}

    @staticmethod
    def _steps(output: Tensor, target: Tensor) -> Tensor:
        """(B, T): log(1 + exp(a)) - a y, summed over N, in a form that does not overflow."""
        softplus = output.clamp_min(0) + (-output.abs()).exp().log1p()
        return (softplus - output * target[..., :-1]).sum(-1)


@dataclass(frozen=True)
class Output:
    """The model's output is itself the loss (a point on a surface); there are no data."""

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output: Tensor, target: Tensor | None = None) -> Tensor:
        return output

    def scores(self, output: Tensor, target: Tensor | None = None) -> dict[str, Tensor]:
        return {"loss": output}


@dataclass(frozen=True)
class SquaredError:
    """The mean of (output - target)^2 over examples and outputs."""

    numbers: ClassVar[tuple[str, ...]] = ()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, ...) or (B, 1), target (B, ...) or (B,). Returns: scalar."""
        return (_beside(output, target) - target).square().mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The loss, and as `absolute_error` the mean of |output - target|."""
        return {"loss": SquaredError().loss(output, target), **_distance(output, target)}


@dataclass(frozen=True)
class Huber:
    """Half the squared error up to a distance of `delta`, and beyond it delta times the distance
    less delta / 2 (Huber 1964; `torch.nn.HuberLoss`). Scores are with it."""

    delta: float | Tensor = 1.0
    numbers: ClassVar[tuple[str, ...]] = ("delta",)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, ...) or (B, 1), target (B, ...) or (B,). Returns: scalar."""
        distance = (_beside(output, target) - target).abs()
        near = distance.minimum(distance.new_ones(()) * self.delta)
        return (near * (distance - near / 2)).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The squared error as `squared_error`, which does not depend on delta; `absolute_error`; and
        the loss at a delta of 1."""
        squared = SquaredError().loss(output, target)
        return {
            "loss": Huber().loss(output, target), "squared_error": squared,
            **_distance(output, target),
        }  # fmt: skip


@dataclass(frozen=True)
class Hinge:
    """The mean over examples and classes of max(0, margin - right + other), over the other classes
    (Weston & Watkins 1999; `torch.nn.MultiMarginLoss`). Scores are with a margin of 1."""

    margin: float | Tensor = 1.0
    numbers: ClassVar[tuple[str, ...]] = ("margin",)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, classes), target (B,) int64. Returns: scalar."""
        right = output.gather(-1, target.unsqueeze(-1))  # (B, 1)
        over = (self.margin - right + output).clamp_min(0)  # (B, C), and the margin at the target
        total = over.sum(-1) - over.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        return (total / output.shape[-1]).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = output.max(-1).indices == target
        return {"loss": Hinge().loss(output, target), "accuracy": hits.float().mean()}


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """The mean over examples and outputs of the negative log-likelihood of zeros and ones.

    Args:
        positive: The weight of the ones (`pos_weight` of `torch.nn.BCEWithLogitsLoss`).
        label_smoothing: s moves targets t to t (1 - s) + s / 2.

    Scores are without either.
    """

    positive: float | Tensor = 1.0
    label_smoothing: float | Tensor = 0.0
    numbers: ClassVar[tuple[str, ...]] = ("positive", "label_smoothing")

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Args: output (B, ...) or (B, 1) logits, target (B, ...) or (B,) in [0, 1]. Returns: scalar,
        nats."""
        output = _beside(output, target)
        target = target.to(output.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        one = nn.functional.logsigmoid(output)  # log p; log (1 - p) is that of the negative
        zero = nn.functional.logsigmoid(-output)
        return -(self.positive * target * one + (1 - target) * zero).mean()

    def scores(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        hits = (_beside(output, target) > 0) == (target > 0.5)
        loss = BinaryCrossEntropy().loss(output, target)
        return {"loss": loss, "accuracy": hits.float().mean()}


def _beside(output: Tensor, target: Tensor) -> Tensor:
    """An output in its target's shape, which may lack a last axis of one.

    Raises:
        ValueError: they do not fit: (B, 1) and (B,) would otherwise be subtracted as (B, B).
    """
    if output.dim() == target.dim() + 1 and output.shape[-1] == 1:
        output = output.squeeze(-1)
    if output.shape != target.shape:
        raise ValueError(
            f"a model's output has shape {tuple(output.shape)} and its target "
            f"{tuple(target.shape)}; allowed: the same"
        )
    return output


def _distance(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    return {"absolute_error": (_beside(output, target) - target).abs().mean()}


# --- any function of a module and a batch --------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """A loss that is any function: ``fn(module, *batch, **numbers) -> scalar``.

    Args:
        fn: Given the module, whose methods and parts it may use as it likes, and the tensors of a
            batch, inputs first.
        scores: Given module and batch in evaluation mode, means over the examples by name; or an
            objective, which scores what the module says of the inputs; without it the loss alone.
        numbers: By name, what may differ between trials of a pack: `fn` is given them as tensors ().

    It is declared once, at the top of a file: trials whose functions differ do not share a pack.
    What of the module differs in numbers from trial to trial is a buffer of it.
    """

    fn: Callable[..., Tensor]
    scores: Callable[..., Mapping[str, Tensor]] | Objective | None = None
    numbers: Mapping[str, float] | tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        pairs = tuple(sorted(dict(self.numbers).items()))
        if not all(name.isidentifier() and isinstance(value, int | float) for name, value in pairs):
            raise ValueError(f"Loss.numbers are {dict(pairs)}; allowed: numbers by name")
        object.__setattr__(self, "numbers", pairs)

    def around(
        self, model: Callable[[], nn.Module], scored: int | None = None
    ) -> Callable[[], nn.Module]:
        """What builds the module with its loss around it, of which the output is `Said`'s.

        Args:
            model: What builds the module.
            scored: How many tensors of a batch scores are of, the first; None: all.
        """
        if not isinstance(model, functools.partial):
            return functools.partial(_asked, self, scored, model)
        return functools.partial(_asked, self, scored, model.func, *model.args, **model.keywords)


def _asked(
    loss: Loss, scored: int | None, model: Callable[..., nn.Module], *args: Any, **keywords: Any
) -> nn.Module:
    return Asked(model(*args, **keywords), loss, scored)


class Asked(nn.Module):
    """A module within its loss: of a batch it says the loss in training, and scores otherwise.

    Args:
        module, loss: Which. The loss's numbers are buffers here, outside of the author's module.
        scored: As of `Loss.around`.
    """

    def __init__(self, module: nn.Module, loss: Loss, scored: int | None = None) -> None:
        super().__init__()
        self.numbers = nn.Module()
        for name, value in dict(loss.numbers).items():
            self.numbers.register_buffer(name, torch.tensor(float(value)))
        self.module, self.loss = module, dataclasses.replace(loss, numbers=())
        self.scored = scored

    def forward(self, *batch: Tensor) -> Tensor | dict[str, Tensor]:
        """() in training, else () each by name."""
        if self.training:
            return self._lost(batch)
        batch, scores = batch[: self.scored], self.loss.scores
        if scores is None:
            return {"loss": self._lost(batch)}
        if callable(scores):
            return dict(scores(self.module, *batch))
        inputs, targets = parted(scores, batch)
        return dict(scores.scores(self.module(*inputs), *targets))

    def _lost(self, batch: tuple[Tensor, ...]) -> Tensor:
        return self.loss.fn(self.module, *batch, **dict(self.numbers.named_buffers()))


def begins(module: nn.Module) -> str:
    """How the names begin of what of a module is its author's."""
    return "module." if isinstance(module, Asked) else ""


def authors(tensors: Mapping[str, Tensor], begin: str) -> dict[str, Tensor]:
    """Of tensors by name those whose names begin so, by the author's names."""
    return {n.removeprefix(begin): t for n, t in tensors.items() if n.startswith(begin)}


@dataclass(frozen=True)
class Said:
    """What an `Asked` module says is itself the loss, and the scores."""

    numbers: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[int] = 0  # a `Loss` has them

    def loss(self, output: Tensor | Mapping[str, Tensor]) -> Tensor:
        return output if isinstance(output, Tensor) else output["loss"]

    def scores(self, output: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(output)


# --- what is asked of any ------------------------------------------------------------------------


def targets_of(objective: Objective) -> int:
    """How many targets of a batch an objective is given: one, unless it says otherwise."""
    return int(getattr(objective, "targets", 1))


def parted(objective: Objective, batch: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """What of a batch the module is given, and what the objective: the last ones."""
    inputs = max(0, len(batch) - targets_of(objective))
    return batch[:inputs], batch[inputs:]


def having(objective: Objective, numbers: Mapping[str, Any]) -> Objective:
    """The same objective with other values of its `numbers`, floats or a trial's tensors."""
    return dataclasses.replace(cast(Any, objective), **numbers) if numbers else objective
