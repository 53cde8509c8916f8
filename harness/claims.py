"""Checks that turn a claim and a frame of rows into a verdict. Layer 4.

A check is a frozen value: which metric, of which arm, where, against what margin. `judge` applies
all checks of a study to its frame, corrects over them (Holm) and returns one `Verdict` a claim.

Every check reads *confirm* rows unless it says otherwise, takes one number a seed (the replication
unit), gives a diverged trial its metric's worst score, and leaves out failed trials, saying so.
``where`` keywords pick a cell: ``below("loss", 0.1, arm="adam", task="digits")``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness import stats
from harness.study import Claim, InvalidStudy, Study

LEVEL = 0.05  # family-wise, over a study's claims
MIN_SEEDS = 5  # fewer give "inconclusive", whatever they say

Outcome = Literal["supported", "refuted", "inconclusive"]
At = Literal["end", "start"] | int


@dataclass(frozen=True)
class Verdict:
    """What the trials say about a claim.

    `effect` lies in [`low`, `high`] at the study-wide level; `p` is two-sided against `margin`
    and Holm-corrected. `reason` says in words why a verdict is inconclusive, or what was left out.
    """

    id: str
    statement: str
    source: str
    verdict: Outcome
    effect: float
    low: float
    high: float
    p: float
    margin: float
    unit: str
    n: int
    direction: str = ""
    reason: str = ""
    quantity: str = ""
    figure: str | None = None
    published: str | None = None


@dataclass(frozen=True)
class Evidence:
    """A check's reading of a frame: an estimate, and which side of which threshold is claimed."""

    estimate: stats.Estimate | None
    margin: float
    direction: Literal["above", "below", "within"]
    reason: str = ""

    def p_for(self) -> float:
        """One-sided p against the claim being false."""
        e = self.estimate
        if e is None:
            return 1.0
        if self.direction == "above":
            return e.p_above(self.margin)
        if self.direction == "below":
            return e.p_below(self.margin)
        return max(e.p_above(-self.margin), e.p_below(self.margin))

    def p_against(self) -> float:
        """One-sided p against the claim being true."""
        e = self.estimate
        if e is None:
            return 1.0
        if self.direction == "above":
            return e.p_below(self.margin)
        if self.direction == "below":
            return e.p_above(self.margin)
        return min(e.p_above(self.margin), e.p_below(-self.margin))


class _Missing(Exception):
    """The frame lacks what a check reads; the text is the verdict's reason."""


def values(
    frame: pd.DataFrame,
    study: Study,
    metric: str,
    arm: str,
    where: Mapping[str, Any] | None = None,
    at: At = "end",
    phase: str = "confirm",
) -> pd.Series:
    """One number a seed: the metric of one arm in one cell, at one step.

    Args:
        at: "end" (the last step that reports the metric), "start" (the first) or a step.

    Returns:
        A series indexed by seed; diverged trials carry the metric's worst score, failed trials
        are absent.
    """
    mask = (frame["phase"] == phase) & (frame["arm"] == arm)
    for factor, level in (where or {}).items():
        mask &= frame[factor] == level
    rows = frame[mask]
    diverged = rows.loc[rows["status"] == "diverged", "seed"].unique()
    rows = rows[(rows["status"] == "finished") & rows[metric].notna()]
    if isinstance(at, int):
        rows = rows[rows["step"] == at]
    ordered = rows.sort_values("step", kind="stable").groupby("seed")[metric]
    series = ordered.first() if at == "start" else ordered.last()
    worst = pd.Series(study.metrics[metric].worst_value, index=diverged, dtype=float)
    return pd.concat([series.astype(float), worst]).sort_index()


def _enough(frame: pd.DataFrame, arm: str, where: Mapping[str, Any], phase: str, n: int) -> str:
    """A note about failed trials; raises where more than half failed or too few seeds remain."""
    mask = (frame["phase"] == phase) & (frame["arm"] == arm)
    for factor, level in where.items():
        mask &= frame[factor] == level
    status = frame[mask].groupby("seed")["status"].first()
    failed = int((status == "failed").sum())
    place = " ".join([arm, *(f"{k}={v}" for k, v in where.items())])
    if failed * 2 > len(status):
        raise _Missing(f"{failed} of {len(status)} trials of {place} failed")
    if not len(status):
        raise _Missing(f"no {phase} trials of {place}")
    if n < MIN_SEEDS:
        raise _Missing(f"{n} seeds of {place}; at least {MIN_SEEDS} are needed")
    return f"{failed} of {len(status)} trials of {place} failed and are left out" if failed else ""


