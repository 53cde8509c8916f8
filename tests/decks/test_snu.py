"""Neural Networks and Deep Learning, SNU: the numbers, gradients and identities on its slides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from harness.parts.models import LSTM, VARIANTS, BatchNorm
from harness.parts.models.recurrent import OPEN
from harness.parts.objectives import CrossEntropy
from harness.parts.optimizers import Optimizer
from harness.parts.schedules import Inverse, Linear
from tests.decks import act, drawn, linears, matrix, mlp, path, random_cell, slide, states, vector


@slide(
    "SNU",
    "Architecture (cont'd)",
    "the sums of a network of three inputs and three neurons, written out",
)
def test_a_network_written_out() -> None:
    net = mlp("tanh", (drawn(3, 3), drawn(3, seed=1)), (drawn(1, 3, seed=2), drawn(1, seed=3)))
    x = drawn(3, seed=4).tolist()
    (w1, w2), (b1, b2) = (
        ([one.weight.tolist() for one in linears(net)]),
        [one.bias.tolist() for one in linears(net)],
    )
    h = [np.tanh(sum(w1[i][j] * x[j] for j in range(3)) + b1[i]) for i in range(3)]
    y = sum(w2[0][j] * h[j] for j in range(3)) + b2[0]
    assert net(matrix(x)).item() == pytest.approx(y)


@slide(
    "SNU",
    "Back-propagation algorithm (cont'd)",
    "errors s⁽ᴸ⁾ = (∂L/∂ŷ)ᵀ ∂ŷ/∂a and s⁽ˡ⁻¹⁾ = f′(a) Σ_k s_k W_k of a softmax network of three layers",
)
def test_errors_of_a_softmax_network() -> None:
    net = mlp("tanh", *[(drawn(4, 4, seed=s), drawn(4, seed=s + 9)) for s in range(3)])
    x, y = drawn(4, seed=5), torch.tensor([2])
    CrossEntropy().loss(net(x[None]), y).backward()
    with torch.no_grad():
        reads, a = [x], x
        for layer in linears(net)[:-1]:
            reads.append(torch.tanh(layer(reads[-1])))
        a = linears(net)[-1](reads[-1])
        p = a.softmax(0)
        by_output = torch.zeros(4).double()
        by_output[y] = -1 / p[y]
        s = by_output @ (p.diag() - torch.outer(p, p))  # the second is the softmax's Jacobian
        for layer, h in zip(linears(net)[::-1], reads[::-1], strict=True):
            torch.testing.assert_close(layer.weight.grad, torch.outer(s, h))
            torch.testing.assert_close(layer.bias.grad, s)
            s = (1 - h**2) * (s @ layer.weight)


@slide(
    "SNU",
    "Computing the gradient between two nodes",
    "∂e/∂b = 2·1 + 3·1 = 5, the sum over both paths",
)
@slide(
    "SNU",
    "Back-propagation algorithm: computation",
    "e = (a + b)(b + 1) at a = 2, b = 1: c = 3, d = 2, e = 6",
)
def test_a_graph_of_five_nodes() -> None:
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    c, d = a + b, b + 1
    e = c * d
    assert (c.item(), d.item(), e.item()) == (3, 2, 6)
    by_c, by_d, by_b = torch.autograd.grad(e, [c, d, b])
    assert (by_c.item(), by_d.item()) == (2, 3)
    assert by_b.item() == 2 * 1 + 3 * 1 == 5


@slide("SNU", "The mini-batch SGD", "the mean over all mini-batches is the whole gradient")
def test_minibatch_gradients_are_unbiased() -> None:
    net = mlp("tanh", (drawn(3, 2), drawn(3, seed=1)), (drawn(2, 3, seed=2), drawn(2, seed=3)))
    x, y = drawn(6, 2, seed=4), torch.tensor([0, 1, 0, 0, 1, 1])

    def gradient(rows: list[int]) -> torch.Tensor:
        loss = CrossEntropy().loss(net(x[rows]), y[rows])
        return torch.autograd.grad(loss, linears(net)[0].weight)[0]

    batches = [gradient([*rows]) for rows in itertools.combinations(range(6), 2)]
    torch.testing.assert_close(torch.stack(batches).mean(0), gradient([*range(6)]))


@slide(
    "SNU",
    "The mini-batch SGD (cont'd)",
    "ε_k ← (1 − α)ε₀ + αε_k, as it stands, never leaves ε₀; it is a straight line where the last ε is ε_τ",
    slip=True,
)
def test_linear_decay_ends_in_its_last_rate() -> None:
    first, last, tau = 0.5, 0.01, 10
    for k in range(tau):  # the only solution of the equation as it stands
        alpha = k / tau
        rate = 17.0
        for _ in range(2000):
            rate = (1 - alpha) * first + alpha * rate
        assert rate == pytest.approx(first)
    k = np.arange(tau + 1)
    meant = (1 - k / tau) * first + k / tau * last
    np.testing.assert_allclose(first * Linear(last / first).factor(k, tau), meant)
    assert meant[-1] == last


@slide(
    "SNU",
    "The mini-batch SGD (cont'd)",
    "a rate that is left constant has Σε² = ∞: the deck's condition holds for 1/t and not for its own advice",
    slip=True,
)
def test_a_constant_rate_has_no_finite_sum_of_squares() -> None:
    t = np.arange(10**6)
    harmonic = Inverse(1.0).factor(t, len(t))
    assert np.sum(harmonic**2) < np.pi**2 / 6
    assert np.sum(harmonic) > np.log(len(t))  # grows without bound
    tail = np.full(len(t), 0.01)
    sums = np.cumsum(tail**2)
    assert sums[-1] == pytest.approx(10 * sums[len(t) // 10 - 1])


@slide(
    "SNU",
    "Deep belief networks (DBNs): RBM (cont'd)",
    "P(h_i = 1|v) = σ(Σ_j W_ij v_j + c_i), from the energies of all states",
)
def test_a_hidden_node_of_an_rbm() -> None:
    w, b, c = drawn(3, 4), drawn(4, seed=1), drawn(3, seed=2)
    v = vector(1, 0, 1, 1)
    hidden = torch.tensor([*itertools.product((0.0, 1.0), repeat=3)], dtype=torch.float64)
    energy = -(b @ v) - hidden @ c - hidden @ w @ v
    p = (-energy).softmax(0)
    torch.testing.assert_close(p @ hidden, act("sigmoid", w @ v + c))


@slide(
    "SNU",
    "Convolution layer",
    "the 5×5 image gives 4 3 4 / 2 4 3 / 2 3 4, with the filter 1 0 1 / 0 1 0 / 1 0 1 that Overview shows",
)
def test_a_convolution_filter() -> None:
    image = matrix(
        [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]
    )
    kernel = matrix([1, 0, 1], [0, 1, 0], [1, 0, 1])
    found = functional.conv2d(image[None, None], kernel[None, None])[0, 0]
    assert found.tolist() == [[4, 3, 4], [2, 4, 3], [2, 3, 4]]


@slide(
    "SNU",
    "Convolution layer",
    "the matrix of a convolution is sparse and Toeplitz: each diagonal holds one weight",
)
def test_the_matrix_of_a_convolution_is_toeplitz() -> None:
    kernel = drawn(1, 1, 3)
    columns = functional.conv1d(torch.eye(8).double()[:, None], kernel)[:, 0]  # (8, 6)
    m = columns.T
    for offset, weight in enumerate(kernel[0, 0]):
        assert (m.diagonal(offset) == weight).all()
    assert int((m != 0).sum()) == 3 * 6


@slide(
    "SNU",
    "Convolution layer",
    "“shift (translation) invariance” of a convolution is equivariance: the output moves along",
    slip=True,
)
def test_a_convolution_is_not_invariant() -> None:
    x, kernel = torch.zeros(1, 1, 9).double(), drawn(1, 1, 3)
    x[0, 0, 3] = 1
    out = functional.conv1d(x, kernel, padding=1)
    moved = functional.conv1d(x.roll(2, 2), kernel, padding=1)
    torch.testing.assert_close(moved, out.roll(2, 2))
    assert (moved - out).abs().max() > 0.1
    torch.testing.assert_close(moved.max(), out.max())  # pooled over all, it is invariant


def smaller(error: float, than: float) -> int:
    """By how many percent an error is lower than another, rounded."""
    return round(100 * (1 - error / than))


# Top-5 errors in percent on the slides of the ILSVRC tables.
ALEXNET = {"1 CNN": 18.2, "5 CNNs": 16.4, "1 CNN*": 16.6, "7 CNNs*": 15.4, "7 CNNs*, test": 15.3}
SIFT, ZEILER, CLARIFAI, GOOGLENET, NORMALISED = 26.2, 14.8, 11.7, 6.67, 4.82


@slide(
    "SNU",
    "Classification: AlexNet (cont'd)",
    "no entry of the table is 38 % better than the second best: 5 CNNs are by 37 %, 7 by 41 or 42 %",
    slip=True,
)
def test_alexnets_gain() -> None:
    gains = {name: smaller(error, SIFT) for name, error in ALEXNET.items()}
    assert 38 not in gains.values()
    assert gains["5 CNNs"] == 37 and gains["7 CNNs*"] == 41 and gains["7 CNNs*, test"] == 42


@slide(
    "SNU",
    "Classification: AlexNet",
    "the pooling called 2x2 is 3x3 at stride 2 in the paper: maps are as large, 55, 27, 13, 6, but windows overlap",
    slip=True,
)
def test_alexnets_pooling() -> None:
    for size, pooled in ((55, 27), (27, 13), (13, 6)):
        x = drawn(1, 1, size, size)
        named, published = functional.max_pool2d(x, 2), functional.max_pool2d(x, 3, 2)
        assert named.shape == published.shape == (1, 1, pooled, pooled)
        assert (published >= named).all() and (published > named).any()


@slide(
    "SNU",
    "Classification: ZFNet (DeconvNet) (cont'd)",
    "11.7 % is Clarifai's in the deck's own table, Zeiler & Fergus have 14.8: a reduction by 10 %, not 28 (which would be 29)",
    slip=True,
)
def test_zfnets_error() -> None:
    assert smaller(CLARIFAI, ALEXNET["5 CNNs"]) == 29
    assert smaller(ZEILER, ALEXNET["5 CNNs"]) == 10


INCEPTIONS = {  # depth of the input and output, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool, params
    "3a": (192, 256, 64, 96, 128, 16, 32, 32, 159), "3b": (256, 480, 128, 128, 192, 32, 96, 64, 380),
    "4a": (480, 512, 192, 96, 208, 16, 48, 64, 364), "4b": (512, 512, 160, 112, 224, 24, 64, 64, 437),
    "4c": (512, 512, 128, 128, 256, 24, 64, 64, 463), "4d": (512, 528, 112, 144, 288, 32, 64, 64, 580),
    "4e": (528, 832, 256, 160, 320, 32, 128, 128, 840),
    "5a": (832, 832, 256, 160, 320, 32, 128, 128, 1072),
    "5b": (832, 1024, 384, 192, 384, 48, 128, 128, 1388),
}  # fmt: skip


@slide(
    "SNU",
    "Classification: GoogLeNet (cont'd)",
    "an inception puts out what its four branches do; the depths add up to 22 layers; 1x1 and 3x3 convolutions of 64 and 192 have 112 K weights",
)
def test_googlenets_table() -> None:
    for n_in, n_out, one, _, three, _, five, pool, _ in INCEPTIONS.values():
        assert one + three + five + pool == n_out
        assert n_in in (192, *(row[1] for row in INCEPTIONS.values()))
    assert 1 + 2 + 2 * len(INCEPTIONS) + 1 == 22
    reduce, conv = torch.nn.Conv2d(64, 64, 1, bias=False), torch.nn.Conv2d(64, 192, 3, bias=False)
    assert (reduce.weight.numel() + conv.weight.numel()) / 1024 == 112


@slide(
    "SNU",
    "Classification: GoogLeNet (cont'd)",
    "the table's parameters add up to 6.8 M, 8.8 times fewer than AlexNet's 60 M and not 12; its first convolution has 9.4 K weights, not 2.7 K",
    slip=True,
)
def test_googlenets_parameters() -> None:
    total = 2.7 + 112 + sum(row[-1] for row in INCEPTIONS.values()) + 1000
    assert round(total / 1000, 1) == 6.8
    assert round(60_000 / total, 1) == 8.8
    assert torch.nn.Conv2d(3, 64, 7, bias=False).weight.numel() == 9408


@slide(
    "SNU",
    "Classification: batch-normalized CNNs (BN-CNN)",
    "4.82 % is 28 % below GoogLeNet's 6.67, 71 % below AlexNet's 16.4 and 82 % below 26.2",
)
@slide("SNU", "Classification: GoogLeNet (cont'd)", "6.67 % is 43 % below 11.7 %")
def test_reductions_of_the_error() -> None:
    assert smaller(GOOGLENET, CLARIFAI) == 43
    assert smaller(NORMALISED, GOOGLENET) == 28
    assert smaller(NORMALISED, ALEXNET["5 CNNs"]) == 71
    assert smaller(NORMALISED, SIFT) == 82


@slide(
    "SNU",
    "Batch normalization (cont'd)",
    "with γ = √(σ² + ε) and β = μ the transform is the identity",
)
def test_batch_normalisation_can_be_the_identity() -> None:
    layer, x = BatchNorm(3).double().train(), drawn(16, 3)
    layer.weight.data = (x.var(0, correction=0) + layer.eps).sqrt()
    layer.bias.data = x.mean(0)
    torch.testing.assert_close(layer(x), x, atol=1e-14, rtol=0)


def recurrent() -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """A softmax network on `RNN` with the deck's W, U, V, b, c, an input and targets."""
    one = random_cell("RNN", 2, 4)
    w = {"W": one.from_hidden, "U": one.from_input, "b": one.bias}
    w |= {"V": drawn(3, 4, seed=7).requires_grad_(), "c": drawn(3, seed=8).requires_grad_()}
    x, y = drawn(5, 2), torch.tensor([0, 2, 1, 1, 0])
    h = states(one, x)
    loss = 5 * CrossEntropy().loss(h @ w["V"].T + w["c"], y)
    loss.backward()
    return w, x, y


