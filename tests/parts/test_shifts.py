"""What is said of moved inputs, by a network of which it is known."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness import Data, Optimizer, Training
from harness.engine.pack import train
from harness.parts.data import load
from harness.parts.models import MLP
from harness.parts.probes import Shifted
from tests.engine.test_fusing import same

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = Data("digits", train=160)


class Brightness(nn.Module):
    """Says the class of an image by its sum, which moving changes by what leaves it only."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        total = x.flatten(1).sum(1) / 4
        return -self.scale * (total.unsqueeze(1) - torch.arange(10)).square()


def one(model: object, seed: int = 0) -> Training:
    return Training(
        model, Optimizer("sgd", lr=1e-9 if model is Brightness else 0.1), DIGITS, steps=4,  # type: ignore[arg-type]
        batch_size=32, probes=(Shifted((1, 3), most=100),),
    )  # fmt: skip


def test_accuracy_and_share_of_moved_images() -> None:
    found = train([one(Brightness)], [0], "cpu")[0].metrics
    x, y = (part[:100] for part in load(DIGITS).test)
    net = Brightness()
    for by in (1, 3):
        said = net(F.pad(x, (by, 0))[..., : x.shape[-1]]).argmax(1)
        assert found[f"shifted_test_accuracy_{by}"][-1] == pytest.approx(
            float((said == y).float().mean())
        )
        kept = float((said == net(x).argmax(1)).float().mean())
        assert found[f"kept_test_{by}"][-1] == pytest.approx(kept)


def test_it_does_not_depend_on_the_pack_and_needs_the_test_split() -> None:
    model = partial(MLP, (64, 12, 10))
    packs = [train([one(model)] * n, [3, 4, 5][:n], "cpu")[0] for n in (1, 3)]
    assert same(packs[0], packs[1])
    sealed = dataclasses.replace(one(model), sealed=True)
    assert "kept_test_1" not in train([sealed], [3], "cpu")[0].metrics


def test_moves_are_positive() -> None:
    with pytest.raises(
        ValueError, match=r"Shifted.moves are \(0,\); allowed: some, each at least 1"
    ):
        Shifted((0,))
