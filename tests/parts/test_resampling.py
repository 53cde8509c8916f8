"""Two classes made equally frequent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harness.parts.data.resampling import RESAMPLED, resampled


@pytest.fixture
def classes() -> tuple[Tensor, Tensor]:
    """50 points about 0, and 8 on the line x = y about 10."""
    torch.manual_seed(0)
    line = torch.randn(8, 1) + 10
    return torch.randn(50, 2), line.repeat(1, 2)


@pytest.mark.parametrize("how", RESAMPLED)
def test_both_classes_are_as_many_and_go_by_the_seed(
    classes: tuple[Tensor, Tensor], how: str
) -> None:
    found = []
    for seed in (1, 1):
        torch.manual_seed(seed)
        found.append(resampled(*classes, how))
    common, rare = found[0]
    assert len(common) == len(rare)
    assert all(map(torch.equal, found[0], found[1]))
    assert common.dtype == rare.dtype == torch.float32


def test_undersampling_leaves_different_examples(classes: tuple[Tensor, Tensor]) -> None:
    common, rare = resampled(*classes, "under")
    assert torch.equal(rare, classes[1])
    left = {tuple(row.tolist()) for row in common}
    assert len(left) == 8
    assert left <= {tuple(row.tolist()) for row in classes[0]}


def test_copies_are_as_even_as_can_be(classes: tuple[Tensor, Tensor]) -> None:
    common, rare = resampled(*classes, "over")
    assert torch.equal(common, classes[0])
    counts = torch.unique(rare, dim=0, return_counts=True)[1]
    assert sorted(counts.tolist()) == [6] * 6 + [7] * 2


def test_smote_keeps_the_examples_and_makes_points_between_them(
    classes: tuple[Tensor, Tensor],
) -> None:
    common, rare = resampled(*classes, "smote")
    assert torch.equal(common, classes[0])
    assert torch.equal(rare[:8], classes[1])
    made = rare[8:]
    assert len(torch.unique(made, dim=0)) == 42
    assert torch.allclose(made[:, 0], made[:, 1])  # on the line that the examples lie on
    assert made.min() >= classes[1].min()
    assert made.max() <= classes[1].max()


def test_another_seed_makes_other_points(classes: tuple[Tensor, Tensor]) -> None:
    torch.manual_seed(1)
    one = resampled(*classes, "smote")[1]
    assert not torch.equal(one, resampled(*classes, "smote")[1])


@pytest.mark.parametrize(
    ("how", "common", "rare", "words"),
    [("both", 5, 3, "allowed: under, over, smote"), ("over", 2, 3, "no more rare ones"),
     ("smote", 9, 5, "six for SMOTE")],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(how: str, common: int, rare: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resampled(torch.zeros(common, 2), torch.zeros(rare, 2), how)