@slide(
    "SNU",
    "Back-propagation through time (BPTT): example (cont'd)",
    "the gradients by c, b, V, W and U of a softmax network, with tanh units",
)
def test_back_propagation_through_time() -> None:
    w, x, y = recurrent()
    big_w, u, v = (w[name].detach().flatten(0, -2) for name in "WUV")
    h = [torch.zeros(4).double()]
    for now in x:
        h.append(torch.tanh(big_w @ h[-1] + w["U"].detach()[0, :, 0] @ now + w["b"].detach()[0]))
    total = {name: torch.zeros_like(one[0] if name in "WUb" else one) for name, one in w.items()}
    by_next = torch.zeros(4).double()  # what h gets from the step after it
    for t in range(5, 0, -1):
        by_o = (v @ h[t] + w["c"].detach()).softmax(0)
        by_o[y[t - 1]] -= 1
        by_h = by_next + v.T @ by_o
        by_a = (1 - h[t] ** 2) * by_h
        total["c"] += by_o
        total["b"] += by_a
        total["V"] += torch.outer(by_o, h[t])
        total["W"] += torch.outer(by_a, h[t - 1])
        total["U"][:, 0] += torch.outer(by_a, x[t - 1])
        by_next = big_w.T @ by_a
    for name, one in w.items():
        got = one.grad if name in "Vc" else one.grad[0]
        torch.testing.assert_close(got, total[name].detach(), msg=name)
    assert u.shape[-1] == 2


