"""What seeds can decide: against the noncentral t, by hand, and through the checks themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import nct, norm
from scipy.stats import t as student

from harness import Budget, Claim, Family, Float, Metric, Study
from harness.claims import (
    above,
    best_draws_higher,
    equivalent,
    every,
    higher,
    power,
    rank_correlation_above,
    ratio_below,
    rows_for,
    slower,
    statistic,
    stats,
)
from harness.claims.draws import planted_draws
from harness.claims.stats import sampling

SEEDS = 400
NORMAL = norm.ppf((np.arange(SEEDS) + 0.5) / SEEDS)  # as a normal sample would be, without luck


def study(*checks: Any, budget: Budget | None = None, **more: Any) -> Study:
    given: dict[str, Any] = {
        "metrics": {
            "acc": Metric("fraction", better="high", worst=0.0),
            "loss": Metric("nats", better="low"),
        },
        "budgets": {"smoke": budget or Budget(0, 20)},
    }
    return Study(
        question="Which?",
        trial=lambda t: None,
        arms={"a": {}, "b": {}},
        sources={"[1]": "Deck"},
        claims={f"c{i}": Claim(f"Claim {i}.", "[1]", check) for i, check in enumerate(checks)},
        **given | more,
    )


def rows(one: Study, metric: str = "acc", **arms: Any) -> pd.DataFrame:
    return pd.concat([rows_for(one, metric, arm, column) for arm, column in arms.items()])


def of(one: Study, frame: pd.DataFrame, **more: Any) -> power.Forecast:
    (found,) = power.forecast(one, frame, "smoke", **more)
    assert not found.why
    return found


def noncentral(distance: float, n: int, level: float) -> float:
    """How often Student's t of n values of deviation 1 finds a mean so far off, on its side."""
    return float(nct.sf(student.isf(level / 2, n - 1), n - 1, distance * np.sqrt(n)))


@pytest.mark.parametrize("seeds", [6, 20, 80])
@pytest.mark.parametrize("claims", [1, 10])
def test_a_difference_is_forecast_as_the_noncentral_t_has_it(seeds: int, claims: int) -> None:
    check = higher("acc", arm="a", than="b", by=0.5)
    one = study(*[check] * claims, budget=Budget(0, seeds))
    frame = rows(one, a=0.7 + NORMAL, b=np.zeros(SEEDS))
    found = power.forecast(one, frame, "smoke")[0]
    assert (found.level, found.planned, found.unit) == (0.05 / claims, seeds, "seeds")
    assert found.truth == pytest.approx(0.7)
    for end in (found.high, 1.0 - found.low):  # as far from the margin on either side
        assert noncentral(end - 0.5, seeds, found.level) == pytest.approx(0.8, abs=0.06)
    assert found.power == pytest.approx(noncentral(0.2, seeds, found.level), abs=0.06)
    assert found.needed is not None
    assert noncentral(0.2, found.needed, found.level) == pytest.approx(0.8, abs=0.06)


def test_the_seen_effect_of_a_claim_at_its_margin_is_never_decided() -> None:
    one = study(higher("acc", arm="a", than="b", by=0.5))
    found = of(one, rows(one, a=0.5 + np.array([-1.0, 1.0] * 10), b=np.zeros(20)))
    assert (found.truth, found.power, found.needed) == (0.5, 0.0, None)
    assert found.low < 0.5 < found.high


def test_effects_of_another_scale_are_not_reckoned_with() -> None:
    one = study(higher("acc", arm="a", than="b", by=0.5), above("acc", 0.5, arm="a"))
    frame = rows(one, a=0.7 + NORMAL, b=np.zeros(SEEDS))
    differ, level = power.forecast(one, frame, "smoke", seen=False)
    assert differ.truth == 0.0  # arms alike: half a deviation from the margin
    assert noncentral(0.5, differ.needed or 0, 0.025) == pytest.approx(0.8, abs=0.06)
    assert np.isnan(level.truth) and level.needed is None  # of one arm, nothing is alike
    assert level.low < 0.5 < level.high


def test_a_band_is_harder_to_keep_than_to_leave() -> None:
    one = study(equivalent("acc", arm="a", to="b", within=1.0))
    frame = rows(one, a=0.1 + NORMAL, b=np.zeros(SEEDS))
    found = of(one, frame)
    assert 0.0 < found.low < 1.0 < found.high
    assert found.power > 0.8
    narrow = study(equivalent("acc", arm="a", to="b", within=0.2))
    tight = of(narrow, frame)
    assert np.isnan(tight.low) and tight.high > 0.2
    assert tight.power == 0.0 and (tight.needed or 0) > 100


