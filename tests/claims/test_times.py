"""Claims about the time that trials took, which they share with their packs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import faults
from harness import Budget, Choice, Claim, Float, Metric, Study, report
from harness.claims import Verdict, every, judge, rises, slower
from harness.claims.times import Slower
from harness.study import InvalidStudy
from tests import synthetic

ARMS = tuple("abcdef")


def make(ratio: float = 1.0, of: str = "width", arms: tuple[str, ...] = ARMS) -> Study:
    return Study(
        question="Which?",
        trial=lambda t: None,
        arms={arm: {} for arm in ARMS},
        nuisance={"width": Float(10.0, 1000.0, log=True), "rule": Choice(("one", "two"))},
        vary={"task": ("u", "v")},
        metrics={"acc": Metric("fraction", better="high")},
        select=("acc",),
        budgets={"smoke": Budget(0, 2)},
        sources={"[1]": "Deck"},
        claims=(Claim("Slower.", "[1]", slower(ratio, of=of, arms=arms, task="u")),),
    )


def frame_of(
    study: Study, counts: tuple[int, int], base: float, each: tuple[float, float],
    spread: float = 0.02,
) -> pd.DataFrame:  # fmt: skip
    """One pack of narrow and one of wide trials an arm, whose time is `base` and so much a trial."""
    frames, noise = [], np.random.default_rng(0)
    for arm in ARMS:
        for count, cost, ends in zip(counts, each, ((10.0, 40.0), (250.0, 1000.0)), strict=True):
            share = (base / count + cost) * float(np.exp(noise.normal(0, spread)))
            own = {"width": np.geomspace(*ends, count), "acc": np.full(count, 0.5)}
            fixed = {"phase": "tune", "arm": arm, "task": "u", "seed": range(count), "step": 1}
            names = [f"{arm}-{ends[0]}-{i}" for i in range(count)]
            rows = pd.DataFrame({**fixed, **own, "trial": names, "status": "finished"})
            frames.append(
                rows.reindex(columns=study.columns()).assign(
                    seconds=share, pack=f"{arm}-{count}-{cost}-{ends}"
                )
            )
    return pd.concat(frames, ignore_index=True)


def assert_within(
    bounds: np.ndarray, counts: tuple[int, int], base: float, each: tuple[float, float]
) -> None:
    """The ratio in packs of one size lies between the bounds, of times without noise: what is left
    of a share may be little, and the share's own noise then a large part of it."""
    most = max(counts)
    truth = (base + each[1] * most) / (base + each[0] * most)
    assert (bounds[:, 0] <= truth * (1 + 1e-9)).all() and (truth <= bounds[:, 1] * (1 + 1e-9)).all()


def check_of(study: Study) -> Slower:
    check = study.claims[0].check
    assert isinstance(check, Slower)
    return check


def verdict_of(study: Study, frame: pd.DataFrame) -> Verdict:
    (verdict,) = judge(study, frame)
    return verdict


@pytest.mark.parametrize(("hold", "expected"), [(True, "supported"), (False, "refuted")])
def test_planted_frames_decide_it(hold: bool, expected: str) -> None:
    study = make(1.5)
    verdict = verdict_of(study, study.claims[0].check.planted(study, 12, hold))
    assert (verdict.verdict, verdict.n, verdict.replication) == (expected, 6, "group")


def test_a_smaller_pack_alone_makes_nothing_slower() -> None:
    study = make()
    same = verdict_of(study, frame_of(study, (36, 24), base=1.0, each=(0.0, 0.0)))
    assert same.verdict == "inconclusive"
    assert (
        same.low < 1.0 < 1.5 < same.high
    )  # a share is half as much again, and the pack's time not
    other = verdict_of(study, frame_of(study, (24, 36), base=1.0, each=(0.0, 0.0)))
    assert other.verdict == "inconclusive"


def test_more_work_is_slower_although_the_pack_holds_fewer() -> None:
    study = make()
    verdict = verdict_of(study, frame_of(study, (36, 24), base=0.1, each=(1.0, 2.5)))
    assert verdict.verdict == "supported"
    # nothing that is the same can take more than the narrow pack's 36 seconds
    assert verdict.low < verdict.effect == pytest.approx(2.5 - 36 * (1 / 24 - 1 / 36), rel=0.05)


