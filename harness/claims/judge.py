"""All claims of a study judged on its frame: levels by families of claims, spent over looks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.compound import shown
from harness.claims.futility import futile
from harness.claims.gates import gated as gated_
from harness.claims.verdicts import LEVEL, Beside, Evidence, Missing, Outcome, Verdict
from harness.study import Claim, Metric, Study, is_level

WAITS = "its turn has not come, for a claim before it is open"
NONE: Mapping[str, str] = MappingProxyType({})


def judged(study: Study, scale: str, frame: pd.DataFrame) -> list[Verdict]:
    """The verdicts on a study's claims at a scale: its looks, and its gates, are in them."""
    budget = study.budget(scale)
    return judge(
        study, frame, looks=budget.looks, gated=gated_(study, scale), futility=budget.futility
    )


def judge(
    study: Study, frame: pd.DataFrame, level: float = LEVEL, looks: Sequence[int] = (),
    gated: Mapping[str, str] = NONE, futility: float = 0.0,
) -> list[Verdict]:  # fmt: skip
    """Judge every claim that a study tests on its frame, corrected over them by their families.

    A verdict is "supported" when the whole interval lies on the claimed side of the margin,
    "refuted" when it lies wholly on the other side, else "inconclusive".

    Args:
        level: The rate of studies with any wrong verdict that is allowed.
        looks: Seeds a cell at each look, where seeds are added until claims are decided
            (`Budget.looks`). `level` is then spent over the looks (`stats.spend`), the correction
            is over the claims still open, and a claim keeps the verdict of the look that decided
            it. By the union bound the level holds however the looks depend on each other.
        gated: Why claims are not judged, by their ids: see `claims.gates`. They are no part of the
            correction: what their family would hold for them passes on.
        futility: As in `Budget`: an open claim says where it got no more seeds for this.
    """
    open_ = [claim for claim in study.tested if claim.id not in gated]
    verdicts = {
        claim.id: _unjudged(study, claim, frame, gated[claim.id])
        for claim in study.tested
        if claim.id in gated
    }
    if len(looks) < 2:
        verdicts |= {v.id: v for v in _look(study, open_, set(gated), frame, level)}
        return [verdicts[claim.id] for claim in study.tested]
    levels = stats.spend(np.array(looks), level)
    decided = set(gated)
    for number, (seeds, share) in enumerate(zip(looks, levels, strict=True), start=1):
        ready = [claim for claim in open_ if number == 1 or _reached(study, claim, frame, seeds)]
        if not ready:
            break
        of_look = (frame["phase"] != "confirm") | (frame["seed"] < seeds)
        some = frame if of_look.all() else frame[of_look]
        for verdict in _look(study, ready, decided, some, float(share)):
            verdicts[verdict.id] = _at(verdict, number, seeds, looks[-1])
        decided |= {v.id for v in verdicts.values() if v.verdict != "inconclusive"}
        open_ = [claim for claim in ready if claim.id not in decided]
    return [_stopped(claim, verdicts[claim.id], looks, futility) for claim in study.tested]


def _stopped(claim: Claim, verdict: Verdict, looks: Sequence[int], futility: float) -> Verdict:
    """A verdict that says so where no seeds were added for a claim that is open."""
    open_ = verdict.verdict == "inconclusive" and claim.check.phase == "confirm"
    if not open_ or not futile(verdict, looks, futility):
        return verdict
    why = f"no more seeds were added: they would have decided it in under {100 * futility:g} % of runs"
    return replace(verdict, reason="; ".join(filter(None, [verdict.reason, why])))


def _unjudged(study: Study, claim: Claim, frame: pd.DataFrame, why: str) -> Verdict:
    verdict = _alone(study, claim, frame.iloc[:0])
    return replace(verdict, reason=f"not judged: {why}", gate=why)


def explore(study: Study, frame: pd.DataFrame) -> list[Verdict]:
    """What a study's exploratory claims come to: estimates with an interval each at 95 %, neither
    corrected over them nor over the claims that are tested, and no verdict."""
    found = [_alone(study, claim, frame) for claim in study.explored]
    return [replace(one, verdict="exploratory", p=math.nan) for one in found]


def undecided(
    study: Study, frame: pd.DataFrame, looks: Sequence[int], gated: Mapping[str, str] = NONE,
    futility: float = 0.0,
) -> list[Claim]:  # fmt: skip
    """The claims that further seeds may decide: open, of confirm trials, and not beyond hope."""
    verdicts = judge(study, frame, looks=looks, gated=gated)
    return [
        claim
        for claim, verdict in zip(study.tested, verdicts, strict=True)
        if verdict.verdict == "inconclusive"
        and claim.check.phase == "confirm"
        and claim.id not in gated
        and not futile(verdict, looks, futility)
    ]


