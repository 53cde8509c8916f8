"""Claims corrected in families: by hand, against Holm, Bretz et al.'s graphs and closed tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Budget, Claim, Family, Metric, Study
from harness.claims import above, judge, registration, rows_for, stats
from harness.study import InvalidStudy, Source

LEVEL = 0.05
ONE = [(Family(1.0), range(3))]
ORDERS = ("holm", "sequence", "bonferroni")


def decided(p: Sequence[float], families: Any, level: float = LEVEL) -> list[bool]:
    return (stats.stepwise(np.array(p), families, level)[0] <= level).tolist()


def holm(p: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Holm's (1979) adjusted p and each test's own level, from his paper."""
    order, adjusted, alpha = np.argsort(p, kind="stable"), np.ones(p.size), np.ones(p.size)
    most, stopped = 0.0, 0.0
    for step, i in enumerate(order):
        most = max(most, p[i] * (p.size - step))
        adjusted[i] = min(1.0, most)
        alpha[i] = stopped or level / (p.size - step)
        stopped = stopped or (alpha[i] if most > level else 0.0)
    return adjusted, alpha


@st.composite
def cases(draw: Any, most: int = 7) -> tuple[np.ndarray, list[tuple[Family, list[int]]]]:
    """p values, many of them small, and families that they are in."""
    count = draw(st.integers(1, 3))
    homes = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=most))
    parts = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count).filter(sum))
    p = draw(
        st.lists(st.floats(0, 0.1) | st.floats(0, 1), min_size=len(homes), max_size=len(homes))
    )
    families = [
        (
            Family(part / sum(parts), draw(st.sampled_from(ORDERS))),
            [i for i, home in enumerate(homes) if home == k],
        )
        for k, part in enumerate(parts)
    ]
    return np.array(p), families


def test_one_family_by_hand() -> None:
    # 3 tests: 0.01 x 3, 0.02 x 2, 0.04 x 1, made monotone
    adjusted, alpha = stats.stepwise(np.array([0.04, 0.01, 0.02]), ONE)
    assert adjusted == pytest.approx([0.04, 0.03, 0.04])
    assert alpha == pytest.approx([0.05, 0.05 / 3, 0.025])
    adjusted, alpha = stats.stepwise(np.array([0.9, 0.01, 0.03]), ONE)
    assert adjusted == pytest.approx([0.9, 0.03, 0.06])
    assert alpha == pytest.approx([0.025, 0.05 / 3, 0.025])  # the first that fails sets the rest


def test_a_sequence_ends_at_the_first_that_stays_open() -> None:
    sequence = [(Family(1.0, "sequence"), range(3))]
    adjusted, alpha = stats.stepwise(np.array([0.04, 0.06, 0.001]), sequence)
    assert adjusted == pytest.approx([0.04, 0.06, 0.06])
    assert alpha.tolist() == [0.05, 0.05, 0.0]  # the third is not asked


def test_what_a_family_leaves_over_goes_to_the_next_and_round() -> None:
    families = [(Family(0.8), [0, 1]), (Family(0.2), [2, 3])]
    # 0.05 x 0.8 / 2 = 0.02, then 0.04; the second family has 0.01, then 0.05: 0.025 each, then 0.05
    assert decided([0.02, 0.04, 0.025, 0.05], families) == [True] * 4
    assert decided([0.02, 0.041, 0.025, 0.05], families) == [True, False, False, False]
    # the second is decided at its own 0.005 and 0.01: the first has all of the level, 0.05
    assert decided([0.02, 0.05, 0.005, 0.01], families) == [True] * 4
    assert decided([0.026, 0.05, 0.005, 0.01], families) == [False, False, True, True]