@slide(
    "SNU",
    "Back-propagation through time (BPTT): example (cont'd)",
    "Wᵀ(∇_{h(t+1)}L) diag(1 − h²) does not multiply as it stands: the diagonal comes before Wᵀ, not after it",
    slip=True,
)
def test_the_diagonal_comes_first() -> None:
    w, by_next = drawn(4, 4), drawn(4, seed=1)
    before = drawn(4, seed=2).requires_grad_()
    after = torch.tanh(w @ before)
    (found,) = torch.autograd.grad(after, before, by_next)
    diagonal = (1 - after.detach() ** 2).diag()
    torch.testing.assert_close(found, w.T @ diagonal @ by_next)
    with pytest.raises(RuntimeError):
        w.T @ by_next[:, None] @ diagonal
    assert (diagonal @ w.T @ by_next - found).abs().max() > 0.1


@slide("SNU", "Vanishing or exploding gradients (cont'd)", "its norm is at most (β_w β_h)^(t−k)")
@slide(
    "SNU",
    "Vanishing or exploding gradients",
    "∂h(t)/∂h(k) is a product of W diag(f′), t − k of them; the deck's Wᵀ diag(f′) is neither it nor its transpose",
    slip=True,
)
def test_products_of_jacobians() -> None:
    w, start = drawn(4, 4) / 2, drawn(4, seed=1)
    product, deck = torch.eye(4).double(), torch.eye(4).double()
    h, slopes = start, []

    def run(h: torch.Tensor) -> torch.Tensor:
        for _ in range(5):
            h = w @ torch.tanh(h)
        return h

    for _ in range(5):
        slopes.append(1 - torch.tanh(h) ** 2)
        product = w @ slopes[-1].diag() @ product
        deck = w.T @ slopes[-1].diag() @ deck
        h = w @ torch.tanh(h)
    jacobian = torch.autograd.functional.jacobian(run, start)
    torch.testing.assert_close(jacobian, product)
    assert min((deck - one).abs().max() for one in (jacobian, jacobian.T)) > 0.01
    bound = torch.linalg.matrix_norm(w, 2) * max(s.max() for s in slopes)
    assert torch.linalg.matrix_norm(jacobian, 2) <= bound**5


