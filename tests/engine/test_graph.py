"""What is called again and again is launched as one graph, and nobody can tell."""

from __future__ import annotations

import pytest
import torch

from harness.engine.graph import CAPTURED, Repeated
from tests import simulated


@pytest.mark.parametrize("calls", range(1, CAPTURED + 4))
def test_so_many_calls_have_the_effect_of_so_many(calls: int) -> None:
    """And Python is run a few times only, however many there are."""
    with simulated.gpu() as device:
        total, runs = torch.zeros(2, device=device), []

        def add() -> None:
            total.add_(1)
            runs.append(1)

        repeated = Repeated(add, device)
        for _ in range(calls):
            repeated()
        assert total.cpu().tolist() == [calls] * 2
        assert len(runs) == min(calls, CAPTURED)


def test_on_the_cpu_it_is_called() -> None:
    runs: list[int] = []
    repeated = Repeated(lambda: runs.append(1), "cpu")
    for _ in range(9):
        repeated()
    assert len(runs) == 9


def test_what_cannot_be_captured_is_called() -> None:
    with simulated.gpu() as device:
        total, seen = torch.zeros(2, device=device), []

        def reads() -> None:
            total.add_(1)
            seen.append(total.sum().item())

        repeated = Repeated(reads, device)
        for _ in range(6):
            repeated()
    assert not repeated.capture
    # the fifth is the one that was captured, in which nothing has been run
    assert [s for s in seen if s] == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