def test_gates_in_series_and_in_parallel() -> None:
    closed = [(Family(1.0), [0, 1]), (Family(0.0), [2])]
    assert decided([0.01, 0.06, 0.0], closed) == [True, False, False]
    assert decided([0.01, 0.04, 0.05], closed) == [True, True, True]
    ajar = [(Family(1.0, "bonferroni"), [0, 1]), (Family(0.0), [2])]
    assert decided([0.01, 0.06, 0.025], ajar) == [True, False, True]
    assert decided([0.01, 0.026, 0.03], ajar) == [True, False, False]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.2))
def test_one_family_is_holm_exactly(p: list[float], level: float) -> None:
    found = stats.stepwise(np.array(p), [(Family(1.0), range(len(p)))], level)
    for ours, theirs in zip(found, holm(np.array(p), level), strict=True):
        assert ours.tolist() == theirs.tolist()


@given(cases())
def test_the_level_and_the_adjusted_p_agree(case: Any) -> None:
    p, families = case
    adjusted, alpha = stats.stepwise(p, families)
    assert (adjusted >= p - 1e-12).all()
    clear = (np.abs(p - alpha) > 1e-9) & (np.abs(adjusted - LEVEL) > 1e-9)
    assert ((adjusted <= LEVEL) == (p <= alpha))[clear].all()


@given(cases(), st.data())
def test_less_p_never_decides_less(case: Any, data: Any) -> None:
    p, families = case
    which = data.draw(st.integers(0, p.size - 1))
    smaller = p.copy()
    smaller[which] *= data.draw(st.floats(0, 1))
    before, after = (stats.stepwise(one, families)[0] for one in (p, smaller))
    assert (after <= before + 1e-12).all()


@given(cases())
def test_levels_never_fall_and_never_exceed_the_whole(case: Any) -> None:
    p, families = case
    open_, before = np.ones(p.size, bool), np.zeros(p.size)
    for i in (*np.argsort(p), None):
        held, parts = stats.corrections.levels_of(families, open_, np.ones(p.size, bool))
        assert held[~open_].sum() == 0 and (held / parts).sum() <= 1 + 1e-12
        assert (held / parts >= before - 1e-12)[open_].all()
        before = held / parts
        if i is not None:
            open_[i] = False


@given(cases(5))
def test_a_test_is_decided_just_when_every_closed_test_with_it_is(case: Any) -> None:
    """The closed testing principle (Marcus et al. 1976), over all intersections of hypotheses."""
    p, families = case
    every = [
        np.isin(np.arange(p.size), some)
        for size in range(1, p.size + 1)
        for some in itertools.combinations(range(p.size), size)
    ]
    adjusted = np.zeros(p.size)
    for open_ in every:
        held, parts = stats.corrections.levels_of(families, open_, np.ones(p.size, bool))
        with np.errstate(divide="ignore", invalid="ignore"):
            each = np.where(held > 0, p * parts / held, np.inf)
        adjusted[open_] = np.maximum(adjusted[open_], min(1.0, each.min()))
    assert stats.stepwise(p, families)[0] == pytest.approx(adjusted)


