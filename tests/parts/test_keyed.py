"""Keyed randomness: a function of key and index, and uniform enough."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.parts import keyed


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=6, unique=True), st.integers(1, 50))
def test_a_draw_depends_on_its_own_key_alone(seeds, n) -> None:
    together = keyed.uniform(keyed.keys(seeds, "noise"), n)
    for lane, seed in enumerate(seeds):
        assert torch.equal(together[lane], keyed.uniform(keyed.keys([seed], "noise"), n)[0])
    backwards = keyed.uniform(keyed.keys(seeds[::-1], "noise"), n)
    assert torch.equal(backwards.flip(0), together)


def test_splitmix_reference_value() -> None:
    # SplitMix64 seeded with 0 first returns 0xE220A8397B1DCDAF (Vigna's reference code)
    state = torch.tensor([keyed._GOLDEN])
    assert int(keyed._finalize(state)) & (2**64 - 1) == 0xE220A8397B1DCDAF


def test_uniform_is_uniform() -> None:
    draws = keyed.uniform(keyed.keys(list(range(20)), "mask"), 5000).flatten().numpy()
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > 0.001


def test_permutations_are_permutations_and_differ() -> None:
    orders = keyed.permutation(keyed.keys([1, 2, 3], "batches"), 100)
    for order in orders:
        assert order.sort().values.tolist() == list(range(100))
    assert len({tuple(order.tolist()) for order in orders}) == 3


@pytest.mark.parametrize("n", [1, 2, 64, 1077])
def test_a_permutation_is_the_order_of_the_drawn_words(n: int) -> None:
    keys = keyed.keys([1, 2, 3], "batches")
    order = keyed.bits(keys, n).argsort(dim=1, stable=True)
    assert torch.equal(keyed.permutation(keys, n), order)


def test_streams_differ_and_are_named() -> None:
    keys = {int(keyed.keys([0], stream)[0]) for stream in keyed.STREAMS}
    assert len(keys) == len(keyed.STREAMS)
    with pytest.raises(ValueError, match="stream is 'nose'; allowed: init"):
        keyed.keys([0], "nose")


@given(st.integers(-(2**63), 2**63 - 1), st.sampled_from(sorted(keyed.STREAMS)))
def test_a_seed_for_torch_is_the_key(seed, stream) -> None:
    key = int(keyed.keys([seed], stream)[0])
    assert keyed.torch_seed(seed, stream) == key & (2**63 - 1)


@pytest.mark.parametrize("n", [1, 4, 7, 1000])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999])
def test_masks_are_the_same_however_coins_are_read(monkeypatch, n: int, rate: float) -> None:
    """torch before 2.13 cannot batch reading four of them at once."""
    key = keyed.keys([1, 2], "mask")
    expected = (keyed.coins(key, n) >= rate * 65536).float() / (1 - rate)
    for at_once in (True, False):
        monkeypatch.setattr(keyed, "_reads_parts", lambda at_once=at_once: at_once)
        assert torch.equal(keyed.kept(key, n, rate), expected)
