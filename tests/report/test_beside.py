"""What a claim's card says beside its verdict: the chance of improvement, and the middle half."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.claims import (
    Verdict,
    above,
    equivalent,
    everywhere,
    higher,
    judge,
    lower,
    ratio_below,
    rows_for,
)
from harness.report import bars, words
from harness.study import Budget, Claim, Metric, Study

SEEDS = 20
SCORES = np.linspace(0.5, 0.6, SEEDS)


def study(check: Any, **metric: Any) -> Study:
    return Study(
        name="one",
        question="?",
        trial=print,
        arms={"a": {}, "b": {}},
        vary={"task": ("u", "v")},
        metrics={"score": Metric(**{"unit": "fraction", "better": "high", **metric})},
        budgets={"smoke": Budget(0, 2)},
        sources={"[1]": "A book"},
        claims=(Claim("It holds.", "[1]", check, id="it"),),
    )


def frame(one: Study, a: Any, b: Any) -> pd.DataFrame:
    """The arms' scores on task u, and on task v with their parts exchanged."""
    parts = (("a", a, "u"), ("b", b, "u"), ("a", b, "v"), ("b", a, "v"))
    return pd.concat(
        [rows_for(one, "score", arm, column, task=task) for arm, column, task in parts]
    )


def judged(check: Any, a: Any, b: Any, **metric: Any) -> tuple[Verdict, Study]:
    one = study(check, **metric)
    (verdict,) = judge(one, frame(one, a, b))
    return verdict, one


def chance(verdict: Verdict) -> float:
    assert verdict.improvement is not None
    effect, low, high = verdict.improvement
    assert 0.0 <= low <= effect <= high <= 1.0
    return effect


@pytest.mark.parametrize("make", [higher, lower, ratio_below, equivalent])
def test_the_chance_is_that_of_the_better_score(make: Any) -> None:
    more: tuple[Any, ...] = (1.0,) if make is ratio_below else ()
    names: dict[str, Any] = {"than": "b"} if make is not equivalent else {"to": "b", "within": 0.5}
    check = make("score", *more, arm="a", task="u", **names)
    above_, below_ = judged(check, SCORES + 0.2, SCORES), judged(check, SCORES, SCORES + 0.2)
    assert (chance(above_[0]), chance(below_[0])) == (1.0, 0.0)
    flipped = judged(check, SCORES + 0.2, SCORES, better="low")
    assert chance(flipped[0]) == 0.0
    assert chance(judged(check, SCORES, SCORES)[0]) == pytest.approx(0.5)
    assert "how likely a is better than b (u), one trial each" in words.improvement(*above_)
    neither = judged(check, SCORES + 0.2, SCORES, better=None, unit="size")
    assert "how likely a is higher than b (u)" in words.improvement(*neither)


def test_a_trial_that_diverged_is_beaten_by_all_others() -> None:
    one = study(higher("score", arm="a", than="b", task="u"), worst=0.0)
    rows = frame(one, SCORES, SCORES)
    rows.loc[(rows["arm"] == "b") & (rows["seed"] < 10), ["status", "score"]] = [
        "diverged",
        math.nan,
    ]
    (verdict,) = judge(one, rows)
    # half of b is beaten by all of a; the rest, the upper half of the same scores, by what lies above
    wanted = 0.5 + (SCORES[:, None] > SCORES[10:]).mean() / 2 + 10 / (20 * 10) / 4
    assert chance(verdict) == pytest.approx(wanted)


def test_of_several_checks_it_is_the_weakests() -> None:
    check = everywhere(higher("score", arm="a", than="b"), task=("u", "v"))
    verdict, one = judged(check, SCORES + 0.2, SCORES)
    assert chance(verdict) == 0.0  # on v the arms are exchanged
    assert "(v)" in words.improvement(verdict, one)


def test_a_level_of_one_arm_has_none() -> None:
    verdict, one = judged(above("score", 0.4, arm="a", task="u"), SCORES, SCORES)
    assert verdict.improvement is None
    assert (words.improvement(verdict, one), bars.chance(verdict)) == ("", "")


def test_the_middle_half_stands_beside_a_mean_that_one_seed_sways() -> None:
    check = higher("score", arm="a", than="b", task="u")
    plain, _ = judged(check, SCORES + 0.1 * np.sin(np.arange(SEEDS)), SCORES)
    assert plain.middle is None
    differences = 0.05 + 0.001 * np.arange(SEEDS)
    differences[7] = -0.6
    verdict, one = judged(check, SCORES + differences, SCORES)
    ordered = np.sort(differences)
    assert verdict.effect == pytest.approx(differences.mean())  # which decides, as ever
    assert verdict.middle == pytest.approx(ordered[5:15].mean())
    assert words.middle(verdict, one).startswith("+6 points")  # 5.92, as precise as the interval


def test_the_bar_of_a_chance_lies_between_never_and_always() -> None:
    verdict, _ = judged(higher("score", arm="a", than="b", task="u"), SCORES, SCORES)
    drawn = bars.chance(verdict)
    assert 'cx="40.0"' in drawn  # even
    low, high = map(float, re.search(r'd="M([\d.]+) 7H([\d.]+)"/><circle', drawn).groups())  # type: ignore[union-attr]
    assert 4 <= low < 40 < high <= 76
    assert low + high == pytest.approx(80, abs=0.11)
