"""Whether a model fits the data that it is to be trained on, and what it says where it does not."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from harness.engine.building import build, drawing
from harness.engine.stages import Beside
from harness.engine.training import VOUCHED_ON, Training
from harness.parts import data as data_
from harness.parts.data.sources import called
from harness.parts.objectives import (
    Asked,
    Bernoulli,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    SquaredError,
    parted,
)

SHELF = (Bernoulli, BinaryCrossEntropy, CrossEntropy, Hinge, Huber, SquaredError)


def misfit(training: Training) -> str:
    """Why a model cannot be trained on its data, or nothing where it can, or where it cannot be told.

    Its module takes other inputs than there are, or the same in another order; what is to be moved
    or noisy is no image and no number; or an objective for classes cannot be had of its outputs and
    targets. Of several stages or players each is asked for by itself.
    """
    if training.data is None:
        return ""
    try:
        with drawing():
            module = build(training.model, 0).eval()
    except Exception:
        return ""  # its own faults show when it is trained
    sample = training.sample()
    return (
        _not_taken(module, training.data, training.beside)
        or _not_moved(training, sample[0])
        or _no_classes(training, training.data, module, sample)
    )


def own_fault(training: Training) -> Exception | None:
    """What a model raises by itself in plain PyTorch on the first examples of its data, which says
    more than what a program that was made of it does; None where it raises nothing.
    """
    return next(filter(None, (_own_fault(side) for side, _ in training.each_side)), None)


def _own_fault(training: Training) -> Exception | None:
    batch = training.examples(min(training.batch_size or 1, VOUCHED_ON))
    try:
        with drawing(0):
            inputs, targets = parted(training.loss, batch)
            output = training.model()(*inputs)  # as it is: layers of ours word errors otherwise
            if not isinstance(output, Tensor) and isinstance(training.loss, SHELF):
                raise TypeError(
                    f"the model's output is a {type(output).__name__}, and the objective "
                    f"{type(training.loss).__name__}; allowed: one tensor, or a Loss, which is any "
                    "function of the module and a batch"
                )
            training.loss.loss(output, *targets)
    except Exception as error:
        return error
    return None


def _not_taken(module: nn.Module, data: data_.Data, beside: Beside | None) -> str:
    """What is called with what it does not take."""
    inputs, targets = data.parts
    taker: Callable[..., Any] = module.forward
    given, name = inputs, f"{type(module).__name__}.forward"
    numbers: dict[str, str] = {}
    if isinstance(module, Asked):
        taker, name = module.loss.fn, getattr(module.loss.fn, "__name__", "its loss")
        more = (
            () if beside is None else tuple(f"{one} beside" for one in sum(beside.data.parts, ()))
        )
        given = ("the module", *inputs, *targets, *more)
        numbers = {name: name for name, _ in module.numbers.named_buffers()}
    try:
        takes, gives = inspect.signature(taker), ", ".join((*given, *numbers))
    except ValueError:
        return ""  # compiled code may not tell
    try:
        bound = takes.bind(*given, **numbers)
    except TypeError:
        return f"{name} takes {takes} and is given {gives}; allowed: as many, in this order"
    own = {called(letter, one): one for letter in "xy" for one in takes.parameters}
    for parameter, one in bound.arguments.items():
        if isinstance(one, str) and own.get(one, parameter) != parameter:
            return f"{name} takes {takes} and is given {gives}; allowed: the order that it takes"
    return ""


def _not_moved(training: Training, x: Tensor) -> str:
    """Tokens, to which no noise can be added."""
    if x.is_floating_point() or not (training.noise or training.augment):
        return ""
    what = f"noise={training.noise}" if training.noise else f"augment={training.augment}"
    assert training.data is not None
    return (
        f"Training has {what}, and {training.data.parts[0][0]} is {str(x.dtype).partition('.')[2]}; "
        "allowed: for a first input of floats"
    )


def _no_classes(
    training: Training, data: data_.Data, module: nn.Module, sample: tuple[Tensor, ...]
) -> str:
    if not isinstance(training.loss, CrossEntropy | Hinge):
        return ""
    splits = data_.load(data)
    targets = [split[-1] for split in (splits.train, splits.valid, splits.test)]
    if targets[0].is_floating_point():
        return (
            f"its targets are numbers, as {targets[0].flatten()[0]:g}, and the objective is "
            f"{type(training.loss).__name__}; allowed: whole numbers as classes, or an objective for "
            "numbers"
        )
    try:
        with torch.no_grad(), drawing():
            outputs = module(*sample).shape[-1]
    except Exception:
        return ""
    highest = max(int(y.max()) for y in targets)
    if highest < outputs:
        return ""
    return f"its model has {outputs} outputs, and there is a class {highest}; allowed: classes below {outputs}"
