"""How often the intervals of `harness.claims.stats` and the verdicts of `harness.claims` are right.

Run as ``python -m benchmarks.calibration`` (or ``make calibration``): prints the tables and writes
``benchmarks/calibration.json``. Each row simulates studies whose truth is known: arms that are
alike, or that differ by a planted effect, with normal, skewed and heavy-tailed outcomes.

A 95 % interval should hold the truth in 93 to 97 % of studies from ten seeds on, and no more than
5 % of studies of identical arms should find a difference. What misses that is marked, not left out.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from harness import Budget, Claim, Family, Float, Metric, Study
from harness.claims import (
    Check,
    Evidence,
    Verdict,
    above,
    below,
    equivalent,
    every,
    higher,
    judge,
    ratio_below,
    rows_for,
    statistic,
    stats,
)
from harness.claims.checks import difference_of
from harness.claims.importance import fanova
from harness.claims.power import of_claim
from harness.claims.verdicts import Direction
from harness.study.declared import Order

FILE = Path(__file__).resolve().parent / "calibration.json"
LEVEL = 0.05
ROOM = 0.02  # how far coverage may lie from nominal, from so many seeds on:
ENOUGH = 10
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


@dataclass(frozen=True)
class Case:
    """One estimate of one kind of study.

    Args:
        name: The function of `harness.claims.stats`.
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


