"""Arrays in, intervals and p-values out.

The replication unit is one seed unless a function names another: every array holds one number a
unit, and paired arrays hold the same units in the same order. Each estimate answers three questions
about a threshold: how likely the data are if the truth is not above it (`p_above`), if it is not
below it (`p_below`), and which values the truth may have (`interval`). The interval at level 1-a
excludes a threshold exactly when the one-sided p of that side is at most a/2, so a verdict and the
interval printed beside it cannot disagree.

Every random draw comes from a numpy Generator that the caller passes. How often each interval is
right is measured by ``make calibration``.
"""

from harness.claims.stats.centres import Unbounded, centre
from harness.claims.stats.corrections import Equivalence, bonferroni, equivalence, holm, spend
from harness.claims.stats.display import Shown, interval_for_display, intervals_for_display
from harness.claims.stats.effects import (
    Improvement,
    Jackknifed,
    Standardized,
    cliffs_delta,
    cohen_dz,
    hedges_g,
    probability_of_improvement,
)
from harness.claims.stats.estimate import (
    Affine,
    Array,
    Estimate,
    Widest,
    all_same,
    least_p,
    paired,
    t_quantile,
)
from harness.claims.stats.means import (
    GeometricMean,
    LevelMean,
    Mean,
    TrimmedMean,
    Welch,
    interquartile,
    interquartile_mean,
    mean,
    mean_difference,
    mean_ratio,
    welch,
)
from harness.claims.stats.medians import Median, median, median_ratio
from harness.claims.stats.profiles import Shares, performance_profile, shares, time_to_target
from harness.claims.stats.ranks import Correlation, Ranking, friedman, kendall, nemenyi, spearman
from harness.claims.stats.resampling import Bootstrap, SignFlip, bootstrap, resampled, sign_flip

__all__ = [
    "Affine", "Array", "Bootstrap", "Correlation", "Equivalence", "Estimate", "GeometricMean",
    "Improvement", "Jackknifed", "LevelMean", "Mean", "Median", "Ranking", "Shares", "Shown", "SignFlip",
    "Standardized", "TrimmedMean", "Unbounded", "Welch", "Widest", "all_same", "bonferroni", "bootstrap",
    "centre", "cliffs_delta", "cohen_dz", "equivalence", "friedman", "hedges_g", "holm", "interquartile",
    "interquartile_mean", "interval_for_display", "intervals_for_display", "kendall", "least_p", "mean", "mean_difference",
    "mean_ratio", "median", "median_ratio", "nemenyi", "paired", "performance_profile",
    "probability_of_improvement", "resampled", "shares", "sign_flip", "spearman", "spend", "t_quantile",
    "time_to_target", "welch",
]  # fmt: skip
