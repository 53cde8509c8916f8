"""Seeds that would probably decide nothing are not added."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from harness import Budget
from harness.claims import Verdict, higher, judge, rows_for, stats, undecided
from harness.claims.futility import chance, futile
from harness.claims.judge import _stopped
from harness.study import InvalidStudy
from tests.claims.test_claims import make

LOOKS = (8, 16, 32)
MANY = 100_000  # units, of which t is normal


def verdict(
    effect: float, half: float, margin: float = 0.0, direction: str = "above", level: float = 0.05,
    n: int = MANY, look: int = 1, unit: str = "points",
) -> Verdict:  # fmt: skip
    return Verdict(
        "one", "", "", "inconclusive", effect, effect - half, effect + half, 1.0, margin, unit, n,
        direction, level=level, look=look,
    )  # fmt: skip


def test_at_the_margin_it_is_what_can_be_worked_out_by_hand() -> None:
    """A quarter of the units: the last z is normal about 0 with a variance of (1 - 1/4) / (1/4) = 3."""
    z = norm.isf(0.025)
    found = chance(verdict(0.0, 1.0), 0.25, 1.0)
    assert found == pytest.approx(2 * norm.sf(z / math.sqrt(3)), rel=1e-3)
    strict = chance(verdict(0.0, 1.0), 0.25, 0.1)
    assert strict == pytest.approx(2 * norm.sf(norm.isf(0.0025) / math.sqrt(3)), rel=1e-3)


def test_a_band_is_left_or_kept_to() -> None:
    """Where all but nothing is still to come, an estimate far inside or outside will be found so."""
    assert chance(verdict(0.0, 0.5, 1.0, "within"), 0.999, 1.0) == pytest.approx(1.0)
    assert chance(verdict(3.0, 0.5, 1.0, "within"), 0.999, 1.0) == pytest.approx(1.0)
    assert chance(verdict(1.0, 0.5, 1.0, "within"), 0.999, 1.0) == pytest.approx(0.0)
    assert chance(verdict(0.0, 5.0, 1.0, "within"), 0.999, 1.0) == pytest.approx(0.0)


def test_a_ratio_moves_by_factors() -> None:
    same = verdict(math.log(1.2), 0.5, math.log(1.1))
    low, high = math.exp(same.low), math.exp(same.high)
    ratio = Verdict("one", "", "", "inconclusive", 1.2, low, high, 1.0, 1.1, "ratio", MANY, "above")
    assert chance(ratio, 0.5, 0.5) == pytest.approx(chance(same, 0.5, 0.5))


def test_what_skewness_adds_to_an_interval_is_no_spread() -> None:
    """Of few seeds one lies far off: the interval's long side goes beyond the margin, and the mean of
    twice as many is as likely to lie under it as by its standard error."""
    few = stats.LevelMean(np.array([0.2] * 8 + [0.4] * 8 + [0.3] * 7 + [1.3]))
    low, high = few.interval(0.99)
    one = dataclasses.replace(
        verdict(few.effect, 1.0, 0.5, "below", 0.01, few.n), low=low, high=high
    )
    assert high > 0.5 and high - few.effect > 1.5 * (few.effect - low)
    plain = verdict(few.effect, few.effect - low, 0.5, "below", 0.01, few.n)
    assert chance(one, 0.5, 1.0) == chance(plain, 0.5, 1.0) > 0.5


@given(
    effect=st.floats(-5, 5), half=st.floats(0.01, 5), margin=st.floats(-2, 2), n=st.integers(5, 500),
    share=st.floats(0.02, 0.98), last=st.floats(0.1, 10), way=st.sampled_from(["above", "below", "within"]),
)  # fmt: skip
def test_it_is_a_probability_that_grows_with_the_distance(
    effect: float, half: float, margin: float, n: int, share: float, last: float, way: str
) -> None:
    found = chance(verdict(effect, half, margin, way, 0.01, n), share, last)
    assert -1e-9 <= found <= 1 + 1e-9
    if way != "within":
        further = effect + math.copysign(1.0, effect - margin)
        assert chance(verdict(further, half, margin, way, 0.01, n), share, last) >= found - 1e-9


def test_it_is_as_often_right_as_it_says() -> None:
    """Effects from a wide prior, normal seeds: of looks that gave some chance, so many were decided."""
    g, told, came = np.random.default_rng(0), [], []
    level, first, last = 0.01, 8, 32
    for _ in range(1500):
        values = g.normal(g.uniform(-4, 4), 1.0, last)
        early, late = stats.Mean(values[:first]), stats.Mean(values)
        low, high = early.interval(1 - level)
        if low <= 0 <= high:
            told.append(
                chance(verdict(early.effect, (high - low) / 2, level=level, n=first), 0.25, 1.0)
            )
            low, high = late.interval(1 - level)
            came.append(not low <= 0 <= high)
    assert len(told) > 250
    assert np.mean(told) == pytest.approx(np.mean(came), abs=0.06)


def test_nothing_is_said_where_an_interval_has_no_bound_or_no_look_is_left() -> None:
    assert chance(verdict(0.0, math.inf), 0.25, 1.0) == 1.0
    assert not futile(verdict(0.0, math.inf), LOOKS, 0.05)
    assert not futile(verdict(0.0, 1.0, look=3), LOOKS, 0.05)
    assert not futile(verdict(0.0, 1.0, look=0), LOOKS, 0.05)
    assert futile(verdict(0.0, 1.0, level=0.005, look=2), LOOKS, 0.05)
    assert not futile(verdict(0.0, 1.0, level=0.005, look=2), LOOKS, 0.0)


def test_a_claim_at_its_margin_gets_no_more_seeds_and_says_so() -> None:
    study = make(
        higher("acc", arm="a", than="b", task="u"), higher("acc", arm="a", than="c", task="u")
    )
    noise = 0.1 * np.tile([-1.0, 1.0], 8)
    frame = pd.concat(
        [
            rows_for(study, "acc", "a", 0.5 + noise, task="u"),
            rows_for(study, "acc", "b", [0.5] * 16, task="u"),  # no effect
            rows_for(study, "acc", "c", [0.43] * 16, task="u"),  # one that 32 seeds will show
        ]
    )
    assert len(undecided(study, frame, LOOKS)) == 2
    assert [c.id for c in undecided(study, frame, LOOKS, futility=0.05)] == ["claim-1"]
    first, second = judge(study, frame, looks=LOOKS, futility=0.05)
    assert (
        "no more seeds were added: they would have decided it in under 5 % of runs" in first.reason
    )
    assert first.look == 2
    assert "no more seeds" not in second.reason
    assert not judge(study, frame, looks=LOOKS)[0].reason


def test_a_claim_that_reads_the_search_is_not_said_to_have_got_no_more_seeds() -> None:
    read = dataclasses.replace(higher("acc", arm="a", than="b", task="u"), phase="tune")
    claim = make(read).claims[0]
    at_margin = verdict(0.0, 1.0, level=0.005, look=2)
    assert _stopped(claim, at_margin, LOOKS, 0.05) == at_margin
    of_seeds = make(higher("acc", arm="a", than="b", task="u")).claims[0]
    assert "no more seeds" in _stopped(of_seeds, at_margin, LOOKS, 0.05).reason


def test_a_budget_says_that_it_stops() -> None:
    assert repr(Budget(2, 8)) == repr(Budget(2, 8, futility=0.0))
    assert "most_seeds=32, futility=0.05" in repr(Budget(2, 8, most_seeds=32, futility=0.05))
    for wrong in (1.0, -0.1, "little"):
        with pytest.raises(InvalidStudy, match=r"Budget\.futility"):
            Budget(2, 8, futility=wrong)  # type: ignore[arg-type]
