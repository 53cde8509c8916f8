"""Whether more seeds would probably decide an open claim: where they would not, none are added.

A rule that only ends a search for a verdict gives none, so it cannot raise the rate of wrong ones
(it is "non-binding": Lachin 2005, A review of methods for futility stopping based on conditional
power). Predictive power (Spiegelhalter, Freedman & Blackburn 1986) asks how often the last look
would decide the claim, over the effects that the seeds so far leave possible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from harness.claims.stats import spend
from harness.claims.verdicts import Verdict


def futile(verdict: Verdict, looks: Sequence[int], least: float) -> bool:
    """Whether the last look would decide an open claim with a probability under `least`.

    Args:
        verdict: Of any look; after the last, and where none was taken, nothing is asked.
        looks: Seeds a cell at each.
    """
    if not least or not 0 < verdict.look < len(looks):
        return False
    levels = spend(np.array(looks))
    at = verdict.look - 1
    return chance(verdict, looks[at] / looks[-1], float(levels[-1] / levels[at])) < least


def chance(verdict: Verdict, share: float, last: float) -> float:
    """The predictive power of the last look at an open claim, as if its estimate were normal.

    Of a claim of several checks it is that of the weakest, so if anything too high; 1 where the
    interval has no bound, and nothing can be said.

    Args:
        verdict: Of an earlier look.
        share: The part of the last look's seeds that there were then, in (0, 1).
        last: The last look's level over this one's.
    """
    effect, low, high, margin = verdict.effect, verdict.low, verdict.high, verdict.margin
    if verdict.unit == "ratio" and min(effect, low, high, margin) > 0:  # a ratio moves by factors
        effect, low, high, margin = map(math.log, (effect, low, high, margin))
    # of a skewed sample one side is longer, and the more so the fewer its seeds (`LevelMean`)
    half = min(high - effect, effect - low)
    if not math.isfinite(half) or not 0 < verdict.level < 1:
        return 1.0
    degrees = max(1.0, verdict.n - 1.0)
    error = half / float(t.ppf(1 - verdict.level / 2, degrees))
    if error == 0.0:
        return 1.0
    level = min(verdict.level * last, 1.0)
    reach = float(t.ppf(1 - level / 2, degrees / share)) * error * math.sqrt(share)
    spread = error * math.sqrt(1 - share)

    def beyond(bound: float) -> float:
        return float(norm.sf((bound - effect) / spread))

    if verdict.direction == "within":
        margin = abs(margin)
        inside = max(0.0, beyond(reach - margin) - beyond(margin - reach))
        return min(1.0, inside + beyond(margin + reach) + 1 - beyond(-margin - reach))
    return beyond(margin + reach) + 1 - beyond(margin - reach)
