"""Stages and players: each kind beside a plain PyTorch loop, and the same in any pack."""

from __future__ import annotations

import gc
import itertools
import math
import weakref
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Loss, Optimizer, Player, Stage, Stop, Training
from harness.engine.pack import PackInFlight, train
from harness.engine.sizing import held, seconds
from harness.parts import keyed
from harness.parts.data import load
from harness.parts.draws import keyed_by, normal, uniform
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy
from harness.parts.probes import RecordTo
from harness.parts.schedules import Cosine
from tests.engine.test_fusing import Opaque, same

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS, OTHER = Data("digits", train=160), Data("digits", train=96)


class Stack(nn.Module):
    """Encoders, their decoders, and a head."""

    def __init__(self, widths: tuple[int, ...] = (64, 12, 8)) -> None:
        super().__init__()
        pairs = [*itertools.pairwise(widths)]
        self.encode = nn.ModuleList(nn.Linear(a, b) for a, b in pairs)
        self.decode = nn.ModuleList(nn.Linear(b, a) for a, b in pairs)
        self.head = nn.Linear(widths[-1], 10)

    def up(self, x: Tensor, layers: int) -> Tensor:
        for layer in self.encode[:layers]:
            x = layer(x).relu()
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.up(x.flatten(1), len(self.encode)))


def rebuild(layer: int, net: Stack, x: Tensor, _: Tensor) -> Tensor:
    """What a layer makes of what lies below it, of which three tenths are hidden."""
    below = net.up(x.flatten(1), layer).detach()
    seen = below * (uniform(*below.shape) > 0.3)
    return F.mse_loss(net.decode[layer](net.encode[layer](seen).relu()), below)


FIRST, SECOND = Loss(partial(rebuild, 0)), Loss(partial(rebuild, 1))


def greedy(lane: int) -> Training:
    """Layer by layer, and then all but the decoders."""
    return Training(
        Stack, Optimizer("momentum", lr=0.05 * (1 + lane)), DIGITS, batch_size=32,
        stages=(
            Stage(epochs=2, objective=FIRST, trains=("encode.0.*", "decode.0.*")),
            Stage(epochs=1, objective=SECOND, trains=("encode.1.*", "decode.1.*")),
            Stage(
                epochs=4, optimizer=Optimizer("adam", Cosine(), lr=3e-3 * (1 + lane)),
                trains=("encode.*", "head.*"), noise=0.05 * lane,
            ),
        ),
        stop=Stop(patience=1 + lane % 2, restore=True),
        probes=(RecordTo("valid_accuracy", 0.2, "steps_to_fifth"),),
    )  # fmt: skip


def transfer(lane: int) -> Training:
    """Another data set, batch size and rule; the head begins anew, and it alone is trained."""
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("adam", lr=1e-2 * (1 + lane)), DIGITS, batch_size=32,
        stages=(
            Stage(epochs=2),
            Stage(
                epochs=2, data=OTHER, batch_size=16, trains="layers.2.*", reset="layers.2.*",
                optimizer=Optimizer("sgd", lr=0.1 * (1 + lane)),
            ),
        ),
    )  # fmt: skip


def growing(lane: int) -> Training:
    """The batch grows and Adam goes on, and its cosine is of all stages."""
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("adam", Cosine(), lr=1e-2 * (1 + lane)), DIGITS,
        stages=(
            Stage(epochs=2, batch_size=16), Stage(steps=7, batch_size=32, onward=True),
            Stage(epochs=1, batch_size=80, onward=True),
        ),
    )  # fmt: skip


