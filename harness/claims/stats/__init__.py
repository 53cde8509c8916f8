"""Arrays in, intervals and p-values out.

The replication unit is one seed unless a function names another: every array holds one number a
unit, and paired arrays hold the same units in the same order. Each estimate answers three questions
about a threshold: how likely the data are if the truth is not above it (`p_above`), if it is not
below it (`p_below`), and which values the truth may have (`interval`). The interval at level 1-a
excludes a threshold exactly when the one-sided p of that side is at most a/2, so a verdict and the
interval printed beside it cannot disagree.

How often each interval is right is measured by ``make calibration``.
"""

from harness.claims.stats.centres import Unbounded, centre
from harness.claims.stats.corrections import Families, first_levels, spend, stepwise
from harness.claims.stats.display import Shown, interval_for_display, intervals_for_display
from harness.claims.stats.estimate import Array, Estimate, Widest, all_same
from harness.claims.stats.improvement import Improvement, probability_of_improvement
from harness.claims.stats.means import (
    GeometricMean,
    LevelMean,
    Mean,
    Welch,
    mean_ratio,
    welch,
)
from harness.claims.stats.medians import Median, median_ratio
from harness.claims.stats.profiles import Profile, performance_profile
from harness.claims.stats.ranks import Correlation, Ranking, friedman, nemenyi, spearman
from harness.claims.stats.resampling import Bootstrap
from harness.claims.stats.tails import heavy_tailed, interquartile_mean

__all__ = [
    "Array", "Bootstrap", "Correlation", "Estimate", "Families", "GeometricMean", "Improvement",
    "LevelMean", "Mean", "Median", "Profile", "Ranking", "Shown", "Unbounded", "Welch", "Widest",
    "all_same", "centre", "first_levels", "friedman", "heavy_tailed", "interquartile_mean",
    "interval_for_display", "intervals_for_display", "mean_ratio", "median_ratio", "nemenyi",
    "performance_profile", "probability_of_improvement", "spearman", "spend", "stepwise", "welch",
]  # fmt: skip
