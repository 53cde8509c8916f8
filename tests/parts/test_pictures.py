"""Pictures: eight grey levels a pixel come back from the numbers of a row, and maps lie the right way."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.parts.probes import Field, Filters
from harness.parts.probes.pictures import LEVELS, names, packed, unpacked

pytestmark = pytest.mark.usefixtures("one_thread")


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=19, max_size=19), min_size=1, max_size=3)
)
def test_pixels_come_back_to_half_a_level(pixels: list[list[float]]) -> None:
    found = packed("map", torch.tensor(pixels))
    assert [*found] == names("map", 19)
    for lane, row in enumerate(pixels):
        numbers = [column[lane].item() for column in found.values()]
        assert unpacked(numbers)[:19] == pytest.approx(row, abs=0.5 / (LEVELS - 1) + 1e-6)


def test_the_lightest_and_the_darkest_fit_float32() -> None:
    (white,) = packed("map", torch.ones(1, 8)).values()
    assert white.item() == 8**8 - 1
    assert unpacked([white.item()]).tolist() == [1.0] * 8
    assert unpacked([0.0]).tolist() == [0.0] * 8


def test_what_is_no_grey_is_cut() -> None:
    (found,) = packed("map", torch.tensor([[-1.0, 2.0, torch.nan]])).values()
    assert unpacked([found.item()])[:3].tolist() == [0.0, 1.0, 0.0]


def leaning(right: float, up: float) -> nn.Module:
    net = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[0.0, 0.0], [right, up]]))
        net[0].bias.zero_()
    return net


def points() -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(0)
    return drawn.normal(size=(60, 2)).astype(np.float32), drawn.integers(0, 2, 60)


POINTS = Data.of(points, name="points")


def test_a_map_has_the_right_side_to_the_right_and_the_top_up() -> None:
    still = Optimizer("sgd", lr=0.0)
    trainings = [
        Training(partial(leaning, *slope), still, POINTS, steps=1, batch_size=8,
                 probes=(Field(reach=2.0, side=8),))
        for slope in ((50.0, 0.0), (0.0, 50.0))
    ]  # fmt: skip
    rightward, upward = (
        unpacked([outcome.metrics[name][-1] for name in names("map", 64)]).reshape(8, 8)
        for outcome in train(trainings, [0, 1], "cpu")
    )
    assert rightward.tolist() == [[0.0] * 4 + [1.0] * 4] * 8
    assert upward.tolist() == [[1.0] * 8] * 4 + [[0.0] * 8] * 4


def test_filters_lie_in_rows() -> None:
    weight = torch.zeros(8, 4)
    weight[1] = torch.tensor([1.0, -2.0, 0.0, 2.0])  # of a layer that sees 2x2

    def net() -> nn.Module:
        made = nn.Sequential(nn.Linear(4, 8))
        with torch.no_grad():
            made[0].weight.copy_(weight + 1e-9)
        return made

    data = Data.of((torch.randn(40, 4), torch.arange(40) % 8), name="squares")
    one = Training(
        net, Optimizer("sgd", lr=0.0), data, steps=1, batch_size=8,
        probes=(Filters("0.weight", 2, 2),),
    )  # fmt: skip
    found = train([one], [0], "cpu")[0].metrics
    picture = unpacked([found[name][-1] for name in names("filters", 16)])[:16].reshape(4, 4)
    assert picture[:2, 2:] == pytest.approx(np.array([[0.75, 0.0], [0.5, 1.0]]), abs=0.08)
    assert picture[2:].min() == picture[:2, :2].min() == 1.0  # a constant is its own largest
