"""Attacks, and losses that contain a gradient: beside plain loops, and fused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Loss, Optimizer, Training
from harness.engine.pack import PackInFlight, train
from harness.parts.attacks import Robust, adversarial, moved
from harness.parts.data import load
from harness.parts.draws import keyed_by
from harness.parts.models import MLP
from tests.engine.test_fusing import same
from tests.engine.test_stages import batches, check, made

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)
MODEL = partial(MLP, (64, 12, 10))


def test_a_linear_loss_by_hand() -> None:
    x, slope = torch.tensor([[0.5, 0.05, 0.5, 0.98]]), torch.tensor([1.0, -2.0, 0.0, 3.0])
    found = moved(lambda x: (x * slope).sum(), x, 0.1)
    assert found.tolist()[0] == pytest.approx([0.6, 0.0, 0.5, 1.0])
    far = moved(lambda x: (x * slope).sum(), x, 0.1, steps=20)
    assert far[0, [0, 1, 3]].tolist() == pytest.approx([0.6, 0.0, 1.0])
    with keyed_by(torch.tensor(5)):
        control = moved(lambda x: x.sum(), torch.full((1, 1000), 0.5), 0.1, steps=0)
    assert {round(v, 4) for v in control.unique().tolist()} == {0.4, 0.6}
    assert abs(float(control.mean()) - 0.5) < 0.01


def fgsm(net: nn.Module, x: Tensor, y: Tensor, size: float) -> Tensor:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(net(x), y), x)
    return (x.detach() + size * slope.sign()).clamp(0, 1)


def training(lane: int) -> Training:
    return Training(
        MODEL, Optimizer("sgd", lr=0.2 * (1 + lane)), DIGITS, adversarial(0.05), epochs=3,
        batch_size=32, probes=(
            Robust("fgsm_test_accuracy", 0.05), Robust("pgd_test_accuracy", 0.05, 5),
            Robust("noise_test_accuracy", 0.05, 0),
        ),
    )  # fmt: skip


def test_adversarial_training_is_a_plain_loop() -> None:
    net = made(MODEL, 3)
    peer = torch.optim.SGD(net.parameters(), lr=0.2)
    for x, y in batches(3, DIGITS, 32, 0, 3):
        near = fgsm(net, x, y, 0.05)
        net.zero_grad()
        F.cross_entropy(net(near), y).backward()
        peer.step()
    pack = PackInFlight([training(0), training(1)], [3, 4], "cpu")
    pack.run()
    check(pack, net)
    x, y = load(DIGITS).test
    hits = (net(fgsm(net, x, y, 0.05)).argmax(1) == y).float().mean().item()
    found = pack.rows.outcomes()[0].metrics
    assert found["fgsm_test_accuracy"][-1] == pytest.approx(hits, abs=0.006)
    assert found["pgd_test_accuracy"][-1] <= found["noise_test_accuracy"][-1]


def test_attacks_are_bitwise_the_same_in_any_pack() -> None:
    assert training(0).why_alone() == ""
    together = train([training(lane) for lane in range(4)], [5, 6, 7, 8], "cpu")
    assert same(together[2], train([training(2)], [7], "cpu")[0])


def penalised(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy, and the squared gradient of the outputs by the inputs (as R1)."""
    slope = torch.func.grad(lambda x: net(x).logsumexp(1).sum())(x)
    return F.cross_entropy(net(x), y) + 0.5 * slope.square().flatten(1).sum(1).mean()


def test_a_gradient_penalty_is_a_plain_loop() -> None:
    def smooth() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 12), nn.Softplus(), nn.Linear(12, 10))

    def one(lane: int) -> Training:
        return Training(
            smooth, Optimizer("sgd", lr=0.1 * (1 + lane)), DIGITS, Loss(penalised), epochs=2,
            batch_size=32,
        )  # fmt: skip

    net = made(smooth, 3)
    peer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in batches(3, DIGITS, 32, 0, 2):
        x = x.clone().requires_grad_()
        net.zero_grad()
        said = net(x)
        (slope,) = torch.autograd.grad(said.logsumexp(1).sum(), x, create_graph=True)
        (F.cross_entropy(said, y) + 0.5 * slope.square().sum(1).mean()).backward()
        peer.step()
    assert one(0).why_alone() == ""
    pack = PackInFlight([one(0), one(1)], [3, 4], "cpu")
    pack.run()
    check(pack, net)


def test_an_attack_says_what_split_it_reads() -> None:
    with pytest.raises(ValueError, match="allowed: with the word test"):
        Robust("fgsm_accuracy", 0.1)
