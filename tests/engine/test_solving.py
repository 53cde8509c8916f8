"""Layers solved in closed form: beside SciPy and scikit-learn, and the same in any pack."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Loss, Members, Optimizer, Player, Stage, Training
from harness.engine.pack import PackInFlight, train
from harness.engine.sizing import held, seconds
from harness.parts.data import load
from harness.parts.models import MLP, EchoState
from harness.parts.objectives import SquaredError
from harness.parts.schedules import Cosine
from tests.engine.test_fusing import same
from tests.engine.test_stages import batches, made

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)
UNITS, STEPS, WASHOUT = 16, 20, 4


def delayed(n: int = 40, delay: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and what it was some steps before, after the washout."""
    x = np.random.default_rng(3).standard_normal((n, STEPS, 1)).astype(np.float32)
    return x, x[:, WASHOUT - delay : STEPS - delay]


SERIES = Data.of(delayed(), name="delayed")


def echo(lane: int) -> Training:
    """A reservoir, and what reads it at once."""
    return Training(
        partial(EchoState, 1, UNITS, 1, 0.3 + 0.05 * lane, 1 / (1 + lane % 3), washout=WASHOUT),
        Optimizer("ridge", l2=10.0 ** -(lane % 5)), SERIES, SquaredError(),
        epochs=1, batch_size=4, trains="readout.*",
    )  # fmt: skip


def last_layer(lane: int) -> Training:
    """A net is trained, then its last layer solved for the classes, then all trained further."""
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("adam", lr=1e-3 * (1 + lane)), DIGITS, batch_size=32,
        stages=(
            Stage(epochs=2),
            Stage(
                epochs=1, optimizer=Optimizer("ridge", l2=1.0 + lane), trains="layers.2.*",
                noise=0.1 * (lane % 2),
            ),
            Stage(epochs=2, optimizer=Optimizer("sgd", lr=1e-3)),
        ),
    )  # fmt: skip


KINDS = {one.__name__: one for one in (echo, last_layer)}


# --- beside others -------------------------------------------------------------------------------


def solved(make, seed: int) -> tuple[PackInFlight, np.ndarray, np.ndarray]:
    """A pack at its end, and the first trial's weight and bias."""
    pack = PackInFlight([make(0), make(1)], [seed, seed + 1], "cpu")
    pack.run()
    weight, bias = (pack._handed()[f"readout.{name}"][0].numpy() for name in ("weight", "bias"))
    return pack, weight, bias


