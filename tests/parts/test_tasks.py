"""Tasks of memory by their definitions."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.parts.data.tasks import BLANK, GO, TASKS, made
from harness.parts.models import Recurrent
from harness.parts.objectives import SquaredError
from harness.study import DataError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("length", [10, 25, 60])
def test_temporal_order(length: int) -> None:
    arrays = made("temporal_order", length)
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        assert (x.sum(2) == 1).all()
        symbols = x.argmax(2)  # (n, T)
        marked = symbols < 2
        assert (marked.sum(1) == 2).all()
        places = np.nonzero(marked)[1].reshape(-1, 2)
        tenth = length // 10
        assert set(places[:, 0]) == set(range(tenth, 2 * tenth))
        assert set(places[:, 1]) == set(range(length // 2, length // 2 + tenth))
        first, second = np.take_along_axis(symbols, places, 1).T
        assert (y == first + 2 * second).all()
        for counts in (np.bincount(y), np.bincount(symbols[~marked])[2:]):
            assert abs(counts / counts.sum() - 0.25).max() < 0.06  # four standard errors of 1,000


@pytest.mark.parametrize("length", [2, 11, 40])
def test_adding(length: int) -> None:
    arrays = made("adding", length)
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        numbers, marks = x[..., 0], x[..., 1]
        assert ((marks == 0) | (marks == 1)).all()
        for half in (marks[:, : length // 2], marks[:, length // 2 :]):
            assert (half.sum(1) == 1).all()
            assert set(half.argmax(1)) == set(range(half.shape[1]))
        np.testing.assert_allclose((numbers * marks).sum(1), y[:, 0], rtol=1e-6)
        assert abs(((y - 1) ** 2).mean() - 1 / 6) < 0.03  # four standard errors of 1,000


@pytest.mark.parametrize(("length", "symbols"), [(8, 2), (20, 5), (40, 10), (61, 10)])
def test_copy(length: int, symbols: int) -> None:
    arrays = made("copy", length)
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        assert np.array_equal(x[:, :symbols], y[:, -symbols:])
        assert set(np.unique(x[:, :symbols])) == set(range(8))
        assert (y[:, :-symbols] == BLANK).all()
        assert (x[:, -symbols - 1] == GO).all()
        rest = x[:, symbols : -symbols - 1]
        assert (rest == BLANK).all()
        assert rest.shape[1] + 2 * symbols + 1 == length


@pytest.mark.parametrize("length", [2, 30])
def test_recall(length: int) -> None:
    arrays = made("recall", length)
    for x, y in zip(arrays[::2], arrays[1::2], strict=True):
        assert (x.sum(2) == 1).all()
        symbols = x.argmax(2)
        assert np.array_equal(symbols[:, 0], y)
        assert set(y) == set(range(4))
        assert set(np.unique(symbols[:, 1:])) == set(range(4, 8))


@pytest.mark.parametrize("length", [1, 9])
def test_symbols_are_said_again_forwards_or_from_the_last(length: int) -> None:
    for name, way in (("echo", 1), ("reverse", -1)):
        arrays = made(name, length)
        for x, y in zip(arrays[::2], arrays[1::2], strict=True):
            assert np.array_equal(x[:, ::way], y)
            counts = np.bincount(x.ravel(), minlength=8)
            assert abs(counts / counts.sum() - 0.125).max() < 0.05  # four standard errors of 1,000


@pytest.mark.parametrize("name", TASKS)
def test_a_test_sequence_is_a_fresh_one_and_a_length_is_a_task_of_its_own(name: str) -> None:
    train_x, _, valid_x, _, test_x, _ = made(name, 24)
    longer = made(name, 48)[0]
    assert not np.array_equal(train_x[:1000], valid_x)
    assert not np.array_equal(train_x[:1000], test_x[:1000])
    assert not np.array_equal(train_x[:1000], longer[:1000, :24])
    assert all(np.array_equal(a, b) for a, b in zip(made(name, 24), made(name, 24), strict=True))


@pytest.mark.parametrize(("name", "least"), [(name, least) for name, (_, least) in TASKS.items()])
def test_a_task_has_a_length(name: str, least: int) -> None:
    for length in (None, least - 1):
        with pytest.raises(DataError, match=f"allowed: at least {least} for {name}"):
            Data(name, length=length)


def test_a_network_learns_to_add() -> None:
    one = Training(
        partial(Recurrent, "GRU", 2, 12, 1), Optimizer("adam", lr=0.02), objective=SquaredError(),
        data=Data("adding", train=2000, length=6), steps=400, every=400, batch_size=20,
    )  # fmt: skip
    (outcome,) = train([one], [0])
    assert outcome.metrics["test_loss"][-1] < 0.02  # 1/6 without looking
