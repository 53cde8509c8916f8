"""Average precision is scikit-learn's, ensembles are their members, and floors are what they say."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torch import Tensor

from harness import Optimizer, Stage, Training, train
from harness.parts.data.planted import PLANTED, planted
from harness.parts.models.detectors import (
    Convolutional,
    Detector,
    Floor,
    Recurrent,
    diversity,
    moving_average,
    spread,
    windowed_gaussian,
)
from harness.parts.probes.outliers import Found, Strips, average_precision, by_chance, middle
from harness.parts.probes.pictures import names, unpacked

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW, MEMBERS = 8, 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_average_precision_is_that_of_scikit_learn_ties_and_all(rows: list[tuple[int, bool]]) -> None:  # fmt: skip
    scores, labels = np.array(rows, float).T
    labels[0] = 1  # one outlier at least
    found = average_precision(torch.tensor(scores), torch.tensor(labels))
    assert found.item() == pytest.approx(average_precision_score(labels, scores), abs=1e-6)


def test_average_precision_goes_row_by_row() -> None:
    scores, labels = torch.rand(3, 4, 50), (torch.rand(3, 1, 50) < 0.2).float()
    found = average_precision(scores, labels)
    assert found.shape == (3, 4)
    for k, m in np.ndindex(3, 4):
        one = average_precision_score(labels[k, 0], scores[k, m])
        assert found[k, m].item() == pytest.approx(one, abs=1e-6)


def test_by_chance_is_the_mean_over_all_orders() -> None:
    labels = torch.tensor([1.0, 1, 0, 0, 0])
    orders = torch.rand(40_000, 5, generator=torch.Generator().manual_seed(0))
    assert average_precision(orders, labels).mean().item() == pytest.approx(by_chance(labels).item(), abs=5e-3)  # fmt: skip
    assert average_precision(torch.zeros(5), labels).item() == pytest.approx(0.4)
    many = torch.zeros(100_000)
    many[:10_000] = 1
    assert by_chance(many).item() == pytest.approx(0.1, abs=2e-4)


def test_diversity_and_spread_are_one_but_for_a_factor_and_make_up_the_error() -> None:
    x, said = torch.randn(20, WINDOW), torch.randn(MEMBERS, 20, WINDOW)
    div = diversity(said)
    torch.testing.assert_close(div, 2 * MEMBERS / (MEMBERS - 1) * spread(said))
    error = (said - x).square().mean() - (MEMBERS - 1) / (2 * MEMBERS) * div
    torch.testing.assert_close(error, (said.mean(0) - x).square().mean())
    assert diversity(said[:1]) == 0


def test_the_median_is_numpys() -> None:
    for members in (1, 2, 5, 8):
        errors = torch.rand(members, 30)
        np.testing.assert_allclose(middle(errors), np.median(errors, 0), rtol=1e-6)


@pytest.mark.parametrize("kind", ["spikes", "shapes"])
def test_what_is_planted(kind: str) -> None:
    *parts, labels = planted(kind, 3)
    assert tuple(map(len, parts)) == PLANTED
    assert labels.sum() == {"spikes": 60, "shapes": 384}[kind]
    whole = torch.cat(parts[:2])
    assert whole.mean().abs() < 0.1
    assert 0.9 < whole.std() < 1.1
    again, other = planted(kind, 3)[2], planted(kind, 4)[2]
    assert torch.equal(again, parts[2])
    assert not torch.equal(other, parts[2])
    inside = parts[2][labels > 0]
    if kind == "shapes":  # values and steps as ever
        assert inside.abs().amax() < 1.2 * whole.abs().amax()


def test_floors() -> None:
    flat = torch.zeros(50)
    flat[20] = 9.0
    assert moving_average(flat).argmax() == 20
    assert moving_average(flat)[20].item() == pytest.approx(8.0)  # less a ninth of it
    past = torch.randn(80, generator=torch.Generator().manual_seed(0))
    found = windowed_gaussian(flat, past, window=64)
    expected = [past[-64:], torch.cat([past[-44:], flat[:20]])]
    for at, before in zip((0, 20), expected, strict=True):
        away = (flat[at] - before.mean()).abs() / before.std()
        assert found[at].item() == pytest.approx(away.item(), rel=1e-4)


def net(kind: str, members: int = MEMBERS) -> Recurrent | Convolutional:
    if kind == "convolutional":
        return Convolutional(members, WINDOW, 4)
    return Recurrent(members, WINDOW, 4, sparse=kind == "sparse")


@pytest.mark.parametrize("kind", ["sparse", "identical", "convolutional"])
def test_members_know_nothing_of_each_other(kind: str) -> None:
    torch.manual_seed(0)
    ours, x = net(kind), torch.randn(6, WINDOW)
    said = ours(x)
    assert said.shape == (MEMBERS, 6, WINDOW)
    said[2].square().sum().backward()
    for w in ours.parameters():
        assert w.grad is not None
        others = [n for n in range(MEMBERS) if n != 2]
        assert (w.grad[others] == 0).all()
        assert (w.grad[2] != 0).any()


def test_a_sparse_network_with_the_step_before_alone_is_a_plain_one() -> None:
    torch.manual_seed(0)
    plain, sparse, x = net("identical"), net("sparse"), torch.randn(6, WINDOW)
    sparse.kept.copy_(torch.tensor([1.0, 0.0]).repeat_interleave(4))
    with torch.no_grad():
        for name, w in plain.named_parameters():
            sparse.get_parameter(name)[:, : w.shape[1]] = w
    torch.testing.assert_close(sparse(x), plain(x))


def test_sparse_members_are_of_different_structure_and_reach_back_no_further_than_the_start() -> (
    None
):
    torch.manual_seed(0)
    kept = Recurrent(8, 16, 4, sparse=True).kept[:, :, :, 0, ::4]  # (2, T, M, 2)
    assert (kept.sum(-1) == 1).all()
    assert (kept[:, :2, :, 1] == 0).all()
    assert (kept[:, :8, 6:, 1] == 0).all()  # those that reach back eight
    assert len({tuple(kept[:, :, m].flatten().tolist()) for m in range(8)}) == 8


def test_transfer_begins_with_what_the_member_before_has_learnt() -> None:
    torch.manual_seed(0)
    ours = Convolutional(3, WINDOW, 4, transfer=True)
    with torch.no_grad():
        for w in ours.weights[:-1]:
            w[1] += 0.1
    first, second, third = (ours._of(ours.weights[0], 0, torch.tensor(m))[0] for m in range(3))
    torch.testing.assert_close(second, first + 0.1)
    torch.testing.assert_close(third, second)
    x = torch.randn(6, WINDOW)
    torch.testing.assert_close(ours(x, torch.tensor(2))[0], ours(x)[2])
    ours(x)[2].square().sum().backward()
    for w in ours.parameters():
        assert (w.grad[:2] == 0).all()  # those before stay as they are


def parts(n: int = 60) -> tuple[Tensor, ...]:
    *series, labels = planted("shapes", 0)
    return (*(one[:n] for one in series[:2]), series[2][:200], labels[:200])


def detector(kind: str, raised: float = 0.0, own: bool = False) -> Detector:
    return Detector(partial(net, kind), WINDOW, parts(), 32, own, raised)


def measured(model: object, **more: object) -> dict[str, list[float]]:
    probes = (Found(), Strips(40)) if "probes" not in more else more.pop("probes")
    one = Training(model, Optimizer("adam", lr=1e-2), steps=4, every=4, probes=probes, **more)  # type: ignore[arg-type]
    assert one.why_alone() == ""
    outcomes = train([one, one], [0, 1], "cpu")
    assert {outcome.status for outcome in outcomes} == {"finished"}
    return outcomes[1].metrics


@pytest.mark.parametrize("kind", ["sparse", "identical", "convolutional"])
def test_what_is_found(kind: str) -> None:
    found = {name: values[-1] for name, values in measured(partial(detector, kind)).items()}
    assert found["test_off_formula"] < 1e-5
    assert found["test_off_identity"] < 1e-5
    assert found["valid_loss"] < found["valid_member_loss"]
    assert found["test_gain"] == pytest.approx(found["test_precision"] - found["test_member_precision"])  # fmt: skip
    rows = unpacked([found[name] for name in names("strip", 6 * 40)])
    assert rows.max() == 1


def test_errors_are_means_over_the_windows_that_a_point_lies_in() -> None:
    torch.manual_seed(0)
    ours = detector("convolutional")
    errors = ours.errors(ours.test)
    x, places, rebuilt = ours.rebuilt(ours.test)
    at = 101
    inside = (rebuilt - x).square()[:, places == at]  # (M, windows)
    assert inside.shape[1] > 1
    torch.testing.assert_close(errors[:, at], inside.mean(1))
    assert errors.isfinite().all()


def test_what_it_is_trained_on() -> None:
    assert torch.equal(detector("sparse").train_, parts()[0])
    assert torch.equal(detector("sparse", own=True).train_, parts()[2])


def test_diversity_is_raised_and_lowered() -> None:
    of = {}
    for raised in (-0.3, 0.0, 0.3):
        one = Training(partial(detector, "convolutional", raised), Optimizer("adam", lr=1e-2), steps=60, every=60, probes=(Found(),))  # fmt: skip
        of[raised] = train([one], [0], "cpu")[0].metrics["test_diversity"][-1]
    assert of[-0.3] < of[0.0] < of[0.3]


def test_members_are_trained_one_after_another() -> None:
    def made() -> Detector:
        return Detector(partial(Convolutional, 3, WINDOW, 4, True), WINDOW, parts(), 32, raised=0.3)

    stages = tuple(Stage(steps=4, every=4, copy={"now": f"turn.{m}"} if m else {}) for m in range(3))  # fmt: skip
    one = Training(made, Optimizer("adam", lr=1e-2), stages=stages, probes=(Now(),))
    assert one.why_alone() == ""
    (outcome,) = train([one], [0], "cpu")
    ends = dict(zip(outcome.steps, zip(outcome.metrics["now"], outcome.metrics["first"], strict=True), strict=True))  # fmt: skip
    assert ends[12][0] == 2
    assert ends[4][1] == ends[12][1]  # the first one's last layer is left alone


class Now:
    """The member whose turn it is, and a number of the first one's last layer."""

    at_end = False

    def read(self, pack):  # type: ignore[no-untyped-def]
        return {"now": pack.buffers["now"].float(), "first": pack.params["net.weights.4"][:, 0, 0, 0]}  # fmt: skip


def test_floors_are_scored() -> None:
    found = measured(partial(Floor, "random", parts()), probes=(Found(random=True),))
    assert found["test_off_share"][-1] < 1e-6
    assert abs(found["test_over_chance"][-1]) < 0.01
    for kind, score in (("average", moving_average), ("gaussian", None)):
        found = measured(partial(Floor, kind, parts()), probes=(Found(),))
        train_, valid, test, labels = parts()
        scores = score(test) if score else windowed_gaussian(test, torch.cat([train_, valid]))
        expected = average_precision_score(labels, scores)
        assert found["test_precision"][-1] == pytest.approx(expected, abs=1e-6)