@dataclass(frozen=True)
class Check:
    """What every check has: a metric, an arm, a place, and a direction."""

    metric: str
    arm: str
    direction: Literal["above", "below", "within"]
    margin: float
    where: tuple[tuple[str, Any], ...] = ()
    at: At = "end"
    phase: str = "confirm"

    def arms(self) -> tuple[str, ...]:
        return (self.arm,)

    def unit(self, study: Study) -> str:
        return study.metrics[self.metric].unit

    def quantity(self, study: Study) -> str:
        """What the effect is, in words, for axes and tables."""
        metric = study.metrics[self.metric].label or self.metric.replace("_", " ")
        return f"{metric}, {study.label(self.arm)}{self._place(study)}"

    def _place(self, study: Study) -> str:
        place = ", ".join(str(v) if isinstance(v, str) else f"{k} {v}" for k, v in self.where)
        when = (
            ""
            if self.at == "end"
            else f" at {'step ' if isinstance(self.at, int) else 'the '}{self.at}"
        )
        return (f" ({place})" if place else "") + when

    def validate(self, study: Study) -> None:
        """Raise `InvalidStudy` for an unknown arm, metric, factor or level."""
        if self.metric not in study.metrics:
            raise InvalidStudy(
                f"a claim reads metric {self.metric!r}; allowed: {', '.join(study.metrics)}"
            )
        for arm in self.arms():
            if arm not in study.arms:
                raise InvalidStudy(f"a claim names arm {arm!r}; allowed: {', '.join(study.arms)}")
        for factor, level in self.where:
            if factor not in study.vary:
                raise InvalidStudy(
                    f"a claim narrows {factor!r}; allowed: {', '.join(study.vary) or '(none)'}"
                )
            if level not in study.vary[factor]:
                raise InvalidStudy(
                    f"a claim reads {factor}={level!r}; allowed: "
                    f"{', '.join(map(str, study.vary[factor]))}"
                )

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        raise NotImplementedError

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        """A small frame in which the claim plainly holds, or plainly does not."""
        raise NotImplementedError

    def _values(self, frame: pd.DataFrame, study: Study, arm: str) -> pd.Series:
        return values(frame, study, self.metric, arm, dict(self.where), self.at, self.phase)

    def _rows(self, study: Study, arm: str, column: Iterable[float]) -> pd.DataFrame:
        return _rows(study, self.metric, arm, dict(self.where), column, self.at, self.phase)


def _rows(
    study: Study,
    metric: str,
    arm: str,
    where: Mapping[str, Any],
    column: Iterable[float],
    at: At = "end",
    phase: str = "confirm",
) -> pd.DataFrame:
    """Rows as a run would make them, one a seed, with `metric` set; for planted frames."""
    cell = {factor: levels[0] for factor, levels in study.vary.items()} | dict(where)
    step = at if isinstance(at, int) else 1
    records = [
        {"study": study.name, "phase": phase, "arm": arm, **cell, "seed": seed, "step": step}
        | {"trial": f"{arm}-{seed}-{sorted(cell.items())}", "status": "finished", metric: value}
        for seed, value in enumerate(column)
    ]
    return pd.DataFrame(records).reindex(columns=study.columns())


def _side(direction: str, hold: bool) -> float:
    return 1.0 if (direction == "above") == hold else -1.0


@dataclass(frozen=True)
class Level(Check):
    """A metric of one arm against a threshold."""

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        column = self._values(frame, study, self.arm)
        note = _enough(frame, self.arm, dict(self.where), self.phase, len(column))
        finite = np.isfinite(column.to_numpy()).all()
        # A score that can be infinite (never reached) has no mean; its median is still exact.
        estimate = stats.mean(column.to_numpy()) if finite else stats.median(column.to_numpy())
        return Evidence(estimate, self.margin, self.direction, note)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        spread = 0.01 * max(abs(self.margin), 1e-6)
        centre = self.margin + _side(self.direction, hold) * 50 * spread
        return self._rows(study, self.arm, centre + spread * np.linspace(-1, 1, seeds))