def test_a_ratio_is_forecast_in_proportion() -> None:
    one = study(ratio_below("loss", 0.5, arm="a", than="b"))
    ratios = np.exp(0.3 * NORMAL)
    frame = rows(one, "loss", a=0.4 * ratios, b=np.ones(SEEDS))
    found = of(one, frame)
    assert found.truth == pytest.approx(0.4, rel=0.01)
    assert found.low * found.high == pytest.approx(0.25, rel=0.05)  # 0.5 times and over a factor
    never = np.where(np.arange(SEEDS) % 4 == 0, np.inf, 0.4 * ratios)
    worse = of(one, rows(one, "loss", a=never, b=np.ones(SEEDS)))
    assert worse.power < found.power and worse.low < found.low


def test_some_that_diverge_cost_power() -> None:
    one = study(higher("loss", arm="a", than="b", by=0.0))
    frame = rows(one, "loss", a=1 + NORMAL, b=np.zeros(SEEDS))
    some = frame.assign(status=np.where(frame["seed"] % 8 == 0, "diverged", "finished"))
    some.loc[some["arm"] == "b", "status"] = "finished"
    assert of(one, some).power <= of(one, frame).power
    below = study(above("loss", 0.5, arm="a"))
    half = frame.assign(status=np.where(frame["seed"] % 8 < 5, "diverged", "finished"))
    (none,) = power.forecast(below, half, "smoke")
    assert "half of the values" in none.why and none.needed is None


def test_of_several_checks_the_weakest_is_shown_and_all_must_hold() -> None:
    easy, hard = above("acc", 0.0, arm="a"), above("acc", 0.5, arm="b")
    both = study(every(easy, hard))
    frame = rows(both, a=2 + NORMAL, b=1.1 + NORMAL)
    found, alone = of(both, frame), of(study(hard), frame)
    assert found.weakest == (1,) and found.margin == 0.5
    assert found.power <= alone.power
    assert found.high == alone.high
    assert found.low < alone.low  # against the claim, one of two at half of the level
    nested = of(study(every(easy, every(easy, hard))), frame)
    assert nested.weakest == (1, 1) and nested.low < found.low


def test_checks_of_the_search_count_draws() -> None:
    one = study(
        best_draws_higher("acc", arm="a", than="b", by=0.0),
        rank_correlation_above("acc", 0.3, column="lr", arm="a"),
        budget=Budget(100, 0),
        nuisance={"lr": Float(0.0, 1.0)},
        select=("acc",),
        sampler="random",
    )
    g = np.random.default_rng(0)
    lr = g.random(100)
    frame = pd.concat(
        [
            planted_draws(one, arm, {}, {"lr": lr, "acc": shift + lr + g.normal(size=100) / 3})
            for arm, shift in (("a", 0.0), ("b", 0.02))
        ]
    )
    best, rank = power.forecast(one, frame, "smoke")
    assert (best.unit, best.planned, rank.planned) == ("draws", 100, 100)
    assert best.low < 0 < best.high and best.power < 0.5
    assert best.needed is None or best.needed > 100
    assert rank.low < 0.3 < rank.high < 1 and rank.truth > 0.5
    z = (np.arctanh(rank.truth) - np.arctanh(0.3)) / np.sqrt((1 + rank.truth**2 / 2) / 97)
    assert rank.power == pytest.approx(norm.cdf(z - norm.isf(0.0125)), abs=0.02)


def test_a_function_of_seeds_is_forecast_from_its_resamples() -> None:
    def gap(table: pd.DataFrame) -> float:
        return float(table["a"].mean() - table["b"].mean())

    common: Any = {"metric": "acc", "unit": "points", "words": "gap", "example": lambda *_: None}
    one = study(statistic(gap, 0.0, **common), statistic(gap, 0.0, each=True, **common))
    frame = rows(one, a=0.4 + NORMAL, b=np.zeros(SEEDS))
    whole, each = power.forecast(one, frame, "smoke")
    assert whole.high == pytest.approx(each.high, rel=0.15)
    assert whole.power == pytest.approx(each.power, abs=0.1)


