"""Recurrent cells: held to a step-by-step NumPy reference, to finite differences and to torch's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.engine.padding import check_padding
from harness.parts.models import CELLS, LSTM, VARIANTS, Recurrent, cell

pytestmark = pytest.mark.usefixtures("one_thread")

INPUTS, HIDDEN, LENGTH = 3, 4, 5
Weights = dict[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def lstm(w: Weights, xs: np.ndarray, variant: str) -> np.ndarray:
    """The equations of Greff et al. 2015 for one sequence (T, inputs), as they stand in print."""
    y = c = np.zeros(HIDDEN)
    last = [np.zeros(HIDDEN)] * 3
    out = []
    for x in xs:
        sums = [
            w["from_input"][g, :, 0] @ x + w["from_hidden"][g] @ y + w["bias"][g] for g in range(4)
        ]
        if variant == "FGR":
            for to in range(3):
                sums[to] = sums[to] + sum(w["from_gates"][to, of] @ last[of] for of in range(3))
        see = np.zeros_like(w["peep"]) if variant == "NP" else w["peep"]
        z = sums[3] if variant == "NIAF" else np.tanh(sums[3])
        i = np.ones(HIDDEN) if variant == "NIG" else sigmoid(sums[0] + see[0] * c)
        f = sigmoid(sums[1] + see[1] * c)
        if variant == "NFG":
            f = np.ones(HIDDEN)
        if variant == "CIFG":
            f = 1 - i
        c = z * i + c * f
        o = np.ones(HIDDEN) if variant == "NOG" else sigmoid(sums[2] + see[2] * c)
        y = (c if variant == "NOAF" else np.tanh(c)) * o
        last = [i, f, o]
        out.append(y)
    return np.array(out)


def gru(w: Weights, xs: np.ndarray) -> np.ndarray:
    y, out = np.zeros(HIDDEN), []
    for x in xs:
        r, u, n = (w["from_input"][g, :, 0] @ x + w["bias"][g] for g in range(3))
        r = sigmoid(r + w["from_hidden"][0] @ y)
        u = sigmoid(u + w["from_hidden"][1] @ y)
        n = np.tanh(n + r * (w["from_hidden"][2] @ y + w["hidden_bias"]))
        y = (1 - u) * n + u * y
        out.append(y)
    return np.array(out)


def rnn(w: Weights, xs: np.ndarray, name: str) -> np.ndarray:
    y, out = np.zeros(HIDDEN), []
    for x in xs:
        a = w["from_input"][0, :, 0] @ x + w["from_hidden"][0] @ y + w["bias"][0]
        y = np.tanh(a) if name == "RNN" else np.maximum(a, 0)
        out.append(y)
    return np.array(out)


def reference(name: str, w: Weights, xs: np.ndarray) -> np.ndarray:
    if name in VARIANTS:
        return lstm(w, xs, name)
    return gru(w, xs) if name == "GRU" else rnn(w, xs, name)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_its_equations_and_its_gradient_is_their_difference(name: str) -> None:
    torch.manual_seed(0)
    one = cell(name, INPUTS, HIDDEN, std=0.7).double()
    x = torch.randn(2, LENGTH, INPUTS, dtype=torch.float64)
    weight = torch.randn(LENGTH, HIDDEN, dtype=torch.float64).numpy()
    got = torch.stack(one(x.unsqueeze(2)), 1)  # (2, T, hidden)
    w = {path: p.detach().numpy().copy() for path, p in one.named_parameters()}
    for sequence in range(2):
        expected = reference(name, w, x[sequence].numpy())
        np.testing.assert_allclose(got[sequence].detach().numpy(), expected, atol=1e-13)

    (got[0] * torch.from_numpy(weight)).sum().backward()
    rng = np.random.default_rng(0)
    for path, p in one.named_parameters():
        assert p.grad is not None
        direction, step = rng.standard_normal(p.shape), 1e-6
        ends = [
            (reference(name, {**w, path: w[path] + s * direction}, x[0].numpy()) * weight).sum()
            for s in (step, -step)
        ]
        slope = (p.grad.numpy() * direction).sum()
        assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-8), path


@pytest.mark.parametrize(("variant", "unused"), [
    ("NIG", ("from_input", 0)), ("NFG", ("from_hidden", 1)), ("NOG", ("bias", 2)),
    ("CIFG", ("from_input", 1)), ("NP", ("peep", slice(None))),
])  # fmt: skip
def test_what_a_variant_lacks_gets_no_gradient(variant: str, unused: tuple) -> None:
    one = cell(variant, INPUTS, HIDDEN)
    torch.stack(one(torch.randn(2, LENGTH, 1, INPUTS))).sum().backward()
    path, part = unused
    grad = getattr(one, path).grad
    assert grad[part].abs().max() == 0
    assert variant == "NP" or grad.abs().max() > 0


@pytest.mark.parametrize("name", ["vanilla", "NIAF", "FGR"])
def test_second_derivatives(name: str) -> None:
    one = cell(name, INPUTS, HIDDEN, std=0.7).double()
    x = torch.randn(1, 3, 1, INPUTS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: torch.stack(one(x)).sum(), (x,), atol=1e-6)


def states_of_torch(theirs: nn.Module, ours: Recurrent, gates: list[int], x: Tensor) -> Tensor:
    """torch's own network with our weights put into its order of gates: its last states."""
    ways = len(ours.read)
    for number, one in enumerate(ours.cells):
        suffix = f"_l{number // ways}" + "_reverse" * (number % ways)
        for path, value in {
            "weight_ih": one.from_input.flatten(2), "weight_hh": one.from_hidden, "bias_ih": one.bias,
        }.items():  # fmt: skip
            getattr(theirs, path + suffix).data = value.detach()[gates].flatten(0, 1).clone()
        hidden_bias = getattr(theirs, "bias_hh" + suffix).data.zero_()
        if isinstance(theirs, nn.GRU):
            hidden_bias[-HIDDEN:] = one.hidden_bias.detach()
    out: Tensor = theirs(x)[0]
    return out


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize(("name", "kind", "gates"), [
    ("NP", nn.LSTM, [0, 1, 3, 2]), ("GRU", nn.GRU, [0, 1, 2]), ("RNN", nn.RNN, [0]),
])  # fmt: skip
def test_layers_and_directions_are_torchs(
    name: str, kind: type, gates: list[int], layers: int, both_ways: bool
) -> None:
    torch.manual_seed(1)
    ours = Recurrent(name, INPUTS, HIDDEN, 2, layers, both_ways, every_step=True, std=0.7)
    theirs = kind(INPUTS, HIDDEN, layers, batch_first=True, bidirectional=both_ways)
    x = torch.randn(3, LENGTH, INPUTS)
    out = states_of_torch(theirs, ours, gates, x)  # (B, T, ways hidden)
    parts = out.split(HIDDEN, 2)
    expected = sum(read(part) for read, part in zip(ours.read, parts, strict=True))
    torch.testing.assert_close(ours(x), expected)
    ours.every_step = False
    ends = (parts[0][:, -1], parts[1][:, 0]) if both_ways else (parts[0][:, -1],)
    expected = sum(read(end) for read, end in zip(ours.read, ends, strict=True))
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("name", ["vanilla", "FGR", "GRU", "IRNN"])
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("every_step", [False, True])
def test_what_lies_beyond_the_end_changes_nothing(
    name: str, both_ways: bool, every_step: bool
) -> None:
    torch.manual_seed(2)
    model = Recurrent(name, INPUTS, HIDDEN, 2, 2, both_ways, every_step, ragged=True, std=0.7)
    x = torch.randn(3, 7, INPUTS)
    lengths = (4, 7, 1)
    for number, length in enumerate(lengths):
        x[number, length:] = torch.nan
    together = model(x)
    assert together.isfinite().all()
    for number, length in enumerate(lengths):
        alone = model(x[number : number + 1, :length])[0]
        found = together[number, :length] if every_step else together[number]
        torch.testing.assert_close(found, alone)