@dataclass(frozen=True)
class Difference(Check):
    """The mean difference between two arms, paired by seed, against a margin or a band."""

    than: str = ""

    def arms(self) -> tuple[str, ...]:
        return (self.arm, self.than)

    def quantity(self, study: Study) -> str:
        metric = study.metrics[self.metric].label or self.metric.replace("_", " ")
        arms = f"{study.label(self.arm)} minus {study.label(self.than)}"
        return f"{metric}, {arms}{self._place(study)}"

    def pair(self, frame: pd.DataFrame, study: Study) -> tuple[np.ndarray, np.ndarray, str]:
        a, b = self._values(frame, study, self.arm), self._values(frame, study, self.than)
        shared = a.index.intersection(b.index)
        place = dict(self.where)
        notes = [_enough(frame, arm, place, self.phase, len(shared)) for arm in self.arms()]
        return a[shared].to_numpy(), b[shared].to_numpy(), "; ".join(filter(None, notes))

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        a, b, note = self.pair(frame, study)
        with np.errstate(invalid="ignore"):
            difference = np.where(np.isinf(a) & (a == b), 0.0, a - b)  # both as bad as can be
        finite = np.isfinite(difference).all()
        estimate = stats.mean(difference) if finite else stats.median(difference)
        return Evidence(estimate, self.margin, self.direction, note)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        size = max(abs(self.margin), 0.01)
        if self.direction == "within":
            shift = 0.0 if hold else 5 * size
        else:
            shift = self.margin + _side(self.direction, hold) * 5 * size
        noise = 0.01 * size * np.linspace(-1, 1, seeds)
        base = np.full(seeds, 0.5)
        return pd.concat(
            [self._rows(study, self.arm, base + shift + noise), self._rows(study, self.than, base)]
        )


@dataclass(frozen=True)
class Ratio(Difference):
    """The median ratio of two arms, paired by seed, against a threshold; "never" is infinity."""

    def unit(self, study: Study) -> str:
        return "ratio"

    def quantity(self, study: Study) -> str:
        metric = study.metrics[self.metric].label or self.metric.replace("_", " ")
        arms = f"{study.label(self.arm)} over {study.label(self.than)}"
        return f"{metric}, {arms}{self._place(study)}"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        a, b, note = self.pair(frame, study)
        never = int((np.isinf(a) & np.isinf(b)).sum())
        if never:
            note = "; ".join(filter(None, [note, f"in {never} seeds neither arm got there"]))
        return Evidence(stats.median_ratio(a, b), self.margin, self.direction, note)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        ratio = self.margin * 3 ** _side(self.direction, hold)
        base = np.linspace(100, 101, seeds)
        return pd.concat(
            [self._rows(study, self.arm, base * ratio), self._rows(study, self.than, base)]
        )


@dataclass(frozen=True)
class Everywhere(Check):
    """One check in several places: supported if it holds in all, refuted if it fails in any.

    The effect shown is that of the place that is least in favour. Intersection-union for the
    claim (the largest p), Bonferroni over places against it.
    """

    checks: tuple[Check, ...] = ()

    def arms(self) -> tuple[str, ...]:
        return tuple(arm for check in self.checks for arm in check.arms())

    def unit(self, study: Study) -> str:
        return self.checks[0].unit(study)

    def quantity(self, study: Study) -> str:
        return f"{self.checks[0].quantity(study)}, and {len(self.checks) - 1} more; the weakest"

    def validate(self, study: Study) -> None:
        for check in self.checks:
            check.validate(study)

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        found = [check.evidence(frame, study) for check in self.checks]
        weakest = max(range(len(found)), key=lambda i: (found[i].p_for(), -found[i].p_against()))
        notes = [f"weakest: {self.checks[weakest].quantity(study)}"]
        notes += [e.reason for e in found if e.reason]
        return _EverywhereEvidence(
            found[weakest].estimate,
            found[weakest].margin,
            found[weakest].direction,
            "; ".join(notes),
            tuple(found),
        )

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        frames = [check.planted(study, seeds, hold) for check in self.checks]
        return pd.concat(frames).drop_duplicates(["arm", *study.vary, "seed", "step"])


