"""Intervals and p values: known answers, references, and what must hold for any numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special

from harness.claims import stats
from harness.study import BadInput

FINITE = st.floats(-1e3, 1e3, allow_subnormal=False)
SKEWED = np.random.default_rng(1).exponential(size=12)
A, B = np.random.default_rng(2).normal(size=(2, 11)) + np.array([[0.7], [0.0]])


# --- means --------------------------------------------------------------------------------------


def test_mean_by_hand() -> None:
    # 1, 2, 3: mean 2, sd 1, se 1/sqrt(3); t(0.975, 2) = 4.3027; no skewness
    for kind in (stats.centre, stats.Mean):
        estimate = kind(np.array([1.0, 2.0, 3.0]))
        low, high = estimate.interval(0.95)
        assert estimate.effect == 2.0
        assert low == pytest.approx(2 - 4.3026527 / math.sqrt(3), rel=1e-6)
        assert high == pytest.approx(2 + 4.3026527 / math.sqrt(3), rel=1e-6)
        assert estimate.p_above(2.0) == pytest.approx(0.5)


def test_mean_difference_is_the_paired_t_test() -> None:
    estimate = stats.Mean(A - B)
    wanted = scipy.stats.ttest_rel(A, B)
    assert 2 * estimate.p_above(0.0) == pytest.approx(wanted.pvalue)
    assert estimate.interval(0.95) == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_a_skewed_mean_is_corrected_on_the_side_of_the_tail() -> None:
    n, q = 12, scipy.stats.t.ppf(0.975, 11)
    a = scipy.stats.skew(SKEWED, bias=False) / math.sqrt(n)
    # Hall's cubic h(t) = t + a t²/3 + a² t³/27 + a/6, at the upper end h = -q
    roots = np.roots([a**2 / 27, a / 3, 1, a / 6 + q])
    t = float(roots[np.abs(roots.imag) < 1e-9].real[0])
    plain, wide = stats.Mean(SKEWED).interval(0.95), stats.centre(SKEWED).interval(0.95)
    assert wide[0] == pytest.approx(plain[0])  # the t interval is already the wider one there
    assert wide[1] == pytest.approx(SKEWED.mean() - t * SKEWED.std(ddof=1) / math.sqrt(n))
    assert wide[1] > plain[1]


def test_welch_is_scipys() -> None:
    estimate = stats.welch(3 * A, B[:6])
    wanted = scipy.stats.ttest_ind(3 * A, B[:6], equal_var=False)
    assert 2 * min(estimate.p_above(0.0), estimate.p_below(0.0)) == pytest.approx(wanted.pvalue)
    assert estimate.interval(0.9) == pytest.approx(tuple(wanted.confidence_interval(0.9)))
    assert estimate.n == 6


def test_interquartile_mean_is_the_trimmed_mean() -> None:
    for n in (4, 7, 12):
        wanted = scipy.stats.trim_mean(SKEWED[:n], 0.25)
        assert stats.interquartile_mean(SKEWED[:n]) == pytest.approx(wanted)
    # eight values: 1 and 2, 7 and the infinite one are cut
    assert stats.interquartile_mean(np.array([np.inf, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])) == 4.5


def test_a_tail_is_heavy_where_a_value_lies_far_out() -> None:
    values = np.arange(12.0)  # quartiles 2.75 and 8.25: fences at -13.75 and 24.75
    assert not stats.heavy_tailed(np.r_[values, 24.0])
    assert stats.heavy_tailed(np.r_[values, 60.0])
    assert stats.heavy_tailed(-np.r_[values, 60.0])
    assert not stats.heavy_tailed(np.r_[np.zeros(11), 1.0])  # most are one number: no scale
    assert not stats.heavy_tailed(np.r_[np.arange(8.0), 60.0])  # nine values tell too little
    assert not stats.heavy_tailed(np.r_[values, np.inf])  # which has no mean at all


def test_mean_ratio_is_that_of_the_logarithms() -> None:
    estimate = stats.mean_ratio(np.array([2.0, 8.0]), np.array([1.0, 1.0]))
    assert estimate.effect == pytest.approx(4.0)  # sqrt(2 * 8)
    low, high = estimate.interval(0.95)
    assert low * high == pytest.approx(16.0)  # symmetric about 4 on a logarithmic axis
    assert (estimate.p_above(0.0), estimate.p_below(-1.0)) == (0.0, 1.0)


# --- medians ------------------------------------------------------------------------------------


def test_median_by_hand() -> None:
    # ten values above 0: P(all ten above | median 0) = 2^-10
    estimate = stats.Median(np.arange(1.0, 11.0))
    assert estimate.effect == 5.5
    assert estimate.p_above(0.0) == pytest.approx(2**-10)
    assert estimate.interval(1 - 2**-9) == (1.0, 10.0)
    assert estimate.interval(0.9999) == (-math.inf, math.inf)  # ten seeds cannot say so much
    # P(X2 > median) = 11/1024 and P(X3 > median) = 56/1024; 2.5 % lies 0.3244 of the way up, and
    # Hettmansperger & Sheather put the end 8 x 0.3244 / (2 + 6 x 0.3244) = 0.6577 of the way
    assert estimate.interval(0.95) == pytest.approx((2.6577, 8.3423), abs=1e-4)


def test_median_at_an_order_statistic_is_the_sign_test() -> None:
    estimate = stats.Median(np.arange(1.0, 11.0))
    for k in range(1, 6):
        wanted = scipy.stats.binomtest(k - 1, 10, alternative="less").pvalue
        assert estimate.p_above(k) == pytest.approx(wanted)
        assert estimate.interval(1 - 2 * wanted)[0] == pytest.approx(k)


def test_median_between_finite_and_infinite_is_not_interpolated() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, np.inf, np.inf])
    low, high = stats.Median(values).interval(0.95)
    assert low == pytest.approx(2.6577, abs=1e-4)
    assert high == math.inf


def test_ratio_where_a_miss_is_infinity() -> None:
    a, b = np.array([1.0, np.inf, 3.0, np.inf]), np.array([2.0, 4.0, np.inf, np.inf])
    assert stats.median_ratio(a, b).values.tolist() == [0.5, np.inf, 0.0, 1.0]


# --- resampling ---------------------------------------------------------------------------------


def test_normal_draws_give_back_students_interval() -> None:
    """Bootstrap means of n normal values are normal with the uncorrected standard deviation."""
    n, error = 8, 0.3
    grid = special.ndtri(np.arange(1, 100_000) / 100_000)
    estimate = stats.Bootstrap(2.0, 2.0 + error * math.sqrt((n - 1) / n) * grid, n)
    half = scipy.stats.t.ppf(0.975, n - 1) * error
    assert estimate.interval(0.95) == pytest.approx((2 - half, 2 + half), rel=1e-3)
    assert estimate.p_above(2 - half) == pytest.approx(0.025, rel=1e-2)


def test_the_tail_goes_on_past_the_outermost_draw() -> None:
    n, few = 30, special.ndtri(np.arange(1, 100) / 100)
    many = special.ndtri(np.arange(1, 1_000_000) / 1_000_000)
    low = stats.Bootstrap(0.0, few, n).interval(0.9999)[0]
    assert low == pytest.approx(stats.Bootstrap(0.0, many, n).interval(0.9999)[0], rel=0.05)
    assert stats.Bootstrap(0.0, few, n).p_above(-20.0) == 0.5**n  # never under 2^-n


def test_draws_that_are_missing_or_infinite_decide_nothing() -> None:
    draws = np.linspace(1.0, 2.0, 99)
    draws[:10] = np.nan
    assert stats.Bootstrap(1.5, draws, 20).interval(0.95) == (-math.inf, math.inf)
    assert stats.Bootstrap(1.5, draws, 20).p_above(0.0) > 0.1
    draws[:10] = np.inf
    low, high = stats.Bootstrap(1.5, draws, 20).interval(0.95)
    assert low > 1.0
    assert high == math.inf


# --- chances of being better -------------------------------------------------------------------------------


def test_improvement_by_hand_and_by_the_rank_test() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])
    # of nine pairs a is higher in one, equal in two
    assert stats.probability_of_improvement(a, b).effect == pytest.approx(2 / 9)
    wanted = scipy.stats.mannwhitneyu(A, B, use_continuity=False, method="asymptotic")
    found = stats.probability_of_improvement(A, B)
    assert 2 * found.p_above(0.5) == pytest.approx(wanted.pvalue)


def test_improvement_stays_in_bounds_where_all_are_better() -> None:
    found = stats.probability_of_improvement(np.arange(10.0) + 10, np.arange(10.0))
    low, high = found.interval(0.95)
    assert (found.effect, high) == (1.0, 1.0)
    assert 0.5 < low < 1.0
    assert found.p_above(low) == pytest.approx(0.025)


# --- ranks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_scipys_or_iman_and_davenports(ties: bool) -> None:
    scores = np.random.default_rng(4).normal(size=(9, 4)) + np.array([0.0, 0.2, 0.4, 0.9])
    scores = scores.round() if ties else scores
    found = stats.friedman(scores)
    chi = scipy.stats.friedmanchisquare(*scores.T)
    f = 8 * chi.statistic / (9 * 3 - chi.statistic)
    assert found.statistic == pytest.approx(chi.statistic)
    assert found.p == pytest.approx(max(chi.pvalue, scipy.stats.f.sf(f, 3, 24)))
    assert np.argmin(found.mean_ranks) == 3  # rank 1 is best, and high is better
    assert stats.friedman(-scores, better="low").mean_ranks == pytest.approx(found.mean_ranks)


def test_friedman_at_its_ends() -> None:
    found = stats.friedman(np.tile([3.0, 1.0, 2.0], (4, 1)))
    assert found.mean_ranks.tolist() == [1.0, 3.0, 2.0]
    assert found.statistic == pytest.approx(4 * 2)  # its largest value, tasks x (arms - 1)
    assert found.p == pytest.approx(scipy.stats.chi2.sf(8, 2))
    assert stats.friedman(np.ones((4, 3))).p == 1.0


@pytest.mark.parametrize(
    ("arms", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_nemenyi_is_demsars_table(arms: int, q: float) -> None:
    wanted = q * math.sqrt(arms * (arms + 1) / (6 * 14))
    assert stats.nemenyi(arms, 14) == pytest.approx(wanted, rel=5e-4)


def test_groups_are_the_bars_of_a_critical_difference_diagram() -> None:
    ranking = stats.Ranking(np.array([2.0, 1.0, 3.5, 3.0, 6.0]), 0.0, 1.0, 1.2, 0.05, 10)
    assert ranking.groups() == [(1, 0), (0, 3), (3, 2)]


def test_rank_correlations() -> None:
    x, y = np.random.default_rng(6).normal(size=(2, 20))
    y = y + x
    found = stats.spearman(x, y)
    r = scipy.stats.spearmanr(x, y).statistic
    half = 1.959964 * math.sqrt((1 + r**2 / 2) / 17)
    assert found.effect == pytest.approx(r)
    wanted = (math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))
    assert found.interval(0.95) == pytest.approx(wanted)
    perfect = stats.spearman(x, np.exp(x))
    low, high = perfect.interval(0.95)
    assert 0.9 < low < high <= 1.0


# --- profiles -----------------------------------------------------------------------------------


def test_performance_profile_by_hand() -> None:
    # ratios to the best of each problem: 1, 2, never | 3, 1, 1
    costs = np.array([[1.0, 3.0], [4.0, 2.0], [np.inf, 5.0]])
    found = stats.performance_profile(costs)
    assert found.ratios.tolist() == [1.0, 2.0, 3.0]
    assert found.solved == pytest.approx(np.array([[1 / 3, 2 / 3, 2 / 3], [2 / 3, 2 / 3, 1.0]]))
    never = stats.performance_profile(np.full((3, 2), np.inf))
    assert (never.ratios.tolist(), never.solved.tolist()) == ([1.0], [[0.0], [0.0]])
    # Kolmogorov's D of 20 values is over 0.294 in 5 % of samples (Massey 1951)
    assert stats.performance_profile(np.ones((20, 2))).band == pytest.approx(0.294, abs=5e-4)


COSTS = arrays(
    float, st.tuples(st.integers(1, 8), st.integers(1, 4)),
    elements=st.sampled_from([0.5, 1.0, 3.0, 70.0, np.inf]),
)  # fmt: skip


@given(COSTS, st.floats(0.1, 10), st.randoms(use_true_random=False))
def test_profiles_rise_and_have_no_unit(costs, scale, random) -> None:
    found = stats.performance_profile(costs)
    assert (np.diff(found.solved, axis=1) >= 0).all()
    assert found.solved[:, -1] == pytest.approx(np.isfinite(costs).mean(axis=0))
    # on each problem that anyone solved, someone is the best
    assert found.solved[:, 0].sum() >= np.isfinite(costs).any(axis=1).mean() - 1e-9
    other = costs[random.sample(range(len(costs)), len(costs))]
    again = stats.performance_profile(2 ** round(scale) * other)  # a power of two rounds nothing
    assert again.solved == pytest.approx(found.solved)


# --- many tests, many looks ---------------------------------------------------------------------


def test_spending_by_hand() -> None:
    assert stats.spend(np.array([5, 10, 20]), 0.04) == pytest.approx([0.01, 0.01, 0.02])
    assert stats.spend(np.array([8]), 0.05).tolist() == [0.05]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.floats(0.001, 0.2))
def test_looks_spend_the_level_and_no_more(rounds: list[int], level: float) -> None:
    spent = stats.spend(np.cumsum(rounds), level)
    assert spent.sum() == pytest.approx(level)
    assert (spent > 0).all()


# --- what must hold for any numbers -------------------------------------------------------------

ONE: dict[str, Callable[[np.ndarray], stats.Estimate]] = {
    "centre": stats.centre,
    "Mean": stats.Mean,
    "Median": stats.Median,
}
TWO: dict[str, Callable[[np.ndarray, np.ndarray], stats.Estimate]] = {
    "mean_ratio": lambda a, b: stats.mean_ratio(np.exp(a / 100), np.exp(b / 100)),
    "welch": stats.welch,
    "probability_of_improvement": stats.probability_of_improvement,
    "spearman": stats.spearman,
}
SAMPLES = arrays(float, st.integers(5, 11), elements=FINITE, unique=True)
PAIRS = st.integers(5, 11).flatmap(
    lambda n: arrays(float, (2, n), elements=st.integers(-999, 999).map(float), unique=True)
)
LEVELS = st.floats(0.8, 0.999)


def agree(estimate: stats.Estimate, threshold: float, level: float) -> None:
    """The interval excludes a threshold exactly when that side's p is at most half of 1 - level."""
    low, high = estimate.interval(level)
    assert low <= high
    for end, beyond, p in (
        (low, low > threshold, estimate.p_above(threshold)),
        (high, high < threshold, estimate.p_below(threshold)),
    ):
        assert 0.0 <= p <= 1.0
        if abs(end - threshold) > 1e-7 * (1 + abs(threshold)) and abs(p - (1 - level) / 2) > 1e-9:
            assert beyond == (p <= (1 - level) / 2)


