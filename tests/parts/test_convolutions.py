"""Pooling beside torch's, and a layer without shared weights beside the convolution it can be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.parts.models import Local1d, Pool

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("shape", [(3, 2, 8), (3, 2, 6, 4)])
@pytest.mark.parametrize("kind", ["max", "average"])
def test_pooling_is_torch_s(kind: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    name = {"max": "MaxPool", "average": "AvgPool"}[kind] + f"{len(shape) - 2}d"
    torch.testing.assert_close(Pool(kind)(x), getattr(nn, name)(2)(x))


def test_blurred_pooling_is_a_running_mean_of_maxima() -> None:
    x = torch.tensor([[[1.0, 4.0, 2.0, 3.0]]])
    # maxima of each and the next: 4, 4, 3, 3; of every second one with its neighbours (1, 2, 1) / 4
    torch.testing.assert_close(Pool("blurred")(x), torch.tensor([[[3.0, 3.25]]]))
    image = torch.rand(2, 3, 6, 8)
    twice = Pool("blurred")(
        Pool("blurred")(image.flatten(0, 2)[None]).view(2, 3, 6, 4).mT.flatten(0, 2)[None]
    )
    torch.testing.assert_close(Pool("blurred")(image), twice.view(2, 3, 4, 3).mT)


def test_pooling_of_other_kinds_and_of_odd_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match="pooling is 'median'; allowed: max, average, blurred"):
        Pool("median")
    with pytest.raises(ValueError, match=r"pooling by two of \(5,\); allowed: even sizes"):
        Pool()(torch.zeros(1, 1, 5))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1)])
def test_with_equal_kernels_it_is_a_convolution(stride: int, padding: int) -> None:
    conv, local = nn.Conv1d(2, 3, 5, stride, padding), Local1d(2, 3, 5, 12, stride, padding)
    with torch.no_grad():
        local.weight.copy_(conv.weight.flatten(1))
        local.bias.copy_(conv.bias)
    x = torch.randn(4, 2, 12)
    torch.testing.assert_close(local(x), conv(x))


def test_a_place_reads_its_own_kernel() -> None:
    local, x = Local1d(1, 1, 3, 7), torch.randn(2, 1, 7)
    before = local(x)
    with torch.no_grad():
        local.weight[2] += 1
    after = local(x)
    torch.testing.assert_close(after[..., 2], before[..., 2] + x[..., 2:5].sum(-1))
    assert (after != before).sum() == 2
