"""How well a source of scores ranks a space, against the mean test accuracy of full trainings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.nas.space import Space
from harness.nas.strategies.regression import codes, regressor
from harness.nas.table import Scores

TOP = 10
SOURCES = {"short": 0, "full": -1}  # the length of a training that is read


def ranking(
    space: Space, scores: Scores, source: str, rng: np.random.Generator, pairs: int, shown: int
) -> Iterator[dict[str, float]]:
    """Rank what the source was not fitted to.

    Args:
        space, scores: What is ranked, and the table that holds it.
        source: "short" or "full", one training of each architecture, or "regression" on full ones.
        rng: Draws trainings, what the regression is told, and what is shown.
        pairs: Architectures with their scores that the regression is told.
        shown: Architectures that have a row.

    Yields:
        told_accuracy and true_accuracy of each shown architecture; at the last Spearman's
        correlation of the two, and overlap, the share of the true `TOP` best among the `TOP` that
        the source puts highest.
    """
    from scipy.stats import spearmanr  # a second, which only what trains needs

    rows = scores.rows(space.architectures)
    true, every = scores.true[rows], np.arange(len(rows))
    seed = rng.integers(scores.valid.shape[2], size=len(rows))  # one training of each
    seen = np.array([], int)
    if source == "regression":
        seen = rng.permutation(len(rows))[:pairs]
        model = regressor(rng).fit(codes(space)[seen], scores.valid[rows, -1, seed][seen])
        told = model.predict(codes(space))
    else:
        told = scores.valid[rows, SOURCES[source], seed]
    unseen = np.setdiff1d(every, seen)
    tops = [  # ties fall anyhow
        set(unseen[np.lexsort((rng.random(len(unseen)), column[unseen]))[-TOP:]])
        for column in (told, true)
    ]
    chosen = rng.permutation(unseen)[:shown]
    for step, place in enumerate(chosen, 1):
        last = {
            "spearman": float(spearmanr(told[unseen], true[unseen]).statistic),
            "overlap": len(tops[0] & tops[1]) / TOP,
        }
        pair = {"told_accuracy": float(told[place]), "true_accuracy": float(true[place])}
        yield {"step": step, **pair, **(last if step == len(chosen) else {})}