def graph(p: np.ndarray, families: Any, level: float) -> list[bool]:
    """Bretz, Maurer, Brannath & Posch (2009), algorithm 1, on the graph that the families are.

    "The next family, once this one is decided" is an edge of the weight `tiny`, as in their section
    on gatekeeping.
    """
    tiny, size = 1e-7, p.size
    weight, edges = np.zeros(size), np.zeros((size, size))
    full = [(f, list(m)) for f, m in families if len(m)]
    passed = 0.0  # of families without a test
    for family, members in families:
        held, passed = family.share + passed, 0.0
        if not members:
            passed = held
        elif family.order == "sequence":
            weight[members[0]] += held
        else:
            weight[members] += held / len(members)
    first, members = full[0]
    weight[members[:1] if first.order == "sequence" else members] += (
        passed / (1 if first.order == "sequence" else len(members))
    )  # fmt: skip
    for k, (family, members) in enumerate(full):
        after, others = full[(k + 1) % len(full)] if len(full) > 1 else (family, [])
        into = others[:1] if after.order == "sequence" else others
        for place, i in enumerate(members):
            siblings = [j for j in members if j != i] if family.order == "holm" else []
            if family.order == "sequence":
                siblings = members[place + 1 : place + 2]
            out = 1.0 if not siblings else tiny * (family.order == "holm")
            edges[i, siblings] = (1 - out) / max(1, len(siblings))
            edges[i, into] = out / max(1, len(into))
    open_ = np.ones(size, bool)
    while True:
        able = np.flatnonzero(open_ & (p <= level * weight + 1e-8) & (weight > 1e-5))
        if not able.size:
            return (~open_).tolist()
        j = able[0]
        open_[j] = False
        new, old = np.zeros_like(edges), edges
        for i, k in itertools.permutations(np.flatnonzero(open_), 2):
            loop = old[i, j] * old[j, i]
            if loop < 1:
                new[i, k] = (old[i, k] + old[i, j] * old[j, k]) / (1 - loop)
        weight = np.where(open_, weight + weight[j] * old[j], 0.0)
        edges = new


@given(cases(6))
def test_families_are_graphs(case: Any) -> None:
    p, families = case
    families = [(f, m) for f, m in families if f.order != "bonferroni"]
    kept = [i for _, m in families for i in m]
    if not kept or not sum(f.share for f, _ in families):
        return
    families = [(f, [kept.index(i) for i in m]) for f, m in families]
    p = p[kept]
    adjusted = stats.stepwise(p, families)[0]
    if (np.abs(adjusted - LEVEL) > 1e-4).all():
        assert graph(p, families, LEVEL) == (adjusted <= LEVEL).tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dependence", ["apart", "alike", "opposed", "worst"])
def test_no_dependence_makes_a_study_err_more_often(order: Any, dependence: str) -> None:
    """Half of the claims are true nulls, the others are plainly decided."""
    g, studies, m = np.random.default_rng(3), 4000, 6
    u = g.random((studies, m))
    if dependence == "alike":
        u[:] = u[:, :1]
    elif dependence == "opposed":
        u[:, 1::2] = 1 - u[:, :1]
        u[:, ::2] = u[:, :1]
    elif dependence == "worst":  # at most one null is small in a study, and never two
        u = 1 - (1 - u[:, :1] + np.arange(m) / m) % 1.0
    null = np.arange(m) % 2 == 0
    p = np.where(null, u, 1e-9)
    families = [(Family(0.7, order), [0, 1, 2]), (Family(0.3), [3, 4, 5])]
    errs = [(stats.stepwise(one, families)[0] <= LEVEL)[null].any() for one in p]
    assert np.mean(errs) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / studies)


def test_least_levels_by_hand() -> None:
    families = [(Family(0.8), [0, 1]), (Family(0.2, "sequence"), [2, 3]), (Family(0.0), [4])]
    assert stats.first_levels(families) == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.01])
    gate = [(Family(1.0), [0, 1]), (Family(0.0), [2, 3])]
    assert stats.first_levels(gate) == pytest.approx([0.025] * 4)


# --- studies ------------------------------------------------------------------------------------


def study(families: Any = None, homes: str = "ppss", **more: Any) -> Study:
    names = {"p": "primary", "s": "secondary"}
    return Study(
        question="Which?",
        trial=lambda t: None,
        arms={arm: {} for arm in "abcd"},
        metrics={"acc": Metric("fraction", better="high")},
        budgets={"smoke": Budget(0, 5)},
        sources={"[1]": "Deck"},
        claims={
            arm: Claim(f"{arm} is over a half.", "[1]", above("acc", 0.5, arm=arm),
                       family=names[home])
            for arm, home in zip("abcd", homes, strict=True)
        },
        families=families or {},
        **more,
    )  # fmt: skip


