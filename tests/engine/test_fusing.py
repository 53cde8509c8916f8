"""Any ordinary module, any per-trial number: fused, it trains as a plain loop would."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness.engine import program
from harness.engine.building import begin, build
from harness.engine.lowering import Lowered
from harness.engine.outcome import Outcome
from harness.engine.pack import PackInFlight, train
from harness.engine.training import Stop, Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.models import MLP
from harness.parts.models.layers import Dropout, Head
from harness.parts.objectives import CrossEntropy
from harness.parts.optimizers import Optimizer
from harness.parts.probes import (
    Activations,
    Backpropagated,
    Best,
    GradientNorms,
    Jacobians,
    Moment,
    Sharpness,
    WeightNorms,
)
from harness.parts.schedules import Constant, Cosine, WarmUp

DIGITS = Data("digits", train=160)


pytestmark = pytest.mark.usefixtures("one_thread")


class Image(nn.Module):
    """(B, 64) to (B, 1, 8, 8)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, 1, 8, 8)


class Tokens(nn.Module):
    """Pixels as words: an embedding, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(17, 6), nn.Linear(6 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed((x * 16).long()).flatten(1))


class Recurrent(nn.Module):
    """A gated cell in plain operations, row by row, with a switch that is a buffer."""

    def __init__(self, width: int = 6, gated: float = 1.0) -> None:
        super().__init__()
        self.width = width
        self.inside = nn.Parameter(torch.randn(3, width, 8) / 3)
        self.across = nn.Parameter(torch.randn(3, width, width) / 3)
        self.bias = nn.Parameter(torch.zeros(3, width))
        self.head = nn.Linear(width, 10)
        self.register_buffer("gated", torch.tensor(gated))

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), self.head.in_features)
        for row in x.view(-1, 8, 8).unbind(1):  # (B, 64) -> 8 of (B, 8)
            z = torch.einsum("bi,ghi->gbh", row, self.inside)
            z = z + torch.einsum("bk,ghk->gbh", h, self.across) + self.bias.unsqueeze(1)
            gate = torch.sigmoid(z[0]) * self.gated + (1 - self.gated)
            h = torch.sigmoid(z[1]) * h + gate * torch.tanh(z[2])
        return self.head(h)


def net(*layers: str) -> nn.Module:
    made = {
        "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU,
        "softplus": nn.Softplus, "layernorm": partial(nn.LayerNorm, 12),
        "batchnorm": partial(nn.BatchNorm1d, 12), "groupnorm": partial(nn.GroupNorm, 3, 12),
        "dropout": partial(nn.Dropout, 0.5),
    }  # fmt: skip
    return nn.Sequential(nn.Linear(64, 12), *(made[name]() for name in layers), nn.Linear(12, 10))


def conv(*, norm: bool = False, drop: bool = False) -> nn.Module:
    return nn.Sequential(
        Image(), nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.3) if drop else nn.Identity(),
        nn.Conv2d(4, 6, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 10),
    )  # fmt: skip


def signal(norm: bool = False) -> nn.Module:
    """Three convolutions along a signal of 64 numbers: a stride, a dilation, no bias."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 5, 5, stride=2, padding=1), nn.ReLU(),
        nn.BatchNorm1d(5) if norm else nn.Identity(),
        nn.Conv1d(5, 6, 3, padding="same", dilation=2, bias=False), nn.Tanh(), nn.MaxPool1d(2),
        nn.Conv1d(6, 4, 3, stride=2, padding=1, padding_mode="circular"), nn.Flatten(),
        nn.Linear(32, 10),
    )  # fmt: skip