def test_few_seeds_give_a_rough_forecast_and_none_gives_none() -> None:
    one = study(higher("acc", arm="a", than="b", by=0.5))
    found = of(one, rows(one, a=[0.0, 2.0], b=[0.0, 0.0]), seen=False)
    # two values 2 apart have the deviation sqrt(2), and are drawn as though it were known
    assert 0.5 < found.high - 0.5 < 2.5
    (none,) = power.forecast(one, rows(one, a=[1.0], b=[0.0]), "smoke")
    assert "1 seeds" in none.why
    (empty,) = power.forecast(one, rows(one, b=[0.0]), "smoke")
    assert "no confirm trials of a" in empty.why
    short = study(higher("acc", arm="a", than="b"), budget=Budget(0, 4))
    (few,) = power.forecast(short, rows(one, a=NORMAL, b=NORMAL), "smoke")
    assert few.why == "4 seeds; at least 5 are needed"


def test_a_cell_that_the_scale_leaves_out_has_no_seeds() -> None:
    check = above("acc", 0.5, arm="a", task="v")
    one = study(check, vary={"task": ("u", "v")}, budget=Budget(0, 20, task=("u",)))
    frame = rows_for(one, "acc", "a", 1 + NORMAL, task="v")
    (found,) = power.forecast(one, frame, "smoke")
    assert found.why == "0 seeds; at least 5 are needed"


def test_what_rests_on_times_is_not_forecast() -> None:
    one = study(
        slower(2.0, of="lr", arms=("a", "b")), budget=Budget(30, 0),
        nuisance={"lr": Float(0.1, 1.0)}, select=("acc",),
    )  # fmt: skip
    (found,) = power.forecast(one, rows(one, a=NORMAL), "smoke")
    assert "times" in found.why


def test_levels_are_those_of_the_family_and_of_the_last_look() -> None:
    one = study(*[above("acc", 0.5, arm="a")] * 4, budget=Budget(0, 5, 20))
    frame = rows(one, a=1 + NORMAL)
    assert [f.level for f in power.forecast(one, frame, "smoke")] == [0.025 / 4] * 4
    assert power.forecast(one, frame, "smoke")[0].planned == 20
    gate = {"primary": Family(1.0, "sequence")}
    row = study(*[above("acc", 0.5, arm="a")] * 4, families=gate)
    assert [f.level for f in power.forecast(row, frame, "smoke")] == [0.05] * 4


# --- intervals of many samples at once -----------------------------------------------------------

FINITE = st.integers(-50, 50).map(lambda x: x / 7)
ROWS = st.tuples(st.integers(1, 4), st.integers(3, 12))


@settings(deadline=None)
@given(ROWS.flatmap(lambda shape: arrays(float, shape, elements=FINITE)), st.floats(0.001, 0.3))
def test_intervals_of_rows_are_those_of_the_estimates(rows: Any, level: float) -> None:
    for skewed, kind in ((False, stats.Mean), (True, stats.LevelMean)):
        low, high = sampling.mean_intervals(rows, level, skewed)
        wanted = np.array([kind(row).interval(1 - level) for row in rows])
        assert low == pytest.approx(wanted[:, 0], rel=1e-5, abs=1e-5)
        assert high == pytest.approx(wanted[:, 1], rel=1e-5, abs=1e-5)


MIXED = st.sampled_from([-np.inf, np.inf]) | FINITE


@settings(deadline=None)
@given(
    arrays(float, st.integers(5, 9), elements=MIXED), st.booleans(), st.sampled_from([0.05, 0.2])
)
def test_samples_with_infinite_values_are_judged_as_checks_do(
    values: Any, both: bool, level: float
) -> None:
    if not np.isinf(values).any() or not np.isfinite(stats.Median(values).effect):
        return
    found = sampling.of_centre(values, both=both)
    low, high = found.ends(8, level)
    for i, places in enumerate(sampling.drawn(8, values.size)[:25]):
        one = stats.centre(values[places], both=both).interval(1 - level)
        assert (low[i] + found.effect, high[i] + found.effect) == pytest.approx(one, abs=1e-4)


@given(arrays(float, st.integers(5, 9), elements=st.sampled_from([0.0, 0.5, 1.0, 3.0, np.inf])))
def test_samples_of_ratios_are_judged_as_checks_do(values: Any) -> None:
    effect = stats.Median(values).effect
    if not 0 < effect < np.inf:
        return
    low, high = sampling.of_ratio(values).ends(8, 0.2)
    for i, places in enumerate(sampling.drawn(8, values.size)[:25]):
        row = values[places]
        one = stats.Unbounded(stats.Median(row), int((row == 0).sum()), int(np.isinf(row).sum()))
        wanted = np.maximum(one.interval(0.8), 0.0)
        assert effect * np.exp([low[i], high[i]]) == pytest.approx(wanted)
