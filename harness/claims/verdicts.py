"""What comes out of a claim: the evidence that its check read, and the verdict on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from harness.claims import stats
from harness.study import Published

LEVEL = 0.05  # family-wise, over a study's claims and over the looks taken at them
MIN_SEEDS = 5  # fewer give "inconclusive", whatever they say
# Of a check's field that is registered only where it is set, so that the digests of claims that were
# registered before there was such a field stay what they were.
IF_SET = {"registered": "if set"}

Outcome = Literal["supported", "refuted", "inconclusive"]
Direction = Literal["above", "below", "within"]
At = Literal["end", "start"] | int


class Beside(NamedTuple):
    """An estimate that is shown beside a verdict's and decides nothing, and its interval."""

    effect: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the trials say about a claim.

    Args:
        verdict: One of three, or that there is none: see `judge.explore`.
        effect: The estimate; it lies in [`low`, `high`], the interval at the study-wide level.
        p: Two-sided against `margin`, corrected over the claims looked at together.
        n: Replication units behind the estimate.
        reason: Why a verdict is inconclusive, or what was left out.
        quantity: What the effect is, in words.
        test: How it was estimated and tested.
        replication: What one unit of n is.
        timed: Whether it rests on times, so that the same run again need not give the same.
        weakest: In a claim of several checks, which of them is shown: the least in favour, by its
            place among them, and among its own where it is made of several in turn.
        look: Which look decided it, from 1, in a study with seeds until decided; else 0.
        seeds_used: Seeds a cell when it was decided, or at the last look.
        seeds_allowed: Most seeds a cell that it could have had.
        improvement: Of a difference or a ratio of two arms, the chance that one trial of the first
            scores better than one of the second (higher, where neither side is better), with its
            interval at the same level as `low` and `high`.
        gate: Why the claim was not judged, where it failed a gate (`claims.gates`); it is inconclusive
            then, and nothing was estimated.
        middle: Of a mean that values far out may sway (`stats.heavy_tailed`), that of the middle
            half of the values.
        level: At which its interval is drawn: of 0.01 it holds the truth in 99 % of studies.
    """

    id: str
    statement: str
    source: str
    verdict: Outcome | Literal["exploratory"]
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
    published: Published | None = None
    test: str = ""
    replication: str = "seed"
    timed: bool = False
    weakest: tuple[int, ...] = ()
    look: int = 0
    seeds_used: int = 0
    seeds_allowed: int = 0
    improvement: Beside | None = None
    middle: float | None = None
    level: float = LEVEL
    gate: str = ""

    @property
    def word(self) -> str:
        """What readers are told: the verdict, or "not judged" where a gate was shut."""
        return "not judged" if self.gate else self.verdict


@dataclass(frozen=True)
class Evidence:
    """A check's reading of a frame: an estimate, and which side of which threshold is claimed.

    `weakest` is as in `Verdict`; `pair` has the scores of the two arms that are compared.
    """

    estimate: stats.Estimate | None
    margin: float
    direction: Direction
    reason: str = ""
    test: str = ""
    weakest: tuple[int, ...] = ()
    pair: tuple[np.ndarray, np.ndarray] | None = None

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


class Missing(Exception):
    """The frame lacks what a check reads; the text is the verdict's reason."""
