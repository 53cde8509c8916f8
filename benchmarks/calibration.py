"""How often the intervals of `harness.stats` and the verdicts of `harness.claims` are right.

Run as ``python -m benchmarks.calibration`` (or ``make calibration``): prints the tables and writes
``benchmarks/calibration.json``. Each row simulates studies whose truth is known: arms that are
alike, or that differ by a planted effect, with normal, skewed and heavy-tailed outcomes.

A 95 % interval should hold the truth in 93 to 97 % of studies from ten seeds on, and no more than
5 % of studies of identical arms should find a difference. What misses that is marked, not left out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from harness import Budget, Claim, Metric, Study, stats
from harness.claims import higher, judge, rows_for

FILE = Path(__file__).resolve().parent / "calibration.json"
LEVEL = 0.05
ROOM = 0.02  # how far coverage may lie from nominal
SEED = 20

Array = np.ndarray
Generator = np.random.Generator
Draw = Callable[[Generator, "int | tuple[int, ...]"], Array]

OUTCOMES: dict[str, Draw] = {
    "normal": lambda g, size: g.normal(size=size),
    "exponential": lambda g, size: g.exponential(size=size),
    "lognormal": lambda g, size: g.lognormal(size=size),
    "Laplace": lambda g, size: g.laplace(size=size),
    "t, 3 df": lambda g, size: g.standard_t(3, size=size),
}
MEAN = {"exponential": 1.0, "lognormal": math.exp(0.5)}  # 0 for the others
MEDIAN = {"exponential": math.log(2), "lognormal": 1.0}
DEVIATION = {"lognormal": math.sqrt((math.e - 1) * math.e), "Laplace": math.sqrt(2),
             "t, 3 df": math.sqrt(3)}  # 1 for the others  # fmt: skip


def middle_half(outcome: str) -> float:
    """The mean of the middle half of a distribution, by its quantiles."""
    levels = 0.25 + 0.5 * (np.arange(10_000) + 0.5) / 10_000
    if outcome == "exponential":
        return float(-np.log1p(-levels).mean())
    if outcome == "lognormal":
        from scipy import special

        return float(np.exp(special.ndtri(levels)).mean())
    return 0.0


@dataclass(frozen=True)
class Case:
    """One estimate of one kind of study.

    Args:
        name: The function of `harness.stats`.
        study: What is simulated.
        estimate: From a generator, a drawing function and n: one estimate.
        truth: What it estimates, by outcome.
        outcomes: Which.
        cost: How many times fewer studies than others it is given.
    """

    name: str
    study: str
    estimate: Callable[[Generator, Draw, int], stats.Estimate]
    truth: Callable[[str], float] = lambda outcome: 0.0
    outcomes: tuple[str, ...] = tuple(OUTCOMES)
    cost: int = 1


@dataclass(frozen=True)
class Row:
    """Of `studies` studies, the shares whose interval held the truth, lay above it, or below."""

    name: str
    study: str
    outcome: str
    n: int
    studies: int
    covered: float
    above: float
    below: float
    within: bool  # coverage within two points of nominal, allowing for simulation error
    honest: bool  # no more errors than stated, allowing for it


def error(rate: float, studies: int) -> float:
    """Three standard errors of a simulated rate."""
    return 3 * math.sqrt(rate * (1 - rate) / studies)


def measure(case: Case, outcome: str, n: int, studies: int, generator: Generator) -> Row:
    """Simulate one case."""
    studies = max(1, studies // case.cost)
    truth, draw = case.truth(outcome), OUTCOMES.get(outcome, OUTCOMES["normal"])
    above = below = 0
    for _ in range(studies):
        found = case.estimate(generator, draw, n)
        above += found.p_above(truth) <= LEVEL / 2
        below += found.p_below(truth) <= LEVEL / 2
    wrong = (above + below) / studies
    slack = error(LEVEL, studies)
    return Row(
        case.name, case.study, outcome, n, studies, 1 - wrong, above / studies, below / studies,
        within=abs(wrong - LEVEL) <= ROOM + slack, honest=wrong <= LEVEL + slack,
    )  # fmt: skip


def _pair(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    return draw(g, n), draw(g, n)


def _positive(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    return np.exp(draw(g, n)), np.exp(draw(g, n))


def _with_misses(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    times = np.exp(draw(g, (2, n)))
    times[g.random((2, n)) < 0.2] = np.inf
    return times[0], times[1]


def _correlated(g: Generator, n: int, rho: float) -> tuple[Array, Array]:
    x, y = g.normal(size=(2, n))
    return x, rho * x + math.sqrt(1 - rho**2) * y


def _means(batch: Array) -> Array:
    return np.asarray(batch.mean(axis=1))


def _pooled(batch: Array) -> Array:  # (batch, seeds, tasks) -> (batch,)
    return stats.interquartile(batch.reshape(batch.shape[0], -1))


ALIKE, ONE = "two arms alike, paired", "one arm"
GROUPS = "two groups alike"

CASES: tuple[Case, ...] = (
    Case("mean_difference", ALIKE, lambda g, d, n: stats.mean_difference(*_pair(g, d, n))),
    Case("sign_flip", ALIKE, lambda g, d, n: stats.sign_flip(*_pair(g, d, n), g, 999), cost=2),
    Case("mean", ONE, lambda g, d, n: stats.mean(d(g, n)), lambda o: MEAN.get(o, 0.0)),
    Case("mean", ALIKE, lambda g, d, n: stats.mean(d(g, n) - d(g, n))),
    Case("Mean (plain t)", ONE, lambda g, d, n: stats.Mean(d(g, n)), lambda o: MEAN.get(o, 0.0)),
    Case("median", ONE, lambda g, d, n: stats.median(d(g, n)), lambda o: MEDIAN.get(o, 0.0)),
    Case("interquartile_mean", ONE, lambda g, d, n: stats.interquartile_mean(d(g, n)),
         middle_half),
    Case("mean_ratio", ALIKE, lambda g, d, n: stats.mean_ratio(*_positive(g, d, n)),
         lambda o: 1.0),
    Case("median_ratio", ALIKE, lambda g, d, n: stats.median_ratio(*_positive(g, d, n)),
         lambda o: 1.0),
    Case("median_ratio", "arms alike, a fifth never there",
         lambda g, d, n: stats.median_ratio(*_with_misses(g, d, n)), lambda o: 1.0),
    Case("welch", GROUPS, lambda g, d, n: stats.welch(d(g, n), d(g, n))),
    Case("welch", "one twice the size, a third the spread",
         lambda g, d, n: stats.welch(d(g, 2 * n), 3 * d(g, n)), outcomes=("normal", "Laplace", "t, 3 df")),
    Case("probability_of_improvement", GROUPS,
         lambda g, d, n: stats.probability_of_improvement(d(g, n), d(g, n)), lambda o: 0.5),
    Case("probability_of_improvement", "one standard deviation apart",
         lambda g, d, n: stats.probability_of_improvement(1 + d(g, n), d(g, n)),
         lambda o: {"normal": 0.7602499, "exponential": 1 - 0.5 * math.exp(-1)}[o],
         outcomes=("normal", "exponential")),
    Case("cohen_dz", ALIKE, lambda g, d, n: stats.cohen_dz(*_pair(g, d, n))),
    Case("cohen_dz", "one standard deviation apart",
         lambda g, d, n: stats.cohen_dz(d(g, n) + 1, np.zeros(n)), lambda o: 1.0, ("normal",)),
    Case("cohen_dz", "one standard deviation apart",
         lambda g, d, n: stats.cohen_dz(d(g, n) - d(g, n) + 2, np.zeros(n)),
         lambda o: 2.0 / (math.sqrt(2) * DEVIATION.get(o, 1.0)),
         ("exponential", "Laplace", "t, 3 df")),
    Case("hedges_g", GROUPS, lambda g, d, n: stats.hedges_g(d(g, n), d(g, n))),
    Case("hedges_g", "one standard deviation apart",
         lambda g, d, n: stats.hedges_g(DEVIATION.get("", 1.0) + d(g, n), d(g, n)),
         lambda o: 1.0 / DEVIATION.get(o, 1.0), ("normal", "exponential", "Laplace")),
    Case("bootstrap of the mean", ALIKE,
         lambda g, d, n: stats.bootstrap(d(g, n) - d(g, n), _means, g, 999), cost=4),
    Case("bootstrap of the mean", ONE, lambda g, d, n: stats.bootstrap(d(g, n), _means, g, 999),
         lambda o: MEAN.get(o, 0.0), cost=4),
    Case("Bootstrap, percentiles", ALIKE,
         lambda g, d, n: stats.bootstrap(d(g, n) - d(g, n), _means, g, 999).parts[0], cost=4),
    Case("Bootstrap, percentiles", ONE,
         lambda g, d, n: stats.bootstrap(d(g, n), _means, g, 999).parts[0],
         lambda o: MEAN.get(o, 0.0), cost=4),
    Case("Bootstrap, BCa", ONE,
         lambda g, d, n: stats.bootstrap(d(g, n), _means, g, 999).parts[1],
         lambda o: MEAN.get(o, 0.0), cost=4),
    Case("bootstrap of interquartile", "5 tasks, difference of arms alike",
         lambda g, d, n: stats.bootstrap(d(g, (n, 5)) - d(g, (n, 5)), _pooled, g, 999), cost=8),
    Case("spearman", "unrelated", lambda g, d, n: stats.spearman(*_correlated(g, n, 0.0)),
         outcomes=("normal",)),
    Case("spearman", "correlation 0.6", lambda g, d, n: stats.spearman(*_correlated(g, n, 0.6)),
         lambda o: 6 / math.pi * math.asin(0.3), ("normal",)),
    Case("kendall", "unrelated", lambda g, d, n: stats.kendall(*_correlated(g, n, 0.0)),
         outcomes=("normal",)),
    Case("kendall", "correlation 0.6", lambda g, d, n: stats.kendall(*_correlated(g, n, 0.6)),
         lambda o: 2 / math.pi * math.asin(0.6), ("normal",)),
)  # fmt: skip
