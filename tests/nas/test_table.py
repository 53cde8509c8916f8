"""The tabular benchmark: what a query answers and costs, what a search is judged by."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.nas.space import HYPERPARAMETERS, SPACES, Architecture
from harness.nas.table import (
    Benchmark,
    Configuration,
    JointSpace,
    Proposal,
    Scores,
    hypervolume,
    search,
    undominated,
)
from harness.study import BadInput

SPACE = SPACES["smoke"]
SUBSET = SPACE.architectures[::4]
JOINT = JointSpace(SPACE, SUBSET, tuple(HYPERPARAMETERS))


def table(noise: float = 0.05, seeds: int = 3) -> Mapping[str, np.ndarray]:
    """Columns in which a longer training, and each 3x3 convolution, scores more."""
    rng, rows = np.random.default_rng(0), []
    for setting in HYPERPARAMETERS:
        for a in SPACE.architectures if setting == "reference" else SUBSET:
            for seed in range(seeds):
                for step in (1, 3, 9):
                    score = 0.3 + 0.1 * a.edges.count("conv3") + 0.03 * step
                    score += noise * rng.random() - 0.1 * (setting != "reference")
                    rows.append((setting, a.name, seed, step, score, score - 0.01))
    names = ("arm", "architecture", "seed", "step", "valid_accuracy", "test_accuracy")
    return {
        name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }


COLUMNS = table()
SCORES = Scores.of(COLUMNS)


def of(name: str, column: str, step: int = 9) -> np.ndarray:
    """A column's values for one architecture at the reference setting."""
    chosen = (COLUMNS["arm"] == "reference") & (COLUMNS["architecture"] == name)
    return COLUMNS[column][chosen & (COLUMNS["step"] == step)]


def benchmark(seed: int = 0, **changes: Any) -> Benchmark:
    return Benchmark(SCORES, SPACE, np.random.default_rng(seed), **changes)


def test_a_query_reads_one_training_and_regret_the_mean() -> None:
    one, a = benchmark(), SPACE.architectures[5]
    seen = {one.evaluate(a) for _ in range(40)}
    assert seen == set(of(a.name, "valid_accuracy"))
    assert (one.cost, one.evaluations) == (40, 40)
    means = [of(b.name, "test_accuracy").mean() for b in SPACE.architectures]
    assert one.regret() == pytest.approx(100 * (max(means) - means[5]))


def test_a_short_training_costs_its_share_and_goes_on_from_there() -> None:
    one, a = benchmark(), SPACE.architectures[5]
    short = one.evaluate(a, 1 / 9)
    seed = list(of(a.name, "valid_accuracy", 1)).index(short)
    assert one.cost == pytest.approx(1 / 9)
    assert one.evaluate(a, 0.3) == of(a.name, "valid_accuracy", 3)[seed]  # three epochs of nine
    assert one.cost == pytest.approx(3 / 9)
    assert one.evaluate(a) == of(a.name, "valid_accuracy", 9)[seed]
    assert one.cost == pytest.approx(1)
    one.evaluate(a)  # there is nothing left to go on with: a new one
    assert one.cost == pytest.approx(2)


def test_the_incumbent_is_the_best_of_the_longest_trainings() -> None:
    one = benchmark()
    poor, good = SPACE.architectures[0], SPACE.architectures[-1]
    assert math.isnan(one.regret())
    one.evaluate(good, 1 / 9)
    assert one.incumbent == good
    one.evaluate(poor)
    assert one.incumbent == poor


def test_regret_may_be_counted_from_another_space() -> None:
    own = JointSpace(SPACE, SUBSET, ("reference",))
    alone, joint = (
        Benchmark(SCORES, own, np.random.default_rng(0), among=among) for among in (None, SPACE)
    )
    assert joint.best == SCORES.true[SCORES.rows(SPACE.architectures)].max() >= alone.best


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(BadInput, match=r"asks for 1\.5 of a training; allowed: above 0, to 1"):
        benchmark().evaluate(SPACE.architectures[0], 1.5)
    stranger = Architecture(("pool",) * 6, 1, 4)
    with pytest.raises(BadInput, match="d1w4-222222 at setting 'reference' is not in the table"):
        benchmark().evaluate(stranger)
    with pytest.raises(BadInput, match="settings \\('fast',\\); allowed"):
        JointSpace(SPACE, SUBSET, ("fast",))