def test_an_echo_state_network_is_a_plain_loop() -> None:
    net, z, y = made(partial(EchoState, 1, UNITS, 1, 0.3, 1.0, washout=WASHOUT), 5), [], []
    read = 0
    for x, target in batches(5, SERIES, 4, 0, 1):
        with torch.no_grad():
            z.append(net.states(x)[:, WASHOUT:].reshape(-1, UNITS))
        y.append(target.reshape(-1, 1))
        read += len(x)
    assert read == 24
    features, target = torch.cat(z).double().numpy(), torch.cat(y).double().numpy()
    ones = np.hstack([features, np.ones((len(features), 1))])
    penalty = np.diag([1.0] * UNITS + [0.0])
    expected = scipy.linalg.solve(ones.T @ ones + penalty, ones.T @ target, assume_a="pos")
    pack, weight, bias = solved(echo, 5)
    np.testing.assert_allclose(weight[0], expected[:-1, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, expected[-1], rtol=1e-4, atol=1e-6)
    rest = ((ones @ expected - target) ** 2).mean()
    outcome = pack.rows.outcomes()[0]
    assert outcome.metrics["train_loss"][-1] == pytest.approx(rest, rel=1e-4)
    net.load_state_dict({**net.state_dict(), "readout.weight": torch.tensor(expected[:-1].T),
                         "readout.bias": torch.tensor(expected[-1])})  # fmt: skip
    x, y = load(SERIES).valid
    assert outcome.metrics["valid_loss"][-1] == pytest.approx(
        F.mse_loss(net(x), y).item(), rel=1e-3
    )
    # nothing is kept of what is not trained: neither gradient nor memory of an optimizer
    assert pack.trained.keys() == {"readout.weight", "readout.bias"}
    assert pack.sides[0].params.all.shape[1] < 32


@pytest.mark.parametrize("l2", [1e-4, 1.0, 100.0])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_ridge_of_scikit_learn(l2: float, bias: bool) -> None:
    class Line(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = nn.Linear(5, 3, bias=bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(x)

    random = np.random.default_rng(1)
    x = random.standard_normal((100, 5)).astype(np.float32) + 3
    y = (x @ random.standard_normal((5, 3)) + random.standard_normal((100, 3))).astype(np.float32)
    data = Data.of((x, y), name="line")
    one = Training(
        Line, Optimizer("ridge", l2=l2), data, SquaredError(), epochs=1, batch_size=60
    )  # fmt: skip
    pack = PackInFlight([one, one], [0, 1], "cpu")
    pack.run()
    x, y = (part.double().numpy() for part in load(data).train)
    peer = Ridge(l2, fit_intercept=bias).fit(x, y)
    found = pack._handed()
    np.testing.assert_allclose(found["readout.weight"][0], peer.coef_, rtol=1e-4, atol=1e-5)
    if bias:
        np.testing.assert_allclose(found["readout.bias"][1], peer.intercept_, rtol=1e-4, atol=1e-5)


def test_a_last_layer_is_a_plain_loop() -> None:
    net = made(partial(MLP, (64, 16, 10)), 7)
    peer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for x, y in batches(7, DIGITS, 32, 0, 2):
        peer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        peer.step()
    read, last = [*batches(7, DIGITS, 32, 1, 1)], net.get_submodule("layers.2")
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    for x, _ in read:
        net(x)
    hook.remove()
    hot = np.eye(10)[torch.cat([y for _, y in read]).numpy()]
    ridge = Ridge(1.0).fit(torch.cat(seen).double().numpy(), hot)
    pack = PackInFlight([last_layer(0), last_layer(2)], [7, 8], "cpu")
    for _ in range(2):
        assert pack._run(None)
        handed = pack._handed()
        pack._enter(pack.number + 1, handed)
    np.testing.assert_allclose(handed["layers.2.weight"][0], ridge.coef_, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(handed["layers.2.bias"][0], ridge.intercept_, rtol=1e-2, atol=1e-3)
    assert pack.each.recorded.keys() >= {0, 5, 10, 15}
    assert [*(row["stage"][0].item() for row in pack.each.recorded.values())] == [
        0.0,
        0.0,
        0.0,
        1.0,
    ]


# --- in packs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_they_fuse(kind: str) -> None:
    one, other = KINDS[kind](0), KINDS[kind](3)
    assert one.why_alone() == ""
    assert one.signature() == other.signature()
    assert min(*seconds(one), held(one)) > 0
    (outcome,) = train([one], [0], "cpu")
    assert outcome.status == "finished"
    assert one.records == len(outcome.steps)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@given(draw=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(kind: str, draw: st.DataObject) -> None:
    lanes = draw.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    together = train([KINDS[kind](lane) for lane in lanes], lanes, "cpu")
    lane = draw.draw(st.sampled_from(lanes))
    (alone,) = train([KINDS[kind](lane)], [lane], "cpu")
    assert same(together[lanes.index(lane)], alone)


def test_batches_of_any_size_add_up_to_the_same() -> None:
    found = []
    for size in (1, 3, 24):
        pack = PackInFlight([_of(batch_size=size), _of(batch_size=size)], [1, 2], "cpu")
        pack.run()
        found.append(pack._handed()["readout.weight"])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-6)


def _of(lane: int = 0, **changes) -> Training:
    given = {"optimizer": Optimizer("ridge", l2=1e-2), "data": SERIES, "objective": SquaredError(),
             "epochs": 1, "batch_size": 4, "trains": "readout.*"} | changes  # fmt: skip
    radius = given.pop("radius", 0.5 + 0.1 * lane)
    return Training(partial(EchoState, 1, UNITS, 1, radius, washout=WASHOUT), **given)


def test_what_is_singular_or_no_number_stays_in_its_lane() -> None:
    """Sixteen units that never move are all the same, and no penalty decides between them."""
    none = Optimizer("ridge", l2=0.0)
    still = partial(EchoState, 1, UNITS, 1, 0.5, scale=0.0, washout=WASHOUT)
    trainings = [
        _of(0), Training(still, none, SERIES, SquaredError(), epochs=1, batch_size=4,
                         trains="readout.*"),
        _of(2, optimizer=none), _of(radius=float("inf")), _of(1),
    ]  # fmt: skip
    calm = train([_of(0), _of(1)], [0, 1], "cpu")
    mixed = train(trainings, [0, 5, 6, 7, 1], "cpu")
    assert [one.status for one in mixed] == [
        "finished", "diverged", "finished", "diverged", "finished"
    ]  # fmt: skip
    assert np.isfinite(mixed[1].metrics["train_loss"][0])
    assert np.isnan(mixed[1].metrics["train_loss"][-1])
    assert same(mixed[0], calm[0])
    assert same(mixed[4], calm[1])


def test_fewer_examples_than_units_need_a_penalty() -> None:
    few = {"steps": 1, "epochs": None, "batch_size": 1, "optimizer": Optimizer("ridge", l2=0.0)}
    few["data"] = Data.of((delayed()[0][:, : WASHOUT + 6], delayed()[1][:, :6]), name="few")
    assert [one.status for one in train([_of(0, **few), _of(1, **few)], [0, 1])] == ["diverged"] * 2
    few["optimizer"] = Optimizer("ridge", l2=1e-6)
    assert [one.status for one in train([_of(0, **few), _of(1, **few)], [0, 1])] == ["finished"] * 2


def test_members_are_solved_each_on_its_own_resample_and_vote() -> None:
    one = Training(
        partial(EchoState, 8, UNITS, 10, every_step=False), Optimizer("ridge", l2=0.1), DIGITS,
        epochs=1, batch_size=32, trains="readout.*", members=Members(5, bag=True),
    )  # fmt: skip
    (alone,) = train([one], [3], "cpu")
    together = train([one, one, one], [2, 3, 4], "cpu")
    assert same(alone, together[1])
    metrics = alone.metrics
    assert metrics["valid_accuracy"][-1] > metrics["valid_member_accuracy"][-1] > 0.3


class Kernel(nn.Module):
    """torch's own LSTM, which does not fuse, as a reservoir."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.readout = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.read(x.view(-1, 8, 8))[0][:, -1])


def test_what_cannot_fuse_is_solved_all_the_same() -> None:
    one = Training(
        Kernel, Optimizer("ridge", l2=0.1), DIGITS, epochs=1, batch_size=32, trains="readout.*"
    )
    assert one.why_alone()
    net, read = made(Kernel, 2), [*batches(2, DIGITS, 32, 0, 1)]
    with torch.no_grad():
        z = torch.cat([net.read(x.view(-1, 8, 8))[0][:, -1] for x, _ in read]).double().numpy()
    peer = Ridge(0.1).fit(z, np.eye(10)[torch.cat([y for _, y in read]).numpy()])
    pack = PackInFlight([one], [2], "cpu")
    pack.run()
    np.testing.assert_allclose(
        pack._handed()["readout.weight"][0], peer.coef_, rtol=1e-3, atol=1e-4
    )


# --- mistakes ------------------------------------------------------------------------------------


def _fit(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(net(x), y)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"objective": Loss(_fit)}, "'ridge' and no objective of outputs on data"),
        (
            {"objective": None, "players": (Player("a", Loss(_fit), "readout.*"),)},
            "no objective of",
        ),
        ({"pad_to": partial(EchoState, 1, 32, 1)}, "pad_to; allowed: one of them"),
        (
            {"epochs": None, "stages": (Stage(epochs=1), Stage(epochs=1, onward=True))},
            "goes on with 'ridge', which has solved its layer",
        ),
    ],
)
def test_what_is_refused_where_it_is_declared(given, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _of(**given)


def test_an_optimizer_that_solves_takes_no_more() -> None:
    with pytest.raises(ValueError, match="ridge takes no 'clip'; allowed: l2"):
        Optimizer("ridge", clip=1.0)
    with pytest.raises(ValueError, match="is solved at once and has Cosine"):
        Optimizer("ridge", Cosine())


@pytest.mark.parametrize(
    ("model", "trains", "words"),
    [
        ((64, 16, 10), "*", "would train layers.0.weight, .*; allowed: trains of one linear layer"),
        ((64, 16, 10), "layers.0.*", "is used 1 times and is not the model's"),
        ((64, 16, 10), "layers.2.bias", "would train layers.2.bias; allowed"),
    ],
)
def test_what_is_no_last_layer_is_refused(model, trains: str, words: str) -> None:
    one = Training(
        partial(MLP, model), Optimizer("ridge"), DIGITS, epochs=1, batch_size=32, trains=trains
    )
    with pytest.raises(ValueError, match=words):
        train([one], [0], "cpu")


class Shaped(nn.Module):
    """(B, T, 1) to (B, T, 4), which is then brought into another shape."""

    def __init__(self, how: str, width: int = 4) -> None:
        super().__init__()
        self.how, self.readout = how, nn.Linear(1, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.readout(x)
        return {
            "swapped": out.mT, "copied": out.mT.contiguous(), "joined": out.flatten(1),
            "parted": out.unflatten(2, (2, -1)),
        }[self.how]  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_an_output_in_another_order_is_refused(count: int) -> None:
    x = np.random.default_rng(3).standard_normal((40, 16, 1)).astype(np.float32)

    def trained(how: str, width: int, y: np.ndarray) -> None:
        data = Data.of((x, y.astype(np.float32)), name=how)
        one = Training(
            partial(Shaped, how, width), Optimizer("ridge"), data, SquaredError(), epochs=1, batch_size=4,
            trains="readout.*",
        )  # fmt: skip
        train([one] * count, [*range(count)], "cpu")

    y = x * np.arange(1, 5)
    trained("joined", 4, y.reshape(40, -1))
    trained("parted", 4, y.reshape(40, -1, 2, 2))
    for how in ("swapped", "copied"):
        with pytest.raises(ValueError, match="in another order; allowed: as it is, or with axes"):
            trained(how, 4, y.swapaxes(1, 2))


def test_a_target_of_another_size_is_refused() -> None:
    x, y = delayed()
    one = _of(data=Data.of((x, np.concatenate([y, y], 2)), name="two"))
    with pytest.raises(ValueError, match=r"64 rows of 1 outputs and a target of \(4, 16, 2\)"):
        train([one], [0], "cpu")
