"""Ridge regression, two-layer networks and how far they move, each against an independent reference."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from sklearn import linear_model
from torch.func import functional_call, jacrev

from harness import Data, Loss, Optimizer, Training
from harness.engine.pack import train
from harness.parts.models.kernels import Ridge
from harness.parts.models.two_layer import TwoLayer, kernels
from harness.parts.probes.laziness import Laziness

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=[3, 30])
def ridge(request: pytest.FixtureRequest) -> Ridge:
    """Of 12 examples, with fewer features than these and with more."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, request.param, generator=generator, dtype=torch.float64)
    return Ridge(features, torch.randn(12, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("penalty", [0.01, 3.0])
def test_weights_are_scikit_learns(ridge: Ridge, penalty: float) -> None:
    x, y = ridge.features.numpy(), ridge.targets.numpy()
    theirs = linear_model.Ridge(penalty, fit_intercept=False, solver="svd").fit(x, y)
    np.testing.assert_allclose(ridge.weights(penalty), theirs.coef_, atol=1e-10)
    np.testing.assert_allclose(ridge.dual(penalty), (y - theirs.predict(x)) / penalty, atol=1e-10)


def test_left_out_is_leaving_out(ridge: Ridge) -> None:
    x, y = ridge.features.numpy(), ridge.targets.numpy()
    missed = []
    for i in range(12):
        rest = np.arange(12) != i
        model = linear_model.Ridge(0.5, fit_intercept=False, solver="svd").fit(x[rest], y[rest])
        missed.append(y[i] - model.predict(x[[i]])[0])
    np.testing.assert_allclose(ridge.left_out(0.5), missed, atol=1e-10)


def test_the_best_penalty_misses_least(ridge: Ridge) -> None:
    penalties = [10.0**power for power in range(-4, 4)]
    missed = {one: float(ridge.left_out(one).square().mean()) for one in penalties}
    assert missed[float(ridge.best(penalties))] == min(missed.values())
    assert ridge.best([2.0, 2.0 + 0]) == 2.0


def test_stopped_is_stopping(ridge: Ridge) -> None:
    w, rate = torch.zeros_like(ridge.features[0]), 0.5 / ridge.sizes[-1]
    assert not ridge.stopped(rate, 0).any()
    for steps in range(1, 20):
        w = w + rate * ridge.features.t() @ (ridge.targets - ridge.features @ w)
        torch.testing.assert_close(ridge.stopped(rate, steps), ridge.features @ w)


def test_one_example_by_hand() -> None:
    one = Ridge(torch.tensor([[2.0]]), torch.tensor([3.0]))
    assert one.weights(2.0).item() == pytest.approx(2 * 3 / (4 + 2))
    assert one.left_out(2.0).item() == pytest.approx(3)  # nothing else predicts it


def test_ridge_refuses_what_does_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"features \(4, 2\) and targets \(3,\); allowed: \(n, F\)"
    ):
        Ridge(torch.zeros(4, 2), torch.zeros(3))


@pytest.mark.parametrize("mean_field", [False, True])
def test_the_tangent_kernel_is_of_all_derivatives(mean_field: bool) -> None:
    torch.manual_seed(0)
    net, images = TwoLayer(6, 5, mean_field, 0.3, 2.0).double(), torch.rand(4, 2, 3).double()
    weights = {name: p.detach() for name, p in net.named_parameters()}
    found = jacrev(lambda w: functional_call(net, w, (images,)))(weights)
    flat = torch.cat([one.flatten(1) for one in found.values()], 1)  # (4, weights)
    with torch.no_grad():
        features, kernel, tangent, out = kernels(net.reads(images), net.w, net.a, net.scale)
        torch.testing.assert_close(tangent, flat @ flat.t())
        torch.testing.assert_close(out, net(images))
    torch.testing.assert_close(kernel, features @ features.t())
    assert net.scale.item() == pytest.approx(1 / 5 if mean_field else 5**-0.5)


def test_weights_start_from_standard_normals_and_are_kept() -> None:
    torch.manual_seed(0)
    net = TwoLayer(50, 400)
    for weight in (net.w, net.w_start):
        assert weight.std().item() == pytest.approx(1, abs=0.02)
    net.w.data.zero_()
    assert net.w_start.any()


def halved(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (net(x) - y / 9).square().mean() / 2


def ninths(y: torch.Tensor) -> torch.Tensor:
    return y / 9


def lazy(width: int, rate: float, steps: int) -> Training:
    return Training(
        partial(TwoLayer, 64, width), Optimizer("sgd", lr=rate), Data("digits", 32), Loss(halved),
        steps=steps, batch_size=32, probes=(Laziness(rate, steps, ninths),),
    )  # fmt: skip


def test_how_far_a_network_has_moved() -> None:
    """A network that takes no step to speak of stays; a wide one follows the linear one for longer
    than a narrow one, which moves further."""
    names = ("feature_change", "kernel_change", "tangent_change", "from_linear")
    still, narrow, wide = (
        {name: one.metrics[name][-1] for name in names}
        for training in (lazy(8, 1e-9, 1), lazy(8, 2.0, 40), lazy(800, 2.0, 40))
        for one in train([training], seeds=[0])
    )
    assert max(still[name] for name in names[:3]) < 1e-6
    for name in names:
        assert 0 < wide[name] < narrow[name] / 3
    assert wide["from_linear"] < 0.1
    assert narrow["feature_change"] > 0.1


def test_the_linear_network_is_one_step_of_descent() -> None:
    """After one step the network is the linear one but for what is of second order in the rate."""
    far = [
        train([lazy(64, rate, 1)], seeds=[0])[0].metrics["from_linear"][-1] for rate in (0.2, 0.02)
    ]
    assert far[1] == pytest.approx(far[0] / 10, rel=0.2)
