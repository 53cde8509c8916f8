"""CS 412 Deep Learning, UIUC: the numbers, tables and rules on its slides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.parts.models import Dropout
from harness.parts.objectives import BinaryCrossEntropy, CrossEntropy
from harness.parts.optimizers import Optimizer
from harness.parts.schedules import Inverse, Linear
from tests.decks import act, drawn, linears, matrix, mlp, path, random_cell, slide, states, vector

CORNERS = matrix([0, 0], [0, 1], [1, 0], [1, 1])
XOR = vector(0, 1, 1, 0)


def slope_at(name: str, x: float) -> float:
    """An activation's derivative as autograd has it."""
    at = vector(x).requires_grad_()
    return float(torch.autograd.grad(act(name, at).sum(), at)[0])


@slide(
    "UIUC",
    "Perceptron: Predecessor of a Neural Network",
    "f(Wᵀx) = f(Σ W_i x_i + b): the bias is a weight of a constant input",
)
def test_a_perceptron_is_a_weighted_sum() -> None:
    w, b, x = drawn(3), drawn(1, seed=1), drawn(3, seed=2)
    net = mlp("sigmoid", (w[None], b))
    with_constant = torch.cat([b, w]) @ torch.cat([torch.ones(1).double(), x])
    torch.testing.assert_close(act("sigmoid", net(x[None])[0, 0]), act("sigmoid", with_constant))


@slide("UIUC", "Multilayer Perceptron (MLP)", "two hidden ReLUs compute XOR: |x₁ − x₂|")
def test_two_hidden_units_compute_xor() -> None:
    none = torch.zeros(2).double()
    net = mlp("relu", (matrix([1, -1], [-1, 1]), none), (matrix([1, 1]), none[:1]))
    assert net(CORNERS)[:, 0].tolist() == XOR.tolist()


@slide(
    "UIUC",
    "Gradient Computation: Backpropagation",
    "a weight's gradient is its unit's δ times what it reads; δ_j gathers the δ_k of the layer above",
)
def test_errors_are_distributed_backwards() -> None:
    net = mlp("sigmoid", *[(drawn(4, 4, seed=s), drawn(4, seed=s + 9)) for s in range(3)])
    x, target = drawn(4, seed=5), vector(0, 1, 1, 0)
    out = act("sigmoid", net(x[None]))[0]
    (0.5 * (target - out).square().sum()).backward()
    with torch.no_grad():
        reads, here = [x], x
        for layer in linears(net)[:-1]:
            here = act("sigmoid", layer(here))
            reads.append(here)
        delta = (out * (1 - out) * (target - out)).detach()  # of the output layer
        for layer, seen in zip(linears(net)[::-1], reads[::-1], strict=True):
            torch.testing.assert_close(layer.weight.grad, -torch.outer(delta, seen))
            torch.testing.assert_close(layer.bias.grad, -delta)
            delta = seen * (1 - seen) * (layer.weight.T @ delta)


@slide("UIUC", "Key Challenges", "θ ← θ − ηg, the rule `sgd`")
def test_gradient_descent() -> None:
    assert path(Optimizer("sgd", lr=0.1), [2.0, -1.0], start=1.0) == pytest.approx([0.8, 0.9])


@slide(
    "UIUC",
    "Responsive Activation Function",
    "∂O/∂I = O(1 − O), at most ¼; the output's error O(1 − O)(T − O) vanishes where O is nearly 0 or 1",
)
def test_a_saturated_sigmoid_has_no_error() -> None:
    total = torch.linspace(-20, 20, 81, dtype=torch.float64, requires_grad=True)
    out = act("sigmoid", total)
    (slope,) = torch.autograd.grad(out.sum(), total, retain_graph=True)
    torch.testing.assert_close(slope, (out * (1 - out)).detach())
    assert slope.max() == 0.25
    target = 1.0
    (grad,) = torch.autograd.grad(0.5 * (target - out).square().sum(), total)
    torch.testing.assert_close(-grad, (out * (1 - out) * (target - out)).detach())
    assert grad[[0, -1]].abs().max() < 3e-9  # wrong by one, or right
    assert grad.abs().max() < 4 / 27  # O(1 − O)² is largest at O = ⅓


DERIVATIVES = {
    "sigmoid": lambda f, x: f * (1 - f),
    "tanh": lambda f, x: 1 - f**2,
    "relu": lambda f, x: (x > 0).double(),
    "leaky_relu": lambda f, x: torch.where(x < 0, 0.01, 1.0).double(),
    "elu": lambda f, x: torch.where(x > 0, 1.0, x.exp()),
}


@slide("UIUC", "Activation Functions", "the five derivatives of the table, away from zero")
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_of_activations(name: str) -> None:
    x = torch.tensor([-3, -1, -0.25, 0.25, 1, 3], dtype=torch.float64, requires_grad=True)
    f = act(name, x)
    (slope,) = torch.autograd.grad(f.sum(), x)
    torch.testing.assert_close(slope, DERIVATIVES[name](f.detach(), x.detach()))