def _positive(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    return np.exp(draw(g, n)), np.exp(draw(g, n))


def _with_misses(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    times = np.exp(draw(g, (2, n)))
    times[g.random((2, n)) < 0.2] = np.inf
    return times[0], times[1]


def _correlated(g: Generator, n: int, rho: float) -> tuple[Array, Array]:
    x, y = g.normal(size=(2, n))
    return x, rho * x + math.sqrt(1 - rho**2) * y


def _differ(g: Generator, draw: Draw, n: int) -> stats.Mean | stats.Unbounded:
    return stats.centre(draw(g, n) - draw(g, n), symmetric=True)


def _resampled(g: Generator, values: Array, resamples: int = 999) -> stats.Bootstrap:
    """The mean, as `claims.Statistic` estimates what is no mean."""
    chosen = g.integers(0, values.size, (resamples, values.size))
    return stats.Bootstrap(float(values.mean()), values[chosen].mean(axis=1), values.size)


def _sharing(g: Generator, draw: Draw, n: int) -> tuple[Array, Array]:
    """Two arms, each of which owes half of its variance to the seed."""
    seed, own = draw(g, n), draw(g, (2, n))
    return seed + own[0], seed + own[1]


ALIKE, ONE = "two arms alike, paired", "one arm"
GROUPS, APART = "two groups alike", "two arms, 2 apart"

CASES: tuple[Case, ...] = (
    Case("mean difference", ALIKE, _differ),
    Case("mean", ONE, lambda g, d, n: stats.centre(d(g, n)), lambda o: MEAN.get(o, 0.0)),
    Case("mean", ALIKE, lambda g, d, n: stats.centre(d(g, n) - d(g, n))),
    Case("Mean (plain t)", ONE, lambda g, d, n: stats.Mean(d(g, n)), lambda o: MEAN.get(o, 0.0)),
    Case("median", ONE, lambda g, d, n: stats.Median(d(g, n)), lambda o: MEDIAN.get(o, 0.0)),
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
    Case("probability_of_improvement", APART,
         lambda g, d, n: stats.probability_of_improvement(2 + d(g, n), d(g, n)),
         lambda o: {"normal": 0.9213504, "exponential": 1 - math.exp(-2) / 2,
                    "Laplace": 1 - math.exp(-2)}[o],
         outcomes=("normal", "exponential", "Laplace")),
    Case("probability_of_improvement", "two arms alike that share seeds",
         lambda g, d, n: stats.probability_of_improvement(*_sharing(g, d, n)), lambda o: 0.5),
    Case("bootstrap of the mean", ALIKE, lambda g, d, n: _resampled(g, d(g, n) - d(g, n)), cost=4),
    Case("bootstrap of the mean", ONE, lambda g, d, n: _resampled(g, d(g, n)),
         lambda o: MEAN.get(o, 0.0), cost=4),
    Case("spearman", "unrelated", lambda g, d, n: stats.spearman(*_correlated(g, n, 0.0)),
         outcomes=("normal",)),
    Case("spearman", "correlation 0.6", lambda g, d, n: stats.spearman(*_correlated(g, n, 0.6)),
         lambda o: 6 / math.pi * math.asin(0.3), ("normal",)),
)  # fmt: skip


# Why a row misses, where nothing better is known: its name, and maybe its study and outcome.
SHORT: dict[tuple[str, ...], str] = {
    ("mean", ONE, "lognormal"): "few values show the tail that carries the mean, and no interval "
    "for a mean holds for all distributions (Bahadur & Savage 1956): read the median instead",
    ("Mean (plain t)", ONE): "for comparison; `mean` takes its place",
    ("bootstrap of the mean", ONE): "draws of few values lack the skewness that `mean` allows for",
    ("mean", ALIKE, "lognormal"): "too wide, not too bold",
    ("fanova", "share of y, n trials"): "the interval holds the scatter of the forest, not that it "
    "takes small effects for smaller than they are",
    ("fanova", "share of x x y, n trials"): "as for y: the forest's bias, a hundredth or two",
    ("mean difference", ALIKE, "lognormal"): "too wide, not too bold",
    ("mean_ratio", ALIKE, "lognormal"): "too wide, not too bold",
    ("welch", GROUPS, "lognormal"): "too wide, not too bold",
    ("bootstrap of the mean", ALIKE): "draws of few values miss heavy tails: see `mean difference`",
    ("probability_of_improvement", "two arms alike that share seeds"): "too wide, not too bold: "
    "what seeds do to both arms is counted as if it were apart",
    (
        "as good, alike where they train",
    ): "where a third of the trials diverges, none of five seeds "
    "does in 13 % of studies, and no verdict can count what no seed has shown",
    (
        "mean of a coarse outcome",
    ): "all seeds often lie on one step of the grid, and few seeds do not "
    "show its width: see `least_p`",
}


def reason(row: Row | Rate) -> str | None:
    """Why a row may miss, or None."""
    found = (SHORT.get((row.name, *more)) for more in ((row.study, row.outcome), (row.study,), ()))
    return next(filter(None, found), None)


@dataclass(frozen=True)
class Rate:
    """How often something happened in simulated studies.

    `most` is how often it may (an error), or None where more is better (power).
    """

    name: str
    study: str
    outcome: str
    n: int
    studies: int
    rate: float
    most: float | None = LEVEL

    @property
    def honest(self) -> bool:
        return self.most is None or self.rate <= self.most + error(self.most, self.studies)


def share(studies: int, happens: Callable[[], bool]) -> float:
    """The share of studies in which something happened."""
    return sum(happens() for _ in range(studies)) / studies


def tests(outcome: str, n: int, studies: int, g: Generator) -> list[Rate]:
    """Errors of what is not an interval of one number, where nothing is to be found."""
    draw = OUTCOMES[outcome]
    width = 2.0 * DEVIATION.get(outcome, 1.0)

    def equivalent() -> bool:  # the truth is at the band's edge
        found = difference_of(draw(g, n) + width, draw(g, n), "within")
        return Evidence(found, width, "within").p_for() <= LEVEL

    critical = stats.nemenyi(5, n)  # depends on neither outcomes nor study

    def differ() -> tuple[bool, bool]:
        found = stats.friedman(draw(g, (n, 5)))
        return found.p <= LEVEL, bool(np.ptp(found.mean_ranks) > critical)

    ranked = np.array([differ() for _ in range(studies)]).mean(axis=0)
    spreads = np.array([0.2, 0.5, 1.0, 2.0, 5.0])  # of five tasks, n seeds each

    def profile(seeds: int) -> stats.Profile:
        costs = np.exp(np.clip(spreads[:, None, None] * draw(g, (5, seeds, 2)), -50, 50))
        return stats.performance_profile(costs.reshape(-1, 2))

    truth = profile(20_000)

    def leaves() -> bool:
        found = profile(n)
        place = np.searchsorted(truth.ratios, found.ratios, side="right") - 1
        return bool((np.abs(found.solved - truth.solved[:, place]).max(axis=1) > found.band)[0])

    return [
        Rate("equivalence", "difference at the band's edge", outcome, n, studies,
             share(studies, equivalent)),
        Rate("friedman", "5 arms alike, n tasks", outcome, n, studies, float(ranked[0])),
        Rate("nemenyi", "5 arms alike, n tasks, any pair", outcome, n, studies, float(ranked[1])),
        Rate("performance_profile", "true curve leaves the band, 5 tasks of n seeds", outcome, n,
             studies, share(studies, leaves)),
    ]  # fmt: skip


def looks(outcome: str, seeds: tuple[int, ...], claims: int, studies: int, g: Generator) -> Rate:
    """Claims about arms that are alike, looked at after each round of seeds; Holm's order in each look.

    A study errs if any claim is decided at any look; `stats.spend` gives each look its level.
    """
    levels = stats.spend(np.array(seeds), LEVEL)

    def errs() -> bool:
        a, b = OUTCOMES[outcome](g, (2, claims, seeds[-1]))
        for n, level in zip(seeds, levels, strict=True):
            found = [stats.Mean(x[:n] - y[:n]) for x, y in zip(a, b, strict=True)]
            p = np.array([2 * min(e.p_above(0.0), e.p_below(0.0)) for e in found])
            family = [(Family(1.0), range(claims))]
            if (stats.stepwise(np.minimum(p, 1.0), family, level)[0] <= level).any():
                return True
        return False

    words = f"{claims} claims, looks at {', '.join(map(str, seeds))} seeds"
    return Rate("spend", words, outcome, seeds[-1], studies, share(studies, errs))


def importances(n: int, studies: int, g: Generator) -> list[Row]:
    """fANOVA's shares of 2 x + y + 3 (x - 1/2)(y - 1/2) plus noise, against those of the function.

    Says how much the forest's own bias is outside of what its intervals hold.
    """
    space = {name: Float(0.0, 1.0) for name in "xyz"}
    parts = {("x",): 4 / 12, ("y",): 1 / 12, ("x", "y"): 9 / 144}
    found = {term: [0, 0] for term in parts}
    for _ in range(studies):
        trials = pd.DataFrame(g.random((n, 3)), columns=list("xyz"))
        x, y = trials["x"].to_numpy(), trials["y"].to_numpy()
        value = 2 * x + y + 3 * (x - 0.5) * (y - 0.5) + 0.1 * g.normal(size=n)
        shares = fanova(trials, value, space, g, trees=16, forests=2, resamples=99)
        for term, part in parts.items():
            low, high = shares.of(*term).interval(1 - LEVEL)
            truth = part / sum(parts.values())
            found[term][0] += low > truth
            found[term][1] += high < truth
    slack = error(LEVEL, studies)
    return [
        Row("fanova", f"share of {' x '.join(term)}, n trials", "normal", n, studies,
            1 - (above + below) / studies, above / studies, below / studies,
            abs((above + below) / studies - LEVEL) <= ROOM + slack,
            (above + below) / studies <= LEVEL + slack)
        for term, (above, below) in found.items()
    ]  # fmt: skip


Judge = Callable[[Study, pd.DataFrame], "list[Verdict]"]


def family(
    outcome: str, n: int, studies: int, g: Generator, judged: Judge = judge, words: str = "judge"
) -> Rate:
    """Studies of six claims about three arms that are alike on two tasks: any wrong verdict.

    `judged` is what turns a frame of all seeds into verdicts: `claims.judge`, or a rule that looks
    at the seeds in rounds.
    """
    pairs = [(a, b, task) for a, b in (("a", "b"), ("a", "c"), ("b", "c")) for task in "uv"]
    study = Study(
        question="Which?",
        trial=lambda t: None,
        arms={"a": {}, "b": {}, "c": {}},
        vary={"task": ("u", "v")},
        metrics={"score": Metric("points", better="high")},
        budgets={"smoke": Budget(0, 2)},
        sources={"[1]": "Simulation"},
        claims=tuple(
            Claim(f"{a} beats {b} on {task}.", "[1]", higher("score", arm=a, than=b, task=task))
            for a, b, task in pairs
        ),
    )
    frame = pd.concat(
        [rows_for(study, "score", arm, [0.0] * n, task=task) for arm in "abc" for task in "uv"]
    )

    def errs() -> bool:
        scores = OUTCOMES[outcome](g, (len(frame),))
        found = judged(study, frame.assign(score=scores))
        return any(verdict.verdict != "inconclusive" for verdict in found)

    return Rate(words, "6 claims, 3 arms alike, 2 tasks", outcome, n, studies, share(studies, errs))


FAMILIES: dict[str, tuple[tuple[float, Order], ...]] = {
    "one family": ((1.0, "holm"),),
    "two of 80 and 20 %": ((0.8, "holm"), (0.2, "holm")),
    "a sequence": ((1.0, "sequence"),),
    "a gate in series": ((1.0, "holm"), (0.0, "holm")),
    "gates in parallel": ((1.0, "bonferroni"), (0.0, "holm")),
    "three, of all orders": ((0.5, "bonferroni"), (0.3, "sequence"), (0.2, "holm")),
}
DEPENDENCE = {"apart": 0.0, "half shared": 0.5, "all shared": 0.95}
TRUE = 2  # of three claims the last is plainly true, and in the others there is nothing


def families(outcome: str, n: int, studies: int, g: Generator, rounds: bool) -> list[Rate]:
    """Studies of six claims in families, of which four say that arms differ that are alike, and which
    share some of their noise: any wrong verdict, at one look or at three."""
    seeds = (n // 2, n - n // 4, n) if rounds else (n,)
    levels = stats.spend(np.array(seeds), LEVEL)
    draw = OUTCOMES[outcome]
    truth = np.array([3.0 * DEVIATION.get(outcome, 1.0) * (i % 3 == TRUE) for i in range(6)])
    everyone = np.ones(6, bool)

    def tested(shared: float) -> tuple[Array, Array]:
        """(looks, claims) p values, and whether a decision would be wrong."""
        common, own = draw(g, n) - draw(g, n), draw(g, (6, n)) - draw(g, (6, n))
        values = math.sqrt(shared) * common + math.sqrt(1 - shared) * own + truth[:, None]
        found = [[stats.Mean(row[:some]) for row in values] for some in seeds]
        p = [[min(1.0, 2 * min(e.p_above(0.0), e.p_below(0.0))) for e in look] for look in found]
        below = [[e.effect <= 0 for e in look] for look in found]
        return np.array(p), (truth == 0.0) | np.array(below)

    def errs(declared: stats.Families, p: Array, wrong: Array) -> bool:
        open_ = everyone
        for here, wrong_, level in zip(p, wrong, levels, strict=True):
            adjusted, _ = stats.stepwise(here, declared, float(level), open_, open_)
            decided = open_ & (adjusted <= level)
            if (decided & wrong_).any():
                return True
            open_ = open_ & ~decided
        return False

    looks_ = f"looks at {', '.join(map(str, seeds))} seeds" if rounds else "one look"
    rates = []
    for how, shared in DEPENDENCE.items():
        some = [tested(shared) for _ in range(studies)]
        for words, shares in FAMILIES.items():
            size = 6 // len(shares)
            declared = [
                (Family(part, order), range(k * size, (k + 1) * size))
                for k, (part, order) in enumerate(shares)
            ]
            rate = float(np.mean([errs(declared, *one) for one in some]))
            rates.append(
                Rate(f"families: {words}", f"{looks_}, noise {how}", outcome, n, studies, rate)
            )
    return rates


def ties(n: int, studies: int, g: Generator) -> list[Rate]:
    """Outcomes on a coarse grid, of which all n seeds are often the same: a mean held against the
    true one, which lies midway between two steps of the grid, at the level of one claim of many."""
    found = [stats.centre(np.floor(g.normal(size=n)) + 0.5) for _ in range(studies)]
    p = np.array([2 * min(one.p_above(0.0), one.p_below(0.0)) for one in found])
    return [
        Rate("mean of a coarse outcome", f"one claim of {claims}", "normal", n, studies,
             float((p <= LEVEL / claims).mean()), LEVEL / claims)
        for claims in (1, 10, 33)
    ]  # fmt: skip


FAR = 20.0  # standard deviations: the worst score of a metric that has a finite one
DIVERGING: tuple[tuple[str, Direction, float, float, float, str, float | None], ...] = (
    # what, direction claimed, by how much a is lower where both train, shares of a and b that
    # diverge, the verdict that is counted, how often it may be
    ("a difference of arms alike", "below", 0.0, 0.1, 0.1, "any", LEVEL),
    ("a difference of arms alike", "below", 0.0, 0.3, 0.3, "any", LEVEL),
    ("a difference of arms alike", "below", 0.0, 0.5, 0.5, "any", LEVEL),
    ("a better, by 1 where it trains", "below", 1.0, 1 / 3, 0.0, "supported", LEVEL),
    ("as good, alike where they train", "within", 0.0, 1 / 3, 0.0, "supported", LEVEL),
    ("a worse, alike where they train", "below", 0.0, 1 / 3, 0.0, "refuted", None),
    ("a better, by 2 where it trains", "below", 2.0, 0.1, 0.0, "supported", None),
    ("a better by 2", "below", 2.0, 0.0, 0.0, "supported", None),
    ("a better by 2", "below", 2.0, 0.0, 0.3, "supported", None),
    ("a better by 2", "below", 2.0, 0.1, 0.1, "supported", None),
    ("a better by 2", "below", 2.0, 0.3, 0.3, "supported", None),
)  # fmt: skip


def diverging(outcome: str, n: int, studies: int, g: Generator) -> list[Rate]:
    """Verdicts on the losses of two arms of which some trials diverge, paired by seed.

    The worst score is infinite, so that the mean is too and a median takes its place, or `FAR`
    standard deviations off. Wrong is a difference of arms alike that diverge as often, and that an
    arm is better, or as good, that is so where it trains and in a third of the seeds does not.
    """
    draw, spread = OUTCOMES[outcome], DEVIATION.get(outcome, 1.0)

    def verdict(
        worst: float, direction: Direction, gain: float, shares: tuple[float, float]
    ) -> str:
        a, b = (
            np.where(g.random(n) < diverge, worst * spread, draw(g, n) - less * spread)
            for less, diverge in zip((gain, 0.0), shares, strict=True)
        )
        margin = 2.0 * spread if direction == "within" else 0.0
        found = Evidence(difference_of(a, b, direction), margin, direction)
        if 2 * min(found.p_for(), found.p_against()) > LEVEL:
            return "inconclusive"
        return "supported" if found.p_for() < found.p_against() else "refuted"

    rates = []
    for worst in (math.inf, FAR):
        words = "infinite" if math.isinf(worst) else f"{worst:g} deviations off"
        for name, direction, gain, one, other, wanted, most in DIVERGING:
            found = [verdict(worst, direction, gain, (one, other)) for _ in range(studies)]
            rate = float(np.mean([v != "inconclusive" if wanted == "any" else v == wanted for v in found]))  # fmt: skip
            shares = f"{100 * one:.0f} and {100 * other:.0f} % diverge, worst score {words}"
            rates.append(Rate(name, shares, outcome, n, studies, rate, most))
    return rates


EFFECTS = (0.5, 1.0, 2.0)  # standard deviations of one arm's outcome


def power(outcome: str, n: int, studies: int, g: Generator) -> list[Rate]:
    """How often a planted difference of two arms is found at 5 %, two-sided."""
    draw, spread = OUTCOMES[outcome], DEVIATION.get(outcome, 1.0)
    tests: dict[str, tuple[Callable[[Array, Array], stats.Estimate], float]] = {
        "mean difference": (lambda a, b: stats.Mean(a - b), 0.0),
        "median of differences": (lambda a, b: stats.Median(a - b), 0.0),
        "welch": (stats.welch, 0.0),
        "probability_of_improvement": (stats.probability_of_improvement, 0.5),
    }
    rates = []
    for name, (estimate, none) in tests.items():
        for effect in EFFECTS:
            found = share(
                studies,
                lambda estimate=estimate, effect=effect, none=none: (
                    estimate(draw(g, n) + effect * spread, draw(g, n)).p_above(none) <= LEVEL / 2
                ),
            )
            words = f"{effect:g} standard deviations apart"
            rates.append(Rate(name, words, outcome, n, studies, found, None))
    return rates


@dataclass(frozen=True)
class Foretold:
    """The power that was forecast beside the one that studies of the same truth had.

    Args:
        pilot: Seeds that the forecast was made from.
        pilots: How many pilots were forecast from.
        forecast: The mean of the forecasts.
        scatter: Their standard deviation.
        rate: The share of studies that decided the claim on its right side.
    """

    name: str
    pilot: int
    n: int
    studies: int
    pilots: int
    forecast: float
    scatter: float
    rate: float

    @property
    def close(self) -> bool:
        """Within five points, allowing for simulation error."""
        slack = math.hypot(
            error(self.rate, self.studies), 3 * self.scatter / math.sqrt(self.pilots)
        )
        return abs(self.forecast - self.rate) <= 0.05 + slack


CLAIMS: dict[str, tuple[Callable[[], Check], Callable[[Generator, int], dict[str, Array]], float]] = {
    # the check, the scores of its arms, and the level it is judged at
    "a level": (
        lambda: above("score", 0.0, arm="a"), lambda g, n: {"a": 0.5 + g.normal(size=n)}, 0.05,
    ),
    "a skewed level": (
        lambda: below("score", 2.0, arm="a"), lambda g, n: {"a": g.exponential(size=n)}, 0.05,
    ),
    "a difference": (
        lambda: higher("score", arm="a", than="b"),
        lambda g, n: {"a": 1.0 + g.normal(size=n), "b": g.normal(size=n)}, 0.05 / 6,
    ),
    "a difference, t of 3 df": (
        lambda: higher("score", arm="a", than="b"),
        lambda g, n: {"a": 1.5 + g.standard_t(3, size=n), "b": g.standard_t(3, size=n)}, 0.05,
    ),
    "a band": (
        lambda: equivalent("score", arm="a", to="b", within=1.0),
        lambda g, n: {"a": 0.2 + g.normal(size=n), "b": g.normal(size=n)}, 0.05,
    ),
    "a ratio": (
        lambda: ratio_below("score", 0.8, arm="a", than="b"),
        lambda g, n: {"a": 0.5 * np.exp(g.normal(size=n) / 2), "b": np.exp(g.normal(size=n) / 2)},
        0.05,
    ),
    "three levels at once": (
        lambda: every(*(above("score", 0.0, arm=arm) for arm in "abc")),
        lambda g, n: {arm: 0.7 + g.normal(size=n) for arm in "abc"}, 0.05,
    ),
    "a function of all seeds": (
        lambda: statistic(
            lambda table: float(np.mean(table["a"].to_numpy() - table["b"].to_numpy())), 0.0,
            metric="score", unit="points", words="the gap", example=lambda *_: pd.DataFrame(),
        ),
        lambda g, n: {"a": 1.0 + g.normal(size=n), "b": g.normal(size=n)}, 0.05,
    ),
}  # fmt: skip
PILOTS = (10, 100)


def foretold(name: str, n: int, studies: int, g: Generator) -> list[Foretold]:
    """How near forecasts of power come to what studies of n seeds then decide."""
    check, scores, level = CLAIMS[name]
    study = Study(
        question="Which?", trial=lambda t: None, arms={arm: {} for arm in "abc"},
        metrics={"score": Metric("points", better="high")}, budgets={"smoke": Budget(0, n)},
        sources={"[1]": "Simulation"}, claims=(Claim("It holds.", "[1]", check(), id="it"),),
    )  # fmt: skip

    def drawn(seeds: int) -> Callable[[], pd.DataFrame]:
        first = scores(g, seeds)
        frame = pd.concat([rows_for(study, "score", arm, column) for arm, column in first.items()])
        return lambda: frame.assign(score=np.concatenate([*scores(g, seeds).values()]))

    frame = drawn(n)
    decided = share(studies, lambda: judge(study, frame(), level)[0].verdict == "supported")
    rows = []
    for pilot in PILOTS:
        frame, pilots = drawn(pilot), max(10, studies // 10)
        found = [of_claim(study, study.claims[0], frame(), n, level).power for _ in range(pilots)]
        mean, scatter = float(np.mean(found)), float(np.std(found))
        rows.append(Foretold(name, pilot, n, studies, pilots, mean, scatter, decided))
    return rows


def show_foretold(found: list[Foretold], console: Console) -> None:
    """Print forecasts beside what came; only those of pilots of many seeds are held to it."""
    console.print(
        f"Power as forecast from so many seeds (and how forecasts scatter), and as it was, in %; "
        f"! more than five points apart, from {PILOTS[-1]} seeds.",
        highlight=False,
    )
    table = Table("claim", "n", *(f"from {pilot}" for pilot in PILOTS), "as it was")
    for name, n in dict.fromkeys((one.name, one.n) for one in found):
        cells = {one.pilot: one for one in found if (one.name, one.n) == (name, n)}
        missed = "" if cells[PILOTS[-1]].close else " !"
        table.add_row(
            name, str(n),
            *(f"{100 * cells[p].forecast:.1f} ± {100 * cells[p].scatter:.0f}" for p in PILOTS),
            f"{100 * cells[PILOTS[-1]].rate:.1f}{missed}",
        )  # fmt: skip
    console.print(table)


def show(rows: list[Row], rates: list[Rate], console: Console) -> None:
    """Print what was measured, with marks where it falls short."""
    console.print(
        f"Coverage of 95 % intervals, in %; in brackets how often the interval lay above the truth "
        f"and below it. ! outside {100 * (1 - LEVEL - ROOM):.0f} to {100 * (1 - LEVEL + ROOM):.0f} "
        f"(under {ENOUGH} seeds: under {100 * (1 - LEVEL):.0f}), allowing for simulation error.",
        highlight=False,
    )
    table = Table()
    for name in ("interval", "of", "n", *OUTCOMES):
        table.add_column(name, justify="left" if name in ("interval", "of") else "right")
    keys = dict.fromkeys((row.name, row.study, row.n) for row in rows)
    for key in keys:
        cells = {row.outcome: row for row in rows if (row.name, row.study, row.n) == key}
        table.add_row(
            key[0], key[1], str(key[2]),
            *(_cell(cells[o]) if o in cells else "" for o in OUTCOMES),
        )  # fmt: skip
    console.print(table)
    for row in rows:
        if row.n >= ENOUGH and not row.within:
            console.print(
                f"! {row.name} of {row.study}, {row.outcome}, {row.n}: {100 * row.covered:.1f} %: "
                f"{reason(row) or 'no reason known'}",
                highlight=False,
            )
    for title, some in (
        ("How often nothing was called something, in %; ! more than stated.",
         [r for r in rates if r.most is not None]),
        ("How often a planted difference was found, in %.", [r for r in rates if r.most is None]),
    ):  # fmt: skip
        console.print(title, highlight=False)
        table = Table()
        for name in ("test", "of", "n", *OUTCOMES):
            table.add_column(name, justify="left" if name in ("test", "of") else "right")
        for name, study, n in dict.fromkeys((r.name, r.study, r.n) for r in some):
            cells_ = {r.outcome: r for r in some if (r.name, r.study, r.n) == (name, study, n)}
            table.add_row(
                name, study, str(n),
                *(f"{100 * cells_[o].rate:.1f}{'' if cells_[o].honest else ' !'}"
                  if o in cells_ else "" for o in OUTCOMES),
            )  # fmt: skip
        console.print(table)
        for rate in (rate for rate in some if not rate.honest):
            console.print(
                f"! {rate.name}, {rate.study}, {rate.outcome}, {rate.n}: {100 * rate.rate:.1f} %: "
                f"{reason(rate) or 'no reason known'}",
                highlight=False,
            )


def _cell(row: Row) -> str:
    missed = f"({100 * row.above:.1f} {100 * row.below:.1f})"
    fine = row.within if row.n >= ENOUGH else row.honest
    return f"{100 * row.covered:.1f} {missed}{'' if fine else ' !'}"


LOOKS = ((10, 20), (5, 10, 15, 20), (10, 20, 30, 40, 50))
TRIALS = (60, 200)  # of a search
Task = tuple[str, int, str, int, int]  # what, which of them, outcome, seeds, studies


def tasks(studies: int, sizes: tuple[int, ...]) -> list[Task]:
    """Everything there is to simulate; what costs more is given fewer studies."""
    found: list[Task] = [
        ("interval", i, outcome, n, studies)
        for i, case in enumerate(CASES)
        for n in sizes
        for outcome in case.outcomes
    ]
    found += [("ties", 0, "normal", n, 5 * studies) for n in sizes]
    found += [("importances", 0, "normal", n, max(2, studies // 100)) for n in TRIALS]
    for outcome in OUTCOMES:
        for n in sizes:
            found.append(("tests", 0, outcome, n, studies))
            found.append(("family", 0, outcome, n, max(1, studies // 10)))
            found.append(("power", 0, outcome, n, max(1, studies // 4)))
            found.append(("diverging", 0, outcome, n, max(1, studies // 4)))
        rounds = max(1, studies // 20)
        found.append(("rounds", 1, outcome, LOOKS[1][-1], rounds))
        for i in range(len(LOOKS)):
            for claims in (1, 6):
                found.append(("looks", i, outcome, claims, max(1, studies // 4)))
        for rounds in (0, 1):
            found.append(("families", rounds, outcome, 20, max(1, studies // 8)))
    found += [
        ("foretold", i, "normal", n, max(5, studies // 4))
        for i in range(len(CLAIMS))
        for n in (8, 20)
    ]
    return found


def do(task: Task) -> list[Row] | list[Rate] | list[Foretold]:
    """One task, on its own stream, so that it does not depend on which others ran, or where."""
    what, i, outcome, n, studies = task
    g = np.random.default_rng([SEED, *repr(task[:4]).encode()])
    if what == "interval":
        return [measure(CASES[i], outcome, n, studies, g)]
    if what == "importances":
        return importances(n, studies, g)
    if what == "tests":
        return tests(outcome, n, studies, g)
    if what == "families":
        return families(outcome, n, studies, g, bool(i))
    if what == "foretold":
        return foretold([*CLAIMS][i], n, studies, g)
    if what == "family":
        return [family(outcome, n, studies, g)]
    if what == "rounds":
        rule = functools.partial(judge, looks=LOOKS[i])
        words = f"judge, looks at {', '.join(map(str, LOOKS[i]))} seeds"
        return [family(outcome, n, studies, g, rule, words)]
    if what == "ties":
        return ties(n, studies, g)
    if what == "diverging":
        return diverging(outcome, n, studies, g)
    if what == "looks":
        return [looks(outcome, LOOKS[i], n, studies, g)]
    return power(outcome, n, studies, g)


def run(
    studies: int, sizes: tuple[int, ...], processes: int = 1
) -> tuple[list[Row], list[Rate], list[Foretold]]:
    """Everything, spread over processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        found = [x for some in pool.map(do, tasks(studies, sizes), chunksize=4) for x in some]
    rates = [x for x in found if isinstance(x, Rate)]
    rates.sort(key=lambda rate: (rate.name, rate.study, rate.n))
    told = [x for x in found if isinstance(x, Foretold)]
    return [x for x in found if isinstance(x, Row)], rates, told


def main() -> None:
    """Measure, print and write."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    words.add_argument("--studies", type=int, default=4000, help="simulated studies a row (4000)")
    words.add_argument(
        "--sizes", type=int, nargs="+", default=[5, 10, 20, 50], help="seeds a study"
    )
    words.add_argument("--processes", type=int, default=os.cpu_count(), help="all cores")
    given = words.parse_args()
    console, started = Console(), time.monotonic()
    if not console.is_terminal:
        console.width = 160
    rows, rates, told = run(given.studies, tuple(given.sizes), given.processes)
    show(rows, rates, console)
    show_foretold(told, console)
    from_ten = [row for row in rows if row.n >= ENOUGH]
    console.print(
        f"{sum(row.within for row in from_ten)} of {len(from_ten)} rows of at least {ENOUGH} seeds are "
        f"within two points; {sum(not rate.honest for rate in rates)} tests err more often than "
        f"stated; {sum(not one.close for one in told if one.pilot == PILOTS[-1])} forecasts of power are "
        f"off by more than five points; {time.monotonic() - started:.0f} s; written to benchmarks/{FILE.name}",
        highlight=False,
    )
    content = {
        "studies": given.studies,
        "intervals": [asdict(row) for row in rows],
        "rates": [asdict(rate) | {"honest": rate.honest} for rate in rates],
        "foretold": [asdict(one) | {"close": one.close} for one in told],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
