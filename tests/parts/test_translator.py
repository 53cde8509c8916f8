"""Encoders, decoders and attention: by their definitions, beside a plain loop, and in packs."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Optimizer, Training
from harness.engine.pack import PackInFlight, train
from harness.parts.data import load
from harness.parts.draws import keyed_by, trained
from harness.parts.models import ATTENTIONS, Translator, scheduled_sampling
from tests.engine.test_fusing import same
from tests.engine.test_stages import batches, check, key, made

pytestmark = pytest.mark.usefixtures("one_thread")
DATA = Data("reverse", train=64, length=4)


def built(attention: str, backwards: bool = False) -> tuple[Translator, Tensor, Tensor]:
    torch.manual_seed(0)
    x, y = torch.randint(8, (6, 5)), torch.randint(8, (6, 7))
    return Translator(8, 12, attention, backwards), x, y


def gated(inputs: int, layer: nn.Module) -> nn.GRU:
    """torch's own, with a layer's numbers."""
    gru = nn.GRU(inputs, 12, batch_first=True)
    gru.load_state_dict({
        "weight_ih_l0": layer.enter.weight, "bias_ih_l0": layer.enter.bias,
        "weight_hh_l0": layer.again.weight, "bias_hh_l0": layer.again.bias,
    })  # fmt: skip
    return gru


@pytest.mark.parametrize("backwards", [False, True])
def test_without_attention_it_is_two_gated_networks_of_torchs(backwards: bool) -> None:
    net, x, y = built("none", backwards)
    read = x.flip(1) if backwards else x
    _, last = gated(12, net.reader)(net.source(read))
    before = torch.cat([torch.full((6, 1), 8), y[:, :-1]], 1)
    out, _ = gated(12, net.writer)(net.target(before), last)
    torch.testing.assert_close(net(x, y), net.say(out))


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_attention_by_its_definition(attention: str) -> None:
    net, x, y = built(attention)
    states, last = gated(12, net.reader)(net.source(x))
    gru, given, told = gated(24, net.writer), torch.full((6,), 8), net(x, y)
    h = last[0]
    for step in range(7):
        seen = []
        for one in range(6):
            if attention == "dot":
                scores = torch.stack([state @ h[one] for state in states[one]])
            else:
                scores = torch.stack([
                    net.score @ torch.tanh(net.query(h[one]) + net.key.weight @ state)
                    for state in states[one]
                ])  # fmt: skip
            weights = scores.exp() / scores.exp().sum()
            seen.append(sum(w * state for w, state in zip(weights, states[one], strict=True)))
        looked = torch.stack(seen)
        given = torch.cat([net.target(given), looked], 1)
        h = gru(given.unsqueeze(1), h.unsqueeze(0))[1][0]
        torch.testing.assert_close(told[:, step], net.say(torch.cat([h, looked], 1)))
        given = y[:, step]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_what_is_given_is_the_target_or_what_was_said(attention: str) -> None:
    net, x, y = built(attention)
    alone = net(x)
    said = alone.argmax(2)
    torch.testing.assert_close(net(x, said), alone)  # given what it says, it says it
    torch.testing.assert_close(net(x, y[:, :5], 1.0), alone)
    other = y.clone()
    other[:, 3] = (other[:, 3] + 1) % 8
    differs = (net(x, y) != net(x, other)).any(2)
    assert not differs[:, :4].any()
    assert differs[:, 4:].all()


def test_the_share_that_is_given_what_was_said() -> None:
    net = Translator(8, 12, "none")
    x, y = torch.randint(8, (4000, 1)), torch.randint(8, (4000, 2))
    alike = net(x, y).argmax(2)[:, 0] == y[:, 0]  # of these nobody can tell
    forced, free = net(x, y)[:, 1], net(x, torch.cat([net(x).argmax(2), y[:, 1:]], 1))[:, 1]
    with keyed_by(torch.tensor(3)):
        mixed = net(x, y, 0.3)[:, 1]
    as_free = torch.isclose(mixed, free, atol=1e-6).all(1)[~alike]
    as_forced = torch.isclose(mixed, forced, atol=1e-6).all(1)[~alike]
    assert (as_free ^ as_forced).all()
    assert float(as_free.float().mean()) == pytest.approx(0.3, abs=0.03)  # four standard errors


def test_an_unknown_attention_is_refused() -> None:
    with pytest.raises(ValueError, match="attention is 'soft'; allowed: none, dot, additive"):
        Translator(8, 12, "soft")


# --- trained -------------------------------------------------------------------------------------


def training(attention: str, lane: int) -> Training:
    return Training(
        partial(Translator, 8, 16, attention), Optimizer("adam", lr=0.01 * (1 + lane)),
        DATA, scheduled_sampling(0.1 * lane, 0.9), epochs=2, batch_size=16,
    )  # fmt: skip


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_scheduled_sampling_is_a_plain_loop(attention: str) -> None:
    net = made(partial(Translator, 8, 16, attention), 3)
    peer = torch.optim.Adam(net.parameters(), lr=0.02)
    for turn, (x, y) in enumerate(batches(3, DATA, 16, 0, 2)):
        peer.zero_grad()
        with keyed_by(key(3, turn)), trained(torch.tensor(turn / 8)):
            said = net(x, y, 0.1 + 0.8 * turn / 8)
        F.cross_entropy(said.mT, y).backward()
        peer.step()
    pack = PackInFlight([training(attention, 1), training(attention, 2)], [3, 4], "cpu")
    pack.run()
    check(pack, net)
    x, y = load(DATA).valid
    found = pack.rows.outcomes()[0].metrics
    with torch.no_grad():
        hits = net(x).argmax(2) == y
        loss = F.cross_entropy(net(x, y).mT, y).item()
    assert found["valid_loss"][-1] == pytest.approx(loss, rel=1e-3)
    assert found["valid_accuracy"][-1] == pytest.approx(hits.float().mean().item(), abs=2e-3)
    whole = hits.all(1).float().mean().item()
    assert found["valid_whole_accuracy"][-1] == pytest.approx(whole, abs=2e-3)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_rates_of_sampling_fuse_and_are_bitwise_the_same_in_any_pack(attention: str) -> None:
    assert training(attention, 0).why_alone() == ""
    assert training(attention, 0).signature() == training(attention, 3).signature()
    together = train([training(attention, lane) for lane in range(4)], [5, 6, 7, 8], "cpu")
    assert same(together[2], train([training(attention, 2)], [7], "cpu")[0])


def test_it_learns_to_look_at_the_symbol_that_it_is_to_say() -> None:
    one = Training(
        partial(Translator, 8, 32, "dot"), Optimizer("adam", lr=0.01), Data("echo", 1000, length=3),
        scheduled_sampling(), steps=150, batch_size=32, every=150,
    )  # fmt: skip
    (outcome,) = train([one], [0], "cpu")
    assert outcome.metrics["test_accuracy"][-1] > 0.9