@slide(
    "UIUC",
    "Activation Functions",
    "ReLU's derivative at 0 is given twice, 0 and 1, which are its two one-sided ones; autograd takes 0",
    slip=True,
)
def test_relu_at_zero() -> None:
    step = 1e-6
    left, right = (float(act("relu", vector(s))[0]) / s for s in (-step, step))
    assert (left, right) == (0, 1)
    assert slope_at("relu", 0.0) == 0


@slide(
    "UIUC",
    "Activation Functions",
    "leaky ReLU's derivative at 0 is 1 in the table; its left one is 0.01, and autograd takes that",
)
def test_leaky_relu_at_zero() -> None:
    step = 1e-6
    left, right = (float(act("leaky_relu", vector(s))[0]) / s for s in (-step, step))
    assert (left, right) == pytest.approx((0.01, 1))
    assert slope_at("leaky_relu", 0.0) == pytest.approx(0.01)


@slide("UIUC", "Activation Functions", "ELU's derivative at 0 is α: it has one only at α = 1")
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_elu_at_zero(alpha: float) -> None:
    step = 1e-7
    left, right = (float(functional.elu(vector(s), alpha)[0]) / s for s in (-step, step))
    assert left == pytest.approx(alpha, rel=1e-6) and right == pytest.approx(1)
    at = vector(0.0).requires_grad_()
    (slope,) = torch.autograd.grad(functional.elu(at, alpha).sum(), at)
    assert float(slope) == alpha
    if alpha == 1:
        assert slope_at("elu", 0.0) == 1


@slide("UIUC", "Adaptive Learning Rate", "strategy 1 is η₀/t, counted from 1: `Inverse(1)`")
def test_strategy_one() -> None:
    t = np.arange(100)
    np.testing.assert_allclose(0.9 * Inverse(1.0).factor(t, 100), 0.9 / (t + 1))


@slide(
    "UIUC",
    "Adaptive Learning Rate",
    "strategy 2 goes from η₀ = 0.9 to η∞ = 10⁻⁹ in a straight line: `Linear`",
)
def test_strategy_two() -> None:
    first, last, total = 0.9, 1e-9, 50
    t = np.arange(total + 1)
    theirs = (1 - t / total) * first + t / total * last
    np.testing.assert_allclose(first * Linear(last / first).factor(t, total), theirs, atol=1e-16)
    assert theirs[-1] == last


@slide(
    "UIUC",
    "Adaptive Learning Rate",
    "strategy 3 divides by the root of all squares so far: the first step is η whatever the gradient, the t-th of equal ones η/√t",
)
@pytest.mark.parametrize("gradient", [1e-3, 1.0, -50.0])
def test_strategy_three_is_adagrad(gradient: float) -> None:
    ours = path(Optimizer("adagrad", lr=0.1), [gradient] * 4)
    sign = np.sign(gradient)
    assert ours == pytest.approx(
        [-sign * sum(0.1 / np.sqrt(s) for s in range(1, t + 1)) for t in range(1, 5)]
    )


@slide(
    "UIUC",
    "Adaptive Learning Rates: Adam",
    "algorithm 1 with its default settings, ten steps; the first step is α whatever the gradient",
)
def test_adam() -> None:
    gradients = drawn(10).tolist()
    m = v = w = 0.0
    expected = []
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.999 * v + (1 - 0.999) * g * g
        w -= 0.001 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)) ** 0.5 + 1e-8)
        expected.append(w)
    assert path(Optimizer("adam"), gradients) == pytest.approx(expected, rel=1e-5)
    assert path(Optimizer("adam"), [1e-3])[0] == pytest.approx(-0.001, rel=1e-4)


@slide(
    "UIUC",
    "Dropout",
    "θ* ← ρθ* multiplies by the rate ρ of dropping; the mean over all masks is (1 − ρ)wᵀx",
    slip=True,
)
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_scales_by_what_is_kept(rate: float) -> None:
    w, x = drawn(6), drawn(6, seed=1)
    masks = torch.tensor([*itertools.product((0.0, 1.0), repeat=6)], dtype=torch.float64)
    kept = masks.sum(1)
    chance = (1 - rate) ** kept * rate ** (6 - kept)
    mean = chance @ (masks @ (w * x))
    torch.testing.assert_close(mean, (1 - rate) * (w @ x))
    assert bool(torch.isclose(mean, rate * (w @ x))) == (rate == 0.5)


