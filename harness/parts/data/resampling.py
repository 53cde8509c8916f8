"""Two classes made equally frequent: the common one cut down, the rare one copied, or SMOTE.

All draw from torch's generator, so that what a module's constructor resamples goes by its trial's seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RESAMPLED = ("under", "over", "smote")


def resampled(common: Tensor, rare: Tensor, how: str) -> tuple[Tensor, Tensor]:
    """Examples of two classes, as many of one as of the other.

    Args:
        common, rare: (n, F) and (m, F) float32, n at least m.
        how: "under" leaves a random m of the common class; "over" copies each of the rare class
            n / m times, the first once more where that is no whole number; "smote" adds n - m points
            to the rare class, each at random between one of its examples and one of the five
            nearest to that (Chawla et al. 2002; imbalanced-learn's).

    Raises:
        ValueError: an unknown way, fewer common examples than rare ones, or SMOTE of fewer than six.
    """
    if how not in RESAMPLED:
        raise ValueError(f"resampled by {how!r}; allowed: {', '.join(RESAMPLED)}")
    if len(common) < len(rare) or len(rare) < (6 if how == "smote" else 1):
        raise ValueError(
            f"resampled {len(common)} common examples and {len(rare)} rare ones; allowed: no more "
            "rare ones, and at least one, six for SMOTE"
        )
    if how == "under":
        return common[torch.randperm(len(common))[: len(rare)]], rare
    if how == "over":
        return common, rare[torch.arange(len(common)) % len(rare)]
    from imblearn.over_sampling import SMOTE  # takes seconds, and few trials need it

    x = torch.cat([common, rare]).numpy()
    y = np.repeat([0, 1], [len(common), len(rare)])
    maker = SMOTE(random_state=int(torch.randint(1 << 31, ())))
    x, y = maker.fit_resample(x, y)
    return common, torch.from_numpy(x[y == 1])
