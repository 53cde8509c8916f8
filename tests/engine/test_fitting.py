"""Whether a model's outputs fit the targets of its data."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest
from torch import nn

from harness import Data, Optimizer, Training
from harness.engine.fitting import misfit, own_fault
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy, Hinge, SquaredError

X = np.random.default_rng(0).normal(size=(30, 4))
CLASSES, NUMBERS = Data.of((X, np.arange(30) % 3)), Data.of((X, np.full(30, 0.5)))


def training(outputs: int, data: Data | None = CLASSES, objective: Any = None) -> Training:
    return Training(
        partial(MLP, (4, 5, outputs)), Optimizer("sgd", lr=0.1), data, objective, epochs=1,
        batch_size=8,
    )  # fmt: skip


@pytest.mark.parametrize("objective", [None, CrossEntropy(0.1), Hinge()])
def test_a_class_needs_an_output(objective: Any) -> None:
    assert misfit(training(3, objective=objective)) == ""
    assert misfit(training(7, objective=objective)) == ""
    said = "its model has 2 outputs, and there is a class 2; allowed: classes below 2"
    assert misfit(training(2, objective=objective)) == said


def test_classes_are_no_numbers() -> None:
    assert misfit(training(1, NUMBERS, SquaredError())) == ""
    assert "its targets are numbers, as 0.5, and the objective is CrossEntropy; " in misfit(
        training(1, NUMBERS)
    )
    assert misfit(training(1, NUMBERS, Hinge())).partition("objective is ")[2].startswith("Hinge")


def test_a_model_of_its_own_faults_is_left_to_its_training() -> None:
    broken = Training(
        partial(nn.Linear, 9, 2), Optimizer("sgd", lr=0.1), CLASSES, epochs=1, batch_size=8
    )
    with pytest.raises(RuntimeError):
        broken.model()(*broken.sample())
    assert misfit(broken) == ""


class Two(nn.Linear):
    def forward(self, x: Any) -> Any:
        return super().forward(x), x


def test_a_model_says_by_itself_what_is_wrong_with_it() -> None:
    assert own_fault(training(3)) is None
    assert "shapes cannot be multiplied (8x4 and 9x2)" in str(
        own_fault(dataclasses.replace(training(3), model=partial(nn.Linear, 9, 2)))
    )
    assert (
        "the model's output is a tuple, and the objective CrossEntropy; allowed: one tens"
        in str(own_fault(dataclasses.replace(training(3), model=partial(Two, 4, 3))))
    )