class Residual(nn.Module):
    """Convolutions of several strides whose maps are added, and a view of them."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 6, 3, padding=1)
        self.left = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.right = nn.Conv2d(6, 6, 1, stride=2)
        self.groups = nn.Conv2d(6, 6, (1, 3), padding="same", groups=2)
        self.head = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = self.enter(x.view(-1, 1, 8, 8)).relu()
        z = F.avg_pool2d(self.left(z) + self.right(z), 3, 1, 1)
        return self.head((z + self.groups(z).relu()).view(len(z), -1))


class Reader(nn.Module):
    """Attention called by the author, dropped out by functions."""

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.rate = rate
        self.q, self.k, self.v = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(8, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(x.view(-1, 8, 8), self.rate, self.training)
        q, k, v = (one(x).unflatten(2, (2, 3)).transpose(1, 2) for one in (self.q, self.k, self.v))
        rate = self.rate if self.training else 0.0
        read = F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        read = F.dropout(read.transpose(1, 2).flatten(2), self.rate, self.training)
        return self.head(read.mean(1))


class Heads(nn.Module):
    """torch's layers of attention: a whole encoder, or attention alone with its weights."""

    def __init__(self, alone: bool = False) -> None:
        super().__init__()
        self.alone, self.embed, self.head = alone, nn.Linear(8, 16), nn.Linear(16, 10)
        made = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
        self.layer = nn.MultiheadAttention(16, 4, 0.2) if alone else made

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.view(-1, 8, 8))
        if not self.alone:
            return self.head(self.layer(x).mean(1))
        x = x.transpose(0, 1)
        read, weights = self.layer(x, x, x)
        return self.head(read.mean(0) + weights.amax((1, 2)).unsqueeze(1))


MODELS = {
    "activations": partial(net, "sigmoid", "tanh", "gelu", "elu", "softplus"),
    "layernorm": partial(net, "layernorm", "relu"),
    "groupnorm": partial(net, "groupnorm", "relu"),
    "batchnorm": partial(net, "batchnorm", "relu"),
    "conv": conv,
    "conv with batchnorm": partial(conv, norm=True),
    "signal": signal,
    "signal with batchnorm": partial(signal, norm=True),
    "residual": Residual,
    "attention": Reader,
    "encoder": Heads,
    "heads": partial(Heads, alone=True),
    "embedding": Tokens,
    "recurrent": Recurrent,
    "dropout": partial(net, "relu", "dropout"),
    "channel dropout": partial(conv, drop=True),
}


def make(model, lr: float = 0.05, **changes) -> Training:
    optimizer = changes.pop("optimizer", Optimizer("momentum", lr=lr))
    given = {"data": DIGITS, "epochs": 2, "batch_size": 32} | changes
    return Training(model, optimizer, **given)


def same(a: Outcome, b: Outcome) -> bool:
    return (
        a.status == b.status
        and a.steps == b.steps
        and a.metrics.keys() == b.metrics.keys()
        and all(np.array_equal(a.metrics[m], b.metrics[m], equal_nan=True) for m in a.metrics)
    )