@pytest.mark.parametrize("name", ONE)
@given(values=SAMPLES, threshold=FINITE, level=LEVELS)
def test_interval_and_p_agree(name: str, values, threshold, level) -> None:
    assume(np.ptp(values) > 1e-3)
    estimate = ONE[name](values)
    agree(estimate, threshold, level)
    for end in estimate.interval(level):  # where it is hardest
        if np.isfinite(end):
            for nudge in (-1e-3, 1e-3):
                agree(estimate, end + nudge * np.ptp(values), level)


@pytest.mark.parametrize("name", TWO)
@given(pair=PAIRS, threshold=st.floats(-2, 2), level=LEVELS)
def test_interval_and_p_of_pairs_agree(name: str, pair, threshold, level) -> None:
    estimate = TWO[name](*pair)
    agree(estimate, threshold, level)
    for end in estimate.interval(level):
        if np.isfinite(end):
            agree(estimate, end - 1e-3, level)
            agree(estimate, end + 1e-3, level)


@given(
    draws=arrays(float, 99, elements=FINITE),
    threshold=FINITE,
    level=LEVELS,
    n=st.integers(2, 40),
)
def test_bootstrap_interval_and_p_agree(draws, threshold, level, n) -> None:
    assume(np.ptp(draws) == 0 or np.ptp(draws) > 1e-3)
    agree(stats.Bootstrap(float(draws.mean()), draws, n), threshold, level)


