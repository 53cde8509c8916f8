"""Whether a model's outputs fit the targets of its data."""

from __future__ import annotations

import torch

from harness.engine.building import build, drawing
from harness.engine.training import Training
from harness.parts import data as data_
from harness.parts.objectives import CrossEntropy, Hinge


def misfit(training: Training) -> str:
    """Why an objective for classes cannot be had of a model's outputs and its data's targets, or
    nothing where it can, where another is asked for, or where it cannot be told."""
    x = training.sample()
    if training.data is None or x is None or not isinstance(training.loss, CrossEntropy | Hinge):
        return ""
    splits = data_.load(training.data)
    targets = [y for _, y in (splits.train, splits.valid, splits.test)]
    if targets[0].is_floating_point():
        return (
            f"its targets are numbers, as {targets[0].flatten()[0]:g}, and the objective is "
            f"{type(training.loss).__name__}; allowed: whole numbers as classes, or an objective for "
            "numbers"
        )
    try:
        with torch.no_grad(), drawing():
            outputs = build(training.model, 0).eval()(x).shape[-1]
    except Exception:
        return ""  # its own faults show when it is trained
    highest = max(int(y.max()) for y in targets)
    if highest < outputs:
        return ""
    return f"its model has {outputs} outputs, and there is a class {highest}; allowed: classes below {outputs}"
