"""Ensembles: each member trains as it would alone, and scores are the vote's."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import harness
from harness import Data, Loss, Members, Optimizer, Training
from harness.engine.flight import Flight, Landed
from harness.engine.members import Members as Voting
from harness.engine.pack import PackInFlight, train, train_pack
from harness.parts import keyed
from harness.parts.data import load
from harness.parts.models import MLP
from harness.parts.objectives import CrossEntropy, SquaredError
from tests.engine.test_fusing import same

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)


def ensemble(lane: int, vote: str = "mean", bag: bool = False) -> Training:
    return Training(
        partial(MLP, (64, 12, 10)), Optimizer("adam", lr=3e-3 * (1 + lane)), DIGITS, epochs=3,
        batch_size=32, members=Members(3, vote, bag),
    )  # fmt: skip


def test_votes_by_hand() -> None:
    # two members say the first class barely, one the second with certainty; then two against two
    p = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]], [[0.1, 0.9]]])
    target = torch.tensor([1])
    own = {"accuracy": torch.tensor([0.0, 0.0, 1.0])}
    mean = Voting(3).scores(CrossEntropy(), p.log(), [target], own)
    most = Voting(3, "majority").scores(CrossEntropy(), p.log(), [target], own)
    assert mean["accuracy"].tolist() == [1.0] * 3  # 0.43 against 0.57
    assert most["accuracy"].tolist() == [0.0] * 3
    assert mean["loss"][0].item() == pytest.approx(-torch.tensor(1.7 / 3).log().item())
    assert mean["disagreement"][0].item() == pytest.approx(2 / 3)
    assert mean["member_accuracy"][0].item() == pytest.approx(1 / 3)
    tied = torch.tensor([[[0.6, 0.4]], [[0.1, 0.9]]]).log()
    own = {"accuracy": torch.tensor([0.0, 1.0])}
    assert Voting(2, "majority").scores(CrossEntropy(), tied, [target], own)["accuracy"][0] == 1
    numbers = torch.tensor([[[1.0]], [[4.0]]])
    found = Voting(2).scores(SquaredError(), numbers, [torch.tensor([2.0])], {})
    assert found["loss"].tolist() == [0.25, 0.25]


def test_members_train_as_they_would_alone() -> None:
    one = ensemble(0)
    (outcome,) = train([one], [4], "cpu")
    alone = [
        train([Training(one.model, one.optimizer, DIGITS, epochs=3, batch_size=32)], [seed], "cpu")[
            0
        ]
        for seed in Members(3).seeds(4)
    ]
    expected = sum(other.metrics["valid_accuracy"][-1] for other in alone) / 3
    assert outcome.metrics["valid_member_accuracy"][-1] == pytest.approx(expected, rel=1e-6)
    assert outcome.metrics["train_loss"] == pytest.approx(
        [sum(row) / 3 for row in zip(*(o.metrics["train_loss"] for o in alone), strict=True)]
    )


def test_the_vote_is_that_of_plain_networks() -> None:
    pack = PackInFlight([ensemble(0)] * 3, Members(3).seeds(2), "cpu")
    pack.run()
    x, y = load(DIGITS).valid
    nets = []
    for lane in range(3):
        net = MLP((64, 12, 10))
        net.load_state_dict({name: w[lane] for name, w in pack.trained.items()})
        nets.append(net(x).softmax(1))
    mean = torch.stack(nets).mean(0)
    found = pack.rows.outcomes()[1].metrics
    assert found["valid_accuracy"][-1] == pytest.approx((mean.argmax(1) == y).float().mean().item())
    loss = -mean[torch.arange(len(y)), y].log().mean().item()
    assert found["valid_loss"][-1] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("bag", [False, True])
@settings(max_examples=4, deadline=None)
@given(draw=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(bag: bool, draw: st.DataObject) -> None:
    lanes = draw.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True))
    together = train([ensemble(lane, "majority", bag) for lane in lanes], lanes, "cpu")
    lane = draw.draw(st.sampled_from(lanes))
    (alone,) = train([ensemble(lane, "majority", bag)], [lane], "cpu")
    assert same(together[lanes.index(lane)], alone)


def test_bags_are_bootstrap_samples() -> None:
    pack = PackInFlight([ensemble(0, bag=True)] * 3, Members(3).seeds(0), "cpu")
    bags = pack.batches.subset
    assert bags.shape == (3, 160)
    for bag in bags:
        assert 0.55 < len(bag.unique()) / 160 < 0.72  # 1 - 1/e = 0.632
    assert not torch.equal(bags[0], bags[1])
    drawn = keyed.places(keyed.keys([1], "bag"), 100_000, 7)
    assert drawn[0].bincount().float().div(100_000).sub(1 / 7).abs().max() < 0.005


def test_a_trial_ends_with_the_first_of_its_members() -> None:
    wild = Training(
        partial(MLP, (64, 12, 10)), Optimizer("sgd", lr=1e12), DIGITS, epochs=3, batch_size=32,
        members=Members(3),
    )  # fmt: skip
    calm = Training(
        partial(MLP, (64, 12, 10)), Optimizer("sgd", lr=0.1), DIGITS, epochs=3, batch_size=32,
        members=Members(3),
    )  # fmt: skip
    mixed = train([calm, wild], [0, 1], "cpu")
    assert [one.status for one in mixed] == ["finished", "diverged"]
    assert same(mixed[0], train([calm], [0], "cpu")[0])


def test_it_goes_on_bitwise(tmp_path: Path) -> None:
    trainings = [ensemble(lane, bag=True) for lane in range(3)]
    expected = train(trainings, [0, 1, 2], "cpu")
    looks = itertools.count()
    flight = Flight(tmp_path, "pack", ("a", "b", "c"), "cpu", over=lambda: next(looks) == 7)
    with pytest.raises(Landed):
        train_pack(trainings, [0, 1, 2], "cpu", flight)
    flight = Flight(tmp_path, "part", ("c", "a"), "cpu", source=flight.path)
    found = train_pack([trainings[2], trainings[0]], [2, 0], "cpu", flight)
    assert same(found[0], expected[2])
    assert same(found[1], expected[0])


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="allowed: at least 2"):
        Members(1)
    with pytest.raises(ValueError, match="allowed: mean, majority"):
        Members(2, "median")
    with pytest.raises(ValueError, match="no objective that scores outputs"):
        Training(
            partial(MLP, (64, 10)), Optimizer("sgd"), DIGITS, Loss(lambda net, x, y: net(x).sum()),
            epochs=1, batch_size=32, members=harness.Members(2),
        )  # fmt: skip
