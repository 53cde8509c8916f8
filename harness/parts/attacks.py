"""Inputs moved a little so that a classifier errs: as a probe at the end, and in the loss."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.func import grad
from torch.nn import functional as F

from harness.parts.draws import uniform
from harness.parts.objectives import CrossEntropy, Loss
from harness.parts.probes.moment import EVAL_ROWS, Moment
from harness.study import of_test


def moved(
    loss: Callable[[Tensor], Tensor], x: Tensor, size: float | Tensor, steps: int = 1,
    low: float = 0.0, high: float = 1.0,
) -> Tensor:  # fmt: skip
    """Inputs near x, of which the loss is greater.

    Args:
        loss: Of inputs (B, ...), a scalar.
        x: (B, ...) in [low, high].
        size: How far each number of an input may be moved.
        steps: 1: along the gradient's sign, by `size` (FGSM: Goodfellow et al. 2015). More: so many
            of 2.5 times `size` / `steps` each, from a random start (PGD: Madry et al. 2018). 0: a
            random sign for each number, which is the control.
        low, high: The range of inputs, which is not left.
    """
    x = x.detach()
    drawn = 2 * uniform(*x.shape) - 1 if steps != 1 else torch.zeros_like(x)
    start = drawn.sign() if steps == 0 else drawn
    near: Tensor = (x + size * start).clamp(low, high)
    rate = size if steps == 1 else 2.5 * size / max(1, steps)
    for _ in range(steps):
        near = near + rate * grad(loss)(near).sign()
        near = torch.minimum(torch.maximum(near, x - size), x + size).clamp(low, high)
    return near.detach()


def _trained(
    steps: int, low: float, high: float, net: nn.Module, x: Tensor, y: Tensor, size: Tensor
) -> Tensor:
    return F.cross_entropy(
        net(moved(lambda near: F.cross_entropy(net(near), y), x, size, steps, low, high)), y
    )


def adversarial(size: float, steps: int = 1, low: float = 0.0, high: float = 1.0) -> Loss:
    """The cross entropy of inputs as `moved` moves them (adversarial training: Goodfellow et al. 2015,
    section 6, without the clean half); scores are of clean inputs. The size may differ within a
    pack."""
    return Loss(functools.partial(_trained, steps, low, high), CrossEntropy(), {"size": size})


@dataclass(frozen=True)
class Robust:
    """The accuracy on the test split as `moved` moves it, at a trial's end.

    Args:
        name: Of the metric; with the word ``test`` in it.
        size, steps, low, high: As of `moved`.
        most: Examples that are moved, the first ones.
    """

    name: str
    size: float
    steps: int = 1
    low: float = 0.0
    high: float = 1.0
    most: int = 1000
    at_end: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not of_test(self.name):
            raise ValueError(
                f"Robust.name is {self.name!r}; allowed: with the word test, as fgsm_test_accuracy"
            )

    def read(self, pack: Moment) -> dict[str, Tensor]:
        assert pack.splits is not None
        test = tuple(part[: self.most] for part in pack.splits.test)
        kind = pack.loss.device.type
        rows, total = EVAL_ROWS.get(kind, EVAL_ROWS["cpu"]), torch.zeros_like(pack.loss)
        for start in range(0, len(test[0]), rows):
            batch = tuple(part[start : start + rows] for part in test)
            hits = pack.ask(functools.partial(self._hits, batch))
            total = total + hits * (len(batch[0]) / len(test[0]))
        return {self.name: total}

    def _hits(self, batch: tuple[Tensor, ...], net: nn.Module) -> Tensor:
        x, y = batch
        near = moved(
            lambda near: F.cross_entropy(net(near), y),
            x,
            self.size,
            self.steps,
            self.low,
            self.high,
        )
        said: Tensor = net(near)
        return (said.argmax(-1) == y).float().mean()
