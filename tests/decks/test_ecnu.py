"""AI Foundations, Lecture 13, ECNU: the numbers and gradients on its slides."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from harness.parts.models import BatchNorm, Skip
from harness.parts.objectives import BinaryCrossEntropy, CrossEntropy, SquaredError
from tests.decks import (
    act,
    drawn,
    linears,
    matrix,
    mlp,
    random_cell,
    slide,
    states,
    vector,
)


@slide("ECNU", "Nonlinear activation functions", "tanh(x) = 2σ(2x) − 1 = (e²ˣ − 1)/(e²ˣ + 1)")
def test_tanh_is_a_sigmoid_scaled_and_shifted() -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64)
    torch.testing.assert_close(act("sigmoid_tanh", x), torch.tanh(x), atol=1e-14, rtol=0)
    torch.testing.assert_close(((2 * x).exp() - 1) / ((2 * x).exp() + 1), torch.tanh(x))


@slide(
    "ECNU",
    "Nonlinear activation functions",
    "softplus is a smooth ReLU: log 2 above it at 0, less elsewhere; its slope is σ",
)
def test_softplus_is_a_smooth_relu() -> None:
    x = torch.linspace(-8, 8, 101, dtype=torch.float64, requires_grad=True)
    soft = act("softplus", x)
    above = (soft - act("relu", x)).detach()
    assert above.min() > 0 and above.argmax() == 50
    torch.testing.assert_close(above.max(), torch.log(vector(2.0))[0])
    (slope,) = torch.autograd.grad(soft.sum(), x)
    torch.testing.assert_close(slope, act("sigmoid", x.detach()))


@slide("ECNU", "Example", "hidden units 0.90 and 0.17, output 0.76")
def test_two_inputs_give_090_017_and_076() -> None:
    net = mlp(
        "sigmoid",
        (matrix([3.7, 3.7], [2.9, 2.9]), vector(-1.5, -4.5)),
        (matrix([4.5, -5.2]), vector(-2.0)),
    )
    x = matrix([1.0, 0.0])
    sums = net.layers[0](x)
    torch.testing.assert_close(sums, matrix([2.2, -1.6]))
    hidden = act("sigmoid", sums)[0]
    assert [round(a, 2) for a in hidden.tolist()] == [0.90, 0.17]
    assert round(act("sigmoid", net(x)).item(), 2) == 0.76


@slide(
    "ECNU",
    "Example",
    "the output's sum is 1.17 where hidden units are rounded first, and 1.18 where not",
    slip=True,
)
def test_the_sum_of_117_comes_from_rounded_units() -> None:
    out, bias = vector(4.5, -5.2), -2.0
    assert round(float(vector(0.90, 0.17) @ out) + bias, 2) == 1.17
    assert round(float(act("sigmoid", vector(2.2, -1.6)) @ out) + bias, 2) == 1.18


@slide(
    "ECNU",
    "Gradients and learning",
    "∂Loss/∂w₃₅ = Δ₅ a₃ and ∂Loss/∂w₁₃ = Δ₅ w₃₅ g₃′ x₁, with Δ₅ = 2(ŷ − y) g₅′",
)
def test_gradients_of_two_layers() -> None:
    net = mlp("tanh", (drawn(2, 2), drawn(2, seed=1)), (drawn(1, 2, seed=2), drawn(1, seed=3)))
    x, y = matrix([0.8, -1.3]), vector(0.2)
    y_hat = act("sigmoid", net(x))
    SquaredError().loss(y_hat, y).backward()
    first, second = linears(net)
    with torch.no_grad():
        a = torch.tanh(first(x))[0]
        delta_5 = (2 * (y_hat - y) * y_hat * (1 - y_hat))[0, 0]
        torch.testing.assert_close(second.weight.grad[0], delta_5 * a)
        torch.testing.assert_close(second.bias.grad[0], delta_5)
        by_first = delta_5 * second.weight[0, 0] * (1 - a[0] ** 2) * x[0]
        torch.testing.assert_close(first.weight.grad[0], by_first)


@slide(
    "ECNU",
    "Vanishing Gradient",
    "no local derivative is negative; far out the sigmoid's, softplus's and tanh's are nearly zero, ReLU's exactly",
)
@pytest.mark.parametrize("name", ["sigmoid", "softplus", "tanh", "relu"])
def test_local_derivatives(name: str) -> None:
    x = torch.linspace(-15, 15, 61, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(act(name, x).sum(), x)
    assert slope.min() >= 0
    assert (float(slope[0]) == 0) == (name == "relu")
    assert float(slope[0]) < 1e-6


@slide("ECNU", "Input encoding", "⟨0001⟩ is burger and ⟨0100⟩ Italian, of four")
def test_one_hot() -> None:
    foods = ["French", "Italian", "Thai", "burger"]
    codes = {name: functional.one_hot(torch.tensor(i), 4).tolist() for i, name in enumerate(foods)}
    assert codes["burger"] == [0, 0, 0, 1] and codes["Italian"] == [0, 1, 0, 0]


@slide(
    "ECNU",
    "Output layers and loss functions",
    "softmax of ⟨5, 2, 0, −2⟩ is ⟨0.946, 0.047, 0.006, 0.001⟩",
)
def test_softmax_of_5_2_0_minus_2() -> None:
    scores = matrix([5.0, 2.0, 0.0, -2.0])
    shares = [round(float(p), 3) for p in scores.softmax(1)[0]]
    assert shares == [0.946, 0.047, 0.006, 0.001]
    for k, share in enumerate(scores.softmax(1)[0]):  # a loss of the part is −log of a share
        torch.testing.assert_close(CrossEntropy().loss(scores, torch.tensor([k])), -share.log())


@slide(
    "ECNU",
    "Output layers and loss functions",
    "H(P, Q) = E log Q lacks the minus sign: it is never positive, and is largest where Q = P",
    slip=True,
)
def test_cross_entropy_needs_its_minus_sign() -> None:
    p = torch.tensor([[0.7]], dtype=torch.float64)
    logits = torch.linspace(-4, 4, 401, dtype=torch.float64)
    ours = torch.stack([BinaryCrossEntropy().loss(a.view(1, 1), p) for a in logits])
    q = act("sigmoid", logits)
    theirs = p[0] * q.log() + (1 - p[0]) * (1 - q).log()
    torch.testing.assert_close(ours, -theirs)
    assert theirs.max() < 0
    assert float(q[ours.argmin()]) == pytest.approx(0.7, abs=0.005)
    assert ours.argmin() == theirs.argmax()


@slide(
    "ECNU",
    "Convolutional networks",
    "a megapixel RGB image fully connected to as many units: 3·10⁶ squared is 9·10¹² weights",
)
def test_weights_of_a_fully_connected_image() -> None:
    n = 3 * 10**6
    assert n * n == 9 * 10**12
    small = torch.nn.Linear(3 * 16, 3 * 16, bias=False)  # the same at sixteen pixels
    assert small.weight.numel() == (3 * 16) ** 2


KERNEL, LINE = vector(1, -1, 1), vector(5, 6, 6, 2, 5, 6, 5)


@slide(
    "ECNU",
    "Convolution",
    "kernel ⟨+1, −1, +1⟩ at stride 2 on ⟨5, 6, 6, 2, 5, 6, 5⟩ gives ⟨5, 9, 4⟩, and so does the matrix; the peak is at the smallest input",
)
def test_convolution_of_one_dimension() -> None:
    z = functional.conv1d(LINE[None, None], KERNEL[None, None], stride=2)[0, 0]
    assert z.tolist() == [5, 9, 4]
    rows = [[0.0] * s + KERNEL.tolist() + [0.0] * (4 - s) for s in (0, 2, 4)]
    assert (matrix(*rows) @ LINE).tolist() == [5, 9, 4]
    assert int(z.argmax()) * 2 + 1 == int(LINE.argmin())
    by_sum = [sum(KERNEL[j - 1] * LINE[j + i - 2 - 1] for j in (1, 2, 3)) for i in (2, 4, 6)]
    assert by_sum == [5, 9, 4]


@slide(
    "ECNU",
    "Receptive field",
    "two layers of size 3 at stride 1 see five inputs; padding keeps the size",
)
def test_receptive_field_of_two_layers() -> None:
    x = drawn(1, 1, 9).requires_grad_()
    w = torch.ones(1, 1, 3, dtype=torch.float64)
    out = functional.conv1d(functional.conv1d(x, w, padding=1), w, padding=1)
    assert out.shape == x.shape
    (seen,) = torch.autograd.grad(out[0, 0, 4], x)
    assert seen[0, 0].nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


@slide("ECNU", "Pooling and downsampling", "avg(5, 9, 4) = 6 and max(5, 9, 4) = 9")
def test_pooling_of_5_9_4() -> None:
    z = vector(5, 9, 4)[None, None]
    assert functional.avg_pool1d(z, 3).item() == 6
    assert functional.max_pool1d(z, 3).item() == 9


@slide(
    "ECNU",
    "Residual networks",
    "z + f(z) is z where f is zero, and its Jacobian is then the identity",
)
def test_a_residual_layer_of_zero_is_the_identity() -> None:
    linear = torch.nn.Linear(4, 4).double()
    for p in linear.parameters():
        p.data.zero_()
    layer, z = Skip(torch.nn.Tanh(), linear), drawn(1, 4)
    torch.testing.assert_close(layer(z), z, atol=0, rtol=0)
    jacobian = torch.autograd.functional.jacobian(layer, z)[0, :, 0]
    torch.testing.assert_close(jacobian, torch.eye(4, dtype=torch.float64))


@slide(
    "ECNU",
    "Recurrent neural networks",
    "∂L/∂w_zz by the recursion ∂z_t/∂w = g′(z_{t−1} + w ∂z_{t−1}/∂w)",
)
def test_back_propagation_through_time() -> None:
    one = random_cell("RNN", 1, 1)
    x, y = drawn(5, 1), drawn(5, seed=1)
    w_out, b_out = 1.3, -0.2
    z = states(one, x)[:, 0]
    y_hat = act("sigmoid", w_out * z + b_out)
    (y - y_hat).square().sum().backward()
    w, total, slope, before = one.from_hidden.item(), 0.0, 0.0, 0.0
    for t in range(5):
        slope = (1 - z[t].item() ** 2) * (before + w * slope)
        by_output = -2 * (y[t] - y_hat[t]) * y_hat[t] * (1 - y_hat[t])
        total += by_output.item() * w_out * slope
        before = z[t].item()
    assert one.from_hidden.grad.item() == pytest.approx(total, rel=1e-12)


@slide(
    "ECNU",
    "Recurrent neural networks",
    "what is proportional to w_zz ∏ g′ has w_zz once a step: w^T ∏ g′",
    slip=True,
)
def test_the_recurrent_weight_stands_once_a_step() -> None:
    w, start = 0.5, torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    z, slopes = start, torch.ones((), dtype=torch.float64)
    for _ in range(6):
        z = torch.tanh(w * z)
        slopes = slopes * (1 - z.detach() ** 2)
    (found,) = torch.autograd.grad(z, start)
    torch.testing.assert_close(found, w**6 * slopes)
    assert found < 0.1 * w * slopes
    assert found <= w**6  # g′ ≤ 1: it vanishes for |w| < 1


@slide(
    "ECNU",
    "Long-short term memory (LSTM)",
    "its five equations are the cell without peepholes and biases",
)
def test_lstm() -> None:
    one = random_cell("NP", 3, 4)
    one.bias.data.zero_()
    x = drawn(5, 3)
    (x_i, x_f, x_o, x_c), (z_i, z_f, z_o, z_c) = one.from_input[:, :, 0], one.from_hidden
    z = c = torch.zeros(4, dtype=torch.float64)
    sigma = torch.sigmoid
    for t, state in enumerate(states(one, x)):
        f = sigma(x_f @ x[t] + z_f @ z)
        i = sigma(x_i @ x[t] + z_i @ z)
        o = sigma(x_o @ x[t] + z_o @ z)
        c = c * f + i * torch.tanh(x_c @ x[t] + z_c @ z)
        z = torch.tanh(c) * o
        torch.testing.assert_close(state, z)


@slide(
    "ECNU",
    "Batch normalization",
    "γ (z − μ)/√(ε + σ²) + β, with the standard deviation of the batch itself",
)
def test_batch_normalisation() -> None:
    layer, z = BatchNorm(2).double().train(), drawn(8, 2)
    layer.weight.data, layer.bias.data = vector(2.0, 0.5), vector(-1.0, 3.0)
    mean, variance = z.mean(0), ((z - z.mean(0)) ** 2).sum(0) / 8
    expected = layer.weight * (z - mean) / (layer.eps + variance).sqrt() + layer.bias
    torch.testing.assert_close(layer(z), expected)


@slide("ECNU", "Weight Decay", "λ Σ W² adds 2λW to the gradient")
def test_weight_decay() -> None:
    w, rate = drawn(3, 2).requires_grad_(), 1e-4
    (grad,) = torch.autograd.grad(rate * w.square().sum(), w)
    torch.testing.assert_close(grad, 2 * rate * w.detach())


@slide(
    "ECNU",
    "Unsupervised Time Series Outlier Detection with Diversity-Driven Convolutional Ensembles",
    "2/(M(M − 1)) Σ over pairs is the mean over pairs",
)
def test_the_diversity_of_an_ensemble_is_a_mean() -> None:
    members = drawn(5, 20)
    pairs = [float((a - b).square().mean()) for a, b in itertools.combinations(members, 2)]
    assert 2 / (5 * 4) * sum(pairs) == pytest.approx(sum(pairs) / len(pairs))
