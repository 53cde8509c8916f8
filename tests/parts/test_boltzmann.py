"""Restricted Boltzmann machines by their definitions, and trained in packs."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Loss, Optimizer, Stage, Training
from harness.engine.pack import PackInFlight, train
from harness.parts.draws import keyed_by, uniform
from harness.parts.models import RBM, divergence, states
from tests.engine.test_fusing import same
from tests.engine.test_stages import batches, check, key, made

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)


def machine(visible: int = 4, hidden: int = 3) -> RBM:
    torch.manual_seed(0)
    rbm = RBM(visible, hidden, std=1.0)
    with torch.no_grad():
        rbm.b.normal_()
        rbm.c.normal_()
    return rbm


def test_states_are_all_combinations() -> None:
    assert states(4).tolist() == [list(one) for one in itertools.product((0.0, 1.0), repeat=4)]


@pytest.mark.parametrize(("visible", "hidden"), [(4, 3), (3, 4)])
def test_the_partition_function_is_a_sum_over_all_states(visible: int, hidden: int) -> None:
    rbm = machine(visible, hidden)
    v, h = states(visible), states(hidden)
    energy = -(v @ rbm.b)[:, None] - (h @ rbm.c)[None] - v @ rbm.weight.t() @ h.t()
    torch.testing.assert_close(rbm.log_partition(), (-energy).flatten().logsumexp(0))


def test_free_energies_and_expectations_are_sums_over_all_states() -> None:
    rbm = machine()
    v, h = states(4), states(3)
    energy = -(v @ rbm.b)[:, None] - (h @ rbm.c)[None] - v @ rbm.weight.t() @ h.t()  # (16, 8)
    torch.testing.assert_close(rbm.free(v), -(-energy).logsumexp(1))
    torch.testing.assert_close(rbm(v), (-energy).softmax(1) @ h)
    torch.testing.assert_close(rbm.down(h), (-energy).softmax(0).t() @ v)


@pytest.mark.parametrize("steps", [1, 3])
def test_its_gradient_is_that_of_contrastive_divergence(steps: int) -> None:
    rbm, v = machine(), (torch.rand(20, 4) > 0.5).float()
    with keyed_by(torch.tensor(7)):
        divergence(rbm, v, steps).backward()
    with torch.no_grad(), keyed_by(torch.tensor(7)):
        seen = v
        for step in range(steps):
            seen = rbm.down((uniform(20, 3) < rbm(seen)).float())
            seen = seen if step + 1 == steps else (uniform(20, 4) < seen).float()
    first, last = rbm(v), rbm(seen)
    torch.testing.assert_close(rbm.weight.grad, (last.t() @ seen - first.t() @ v) / 20)
    torch.testing.assert_close(rbm.b.grad, (seen - v).mean(0))
    torch.testing.assert_close(rbm.c.grad, (last - first).mean(0))


class Belief(nn.Module):
    """Two machines on each other, and a network that begins as they end."""

    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = RBM(64, 24), RBM(24, 16)
        self.layers = nn.ModuleList([nn.Linear(64, 24), nn.Linear(24, 16)])
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = layer(x).sigmoid()
        return self.head(x)


def below(net: Belief, x: Tensor, _: Tensor) -> Tensor:
    return divergence(net.below, x.flatten(1))


def above(net: Belief, x: Tensor, _: Tensor) -> Tensor:
    return divergence(net.above, net.below(x.flatten(1)).detach())


COPIES = {
    "layers.0.weight": "below.weight", "layers.0.bias": "below.c",
    "layers.1.weight": "above.weight", "layers.1.bias": "above.c",
}  # fmt: skip


def stacked(lane: int) -> Training:
    return Training(
        Belief, Optimizer("sgd", lr=0.1 * (1 + lane)), DIGITS, batch_size=32, stages=(
            Stage(epochs=2, objective=Loss(below), trains="below.*"),
            Stage(epochs=2, objective=Loss(above), trains="above.*"),
            Stage(epochs=2, trains=("layers.*", "head.*"), copy=COPIES),
        ),
    )  # fmt: skip


def test_a_stack_of_machines_is_a_plain_loop() -> None:
    net, turn = made(Belief, 3), 0
    for stage, (loss, part) in enumerate([(below, net.below), (above, net.above), (None, net)]):
        if stage == 2:
            with torch.no_grad():
                for into, source in COPIES.items():
                    net.get_parameter(into).copy_(net.get_parameter(source))
        peer = torch.optim.SGD(part.parameters(), lr=0.1)
        for x, y in batches(3, DIGITS, 32, stage, 2):
            peer.zero_grad()
            with keyed_by(key(3, turn)):
                value = loss(net, x, y) if loss else F.cross_entropy(net(x), y)
            value.backward()
            peer.step()
            turn += 1
    pack = PackInFlight([stacked(0), stacked(1)], [3, 4], "cpu")
    pack.run()
    check(pack, net)


def test_machines_fuse_and_are_bitwise_the_same_in_any_pack() -> None:
    assert stacked(0).why_alone() == ""
    together = train([stacked(lane) for lane in range(4)], [5, 6, 7, 8], "cpu")
    assert same(together[2], train([stacked(2)], [7], "cpu")[0])


def test_a_machine_learns_what_is_likely() -> None:
    """Of four of sixteen patterns, all its probability falls on those."""
    seen = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
    data = Data.of(
        (seen.repeat(50, 1), torch.zeros(200).long()), name="pairs", duplicates="allow"
    )  # fmt: skip

    def learn(rbm: RBM, x: Tensor, _: Tensor) -> Tensor:
        return divergence(rbm, x, steps=5)

    one = Training(
        partial(RBM, 4, 6, 0.1), Optimizer("sgd", lr=0.3), data, Loss(learn), epochs=150,
        batch_size=40,
    )  # fmt: skip
    pack = PackInFlight([one, one], [0, 1], "cpu")
    pack.run()
    rbm = RBM(4, 6)
    rbm.load_state_dict({name: w[0] for name, w in pack._handed().items()})
    chance = (-rbm.free(states(4))).softmax(0).detach()
    likely = sum(float(chance[int("".join(str(int(b)) for b in one), 2)]) for one in seen)
    assert likely > 0.9
