"""What is held of each trial: cut together, and nothing else changed by it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.engine.lanes import Lanes
from harness.engine.losses import GATHERED, Losses
from harness.engine.trees import filled, leaves, mapped, stacked

TREES = st.recursive(
    st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(TREES)
def test_a_tree_is_its_form_and_its_values(tree: object) -> None:
    values = [*leaves(tree)]
    form = mapped(tree, lambda _: None)
    assert filled(form, values) == tree
    assert [*leaves(mapped(tree, lambda n: n + 1))] == [n + 1 for n in values]


def test_trees_of_tensors_are_stacked_place_by_place() -> None:
    one, other = ({"a": torch.full((2,), float(k)), "b": (torch.tensor(k),)} for k in range(2))
    found = stacked([one, other])
    assert found["a"].tolist() == [[0, 0], [1, 1]]
    assert found["b"][0].tolist() == [0, 1]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True))
def test_everything_of_a_lane_stays_beside_it(alive: list[int]) -> None:
    numbers = torch.arange(7)
    lanes = Lanes(
        names=[*range(7)], own=numbers, inner={"a": (numbers * 2.0, {"b": numbers.view(7, 1)})},
        again={"own": numbers}, none=None, empty={},
    )  # fmt: skip
    lanes.keep(torch.tensor(alive))
    assert lanes.names == lanes.own.tolist() == alive
    assert lanes.inner["a"][0].tolist() == [2 * n for n in alive]
    assert lanes.inner["a"][1]["b"].flatten().tolist() == alive
    assert lanes.again["own"] is lanes.own  # what was one tensor stays one
    assert lanes.none is None
    with pytest.raises(AttributeError, match="holds no 'nones' of its trials; it has"):
        _ = lanes.nones


@given(st.integers(1, 2 * GATHERED + 3), st.data())
def test_losses_are_where_they_were_counted(updates: int, data: st.DataObject) -> None:
    """Whether or not they have been looked at between, and lanes left out."""
    rows = torch.arange(updates * 3.0).view(updates, 3)
    losses, lanes = Losses(updates, 3, "cpu"), torch.arange(3)
    looked, cut = (data.draw(st.integers(0, updates - 1)) for _ in range(2))
    for step, row in enumerate(rows):
        losses.count(row[lanes])
        if step == looked:
            assert torch.equal(losses.all[: step + 1], rows[: step + 1, lanes])
        if step == cut:
            lanes = torch.tensor([2, 0])
            losses.keep(lanes)
    assert torch.equal(losses.all[:-1], rows[:, lanes])
    assert losses.all[-1].isnan().all()
    assert torch.allclose(losses.mean(looked, updates), rows[looked:, lanes].mean(0))
