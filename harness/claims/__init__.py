"""Checks that turn a claim and a frame of rows into a verdict.

A check is a frozen value: which metric, of which arm, where, against what margin. `judge` applies
all checks of a study to its frame, corrects over them by their families and returns one `Verdict` a claim.

Every check reads *confirm* rows unless it says otherwise, takes one number a seed (the replication
unit), gives a diverged trial its metric's worst score, and leaves out failed trials, saying so.

    sentences     what a study file writes: above, higher, equivalent, everywhere, crosses, ...
    places        the same of a cell that is filled in once
    checks        what they mean: levels, differences and ratios
    compound      several checks at once, and plain functions
    draws         checks of the search itself: its best draws, correlations, shares of variance
    marginals     checks of what the search predicts along one hyperparameter
    times         a check of how long trials of the search took
    gates         what must be so before the first trial for a claim to be judged
    power         what a number of seeds can decide
    judge         from a study and its frame to verdicts
    amended       what claims that were changed late would have said before
    registration  what was claimed, and when, relative to the rows

May import `ledger` and what lies before it.
"""

from harness.claims.checks import Check, Difference, Level, Ratio
from harness.claims.compound import Everywhere, Statistic, shown
from harness.claims.gates import gated, gates
from harness.claims.judge import explore, judge, judged, reads, undecided
from harness.claims.places import place
from harness.claims.reading import final_values, rows_for, values
from harness.claims.sentences import (
    above,
    below,
    best,
    best_draws_equivalent,
    best_draws_higher,
    best_draws_lower,
    best_draws_published,
    carried,
    crosses,
    equivalent,
    every,
    everywhere,
    falls,
    higher,
    lower,
    rank_correlation_above,
    rank_correlation_below,
    ratio_above,
    ratio_below,
    rises,
    same_draws,
    share_above,
    share_below,
    share_higher,
    slower,
    statistic,
)
from harness.claims.verdicts import LEVEL, MIN_SEEDS, Beside, Evidence, Verdict

__all__ = [
    "LEVEL",
    "MIN_SEEDS",
    "Beside",
    "Check",
    "Difference",
    "Everywhere",
    "Evidence",
    "Level",
    "Ratio",
    "Statistic",
    "Verdict",
    "above",
    "below",
    "best",
    "best_draws_equivalent",
    "best_draws_higher",
    "best_draws_lower",
    "best_draws_published",
    "carried",
    "crosses",
    "equivalent",
    "every",
    "everywhere",
    "explore",
    "falls",
    "final_values",
    "gated",
    "gates",
    "higher",
    "judge",
    "judged",
    "lower",
    "place",
    "rank_correlation_above",
    "rank_correlation_below",
    "ratio_above",
    "ratio_below",
    "reads",
    "rises",
    "rows_for",
    "same_draws",
    "share_above",
    "share_below",
    "share_higher",
    "shown",
    "slower",
    "statistic",
    "undecided",
    "values",
]
