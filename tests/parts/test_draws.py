"""Random numbers that losses draw."""

from __future__ import annotations

import torch
from torch.func import vmap

from harness.parts import keyed
from harness.parts.draws import keyed_by, normal, uniform


def test_draws_are_functions_of_their_key_and_of_how_many_came_before() -> None:
    one, other = keyed.keys([1, 2], "mask")
    with keyed_by(one) as source:
        first, second = normal(3, 4), normal(3, 4)
        assert source.drawn == 2
    with keyed_by(one):
        assert torch.equal(normal(3, 4), first)
        with keyed_by(other):
            assert not torch.equal(normal(3, 4), second)
        assert torch.equal(normal(3, 4), second)


def test_lanes_draw_as_they_would_alone() -> None:
    keys = keyed.keys([1, 2, 3], "mask")

    def drawn(key: torch.Tensor) -> torch.Tensor:
        with keyed_by(key):
            return torch.cat([uniform(5, 2), normal(5, 2)])

    together = vmap(drawn)(keys)
    assert all(torch.equal(together[lane], drawn(key)) for lane, key in enumerate(keys))


def test_they_have_the_distributions_that_they_say() -> None:
    with keyed_by(torch.tensor(7)):
        u, z = uniform(100_000), normal(100_000)
    assert 0 <= u.min() < u.max() < 1
    assert abs(float(u.mean()) - 0.5) < 0.005
    assert abs(float(u.var()) - 1 / 12) < 0.002
    assert abs(float(z.mean())) < 0.015
    assert abs(float(z.var()) - 1) < 0.02


def test_outside_of_training_they_are_those_of_torch() -> None:
    torch.manual_seed(3)
    found = uniform(2, 3), normal(4)
    torch.manual_seed(3)
    assert torch.equal(found[0], torch.rand(2, 3))
    assert torch.equal(found[1], torch.randn(4))