def test_symbols_are_ones_among_zeros() -> None:
    model = Recurrent("RNN", 5, HIDDEN, 5, every_step=True)
    symbols = torch.tensor([[0, 3, 1], [4, 4, 2]])
    assert model(symbols).equal(model(torch.eye(5)[symbols]))


@pytest.mark.parametrize("name", CELLS)
def test_wider_cells_compute_the_same(name: str) -> None:
    sample = torch.randn(2, LENGTH, INPUTS)
    build = partial(Recurrent, name, INPUTS, outputs=2, layers=2, both_ways=True)
    check_padding(partial(build, hidden=HIDDEN), partial(build, hidden=HIDDEN + 3), (sample,))


def test_irnn_starts_at_the_identity() -> None:
    one = cell("IRNN", INPUTS, HIDDEN)
    assert one.from_hidden[0].equal(torch.eye(HIDDEN))
    assert one.bias.abs().max() == 0


def test_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'LSTM'; allowed: vanilla, NIG"):
        cell("LSTM", 1, 1)
    with pytest.raises(ValueError, match="'GRU'; allowed: vanilla"):
        LSTM(1, 1, variant="GRU")
    with pytest.raises(ValueError, match="layers=0; allowed: at least 1"):
        Recurrent("RNN", 1, 1, 1, layers=0)


def training(name: str, hidden: int, noise: float = 0.3) -> Training:
    return Training(
        partial(Recurrent, name, 8, hidden, 10),
        Optimizer("nesterov", lr=0.05, momentum=0.8),
        data=Data("digits"),
        steps=6,
        every=3,
        batch_size=1,
        noise=noise,
        pad_to=partial(Recurrent, name, 8, 12, 10),
    )


def test_variants_of_any_width_are_one_program_and_each_trains_as_alone() -> None:
    names = [name for name in VARIANTS if name != "FGR"]
    mixed = [training(name, 5 + i) for i, name in enumerate(names)]
    assert len({one.signature() for one in mixed}) == 1
    assert mixed[0].why_alone() == ""
    assert training("FGR", 5).signature() != mixed[0].signature()
    together = train(mixed, list(range(len(mixed))))
    for i, outcome in enumerate(together):
        assert outcome.status == "finished"
        (alone,) = train([mixed[i]], [i])
        assert alone.metrics == outcome.metrics
    assert len({outcome.metrics["train_loss"][-1] for outcome in together}) == len(names)