@settings(deadline=None)  # of a frame a trial
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.floats(0.0, 5.0),
    st.tuples(st.floats(0.01, 5.0), st.floats(0.01, 5.0)),
)
def test_the_ratio_in_packs_of_one_size_lies_within_the_bounds(
    counts: tuple[int, int], base: float, each: tuple[float, float]
) -> None:
    study = make()
    bounds = check_of(study).bounds(frame_of(study, counts, base, each, spread=0.0), study)
    assert_within(bounds, counts, base, each)


def finalists(frame: pd.DataFrame, count: int, seconds: float, step: int = 1) -> pd.DataFrame:
    """A pack of so many finalists for each arm, which took so long in all."""
    few = frame[frame["width"] < 100].groupby("arm").head(count)
    pack, trial = few["arm"] + "-final", few["trial"] + "-final"
    return few.assign(phase="final", pack=pack, trial=trial, step=step, seconds=seconds / count)


@settings(deadline=None)
@given(
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.floats(0.01, 5.0),
    st.tuples(st.floats(0.01, 5.0), st.floats(0.01, 5.0)),
    st.integers(1, 2),
    st.sampled_from([1, 2, 5]),
)
def test_what_finalists_took_narrows_the_bounds_which_hold_the_ratio(
    counts: tuple[int, int], base: float, each: tuple[float, float], few: int, updates: int
) -> None:
    """Theirs are trainings of as many updates or fewer: what is the same is so for each of them."""
    study = make()
    frame = frame_of(study, counts, base, each, spread=0.0).assign(step=updates)
    small = finalists(frame, few, base / updates + each[0] * few / updates)
    alone = check_of(study).bounds(frame, study)
    bounds = check_of(study).bounds(pd.concat([frame, small]), study)
    assert_within(bounds, counts, base, each)
    assert (bounds[:, 0] >= alone[:, 0]).all() and (bounds[:, 1] <= alone[:, 1]).all()


def test_two_finalists_that_are_soon_done_decide_what_packs_of_two_sizes_leave_open() -> None:
    study = make()
    frame = frame_of(study, (24, 10), base=0.5, each=(0.1, 0.2))  # 2.9 and 2.5 seconds
    assert verdict_of(study, frame).verdict == "inconclusive"
    told = verdict_of(study, pd.concat([frame, finalists(frame, 2, 0.7)]))
    assert told.verdict == "supported"
    least = 0.25 - 0.7 * (1 / 10 - 1 / 24)
    assert told.effect == pytest.approx(least / (2.9 / 24), rel=0.05)


def test_arms_that_share_a_pack_are_one_observation() -> None:
    study = make()
    frame = frame_of(study, (20, 10), base=1.0, each=(1.0, 2.0))
    packs = frame.groupby(["arm", frame["width"] > 100])[["seconds", "pack"]].first()
    took = packs["seconds"]
    shared = frame.copy()
    for arm, other, wide in (("b", "a", False), ("c", "b", True)):  # a chain of three
        mine = (shared["arm"] == arm) & ((shared["width"] > 100) == wide)
        shared.loc[mine, ["seconds", "pack"]] = packs.loc[(other, wide)].to_numpy()
    bounds = check_of(study).bounds(shared, study)
    assert len(check_of(study).bounds(frame, study)) == 6
    assert len(bounds) == 4
    narrow = (2 * took["a", False] + took["c", False]) / 3
    whole = (
        40 * took["a", False],
        20 * took["c", False],
        10 * took["a", True],
        20 * took["b", True],
    )
    one = took["a", True] - min(whole) * (1 / 10 - 1 / 40)  # the largest pack has 40
    two = took["b", True] - min(whole) * (1 / 20 - 1 / 40)
    assert bounds[0, 0] == pytest.approx((one + 2 * two) / 3 / narrow)
    assert verdict_of(study, shared).reason.startswith("4 groups of arms that share no pack")


