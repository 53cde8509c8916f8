"""A GAN's losses are those of the paper, and what probes say of samples is so."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness import Data, Optimizer, Player, Training, train
from harness.parts.gan import (
    COUNTED,
    SATURATING,
    SCORED,
    STEADY,
    TOLD_APART,
    Distance,
    Drawn,
    Gan,
    Modes,
    Slopes,
    saturating,
    steady,
)
from harness.parts.probes.pictures import names, unpacked

pytestmark = pytest.mark.usefixtures("one_thread")
CORNERS = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))


def corners() -> tuple[np.ndarray, np.ndarray]:
    which = np.arange(400) % 4
    noise = np.random.default_rng(0).normal(size=(400, 2)) * 0.05
    return (np.array(CORNERS)[which] + noise).astype(np.float32), which


POINTS = Data.of(corners, name="corners")
CRITIC, GENERATOR = Player("critic", TOLD_APART, "d.*"), Player("generator", STEADY, "g.*")
PROBES = (Slopes(), Distance("valid"), Modes(CORNERS, 0.15), Drawn((4,), 16, 1.5))


def measured(model: object, data: Data = POINTS, steps: int = 4) -> dict[str, list[float]]:
    one = Training(model, Optimizer("adam", lr=1e-9), data, steps=steps, every=2, batch_size=32,
                   players=(CRITIC, GENERATOR), probes=PROBES)  # type: ignore[arg-type]  # fmt: skip
    assert one.why_alone() == ""
    (outcome,) = train([one], [0], "cpu")
    return outcome.metrics


def test_losses_are_those_of_the_paper() -> None:
    logits = torch.tensor([-3.0, 0.0, 2.0])
    d = logits.sigmoid()
    assert saturating(logits).item() == pytest.approx((1 - d).log().mean().item(), rel=1e-5)
    assert steady(logits).item() == pytest.approx(-d.log().mean().item(), rel=1e-5)


def test_the_discriminator_is_told_what_is_real_and_what_is_made() -> None:
    torch.manual_seed(0)
    net, x = Gan(2, 2, 8), torch.randn(16, 2)
    torch.manual_seed(1)
    made = net.sample(16)
    value = net.d(x).sigmoid().log().mean() + (1 - net.d(made).sigmoid()).log().mean()
    for loss, expected in (
        (TOLD_APART, -value),
        (SATURATING, (1 - net.d(made).sigmoid()).log().mean()),
        (STEADY, -net.d(made).sigmoid().log().mean()),
    ):
        torch.manual_seed(1)
        assert loss.fn(net, x, x).item() == pytest.approx(expected.item(), rel=1e-5)
    torch.manual_seed(1)
    TOLD_APART.fn(net, x, x).backward()
    assert all(w.grad is None for w in net.g.parameters())


def spot(x: float, y: float) -> nn.Module:
    """A generator whose samples all lie in one place."""
    net = Gan(2, 2, 8)
    with torch.no_grad():
        net.g[4].weight.zero_()
        net.g[4].bias.copy_(torch.tensor([x, y]))
    return net


def test_a_generator_of_one_place_has_one_mode_and_the_distance_of_that_place() -> None:
    found = measured(partial(spot, 1.0, -1.0))
    assert found["modes"][-1] == 1
    assert found["quality"][-1] == 1
    x = torch.from_numpy(corners()[0])
    place = torch.tensor([1.0, -1.0])
    expected = 2 * (x - place).norm(dim=1).mean() - torch.cdist(x, x).mean()
    assert found["valid_distance"][-1] == pytest.approx(expected.item(), abs=0.1)
    assert measured(partial(spot, 0.0, 0.0))["modes"][-1] == 0


def test_the_ratio_of_slopes_is_that_of_d_to_the_rest() -> None:
    found = measured(partial(Gan, 2, 2, 16))
    assert max(found["off_share"]) < 1e-3
    d = torch.tensor(found["fake"])
    assert found["share"] == pytest.approx((d / (1 - d)).tolist(), rel=0.2)
    assert found["mean_share"][-1] == pytest.approx(
        math.exp(np.log(found["share"]).mean()), rel=1e-5
    )


def seen(found: dict[str, list[float]], side: int) -> Tensor:
    numbers = [found[name][-1] for name in names("seen", side**2)]
    return torch.from_numpy(unpacked(numbers)).view(side, side)


def test_a_density_lies_the_right_way_up() -> None:
    found = measured(partial(spot, 0.9, -0.9))
    picture = seen(found, 16)
    assert picture.sum() == 1
    assert picture[12, 12] == 1  # below and to the right
    assert np.isnan(found["seen_0"][0])


def shaded(_: int) -> nn.Module:
    net = Gan(64, 2, 8)
    with torch.no_grad():
        net.g[4].weight.zero_()
        net.g[4].bias.copy_(torch.linspace(-20, 20, 64).sign() * 20)
    return net


def test_images_lie_beside_each_other() -> None:
    one = Training(partial(shaded, 0), Optimizer("adam", lr=1e-9), Data("digits"), steps=4,
                   batch_size=32, players=(CRITIC, GENERATOR), probes=(Drawn((4,), 20),))  # fmt: skip
    picture = seen(train([one], [0], "cpu")[0].metrics, 20)
    one_image = torch.zeros(9, 9).double()
    one_image[4:8, :8] = 1
    assert torch.equal(picture[:18, :18], one_image.repeat(2, 2))
    assert picture[18:].sum() == picture[:, 18:].sum() == 0


def test_samples_are_many() -> None:
    assert SCORED < COUNTED
