"""MNIST-1D: what was published, bit for bit, and more of the same."""

from __future__ import annotations

import numpy as np
import pytest
from mnist1d.data import get_dataset_args, make_dataset

from harness.parts.data import Data, forget, load, train_size
from harness.parts.data.signals import MADE, PUBLISHED, mnist1d


@pytest.mark.parametrize("shuffled", [False, True])
def test_what_was_published_comes_first(shuffled: bool) -> None:
    args = get_dataset_args()
    args.shuffle_seq = shuffled
    theirs = make_dataset(args)
    train_x, train_y, _, _, test_x, test_y = mnist1d(shuffled)
    for x, y, n, split in (
        (train_x, train_y, PUBLISHED[0], ""),
        (test_x, test_y, PUBLISHED[1], "_test"),
    ):
        np.testing.assert_allclose(x[:n], theirs[f"x{split}"], atol=1e-6)
        assert np.array_equal(y[:n], theirs[f"y{split}"])


def test_all_others_are_drawn_alike_and_stand_in_one_split() -> None:
    train_x, train_y, valid_x, valid_y, test_x, test_y = mnist1d(False)
    known = train_x[: PUBLISHED[0]], train_y[: PUBLISHED[0]]
    for x, y in (
        (train_x[PUBLISHED[0] :], train_y[PUBLISHED[0] :]),
        (valid_x, valid_y),
        (test_x[PUBLISHED[1] :], test_y[PUBLISHED[1] :]),
    ):
        for digit in range(10):
            mine, theirs = x[y == digit], known[0][known[1] == digit]
            error = np.hypot(mine.std(0) / len(mine) ** 0.5, theirs.std(0) / len(theirs) ** 0.5)
            # 1,200 comparisons: five standard errors are exceeded by chance once in a thousand runs
            assert (abs(mine.mean(0) - theirs.mean(0)) < 5 * error).all()
            assert abs(len(mine) / len(x) - 0.1) < 5 * (0.09 / len(x)) ** 0.5
    every = np.concatenate([train_x, valid_x, test_x])
    assert len(np.unique(every, axis=0)) == len(every)


def test_they_are_a_data_set_like_the_others() -> None:
    data = Data("mnist1d", train=4_000)
    splits = load(data)
    assert [tuple(x.shape) for x, _ in (splits.train, splits.valid, splits.test)] == [
        (4_000, 40), (MADE[1], 40), (MADE[2], 40),
    ]  # fmt: skip
    assert train_size(data) == 4_000
    assert train_size(Data("mnist1d_shuffled")) == MADE[0]
    shuffled = load(Data("mnist1d_shuffled", train=4_000)).train[0]
    assert not np.array_equal(shuffled, splits.train[0])
    assert np.array_equal(shuffled.sort(1)[0], splits.train[0].sort(1)[0])
    forget()
