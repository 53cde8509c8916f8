"""Draws: one Sobol sequence for a study, of which every arm takes its columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.plan.draws import COLUMNS, Search, value_at
from harness.plan.plan import Plan
from harness.study import Choice, Float, Int, catalog

LR, MOMENTUM = Float(1e-3, 1.0, log=True), Float(0.5, 0.99)


def draws(space: dict[str, Any], count: int = 16, sampler: Any = "qmc", **more: Any) -> list[dict]:
    return Search(space, count, sampler, **more).ask()


@pytest.mark.parametrize("sampler", ["qmc", "random"])
def test_arms_share_draws_whatever_else_they_draw(sampler: Any) -> None:
    names = ["lr", "momentum", "a", "decay"]
    plain = draws({"lr": LR}, sampler=sampler, names=names)
    more = draws({"a": Float(0, 1), "lr": LR, "momentum": MOMENTUM}, sampler=sampler, names=names)
    held = draws({"momentum": MOMENTUM}, sampler=sampler, names=names)
    assert [one["lr"] for one in plain] == [one["lr"] for one in more]
    assert [one["momentum"] for one in held] == [one["momentum"] for one in more]
    # an arm that comes later, with a name of its own, changes no draw of those before
    later = draws({"lr": LR}, sampler=sampler, names=[*names, *map(str, range(COLUMNS - 4))])
    assert later == plain


def test_momentum_and_plain_descent_have_the_same_rates() -> None:
    source = catalog.find("optimizers")
    study = catalog.load(source)
    tune = [t for t in Plan(study, source, "smoke").ready() if t.cell == {"task": "digits"}]
    rates = {arm: [t["lr"] for t in tune if t.arm == arm] for arm in ("gd", "momentum", "nesterov")}
    assert set(study.space("momentum")) > set(study.space("gd"))
    assert rates["gd"] == rates["momentum"] == rates["nesterov"]
    assert len(set(rates["gd"])) == len(rates["gd"]) > 1


def test_all_points_are_of_one_sobol_sequence_the_first_too() -> None:
    """Of 2**k points of a scrambled sequence one lies in each of 2**k equal parts, along every name;
    independent points hardly ever do so."""
    space = {name: Float(0, 1) for name in "abcde"}
    for count in (2, 8, 64):
        found = draws(space, count)
        for name in space:
            cells = sorted(int(one[name] * count) for one in found)
            assert cells == list(range(count))
    of_random = [int(one["a"] * 64) for one in draws(space, 64, "random")]
    assert sorted(of_random) != list(range(64))
    pairs = draws(space, 64)  # and in two dimensions, in each of 8 x 8 squares
    squares = {(int(8 * one["a"]), int(8 * one["b"])) for one in pairs}
    assert len(squares) >= 48


@given(st.floats(0, 1, exclude_max=True))
def test_values_lie_in_their_distribution(u: float) -> None:
    for one in (LR, MOMENTUM, Int(1, 64, log=True), Int(2, 9), Int(2, 10, step=4), Float(0, 1, step=0.25),
                Float(2.0, 2.0), Choice(["a", None, 3])):  # fmt: skip
        value = value_at(one, u)
        assert one._contains(one.to_internal_repr(value))
        assert type(value) in (float, int, str, type(None))
        assert isinstance(value, float) is isinstance(one, Float)


def test_shares_of_values_are_those_of_the_distribution() -> None:
    u = (np.arange(3600) + 0.5) / 3600
    counts = np.unique([value_at(Int(2, 10, step=4), one) for one in u], return_counts=True)
    assert counts[0].tolist() == [2, 6, 10]
    assert counts[1].tolist() == [1200] * 3
    assert [value_at(Choice(["a", None, 3]), one) for one in (0.1, 0.5, 0.9)] == ["a", None, 3]
    rates = np.log10([value_at(LR, one) for one in u])
    assert stats.kstest(rates, "uniform", (-3, 3)).statistic < 1e-3
    whole = [value_at(Int(1, 4, log=True), one) for one in u]
    wanted = [math.log((n + 0.5) / (n - 0.5)) / math.log(9) for n in range(1, 5)]
    assert np.unique(whole, return_counts=True)[1] / 3600 == pytest.approx(wanted, abs=1e-3)
    assert [value_at(Float(0, 1, step=0.25), one) for one in (0.0, 0.3, 0.99)] == [0, 0.25, 1]
