"""Deep Learning Overview: the numbers, rules and gradients on its slides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.parts.models import MLP
from harness.parts.objectives import BinaryCrossEntropy, CrossEntropy
from harness.parts.optimizers import Optimizer
from tests.decks import act, drawn, linears, matrix, mlp, path, random_cell, slide, states, vector

XOR = {(0, 0): -1, (0, 1): 1, (1, 0): 1, (1, 1): -1}


def outputs(w0: float, w1: float, w2: float) -> dict[tuple[int, int], int]:
    """The signs that a perceptron puts out on the four corners."""
    return {(a, b): 1 if w0 + w1 * a + w2 * b > 0 else -1 for a, b in XOR}


@slide(
    "Overview",
    "XOR Problem",
    "what a perceptron sums at (0, 0) and (1, 1) adds up to what it sums at the other two, so that it is right on at most 3 of 4",
)
def test_a_perceptron_is_right_on_three_quarters_of_xor() -> None:
    w0, w1, w2 = drawn(3).tolist()
    assert w0 + (w0 + w1 + w2) == pytest.approx((w0 + w1) + (w0 + w2))
    grid = np.linspace(-2, 2, 17)
    right = [
        sum(out == XOR[corner] for corner, out in outputs(*weights).items())
        for weights in itertools.product(grid, repeat=3)
    ]
    assert max(right) == 3


@slide(
    "Overview",
    "Solution of XOR",
    "two hidden units and one on top: sign(relu(x₁ − x₂) + relu(x₂ − x₁) − ½)",
)
def test_one_hidden_layer_solves_xor() -> None:
    net = mlp("relu", (matrix([1, -1], [-1, 1]), vector(0, 0)), (matrix([1, 1]), vector(-0.5)))
    for corner, wanted in XOR.items():
        assert net(matrix(corner)).sign().item() == wanted


@slide("Overview", "Gradient Descent and Loss Function", "no direction falls faster than −∇f")
def test_the_negative_gradient_is_steepest() -> None:
    w = vector(0.7, -1.2).requires_grad_()
    (grad,) = torch.autograd.grad(w[0] ** 2 + 3 * w[1] ** 2 + w.prod(), w)
    angles = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64)
    slopes = torch.stack([angles.cos(), angles.sin()], 1) @ grad
    assert slopes.min() >= -grad.norm()
    torch.testing.assert_close(slopes.min(), -grad.norm(), rtol=1e-4, atol=0)


@slide(
    "Overview",
    "Common Loss Functions in Deep Learning",
    "−(1/n) Σ_x Σ_d [t ln o + (1 − t) ln(1 − o)] is the binary part times the number of outputs",
)
def test_cross_entropy_of_several_outputs() -> None:
    net, t = drawn(6, 3), (drawn(6, 3, seed=1) > 0).double()
    o = act("sigmoid", net)
    theirs = -(t * o.log() + (1 - t) * (1 - o).log()).sum() / 6
    torch.testing.assert_close(3 * BinaryCrossEntropy().loss(net, t), theirs)


@slide(
    "Overview",
    "Mini-Batch Gradient Descent Algorithm (MBGD)",
    "the gradient of all samples is the mean of those of single samples, and of equal batches",
)
def test_gradients_of_batches_average() -> None:
    net = mlp("tanh", (drawn(3, 2), drawn(3, seed=1)), (drawn(1, 3, seed=2), drawn(1, seed=3)))
    x, y = drawn(12, 2, seed=4), (drawn(12, seed=5) > 0).double()

    def gradient(rows: slice) -> torch.Tensor:
        loss = BinaryCrossEntropy().loss(net(x[rows]), y[rows])
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])

    for size in (1, 3, 4):
        parts = [gradient(slice(at, at + size)) for at in range(0, 12, size)]
        torch.testing.assert_close(torch.stack(parts).mean(0), gradient(slice(12)))


def two_layers() -> tuple[MLP, torch.Tensor, torch.Tensor]:
    net = mlp("sigmoid", (drawn(4, 3), drawn(4, seed=1)), (drawn(2, 4, seed=2), drawn(2, seed=3)))
    return net, drawn(3, seed=4), vector(0, 1)


@slide(
    "Overview",
    "Backpropagation Algorithm (4)",
    "δ = f′(z)(t − f(z)) at the output and f′(z_j) Σ_k δ_k w_jk below: Δw_jk = η δ_k f(z_j)",
)
def test_the_delta_rule() -> None:
    net, x, t = two_layers()
    out = act("sigmoid", net(x[None]))[0]
    (0.5 * (t - out).square().sum()).backward()
    first, second = linears(net)
    with torch.no_grad():
        y = act("sigmoid", first(x))
        above = out * (1 - out) * (t - out)
        below = y * (1 - y) * (second.weight.T @ above)
        torch.testing.assert_close(-second.weight.grad, torch.outer(above, y))
        torch.testing.assert_close(-first.weight.grad, torch.outer(below, x))


@slide(
    "Overview",
    "Backpropagation Algorithm (4)",
    "Δw_jk = −η δ_k f′(z_j) has the derivative where the output belongs, and the sign of a δ that is not the deck's: it is not the gradient, and climbs",
    slip=True,
)
def test_the_delta_rule_as_it_stands_climbs() -> None:
    net, x, t = two_layers()
    first, second = linears(net)

    def error() -> torch.Tensor:
        return 0.5 * (t - act("sigmoid", net(x[None]))[0]).square().sum()

    before = error()
    with torch.no_grad():
        y, out = act("sigmoid", first(x)), act("sigmoid", net(x[None]))[0]
        above = out * (1 - out) * (t - out)
        second.weight -= 0.01 * torch.outer(above, y * (1 - y))
        assert error() > before


FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "softsign": lambda x: x / (x.abs() + 1),
    "relu": lambda x: torch.where(x >= 0, x, 0.0),
    "softplus": lambda x: (x.exp() + 1).log(),
}
HEADINGS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "relu": "Rectified Linear Unit (ReLU)", "softplus": "Softplus"}  # fmt: skip


@slide("Overview", ", ".join(HEADINGS.values()), "the five formulas are the parts")
@pytest.mark.parametrize("name", FORMULAS)
def test_activations(name: str) -> None:
    x = torch.linspace(-6, 6, 49, dtype=torch.float64)
    torch.testing.assert_close(act(name, x), FORMULAS[name](x))


@slide(
    "Overview",
    "Softmax",
    "every element lies in (0, 1) and they add up to 1; a common shift changes nothing",
)
def test_softmax() -> None:
    z = drawn(5)
    p = z.exp() / z.exp().sum()
    torch.testing.assert_close((z + 7).softmax(0), p)
    assert p.min() > 0 and p.max() < 1
    torch.testing.assert_close(p.sum(), torch.ones(()).double())
    torch.testing.assert_close(CrossEntropy().loss(z[None], torch.tensor([3])), -p[3].log())


@slide("Overview", "L₁ Regularization", "the gradient gains α sign(w)")
def test_l1_regularization() -> None:
    w = drawn(5).requires_grad_()
    (grad,) = torch.autograd.grad(0.3 * w.abs().sum(), w)
    torch.testing.assert_close(grad, 0.3 * w.detach().sign())


@slide(
    "Overview",
    "L₂ Regularization",
    "w ← (1 − εα)w − ε∇J is a step on J + ½α‖w‖²: `sgd` with weight decay α",
)
def test_l2_regularization() -> None:
    gradients, rate, alpha = [0.4, -1.0, 0.2], 0.1, 0.5
    w, expected = 2.0, []
    for g in gradients:
        w = (1 - rate * alpha) * w - rate * g
        expected.append(w)
    ours = path(Optimizer("sgd", lr=rate, weight_decay=alpha), gradients, start=2.0)
    assert ours == pytest.approx(expected)


@slide(
    "Overview",
    "L₁ V.S. L₂",
    "L₁ is −log of a Laplace prior and L₂ of a Gaussian one; of (w − a)² + penalty L₁'s minimum is 0 for |a| ≤ α/2, L₂'s never",
)
def test_priors_and_sparsity() -> None:
    w, alpha = torch.linspace(-2, 2, 4001, dtype=torch.float64), 1.0
    laplace = torch.distributions.Laplace(vector(0.0), vector(1 / alpha)).log_prob(w)
    normal = torch.distributions.Normal(vector(0.0), vector(alpha**-0.5)).log_prob(w)
    for log_prior, penalty in ((laplace, alpha * w.abs()), (normal, alpha / 2 * w**2)):
        assert (log_prior + penalty).std() < 1e-12  # the same but for a constant
    for a in (0.1, 0.4, 0.6):
        lowest = [
            w[((w - a) ** 2 + p).argmin()].item() for p in (alpha * w.abs(), alpha / 2 * w**2)
        ]
        assert lowest == pytest.approx([max(a - alpha / 2, 0), a / (1 + alpha / 2)], abs=1e-3)


@slide(
    "Overview",
    "Dataset Expansion",
    "label smoothing: ε/k for the wrong classes and 1 − (k − 1)ε/k for the right one, which add up to 1",
)
@pytest.mark.parametrize("k", [2, 10])
def test_label_smoothing(k: int) -> None:
    epsilon, scores, y = 0.1, drawn(6, k), torch.arange(6) % k
    target = torch.full((6, k), epsilon / k).double()
    target[torch.arange(6), y] = 1 - (k - 1) / k * epsilon
    torch.testing.assert_close(target.sum(1), torch.ones(6).double())
    theirs = -(target * scores.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy(epsilon).loss(scores, y), theirs)


@slide("Overview", "Momentum Optimizer", "Δw(n) = −ηg + αΔw(n − 1), the rule `momentum`")
def test_momentum() -> None:
    gradients, rate, alpha = drawn(6).tolist(), 0.1, 0.8
    w = step = 0.0
    expected = []
    for g in gradients:
        step = -rate * g + alpha * step
        w += step
        expected.append(w)
    assert path(Optimizer("momentum", lr=rate, momentum=alpha), gradients) == pytest.approx(
        expected, rel=1e-5
    )


@slide(
    "Overview",
    "Advantages and Disadvantages of Momentum Optimizer",
    "the speed has an upper limit: under a constant gradient steps grow to ηg/(1 − α), ten times those without at α = 0.9",
)
def test_the_terminal_speed_of_momentum() -> None:
    seen = path(Optimizer("momentum", lr=0.01, momentum=0.9), [1.0] * 200)
    steps = -np.diff(seen)
    assert (np.diff(steps[:50]) > 0).all()
    assert steps[-1] == pytest.approx(0.01 / (1 - 0.9), rel=1e-3)


@slide(
    "Overview",
    "AdaGrad Optimizer (1)",
    "r ← r + g², Δw = −ηg/(ε + √r) with ε = 10⁻⁷, the rule `adagrad`",
)
def test_adagrad() -> None:
    gradients = drawn(8).tolist()
    r = w = 0.0
    expected = []
    for g in gradients:
        r += g * g
        w -= 0.1 / (1e-7 + r**0.5) * g
        expected.append(w)
    ours = path(Optimizer("adagrad", lr=0.1, eps=1e-7), gradients)
    assert ours == pytest.approx(expected, rel=1e-5, abs=1e-7)


@slide(
    "Overview",
    "AdaGrad Optimizer (2)",
    "the denominator keeps growing: after t equal gradients the rate is η/√t, a tenth after 100",
)
def test_adagrads_rate_falls() -> None:
    seen = path(Optimizer("adagrad", lr=1.0), [3.0] * 100)
    assert seen[-2] - seen[-1] == pytest.approx(0.1, rel=1e-3)


@slide(
    "Overview",
    "RMSProp Optimizer",
    "r ← βr + (1 − β)g², the rule `rmsprop`: after many equal gradients the rate is η and stays there",
)
def test_rmsprop() -> None:
    gradients = drawn(8).tolist()
    r = w = 0.0
    expected = []
    for g in gradients:
        r = 0.9 * r + (1 - 0.9) * g * g
        w -= 0.01 / (1e-7 + r**0.5) * g
        expected.append(w)
    ours = Optimizer("rmsprop", lr=0.01, beta=0.9, eps=1e-7)
    assert path(ours, gradients) == pytest.approx(expected, rel=1e-5)
    seen = path(ours, [3.0] * 200)
    assert seen[-2] - seen[-1] == pytest.approx(0.01, rel=1e-3)


@slide(
    "Overview",
    "RMSProp Optimizer",
    "ε outside the root, at 10⁻⁷, is not ε inside it: at a gradient of 10⁻⁶ the first step is 0.9 η outside, 0.003 η inside",
    slip=True,
)
def test_where_epsilon_stands() -> None:
    g, epsilon = 1e-6, 1e-7
    outside = path(Optimizer("adagrad", lr=1.0, eps=epsilon), [g])[0]
    assert -outside == pytest.approx(g / (epsilon + g), rel=1e-5)
    assert -outside == pytest.approx(0.909, abs=1e-3)
    assert g / (epsilon + g * g) ** 0.5 == pytest.approx(0.00316, abs=1e-5)


@slide(
    "Overview",
    "Adam Optimizer (2)",
    "m and v start near 0: at the first step they are (1 − β)g and (1 − β)g², and the hats give g and g² back",
)
def test_adams_bias_correction() -> None:
    g, rate = 0.5, 0.001
    assert path(Optimizer("adam", lr=rate), [g])[0] == pytest.approx(-rate, rel=1e-5)
    uncorrected = path(Optimizer("adam", lr=rate, corrected=0.0), [g])[0]
    assert uncorrected == pytest.approx(-rate * 0.1 * g / (0.001 * g * g) ** 0.5, rel=1e-4)


IMAGE = matrix(
    [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]
)  # fmt: skip
FILTER = matrix([1, 0, 1], [0, 1, 0], [1, 0, 1])


@slide(
    "Overview",
    "Single-Filter Calculation (1)",
    "the 5×5 image with the 3×3 filter gives 4 3 4 / 2 4 3 / 2 3 4 (the values are SNU's, the figure is lost)",
)
def test_the_filter_on_the_image() -> None:
    found = functional.conv2d(IMAGE[None, None], FILTER[None, None])[0, 0]
    assert found.tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


@slide(
    "Overview", "Pooling Layer", "a window of 2 takes the greatest, or the mean, of each two by two"
)
def test_pooling() -> None:
    x = drawn(1, 1, 4, 6)
    blocks = x.view(2, 2, 3, 2).permute(0, 2, 1, 3).flatten(2)  # (2, 3, 4)
    torch.testing.assert_close(functional.max_pool2d(x, 2)[0, 0], blocks.max(2).values)
    torch.testing.assert_close(functional.avg_pool2d(x, 2)[0, 0], blocks.mean(2))


@slide(
    "Overview",
    "Recurrent Neural Network Architecture (1)",
    "S_t = tanh(UX_t + WS_{t−1}), the cell without a bias",
)
def test_recurrent_network() -> None:
    one = random_cell("RNN", 2, 3)
    one.bias.data.zero_()
    x, s = drawn(5, 2), torch.zeros(3, dtype=torch.float64)
    for t, state in enumerate(states(one, x)):
        s = torch.tanh(one.from_input[0, :, 0] @ x[t] + one.from_hidden[0] @ s)
        torch.testing.assert_close(state, s)


@slide(
    "Overview",
    "Backpropagation Through Time (BPTT)",
    "the gradient of W is the sum of its gradients at all times; a state's has two sources, the output and the next state",
)
def test_gradients_add_up_over_time() -> None:
    one = random_cell("RNN", 2, 3)
    x, by_output = drawn(6, 2), drawn(6, 3, seed=1)
    seen = states(one, x)
    (seen * by_output).sum().backward()
    w, s = one.from_hidden[0].detach(), seen.detach()
    total, above = torch.zeros_like(w), torch.zeros(3, dtype=torch.float64)
    for t in reversed(range(6)):
        by_sum = (1 - s[t] ** 2) * (by_output[t] + above)
        total += torch.outer(by_sum, s[t - 1]) if t else 0
        above = w.T @ by_sum
    torch.testing.assert_close(one.from_hidden.grad[0], total)


@slide(
    "Overview",
    "Gated Recurrent Unit (GRU)",
    "with one unit its four equations are the part, whose gate z is 1 minus the deck's",
)
def test_gru_of_one_unit() -> None:
    gru, x, h = _gru(1)
    ours = states(gru, x)[:, 0]
    torch.testing.assert_close(ours, h[:, 0])


@slide(
    "Overview",
    "Gated Recurrent Unit (GRU)",
    "with more units they differ: the deck resets the state that a unit reads, the part (as torch's) the sum over it",
)
def test_gru_of_several_units_resets_elsewhere() -> None:
    gru, x, h = _gru(3)
    assert (states(gru, x) - h).abs().max() > 0.01
    gru.from_hidden.data[0] = 0
    gru.from_input.data[0] = 0  # every reset gate is ½, whichever it multiplies
    torch.testing.assert_close(states(gru, x), _equations(gru, x))


def _gru(units: int) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The part without biases, an input, and the deck's states on it."""
    gru = random_cell("GRU", 2, units)
    gru.bias.data.zero_()
    gru.hidden_bias.data.zero_()
    x = drawn(6, 2)
    return gru, x, _equations(gru, x)


