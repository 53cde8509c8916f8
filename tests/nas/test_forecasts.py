"""Searches of forecasters: what they spend, what they hand back, and the comparator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Data
from harness.nas.forecasts import (
    RATES,
    Candidate,
    Task,
    derived,
    drawn,
    learn,
    searched,
)
from harness.parts.data.series import driven, ring, windows
from harness.parts.models import MLP
from harness.parts.models.forecasters import OPERATIONS

pytestmark = pytest.mark.usefixtures("one_thread")


def _made() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    found = driven(120, ring(4, (1,)), 0.5)
    return tuple(windows(part, 4, 2) for part in np.split(found, (60, 90)))


TASK = Task(Data.of(_made, name="short"), 4, 2, 4, (1,), 2, updates=8, batch=8)
HANDS = tuple(Candidate((cell,) * 2) for cell in (("time", "skip", "graph"), ("mix", "none", "time")))  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "joint", "first"),
    [
        ("hand", False, 1), ("random", False, 1), ("random", True, 1), ("micro", False, 4),
        ("macro", False, 4), ("noisy", True, 3), ("noisy", False, 3), ("clean", True, 1),
    ],
)  # fmt: skip
def test_a_search_spends_what_it_may_and_hands_back_the_best(
    strategy: str, joint: bool, first: int
) -> None:
    rows = list(searched(TASK, strategy, 4, 1, HANDS, joint))
    assert [row["step"] for row in rows] == [*range(first, 5)]
    valid = [row["valid_loss"] for row in rows]
    assert valid == sorted(valid, reverse=True)
    assert all(np.isfinite([*row.values()]).all() for row in rows)
    again = list(searched(TASK, strategy, 4, 1, HANDS, joint))
    assert again == rows


def test_a_joint_search_draws_the_wirings_of_one_of_wirings_alone() -> None:
    alone, both = (
        [drawn(rng, joint) for _ in range(20)]
        for rng, joint in ((np.random.default_rng(3), False), (np.random.default_rng(3), True))
    )
    assert [(one.cells, one.links) for one in alone] == [(one.cells, one.links) for one in both]


def test_no_such_strategy() -> None:
    with pytest.raises(ValueError, match="allowed: hand"):
        list(searched(TASK, "best", 4, 0))


def test_candidates_are_drawn_from_everything() -> None:
    rng = np.random.default_rng(0)
    alone = [drawn(rng, joint=False) for _ in range(200)]
    both = [drawn(rng, joint=True) for _ in range(200)]
    assert {op for one in alone for cell in one.cells for op in cell} == set(OPERATIONS)
    assert len({one.rate for one in alone}) == 1 and {one.rate for one in both} == set(RATES)
    assert len({tuple(one.features().tolist()) for one in both}) > 190


def test_the_strongest_but_none_is_derived() -> None:
    mixing = np.full((2, 3, 5), 0.1)
    mixing[..., 0] = 0.9
    mixing[0, 1, 3] = mixing[1, 2, 2] = 0.3
    found = derived([*mixing.flatten(), 0.4, 0.6, 0.7, 0.3])
    assert found.cells[0][1] == "graph" and found.cells[1][2] == "time" and found.cells[0][0] == "skip"  # fmt: skip
    assert found.links == (1, 0)


def test_a_comparator_learns_what_is_better() -> None:
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    some = [drawn(rng, joint=True) for _ in range(60)]
    losses = [sum(op != "graph" for cell in one.cells for op in cell) + one.rate for one in some]
    network = MLP((len(some[0].features()), 32, 1))
    learn(network, some[:40], losses[:40], rng)
    with torch.no_grad():
        said = network(torch.stack([one.features() for one in some[40:]])).squeeze(1).numpy()
    ranks = [np.argsort(np.argsort(part)) for part in (said, losses[40:])]
    assert np.corrcoef(*ranks)[0, 1] < -0.5  # a high score is a low loss
    before = [w.clone() for w in network.parameters()]
    learn(network, some[:1], losses[:1], rng)  # no pair
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
