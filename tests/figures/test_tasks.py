"""Arms over many tasks: lines and ranks with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import figures
from harness.study import Arm, Budget, InvalidStudy, Metric, Study
from tests.figures.test_figures import texts

pytestmark = pytest.mark.filterwarnings("error")
TASKS = ("u", "v", "w")
STUDY = Study(
    name="tasks",
    question="?",
    trial=print,
    arms={"a": Arm(label="first"), "b": Arm(), "c": Arm()},
    vary={"task": TASKS},
    metrics={"steps": Metric("steps", better="low"), "score": Metric("fraction", better="high"),
             "size": Metric("steps")},
    budgets={"smoke": Budget(0, 2)},
)  # fmt: skip
# of each task what the arms need; nobody gets there on w's second seed
COSTS = {
    "u": [[10.0, 20.0, 40.0], [10.0, 30.0, 20.0]],
    "v": [[20.0, 10.0, math.inf], [30.0, 10.0, 20.0]],
    "w": [[5.0, 5.0, 5.0], [math.inf, math.inf, math.inf]],
}
LOOKS: dict[str, Any] = {"factor": "task", "metrics": ("steps",)}


def frame(costs: dict[str, Any] = COSTS, metric: str = "steps") -> pd.DataFrame:
    records = [
        {"study": "tasks", "phase": "confirm", "arm": arm, "task": task, "seed": seed, "step": 1,
         "trial": f"{arm}{task}{seed}", "status": "finished", metric: value}
        for task, seeds in costs.items()
        for seed, row in enumerate(seeds)
        for arm, value in zip(STUDY.arms, row, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(records).reindex(columns=STUDY.columns())


def lines(drawn: Any) -> dict[str, dict[float, float]]:
    """Of each arm the heights that its line steps to, by factor of the best."""
    colours = {colour: arm for arm, colour in figures.palette(STUDY).items()}
    return {
        colours[one.get_color()]: dict(one.get_xydata().tolist())
        for one in drawn.axes[0].get_lines()
        if one.get_color() in colours
    }


def test_a_profile_by_hand() -> None:
    found = lines(figures.profile("f", **LOOKS).draw(STUDY, frame()))
    # six problems; ratios of a: 1 1 2 3 1 -, of b: 2 3 1 1 1 -, of c: 4 2 - 2 1 -
    assert found["a"] == pytest.approx({1: 3 / 6, 2: 4 / 6, 3: 5 / 6, 4: 5 / 6})
    assert found["b"] == pytest.approx({1: 3 / 6, 2: 4 / 6, 3: 5 / 6, 4: 5 / 6})
    assert found["c"] == pytest.approx({1: 1 / 6, 2: 3 / 6, 3: 3 / 6, 4: 4 / 6})
    said = texts(figures.svg(figures.profile("f", **LOOKS).draw(STUDY, frame())))
    assert {"first", "6 problems: the seeds of 3 tasks", "times the best one's steps"} <= set(said)


def test_a_trial_that_diverged_solves_nothing() -> None:
    rows = frame()
    rows.loc[rows["arm"] == "a", "status"] = "diverged"
    found = lines(figures.profile("f", **LOOKS).draw(STUDY, rows))
    assert set(found["a"].values()) == {0.0}
    assert found["b"][1] == pytest.approx(4 / 6)


def test_seeds_that_an_arm_lacks_are_no_problems() -> None:
    rows = frame()
    rows = rows[(rows["arm"] != "c") | (rows["task"] != "v")]
    said = texts(figures.svg(figures.profile("f", **LOOKS).draw(STUDY, rows)))
    assert "4 problems: the seeds of 2 tasks" in said


def test_of_each_task_the_first_metric_that_is_reported_is_read() -> None:
    scores = frame({"v": [[0.3, 0.9, 0.5]] * 2}, "score")
    rows = pd.concat([frame({k: COSTS[k] for k in "uw"}), scores], ignore_index=True)
    spec = figures.ranks("f", factor="task", metrics=("steps", "score"))
    said = texts(figures.svg(spec.draw(STUDY, rows)))
    # u: 1 2 3; v: 3 1 2; w: three alike
    assert {"first  2.0", "b  1.7", "2.3  c"} <= set(said)


def test_ranks_by_hand() -> None:
    spec = figures.ranks("f", **LOOKS)
    said = texts(figures.svg(spec.draw(STUDY, frame())))
    # centres over seeds: u 10 25 30; v 25 10 -; w: none, for half of the seeds never get there
    assert {"first  1.7", "b  1.7", "2.7  c"} <= set(said)
    assert any("over 3 tasks, which are few" in text for text in said)
    # 2.343 sqrt(3 x 4 / (6 x 3)): Nemenyi's table
    assert "critical difference 1.9" in said


def test_bars_join_what_does_not_differ() -> None:
    many = Study(**{**vars(STUDY), "vary": {"task": tuple(range(20))}})
    columns = np.random.default_rng(0).normal(size=(20, 1, 3)) * 0.1 + np.array([1.0, 1.02, 5.0])
    drawn = figures.ranks("f", **LOOKS).draw(many, frame(dict(enumerate(columns.tolist()))))
    bars = [one.get_xdata() for one in drawn.axes[0].get_lines() if one.get_linewidth() == 2.4]
    assert len(bars) == 1  # the first two; the third is 1.5 ranks off
    assert bars[0][1] < 2.5
    assert not any("few" in text for text in texts(figures.svg(drawn)))


@pytest.mark.parametrize("kind", [figures.profile, figures.ranks])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_does_not_matter(kind: Any, seed: int) -> None:
    spec, rows = kind("f", **LOOKS), frame()
    shuffled = rows.sample(frac=1, random_state=seed)
    assert figures.svg(spec.draw(STUDY, shuffled)) == figures.svg(spec.draw(STUDY, rows))


def test_what_says_nothing_is_said() -> None:
    one = frame({"u": COSTS["u"]})
    assert "ranks need two tasks and two arms" in texts(
        figures.svg(figures.ranks("f", **LOOKS).draw(STUDY, one))
    )
    below = frame({"u": [[0.0, 1.0, 2.0]]})
    assert "a performance profile needs positive costs" in texts(
        figures.svg(figures.profile("f", **LOOKS).draw(STUDY, below))
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (figures.profile("f", factor="task", metrics=("score",)), "better='high'; allowed: 'low'"),
        (figures.ranks("f", factor="task", metrics=("size",)), "better=None; allowed: 'high', 'low'"),
        (figures.ranks("f", factor="task", metrics=("speed",)), "metric 'speed'; allowed: steps"),
        (figures.ranks("f", factor="depth", metrics=("steps",)), "factor 'depth'; allowed: task"),
        (figures.ranks("f", **LOOKS, levels=("u", "x")), "level of task 'x'; allowed: u, v, w"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(spec: figures.Figure_, says: str) -> None:
    with pytest.raises(InvalidStudy, match=says):
        spec.validate(STUDY)