@dataclass(frozen=True)
class _EverywhereEvidence(Evidence):
    places: tuple[Evidence, ...] = ()

    def p_for(self) -> float:
        return max(place.p_for() for place in self.places)

    def p_against(self) -> float:
        return min(1.0, len(self.places) * min(place.p_against() for place in self.places))


@dataclass(frozen=True)
class Statistic(Check):
    """A plain function of one metric's final values, bootstrapped over seeds.

    `fn` takes a table with one row a seed and one column an (arm, *levels of vary); `example`
    takes a study, a number of seeds and whether the claim holds, and returns a frame, which keeps
    the claim falsifiable.
    """

    fn: Callable[[pd.DataFrame], float] | None = None
    example: Callable[[Study, int, bool], pd.DataFrame] | None = None
    words: str = ""
    unit_: str = ""
    resamples: int = 999

    def arms(self) -> tuple[str, ...]:
        return ()

    def unit(self, study: Study) -> str:
        return self.unit_

    def quantity(self, study: Study) -> str:
        return self.words

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        assert self.fn is not None
        table = final_values(frame, study, self.metric, self.phase)
        if len(table) < MIN_SEEDS:
            raise _Missing(f"{len(table)} complete seeds; at least {MIN_SEEDS} are needed")
        try:
            effect = self.fn(table)
        except (KeyError, IndexError, ValueError):  # an arm or a cell that this scale leaves out
            effect = math.nan
        if math.isnan(effect):
            raise _Missing("the rows lack what the claim reads")
        generator = np.random.default_rng(0)
        chosen = generator.integers(0, len(table), (self.resamples, len(table)))
        draws = np.array([self.fn(table.iloc[rows]) for rows in chosen])
        return Evidence(stats.Bootstrap(effect, draws, len(table)), self.margin, self.direction)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        assert self.example is not None
        return self.example(study, seeds, hold)


def final_values(
    frame: pd.DataFrame, study: Study, metric: str, phase: str = "confirm"
) -> pd.DataFrame:
    """The last value of a metric, one row a seed and one column an (arm, *vary).

    Diverged trials carry the worst score; columns that never report the metric and seeds that lack
    any of the others are left out.
    """
    rows = frame[(frame["phase"] == phase) & (frame["status"] != "failed")]
    keys = ["seed", "arm", *study.vary]
    last = rows.sort_values("step", kind="stable").groupby(keys)[[metric, "status"]].last()
    reports = last[metric].notna().groupby(keys[1:]).transform("any")
    diverged = last["status"] == "diverged"
    last.loc[diverged & reports, metric] = study.metrics[metric].worst_value
    table: pd.DataFrame = last.loc[reports, metric].unstack(keys[1:]).dropna()
    return table