@slide(
    "UIUC",
    "Dropout",
    "the part divides by 1 − ρ in training instead, and needs no scaling after it",
)
def test_the_dropout_part_divides_by_what_is_kept() -> None:
    layer, x = Dropout(0.2, 0, channels=False), torch.ones(500, 100)
    out = layer(x)
    assert {round(float(v), 6) for v in out.unique()} == {0.0, 1.25}
    assert float(out.mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(layer.eval()(x), x)


@slide(
    "UIUC",
    "Cross Entropy",
    "the error δ is O(1 − O)(T − O) under ½(T − O)² and T − O under cross-entropy",
)
def test_errors_of_two_losses() -> None:
    total, target = drawn(8).requires_grad_(), (drawn(8, seed=1) > 0).double()
    out = act("sigmoid", total)
    (squared,) = torch.autograd.grad(0.5 * (target - out).square().sum(), total)
    torch.testing.assert_close(-squared, (out * (1 - out) * (target - out)).detach())
    (entropy,) = torch.autograd.grad(8 * BinaryCrossEntropy().loss(total, target), total)
    torch.testing.assert_close(-entropy, (target - act("sigmoid", total)).detach())


@slide(
    "UIUC",
    "Cross Entropy",
    "−Σ T_j log O_j of one-hot targets is the part's loss; of two classes it is the binary one",
)
def test_cross_entropy_of_several_classes() -> None:
    scores, y = drawn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    theirs = -(functional.one_hot(y, 3) * scores.softmax(1).log()).sum(1).mean()
    torch.testing.assert_close(CrossEntropy().loss(scores, y), theirs)
    two, y = drawn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    binary = BinaryCrossEntropy().loss(two[:, 1] - two[:, 0], y)
    torch.testing.assert_close(CrossEntropy().loss(two, y), binary)


@slide(
    "UIUC",
    "Convolutional Neural Networks (CNN)",
    "S[i] = Σ_p I[i+p] K[p] and S[i][j] in two dimensions, with zeros around",
)
def test_convolution_by_its_sums() -> None:
    line, kernel = drawn(7), drawn(3, seed=1)
    padded = functional.pad(line, (1, 1))
    sums = torch.stack(
        [sum(padded[1 + i + p] * kernel[p + 1] for p in (-1, 0, 1)) for i in range(7)]
    )
    got = functional.conv1d(line[None, None], kernel[None, None], padding=1)[0, 0]
    torch.testing.assert_close(got, sums)
    image, kernel = drawn(5, 6), drawn(3, 3, seed=1)
    padded = functional.pad(image, (1, 1, 1, 1))
    got = functional.conv2d(image[None, None], kernel[None, None], padding=1)[0, 0]
    for i, j in itertools.product(range(5), range(6)):
        torch.testing.assert_close(got[i, j], (padded[i : i + 3, j : j + 3] * kernel).sum())


@slide(
    "UIUC",
    "CNN Motivation",
    "a kernel of size 3 has 3 weights where full connection of n units has n²; after L layers a unit reads 2L + 1 inputs",
)
def test_sparse_interactions_and_shared_parameters() -> None:
    n = 15
    kernel, full = torch.nn.Conv1d(1, 1, 3, bias=False), torch.nn.Linear(n, n, bias=False)
    assert (kernel.weight.numel(), full.weight.numel()) == (3, n * n)
    x, out = drawn(1, 1, n).requires_grad_(), None
    out = x
    for layers in range(1, 5):
        out = functional.conv1d(out, torch.ones(1, 1, 3).double(), padding=1)
        (seen,) = torch.autograd.grad(out[0, 0, n // 2], x, retain_graph=True)
        assert int((seen != 0).sum()) == 2 * layers + 1


@slide(
    "UIUC",
    "CNN Motivation",
    "“translational equivalence”: the output is not the same when the input moves, it moves along; f(g(x)) = g(f(x)) is equivariance",
    slip=True,
)
def test_equivariance_not_equivalence() -> None:
    x, k = drawn(1, 1, 10), drawn(1, 1, 3, seed=1)

    def f(line: torch.Tensor) -> torch.Tensor:
        return functional.conv1d(functional.pad(line, (1, 1), mode="circular"), k)

    torch.testing.assert_close(f(x.roll(4, 2)), f(x).roll(4, 2))
    assert (f(x.roll(4, 2)) - f(x)).abs().max() > 0.5


@slide("UIUC", "CNN: Pooling Layer", "max pooling gives 9 4 / 4 5 and mean pooling 4 3 / 2.5 3")
def test_pooling_tables() -> None:
    image = matrix([1, 3, 2, 4], [3, 9, 2, 4], [1, 3, 3, 2], [4, 2, 2, 5])[None, None]
    assert functional.max_pool2d(image, 2)[0, 0].tolist() == [[9, 4], [4, 5]]
    assert functional.avg_pool2d(image, 2)[0, 0].tolist() == [[4, 3], [2.5, 3]]


@slide(
    "UIUC",
    "Recurrent Neural Networks",
    "hᵗ = f(Uxᵗ + Whᵗ⁻¹ + a), with the same U, W, a at every step",
)
def test_recurrent_network() -> None:
    one = random_cell("RNN", 2, 3)
    x, h = drawn(5, 2), torch.zeros(3, dtype=torch.float64)
    for t, state in enumerate(states(one, x)):
        h = torch.tanh(one.from_input[0, :, 0] @ x[t] + one.from_hidden[0] @ h + one.bias[0])
        torch.testing.assert_close(state, h)