@given(values=arrays(float, st.integers(1, 15), elements=st.sampled_from([-np.inf, 0.0, 1.0, 2.0, np.inf])),
       threshold=st.sampled_from([-0.5, 0.0, 0.5, 1.0, 1.7, 3.0]), level=LEVELS)  # fmt: skip
def test_medians_of_ties_and_infinities_agree(values, threshold, level) -> None:
    agree(stats.Median(values), threshold, level)


def close(found: tuple[float, float], wanted: tuple[float, float], scale: float = 1.0) -> None:
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6 * scale)


@pytest.mark.parametrize("name", ONE)
@given(values=SAMPLES, shift=FINITE, scale=st.floats(0.1, 10), level=LEVELS)
def test_estimates_move_with_their_data(name: str, values, shift, scale, level) -> None:
    assume(np.ptp(values) > 1e-2)
    kind = ONE[name]
    low, high = kind(values).interval(level)
    size = scale * np.abs(values).max() + abs(shift)
    close(
        kind(scale * values + shift).interval(level),
        (scale * low + shift, scale * high + shift),
        size,
    )
    close(kind(-values).interval(level), (-high, -low), size)
    close(kind(np.random.default_rng(1).permutation(values)).interval(level), (low, high), size)


# what swapping the two does to an effect, and to the ends of its interval
SWAPPED = dict.fromkeys(TWO, lambda x: -x) | {
    "mean_ratio": lambda x: 1 / x, "probability_of_improvement": lambda x: 1 - x,
    "spearman": lambda x: x,
}  # fmt: skip


