"""Search strategies: what they propose, and that they learn from what they are told."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.nas.space import SPACES, Architecture, Space
from harness.nas.strategies import STRATEGIES, Comparator, compared, evolution, regressor
from harness.nas.strategies.comparator import _graphs, fit
from harness.nas.strategies.regression import codes
from harness.nas.table import JointSpace

pytestmark = pytest.mark.usefixtures("one_thread")

SPACE = Space(("none", "skip", "pool", "conv3"), 4, 4, depths=(1,), widths=(4,))
WORTH = {"none": 0, "skip": 1, "pool": 2, "conv3": 4}


def worth(a: Architecture) -> float:
    """A landscape without noise, in which each edge counts for itself."""
    return a.depth + float(sum(WORTH[e] for e in a.edges))


BEST = max(map(worth, SPACE.architectures))


def told(proposals: Any, count: int, score: Any) -> list[tuple[Any, float]]:
    """What a generator proposes, with the shares, where `score(number, candidate)` is told; a short
    training is told with noise."""
    noise, found = np.random.default_rng(1), []
    proposal = next(proposals)
    while True:
        candidate, share = proposal if isinstance(proposal, tuple) else (proposal, 1.0)
        found.append((candidate, share))
        if len(found) == count:
            return found
        value = score(len(found) - 1, candidate)
        proposal = proposals.send(value + 3 * (1 - share) * noise.normal())


@functools.cache
def play(name: str, seed: int = 0, count: int = 100, space: Any = SPACE) -> list[tuple[Any, float]]:
    """What a strategy proposes on the landscape."""
    proposals = STRATEGIES[name](space, np.random.default_rng(seed))
    return told(proposals, count, lambda _, c: worth(getattr(c, "architecture", c)))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_seed_decides_and_proposals_are_of_the_space(name: str) -> None:
    first = play(name)
    assert first[:30] == play(name, count=30) != play(name, 1, 30)
    assert all(a in SPACE and 0 < share <= 1 for a, share in first)


@pytest.mark.parametrize("name", ["local", "evolution", "tpe", "regression", "comparator_clean"])
def test_a_strategy_that_learns_proposes_better_things_later(name: str) -> None:
    found = [worth(a) for a, _ in play(name)]
    chance = np.mean([worth(a) for a in SPACE.architectures])
    assert np.mean(found[20:60]) > chance + 1
    assert max(found) >= BEST - 2


def test_local_search_climbs_to_where_no_neighbour_is_better() -> None:
    seen = [a for a, _ in play("local")]
    assert len(set(seen)) == len(seen)
    tops = [a for a in seen if worth(a) == max(map(worth, SPACE.neighbours(a)))]
    assert tops or BEST in map(worth, seen)


def test_evolution_forgets_the_oldest() -> None:
    """A single good draw is every child's parent until the population has been replaced."""
    proposals = evolution(SPACE, np.random.default_rng(0), first=20, sample=20)
    found = [a for a, _ in told(proposals, 60, lambda n, _: 1e3 if n == 10 else n % 7)]
    near = [a in SPACE.neighbours(found[10]) for a in found]
    assert all(near[20:31])  # when the 31st has been added, the 11th is gone
    assert not all(near[31:])


def test_halving_sends_on_the_best_third() -> None:
    found = play("halving", count=27 + 9 + 3 + 1)
    assert [share for _, share in found] == [1 / 9] * 27 + [1 / 3] * 9 + [1] * 3 + [1 / 9]
    rungs = [{a for a, _ in found[i:j]} for i, j in ((0, 27), (27, 36), (36, 39))]
    assert rungs[2] <= rungs[1] <= rungs[0]


def test_hyperbands_brackets_are_those_of_the_paper() -> None:
    """Li et al. 2018, algorithm 1, with R = 9 and η = 3."""
    shares = [share for _, share in play("hyperband")[: 9 + 3 + 1 + 5 + 1 + 3 + 1]]
    assert shares == [1 / 9] * 9 + [1 / 3] * 3 + [1] + [1 / 3] * 5 + [1] + [1] * 3 + [1 / 9]


def test_nsga2_looks_for_small_networks_too() -> None:
    sizes = {name: np.mean([SPACE.params(a) for a, _ in play(name)[-60:]])
             for name in ("nsga2", "tpe")}  # fmt: skip
    assert sizes["nsga2"] < sizes["tpe"]


def test_the_comparator_spends_half_on_short_trainings() -> None:
    shares = [share for _, share in play("comparator")]
    assert shares == [1 / 9] * 90 + [1.0] * 10
    assert sum(shares[:90]) == pytest.approx(10)
    assert {share for _, share in play("comparator_clean")} == {1.0}


def test_models_rank_what_they_have_not_seen() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([worth(a) for a in SPACE.architectures])
    seen = [int(i) for i in rng.permutation(len(SPACE))[:80]]
    unseen = np.setdiff1d(np.arange(len(SPACE)), seen)
    forest = regressor(rng).fit(codes(SPACE)[seen], truth[seen])
    network = Comparator(_graphs(SPACE)[1].shape[-1])
    fit(network, SPACE, seen, list(truth[seen]), rng)
    for predicted in (forest.predict(codes(SPACE)), compared(network, SPACE, rng)):
        assert spearmanr(predicted[unseen], truth[unseen]).statistic > 0.8


def test_searches_that_need_no_features_go_over_joint_spaces() -> None:
    joint = JointSpace(SPACE, SPACE.architectures[::9], ("reference", "lr0.003-wd0-b32"))
    for name in ("random", "local", "evolution", "halving"):
        assert {c for c, _ in play(name, count=40, space=joint)} <= set(joint.configurations)


def test_small_spaces_run_out() -> None:
    for name in ("local", "regression", "comparator_clean"):
        with pytest.raises(StopIteration):
            play(name, count=500, space=SPACES["smoke"])
