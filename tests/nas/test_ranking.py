"""How sources of scores rank a space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.nas.ranking import TOP, ranking
from harness.nas.space import SPACES
from harness.nas.table import Scores

SPACE = SPACES["smoke"]
NAMES = [a.name for a in SPACE.architectures]


def scores(short: np.ndarray, full: np.ndarray) -> Scores:
    """A table of one training seed, (N,) validation accuracies each; those of the test are `full`."""
    valid = np.stack([short, full], 1)[..., None]  # (N,) each -> (N, 2, 1)
    places = {("reference", name): n for n, name in enumerate(NAMES)}
    return Scores(places, (1 / 9, 1.0), valid, np.stack([full, full], 1)[..., None])


@settings(deadline=None)
@given(st.integers(0, 2**31))
def test_what_is_measured_without_noise_is_ranked_rightly(seed: int) -> None:
    """Of a full training correlation and overlap are 1, of one that says the opposite -1 and 0;
    each shown architecture is shown once, with what is true of it."""
    rng = np.random.default_rng(seed)
    full = rng.permutation(len(NAMES)) / len(NAMES)
    held = scores(1 - full, full)
    right = [*ranking(SPACE, held, "full", rng, pairs=5, shown=15)]
    assert [row["step"] for row in right] == [*range(1, 16)]
    assert all(row["told_accuracy"] == row["true_accuracy"] for row in right)
    assert len({row["true_accuracy"] for row in right}) == 15
    assert right[-1]["spearman"] == pytest.approx(1)
    assert right[-1]["overlap"] == 1
    wrong = [*ranking(SPACE, held, "short", rng, pairs=5, shown=15)]
    assert wrong[-1]["spearman"] == pytest.approx(-1)
    assert wrong[-1]["overlap"] == max(0, 2 * TOP - len(NAMES)) / TOP


def test_a_regression_is_ranked_on_what_it_has_not_seen() -> None:
    """Scores that count one operation are learnt from; what it was told is not shown."""
    full = np.array([a.edges.count("conv3") / 10 for a in SPACE.architectures])
    rng = np.random.default_rng(0)
    pairs = len(NAMES) // 2
    rows = [*ranking(SPACE, scores(full, full), "regression", rng, pairs, shown=len(NAMES))]
    assert len(rows) == len(NAMES) - pairs
    assert rows[-1]["spearman"] > 0.8