@pytest.mark.parametrize("name", TWO)
@given(pair=PAIRS, level=LEVELS)
def test_swapping_arms_mirrors_and_order_of_seeds_is_nothing(name: str, pair, level) -> None:
    a, b = pair
    kind, mirror = TWO[name], SWAPPED[name]
    found = kind(a, b)
    ends = found.interval(level)
    swapped = kind(b, a)
    assert swapped.effect == pytest.approx(mirror(found.effect))
    close(swapped.interval(level), tuple(sorted(map(mirror, ends))), 1e3)
    order = np.random.default_rng(1).permutation(a.size)
    close(kind(a[order], b[order]).interval(level), ends, 1e3)


@pytest.mark.parametrize("name", ["probability_of_improvement", "spearman"])
@given(pair=PAIRS, scale=st.floats(0.1, 10))
def test_effects_without_unit_do_not_depend_on_it(name: str, pair, scale) -> None:
    kind = TWO[name]
    close(kind(*(scale * pair)).interval(0.95), kind(*pair).interval(0.95))


@given(SAMPLES)
def test_the_widest_holds_all_others(values) -> None:
    plain, allowing = stats.Mean(values).interval(0.95), stats.centre(values).interval(0.95)
    assert allowing[0] <= plain[0] + 1e-9 and allowing[1] >= plain[1] - 1e-9


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.array([1.0, np.nan])])
def test_shapes_and_nan_are_refused(bad) -> None:
    for kind in (stats.centre, stats.interquartile_mean, stats.heavy_tailed):
        with pytest.raises(BadInput, match=r"seeds|NaN"):
            kind(bad)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: stats.welch(np.zeros(1), np.zeros(3)), "a has 1 trials; allowed: at least 2"),
        (lambda: stats.interquartile_mean(np.zeros(3)), "3 seeds; allowed: at least 4"),
        (lambda: stats.mean_ratio(np.array([1.0, 0.0]), np.ones(2)), r"\[0.0, 1.0\]"),
        (lambda: stats.median_ratio(np.array([1.0, -1.0]), np.ones(2)), "minimum of -1.0"),
        (lambda: stats.spearman(np.ones(6), np.arange(6.0)), "a is 1.0 throughout"),
        (lambda: stats.spearman(np.ones(6), np.arange(5.0)), "a has 6 pairs and b has 5"),
        (lambda: stats.friedman(np.zeros(4)), r"scores has shape \(4,\); allowed: \(tasks, arms\)"),
        (lambda: stats.friedman(np.zeros((1, 4))), "1 tasks; allowed: at least 2"),
        (lambda: stats.friedman(np.zeros((4, 4)), better="best"), "'best'; allowed: 'high', 'low'"),
        (lambda: stats.performance_profile(np.zeros((2, 2))), "minimum of 0.0; allowed: positive"),
        (lambda: stats.spend(np.array([10, 5])), r"\[10.0, 5.0\]; allowed: positive and rising"),
        (lambda: stats.spend(np.array([10]), 5.0), "level is 5.0"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(call, says) -> None:
    with pytest.raises(BadInput, match=says):
        call()


def test_a_bar_says_what_it_shows() -> None:
    shown = stats.interval_for_display(np.array([1.0, 2.0, 3.0, np.nan]))
    centre, low, high = shown
    assert (centre, shown.estimator) == (2.0, "mean and t interval, corrected for skewness")
    assert (low, high) == pytest.approx(stats.Mean(np.array([1.0, 2.0, 3.0])).interval(0.95))
    shown = stats.interval_for_display(np.array([1.0, 2.0, np.inf]))
    assert (shown[0], shown.estimator) == (2.0, "median and order-statistic interval")
    shown = stats.interval_for_display(np.array([0.1, 0.1, 0.1]))
    assert (shown[1] - shown[2], shown.estimator) == (0.0, "one value throughout")
    assert stats.interval_for_display(np.array([4.0])).estimator == "one value"
    assert stats.interval_for_display(np.array([np.nan])).estimator == "no value"


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 3.0, math.inf]), min_size=2, max_size=12))
def test_error_bars_and_verdicts_come_from_one_estimate(values: list[float]) -> None:
    shown = stats.interval_for_display(np.array(values))
    same = stats.centre(np.array(values))
    assert shown[0] == same.effect
    if not stats.all_same(np.array(values)):
        assert shown[1:] == same.interval(0.95)