def plain(training: Training, seed: int, objective=None, alter=None) -> tuple[float, nn.Module]:
    """An ordinary loop over one trial: the batches are the trial's, all else is torch's."""
    model = build(training.model, seed)
    numbers = training.optimizer.numbers
    peer = torch.optim.SGD(model.parameters(), lr=numbers["lr"], momentum=numbers["momentum"])
    x, y = load(training.data).train
    keys = {stream: keyed.keys([seed], stream) for stream in ("batches", "noise", "mask")}
    size, step = training.batch_size, 0
    for epoch in range(training.epochs):
        order = keyed.permutation(keyed.mix(keys["batches"], epoch), len(x))[0]
        for batch in order.split(size):
            inputs = x[batch]
            if training.noise:
                key = keyed.mix(keys["noise"], step)
                drawn = keyed.normal(key, inputs.numel()).view(inputs.shape)
                inputs = inputs + training.noise * drawn
            for module in model.modules():
                if isinstance(module, Dropout):
                    module.key.copy_(keyed.mix(keys["mask"], step)[0])
            factor = training.optimizer.schedule.factor(np.array([step]), training.updates)
            peer.param_groups[0]["lr"] = numbers["lr"] * float(factor[0])
            peer.zero_grad()
            with Lowered(keyed.mix(keys["mask"], step)[0], products=False):
                output = begin(model)(inputs)
            loss = F.cross_entropy(output, y[batch], label_smoothing=objective or 0.0)
            loss.backward()
            if math.isfinite(numbers["clip"]):
                nn.utils.clip_grad_norm_(model.parameters(), numbers["clip"])
            for w in model.parameters():
                w.grad += numbers["weight_decay"] * w.detach() + numbers["l1"] * w.detach().sign()
            peer.step()
            step += 1
    model.eval()
    x, y = load(training.data).valid
    with torch.no_grad():
        return F.cross_entropy(model(x), y).item(), model


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer_trains_as_in_a_plain_loop(name: str) -> None:
    trainings = [make(MODELS[name], lr) for lr in (0.02, 0.05, 0.1)]
    assert trainings[0].why_alone() == ""
    assert trainings[0].signature() == trainings[1].signature()
    outcomes = train(trainings, [3, 4, 5])
    for training, seed, outcome in zip(trainings, [3, 4, 5], outcomes, strict=True):
        expected, _ = plain(training, seed)
        assert outcome.metrics["valid_loss"][-1] == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_layer_is_bitwise_the_same_in_any_pack(name: str) -> None:
    trainings = [make(MODELS[name], 0.02 * (1 + k)) for k in range(5)]
    together = train(trainings, range(5))
    backwards = train(trainings[::-1], range(4, -1, -1))[::-1]
    alone = train([trainings[2]], [2])[0]
    assert all(same(a, b) for a, b in zip(together, backwards, strict=True))
    assert same(together[2], alone)


NUMBERS = {
    "nothing": {},
    "noise": {"noise": 0.3},
    "smoothing": {"objective": CrossEntropy(label_smoothing=0.2)},
    "clip": {"optimizer": Optimizer("momentum", lr=0.05, clip=0.5)},
    "weight decay": {"optimizer": Optimizer("momentum", lr=0.05, weight_decay=0.01)},
    "l1": {"optimizer": Optimizer("momentum", lr=0.05, l1=1e-3)},
    "momentum": {"optimizer": Optimizer("momentum", lr=0.05, momentum=0.5)},
    "cosine": {"optimizer": Optimizer("momentum", Cosine(0.1), lr=0.05)},
    "warm-up": {"optimizer": Optimizer("momentum", WarmUp(0.5, Constant()), lr=0.05)},
}


def with_rate(rate: float) -> nn.Module:
    return nn.Sequential(nn.Linear(64, 12), nn.ReLU(), nn.Dropout(rate), nn.Linear(12, 10))


@pytest.mark.parametrize("widths", [(64, 17, 10), (64, 33, 24, 10)])
def test_a_single_example_an_update_gives_the_same_bits_in_any_pack(widths) -> None:
    """Products with one row begin at the matrix, wherever in memory that is."""
    training = make(partial(MLP, widths), lr=1e-2, epochs=None, steps=12, every=6, batch_size=1)
    together = train([training] * 5, range(5))
    for lane in (1, 4):
        assert same(train([training], [lane])[0], together[lane])
    assert same(train([training] * 2, [3, 2])[1], together[2])


@pytest.mark.parametrize(("features", "classes"), [(64, 10), (17, 4), (24, 15), (33, 10), (64, 3)])
def test_a_head_is_a_linear_layer_wherever_in_memory_its_trial_lies(
    features: int, classes: int
) -> None:
    def built() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(features, classes))

    plain = nn.Linear(features, classes)
    module = build(built, 0)
    head = module[1]
    assert isinstance(head, Head) == (classes > 3)
    plain.load_state_dict(head.state_dict())
    x = torch.randn(31, features, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x), plain(x))
    torch.testing.assert_close(module(x[:2]), plain(x[:2]))
    if classes <= 3:
        return
    lanes = 5  # the same numbers, each at another distance from a register's boundary
    w = torch.zeros(lanes, classes * features + 1)
    w[:, :-1] = head.weight.detach().flatten()
    wide = torch.zeros(lanes, x.numel() + 1)
    wide[:, :-1] = x.flatten()
    state = {"1.weight": w[:, :-1].view(lanes, classes, features)}
    state["1.bias"] = head.bias.detach().expand(lanes, classes)
    out = torch.func.vmap(lambda s, x: torch.func.functional_call(module, s, (x,)))(
        state, wide[:, :-1].view(lanes, *x.shape)
    )
    assert bool((out == out[0]).all())


