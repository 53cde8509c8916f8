"""Labelled and unlabelled batches side by side: beside a plain PyTorch loop, and in any pack."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Beside, Data, Loss, Members, Optimizer, Player, Stage, Training, train
from harness.engine.pack import PackInFlight
from harness.engine.sizing import held, seconds
from harness.parts import keyed
from harness.parts.data import load
from harness.parts.draws import keyed_by, normal, progress, trained
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy
from tests.engine.test_fusing import Opaque, same
from tests.engine.test_stages import batches, check, key, made, ran

pytestmark = pytest.mark.usefixtures("one_thread")
FEW, POOL = Data("digits", train=96), Data("digits", train=300)
MODEL = partial(MLP, (64, 16, 10))


def pseudo(net: nn.Module, x: Tensor, y: Tensor, u: Tensor, _: Tensor, most: Tensor) -> Tensor:
    """Its own most likely classes, with a weight that ramps (Lee 2013)."""
    weight = most * ((progress() - 0.1) / 0.5).clamp(0, 1)
    said = net(u)
    return F.cross_entropy(net(x), y) + weight * F.cross_entropy(said, said.argmax(1))


def consistent(net: nn.Module, x: Tensor, y: Tensor, u: Tensor, _: Tensor, most: Tensor) -> Tensor:
    """Two noisy copies are to be said alike (Laine & Aila 2017)."""
    one, two = (net(u.flatten(1) + 0.1 * normal(len(u), 64)).softmax(1) for _ in range(2))
    return F.cross_entropy(net(x), y) + most * progress() * (one - two).square().mean()


def semi(loss, lane: int) -> Training:
    return Training(
        MODEL, Optimizer("momentum", lr=0.05 * (1 + lane)), FEW,
        Loss(loss, CrossEntropy(), {"most": 0.5 * lane + 0.5}), epochs=4, batch_size=16,
        beside=Beside(POOL, 48),
    )  # fmt: skip


def staged(lane: int) -> Training:
    """First of the labels alone, then beside two pools of random examples, of which one is left."""
    supervised = Loss(lambda net, x, y: F.cross_entropy(net(x), y), CrossEntropy())
    return Training(
        MODEL, Optimizer("adam", lr=3e-3 * (1 + lane)), Data("digits", train=96, draw=lane),
        batch_size=16, stages=(
            Stage(epochs=1, objective=supervised),
            Stage(epochs=2, objective=weighed(lane), beside=Beside(Data("digits", 300, lane), 64)),
            Stage(steps=5, objective=weighed(9), beside=Beside(POOL, 8), batch_size=32, every=2),
        ),
    )  # fmt: skip


def weighed(lane: int) -> Loss:
    return Loss(pseudo, CrossEntropy(), {"most": 0.25 * lane})


def ramped(net: nn.Module, x: Tensor, y: Tensor, u: Tensor, _: Tensor, most: Tensor) -> Tensor:
    return most * progress() * net.d(u.flatten(1)).square().mean() - net.g(x.flatten(1)).mean()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.g, self.d = nn.Linear(64, 16), nn.Linear(64, 16)


def played(lane: int) -> Training:
    """Both losses have a number of the same name."""
    sides = [Loss(ramped, lambda net, x, y: {"loss": net.g(x.flatten(1)).mean()}, {"most": m})
             for m in (1.0 + lane, 20.0)]  # fmt: skip
    return Training(
        Two, Optimizer("sgd", lr=0.01), FEW, epochs=2, batch_size=16, beside=Beside(POOL, 20),
        players=(Player("one", sides[0], "d.weight", updates=2), Player("two", sides[1], "d.bias")),
    )  # fmt: skip


KINDS = {
    "pseudo": partial(semi, pseudo), "consistent": partial(semi, consistent), "staged": staged,
    "played": played,
}  # fmt: skip


# --- beside a plain loop -------------------------------------------------------------------------


def pool(seed: int, data: Data, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    x, y = load(data).train
    for epoch in itertools.count():
        order = keyed.permutation(keyed.mix(keyed.keys([seed], "beside"), epoch), len(x))[0]
        for rows in order[: len(order) // size * size].split(size):
            yield x[rows], y[rows]


@pytest.mark.parametrize("loss", [pseudo, consistent])
def test_batches_side_by_side_are_a_plain_loop(loss) -> None:
    net, total = made(MODEL, 3), 4 * 6
    peer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    both = zip(batches(3, FEW, 16, 0, 4), pool(3, POOL, 48), strict=False)
    told = []
    for turn, (labelled, unlabelled) in enumerate(both):
        peer.zero_grad()
        with keyed_by(key(3, turn)), trained(torch.tensor(turn / total)):
            value = loss(net, *labelled, *unlabelled, most=torch.tensor(0.5))
        value.backward()
        peer.step()
        told.append(value.item())
    assert len(told) == total
    pack = ran(partial(semi, loss), 3)
    check(pack, net)
    outcome = pack.rows.outcomes()[0]
    assert outcome.metrics["train_loss"][2] == pytest.approx(sum(told[6:12]) / 6, rel=1e-4)
    x, y = load(FEW).valid
    hits = (net(x).argmax(1) == y).float().mean().item()
    assert outcome.metrics["valid_accuracy"][-1] == pytest.approx(hits, abs=0.006)


def test_players_with_numbers_of_one_name_are_a_plain_loop() -> None:
    net, total = made(Two, 3), 2 * 6 * 3
    both = zip(batches(3, FEW, 16, 0, 9), pool(3, POOL, 20), strict=False)
    for turn, (labelled, unlabelled) in itertools.islice(enumerate(both), total):
        first = turn % 3 < 2
        moved = net.d.weight if first else net.d.bias
        most = torch.tensor(1.0 if first else 20.0)
        with trained(torch.tensor(turn / total)):
            loss = ramped(net, *labelled, *unlabelled, most=most)
        (slope,) = torch.autograd.grad(loss, [moved])
        with torch.no_grad():
            moved -= 0.01 * slope
    check(ran(played, 3), net)


# --- in packs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_losses_and_pools_fuse(kind: str) -> None:
    one, other = KINDS[kind](0), KINDS[kind](3)
    assert one.why_alone() == ""
    assert one.signature() == other.signature()
    base, each = seconds(one)
    assert min(base, each, held(one)) > 0


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, deadline=None)
@given(draw=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(kind: str, draw: st.DataObject) -> None:
    lanes = draw.draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    together = train([KINDS[kind](lane) for lane in lanes], lanes, "cpu")
    lane = draw.draw(st.sampled_from(lanes))
    (alone,) = train([KINDS[kind](lane)], [lane], "cpu")
    assert same(together[lanes.index(lane)], alone)


def test_what_cannot_fuse_reads_both_and_is_told_how_far_it_has_come() -> None:
    one = Training(
        Opaque, Optimizer("sgd", lr=0.1), FEW, Loss(pseudo, CrossEntropy(), {"most": 2.0}), epochs=2,
        batch_size=16, beside=Beside(POOL, 32),
    )  # fmt: skip
    assert one.why_alone()
    net = made(Opaque, 2)
    peer = torch.optim.SGD(net.parameters(), lr=0.1)
    both = zip(batches(2, FEW, 16, 0, 2), pool(2, POOL, 32), strict=False)
    for turn, (labelled, unlabelled) in enumerate(both):
        peer.zero_grad()
        with trained(torch.tensor(turn / 12)):
            pseudo(net, *labelled, *unlabelled, most=torch.tensor(2.0)).backward()
        peer.step()
    pack = PackInFlight([one], [2], "cpu")
    pack.run()
    check(pack, net)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"Training has data beside and the objective None; allowed: Loss\(fn, scores\)"),
        ({"objective": Loss(pseudo)}, r"allowed: Loss\(fn, scores\)"),
        ({"objective": weighed(1), "members": Members(2)}, "allowed: CrossEntropy"),
    ],
)
def test_mistakes_in_what_is_beside(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        Training(
            MODEL, Optimizer("sgd"), FEW, epochs=1, batch_size=16, beside=Beside(POOL, 16), **given
        )


def test_a_batch_beside_has_examples_and_numbers_have_names() -> None:
    with pytest.raises(ValueError, match="batch_size=0; allowed: Data, and at least 1"):
        Beside(POOL, 0)
    with pytest.raises(ValueError, match="allowed: numbers by name"):
        Loss(pseudo, None, {"most of": 1.0})