def test_error_bars_of_one_skewed_arm_are_skewed() -> None:
    values = np.array([0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.5, 3.0])
    assert stats.interval_for_display(values)[1:] == stats.centre(values).interval(0.95)
    plain = stats.Mean(values).interval(0.95)
    assert stats.interval_for_display(values)[2] > plain[1]


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_bands_are_the_bars_of_each_row(seed: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    table = generator.choice([1.0, 1.5, 2.0, 40.0, np.inf, np.nan], (6, n), p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])  # fmt: skip
    bars = np.array([stats.interval_for_display(row) for row in table])
    np.testing.assert_allclose(stats.intervals_for_display(table), bars, rtol=1e-9, atol=1e-12)


EQUAL: dict[str, Callable[[int], stats.Estimate]] = {
    "Mean": lambda n: stats.Mean(np.full(n, 0.1)),
    "LevelMean": lambda n: stats.centre(np.full(n, 0.1)),
    "Welch": lambda n: stats.welch(np.full(n, 0.3), np.full(n + 2, 0.2)),
    "nearly": lambda n: stats.centre(np.float32(0.1) + np.float64(1e-9) * np.arange(n)),
}


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("n", [5, 6, 20])
def test_equal_values_make_nothing_certain_and_still_decide(name: str, n: int) -> None:
    """The p of n equal values is that of one further value at the threshold itself, at its least."""
    found = EQUAL[name](n)
    for threshold in (-5.0, 0.0, 0.0999):
        assert found.p_above(threshold) == found.p_above(0.0) > 0.0
        assert found.p_below(threshold) == 1.0
    assert found.p_below(0.2) == found.p_above(0.0) <= 0.0021
    assert found.p_above(found.effect) == found.p_below(found.effect) == 1.0
    if name in ("Mean", "LevelMean"):
        one_more = stats.Mean(np.array([0.0] + [0.1] * n))  # against the threshold 0
        assert found.p_above(0.0) == pytest.approx(one_more.p_above(0.0))
    for level in (0.5, 0.95, 0.99, 0.999, 1 - 1e-15):  # the interval says what p says
        low, high = found.interval(level)
        for threshold in (0.0, 0.0999, 0.1001, 0.2):
            assert (low > threshold) == (found.p_above(threshold) <= (1 - level) / 2)
            assert (high < threshold) == (found.p_below(threshold) <= (1 - level) / 2)


