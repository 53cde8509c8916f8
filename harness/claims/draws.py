"""Checks that read the search itself: the draws of the tune phase, one number a trial."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.claims import stats
from harness.claims.checks import Check, Difference, Place, unbounded
from harness.claims.reading import place, rows_of, values
from harness.claims.verdicts import MIN_SEEDS, Evidence, Missing
from harness.study import InvalidStudy, Study

if TYPE_CHECKING:
    from harness.claims.importance import Importance

RESAMPLES = 99  # of trials, for the uncertainty of shares and marginals
FEW_TRIALS = 20  # fewer say nothing about a correlation or a share


def planted_draws(
    study: Study, arm: str, where: dict[str, Any], metrics: dict[str, Any]
) -> pd.DataFrame:
    """Planted rows of tune trials: metrics and nuisance by name, one value a trial."""
    cell = {factor: levels[0] for factor, levels in study.vary.items()} | where
    cell = {factor: study.held(factor, level) for factor, level in cell.items()}
    count = len(next(iter(metrics.values())))
    names = [f"{arm}-{sorted(cell.items())}-{i}" for i in range(count)]
    fixed = {"study": study.name, "phase": "tune", "arm": arm, "step": 1, "status": "finished"}
    frame = pd.DataFrame({**fixed, **cell, "trial": names, "seed": range(count), **metrics})
    return frame.reindex(columns=study.columns())


@dataclass(frozen=True)
class Best(Difference):
    """The mean of one arm's best draws against another's, unpaired (Welch's t).

    The comparison of Greff et al. (2015): of each arm's draws the best `share` by `select`, a
    validation metric, are compared on `metric`, a test metric.
    """

    share: float = 0.1
    select: str = ""
    phase: str = "tune"

    replication = "trial"

    def validate(self, study: Study) -> None:
        super().validate(study)
        if not 0 < self.share <= 1:
            raise InvalidStudy(
                f"a claim reads the best {self.share} of draws; allowed: over 0 to 1"
            )
        if self.select and self.select not in study.select:
            raise InvalidStudy(
                f"a claim selects by {self.select!r}; allowed: {', '.join(study.select)}"
            )

    def quantity(self, study: Study) -> str:
        return f"{super().quantity(study)}; best {self.share:.0%} of draws"

    def _by(self, study: Study) -> str:
        return self.select or study.select[0]

    def _scored(
        self, frame: pd.DataFrame, study: Study, where: Place, unit: str
    ) -> tuple[pd.DataFrame, str]:
        """Each draw's rank by `select`, the best the lowest, and its metric; and a note."""
        arm, cell = where
        scores, column = (
            values(frame, study, name, arm, cell, self.at, self.phase, unit)
            for name in (self._by(study), self.metric)
        )
        rows = rows_of(frame, arm, cell, self.phase)
        failed = rows.loc[rows["status"] == "failed", "trial"].nunique()
        total = rows["trial"].nunique()
        here = place(arm, cell)
        if failed * 2 > total:
            raise Missing(f"{failed} of {total} draws of {here} failed")
        diverged = rows.loc[rows["status"] == "diverged", "trial"].nunique()
        notes = [f"{failed} of {total} draws of {here} failed and are left out"] if failed else []
        notes += [f"{diverged} of {total} draws of {here} diverged"] if diverged else []
        ascending = study.metrics[self._by(study)].better == "low"
        both = pd.DataFrame({"rank": scores.rank(ascending=ascending), "value": column}).dropna()
        return both, "; ".join(notes)

    def _top(self, rank: pd.Series, here: str) -> pd.Index:
        """The draws of the lowest rank."""
        keep = math.ceil(self.share * len(rank))
        if keep < MIN_SEEDS:
            raise Missing(
                f"the best {self.share:.0%} of {len(rank)} draws of {here} are {keep}; at least "
                f"{MIN_SEEDS} are needed"
            )
        return rank.sort_values(kind="stable").index[:keep]

    def _best(self, frame: pd.DataFrame, study: Study, where: Place) -> tuple[np.ndarray, str]:
        draws, note = self._scored(frame, study, where, "trial")
        return draws["value"][self._top(draws["rank"], place(*where))].to_numpy(), note

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        (a, one), (b, other) = (self._best(frame, study, p) for p in self.places(study))
        test = (
            f"Welch's t on the best {self.share:.0%} of draws by "
            f"{self._by(study).replace('_', ' ')}, {len(a)} and {len(b)} trials, not paired"
        )
        note = "; ".join(filter(None, [one, other, self._unbounded(study, a, b)]))
        estimate = stats.welch(a, b)
        return Evidence(estimate, self.margin, self.direction, note, test, pair=(a, b))

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        count = math.ceil(max(seeds, MIN_SEEDS) / self.share)
        side = 1.0 if (self.direction == "above") == hold else -1.0
        size = max(abs(self.margin), 0.01)
        shift = self.margin + side * 5 * size
        if self.direction == "within":
            shift = 0.0 if hold else 5 * size
        noise = 0.01 * size * np.linspace(-1, 1, count)
        rank = np.linspace(0.1, 0.9, count)
        if self._by(study) == self.metric:
            rank = 0.5 + noise
        frames = []
        for (arm, where), centre in zip(self.places(study), (0.5 + shift, 0.5), strict=True):
            own = {self._by(study): rank, self.metric: centre + noise}
            frames.append(planted_draws(study, arm, dict(where), own))
        return pd.concat(frames)


@dataclass(frozen=True)
class SameDraws(Best):
    """The mean difference between two arms at the same draws, paired by draw.

    Every arm has the same draws of what it shares with others, so that most of what tells one draw
    from the next cancels. Of the draws that both arms have, those are compared that are best for
    the two together, by the sum of their ranks: a choice that favours neither, so that arms that
    are the same differ as often as Student's t allows. It asks which is better at the settings that
    are good for both, where `Best` asks which is better at its own.
    """

    replication = "draw"

    def validate(self, study: Study) -> None:
        super().validate(study)
        if study.sampler == "tpe" or study.space(self.arm) != study.space(self.than):
            raise InvalidStudy(
                f"a claim pairs draws of {self.arm!r} and {self.than!r}, which are not the same; "
                "allowed: arms that draw alike, by sampler='qmc' or 'random'"
            )

    def quantity(self, study: Study) -> str:
        return f"{super().quantity(study)} that both had"

    def pair(self, frame: pd.DataFrame, study: Study) -> tuple[np.ndarray, np.ndarray, str]:
        (a, one), (b, other) = (
            self._scored(frame, study, place, "seed") for place in self.places(study)
        )
        rank = (a["rank"] + b["rank"]).dropna()
        best = self._top(rank, f"{self.arm} and {self.than}")
        note = "; ".join(filter(None, [one, other]))
        return a["value"][best].to_numpy(), b["value"][best].to_numpy(), note

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        return Difference.evidence(self, frame, study)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        frame = super().planted(study, seeds, hold)
        jitter = 0.001 * max(abs(self.margin), 0.01) * (-1.0) ** frame["seed"]
        frame[self.metric] += jitter.where(frame["arm"] == self.arm, 0.0)
        return frame


@dataclass(frozen=True)
class BestLevel(Best):
    """How far the mean of one arm's best draws lies from a published value.

    Args:
        value: What was published.
        after: Updates that the longest trial must have been given, for the value to be comparable.
    """

    value: float = 0.0
    after: int = 0

    def places(self, study: Study) -> list[Place]:
        return [(self.arm, dict(self.where))]

    def quantity(self, study: Study) -> str:
        name = f"{Check.quantity(self, study)}, best {self.share:.0%} of draws"
        return f"{name}, less the published {self.value:g}"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        (where,) = self.places(study)
        column, note = self._best(frame, study, where)
        longest = int(rows_of(frame, *where, self.phase)["step"].max())
        if longest < self.after:
            raise Missing(
                f"the longest trial had {longest:,} updates; the published value is compared after "
                f"{self.after:,}"
            )
        test = (
            f"mean of the best {self.share:.0%} of draws by {self._by(study).replace('_', ' ')}, "
            "Student's t over trials, two one-sided tests"
        )
        note = "; ".join(
            filter(None, [note, unbounded([(place(*where), column)], self.replication)])
        )
        return Evidence(stats.Mean(column - self.value), self.margin, self.direction, note, test)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        count = math.ceil(max(seeds, MIN_SEEDS) / self.share)
        noise = 0.01 * self.margin * np.linspace(-1, 1, count)
        own = {self._by(study): np.linspace(0.1, 0.9, count)}
        own[self.metric] = self.value + (0.0 if hold else 5 * self.margin) + noise
        frame = planted_draws(study, self.arm, dict(self.where), own)
        return frame.assign(step=max(self.after, 1))


@dataclass(frozen=True)
class RankCorrelation(Check):
    """Spearman's correlation of a metric with another column, over an arm's trials in one cell."""

    column: str = ""
    phase: str = "tune"

    replication = "trial"

    def reads(self, study: Study) -> set[tuple[str, str]]:
        return {*super().reads(study), (self.phase, self.column)}

    def validate(self, study: Study) -> None:
        super().validate(study)
        allowed = [*study.metrics, *study.nuisance_names()]
        if self.column not in allowed:
            raise InvalidStudy(
                f"a claim correlates with {self.column!r}; allowed: {', '.join(allowed)}"
            )
        choices = getattr(study.space(self.arm).get(self.column), "choices", ())
        if any(not isinstance(one, int | float) for one in choices):
            raise InvalidStudy(
                f"a claim correlates with {self.column!r}, which is one of "
                f"{', '.join(map(repr, choices))}; allowed: numbers"
            )
        if not -1 < self.margin < 1:
            raise InvalidStudy(
                f"a correlation's margin is {self.margin}; allowed: between -1 and 1"
            )

    def unit(self, study: Study) -> str:
        return "Spearman's ρ"

    def quantity(self, study: Study) -> str:
        other = self.column.replace("_", " ")
        return f"{super().quantity(study)}, with {other}"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        where = dict(self.where)
        one = values(frame, study, self.metric, self.arm, where, self.at, self.phase, "trial")
        if self.column in study.metrics:
            other = values(frame, study, self.column, self.arm, where, self.at, self.phase, "trial")
        else:
            rows = rows_of(frame, self.arm, where, self.phase)
            other = rows.groupby("trial")[self.column].first().astype(float)
        shared = one.index.intersection(other.dropna().index)
        if len(shared) < FEW_TRIALS:
            raise Missing(
                f"{len(shared)} trials of {place(self.arm, where)}; at least {FEW_TRIALS} are needed"
            )
        estimate = stats.spearman(one[shared].to_numpy(), other[shared].to_numpy(), "trial")
        test = "Spearman's rank correlation over trials, Fisher's z"
        return Evidence(estimate, self.margin, self.direction, "", test)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        x = np.linspace(0.1, 0.9, max(seeds, 2 * FEW_TRIALS))
        side = 1.0 if (self.direction == "above") == hold else -1.0
        own = {self.column: x, self.metric: side * x if self.column != self.metric else x}
        return planted_draws(study, self.arm, dict(self.where), own).assign(phase=self.phase)


@dataclass(frozen=True)
class Share(Check):
    """How much of a metric's variance over the search one nuisance, or a pair, explains (fANOVA);
    or how much more than another, `than`."""

    of: tuple[str, ...] = ()
    than: tuple[str, ...] = ()
    phase: str = "tune"

    replication = "trial"

    def validate(self, study: Study) -> None:
        super().validate(study)
        space = study.space(self.arm)
        for name in (*self.of, *self.than):
            if name not in space:
                raise InvalidStudy(
                    f"a claim reads the share of {name!r}; allowed: {', '.join(space)}"
                )
        if len(self.of) not in (1, 2):
            raise InvalidStudy(f"a share of {self.of!r}; allowed: one name, or two")
        if not (-1 if self.than else 0) < self.margin < 1 or (not self.margin and not self.than):
            raise InvalidStudy(f"a share's margin is {self.margin}; allowed: between 0 and 1")

    def unit(self, study: Study) -> str:
        return "share of variance"

    def quantity(self, study: Study) -> str:
        one, other = (
            " x ".join(name.replace("_", " ") for name in names) for names in (self.of, self.than)
        )
        less = f" less that of {other}" if other else ""
        return f"share of {one}{less} in {super().quantity(study)}"

    def evidence(self, frame: pd.DataFrame, study: Study) -> Evidence:
        where = dict(self.where)
        column = values(frame, study, self.metric, self.arm, where, self.at, self.phase, "trial")
        rows = rows_of(frame, self.arm, where, self.phase).groupby("trial").first()
        trials = rows.loc[column.index]
        if len(trials) < FEW_TRIALS:
            raise Missing(
                f"{len(trials)} trials of {place(self.arm, where)}; at least {FEW_TRIALS} are needed"
            )
        found = importances(study, self.arm, trials, column.to_numpy())
        note = (
            f"{found.clipped} trials without a finite value count as the worst"
            if found.clipped
            else ""
        )
        test = f"{found.method}, bootstrap over trials"
        share = found.of(*self.of)
        if self.than:
            other = found.of(*self.than)
            share = stats.Bootstrap(share.effect - other.effect, share.draws - other.draws, share.n)
        return Evidence(share, self.margin, self.direction, note, test)

    def planted(self, study: Study, seeds: int, hold: bool) -> pd.DataFrame:
        own = drawn(study, self.arm)
        large = (self.direction == "above") == hold
        others = [name for name in own if name not in self.of]
        # two that only act apart do not interact, and what another explains is not this one's
        less = list(self.than) or others[:1] or list(self.of[:1])
        names = list(self.of) if large else less
        if len(names) == 1:
            signs = own[names[0]][1]
        else:
            # high in one corner: a forest finds that among other names, and no product of signs
            signs = np.all([own[name][1] > 0.5 for name in names], axis=0).astype(float)
        columns = {name: column for name, (column, _) in own.items()} | {self.metric: signs}
        return planted_draws(study, self.arm, dict(self.where), columns)


def drawn(study: Study, arm: str, count: int = 80) -> dict[str, tuple[Any, np.ndarray]]:
    """Values of all that an arm draws, and where each lies in its distribution, from 0 to 1."""
    generator = np.random.default_rng(0)
    return {name: _drawn(dist, generator, count) for name, dist in study.space(arm).items()}


def _drawn(dist: Any, generator: np.random.Generator, count: int) -> tuple[Any, np.ndarray]:
    """Values of a distribution, and where each lies in it, from 0 to 1."""
    u = generator.permutation((np.arange(count) + 0.5) / count)
    if hasattr(dist, "choices"):
        index = np.floor(u * len(dist.choices)).astype(int)
        return [dist.choices[i] for i in index], index / max(1, len(dist.choices) - 1)
    low, high = float(dist.low), float(dist.high)
    column = low * (high / low) ** u if dist.log else low + (high - low) * u
    whole = type(dist).__name__.startswith("Int")
    return (np.round(column).astype(int) if whole else column), u


def importances(study: Study, arm: str, trials: pd.DataFrame, objective: np.ndarray) -> Importance:
    """fANOVA of an arm's draws, made once for all claims that read the same ones."""
    space = study.space(arm)
    columns = tuple(tuple(trials[name]) for name in space)
    return _fanova(tuple(space.items()), columns, tuple(map(float, objective)))


@functools.lru_cache(maxsize=64)
def _fanova(
    space: tuple[tuple[str, Any], ...],
    columns: tuple[tuple[Any, ...], ...],
    objective: tuple[float, ...],
) -> Importance:
    from harness.claims import importance  # it takes a second to import

    drawn = dict(space)
    trials = pd.DataFrame(dict(zip(drawn, columns, strict=True)))
    generator = np.random.default_rng(0)
    return importance.fanova(trials, np.array(objective), drawn, generator, resamples=RESAMPLES)
