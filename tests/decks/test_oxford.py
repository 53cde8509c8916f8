"""Deep learning, Oxford: the gradients and identities on its slides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.parts.models import ACTIVATIONS
from harness.parts.objectives import BinaryCrossEntropy
from tests.decks import act, drawn, linears, mlp, random_cell, slide, states, vector


@slide(
    "Oxford",
    "Announcements/common problems",
    "Poisson regression predicts exp(xᵀw): with it the gradient by xᵀw is prediction minus count",
)
def test_poisson_regression_predicts_an_exponential() -> None:
    eta = drawn(6).requires_grad_()
    counts = vector(0, 1, 2, 3, 1, 0)
    loss = functional.poisson_nll_loss(eta, counts, log_input=True, reduction="sum")
    (grad,) = torch.autograd.grad(loss, eta)
    torch.testing.assert_close(grad, (eta.exp() - counts).detach())


@slide(
    "Oxford",
    "Recall the derivation of generalized linear models",
    "the logistic loss y log ŷ + (1 − y) log(1 − ŷ) lacks the minus sign: gradient descent on it moves away from y",
    slip=True,
)
def test_the_logistic_loss_needs_its_minus_sign() -> None:
    z, y = vector(0.4, -0.9).view(2, 1).requires_grad_(), vector(1.0, 0.0)
    y_hat = act("sigmoid", z)[:, 0]
    theirs = (y * y_hat.log() + (1 - y) * (1 - y_hat).log()).mean()
    torch.testing.assert_close(BinaryCrossEntropy().loss(z, y), -theirs)
    (grad,) = torch.autograd.grad(theirs, z)
    after = act("sigmoid", z - 0.5 * grad)[:, 0]
    assert ((after - y).abs() > (y_hat - y).abs()).all()


@slide(
    "Oxford",
    "From input to output – matrix notation",
    "four neurons one by one are W x + b, and the network is z² = W²σ(W¹x + b¹) + b²",
)
def test_neurons_one_by_one_are_a_matrix() -> None:
    net = mlp("sigmoid", (drawn(4, 3), drawn(4, seed=1)), (drawn(1, 4, seed=2), drawn(1, seed=3)))
    x = drawn(3, seed=4)
    first, second = linears(net)
    neurons = torch.stack([torch.sigmoid(first.weight[i] @ x + first.bias[i]) for i in range(4)])
    torch.testing.assert_close(net(x[None])[0], second.weight @ neurons + second.bias)


@slide(
    "Oxford",
    "How to train a neural network?",
    "∂L/∂w⁽²⁾ = (ŷ − y) f⁽¹⁾ᵀ, and ∂L/∂w⁽¹⁾ by the chain, for L = ½(ŷ − y)²; for the deck's own (ŷ − y)² it is twice that",
)
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_gradients_by_the_chain_rule(factor: float) -> None:
    net = mlp(
        "tanh", (drawn(4, 3), torch.zeros(4).double()), (drawn(1, 4), torch.zeros(1).double())
    )
    x, y = drawn(3, seed=1), 0.7
    y_hat = net(x[None])[0, 0]
    (factor * (y_hat - y) ** 2).backward()
    first, second = linears(net)
    with torch.no_grad():
        f1 = torch.tanh(first.weight @ x)
        error = 2 * factor * (y_hat - y)
        torch.testing.assert_close(second.weight.grad[0], error * f1)
        by_z1 = error * second.weight[0] * (1 - f1**2)
        torch.testing.assert_close(first.weight.grad, torch.outer(by_z1, x))


@slide(
    "Oxford",
    "Implementation details",
    "dZ², dW², db², dZ¹, dW¹, db¹ of a batch, for a sigmoid output and cross-entropy",
)
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh"])
def test_gradients_of_a_batch(hidden: str) -> None:
    m = 7
    net = mlp(hidden, (drawn(4, 3), drawn(4, seed=1)), (drawn(1, 4, seed=2), drawn(1, seed=3)))
    x, y = drawn(3, m, seed=4), (drawn(1, m, seed=5) > 0).double()  # examples are columns
    BinaryCrossEntropy().loss(net(x.T), y[0]).backward()
    first, second = linears(net)
    with torch.no_grad():
        z1 = first.weight @ x + first.bias[:, None]
        a1 = ACTIVATIONS[hidden]()(z1)
        slope = a1 * (1 - a1) if hidden == "sigmoid" else 1 - a1**2
        d_z2 = torch.sigmoid(second.weight @ a1 + second.bias[:, None]) - y
        d_z1 = second.weight.T @ d_z2 * slope
        torch.testing.assert_close(second.weight.grad, d_z2 @ a1.T / m)
        torch.testing.assert_close(second.bias.grad, d_z2.sum(1) / m)
        torch.testing.assert_close(first.weight.grad, d_z1 @ x.T / m)
        torch.testing.assert_close(first.bias.grad, d_z1.sum(1) / m)


@slide(
    "Oxford",
    "Convolutional NN",
    "what software calls convolution is cross-correlation: the two agree when the kernel is turned round",
)
def test_software_convolves_by_correlating() -> None:
    ours = functional.conv1d(drawn(1, 1, 9), drawn(1, 1, 3, seed=1))[0, 0].numpy()
    x, k = drawn(9).numpy(), drawn(3, seed=1).numpy()
    np.testing.assert_allclose(ours, np.correlate(x, k, "valid"))
    np.testing.assert_allclose(ours, np.convolve(x, k[::-1], "valid"))
    assert np.abs(ours - np.convolve(x, k, "valid")).max() > 0.1


@slide(
    "Oxford",
    "Convolutional NN",
    "f(g(x)) = g(f(x)) for a shift g, and not for a turn or a change of scale",
)
def test_convolution_is_equivariant_to_shifts_only() -> None:
    x, k = drawn(1, 1, 8, 8), drawn(1, 1, 3, 3, seed=1)

    def f(image: torch.Tensor) -> torch.Tensor:  # around the edges, so that shifts lose nothing
        return functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode="circular"), k)

    torch.testing.assert_close(f(x.roll((2, 3), (2, 3))), f(x).roll((2, 3), (2, 3)))
    assert (f(x.rot90(1, (2, 3))) - f(x).rot90(1, (2, 3))).abs().max() > 0.1
    assert (f(x[..., ::2, ::2]) - f(x)[..., ::2, ::2]).abs().max() > 0.1


@slide(
    "Oxford",
    "Convolutional NN",
    "shifting by one changes every input of max-pooling but only half of its outputs; nor is pooling quite invariant (the figure's numbers are lost, these are ours)",
)
def test_max_pooling_is_invariant_to_some_degree() -> None:
    before, after = vector(0.1, 0.9, 0.3, 0.2), vector(0.4, 0.1, 0.9, 0.3)
    assert torch.equal(after[1:], before[:-1])
    top = [functional.max_pool1d(one[None, None], 3, 1, 1)[0, 0] for one in (before, after)]
    assert int((before != after).sum()) == 4
    assert int((top[0] != top[1]).sum()) == 2


@slide("Oxford", "Recurrent NN", "a = b + Wh + Ux, h = tanh(a), o = c + Vh")
def test_recurrent_network() -> None:
    one = random_cell("RNN", 3, 4)
    x, h = drawn(6, 3), torch.zeros(4, dtype=torch.float64)
    for t, state in enumerate(states(one, x)):
        h = torch.tanh(one.bias[0] + one.from_hidden[0] @ h + one.from_input[0, :, 0] @ x[t])
        torch.testing.assert_close(state, h)


@slide(
    "Oxford",
    "Issues with big NNs",
    "with W = QΛQᵀ the state is QΛᵗQᵀh, not QᵀΛᵗQh; its parts grow or vanish as λᵗ",
    slip=True,
)
def test_powers_of_a_recurrent_matrix() -> None:
    a = drawn(4, 4)
    _, q = torch.linalg.eigh(a + a.T)
    values = vector(1.1, 0.9, 0.5, -0.2)
    w, h = q @ values.diag() @ q.T, drawn(4, seed=1)
    state = torch.linalg.matrix_power(w, 20) @ h
    power = (values**20).diag()
    torch.testing.assert_close(state, q @ power @ q.T @ h)
    assert (state - q.T @ power @ q @ h).abs().max() > 0.1 * state.abs().max()
    parts = (q.T @ state) / (q.T @ h)
    assert parts[0] > 6 and parts[1:].abs().max() < 0.13


@slide(
    "Oxford",
    "Capture Regularity in the input space",
    "h_t = αh_{t−1} + (1 − α)h_t, as it stands, leaves h where it was: on the right a candidate is meant",
    slip=True,
)
def test_a_leaky_unit_needs_a_candidate() -> None:
    alpha, before, candidate = 0.9, 0.3, -0.8
    h = 5.0
    for _ in range(400):  # the equation as it stands, solved by repeating it
        h = alpha * before + (1 - alpha) * h
    assert h == pytest.approx(before)
    assert alpha * before + (1 - alpha) * candidate != pytest.approx(before, abs=0.1)