class Gan(nn.Module):
    """The critic says sixteen numbers: of one, what is scored would be no multiple of 32, and softplus
    depend on a trial's place in its pack (VERDICTS.md)."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 64))
        self.d = nn.Sequential(nn.Linear(64, 16), nn.LeakyReLU(0.2), nn.Linear(16, 16))


def tell(net: Gan, x: Tensor, _: Tensor) -> Tensor:
    fake = net.g(normal(len(x), 4)).detach()
    return F.softplus(-net.d(x.flatten(1))).mean() + F.softplus(net.d(fake)).mean()


def fool(net: Gan, x: Tensor, _: Tensor) -> Tensor:
    return F.softplus(-net.d(net.g(normal(len(x), 4)))).mean()


def gan(lane: int) -> Training:
    return Training(
        Gan, Optimizer("adam", lr=1e-3 * (1 + lane), beta1=0.5), DIGITS, epochs=3, batch_size=32,
        players=(
            Player("critic", Loss(tell), "d.*", updates=2),
            Player("maker", Loss(fool), "g.*", Optimizer("sgd", lr=0.05 * (1 + lane))),
        ),
        every=3,
    )  # fmt: skip


KINDS = {one.__name__: one for one in (greedy, transfer, growing, gan)}


# --- beside a plain loop -------------------------------------------------------------------------


def batches(
    seed: int, data: Data, size: int, stage: int, epochs: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Those of a trial, as they are keyed."""
    x, y = load(data).train
    key = keyed.keys([seed], "batches")
    key = keyed.mix(key, stage) if stage else key
    for epoch in range(epochs):
        order = keyed.permutation(keyed.mix(key, epoch), len(x))[0]
        for rows in order[: len(order) // size * size].split(size):
            yield x[rows], y[rows]


def made(model: type[nn.Module] | partial[nn.Module], seed: int, stage: int = 0) -> nn.Module:
    torch.manual_seed(keyed.torch_seed(seed, "init") ^ stage)
    return model()


def key(seed: int, turn: int) -> Tensor:
    return keyed.mix(keyed.keys([seed], "mask"), turn)[0]


def check(pack: PackInFlight, module: nn.Module) -> None:
    """A pack's first trial, at the end, is what the loop has made."""
    handed = pack._handed()
    for name, w in module.named_parameters():
        torch.testing.assert_close(handed[name][0], w.detach(), rtol=1e-4, atol=1e-5)


def ran(make, seed: int) -> PackInFlight:
    pack = PackInFlight([make(0), make(1)], [seed, seed + 1], "cpu")
    pack.run()
    return pack


def test_greedy_pretraining_is_a_plain_loop() -> None:
    net, turn = made(Stack, 3), 0
    parts = [[net.encode[i], net.decode[i]] for i in range(2)]
    for stage, (layer, epochs) in enumerate([(0, 2), (1, 1)]):
        moved = [w for part in parts[layer] for w in part.parameters()]
        peer = torch.optim.SGD(moved, lr=0.05, momentum=0.9)
        for x, y in batches(3, DIGITS, 32, stage, epochs):
            peer.zero_grad()
            with keyed_by(key(3, turn)):
                rebuild(layer, net, x, y).backward()
            peer.step()
            turn += 1
    pack = PackInFlight([greedy(0), greedy(1)], [3, 4], "cpu")
    while pack.number < 2:
        assert pack._run(None)
        pack._enter(pack.number + 1, pack._handed())
    check(pack, net)
    assert {n.split(".")[0] for n in pack.trained} == {"encode", "head"}


def test_transfer_is_a_plain_loop() -> None:
    net = made(partial(MLP, (64, 16, 10)), 5)
    peer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for x, y in batches(5, DIGITS, 32, 0, 2):
        peer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        peer.step()
    head = [*net.children()][-1][-1] if False else net.get_submodule("layers.2")
    head.load_state_dict(
        made(partial(MLP, (64, 16, 10)), 5, 1).get_submodule("layers.2").state_dict()
    )
    peer = torch.optim.SGD(head.parameters(), lr=0.1)
    for x, y in batches(5, OTHER, 16, 1, 2):
        peer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        peer.step()
    pack = ran(transfer, 5)
    check(pack, net)
    assert pack.trained.keys() == {"layers.2.weight", "layers.2.bias"}
    assert pack.sides[0].params.all.shape[1] < 192  # no slots for what is frozen


def test_a_growing_batch_is_a_plain_loop() -> None:
    net = made(partial(MLP, (64, 16, 10)), 5)
    peer = torch.optim.Adam(net.parameters(), lr=1e-2)
    total, step = 20 + 7 + 2, 0
    for stage, (size, updates) in enumerate([(16, 20), (32, 7), (80, 2)]):
        for _, (x, y) in zip(range(updates), batches(5, DIGITS, size, stage, 9), strict=False):
            peer.param_groups[0]["lr"] = 1e-2 * float(Cosine().factor(step, total))
            peer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            peer.step()
            step += 1
    check(ran(growing, 5), net)


def test_players_are_a_plain_loop() -> None:
    net = made(Gan, 7)
    critic = torch.optim.Adam(net.d.parameters(), lr=1e-3, betas=(0.5, 0.999))
    maker = torch.optim.SGD(net.g.parameters(), lr=0.05)
    read, told = batches(7, DIGITS, 32, 0, 9), []
    for turn in range(3 * 15):
        loss, peer = (fool, maker) if turn % 3 == 2 else (tell, critic)
        net.zero_grad()
        with keyed_by(key(7, turn)):
            value = loss(net, *next(read))
        value.backward()
        peer.step()
        told.append(value.item())
    pack = ran(gan, 7)
    check(pack, net)
    outcome = pack.rows.outcomes()[0]
    fooled = outcome.metrics["train_loss_maker"]
    assert fooled[1:3] == pytest.approx([sum(told[2:9:3]) / 3, sum(told[11:18:3]) / 3], rel=1e-4)
    assert outcome.metrics["train_loss_critic"][0] == pytest.approx(told[0], rel=1e-4)
    assert {"valid_loss_critic", "test_loss_maker"} <= outcome.metrics.keys()


# --- in packs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_they_fuse(kind: str) -> None:
    one, other = KINDS[kind](0), KINDS[kind](3)
    assert one.why_alone() == ""
    assert one.signature() == other.signature()
    base, each = seconds(one)
    assert base > 0
    assert each > 0
    assert held(one) > 0


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(draw=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(kind: str, draw: st.DataObject) -> None:
    lanes = draw.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    together = train([KINDS[kind](lane) for lane in lanes], lanes, "cpu")
    lane = draw.draw(st.sampled_from(lanes))
    (alone,) = train([KINDS[kind](lane)], [lane], "cpu")
    assert same(together[lanes.index(lane)], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_say_their_stage(kind: str) -> None:
    one = KINDS[kind](0)
    (outcome,) = train([one], [0], "cpu")
    assert outcome.status == "finished"
    assert len({*outcome.steps}) == len(outcome.steps)
    if one.stages:
        ends = [sum(leg.updates for leg in one.legs[:n]) for n in range(1, len(one.legs) + 1)]
        expected = [
            float(next(n for n, end in enumerate(ends) if step <= end)) for step in outcome.steps
        ]
        assert outcome.metrics["stage"] == expected
    if one.stop is None:
        assert one.records == len(outcome.steps)
        assert outcome.steps[-1] == one.updates


def test_what_diverges_in_one_stage_harms_no_other() -> None:
    wild = greedy(10**12)
    calm = train([greedy(0), greedy(1)], [0, 1], "cpu")
    mixed = train([greedy(0), wild, greedy(1)], [0, 9, 1], "cpu")
    assert [one.status for one in mixed] == ["finished", "diverged", "finished"]
    assert same(mixed[0], calm[0])
    assert same(mixed[2], calm[1])


def test_a_stages_last_update_may_lose_a_trial() -> None:
    """Which the next stage would not notice, as it has no use for what was lost."""

    def one(rate: float) -> Training:
        return Training(
            Stack, Optimizer("sgd", lr=rate), DIGITS, batch_size=32, stages=(
                Stage(steps=1, objective=FIRST, trains="decode.0.*"),
                Stage(steps=4, optimizer=Optimizer("sgd", lr=0.1), trains="head.*"),
            ),
        )  # fmt: skip

    calm = train([one(0.1), one(0.2)], [0, 1], "cpu")
    mixed = train([one(0.1), one(math.inf), one(0.2)], [0, 9, 1], "cpu")
    assert [one.status for one in mixed] == ["finished", "diverged", "finished"]
    assert mixed[1].steps == [0, 1]
    assert same(mixed[0], calm[0])
    assert same(mixed[2], calm[1])


def test_the_memory_of_a_stage_is_free_when_the_next_begins() -> None:
    pack = PackInFlight([transfer(0), transfer(1)], [0, 1], "cpu")
    assert pack._run(None)
    before = weakref.ref(pack.sides[0])
    gc.collect()
    gc.disable()
    try:
        pack._enter(1, pack._handed())
        assert before() is None
    finally:
        gc.enable()


def test_what_cannot_fuse_has_stages_all_the_same() -> None:
    one = Training(
        Opaque, Optimizer("sgd", lr=0.1), DIGITS, batch_size=32,
        stages=(Stage(epochs=1, trains="head.*"), Stage(epochs=1, reset="head.*")),
    )  # fmt: skip
    assert one.why_alone()
    net = made(Opaque, 2)
    for stage in range(2):
        if stage:
            net.head.load_state_dict(made(Opaque, 2, 1).head.state_dict())
        peer = torch.optim.SGD((net if stage else net.head).parameters(), lr=0.1)
        for x, y in batches(2, DIGITS, 32, stage, 1):
            net.zero_grad()
            F.cross_entropy(net(x), y).backward()
            peer.step()
    pack = PackInFlight([one], [2], "cpu")
    pack.run()
    check(pack, net)


def test_a_stage_begins_with_copies_of_what_another_left() -> None:
    """Decoders with their encoders' weights, transposed; each encoder with the other's bias."""
    one = Training(
        partial(Stack, (64, 8, 8)), Optimizer("sgd", lr=0.1), DIGITS, batch_size=32, stages=(
            Stage(epochs=1, objective=FIRST),
            Stage(
                epochs=1, reset="encode.1.bias", copy={
                    "decode.0.weight": "encode.0.weight.T", "encode.0.bias": "encode.1.bias",
                    "encode.1.bias": "encode.0.bias", "decode.1": "encode.1",
                },
            ),
        ),
    )  # fmt: skip
    pack = PackInFlight([one, one], [3, 4], "cpu")
    assert pack._run(None)
    left = {name: w.clone() for name, w in pack._handed().items()}
    pack._enter(1, pack._handed())
    begun = pack._handed()
    assert torch.equal(begun["decode.0.weight"], left["encode.0.weight"].mT)
    assert torch.equal(begun["encode.0.bias"], left["encode.1.bias"])
    assert torch.equal(begun["encode.1.bias"], left["encode.0.bias"])
    assert torch.equal(begun["decode.1.weight"], left["encode.1.weight"])
    assert torch.equal(begun["decode.1.bias"], left["encode.1.bias"])
    assert torch.equal(begun["encode.0.weight"], left["encode.0.weight"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reset": "haed.*"}, r"Stage.reset is 'haed\.\*'; allowed: one of encode\.0\.weight"),
        ({"copy": {"haed": "head"}}, "Stage.copy has 'haed'; allowed: one of encode"),
        ({"copy": {"head": "encode.1"}}, r"'encode\.1', which for head\.weight is \(8, 12\)"),
        ({"copy": {"head.bias": "head.bias.T"}}, r"for head\.bias is None; allowed: \(10,\)"),
        ({"copy": {"head.bias": "tail"}}, r"for head\.bias is None"),
    ],
)
def test_a_later_stages_mistakes_are_known_at_the_beginning(given, words) -> None:
    stages = (Stage(epochs=1, objective=FIRST), Stage(epochs=1, **given))
    one = Training(Stack, Optimizer("sgd"), DIGITS, batch_size=32, stages=stages)
    with pytest.raises(ValueError, match=words):
        PackInFlight([one], [0], "cpu")


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epochs": 2, "stages": (Stage(epochs=1),)}, "allowed: those of each stage"),
        ({"stages": (Stage(epochs=1, onward=True),)}, "allowed: what follows another"),
        ({"stages": (Stage(epochs=1, copy={"g": "d"}),)}, "allowed: what follows another"),
        ({"stages": (Stage(epochs=1), Stage())}, "allowed: one of them"),
        (
            {"stages": (Stage(epochs=1, trains="a.*"), Stage(epochs=1, trains="*", onward=True))},
            "allowed: the same parameters",
        ),
        ({"epochs": 1, "objective": CrossEntropy(), "players": (Player("a", Loss(tell), "*"),)},
         "no objective beside them"),
        ({"epochs": 1, "players": (Player("a", Loss(tell), "*"),) * 2}, "each name once"),
    ],
)  # fmt: skip
def test_mistakes_in_stages_and_players(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        Training(Gan, Optimizer("sgd"), DIGITS, batch_size=32, **given)


def test_nothing_is_moved_by_nobody_or_by_two() -> None:
    one = Training(
        partial(MLP, (64, 10)), Optimizer("sgd"), DIGITS, epochs=1, batch_size=32, trains="tail.*"
    )
    with pytest.raises(ValueError, match=r"trains is 'tail\.\*', and moves none of layers"):
        train([one], [0], "cpu")
    two = Training(
        Gan, Optimizer("sgd"), DIGITS, epochs=1, batch_size=32,
        players=(Player("a", Loss(tell), "d.*"), Player("b", Loss(fool), "*")),
    )  # fmt: skip
    with pytest.raises(ValueError, match="would be moved by two players"):
        train([two], [0], "cpu")