@slide(
    "SNU",
    "Solution (for exploding): gradient clipping",
    "g ← gν/‖g‖ has norm ν and the direction of g",
)
def test_gradient_clipping() -> None:
    g, rate, limit = 30.0, 0.1, 2.0
    clipped = path(Optimizer("sgd", lr=rate, clip=limit), [g, -g, 1.0])
    assert np.diff([0, *clipped]) == pytest.approx([-rate * limit, rate * limit, -rate * 1.0])


@slide(
    "SNU",
    "Solution: regularization",
    "Ω is zero where the Jacobian keeps norms, and grows as it shrinks them",
)
def test_the_regularizer_of_jacobians() -> None:
    q, _ = torch.linalg.qr(drawn(4, 4))
    by_h = drawn(4, seed=1)

    def omega(jacobian: torch.Tensor) -> float:
        return float(((by_h @ jacobian).norm() / by_h.norm() - 1) ** 2)

    assert omega(q) == pytest.approx(0, abs=1e-28)
    assert omega(0.5 * q) == pytest.approx(0.25)
    assert omega(0.1 * q) > omega(0.5 * q)


@slide(
    "SNU",
    "Solution: proper weights & activation functions",
    "28² pixels are 784 steps; with W = I, biases of zero and ReLU the state adds up what is positive and never fades",
)
def test_the_identity_start() -> None:
    assert 28 * 28 == 784
    one = random_cell("IRNN", 1, 1)
    assert torch.equal(one.from_hidden, torch.ones(1, 1, 1).double()) and not one.bias.any()
    one.from_input.data.fill_(1.0)
    x = torch.zeros(784, 1).double()
    x[0] = 0.5
    assert states(one, x)[-1].item() == 0.5


