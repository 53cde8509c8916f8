"""Intervals and p values: known answers, agreement of the two, and error rates by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness import stats

FINITE = st.floats(-1e3, 1e3, allow_subnormal=False)


def test_mean_by_hand() -> None:
    # 1, 2, 3: mean 2, sd 1, se 1/sqrt(3); t(0.975, 2) = 4.3027
    estimate = stats.mean(np.array([1.0, 2.0, 3.0]))
    low, high = estimate.interval(0.95)
    assert estimate.effect == 2.0
    assert low == pytest.approx(2 - 4.3026527 / math.sqrt(3), rel=1e-6)
    assert high == pytest.approx(2 + 4.3026527 / math.sqrt(3), rel=1e-6)
    assert estimate.p_above(2.0) == pytest.approx(0.5)


def test_median_by_hand() -> None:
    # ten values above 0: P(all ten above | median 0) = 2^-10
    estimate = stats.median(np.arange(1.0, 11.0))
    assert estimate.effect == 5.5
    assert estimate.p_above(0.0) == pytest.approx(2**-10)
    assert estimate.interval(1 - 2**-9) == (1.0, 10.0)
    assert estimate.interval(0.9999) == (-math.inf, math.inf)  # ten seeds cannot say so much
    assert estimate.interval(0.95) == (2.0, 9.0)  # coverage 97.9 %, the textbook's order statistics


def test_ratio_where_a_miss_is_infinity() -> None:
    a, b = np.array([1.0, np.inf, 3.0, np.inf]), np.array([2.0, 4.0, np.inf, np.inf])
    assert stats.median_ratio(a, b).values.tolist() == [0.5, np.inf, 0.0, 1.0]


@pytest.mark.parametrize("kind", [stats.mean, stats.median])
@given(
    values=arrays(float, st.integers(5, 30), elements=FINITE),
    threshold=FINITE,
    alpha=st.floats(0.001, 0.2),
)
def test_interval_and_p_agree(kind, values, threshold, alpha) -> None:
    estimate = kind(values)
    low, high = estimate.interval(1 - alpha)
    tolerance = 1e-9 * (1 + abs(threshold))
    if abs(low - threshold) > tolerance and abs(high - threshold) > tolerance:
        assert (low > threshold) == (estimate.p_above(threshold) <= alpha / 2)
        assert (high < threshold) == (estimate.p_below(threshold) <= alpha / 2)


def test_holm_by_hand() -> None:
    # 3 tests: 0.01 x 3, 0.02 x 2, 0.04 x 1, made monotone
    adjusted, alpha = stats.holm(np.array([0.04, 0.01, 0.02]))
    assert adjusted == pytest.approx([0.04, 0.03, 0.04])
    assert alpha == pytest.approx([0.05, 0.05 / 3, 0.025])
    adjusted, alpha = stats.holm(np.array([0.9, 0.01, 0.03]))
    assert adjusted == pytest.approx([0.9, 0.03, 0.06])
    assert alpha == pytest.approx([0.025, 0.05 / 3, 0.025])  # the first that fails sets the rest


@given(arrays(float, st.integers(1, 20), elements=st.floats(0, 1)))
def test_holm_level_and_adjusted_p_agree(p) -> None:
    adjusted, alpha = stats.holm(p)
    assert (adjusted >= p).all()
    clear = np.abs(p - alpha) > 1e-12
    assert ((adjusted <= 0.05) == (p <= alpha))[clear].all()


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.array([1.0, np.nan])])
def test_shapes_and_nan_are_refused(bad) -> None:
    with pytest.raises(ValueError, match=r"seeds|NaN"):
        stats.mean(bad)


def test_pairs_must_match() -> None:
    with pytest.raises(ValueError, match="a has 2 seeds and b has 3"):
        stats.mean_difference(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize("n", [5, 10, 20])
@pytest.mark.parametrize("draw", ["normal", "lognormal", "t3"])
@pytest.mark.parametrize("kind", ["mean", "median"])
def test_equal_arms_are_seldom_called_different(n: int, draw: str, kind: str) -> None:
    """2,000 studies of two identical arms: at most 5 % wrong verdicts, plus simulation error."""
    generator = np.random.default_rng(7)
    studies = 2000
    shape = (2, studies, n)
    outcomes = {
        "normal": lambda: generator.normal(size=shape),
        "lognormal": lambda: generator.lognormal(size=shape),
        "t3": lambda: generator.standard_t(3, size=shape),
    }[draw]()
    wrong = 0
    for a, b in zip(*outcomes, strict=True):
        estimate = stats.mean_difference(a, b) if kind == "mean" else stats.median(a - b)
        wrong += min(estimate.p_above(0.0), estimate.p_below(0.0)) <= 0.025
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


@given(arrays(float, 99, elements=FINITE), FINITE, st.floats(0.001, 0.3))
def test_bootstrap_interval_and_p_agree(draws, threshold, alpha) -> None:
    estimate = stats.Bootstrap(float(np.mean(draws)), draws, 10)
    low, high = estimate.interval(1 - alpha)
    if abs(alpha / 2 * 100 - round(alpha / 2 * 100)) > 1e-6:
        assert (low > threshold) == (estimate.p_above(threshold) <= alpha / 2)
        assert (high < threshold) == (estimate.p_below(threshold) <= alpha / 2)