def rows(one: Study, **centres: float) -> pd.DataFrame:
    noise = 0.1 * (-1.0) ** np.arange(10)
    return pd.concat([rows_for(one, "acc", arm, c + noise) for arm, c in centres.items()])


def test_an_open_primary_claim_keeps_the_gate_closed() -> None:
    gate = {"primary": Family(1.0), "secondary": Family(0.0)}
    one = study(gate)
    shut = judge(one, rows(one, a=0.9, b=0.5, c=0.9, d=0.9))
    assert [v.verdict for v in shut] == ["supported", *["inconclusive"] * 3]
    assert "its turn has not come" in shut[2].reason
    assert (shut[2].low, shut[2].high, shut[2].level) == (-np.inf, np.inf, 0.0)
    assert "turn" not in shut[1].reason and shut[1].level == LEVEL
    through = judge(one, rows(one, a=0.9, b=0.9, c=0.9, d=0.1))
    assert [v.verdict for v in through] == [*["supported"] * 3, "refuted"]


def test_a_claim_without_further_seeds_holds_a_sequence_up() -> None:
    """With looks, too, what comes after it is not asked."""
    one = study({"primary": Family(1.0, "sequence")}, "pppp")
    frame = rows(one, a=0.5, b=0.9, c=0.9, d=0.9)
    frame = frame[(frame["arm"] != "a") | (frame["seed"] < 5)]
    found = judge(one, frame, looks=(5, 10))
    assert [v.verdict for v in found] == ["inconclusive"] * 4
    free = judge(replace(one, families={}), frame, looks=(5, 10))
    assert [v.verdict for v in free] == ["inconclusive", *["supported"] * 3]


@pytest.mark.parametrize("families", [{}, {"primary": Family(1.0)}])
def test_one_family_is_what_a_study_has_that_declares_none(families: Any) -> None:
    one = study(families, "pppp")
    frame = rows(one, a=0.52, b=0.55, c=0.6, d=0.5)
    assert judge(one, frame) == judge(study(None, "pppp"), frame)


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ({}, "'secondary'; allowed: primary, as Study.families declares"),
        ({"primary": Family(1.0)}, "'secondary'; allowed: primary"),
        ({"primary": Family(0.8), "secondary": Family(0.3)}, "allowed: those that sum to 1"),
    ],
)
def test_families_that_cannot_be(families: Any, message: str) -> None:
    with pytest.raises(InvalidStudy, match=message):
        study(families)


def test_a_family_that_cannot_be() -> None:
    with pytest.raises(InvalidStudy, match=r"Family.share is 1.5; allowed: a number from 0 to 1"):
        Family(1.5)
    with pytest.raises(InvalidStudy, match=r"Family.order is 'any'; allowed: holm"):
        Family(1.0, "any")  # type: ignore[arg-type]


def test_families_are_registered_where_they_are_declared() -> None:
    source = Source("s", "s.py", "")

    def entry(one: Study, trials: int = 0) -> dict[str, Any]:
        return registration.entry(one, source, "smoke", "", trials)

    def changes(before: Study, after: Study) -> list[tuple[str, str]]:
        found = registration.summary([entry(before)], entry(after, 20))["claims_changed"]
        return [(one["id"], one["what"]) for one in found]

    plain, two = study(None, "pppp"), {"primary": Family(0.8), "secondary": Family(0.2)}
    assert "families" not in entry(plain)
    assert changes(study(two), study(two)) == []
    assert changes(plain, study({"primary": Family(1.0)}, "pppp")) == [("", "families")]
    assert changes(plain, study(two)) == [("c", "changed"), ("d", "changed"), ("", "families")]
    other = {"secondary": Family(0.2), "primary": Family(0.8)}  # what is left over goes elsewhere
    assert changes(study(two), study(other)) == [("", "families")]
    row = study({"primary": Family(1.0, "sequence")}, "pppp")
    turned = replace(row, claims=row.claims[::-1])
    assert changes(row, turned) == [("", "families")]
