"""Ranks: of arms over many tasks, and how two orders agree."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from harness.claims.stats import special
from harness.claims.stats.estimate import INFINITE, Array, at_least, paired, table
from harness.study import BadInput


@dataclass(frozen=True)
class Ranking:
    """Arms ranked within each task (Demsar 2006).

    Attributes:
        mean_ranks: (arms,) 1 is best; ties share their ranks.
        statistic: Friedman's (1937) chi-squared, corrected for ties.
        p: Of "all arms are alike": from chi-squared, or from Iman & Davenport's (1980) F, whichever
            is larger. F alone, which Demsar prefers, rejects 5.8 % of equal arms at 20 tasks.
        critical_difference: Nemenyi's (1963): two arms differ at `level` if their mean ranks are
            further apart than this.
        tasks: The replication unit.
    """

    mean_ranks: Array
    statistic: float
    p: float
    critical_difference: float
    level: float
    tasks: int

    def groups(self) -> list[tuple[int, ...]]:
        """The largest sets of arms (by index, best first) within one critical difference."""
        order = np.argsort(self.mean_ranks, kind="stable")
        ranks = self.mean_ranks[order]
        found: list[tuple[int, ...]] = []
        last = 0
        for i in range(ranks.size):
            end = int(np.searchsorted(ranks, ranks[i] + self.critical_difference, side="right"))
            if end - i > 1 and end > last:
                found.append(tuple(order[i:end].tolist()))
            last = max(last, end)
        return found


def friedman(scores: Array, level: float = 0.05, better: str = "high") -> Ranking:
    """Whether arms differ over many tasks, and which.

    Args:
        scores: (tasks, arms), at least two of each; infinities are allowed.
        level: Of Nemenyi's critical difference, over all pairs of arms.
        better: "high" or "low".
    """
    from scipy import stats as scipy_stats

    scores = at_least(2, table(scores, "tasks", "arms", "scores"), "scores", "task")
    if better not in ("high", "low"):
        raise BadInput(f"better is {better!r}; allowed: 'high', 'low'")
    n, k = scores.shape
    if k < 2:
        raise BadInput(f"scores have {k} arm; allowed: at least 2")
    ranks = scipy_stats.rankdata(-scores if better == "high" else scores, axis=1)
    means = ranks.mean(axis=0)
    between = n * ((means - (k + 1) / 2) ** 2).sum()
    total = ((ranks - (k + 1) / 2) ** 2).sum()  # ties make it smaller
    if total == 0.0:  # all arms tie on all tasks
        return Ranking(means, 0.0, 1.0, nemenyi(k, n, level), level, n)
    statistic = float(n * (k - 1) * between / total)
    p = float(special.chdtrc(k - 1, statistic))
    if between < total * (1 - 1e-12):  # else the same order on every task, and F is infinite
        f = (n - 1) * between / (total - between)
        p = max(p, float(special.fdtrc(k - 1, (k - 1) * (n - 1), f)))
    return Ranking(means, statistic, p, nemenyi(k, n, level), level, n)


@functools.cache
def nemenyi(arms: int, tasks: int, level: float = 0.05) -> float:
    """The critical difference of mean ranks: q sqrt(k (k + 1) / (6 N)), q from Tukey's range."""
    from scipy import stats as scipy_stats

    q = scipy_stats.studentized_range.ppf(1 - level, arms, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(arms * (arms + 1) / (6 * tasks)))


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, with an interval on Fisher's z scale.

    Orders that agree wholly would have no error there, so they are moved inward by half the step
    to the next possible value.

    Args:
        effect: The coefficient.
        n: The pairs.
        step: Half the least change of the coefficient.
        error: Its standard error on the z scale.
    """

    effect: float
    n: int
    step: float
    error: float

    def _z(self, value: float) -> float:
        return float(np.arctanh(np.clip(value, -1.0, 1.0)))

    def _centre(self) -> float:
        return self._z(float(np.clip(self.effect, self.step - 1, 1 - self.step)))

    def p_above(self, threshold: float) -> float:
        """One-sided p of the data if the correlation were at most the threshold."""
        with np.errstate(divide="ignore"):
            return float(special.ndtr((self._z(threshold) - self._centre()) / self.error))

    def p_below(self, threshold: float) -> float:
        """One-sided p of the data if the correlation were at least the threshold."""
        return Correlation(-self.effect, self.n, self.step, self.error).p_above(-threshold)

    def interval(self, level: float) -> tuple[float, float]:
        half = float(special.ndtri((1 + level) / 2)) * self.error
        if not np.isfinite(half):
            return INFINITE
        return float(np.tanh(self._centre() - half)), float(np.tanh(self._centre() + half))


def spearman(a: Array, b: Array, unit: str = "pair") -> Correlation:
    """Spearman's rank correlation of two arrays of shape (n,), n at least 5.

    The interval is Fisher's z with Bonett & Wright's (2000) standard error.
    """
    from scipy import stats as scipy_stats

    a, b = paired(a, b, unit)
    at_least(5, a, "a", unit)
    for name, array in (("a", a), ("b", b)):
        if (array == array[0]).all():
            raise BadInput(f"{name} is {array[0]} throughout; allowed: values that differ")
    n, r = a.size, float(scipy_stats.spearmanr(a, b).statistic)
    error = np.sqrt((1 + min(r**2, 1.0) / 2) / (n - 3))
    return Correlation(r, n, 6 / (n * (n**2 - 1)), float(error))
