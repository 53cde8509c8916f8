"""What is said of a trial that cannot be trained."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from harness import Data, Optimizer, Training
from harness.engine.attempt import run_pack
from harness.parts.models import MLP
from harness.study import Study
from tests.study.test_study import make

DIGITS, SGD = Data("digits"), Optimizer("sgd", lr=0.1)


def said(trial: Callable[[Any], Any]) -> str:
    """The error of one trial."""
    study: Study = make(trial=trial)
    given: Any = type("Trial", (), {"seed": 0, "phase": "confirm"})()
    (outcome,) = run_pack(study, [given])
    assert outcome.status == "failed"
    assert "\n" not in outcome.error
    return outcome.error


@pytest.mark.parametrize(("name", "value", "allowed"), [
    ("model", MLP((64, 10)), "what builds a module, as its class, or partial(Mine, 64), does"),
    ("model", 5, "what builds a module"),
    ("optimizer", torch.optim.Adam(nn.Linear(2, 2).parameters()), "Optimizer('adam', lr=…), or of a"),
    ("optimizer", "adam", "Optimizer('adam', lr=…), or of a"),
    ("data", (np.zeros((9, 64)), np.zeros(9)), "Data('digits'), or Data.of(…) at the top level"),
    ("data", "digits", "Data('digits'), or Data.of(…) at the top level"),
    ("objective", nn.CrossEntropyLoss(), "CrossEntropy(), SquaredError() or another on the shelf, or"),
    ("objective", nn.functional.cross_entropy, "Loss(fn) of a function fn(module, x, y)"),
], ids=lambda value: value[:12] if isinstance(value, str) else type(value).__name__)  # fmt: skip
def test_what_is_of_another_kind_is_shown_beside_what_is_allowed(
    name: str, value: Any, allowed: str
) -> None:
    given: dict[str, Any] = {"model": partial(MLP, (64, 10)), "optimizer": SGD, "data": DIGITS}
    with pytest.raises(ValueError, match="Training") as refused:
        Training(**(given | {name: value}), epochs=1, batch_size=32)
    text = str(refused.value)
    assert text.startswith(f"Training.{name} is ")
    assert allowed in text
    assert "\n" not in text and " at 0x" not in text


@pytest.mark.parametrize(("given", "error"), [
    (None, "the trial returned NoneType None; allowed: a Training, or rows that it yields"),
    (nn.Linear(2, 3), "the trial returned Linear(in_features=2, out_features=3, bias=True); allowed:"),
    ([0.5], "the trial's row 0 is float 0.5; allowed: a dict of metrics, as in yield {'step': 0, "),
    ([], "the trial yielded no rows; yield at least one"),
])  # fmt: skip
def test_what_a_trial_returns_is_shown(given: Any, error: str) -> None:
    assert f"ValueError: {error}" in said(lambda t: given)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(65, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x)


def test_a_model_that_fails_says_what_and_where_as_plain_pytorch_does() -> None:
    error = said(lambda t: Training(Odd, SGD, DIGITS, epochs=1, batch_size=32))
    line = Odd.forward.__code__.co_firstlineno + 1
    assert "mat1 and mat2 shapes cannot be multiplied (16x64 and 65x10)" in error
    assert error.endswith(f"(test_attempt.py:{line})")
