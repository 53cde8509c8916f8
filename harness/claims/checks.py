"""Checks that read one number a seed: a level, a difference or a ratio, against a margin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.reading import enough, place, rows_for, values
from harness.claims.verdicts import MIN_SEEDS, At, Direction, Evidence
from harness.study import InvalidStudy, Study

Place = tuple[str, Mapping[str, Any]]  # an arm, and levels of `vary`


@dataclass(frozen=True)
class Check:
    """What every check has: a metric, an arm, a place, and a direction.

    Args:
        where: Levels of `vary` that pick the cell.
        at: "end" (the last step that reports the metric), "start" (the first) or a step.
        phase: Whose trials are read: "confirm", or "tune" for claims about the search itself.
    """

    metric: str
    arm: str
    direction: Direction
    margin: float
    where: tuple[tuple[str, Any], ...] = ()
    at: At = "end"
    phase: str = "confirm"

    replication = "seed"
    least = MIN_SEEDS  # seeds that can decide it
    timed = False  # whether it reads times, which no second run repeats

    def places(self, study: Study) -> list[Place]:
        """The arms and cells that are read; further seeds of others say nothing here."""
        return [(self.arm, dict(self.where))]

    def reads(self, study: Study) -> set[tuple[str, str]]:
        """Phases and metrics that are read."""
        return {(self.phase, self.metric)}

    def unit(self, study: Study) -> str:
        return study.metrics[self.metric].unit

    def quantity(self, study: Study) -> str:
        """What the effect is, in words, for axes and tables."""
        return f"{self._metric(study)}, {study.label(self.arm)}{self._place(self.where)}"

    def _metric(self, study: Study) -> str:
        return study.metrics[self.metric].label or self.metric.replace("_", " ")

    def _place(self, where: Iterable[tuple[str, Any]]) -> str:
        named = ", ".join(
            str(v) if isinstance(v, str) else f"{k.replace('_', ' ')} {v}" for k, v in where
        )
        step = f"step {self.at}" if isinstance(self.at, int) else f"the {self.at}"
        when = "" if self.at == "end" else f" at {step}"
        return (f" ({named})" if named else "") + when

    def validate(self, study: Study) -> None:
        """Raise `InvalidStudy` for an unknown name or level, or a place that is not one cell."""
        self._names_metric(study)
        for arm, where in self.places(study):
            if arm not in study.arms:
                raise InvalidStudy(f"a claim names arm {arm!r}; allowed: {', '.join(study.arms)}")
            for factor, level in where.items():
                if factor not in study.vary:
                    raise InvalidStudy(
                        f"a claim narrows {factor!r}; allowed: {', '.join(study.vary) or '(none)'}"
                    )
                if level not in study.vary[factor]:
                    raise InvalidStudy(
                        f"a claim reads {factor}={level!r}; allowed: "
                        f"{', '.join(map(str, study.vary[factor]))}"
                    )
        for _, where in self.places(study):
            self._one_cell(study, where)

    def _names_metric(self, study: Study) -> None:
        if self.metric not in study.metrics:
            raise InvalidStudy(
                f"a claim reads metric {self.metric!r}; allowed: {', '.join(study.metrics)}"
            )

    def _one_cell(self, study: Study, where: Mapping[str, Any]) -> None:
        mixed = [f for f, levels in study.vary.items() if len(levels) > 1 and f not in where]
        if mixed:
            raise InvalidStudy(
                f"a claim on {self.metric!r} of {self.arm!r} would mix the levels of "
                f"{', '.join(mixed)}; allowed: one level of each, as in "
                f"{mixed[0]}={study.vary[mixed[0]][0]!r}"
            )

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        raise NotImplementedError

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        """A small frame in which the claim plainly holds, or plainly does not."""
        raise NotImplementedError

    def _values(self, frame: pd.DataFrame, study: Study, place: Place) -> pd.Series:
        return values(frame, study, self.metric, *place, self.at, self.phase)

    def _rows(self, study: Study, place: Place, column: Iterable[float]) -> pd.DataFrame:
        arm, where = place
        return rows_for(study, self.metric, arm, column, at=self.at, phase=self.phase, **where)


SOME = "as some are infinite; interpolated sign test, open towards where more are infinite"


def difference_of(a: np.ndarray, b: np.ndarray, direction: Direction) -> stats.Estimate:
    """The estimate of a - b, paired; where both are as bad as can be they do not differ."""
    with np.errstate(invalid="ignore"):
        difference = np.where(np.isinf(a) & (a == b), 0.0, a - b)
    return stats.centre(difference, symmetric=True, both=direction == "within")


def _joined(notes: Iterable[str]) -> str:
    return "; ".join(filter(None, notes))


def alike(column: np.ndarray, unit: str = "seed") -> str:
    """What a test's description adds where every unit gave the same number, and so no spread."""
    return f"; all {len(column)} {unit}s gave the same number" if stats.all_same(column) else ""


def unbounded(columns: Iterable[tuple[str, np.ndarray]], unit: str = "seed") -> str:
    """A note on how many scores of each arm in its cell are infinite, where any is."""
    counts = [(here, int(np.isinf(column).sum()), len(column)) for here, column in columns]
    if not any(count for _, count, _ in counts):
        return ""
    some = " and ".join(f"{count} of {n} {unit}s of {here}" for here, count, n in counts)
    return f"{some} have no finite score, so that the mean has no bound"


def _side(direction: str, hold: bool) -> float:
    return 1.0 if (direction == "above") == hold else -1.0