def _equations(gru: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    w_r, w_z, w = (
        torch.cat([h, i], 1) for h, i in zip(gru.from_hidden, gru.from_input[:, :, 0], strict=True)
    )
    w_z = -w_z  # what the deck takes from the candidate, the part keeps of the state
    h, seen = torch.zeros(len(w), dtype=torch.float64), []
    for now in x:
        both = torch.cat([h, now])
        z, r = torch.sigmoid(w_z @ both), torch.sigmoid(w_r @ both)
        new = torch.tanh(w @ torch.cat([r * h, now]))
        h = (1 - z) * h + z * new
        seen.append(h)
    return torch.stack(seen)


@slide(
    "Overview",
    "Training Rules of GAN",
    "where D rejects, log(1 − D) has no gradient and −log D one of 1; at D = ½ both are ½ in size",
)
def test_losses_of_a_generator() -> None:
    a = vector(-20, 0).requires_grad_()
    d = act("sigmoid", a)
    (saturating,) = torch.autograd.grad((1 - d).log().sum(), a, retain_graph=True)
    (other,) = torch.autograd.grad(-d.log().sum(), a)
    torch.testing.assert_close(saturating, -d.detach())
    torch.testing.assert_close(other, -(1 - d.detach()))
    assert saturating[0].abs() < 1e-8 and other[0] < -0.999
    assert saturating[1] == other[1] == -0.5


def chain(weights: torch.Tensor, biases: torch.Tensor, x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of sigmoid units in a row."""
    seen = [x]
    for w, b in zip(weights, biases, strict=True):
        seen.append(torch.sigmoid(w * seen[-1] + b))
    return seen


@slide(
    "Overview",
    "Vanishing Gradient and Exploding Gradient Problem (1)",
    "the derivative by the first bias ends in σ′(z₁), not in σ′(z₁)x: that is the one by the first weight",
    slip=True,
)
def test_the_last_factor_of_the_chain() -> None:
    w, b, x = (
        drawn(4).requires_grad_(),
        drawn(4, seed=1).requires_grad_(),
        torch.tensor(1.7).double(),
    )
    y = chain(w, b, x)
    y[-1].backward()
    slopes = [(one * (1 - one)).item() for one in y[1:]]
    product = slopes[0] * np.prod([slopes[i] * w[i].item() for i in (1, 2, 3)])
    assert b.grad[0].item() == pytest.approx(product)
    assert w.grad[0].item() == pytest.approx(product * x.item())


@slide(
    "Overview",
    "Vanishing Gradient and Exploding Gradient Problem (2)",
    "σ′ is at most ¼, so |σ′(z)w| ≤ ¼ for |w| ≤ 1; it exceeds 1 only where |w| > 4",
)
def test_the_slope_of_the_sigmoid_is_at_most_a_quarter() -> None:
    z = torch.linspace(-6, 6, 1201, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(act("sigmoid", z).sum(), z)
    assert float(slope.max()) == 0.25 and z[slope.argmax()].item() == pytest.approx(0, abs=1e-12)
    assert 4 * float(slope.max()) == 1


@slide(
    "Overview",
    "Vanishing Gradient and Exploding Gradient Problem (2)",
    "the bound is of the back-propagated signal: in a net of 6 tanh layers this falls to less than a fifth, while the weights' gradients stay within a factor of two",
    slip=True,
)
def test_signals_vanish_where_weight_gradients_do_not() -> None:
    torch.manual_seed(0)
    net, x = MLP((256,) * 7, "tanh", "standard").double(), drawn(256, 256)
    sums, here = [], x
    for module in net.layers:
        here = module(here)
        if isinstance(module, torch.nn.Linear):
            here.retain_grad()
            sums.append(here)
    (here * drawn(256, 256, seed=1)).sum().backward()
    signals = [float(s.grad.norm()) for s in sums]
    weights = [float(layer.weight.grad.norm()) for layer in linears(net)]
    assert signals[0] < signals[-1] / 5
    assert max(weights) < 2 * min(weights)
