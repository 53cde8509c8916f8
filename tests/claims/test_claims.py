"""Checks and verdicts: direction, margins, what is missing, and what diverged."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from harness import Arm, Budget, Claim, Float, Int, Metric, Study
from harness.claims import (
    above,
    below,
    best,
    best_draws_equivalent,
    best_draws_higher,
    best_draws_lower,
    best_draws_published,
    carried,
    crosses,
    draws,
    equivalent,
    every,
    everywhere,
    falls,
    final_values,
    higher,
    judge,
    lower,
    rank_correlation_above,
    rank_correlation_below,
    ratio_above,
    ratio_below,
    reads,
    rises,
    rows_for,
    same_draws,
    share_above,
    share_below,
    share_higher,
    statistic,
    undecided,
    values,
)
from harness.report import words
from harness.study import InvalidStudy


def winner_example(study: Study, seeds: int, hold: bool) -> pd.DataFrame:
    gain = 0.5 if hold else -0.5
    noise = np.linspace(-0.01, 0.01, seeds)
    return pd.concat(
        [
            rows_for(study, "acc", "a", 0.5 + gain + noise, task="u"),
            rows_for(study, "acc", "b", 0.5 + 0 * noise, task="u"),
        ]
    )


CHECKS = {
    "higher": higher("acc", arm="a", than="b", by=0.01, task="u"),
    "higher, non-inferior": higher("acc", arm="a", than="b", by=-0.01, task="u"),
    "lower": lower("acc", arm="a", than="b", by=0.02, task="u"),
    "above": above("acc", 0.9, arm="a", task="u"),
    "below": below("acc", 0.1, arm="a", task="u"),
    "below at start": below("acc", 0.1, arm="a", at="start", task="u"),
    "equivalent": equivalent("acc", arm="a", to="b", within=0.01, task="u"),
    "ratio below": ratio_below("steps", 1 / 3, arm="a", than="b", task="v"),
    "ratio above": ratio_above("steps", 2.0, arm="a", than="b", task="v"),
    "everywhere": everywhere(lower("acc", arm="a", than="b", by=-0.01), task=("u", "v")),
    "everywhere, two checks": everywhere(
        every(above("acc", 0.4, arm="a", task="u"), below("acc", 1.5, arm="a", task="u")), arm=("a", "c")),
    "everywhere over arms": everywhere(ratio_below("steps", 1.0, arm="a", than="b", task="u"), arm=("a", "c")),
    "best": best("acc", arm="a", among=("b", "c"), by=0.01, task="u"),
    "crosses": crosses("acc", arm="a", than="b", along="task", first="u", last="v", by=0.01),
    "every": every(above("acc", 0.9, arm="a", task="u"), below("acc", 0.1, arm="b", task="u")),
    "every, of two metrics": every(above("acc", 0.9, arm="a", task="u"), below("steps", 90, arm="a", task="u")),
    "every, of metrics in turn": every(
        below("steps", 90, arm="a", task="u"), above("acc", 0.4, arm="b", task="u"),
        higher("acc", arm="a", than="c", by=0.01, task="u")),
    "every, a narrow band": every(above("acc", 0.6999, arm="a", task="u"), below("acc", 0.7001, arm="a", task="u")),
    "every, a band of ratios": every(
        ratio_above("steps", 0.97, arm="a", than="b", task="u"), ratio_below("steps", 1.03, arm="a", than="b", task="u")),
    "every, a chain of ratios": every(
        ratio_below("steps", 0.5, arm="a", than="b", task="u"), ratio_below("steps", 0.8, arm="c", than="a", task="u")),
    "higher, another cell": higher("acc", arm="a", than="a", by=0.01, task="u", against={"task": "v"}),
    "statistic": statistic(
        lambda table: float(table["a"].mean().iloc[0] - table["b"].mean().iloc[0]), 0.1,
        metric="acc", unit="fraction", words="a minus b", example=winner_example,
    ),
    "statistic of two arms": statistic(
        lambda table: float(table["a"].mean().iloc[0] - table["b"].mean().iloc[0]), 0.1,
        metric="acc", unit="fraction", words="a minus b", example=winner_example, arms=("a", "b"),
    ),
}  # fmt: skip


SEARCHES = {
    "best draws equivalent": best_draws_equivalent("acc", arm="a", to="b", within=0.01, task="u"),
    "best draws higher": best_draws_higher("acc", arm="a", than="b", by=0.01, share=0.2, task="u"),
    "best draws lower": best_draws_lower("steps", arm="a", than="b", select="acc", task="u"),
    "correlation above": rank_correlation_above("acc", 0.6, column="steps", arm="a", task="u"),
    "correlation below": rank_correlation_below("acc", 0.0, column="lr", arm="a", task="u"),
    "share above": share_above("acc", 0.5, of="lr", arm="a", task="u"),
    "share below": share_below("acc", 0.2, of="lr", arm="a", task="u"),
    "interaction below": share_below("acc", 0.2, of=("lr", "width"), arm="a", task="u"),
    "share higher": share_higher("acc", of="lr", than="width", arm="a", task="u"),
    "rises": rises("acc", of="width", arm="a", task="u"),
    "falls": falls("steps", of="lr", by=-0.5, arm="a", task="u"),
    "carried": carried("acc", of="lr", over="width", cost=0.05, arm="a", task="u"),
    "published": best_draws_published(
        "acc", 0.7, within=0.05, after=40, arm="a", share=0.2, task="u"
    ),
}
PAIRED = {
    "same draws, equivalent": same_draws(SEARCHES["best draws equivalent"]),
    "same draws, higher": same_draws(SEARCHES["best draws higher"]),
    "same draws, lower": same_draws(SEARCHES["best draws lower"], share=0.5),
    "same draws, everywhere": same_draws(
        everywhere(best_draws_higher("acc", arm="a", than="b", by=-0.01, task="u"), arm=("a", "c"))
    ),
}
CHECKS |= SEARCHES | PAIRED


def make(*checks: object) -> Study:
    return Study(
        question="Which?",
        trial=lambda t: None,
        arms={"a": {}, "b": {}, "c": {}},
        nuisance={"lr": Float(1e-3, 1.0, log=True), "width": Int(8, 64)},
        select=("acc",),
        vary={"task": ("u", "v")},
        metrics={
            "acc": Metric("fraction", better="high", worst=0.0),
            "steps": Metric("steps", better="low"),
        },
        budgets={"smoke": Budget(0, 2)},
        sources={"[1]": "Deck"},
        claims=tuple(Claim(f"Claim {i}.", "[1]", check) for i, check in enumerate(checks)),
    )


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("hold", [True, False])
def test_planted_effects_are_found(name: str, hold: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "RESAMPLES", 29)  # of plain frames: more say nothing more
    study = make(CHECKS[name])
    verdict = judge(study, CHECKS[name].planted(study, 12, hold))[0]
    assert verdict.verdict == ("supported" if hold else "refuted")
    assert verdict.low <= verdict.effect <= verdict.high
    assert verdict.p <= 0.05
    drawn = name in SEARCHES or name in PAIRED
    assert verdict.n >= 12 if drawn else verdict.n == 12
    units = dict.fromkeys(SEARCHES, "trial") | dict.fromkeys(PAIRED, "draw")
    assert verdict.replication == units.get(name, "seed")
    assert verdict.test


@pytest.mark.parametrize("name", CHECKS)
def test_an_empty_frame_decides_nothing(name: str) -> None:
    study = make(CHECKS[name])
    verdict = judge(study, pd.DataFrame(columns=study.columns()))[0]
    assert verdict.verdict == "inconclusive"
    assert verdict.reason
    assert verdict.p == 1.0


def test_each_of_several_checks_goes_through_every_place() -> None:
    low, high = above("acc", 0.4, arm="a"), below("acc", 1.5, arm="a")
    found = everywhere(every(low, high), arm=("a", "c"), task=("u", "v"))
    places = {
        (one.direction, one.arm, dict(one.where)["task"])  # type: ignore[attr-defined]
        for one in found.checks  # type: ignore[attr-defined]
    }
    assert places == {(d, a, t) for d in ("above", "below") for a in "ac" for t in "uv"}


def test_too_few_seeds_decide_nothing() -> None:
    study = make(CHECKS["higher"])
    verdict = judge(study, CHECKS["higher"].planted(study, 4, True))[0]
    assert verdict.verdict == "inconclusive"
    assert "4 seeds" in verdict.reason


def test_the_verdict_is_the_position_of_the_interval() -> None:
    generator = np.random.default_rng(0)
    study = make(higher("acc", arm="a", than="b", by=0.1, task="u"))
    for shift in np.linspace(-0.3, 0.5, 60):
        noise = generator.normal(0, 0.2, 15)
        frame = pd.concat(
            [
                rows_for(study, "acc", "a", 0.5 + shift + noise, task="u"),
                rows_for(study, "acc", "b", [0.5] * 15, task="u"),
            ]
        )
        v = judge(study, frame)[0]
        expected = "supported" if v.low > 0.1 else "refuted" if v.high < 0.1 else "inconclusive"
        assert v.verdict == expected


def test_holm_over_the_study_widens_intervals() -> None:
    check = higher("acc", arm="a", than="b", by=0.4, task="u")
    generator = np.random.default_rng(1)
    frame = pd.concat(
        [
            rows_for(make(), "acc", "a", 0.5 + generator.normal(0, 0.1, 15), task="u"),
            rows_for(make(), "acc", "b", [0.4] * 15, task="u"),
        ]
    )
    alone = judge(make(check), frame)[0]
    among = judge(make(check, *[above("acc", 0.99, arm="c", task="u")] * 5), frame)[0]
    assert among.high - among.low > alone.high - alone.low
    assert among.p >= alone.p


def test_a_diverged_trial_scores_worst_and_is_not_dropped() -> None:
    study = make(higher("acc", arm="a", than="b", by=0.0, task="u"))
    frame = pd.concat(
        [
            rows_for(study, "acc", "a", [0.9] * 8, task="u"),
            rows_for(study, "acc", "b", [0.5] * 8, task="u"),
        ]
    )
    frame.loc[(frame["arm"] == "a") & (frame["seed"] == 3), "status"] = "diverged"
    series = values(frame, study, "acc", "a", {"task": "u"})
    assert series[3] == 0.0
    assert len(series) == 8
    assert judge(study, frame)[0].n == 8


def test_failures_are_left_out_and_said_and_too_many_decide_nothing() -> None:
    study = make(higher("acc", arm="a", than="b", by=0.0, task="u"))
    frame = pd.concat(
        [
            rows_for(study, "acc", "a", 0.9 + np.linspace(0, 0.01, 12), task="u"),
            rows_for(study, "acc", "b", [0.5] * 12, task="u"),
        ]
    )
    two = frame.copy()
    two.loc[(two["arm"] == "a") & (two["seed"] < 2), "status"] = "failed"
    verdict = judge(study, two)[0]
    assert (verdict.verdict, verdict.n) == ("supported", 10)
    assert "2 of 12 trials of a task=u failed" in verdict.reason
    most = frame.copy()
    most.loc[(most["arm"] == "a") & (most["seed"] < 7), "status"] = "failed"
    verdict = judge(study, most)[0]
    assert verdict.verdict == "inconclusive"
    assert "7 of 12 trials of a task=u failed" in verdict.reason


def test_never_reached_is_infinite_and_still_decides() -> None:
    study = make(ratio_below("steps", 0.5, arm="a", than="b", task="u"))
    frame = pd.concat(
        [
            rows_for(study, "steps", "a", [10.0] * 12, task="u"),
            rows_for(study, "steps", "b", [math.inf] * 12, task="u"),
        ]
    )
    verdict = judge(study, frame)[0]
    assert (verdict.verdict, verdict.effect) == ("supported", 0.0)
    neither = frame.assign(steps=math.inf)
    verdict = judge(study, neither)[0]
    assert verdict.verdict == "refuted"  # equally slow is not twice as fast
    assert "neither arm got there" in verdict.reason


def diverged(frame: pd.DataFrame, **seeds: int) -> pd.DataFrame:
    """The same trials, of which the first few of some arms diverge."""
    gone = frame["seed"] < frame["arm"].map(lambda arm: seeds.get(arm, 0))
    return frame.assign(status=np.where(gone, "diverged", frame["status"]))


def two(study: Study, metric: str, a: float, b: float, seeds: int = 20) -> pd.DataFrame:
    noise = np.linspace(-0.01, 0.01, seeds)
    return pd.concat(
        [
            rows_for(study, metric, "a", a + noise, task="u"),
            rows_for(study, metric, "b", b + noise[::-1], task="u"),
        ]
    )


LOWER = lower("steps", arm="a", than="b", task="u")
UNBOUNDED = {  # check, scores of a and b, how many diverge of either, verdict
    "the better one diverges": (LOWER, (1.0, 9.0), (1, 0), "inconclusive"),
    "the worse one diverges": (LOWER, (1.0, 9.0), (0, 4), "supported"),
    "the better one more": (LOWER, (1.0, 9.0), (3, 2), "inconclusive"),
    "both, in the same seeds": (LOWER, (1.0, 9.0), (3, 3), "supported"),
    "the worse one, refuted": (LOWER, (9.0, 1.0), (4, 0), "refuted"),
    "the better one, not refuted": (LOWER, (9.0, 1.0), (0, 4), "inconclusive"),
    "no longer alike": (equivalent("steps", arm="a", to="b", within=1.0, task="u"), (1.0, 1.0), (3, 0), "inconclusive"),
    "alike": (equivalent("steps", arm="a", to="b", within=1.0, task="u"), (1.0, 1.0), (3, 3), "supported"),
    "a level that is good": (below("steps", 5.0, arm="a", task="u"), (1.0, 1.0), (1, 0), "inconclusive"),
    "a level that is bad": (above("steps", 5.0, arm="a", task="u"), (9.0, 1.0), (1, 0), "supported"),
    "a ratio": (ratio_below("steps", 0.5, arm="a", than="b", task="u"), (1.0, 9.0), (1, 0), "inconclusive"),
    "a ratio, the other": (ratio_below("steps", 0.5, arm="a", than="b", task="u"), (1.0, 9.0), (0, 9), "supported"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNBOUNDED)
def test_no_verdict_favours_the_arm_of_which_more_seeds_diverge(name: str) -> None:
    check, scores, gone, wanted = UNBOUNDED[name]
    study = make(check)
    frame = diverged(two(study, "steps", *scores), a=gone[0], b=gone[1])
    (verdict,) = judge(study, frame)
    assert verdict.verdict == wanted, verdict
    assert verdict.n == 20
    if wanted == "inconclusive":
        assert math.inf in (-verdict.low, verdict.high)
    read = [arm for arm, _ in check.places(study)]
    for arm, count in zip("ab", gone, strict=True):
        if count and arm in read:
            assert f"{count} of 20 trials of {arm} task=u diverged" in words.remark(verdict, study)
    here = " and ".join(f"{n} of 20 seeds of {arm} task=u" for arm, n in zip(read, gone, strict=False))  # fmt: skip
    assert f"{here} have no finite score, so that the mean has no bound" in verdict.reason


def test_a_third_that_diverges_unseen_by_a_median_is_seen() -> None:
    """As good by the median, with an interval well inside of the band; a mean would be infinite."""
    study = make(equivalent("steps", arm="a", to="b", within=1.0, task="u"))
    frame = diverged(two(study, "steps", 1.0, 1.0, 100), a=33)
    (verdict,) = judge(study, frame)
    assert (verdict.verdict, verdict.high) == ("inconclusive", math.inf)


def test_a_finite_worst_score_counts_in_the_mean_and_who_diverged_is_said() -> None:
    checks = [
        higher("acc", arm="a", than="b", task="u"),
        above("acc", 0.8, arm="a", task="u"),
        CHECKS["statistic"],
    ]
    study = make(*checks)
    frame = diverged(two(study, "acc", 0.9, 0.7), a=5)
    for verdict in judge(study, frame):
        assert verdict.verdict != "supported"
        assert "5 of 20 trials of a" in verdict.reason and "diverged" in verdict.reason
    mean = (0.9 * 20 - frame.loc[frame["status"] == "diverged", "acc"].sum()) / 20
    assert judge(study, frame)[1].effect == pytest.approx(mean)


def test_draws_that_diverge_are_said() -> None:
    study = make(SEARCHES["best draws higher"])
    frame = SEARCHES["best draws higher"].planted(study, 12, True)
    frame.loc[(frame["arm"] == "b") & (frame["seed"] < 7), "status"] = "diverged"
    (verdict,) = judge(study, frame)
    assert "7 of 60 draws of b task=u diverged" in verdict.reason


def test_seeds_that_all_give_the_same_number_decide_with_a_p() -> None:
    exact = [
        below("acc", 0.3, arm="a", task="u"),
        higher("acc", arm="b", than="a", by=0.5, task="u"),
    ]
    study = make(*exact, *[above("acc", 0.5, arm="c", task="u")] * 16)
    frame = pd.concat([rows_for(study, "acc", arm, [score] * 6, task="u")
                       for arm, score in (("a", 0.075), ("b", 0.9))])  # fmt: skip
    first, second, *_ = judge(study, frame)
    for verdict in (first, second):  # six seeds are enough among 18 claims
        assert verdict.verdict == "supported"
        assert 0.01 < verdict.p < 0.05
        assert "all 6 seeds gave the same number" in verdict.test
    five = judge(study, frame[frame["seed"] < 5])[0]  # and five are not, but are among a dozen
    assert (five.verdict, five.low, five.high) == ("inconclusive", -math.inf, math.inf)
    few = make(*exact, *[above("acc", 0.5, arm="c", task="u")] * 10)
    assert judge(few, frame[frame["seed"] < 5])[0].verdict == "supported"


def test_start_end_and_a_step_are_read_where_they_are() -> None:
    study = make()
    rows = [
        rows_for(study, "acc", "a", [step / 10] * 6, task="u").assign(step=step)
        for step in (0, 5, 9)
    ]
    frame = pd.concat(rows)
    for at, expected in (("start", 0.0), (5, 0.5), ("end", 0.9)):
        assert values(frame, study, "acc", "a", {"task": "u"}, at).tolist() == [expected] * 6


def test_what_a_trial_measured_before_it_diverged_stands_at_the_start() -> None:
    study = make()
    rows = [rows_for(study, "acc", "a", [0.5] * 6, task="u").assign(step=step) for step in (0, 9)]
    frame = pd.concat(rows)
    frame.loc[frame["seed"] == 2, "status"] = "diverged"
    assert values(frame, study, "acc", "a", {"task": "u"}, "start").tolist() == [0.5] * 6
    assert values(frame, study, "acc", "a", {"task": "u"}).tolist() == [
        0.5,
        0.5,
        0.0,
        0.5,
        0.5,
        0.5,
    ]


def test_final_values_is_one_row_a_seed() -> None:
    study = make()
    table = final_values(CHECKS["higher"].planted(study, 6, True), study, "acc")
    assert table.shape == (6, 2)
    assert list(table.columns.names) == ["arm", "task"]


def test_identical_arms_rarely_get_a_verdict() -> None:
    """Six true-null claims a study, 40 studies: a wrong verdict in at most 5 %."""
    checks = [
        higher("acc", arm=a, than=b, task=t)
        for a, b in (("a", "b"), ("a", "c"), ("b", "c"))
        for t in "uv"
    ]
    study = make(*checks)
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(40):
        frame = pd.concat(
            [
                rows_for(study, "acc", arm, generator.normal(size=10), task=task)
                for arm in "abc"
                for task in "uv"
            ]
        )
        wrong += any(v.verdict != "inconclusive" for v in judge(study, frame))
    assert wrong / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)


def test_what_an_estimate_cannot_take_leaves_the_claim_open() -> None:
    study = make(ratio_below("steps", 0.5, arm="a", than="b", task="u"))
    frame = pd.concat(
        [
            rows_for(study, "steps", "a", [0.0] * 8, task="u"),
            rows_for(study, "steps", "b", [1.0] * 8, task="u"),
        ]
    )
    verdict = judge(study, frame)[0]
    assert verdict.verdict == "inconclusive"
    assert "positive" in verdict.reason


# --- looks --------------------------------------------------------------------------------------


def three_looks(study: Study, shift: float, spread: float, seeds: int = 20) -> pd.DataFrame:
    noise = spread * np.tile([-1.0, 1.0], seeds // 2)
    return pd.concat(
        [
            rows_for(study, "acc", "a", 0.5 + shift + noise, task="u"),
            rows_for(study, "acc", "b", [0.5] * seeds, task="u"),
        ]
    )


def test_a_clear_claim_is_settled_at_the_first_look_and_keeps_that_verdict() -> None:
    study = make(higher("acc", arm="a", than="b", task="u"))
    frame = three_looks(study, 0.3, 0.01)
    frame.loc[(frame["arm"] == "a") & (frame["seed"] >= 5), "acc"] = 0.0  # seen only later
    v = judge(study, frame, looks=(5, 10, 20))[0]
    assert (v.verdict, v.n, v.look, v.seeds_used, v.seeds_allowed) == ("supported", 5, 1, 5, 20)
    assert undecided(study, frame, (5, 10, 20)) == []


def test_an_open_claim_is_looked_at_again_at_a_level_of_its_own() -> None:
    study = make(higher("acc", arm="a", than="b", task="u"))
    frame = three_looks(study, 0.2, 0.25)
    looks = (5, 10, 20)
    first = judge(study, frame[frame["seed"] < 5], looks=looks)[0]
    assert (first.verdict, first.look) == ("inconclusive", 1)
    assert [c.id for c in undecided(study, frame[frame["seed"] < 5], looks)] == ["claim-0"]
    last = judge(study, frame, looks=looks)[0]
    assert (last.verdict, last.n, last.look) == ("supported", 20, 3)
    once = judge(study, frame)[0]  # half of the level is left for the last look
    assert last.high - last.low > once.high - once.low
    alone = judge(study, frame, level=0.025)[0]
    assert (last.low, last.high) == (alone.low, alone.high)


def test_a_look_waits_for_every_seed_of_what_the_claim_reads() -> None:
    study = make(higher("acc", arm="a", than="b", task="u"))
    frame = three_looks(study, 0.2, 0.25)
    early = frame[(frame["arm"] == "a") | (frame["seed"] < 7)]
    assert judge(study, early, looks=(5, 10, 20))[0].look == 1


def test_claims_say_which_cells_they_read() -> None:
    study = make(
        crosses("acc", arm="a", than="b", along="task", first="u", last="v"),
        higher("acc", arm="c", than="c", task="u", against={"task": "v"}),
    )
    first, second = study.claims
    assert reads(study, [first], "b", {"task": "v"})
    assert not reads(study, [first], "c", {"task": "v"})
    assert reads(study, [second], "c", {"task": "v"})
    assert not reads(study, [second], "a", {"task": "u"})


def test_a_statistic_of_some_arms_neither_reads_nor_needs_others() -> None:
    all_, some = make(CHECKS["statistic"]), make(CHECKS["statistic of two arms"])
    frame = winner_example(all_, 12, True)
    third = rows_for(all_, "acc", "c", np.full(6, 0.5), task="u")
    frame = pd.concat([frame, third])
    assert [judge(one, frame)[0].n for one in (all_, some)] == [6, 12]
    assert judge(some, frame)[0].verdict == "supported"
    assert [reads(one, one.claims, "c", {"task": "u"}) for one in (all_, some)] == [True, False]
    with pytest.raises(InvalidStudy, match="'d'"):
        make(replace(CHECKS["statistic"], arms=("d",)))


def test_identical_arms_rarely_get_a_verdict_under_repeated_looks() -> None:
    study = make(*[higher("acc", arm=a, than=b, task="u") for a, b in ("ab", "ac", "bc")])
    generator = np.random.default_rng(5)
    wrong = 0
    for _ in range(40):
        frame = pd.concat(
            [rows_for(study, "acc", arm, generator.normal(size=40), task="u") for arm in "abc"]
        )
        verdicts = judge(study, frame, looks=(5, 10, 20, 40))
        wrong += any(v.verdict != "inconclusive" for v in verdicts)
    assert wrong / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)


def test_what_reports_nothing_is_said() -> None:
    study = make(higher("acc", arm="a", than="b", task="u"))
    frame = three_looks(study, 0.3, 0.01, 12)
    frame.loc[(frame["arm"] == "b") & (frame["seed"] < 3), "acc"] = math.nan
    verdict = judge(study, frame)[0]
    assert verdict.n == 9
    assert "3 of 12 trials of b task=u report no such number" in verdict.reason


def test_a_published_value_is_compared_only_after_enough_training() -> None:
    check = SEARCHES["published"]
    frame = check.planted(make(check), 12, True)
    (verdict,) = judge(make(check), frame.assign(step=39))
    assert verdict.verdict == "inconclusive"
    assert "longest trial had 39 updates" in verdict.reason


@pytest.mark.parametrize(
    ("a", "b", "kind"), [(0.45, 0.9, "%"), (0.1, 0.12, "points")], ids=["level", "difference"]
)
def test_of_several_checks_the_numbers_are_printed_as_those_of_the_weakest(a, b, kind) -> None:
    checks = below("acc", 0.5, arm="a", task="u"), lower("acc", arm="a", than="b", task="u")
    study = make(every(*checks))
    noise = np.array([0.0, 0.01, -0.01, 0.005, -0.005])
    rows = pd.concat([rows_for(study, "acc", "a", a + noise, task="u"),
                      rows_for(study, "acc", "b", b + noise[::-1], task="u")])  # fmt: skip
    (verdict,) = judge(study, rows)
    assert words.scale_of(verdict, study).unit == kind, verdict.weakest
    assert verdict.weakest == (("%", "points").index(kind),)
    assert verdict.reason == words.remark(verdict, study) == ""
    assert checks[verdict.weakest[0]].quantity(study) in words.sentence(verdict, study)


def test_the_weakest_of_several_is_carried_and_not_read_from_its_words() -> None:
    """Words with a semicolon, as those of best draws have, and checks within checks."""
    clear = best_draws_higher("acc", arm="a", than="b", by=-0.5, share=0.2, task="u")
    weak = best_draws_higher("acc", arm="a", than="b", by=-0.1, share=0.2, task="u")
    study = make(every(clear, every(clear, weak)))
    frame = clear.planted(study, 12, True)
    frame.loc[frame["arm"] == "a", "acc"] = frame.loc[frame["arm"] == "b", "acc"].to_numpy()
    frame["acc"] += 0.05 * (-1.0) ** frame["seed"]
    (verdict,) = judge(study, frame)
    assert verdict.weakest == (1, 1)
    assert verdict.margin == -0.1
    assert "; best 20% of draws" in words.weakest(verdict, study)
    assert words.remark(verdict, study) == ""
    assert words.scale_of(verdict, study).unit == "points"
    (alone,) = judge(make(clear), frame)
    assert (alone.weakest, words.weakest(alone, make(clear))) == ((), "")


def drawn_alike(
    study: Study, generator: np.random.Generator, gain: float = 0.0, count: int = 40
) -> pd.DataFrame:
    """Arms a and b at the same draws: what a draw does is shared, and wilder where it is bad; each
    has noise of its own, half of it in the validation score too."""
    rate = generator.random(count)
    frames = []
    for arm, more in (("a", gain), ("b", 0.0)):
        wild = 0.005 * (1 + 4 * rate) * generator.standard_t(4, (2, count))
        valid = 0.9 - 0.5 * rate + more + wild[0]
        own = {"steps": -valid, "acc": valid + wild[1]}
        frames.append(draws.planted_draws(study, arm, {"task": "u"}, own))
    return pd.concat(frames)


def test_arms_that_are_the_same_rarely_differ_at_the_same_draws() -> None:
    best_draws = best_draws_higher("acc", arm="a", than="b", task="u")
    study, generator = make(same_draws(best_draws)), np.random.default_rng(5)
    times = 300
    wrong = sum(
        verdict.verdict != "inconclusive"
        for _ in range(times)
        for verdict in judge(study, drawn_alike(study, generator))
    )
    assert wrong / times <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)


def test_the_same_draws_decide_what_best_draws_leave_open() -> None:
    best_draws = best_draws_higher("acc", arm="a", than="b", task="u", share=0.25)
    frame = drawn_alike(make(best_draws), np.random.default_rng(5), gain=0.02)
    (apart,), (paired,) = (judge(make(c), frame) for c in (best_draws, same_draws(best_draws)))
    assert (apart.verdict, paired.verdict) == ("inconclusive", "supported")
    assert paired.n == 10 and "paired by draw" in paired.test


def test_the_same_draws_by_hand() -> None:
    study = make(same_draws(best_draws_higher("acc", arm="a", than="b", task="u")))
    a = {"acc": np.arange(20) / 20, "steps": np.arange(20.0)}
    b = {"acc": np.arange(20) / 40, "steps": np.arange(20.0)}
    frame = pd.concat(
        [draws.planted_draws(study, arm, {"task": "u"}, own) for arm, own in (("a", a), ("b", b))]
    )
    (verdict,) = judge(study, frame)  # the five of 20 that are highest in both
    assert verdict.n == 5
    assert verdict.effect == pytest.approx(np.mean(np.arange(15, 20) / 40))
    (fewer,) = judge(study, frame[frame["seed"] != 19])  # 5 of 19
    assert fewer.effect == pytest.approx(np.mean(np.arange(14, 19) / 40))
    (few,) = judge(study, frame[frame["seed"] > 4])
    assert few.reason == "the best 25% of 15 draws of a and b are 4; at least 5 are needed"


def test_draws_that_are_not_the_same_are_not_paired() -> None:
    check = same_draws(best_draws_higher("acc", arm="a", than="b", task="u"))
    with pytest.raises(InvalidStudy, match="'a' and 'b', which are not the same; allowed: arms"):
        replace(make(check), sampler="tpe")
    with pytest.raises(InvalidStudy, match="which are not the same"):
        replace(make(check), arms={"a": Arm(held={"lr": 0.1}), "b": {}, "c": {}})
    for other in (CHECKS["higher"], SEARCHES["published"]):
        with pytest.raises(InvalidStudy, match=r"same_draws\((Difference|BestLevel)\); allowed"):
            same_draws(other)