def _place(where: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(where.items())


def above(metric: str, value: float, *, arm: str, at: At = "end", **where: Any) -> Check:
    """The metric of `arm` exceeds `value`, on average over seeds."""
    return Level(metric, arm, "above", value, _place(where), at)


def below(metric: str, value: float, *, arm: str, at: At = "end", **where: Any) -> Check:
    """The metric of `arm` stays under `value`, on average over seeds."""
    return Level(metric, arm, "below", value, _place(where), at)


def higher(
    metric: str, *, arm: str, than: str, by: float = 0.0, at: At = "end", **where: Any
) -> Check:
    """`arm` minus `than` exceeds `by`, paired by seed (a negative `by`: at most that much lower)."""
    return Difference(metric, arm, "above", by, _place(where), at, than=than)


def lower(
    metric: str, *, arm: str, than: str, by: float = 0.0, at: At = "end", **where: Any
) -> Check:
    """`arm` is lower than `than` by more than `by` (a negative `by`: at most that much higher)."""
    return Difference(metric, arm, "below", -by, _place(where), at, than=than)


def equivalent(
    metric: str, *, arm: str, to: str, within: float, at: At = "end", **where: Any
) -> Check:
    """`arm` and `to` differ by less than `within` (two one-sided tests; Schuirmann 1987)."""
    if within <= 0:
        raise InvalidStudy(f"equivalent(within={within}); allowed: a positive band")
    return Difference(metric, arm, "within", within, _place(where), at, than=to)


def ratio_below(
    metric: str, ratio: float, *, arm: str, than: str, at: At = "end", **where: Any
) -> Check:
    """`arm` over `than` stays under `ratio`, in the median over seeds."""
    return Ratio(metric, arm, "below", ratio, _place(where), at, than=than)


def ratio_above(
    metric: str, ratio: float, *, arm: str, than: str, at: At = "end", **where: Any
) -> Check:
    """`arm` over `than` exceeds `ratio`, in the median over seeds."""
    return Ratio(metric, arm, "above", ratio, _place(where), at, than=than)


def everywhere(check: Check, **over: Iterable[Any]) -> Check:
    """The check in every listed place: ``everywhere(lower(...), task=("beale", "saddle"))``.

    `over` names factors of `vary`, or `arm`/`than`, with the values to go through.
    """
    checks = [check]
    over = {name: tuple(levels) for name, levels in over.items()}
    for name, levels in over.items():
        if name in ("arm", "than"):
            checks = [replace(c, **{name: level}) for c in checks for level in levels]
        else:
            checks = [
                replace(c, where=tuple((dict(c.where) | {name: level}).items()))
                for c in checks
                for level in levels
            ]
    if not checks:
        raise InvalidStudy(f"everywhere({', '.join(over)}) names no place; list at least one")
    first = checks[0]
    return Everywhere(first.metric, first.arm, first.direction, first.margin, checks=tuple(checks))


def statistic(
    fn: Callable[[pd.DataFrame], float],
    margin: float,
    *,
    metric: str,
    unit: str,
    words: str,
    example: Callable[[Study, int, bool], pd.DataFrame],
    direction: Literal["above", "below"] = "above",
) -> Check:
    """A function of a metric's final values (see `Statistic`) is above, or below, `margin`."""
    return Statistic(metric, "", direction, margin, fn=fn, example=example, words=words, unit_=unit)


def rows_for(
    study: Study, metric: str, arm: str, column: Iterable[float], **where: Any
) -> pd.DataFrame:
    """Rows of one arm with one metric, one a seed: what `example` functions are made of."""
    return _rows(study, metric, arm, where, column)


def judge(study: Study, frame: pd.DataFrame, level: float = LEVEL) -> list[Verdict]:
    """Judge every claim of a study on its frame, Holm-corrected over the claims.

    A verdict is "supported" when the whole interval lies on the claimed side of the margin,
    "refuted" when it lies wholly on the other side, else "inconclusive".
    """
    found = [_evidence(claim, study, frame) for claim in study.claims]
    if not found:
        return []
    p = [min(1.0, 2 * min(e.p_for(), e.p_against())) for e in found]
    adjusted, alpha = stats.holm(np.array(p), level)
    verdicts = []
    for claim, e, p_one, a in zip(study.claims, found, adjusted, alpha, strict=True):
        outcome: Outcome = "inconclusive"
        if p_one <= level:
            outcome = "supported" if e.p_for() <= e.p_against() else "refuted"
        low, high = e.estimate.interval(1 - a) if e.estimate else (float("-inf"), float("inf"))
        verdicts.append(
            Verdict(
                id=claim.id,
                statement=claim.statement,
                source=study.cite(claim.source),
                verdict=outcome,
                effect=e.estimate.effect if e.estimate else float("nan"),
                low=low,
                high=high,
                p=float(p_one),
                margin=e.margin,
                unit=claim.check.unit(study),
                n=e.estimate.n if e.estimate else 0,
                direction=e.direction,
                reason=e.reason,
                quantity=claim.check.quantity(study),
                figure=claim.figure,
                published=claim.published,
            )
        )
    return verdicts


def _evidence(claim: Claim, study: Study, frame: pd.DataFrame) -> Evidence:
    try:
        evidence: Evidence = claim.check.evidence(frame, study)
    except (_Missing, ValueError) as why:  # ValueError: numbers that the estimate cannot take
        return Evidence(None, claim.check.margin, claim.check.direction, str(why))
    return evidence