@slide(
    "SNU",
    "Solution: different optimization methods",
    "θ ← θ + αv − ε∇L, where v is the last step, is the rule `momentum`",
)
def test_momentum() -> None:
    gradients, alpha, rate = drawn(6).tolist(), 0.9, 0.05
    theta = velocity = 0.0
    expected = []
    for g in gradients:
        velocity = alpha * velocity - rate * g
        theta += velocity
        expected.append(theta)
    ours = path(Optimizer("momentum", lr=rate, momentum=alpha), gradients)
    assert ours == pytest.approx(expected, rel=1e-5, abs=1e-7)


@slide(
    "SNU",
    "Solution: echo state networks and leaky units",
    "W ← λW/λ_M has the spectral radius λ; the leaky unit keeps αᵗ of what it held",
)
def test_echo_states_and_leaks() -> None:
    w = drawn(5, 5)
    radius = torch.linalg.eigvals(w).abs().max()
    torch.testing.assert_close(
        torch.linalg.eigvals(0.9 * w / radius).abs().max(), 0.9 * torch.ones(()).double()
    )
    h = 1.0
    for _ in range(20):
        h = 0.95 * h + (1 - 0.95) * np.tanh(0.0)
    assert h == pytest.approx(0.95**20)


@slide(
    "SNU",
    "LSTM model - revisited",
    "c(t) = F₁ + F₂ ⊙ c(t−1): the gates' part of the state is linear in it",
)
@slide("SNU", "LSTM architecture (unfolded)", "its six equations are the cell without peepholes")
def test_lstm() -> None:
    one = random_cell("NP", 3, 4)
    x = drawn(5, 3)
    u, w, b = one.from_input[:, :, 0], one.from_hidden, one.bias  # input, forget, output, candidate

    def gates(h: torch.Tensor, now: torch.Tensor) -> list[torch.Tensor]:
        sums = [w[g] @ h + u[g] @ now + b[g] for g in range(4)]
        return [*(torch.sigmoid(s) for s in sums[:3]), torch.tanh(sums[3])]

    h = c = torch.zeros(4, dtype=torch.float64)
    for now, state in zip(x, states(one, x), strict=True):
        i, f, o, z = gates(h, now)
        c, before = i * z + f * c, c
        torch.testing.assert_close(c - (i * z), f * before)
        h = o * torch.tanh(c)
        torch.testing.assert_close(state, h)