def test_a_training_that_diverged_scores_nothing() -> None:
    columns = {name: values.copy() for name, values in COLUMNS.items()}
    first = (columns["architecture"] == SPACE.architectures[0].name) & (columns["seed"] == 0)
    columns["valid_accuracy"][first] = np.nan
    gone = Scores.of(columns)
    assert (gone.valid[gone.place(SPACE.architectures[0]), :, 0] == 0).all()
    assert np.isfinite(gone.valid).all()


def test_arms_may_count_steps_otherwise_but_not_read_otherwise() -> None:
    columns = {name: values.copy() for name, values in COLUMNS.items()}
    other = columns["arm"] == "lr0.003-wd0-b128"
    columns["step"][other] *= 8
    counted = Scores.of(columns)
    assert counted.shares == SCORES.shares == pytest.approx((1 / 9, 1 / 3, 1))
    assert (counted.valid == SCORES.valid).all()
    columns["step"][other & (columns["step"] == 8)] = 30
    with pytest.raises(BadInput, match="was read at"):
        Scores.of(columns)


def test_a_joint_space_stays_within_its_pairs() -> None:
    rng, pairs = np.random.default_rng(0), set(JOINT.configurations)
    assert len(pairs) == len(JOINT) == len(SUBSET) * len(HYPERPARAMETERS)
    for configuration in JOINT.configurations[::7]:
        near = JOINT.neighbours(configuration)
        assert configuration not in near and set(near) <= pairs
        assert {c.architecture == configuration.architecture for c in near} == {True, False}
        assert JOINT.mutate(configuration, rng) in near
    assert JOINT.sample(rng) in pairs
    assert Configuration(SUBSET[0]).setting == "reference"


points = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=8)


@given(points)
def test_hypervolume_is_the_area_that_is_dominated(some: list[tuple[int, int]]) -> None:
    """Against squares counted one by one: sizes are powers of two, scores eighths."""
    sizes, scores = np.array([2.0**s for s, _ in some]), np.array([v / 8 for _, v in some])
    squares = {(x, y) for s, v in some for x in range(s, 8) for y in range(v)}
    area = hypervolume(sizes, scores, 2.0, 2.0**8, 0.0)
    assert area == pytest.approx(len(squares) / (7 * 8))


def test_what_no_other_beats() -> None:
    sizes, scores = np.array([4.0, 1, 2, 2, 8]), np.array([0.9, 0.5, 0.4, 0.7, 0.9])
    assert undominated(sizes, scores).tolist() == [1, 3, 0]
    assert undominated(np.array([]), np.array([])).tolist() == []


def mixed(space: Any, rng: np.random.Generator) -> Generator[Proposal, float, None]:
    """Short trainings, of which every other goes on."""
    while True:
        a = space.sample(rng)
        score = yield a, 1 / 9
        if score > 0.5:
            yield a


@pytest.mark.parametrize("every", [1, 3, 7])
def test_rows_keep_to_the_budget(every: int) -> None:
    rows = list(search(mixed, SPACE, SCORES, seed=3, budget=12, every=every))
    assert [row["step"] for row in rows] == sorted({*range(every, 13, every), 12})
    last = rows[-1]
    assert last["evaluations"] > 12 and last["regret"] >= 0 and 0 < last["hypervolume"] <= 1.05
    assert rows == list(search(mixed, SPACE, SCORES, seed=3, budget=12, every=every))
    front = [row["front_params"] for row in rows if "front_params" in row]
    assert front == sorted(front) and front


def test_rows_of_another_length_agree_where_they_meet() -> None:
    keep = ("step", "regret", "evaluations", "hypervolume")
    long, short = (
        [[row[name] for name in keep] for row in search(mixed, SPACE, SCORES, 1, budget)]
        for budget in (12, 6)
    )
    assert long[:6] == short


def test_all_of_the_space_leaves_no_regret() -> None:
    def all_of_it(space: Any, rng: np.random.Generator) -> Generator[Proposal, float, None]:
        for place in range(len(space)):
            yield space.architectures[place]

    quiet = Scores.of(table(noise=0.0))
    rows = list(search(all_of_it, SPACE, quiet, seed=0, budget=len(SPACE) + 5))
    assert [r["step"] for r in rows][-1] == len(SPACE) + 5  # though it ended before
    assert rows[-1]["regret"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["hypervolume"] == pytest.approx(1)
    assert rows[-1]["evaluations"] == len(SPACE)