def test_numbers_that_differ_share_a_pack_and_hold_to_a_plain_loop() -> None:
    trainings = [make(partial(with_rate, 0.1 * k), **c) for k, c in enumerate(NUMBERS.values())]
    assert len({t.signature() for t in trainings}) == 1
    seeds = list(range(len(trainings)))
    outcomes = train(trainings, seeds)
    for training, seed, outcome in zip(trainings, seeds, outcomes, strict=True):
        expected, _ = plain(training, seed, float(training.loss.label_smoothing))
        assert outcome.metrics["valid_loss"][-1] == pytest.approx(expected, rel=2e-4)


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_numbers_do_not_leak_between_trials(data) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(NUMBERS)), min_size=1, max_size=6))
    trainings = [
        make(partial(with_rate, 0.1 * (k % 3)), epochs=1, **NUMBERS[name])
        for k, name in enumerate(names)
    ]
    seeds = data.draw(st.permutations(range(len(names))))
    together = train(trainings, seeds)
    chosen = data.draw(st.integers(0, len(names) - 1))
    assert same(together[chosen], train([trainings[chosen]], [seeds[chosen]])[0])


def test_dropout_keeps_the_mean_and_differs_between_seeds_steps_and_layers() -> None:
    layer = Dropout(0.25, 0, channels=False)
    x = torch.ones(200, 100)
    layer.key.fill_(5)
    first = layer(x)
    assert first.mean().item() == pytest.approx(1.0, abs=0.02)
    assert (first == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    second = layer(x)  # used twice in a forward pass: two masks
    assert ((second == 0) & (first == 0)).float().mean().item() == pytest.approx(1 / 16, abs=0.01)
    assert torch.equal(begin(layer)(x), first)
    begin(layer).key.fill_(6)
    assert ((layer(x) == 0) & (first == 0)).float().mean().item() == pytest.approx(1 / 16, abs=0.01)
    assert torch.equal(layer.eval()(x), x)
    with pytest.raises(ValueError, match=r"dropout rate is 1\.5; allowed"):
        Dropout(1.5, 0, channels=False)


def test_gate_switches_share_a_pack() -> None:
    trainings = [make(partial(Recurrent, 6, gated)) for gated in (0.0, 1.0)]
    assert trainings[0].signature() == trainings[1].signature()
    outcomes = train(trainings, [1, 1])
    assert outcomes[0].metrics["valid_loss"] != outcomes[1].metrics["valid_loss"]
    expected, _ = plain(trainings[0], 1)
    assert outcomes[0].metrics["valid_loss"][-1] == pytest.approx(expected, rel=2e-4)


# --- widths --------------------------------------------------------------------------------------


def padded(width: int, to: int, model=Recurrent, **changes) -> Training:
    return make(partial(model, width), pad_to=partial(model, to), **changes)


@pytest.mark.parametrize("rule", ["momentum", "adam", "muon"])
def test_padding_is_exact(rule: str) -> None:
    optimizer = Optimizer(rule, lr=0.01)
    trainings = [padded(width, 8, optimizer=optimizer) for width in (3, 5, 8)]
    assert len({t.signature() for t in trainings}) == 1
    outcomes = train(trainings, [1, 2, 3])
    for training, seed, outcome in zip(trainings, [1, 2, 3], outcomes, strict=True):
        alone = train([dataclasses.replace(training, pad_to=None)], [seed])[0]
        # Muon works in bfloat16, where a wider matrix adds up in another order
        tolerance = 2e-2 if rule == "muon" else 1e-4
        assert outcome.metrics["valid_loss"] == pytest.approx(
            alone.metrics["valid_loss"], rel=tolerance
        )
        assert same(outcome, train([training], [seed])[0])  # bitwise, in whatever pack


def test_padded_numbers_stay_zero() -> None:
    trainings = [padded(3, 8), padded(8, 8)]
    pack = PackInFlight(trainings, [0, 1], "cpu")
    for step in range(6):
        pack.update(step)
    assert pack.trained["across"][0, :, 3:].abs().max() == 0
    assert pack.trained["across"][0, :, :, 3:].abs().max() == 0
    assert pack.trained["head.weight"][0, :, 3:].abs().max() == 0
    assert pack.trained["across"][0, :, :3, :3].abs().min() > 0


def test_padding_that_changes_the_model_is_refused() -> None:
    def normed(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(64, width), nn.LayerNorm(width), nn.Linear(width, 10))

    with pytest.raises(ValueError, match="pad_to changes the model's output"):
        padded(5, 8, normed).signature()
    with pytest.raises(ValueError, match="none of them narrower"):
        padded(8, 5).signature()


# --- what cannot fuse ----------------------------------------------------------------------------


class Opaque(nn.Module):
    """torch's own LSTM kernel has no batching rule."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(8, 5, batch_first=True), nn.Linear(5, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.view(-1, 8, 8))[0][:, -1])


class Drawing(nn.Module):
    """Draws from torch's own generator."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + 0.1 * torch.randn_like(x) if self.training else x)


class Normed(Opaque):
    """With running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(10)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(super().forward(x))


def test_what_trains_alone_trains_as_in_a_plain_loop() -> None:
    trainings = [make(Normed, lr) for lr in (0.05, 0.1, 0.02)]
    outcomes = train(trainings, [3, 4, 5])
    for training, seed, outcome in zip(trainings, [3, 4, 5], outcomes, strict=True):
        expected, _ = plain(training, seed)
        assert outcome.metrics["valid_loss"][-1] == pytest.approx(expected, rel=1e-5)
        assert same(outcome, train([training], [seed])[0])


WHY = {Opaque: "cannot be fused", Drawing: "draws random numbers of its own (torch)"}


@pytest.mark.parametrize("model", [Opaque, Drawing])
def test_what_cannot_fuse_says_why_and_trains_alone(model) -> None:
    training = make(model)
    assert WHY[model] in training.why_alone()
    first, again = train([training], [3])[0], train([training, training], [2, 3])[1]
    assert same(first, again)
    if model is Opaque:
        expected, _ = plain(training, 3)
        assert first.metrics["valid_loss"][-1] == pytest.approx(expected, rel=2e-4)


# --- stopping ------------------------------------------------------------------------------------


def stopping(patience: float, lr: float = 0.3, **changes) -> Training:
    return make(
        partial(with_rate, 0.0), lr, epochs=12, stop=Stop("valid_loss", patience),
        probes=(Best("valid_loss", ("test_accuracy",)),), **changes,
    )  # fmt: skip


@pytest.mark.parametrize("pays", [0.0, math.inf], ids=["compacted", "never compacted"])
def test_a_stopped_trial_ends_where_patience_ends_and_harms_no_other(monkeypatch, pays) -> None:
    monkeypatch.setattr("harness.engine.pack.PAYS", pays)
    trainings = [stopping(1, 1.0), stopping(math.inf), stopping(2, 0.8), stopping(3, 0.5)]
    assert len({t.signature() for t in trainings}) == 1
    outcomes = train(trainings, range(4))
    for training, seed, outcome in zip(trainings, range(4), outcomes, strict=True):
        assert same(outcome, train([training], [seed])[0])
        losses, patience = outcome.metrics["valid_loss"], training.stop.patience
        waited = len(losses) - 1 - int(np.argmin(losses))
        assert waited == patience or outcome.steps[-1] == training.updates
        best = outcome.metrics["best_step"][-1]
        assert outcome.steps[int(np.argmin(losses))] == best
        accuracy = outcome.metrics["test_accuracy"][int(np.argmin(losses))]
        assert outcome.metrics["best_test_accuracy"][-1] == accuracy
        assert all(math.isnan(v) for v in outcome.metrics["best_step"][:-1])
    assert outcomes[0].steps[-1] < outcomes[1].steps[-1] == trainings[1].updates


def test_ended_trials_are_left_out_of_the_work(monkeypatch) -> None:
    monkeypatch.setattr("harness.engine.pack.PAYS", 0.0)
    sizes = []
    real = PackInFlight.gradient

    def spy(self, step: int) -> None:
        sizes.append(self.size)
        real(self, step)

    monkeypatch.setattr(PackInFlight, "gradient", spy)
    mixed = [stopping(1, 1.0), stopping(1, 0.9), make_endless(), make_endless(), make_endless()]
    train(mixed, range(5))
    assert sizes[0] == 5
    assert sizes[-1] == 3
    sizes.clear()
    train([stopping(1, 1.0), stopping(1, 1.0, noise=0.1)], [0, 1])
    assert len(sizes) < mixed[0].updates  # nobody is left: training ends


def make_endless() -> Training:
    return stopping(math.inf, 0.05)


def test_running_statistics_survive_compaction(monkeypatch) -> None:
    monkeypatch.setattr("harness.engine.pack.PAYS", 0.0)
    stops = [Stop("valid_loss", patience) for patience in (1, math.inf, math.inf)]
    trainings = [
        make(MODELS["batchnorm"], lr, stop=stop, epochs=8)
        for lr, stop in zip((5.0, 0.05, 0.02), stops, strict=True)
    ]
    outcomes = train(trainings, range(3))
    assert outcomes[0].steps[-1] < trainings[0].updates
    for k in (1, 2):
        assert same(outcomes[k], train([trainings[k]], [k])[0])


def test_stop_never_looks_at_the_test_split() -> None:
    with pytest.raises(ValueError, match="no metric of the test split"):
        Stop("test_loss", 3)
    with pytest.raises(ValueError, match=r"Stop\.metric is 'valid_lost'; allowed: test_accuracy"):
        train([make(MODELS["conv"], stop=Stop("valid_lost", 3))], [0])


def test_a_diverged_trial_is_left_out_too(monkeypatch) -> None:
    monkeypatch.setattr("harness.engine.pack.PAYS", 0.0)
    trainings = [make(partial(with_rate, 0.0), lr, epochs=6) for lr in (0.01, 1e30, 0.02, 0.05)]
    outcomes = train(trainings, range(4))
    assert [o.status for o in outcomes] == ["finished", "diverged", "finished", "finished"]
    for k in (0, 2, 3):
        assert same(outcomes[k], train([trainings[k]], [k])[0])


@pytest.mark.parametrize("name", ["batchnorm", "recurrent", "conv", "dropout"])
def test_scoring_some_trials_at_a_time_changes_nothing(monkeypatch, name: str) -> None:
    trainings = [make(MODELS[name], lr) for lr in (0.01, 0.02, 0.05, 0.1, 0.2)]
    whole = train(trainings, range(5))
    sizes = set()
    real = program.Program.bound

    def spy(self, what, fn, params, buffers, *rest):
        if what.startswith("score"):
            sizes.add(len(next(iter(params.values()))))
        return real(self, what, fn, params, buffers, *rest)

    monkeypatch.setattr(program.Program, "bound", spy)
    monkeypatch.setattr(program, "HEAVY", 0)
    # of 180 examples: two groups of two, and one that overlaps
    monkeypatch.setattr(program, "SCORED", 360)
    some = train(trainings, range(5))
    assert sizes == {2}
    assert all(same(a, b) for a, b in zip(whole, some, strict=True))


# --- probes --------------------------------------------------------------------------------------

PROBES = (
    GradientNorms(), WeightNorms(), Activations(), Backpropagated(), Jacobians(), Sharpness(3),
)  # fmt: skip


@pytest.mark.parametrize("name", ["activations", "batchnorm", "conv with batchnorm", "dropout"])
def test_probes_never_change_training(name: str) -> None:
    bare = train([make(MODELS[name]), make(MODELS[name])], [0, 1])
    probed = train([make(MODELS[name], probes=PROBES)] * 2, [0, 1])
    for a, b in zip(bare, probed, strict=True):
        assert all(np.array_equal(a.metrics[m], b.metrics[m]) for m in a.metrics)
        assert set(b.metrics) > set(a.metrics)
    third = train([make(MODELS[name], probes=PROBES)] * 3, [2, 1, 0])
    assert same(third[1], probed[1])


def test_layer_probes_by_autograd() -> None:
    found: dict[str, Tensor] = {}

    @dataclasses.dataclass(frozen=True)
    class Peek:
        at_end = True

        def read(self, pack: Moment) -> dict[str, Tensor]:
            found.update({name: w[0].clone() for name, w in pack.params.items()})
            return {}

    probes = (
        Activations(),
        Backpropagated(),
        WeightNorms(),
        Sharpness(60),
        Peek(),
    )
    outcome = train([make(partial(MLP, (64, 6, 10)), probes=probes)], [0])[0]
    last = {name: column[-1] for name, column in outcome.metrics.items()}
    model = MLP((64, 6, 10))
    model.load_state_dict(found)
    x, y = load(DIGITS).train  # 160 examples, fewer than a probe's sample
    first, relu, second = model.layers
    z = first(x).detach().requires_grad_()
    out = second(relu(z))
    out.retain_grad()
    F.cross_entropy(out, y).backward()
    hidden = relu(z).detach()
    assert last["delta_norm_1"] == pytest.approx(z.grad.norm().item(), rel=1e-4)
    assert last["delta_norm_2"] == pytest.approx(out.grad.norm().item(), rel=1e-4)
    assert last["act_zeros_1"] == pytest.approx((hidden == 0).float().mean().item(), abs=1e-6)
    assert last["act_dead_1"] == pytest.approx((hidden == 0).all(0).float().mean().item())
    assert last["act_mean_1"] == pytest.approx(hidden.mean().item(), rel=1e-4)
    assert last["act_saturated_1"] == last["act_zeros_1"]  # a rectifier is flat where it is zero
    assert last["weight_norm_1"] == pytest.approx(first.weight.norm().item(), rel=1e-4)
    flat = torch.cat([w.detach().flatten() for w in model.parameters()])

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([w.numel() for w in model.parameters()])
        named = {
            name: part.view(w.shape)
            for (name, w), part in zip(model.named_parameters(), parts, strict=True)
        }
        return F.cross_entropy(torch.func.functional_call(model, named, (x,)), y)

    top = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat)).abs().max().item()
    assert last["sharpness"] == pytest.approx(top, rel=2e-2)


# --- precision -----------------------------------------------------------------------------------


def test_bf16_is_a_choice_and_trains() -> None:
    exact = train([make(MODELS["conv"])], [0])[0]
    rough = train([make(MODELS["conv"], precision="bf16")], [0])[0]
    assert make(MODELS["conv"]).signature() != make(MODELS["conv"], precision="bf16").signature()
    assert rough.metrics["valid_loss"] != exact.metrics["valid_loss"]
    assert rough.metrics["valid_loss"][-1] == pytest.approx(
        exact.metrics["valid_loss"][-1], rel=0.1
    )
    with pytest.raises(ValueError, match="precision is 'fp8'; allowed: float32, tf32, bf16"):
        make(MODELS["conv"], precision="fp8")