def gru(one: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The deck's states, by the weights of the part; its update gate is one minus the part's."""
    u, w, b = one.from_input[:, :, 0], one.from_hidden, one.bias  # reset, update, candidate
    h, seen = torch.zeros(b.shape[1]).double(), []
    for now in x:
        r = torch.sigmoid(w[0] @ h + u[0] @ now + b[0])
        z = torch.sigmoid(-(w[1] @ h + u[1] @ now + b[1]))
        new = torch.tanh(w[2] @ (r * h) + u[2] @ now + b[2])
        h = z * new + (1 - z) * h
        seen.append(h)
    return torch.stack(seen)


@slide(
    "SNU",
    "LSTM variants: gated recurrent units (GRUs)",
    "its four equations are the part of one unit, and of more where nothing is reset; else the part resets the recurrent sum",
)
def test_gru() -> None:
    one, x = random_cell("GRU", 2, 1), drawn(6, 2)
    one.hidden_bias.data.zero_()
    torch.testing.assert_close(states(one, x), gru(one, x))
    one = random_cell("GRU", 2, 3)
    one.hidden_bias.data.zero_()
    assert (states(one, x) - gru(one, x)).abs().max() > 0.01
    one.bias.data[0] = OPEN
    torch.testing.assert_close(states(one, x), gru(one, x))


@slide(
    "SNU",
    "LSTM variants: performance comparison",
    "CIFG is no GRU: it is one only without output gate, output tanh and peepholes, and where the GRU resets nothing",
    slip=True,
)
def test_coupled_gates_are_not_a_gru() -> None:
    coupled, one, x = random_cell("CIFG", 2, 3), random_cell("GRU", 2, 3), drawn(6, 2)
    one.hidden_bias.data.zero_()
    one.bias.data[0] = OPEN
    assert isinstance(coupled, LSTM)
    for mine, theirs in ((0, 1), (3, 2)):  # the input gate is 1 minus the update gate
        sign = -1 if mine == 0 else 1
        for name in ("from_input", "from_hidden", "bias"):
            getattr(coupled, name).data[mine] = sign * getattr(one, name).data[theirs]
    assert (states(coupled, x) - states(one, x)).abs().max() > 0.1
    coupled.opened[2], coupled.bends[1], coupled.sees.data = 1, 0, torch.zeros(()).double()
    torch.testing.assert_close(states(coupled, x), states(one, x))


@slide(
    "SNU",
    "LSTM variants: performance comparison (cont'd)",
    "nine variants on three data sets, 200 trials each, are 5,400; momentum 1 − log-U[0.01, 1] lies between 0 and 0.99",
)
def test_trials_of_the_search() -> None:
    assert len(VARIANTS) * 3 * 200 == 5400
    assert (1 - 1.0, 1 - 0.01) == (0, 0.99)


@slide(
    "SNU",
    "Recursive GLMs (cont'd)",
    "the links of the table are undone by the activations: identity, logit by σ, Φ⁻¹ by Φ, softmax up to a constant; tanh is the mean of ±1 at twice the predictor",
)
def test_links_and_activations() -> None:
    eta = torch.linspace(-4, 4, 33, dtype=torch.float64)
    mu = act("sigmoid", eta)
    torch.testing.assert_close((mu / (1 - mu)).log(), eta)
    np.testing.assert_allclose(stats.norm.ppf(stats.norm.cdf(eta.numpy())), eta.numpy(), atol=1e-12)
    several = drawn(4)
    torch.testing.assert_close(several.softmax(0).log() - several, -several.logsumexp(0).expand(4))
    up = act("sigmoid", 2 * eta)
    torch.testing.assert_close(up * 1 + (1 - up) * -1, torch.tanh(eta))


@slide(
    "SNU",
    "Recursive GLMs (cont'd)",
    "the mean of a Tobit model is ηΦ(η) + φ(η) at σ = 1, 0.399 and not 0 at η = 0; max(0, η) is its limit as σ → 0",
    slip=True,
)
def test_relu_is_the_limit_of_tobits_mean() -> None:
    eta = np.linspace(-3, 3, 25)

    def mean(sigma: float) -> np.ndarray:
        return eta * stats.norm.cdf(eta / sigma) + sigma * stats.norm.pdf(eta / sigma)

    y = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)  # quantiles stand in for draws
    simulated = [np.maximum(0, e + y).mean() for e in eta]
    np.testing.assert_allclose(mean(1.0), simulated, atol=1e-5)
    relu = act("relu", torch.from_numpy(eta)).numpy()
    assert (mean(1.0) - relu).max() == pytest.approx(0.3989, abs=1e-4)
    np.testing.assert_allclose(mean(1e-6), relu, atol=1e-6)


def ridge() -> tuple[torch.Tensor, torch.Tensor, float]:
    """Features (n, d) with examples as rows, targets, and the penalty λ."""
    return drawn(12, 5), drawn(12, seed=1), 0.3


@slide(
    "SNU",
    "Kernel regression (cont'd)",
    "½wᵀw is the greatest ⟨w, α⟩ − ½αᵀα; the dual's best value is the primal's, and β̂ = (K + λI)⁻¹y = (y − Φw)/λ with w = Φᵀβ̂",
)
def test_the_dual_of_ridge_regression() -> None:
    phi, y, rate = ridge()
    w = torch.linalg.solve(phi.T @ phi + rate * torch.eye(5), phi.T @ y)
    k = phi @ phi.T
    beta = torch.linalg.solve(k + rate * torch.eye(12), y)
    torch.testing.assert_close(phi.T @ beta, w)
    torch.testing.assert_close((y - phi @ w) / rate, beta)
    torch.testing.assert_close(0.5 * w @ w, w @ w - 0.5 * w @ w)  # at α = w
    assert all(0.5 * w @ w >= w @ a - 0.5 * a @ a for a in drawn(20, 5, seed=2))

    def dual(b: torch.Tensor) -> torch.Tensor:
        return -rate / 2 * b @ (k + rate * torch.eye(12)) @ b + rate * b @ y

    primal = 0.5 * (y - phi @ w).square().sum() + rate / 2 * w @ w
    torch.testing.assert_close(dual(beta), primal)
    assert all(dual(beta) > dual(beta + step) for step in drawn(20, 12, seed=3))


@slide(
    "SNU",
    "Kernel regression (cont'd)",
    "K_ij = φ(x_i)φ(x_j) lacks a transpose: two columns do not multiply",
    slip=True,
)
def test_the_kernel_needs_a_transpose() -> None:
    one, other = ridge()[0][:2, :, None]
    assert (one.T @ other).shape == (1, 1)
    with pytest.raises(RuntimeError):
        one @ other


@slide(
    "SNU",
    "RNNs as state-space models (cont'd)",
    "with deterministic transitions the RNN's loss is the negative log-likelihood of the sequence, and the likelihoods of all sequences add up to 1",
)
def test_the_loss_of_an_rnn_is_a_likelihood() -> None:
    one, out = random_cell("RNN", 3, 4), drawn(3, 4, seed=1)
    likelihoods = []
    for symbols in itertools.product(range(3), repeat=4):
        y = torch.tensor(symbols)
        x = functional.one_hot(y, 3).double()
        h = torch.cat([torch.zeros(1, 4).double(), states(one, x)[:-1]])  # what is known before
        loss = 4 * CrossEntropy().loss(h @ out.T, y)
        p = (h @ out.T).softmax(1)[range(4), y].prod()
        torch.testing.assert_close(loss, -p.log())
        likelihoods.append(p)
    torch.testing.assert_close(torch.stack(likelihoods).sum(), torch.ones(()).double())