def test_a_mean_of_infinite_values_has_no_bound_on_their_side() -> None:
    values = np.linspace(0.0, 0.19, 20)
    found = stats.centre(np.r_[values[:15], [np.inf] * 5])
    assert isinstance(found, stats.Unbounded)
    assert found.effect == stats.Median(found.of.values).effect  # type: ignore[attr-defined]
    assert found.p_below(1e9) == 1.0 and found.interval(0.95)[1] == math.inf
    assert found.p_above(-1.0) < 1e-5 and found.interval(0.95)[0] > 0.0
    # differences: the side with more infinite ones is open; a band's are both, where none has more
    even = np.r_[values[:14], [np.inf] * 3, [-np.inf] * 3]
    assert np.isfinite(stats.centre(even).interval(0.95)).all()
    assert stats.centre(even, both=True).interval(0.95) == (-math.inf, math.inf)
    less = stats.centre(np.r_[values[:16], [np.inf], [-np.inf] * 3], both=True)
    assert less.interval(0.95)[0] == -math.inf and less.interval(0.95)[1] < 0.2


def test_every_public_name_is_there() -> None:
    assert all(hasattr(stats, name) for name in stats.__all__)
    assert len(set(stats.__all__)) == len(stats.__all__)
    assert list(itertools.islice(stats.__all__, 3)) == sorted(stats.__all__)[:3]
