"""Reservoirs: their radius by eigenvalues, and their states beside NumPy's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.building import build, structure
from harness.engine.cost import work_of
from harness.parts.models import EchoState
from harness.parts.models.reservoir import spectral_radius

pytestmark = pytest.mark.usefixtures("one_thread")


@settings(max_examples=20, deadline=None)
@given(
    radius=st.floats(0, 2),
    units=st.integers(2, 60),
    density=st.floats(0.3, 1),
    seed=st.integers(0, 99),
)
def test_the_radius_is_the_modulus_of_the_largest_eigenvalue(radius, units, density, seed) -> None:
    net = build(partial(EchoState, 1, units, 1, radius, density=density), seed)
    found = np.abs(np.linalg.eigvals(net.within.double().numpy())).max()
    # what float32 rounds away moves an eigenvalue of a matrix that is not normal further than itself
    assert found == pytest.approx(radius, rel=1e-3, abs=1e-3) or found == 0


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 999), rank=st.integers(1, 40))
def test_a_radius_by_squaring_is_that_of_all_eigenvalues(n: int, seed: int, rank: int) -> None:
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((n, rank)) @ random.standard_normal((rank, n))
    expected = np.abs(np.linalg.eigvals(matrix)).max()
    assert spectral_radius(torch.from_numpy(matrix)) == pytest.approx(expected, rel=2e-6)


def test_a_matrix_of_which_a_power_is_zero_has_none() -> None:
    assert spectral_radius(torch.randn(5, 5, dtype=torch.float64).triu(1)) == 0
    assert spectral_radius(torch.diag(torch.tensor([3.0, -4.0]).double())) == pytest.approx(4)


def test_states_are_those_of_the_equations() -> None:
    net = build(partial(EchoState, 2, 7, 3, 0.8, leak=0.3, scale=0.5, washout=2), 4)
    x = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    within, into, bias = (t.double().numpy() for t in (net.within, net.into, net.bias))
    weight, offset = (w.detach().double().numpy() for w in net.readout.parameters())
    for series, said in zip(x.double().numpy(), net(x).detach().numpy(), strict=True):
        h, out = np.zeros(7), []
        for now in series:
            h = 0.7 * h + 0.3 * np.tanh(within.T @ h + into @ now + bias)
            out.append(weight @ h + offset)
        np.testing.assert_allclose(said, out[2:], rtol=1e-5, atol=1e-6)
    net.every_step = False
    assert net(x).shape == (2, 3)
    np.testing.assert_allclose(net(x)[1].detach(), out[-1], rtol=1e-5, atol=1e-6)


def test_what_lies_below_a_reservoir_may_be_trained() -> None:
    """The gradient goes through all steps, and the states are the same."""
    net, lanes = build(partial(EchoState, 1, 6, 1, 0.9, leak=0.5), 0), torch.randn(3, 2, 5, 1)
    states = torch.func.vmap(net.states)(lanes)
    followed = net.states(lanes[0].requires_grad_())
    torch.testing.assert_close(states[0], followed.detach())
    x = lanes[0].detach().double().requires_grad_()
    assert torch.autograd.gradcheck(net.double().states, x)


def test_a_forecast_counts_all_steps() -> None:
    short, long = torch.zeros(1, 10, 1), torch.zeros(1, 110, 1)
    model = partial(EchoState, 1, 20, 1)
    assert work_of(model, (long,)).flops - work_of(model, (short,)).flops >= 100 * 2 * 20**2


def test_only_the_readout_is_trained_and_numbers_make_no_other_structure() -> None:
    one, other = partial(EchoState, 1, 9, 1, 0.5), partial(EchoState, 1, 9, 1, 1.2, 0.3, 2.0, 0.5)
    assert structure(one) == structure(other)
    assert structure(one) != structure(partial(EchoState, 1, 9, 1, 0.5, washout=1))
    assert [name for name, _ in build(one, 0).named_parameters()] == [
        "readout.weight",
        "readout.bias",
    ]
    assert (build(other, 0).within == 0).float().mean() > 0.2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"radius": -0.1}, "radius=-0.1; allowed: 0 or more"),
        ({"leak": 0.0}, "leak=0.0; allowed: above 0, up to 1"),
        ({"density": 1.5}, "density=1.5; allowed: above 0"),
        ({"washout": -1}, "washout=-1; allowed: 0 or more"),
    ],
)
def test_mistakes(given, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EchoState(1, 5, 1, **given)


def test_a_sequence_within_the_washout_is_refused() -> None:
    with pytest.raises(ValueError, match="washout=8 and 8 steps; allowed: more steps"):
        EchoState(1, 5, 1, washout=8)(torch.zeros(1, 8, 1))
