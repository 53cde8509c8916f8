"""Wrong labels: which are drawn, how many, and that the test split keeps its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.parts.data import Data, load
from harness.parts.data.mislabelled import mislabelled


@settings(max_examples=15, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_so_many_of_training_and_validation_are_drawn_and_none_of_test(
    share: float, seed: int
) -> None:
    right = load(Data("digits"))
    made = mislabelled("digits", share, seed)
    for (x, y), own in zip(made, (right.train, right.valid, right.test), strict=True):
        assert (x == own[0].numpy()).all()
        assert set(y) <= set(range(10))
        n, wrong = len(y), (y != own[1].numpy()).sum()
        expected = 0.9 * share  # one in ten of those that are drawn is right by chance
        if own is right.test:
            expected = 0.0
        assert abs(wrong - n * expected) <= 6 * np.sqrt(n * expected * (1 - expected)) + 1e-9


def test_the_same_seed_draws_the_same_labels_and_another_others() -> None:
    one, same, other = (mislabelled("digits", 0.4, seed)[0][1] for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=rf"{share}; allowed: 0 to 1"):
        mislabelled("digits", share)