def reads(study: Study, claims: Sequence[Claim], arm: str, cell: Mapping[str, Any]) -> bool:
    """Whether any of the claims reads this arm in this cell."""
    return any(
        one == arm and all(is_level(cell[factor], level) for factor, level in where.items())
        for claim in claims
        for one, where in claim.check.places(study)
    )


def _reached(study: Study, claim: Claim, frame: pd.DataFrame, seeds: int) -> bool:
    """Whether every cell that the claim reads has had its seeds for a look."""
    rows = frame.loc[frame["phase"] == "confirm", ["arm", *study.vary, "seed"]].drop_duplicates()
    counts = Counter(rows[["arm", *study.vary]].itertuples(index=False, name=None))
    mine = [
        count
        for (arm, *cell), count in counts.items()
        if reads(study, [claim], arm, dict(zip(study.vary, cell, strict=True)))
    ]
    return bool(mine) and min(mine) >= seeds


def _at(verdict: Verdict, look: int, seeds: int, most: int) -> Verdict:
    return replace(verdict, look=look, seeds_used=seeds, seeds_allowed=most)


def _look(
    study: Study, claims: list[Claim], decided: set[str], frame: pd.DataFrame, level: float
) -> list[Verdict]:
    """The verdicts of one look at some claims, at one family-wise level. Of the others some are
    decided, and the rest read no further seeds and stay open."""
    found = [_evidence(claim, study, frame) for claim in claims]
    adjusted, alpha = _corrected(study, claims, decided, [_p(e) for e in found], level)
    return [
        _verdict(study, claim, e, float(p), float(a), level)
        for claim, e, p, a in zip(claims, found, adjusted, alpha, strict=True)
    ]


def _alone(study: Study, claim: Claim, frame: pd.DataFrame) -> Verdict:
    """The verdict on one claim as if there were no other."""
    e = _evidence(claim, study, frame)
    return _verdict(study, claim, e, _p(e), LEVEL, LEVEL)


def _p(e: Evidence) -> float:
    return min(1.0, 2 * min(e.p_for(), e.p_against()))


def _verdict(
    study: Study, claim: Claim, e: Evidence, p: float, alpha: float, level: float
) -> Verdict:
    """The verdict on a claim from its evidence, its corrected p value and its own level."""
    outcome: Outcome = "inconclusive"
    check = shown(claim.check, e.weakest)
    if p <= level:
        outcome = "supported" if e.p_for() <= e.p_against() else "refuted"
    low, high = e.estimate.interval(1 - alpha) if e.estimate else (float("-inf"), float("inf"))
    if e.estimate and not math.isnan(e.estimate.effect):
        # draws may all lie on one side of the estimate: what is printed holds both
        low, high = min(low, e.estimate.effect), max(high, e.estimate.effect)
        if low <= e.margin <= high and e.direction != "within":
            outcome = "inconclusive"
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=study.cite(claim.source),
        verdict=outcome,
        effect=e.estimate.effect if e.estimate else float("nan"),
        low=low,
        high=high,
        p=p,
        margin=e.margin,
        unit=check.unit(study),
        n=e.estimate.n if e.estimate else 0,
        direction=e.direction,
        reason="; ".join(filter(None, [e.reason, "" if alpha else WAITS])),
        quantity=claim.check.quantity(study),
        figure=claim.figure,
        published=claim.published,
        test=e.test,
        replication=check.replication,
        timed=claim.check.timed,
        weakest=e.weakest,
        improvement=_improvement(e, study.metrics.get(check.metric), 1 - alpha),
        middle=_middle(e.estimate),
        level=alpha,
    )


def _corrected(
    study: Study, claims: list[Claim], decided: set[str], p: list[float], level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p and level of each of the claims, by their families."""
    ids = [claim.id for claim in study.tested]
    places = [ids.index(claim.id) for claim in claims]
    all_p, tested = np.ones(len(ids)), np.zeros(len(ids), bool)
    all_p[places], tested[places] = p, True
    open_ = np.array([id_ not in decided for id_ in ids], bool)
    adjusted, alpha = stats.stepwise(all_p, study.grouped(), level, tested, open_)
    return adjusted[places], alpha[places]


def _improvement(e: Evidence, metric: Metric | None, level: float) -> Beside | None:
    if e.pair is None or metric is None:
        return None
    a, b = e.pair if metric.better != "low" else reversed(e.pair)
    found = stats.probability_of_improvement(a, b)
    return Beside(found.effect, *found.interval(level))


def _middle(estimate: stats.Estimate | None) -> float | None:
    if isinstance(estimate, stats.Mean) and stats.heavy_tailed(estimate.values):
        return stats.interquartile_mean(estimate.values)
    return None


def _evidence(claim: Claim, study: Study, frame: pd.DataFrame) -> Evidence:
    try:
        evidence: Evidence = claim.check.evidence(frame, study)
    except (Missing, ValueError) as why:  # ValueError: numbers that the estimate cannot take
        return Evidence(None, claim.check.margin, claim.check.direction, str(why))
    return evidence