@dataclass(frozen=True)
class Level(Check):
    """A metric of one arm against a threshold."""

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        column = self._values(frame, study, (self.arm, dict(self.where)))
        note = enough(frame, self.arm, dict(self.where), self.phase, len(column), len(column))
        estimate = stats.centre(column.to_numpy())
        test = "mean over seeds, t with Hall's correction for skewness"
        if isinstance(estimate, stats.Unbounded):
            test = f"median over seeds, {SOME}"
        test += alike(column.to_numpy())
        here = place(self.arm, dict(self.where))
        notes = [note, unbounded([(here, column.to_numpy())])]
        return Evidence(estimate, self.margin, self.direction, _joined(notes), test)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        # near enough that two levels may be the ends of a band
        spread = 1e-6 * max(abs(self.margin), 1e-6)
        centre = self.margin + _side(self.direction, hold) * 10 * spread
        column = centre + spread * np.linspace(-1, 1, seeds)
        return self._rows(study, (self.arm, dict(self.where)), column)


@dataclass(frozen=True)
class Difference(Check):
    """The mean difference between two arms, paired by seed, against a margin or a band.

    Args:
        than: The arm that is subtracted; it may be the same arm in another cell.
        against: Levels of `vary` in which `than` is read, where they differ from `where`.
    """

    than: str = ""
    against: tuple[tuple[str, Any], ...] = ()

    def places(self, study: Study) -> list[Place]:
        where = dict(self.where)
        return [(self.arm, where), (self.than, where | dict(self.against))]

    def quantity(self, study: Study) -> str:
        return f"{self._metric(study)}, {self._two(study, 'minus')}"

    def improvement(self, study: Study) -> str:
        """What `Verdict.improvement` is the chance of, in words."""
        side = "better" if study.metrics[self.metric].better else "higher"
        return self._two(study, f"is {side} than")

    def _two(self, study: Study, word: str) -> str:
        one, other = study.label(self.arm), study.label(self.than)
        if not self.against:
            return f"{one} {word} {other}{self._place(self.where)}"
        shared = [item for item in self.where if item[0] not in dict(self.against)]
        own = [item for item in self.where if item[0] in dict(self.against)]
        named = [", ".join(f"{k.replace('_', ' ')} {v}" for k, v in w) for w in (own, self.against)]
        return f"{one} at {named[0]} {word} {other} at {named[1]}{self._place(shared)}"

    def pair(self, frame: pd.DataFrame, study: Study) -> tuple[np.ndarray, np.ndarray, str]:
        """The two arms' numbers for the seeds they share, and a note on what is left out."""
        columns = [self._values(frame, study, place) for place in self.places(study)]
        shared = columns[0].index.intersection(columns[1].index)
        notes = [
            enough(frame, *place, self.phase, len(shared), len(column))
            for place, column in zip(self.places(study), columns, strict=True)
        ]
        a, b = (column[shared].to_numpy() for column in columns)
        return a, b, "; ".join(filter(None, notes))

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        a, b, note = self.pair(frame, study)
        estimate = difference_of(a, b, self.direction)
        test = f"mean of differences paired by {self.replication}, Student's t"
        if isinstance(estimate, stats.Unbounded):
            test = f"median of differences paired by {self.replication}, {SOME}"
        if self.direction == "within":
            test += ", two one-sided tests"
        if isinstance(estimate, stats.Mean):
            test += alike(estimate.values, self.replication)
        notes = [note, self._unbounded(study, a, b)]
        return Evidence(estimate, self.margin, self.direction, _joined(notes), test, pair=(a, b))

    def _unbounded(self, study: Study, a: np.ndarray, b: np.ndarray) -> str:
        names = [place(*one) for one in self.places(study)]
        return unbounded(zip(names, (a, b), strict=True), self.replication)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        size = max(abs(self.margin), 0.01)
        if self.direction == "within":
            shift = 0.0 if hold else 5 * size
        else:
            shift = self.margin + _side(self.direction, hold) * 5 * size
        noise = 0.01 * size * np.linspace(-1, 1, seeds)
        base = np.full(seeds, 0.5)
        one, other = self.places(study)
        return pd.concat(
            [self._rows(study, one, base + shift + noise), self._rows(study, other, base)]
        )


@dataclass(frozen=True)
class Ratio(Difference):
    """The median ratio of two arms, paired by seed, against a threshold; "never" is infinity."""

    def unit(self, study: Study) -> str:
        return "ratio"

    def quantity(self, study: Study) -> str:
        return f"{self._metric(study)}, {self._two(study, 'over')}"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        a, b, note = self.pair(frame, study)
        never = int((np.isinf(a) & np.isinf(b)).sum())
        if never:
            note = "; ".join(filter(None, [note, f"in {never} seeds neither arm got there"]))
        ratio = stats.median_ratio(a, b)
        estimate = stats.Unbounded(
            ratio, int((np.isinf(b) & np.isfinite(a)).sum()), int(np.isinf(ratio.values).sum())
        )
        test = "median of ratios paired by seed, interpolated sign test" + alike(ratio.values)
        notes = [note, self._unbounded(study, a, b)]
        return Evidence(estimate, self.margin, self.direction, _joined(notes), test, pair=(a, b))

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        ratio = self.margin * 1.01 ** _side(self.direction, hold)  # two may be the ends of a band
        base = np.linspace(100, 101, seeds)
        one, other = self.places(study)
        return pd.concat([self._rows(study, one, base * ratio), self._rows(study, other, base)])