def test_cells_that_are_left_open_are_told_apart() -> None:
    study = make()
    both = replace(study, claims=(Claim("S.", "[1]", slower(1.0, of="width", arms=ARMS)),))
    frame = frame_of(study, (20, 10), base=1.0, each=(1.0, 2.0))
    other = frame.assign(
        task="v", trial=frame["trial"] + "v", seconds=frame["seconds"] * 7, pack=frame["pack"] + "v"
    )
    assert len(check_of(both).bounds(pd.concat([frame, other]), both)) == 12
    assert verdict_of(both, pd.concat([frame, other])).n == 12


def test_failed_and_diverged_trials_are_no_part_of_a_time() -> None:
    study = make()
    frame = frame_of(study, (20, 20), base=0.0, each=(1.0, 2.0))
    plain = verdict_of(study, frame)
    lost = frame.iloc[:30].assign(
        trial=[f"lost {i}" for i in range(30)], status="failed", seconds=0.0, pack="lost"
    )
    gone = frame.iloc[:1].assign(trial="gone", status="diverged", seconds=1e-6, pack="gone")
    found = verdict_of(study, pd.concat([frame, lost, gone]))
    assert (found.effect, found.low, found.high) == (plain.effect, plain.low, plain.high)


def test_too_little_to_say_is_inconclusive_and_says_so() -> None:
    study = make()
    frame = frame_of(study, (20, 20), base=0.0, each=(1.0, 2.0))
    no_times = verdict_of(study, frame.drop(columns="seconds"))
    no_packs = verdict_of(study, frame.drop(columns="pack"))
    assert no_times.reason == "the rows do not say how long trials took"
    few = verdict_of(study, frame[frame["arm"].isin(ARMS[:4])])
    assert few.reason == (
        "4 groups of arms that share no pack have trials in both thirds; at least 5 are needed"
    )
    assert {no_times.verdict, no_packs.verdict, few.verdict} == {"inconclusive"}
    five = verdict_of(study, frame[frame["arm"] != "a"])
    assert (five.verdict, five.n) == ("supported", 5)


@pytest.mark.parametrize(
    ("of", "arms", "ratio", "said"),
    [
        ("rule", ARMS, 1.0, "along 'rule'; allowed: width"),
        ("depth", ARMS, 1.0, "along 'depth'; allowed: width"),
        ("width", ("a", "z"), 1.0, "arm 'z'; allowed: a, b"),
        ("width", (), 1.0, "arms=\\(\\)\\); allowed: a ratio over 0, and arms"),
        ("width", ARMS, 0.0, "slower\\(0.0"),
    ],
)
def test_what_cannot_be_read_is_refused(
    of: str, arms: tuple[str, ...], ratio: float, said: str
) -> None:
    with pytest.raises(InvalidStudy, match=said):
        make(ratio, of, arms)


def test_a_verdict_of_times_is_marked_and_kept_out_of_what_runs_share(tmp_path: Path) -> None:
    check = slower(1.0, of="width", arms=ARMS, task="u")
    both = every(rises("acc", of="width", arm="a", task="u"), check)
    assert check.timed and both.timed and not both.checks[0].timed  # type: ignore[attr-defined]
    study = make()
    timed = verdict_of(study, frame_of(study, (20, 20), base=0.0, each=(1.0, 2.0)))
    assert timed.timed and timed.test.endswith("another run's times differ")
    results, plain = synthetic.small()
    assert not any(v.timed for v in plain)
    folder = tmp_path / "reports" / faults.STUDY / faults.SCALE
    folder.mkdir(parents=True)
    document = report.verdicts_json(results, [*plain, timed])
    (folder / "verdicts.json").write_text(json.dumps(document))
    assert [one["id"] for one in faults.verdicts_of(tmp_path)] == [v.id for v in plain]


def test_results_have_times_beside_their_rows() -> None:
    results, _ = synthetic.small()
    assert not {"seconds", "pack"} & {*results.frame}
    timed = results.timed
    pd.testing.assert_frame_equal(timed.drop(columns=["seconds", "pack"]), results.frame)
    packs = results.trials.set_index("trial")["pack"]
    assert (timed["pack"] == packs[timed["trial"]].to_numpy()).all()
    assert results.timed["seconds"].eq(0.02).all()
