"""Winning draws at an end of what was drawn: found wherever there are any, nowhere else, and said so."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.claims import above, every, judge
from harness.ledger.results import Results
from harness.report import methods, page, tables
from harness.report.ends import End, ends, of_claim, told
from harness.study import Arm, Claim
from tests import synthetic

CHOSEN = "highest of 3 drawn from 0.0001 to 3 (log)"


def won(results: Results, arm: str, task: str, **values: float) -> Results:
    """The same where an arm's winner in a cell has these settings."""
    trials = results.trials.copy()
    rows = (trials["phase"] == "confirm") & (trials["arm"] == arm) & (trials["task"] == task)
    for name, value in values.items():
        trials.loc[rows, name] = value
    return dataclasses.replace(results, trials=trials)


def drawn(results: Results, arm: str, task: str, name: str = "lr") -> list[float]:
    """What was drawn for an arm in a cell, in order."""
    some = results.trials.query("phase == 'tune' and arm == @arm and task == @task")
    return sorted(some[name])


@pytest.fixture(scope="module")
def planted() -> Results:
    """Adam's highest rate has won on digits, AdaGrad's lowest momentum in the valley."""
    results, _ = synthetic.small()
    results = won(results, "adam", "digits", lr=drawn(results, "adam", "digits")[-1])
    least = drawn(results, "adagrad", "valley", "momentum")[0]
    return won(results, "adagrad", "valley", momentum=least)


def test_what_lies_at_an_end_is_found_and_nothing_else(planted: Results) -> None:
    results, _ = synthetic.small()
    assert ends(results).found == []
    found, among = ends(planted)
    rate = drawn(planted, "adam", "digits")[-1]
    least = drawn(planted, "adagrad", "valley", "momentum")[0]
    assert found == [
        End("adagrad", {"task": "valley"}, "momentum", least, "lowest", 3),
        End("adam", {"task": "digits"}, "lr", rate, "highest", 3),
    ]
    # those that hold their rate have a momentum that is drawn
    assert among == len(planted.study.arms) * len(synthetic.TASKS)


@pytest.fixture(scope="module")
def alone() -> Results:
    """One arm on one task, with eight draws and a seed."""
    tasks = {"task": synthetic.TASKS[:1]}
    one = synthetic.study(arms={"gd": Arm()}, vary=tasks, claims=(), figures=())
    return synthetic.results(one, draws=8, seeds=1)


@given(values=st.lists(st.floats(1e-4, 3.0), min_size=1, max_size=8, unique=True), data=st.data())
def test_an_end_is_the_least_or_the_greatest_of_three_or_more(
    alone: Results, values: list[float], data: Any
) -> None:
    value = data.draw(st.sampled_from(values))
    trials = alone.trials.assign(momentum=0.9)
    tune = trials[trials["phase"] == "tune"].iloc[: len(values)].assign(lr=values)
    confirm = trials[trials["phase"] == "confirm"].assign(lr=value)
    some = dataclasses.replace(alone, trials=pd.concat([confirm, tune]))
    found, among = ends(some)
    inside = sorted(values)[0] < value < sorted(values)[-1]
    assert among == (len(values) >= 3)
    assert [one.which for one in found] == (
        [] if inside or len(values) < 3 else ["lowest" if value == min(values) else "highest"]
    )


def test_choices_have_no_ends() -> None:
    space = {"lr": optuna.distributions.CategoricalDistribution((0.01, 0.1, 1.0))}
    one = synthetic.study(nuisance=space, arms={"gd": Arm()}, claims=(), figures=())
    results = synthetic.results(one, draws=3, seeds=1)
    results = won(results, "gd", "digits", lr=drawn(results, "gd", "digits")[-1])
    assert ends(results) == ([], 0)


def test_claims_say_it_of_what_they_read(planted: Results) -> None:
    study, found = planted.study, ends(planted).found
    verdicts = judge(study, planted.frame)
    said = {v.statement: told(of_claim(found, v, study), study) for v in verdicts}
    rate = drawn(planted, "adam", "digits")[-1]
    on_digits = f"lr {rate:.3g}, the {CHOSEN}: adam (digits)"
    for statement, words in said.items():
        reads = ("digits" in statement and "Adam" in statement) or "tuned Adam" in statement
        assert words == (on_digits if reads else ""), statement
    assert "AdaGrad needs twice the steps of RMSProp on Rosenbrock's function." in said


def test_what_is_read_before_training_owes_a_rate_nothing(planted: Results) -> None:
    found, digits = ends(planted).found, {"arm": "adam", "task": "digits"}
    checks = [above("effective_rate_ratio", 1.0, at=at, **digits) for at in ("start", 5, "end")]
    claims = tuple(Claim(str(i), "[1]", check, id=f"c{i}") for i, check in enumerate(checks))
    both = Claim("Both.", "[1]", every(checks[0], checks[2]), id="both")
    one = synthetic.study(claims=(*claims, both), figures=())
    verdicts = judge(one, planted.frame)
    assert [len(of_claim(found, v, one)) for v in verdicts] == [0, 1, 1, 1]


def test_a_report_says_it(planted: Results) -> None:
    study, found = planted.study, ends(planted)
    rate = f"{drawn(planted, 'adam', 'digits')[-1]:.3g}"
    table = tables.tuned(planted, found)
    assert table is not None
    of = dict(table["rows"])
    assert ("lr", f"{rate} (highest)") in of["adam"][synthetic.TASKS.index("digits")]
    assert sum("est)" in value for row in of.values() for cell in row for _, value in cell) == 2
    figures = {figure.name: "<svg></svg>" for figure in study.figures}
    html = page.html(planted, judge(study, planted.frame), figures, {})
    assert html.count("<dt>tuned to an end of what was drawn</dt>") == 3
    assert html.count("a wider range, or more draws, might have a better one") == 1
    (listed,) = [one for one in methods.departures(planted, [], "") if "an end of what" in one]
    assert listed.startswith(f"In 2 of {found.among} tuned combinations")
    bare, _ = synthetic.small()
    assert not [one for one in methods.departures(bare, [], "") if "an end of what" in one]


def test_many_are_cut_short() -> None:
    study = synthetic.study()
    arms = synthetic.TUNED[:8]
    some = [End(arm, {"task": "digits"}, "lr", 1.0, "highest", 3) for arm in arms]
    assert told(some, study).endswith("adadelta · rmsprop · 2 more (digits)")
    assert told([], study) == ""
