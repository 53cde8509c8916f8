"""Parts of the regularization study, each against an independent reference, alone and in packs."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import zero_one_loss
from torch import nn

from harness.engine.building import build
from harness.engine.pack import PackInFlight, train
from harness.engine.training import Stop, Training
from harness.parts import keyed
from harness.parts.data import Data, load
from harness.parts.data.augment import Augment, moved, warp
from harness.parts.models import MLP
from harness.parts.optimizers import Optimizer
from harness.parts.probes.generalization import Calibration, Errors, MaskAverage, Weights
from tests.engine.test_fusing import same

pytestmark = pytest.mark.usefixtures("one_thread")


def dropped(rate: float = 0.5) -> nn.Module:
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(rate), nn.Linear(24, 10)
    )


SMALL = partial(MLP, (64, 12, 10))


def make(draw: int | None = 0, model=SMALL, lr: float = 0.05, **changes):
    given = {"data": Data("digits", 90, draw), "steps": 30, "every": 5, "batch_size": 32} | changes
    return Training(model, Optimizer("momentum", lr=lr), **given)


PROBES = (Errors(most=50), Calibration(), Weights())
KINDS = {
    "subset": lambda k: make(draw=k, probes=PROBES),
    "augment": lambda k: make(draw=k, augment=Augment(shift=k / 2, turn=5.0 * k), probes=PROBES),
    "masks": lambda k: make(
        draw=k, model=partial(dropped, 0.1 * k), probes=(*PROBES, MaskAverage(masks=3))
    ),
    "restore": lambda k: make(
        draw=k, lr=0.1 * (k + 1), stop=Stop(patience=k % 3 + 1, restore=True), probes=PROBES
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_rows_are_bitwise_the_same_in_any_pack(kind: str, data) -> None:
    lanes = data.draw(st.lists(st.integers(0, 7), min_size=2, max_size=6, unique=True))
    trainings = [KINDS[kind](lane) for lane in lanes]
    assert len({t.signature() for t in trainings}) == 1
    together = train(trainings, lanes)
    chosen = data.draw(st.integers(0, len(lanes) - 1))
    assert same(together[chosen], train([trainings[chosen]], [lanes[chosen]])[0])


@pytest.mark.parametrize("kind", ["subset", "masks"])
def test_measuring_changes_nothing(kind: str) -> None:
    measured = [KINDS[kind](k) for k in range(3)]
    bare = [dataclasses.replace(training, probes=()) for training in measured]
    for a, b in zip(train(measured, range(3)), train(bare, range(3)), strict=True):
        assert {name: a.metrics[name] for name in b.metrics} == b.metrics


# --- subsets -------------------------------------------------------------------------------------


def batches_of(training: Training, seed: int) -> set[int]:
    pack = PackInFlight([training] * 2, [seed, seed + 1], "cpu")
    return {int(i) for epoch in range(3) for i in pack.batches.of(epoch)[:, 0].flatten()}


def test_a_subset_belongs_to_its_number_and_smaller_ones_lie_in_larger_ones() -> None:
    def used(train: int, draw: int, seed: int = 0) -> set[int]:
        return batches_of(make(data=Data("digits", train, draw), batch_size=train), seed)

    assert len(used(90, 3)) == 90
    assert used(90, 3) == used(90, 3, seed=7)
    assert used(90, 3) != used(90, 4)
    assert used(40, 3) < used(90, 3)
    assert used(1077, 3) == set(range(1077))


def test_a_subset_trains_as_a_plain_loop_over_it() -> None:
    training = make(draw=5)
    outcome = train([training, make(draw=6)], [1, 2])[0]
    torch.manual_seed(keyed.torch_seed(1, "init"))
    model = MLP((64, 12, 10))
    peer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = load(Data("digits")).train
    own = keyed.permutation(keyed.keys([5], "subset"), len(x))[0, :90]
    for step in range(30):
        epoch, place = divmod(step, 2)
        order = keyed.permutation(keyed.mix(keyed.keys([1], "batches"), epoch), 90)[0]
        batch = own[order[place * 32 : place * 32 + 32]]
        peer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        peer.step()
    test_x, test_y = load(training.data).test
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(test_x), test_y).item()
    assert outcome.metrics["test_loss"][-1] == pytest.approx(loss, rel=1e-4)


def test_training_error_is_that_of_the_trial_s_own_examples() -> None:
    pack = PackInFlight([make(draw=k, probes=PROBES) for k in (5, 6)], [1, 2], "cpu")
    rows = [outcome.metrics for outcome in pack.run()]
    for lane, draw in enumerate((5, 6)):
        model = MLP((64, 12, 10))
        model.load_state_dict({n: w[lane] for n, w in pack.trained.items()})
        x, y = load(Data("digits")).train
        own = keyed.permutation(keyed.keys([draw], "subset"), len(x))[0, :50]
        wrong = 100 * zero_one_loss(y[own], model(x[own]).argmax(1))
        assert rows[lane]["train_error"][-1] == pytest.approx(wrong, abs=1e-4)
        test_x, test_y = load(Data("digits")).test
        tested = 100 * zero_one_loss(test_y, model(test_x).argmax(1))
        assert rows[lane]["test_error"][-1] == pytest.approx(tested, abs=1e-4)
        assert rows[lane]["error_gap"][-1] == pytest.approx(tested - wrong, abs=1e-4)
        flat = torch.cat([p.flatten() for p in model.parameters() if p.dim() > 1])
        assert rows[lane]["weight_norm"][-1] == pytest.approx(flat.norm().item(), rel=1e-5)
        small = (flat.abs() < 1e-3).float().mean().item()
        assert rows[lane]["weight_sparsity"][-1] == pytest.approx(small, abs=1e-6)


# --- calibration and masks -----------------------------------------------------------------------


def test_calibration_error_against_a_loop_over_bins() -> None:
    pack = PackInFlight([make(probes=PROBES), make(probes=PROBES, lr=0.3)], [1, 2], "cpu")
    for lane, outcome in enumerate(pack.run()):
        model = MLP((64, 12, 10))
        model.load_state_dict({n: w[lane] for n, w in pack.trained.items()})
        x, y = load(Data("digits")).test
        with torch.no_grad():
            confidence, said = (t.numpy() for t in model(x).softmax(1).max(1))
        error = 0.0
        for number in range(15):
            inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
            if inside.any():
                right = (said[inside] == y.numpy()[inside]).mean()
                error += inside.mean() * abs(confidence[inside].mean() - right)
        assert outcome.metrics["calibration_error"] == pytest.approx(
            [math.nan] * 6 + [100 * error], abs=1e-3, nan_ok=True
        )


def test_averaged_masks_against_torch_s_own_dropout() -> None:
    """Masks differ, so only the error of the average can agree, and only nearly."""
    probes = (MaskAverage(masks=200),)
    trainings = [make(model=dropped, steps=150, every=150, probes=probes)] * 2
    pack = PackInFlight(trainings, [1, 2], "cpu")
    found = pack.run()[0].metrics
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.5),
                          nn.Linear(24, 10)).train()  # fmt: skip
    model.load_state_dict({n: w[0] for n, w in pack.trained.items()})
    x, y = load(Data("digits")).test
    torch.manual_seed(0)
    with torch.no_grad():
        shares = torch.stack([model(x).softmax(1) for _ in range(200)]).mean(0)
    expected = 100 * zero_one_loss(y, shares.argmax(1))
    assert found["averaged_error"][-1] == pytest.approx(expected, abs=1.0)
    scaled = 100 * (1 - found["test_accuracy"][-1])
    gap = abs(scaled - found["averaged_error"][-1])
    assert found["averaging_gap"][-1] == pytest.approx(gap, abs=1e-3)
    one = train([make(model=dropped, probes=(MaskAverage(masks=1),))] * 2, [1, 2])[0].metrics
    assert one["averaging_gap"][-1] > 0  # a single thinned network is another one


# --- early stopping ------------------------------------------------------------------------------


def test_an_early_stop_restores_the_best_record() -> None:
    stop = Stop(patience=2, restore=True)
    trainings = [make(lr=0.9, stop=stop, probes=PROBES, draw=k) for k in range(6)]
    plain_ = [make(lr=0.9, stop=Stop(patience=2), probes=PROBES, draw=k) for k in range(6)]
    restored, gone_on = train(trainings, range(6)), train(plain_, range(6))
    assert any(len(one.steps) < 7 for one in restored)  # some end early
    for one, other in zip(restored, gone_on, strict=True):
        assert one.steps == other.steps
        losses = other.metrics["valid_loss"]
        best = int(np.argmin(losses))
        for name in ("valid_loss", "test_loss", "test_accuracy", "weight_norm", "train_error"):
            assert one.metrics[name][:-1] == other.metrics[name][:-1]
            assert one.metrics[name][-1] == other.metrics[name][best]
    assert any(one.metrics != other.metrics for one, other in zip(restored, gone_on, strict=True))


def test_running_statistics_are_restored_too(monkeypatch) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))

    monkeypatch.setattr("harness.engine.pack.PAYS", 0.0)  # compact wherever a trial has ended
    stop = Stop(patience=1, restore=True)
    trainings = [make(model=normed, lr=0.5 * (k + 1), stop=stop, draw=k) for k in range(4)]
    for one, seed in zip(train(trainings, range(4)), range(4), strict=True):
        losses = one.metrics["valid_loss"]
        assert losses[-1] == min(losses)
        assert same(one, train([trainings[seed]], [seed])[0])


# --- augmentation --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 36), (2, 6, 6), (2, 1, 6, 6)])
def test_shifts_and_quarter_turns_by_hand(shape: tuple[int, ...]) -> None:
    images = torch.rand(2, 6, 6)
    zero = torch.zeros(2)
    one = warp(images.view(shape), zero + 1, zero - 2, zero).view(2, 6, 6)
    assert torch.allclose(one[:, :4, 1:], images[:, 2:, :5], atol=1e-5)  # right and up
    assert not one[:, :, 0].any()
    assert not one[:, 4:].any()
    turned = warp(images.view(shape), zero, zero, zero + 90).view(2, 6, 6)
    assert torch.allclose(turned, images.rot90(1, (1, 2)), atol=1e-5)
    assert torch.allclose(warp(images, zero, zero, zero), images, atol=1e-6)


@given(st.integers(0, 2**40), st.integers(0, 3), st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_random_moves_stay_within_their_bounds(key: int, shift: int, turn: int) -> None:
    dot = torch.zeros(50, 21, 21)
    dot[:, 10, 10] = 1
    keyed = torch.tensor(key)
    numbers = torch.tensor(float(shift)), torch.tensor(float(turn))
    out = moved(dot, keyed, *numbers)
    total = out.sum((1, 2))
    place = torch.arange(21.0) - 10
    right = (out.sum(1) * place).sum(1) / total  # how far the centre of mass has gone, nearly
    assert bool((right.abs() <= shift + 0.1).all())
    assert torch.equal(out, moved(dot, keyed, *numbers))
    assert not shift or not torch.equal(out, moved(dot, keyed + 1, *numbers))


def test_training_moves_its_images_and_measuring_does_not() -> None:
    training = make(augment=Augment(shift=1, turn=10), steps=1, every=1)
    pack = PackInFlight([training, make(augment=Augment(), steps=1, every=1)], [1, 1], "cpu")
    pack.gradient(0)
    model = build(training.model, 1)
    x, y = (part[0] for part in pack.batches.take())
    key = keyed.mix(keyed.keys([1], "augment"), 0)[0]
    there = moved(x, key, torch.tensor(1.0), torch.tensor(10.0))
    for lane, inputs in enumerate((there, x)):
        expected = nn.functional.cross_entropy(model(inputs), y).item()
        assert pack.loss()[lane].item() == pytest.approx(expected, rel=1e-5)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="shift=-1"):
        Augment(shift=-1)
    with pytest.raises(ValueError, match="cannot be moved"):
        warp(torch.zeros(2, 35), *torch.zeros(3, 2))
    with pytest.raises(ValueError, match="augment"):
        Training(partial(MLP, (64, 10)), Optimizer("sgd"), steps=1, augment=Augment())
