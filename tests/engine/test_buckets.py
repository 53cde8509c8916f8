"""Sequences of like length together: every trial still reads all of them, whatever is beside it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Data, Optimizer, Training
from harness.engine.buckets import Buckets, lengths, scored_batches
from harness.engine.pack import train
from harness.parts import keyed
from harness.parts.data import Splits
from harness.parts.models import Recurrent
from harness.parts.objectives import Bernoulli

SIZES = st.lists(st.integers(1, 30), min_size=4, max_size=40)


@given(SIZES, st.integers(1, 3), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_an_epoch_reads_every_sequence_once_and_no_batch_is_cut(
    sizes: list[int], size: int, count: int, epoch: int
) -> None:
    n, steps = len(sizes), torch.tensor(sizes)
    buckets = Buckets(steps, size, min(count, n // size))
    order = keyed.permutation(keyed.keys([1, 2, 3], "batches"), n)
    found = buckets.batches(order, epoch)
    assert found.shape == (n // size, 3, size)
    for lane in range(3):
        read = found[:, lane].flatten()
        assert len(read.unique()) == len(read) == n // size * size
        assert read.sort().values.equal(order[lane, : len(read)].sort().values)
    bound = torch.tensor(buckets.steps(epoch)).view(-1, 1, 1)
    assert (steps[found] <= bound).all()
    assert found[:, 1:2].equal(buckets.batches(order[1:2], epoch))


def test_by_hand() -> None:
    buckets = Buckets(torch.tensor([9, 1, 8, 2]), 1, 2)
    assert buckets.longest == [2, 9]
    found = buckets.batches(torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), 0)
    places = buckets.order(0)
    by_bucket = found[torch.tensor(places).argsort(), :, 0]  # in the order of places
    assert by_bucket.tolist() == [[1, 3], [3, 1], [0, 2], [2, 0]]
    assert buckets.steps(0) == [2 if place < 2 else 9 for place in places]
    assert len({tuple(buckets.order(epoch)) for epoch in range(9)}) > 1


def test_what_is_scored_together() -> None:
    x = torch.full((6, 7, 2), torch.nan)
    for number, length in enumerate((7, 1, 3, 2, 5, 4)):
        x[number, :length] = 0
    assert lengths(x).tolist() == [7, 1, 3, 2, 5, 4]
    found = scored_batches(x, 2)
    assert [(rows.tolist(), steps) for rows, steps in found] == [
        ([1, 3], 2), ([2, 5], 4), ([4, 0], 7),
    ]  # fmt: skip
    assert lengths(torch.zeros(3, 4, 2)) is None
    assert scored_batches(torch.zeros(5, 4), 3) == [(slice(0, 3), None), (slice(3, 6), None)]


@pytest.fixture
def chorales(monkeypatch: pytest.MonkeyPatch) -> Splits:
    """Ten short rolls of eight keys, as padded sequences."""
    generator = torch.Generator().manual_seed(0)
    rolls = torch.rand(10, 12, 8, generator=generator).round()
    steps = torch.randint(2, 13, (10,), generator=generator)
    inside = torch.arange(12) < steps.unsqueeze(1)  # (10, 12)
    x = torch.where(inside.unsqueeze(2), rolls, torch.nan)
    y = torch.cat([rolls, 10 * inside.unsqueeze(2) / inside.sum()], 2)
    splits = Splits((x, y), (x[:7], y[:7]), (x[3:], y[3:]))
    monkeypatch.setattr("harness.parts.data.load", lambda *_: splits)
    monkeypatch.setattr("harness.parts.data.train_size", lambda _: 10)
    return splits


@pytest.mark.usefixtures("one_thread", "chorales")
def test_a_trial_is_the_same_to_the_bit_alone_and_beside_others() -> None:
    one = Training(
        partial(Recurrent, "vanilla", 8, 5, 8, every_step=True, ragged=True),
        Optimizer("nesterov", lr=0.05, momentum=0.8), data=Data("jsb_chorales"), epochs=2,
        objective=Bernoulli(), batch_size=1, buckets=3,
    )  # fmt: skip
    together = train([one] * 4, range(4))
    assert {outcome.status for outcome in together} == {"finished"}
    for seed, outcome in enumerate(together):
        (alone,) = train([one], [seed])
        assert alone.metrics == outcome.metrics
    (other,) = train([replace(one, buckets=1)], [0])
    assert other.metrics != together[0].metrics
    # at the start nothing was read, and padding changes nothing
    for name in ("valid_loss", "test_frame_loss"):
        assert other.metrics[name][0] == pytest.approx(together[0].metrics[name][0], rel=1e-6)
    with pytest.raises(ValueError, match="buckets is 11; allowed: 1, or with data"):
        replace(one, buckets=11)
