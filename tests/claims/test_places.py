"""A cell filled in once: the sentences of a place are those of `harness.claims`."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from harness import claims
from harness.claims import Check, place, sentences
from harness.claims.places import Cell

# What each sentence is given beside the cell; those that take checks or functions have no cell.
GIVEN = {
    "above": ("loss", 1.0), "below": ("loss", 1.0), "higher": ("loss",), "lower": ("loss",),
    "equivalent": ("loss",), "ratio_above": ("loss", 2.0), "ratio_below": ("loss", 0.5),
    "best": ("loss",), "crosses": ("loss",), "best_draws_higher": ("loss",),
    "best_draws_lower": ("loss",), "best_draws_equivalent": ("loss",),
    "best_draws_published": ("loss", 1.0), "rank_correlation_above": ("loss", 0.1),
    "rank_correlation_below": ("loss", 0.1), "share_above": ("loss", 0.5),
    "share_below": ("loss", 0.5), "share_higher": ("loss",), "rises": ("loss",), "falls": ("loss",),
    "carried": ("loss",), "slower": (1.0,),
}  # fmt: skip
NAMED = {
    "arm": "a", "than": "b", "to": "b", "within": 0.1, "among": ("a", "b"), "along": "size",
    "first": 1, "last": 2, "column": "lr", "of": "lr", "over": "width", "cost": 0.1, "arms": ("a",),
}  # fmt: skip


def wanted(sentence: Callable[..., Check]) -> dict[str, object]:
    """The keywords that a sentence cannot do without."""
    parameters = inspect.signature(sentence).parameters.values()
    return {
        one.name: NAMED[one.name]
        for one in parameters
        if one.kind is one.KEYWORD_ONLY and one.default is one.empty
    }


def test_every_sentence_of_a_cell_can_be_said_of_a_place() -> None:
    of_cells = {
        name
        for name in dir(sentences)
        if inspect.isfunction(found := getattr(sentences, name))
        and "where" in inspect.signature(found).parameters
        and not name.startswith("_")
    }
    assert of_cells == set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_a_place_fills_the_cell_in(name: str) -> None:
    sentence = getattr(claims, name)
    at = place(depth=16, init="he")
    said = getattr(at, name)(*GIVEN[name], **wanted(sentence))
    assert said == sentence(*GIVEN[name], **wanted(sentence), depth=16, init="he")


def test_what_a_sentence_says_itself_goes_before_the_place() -> None:
    at = place(depth=16, init="he")
    assert at.below("loss", 1.0, arm="a", depth=1) == at(depth=1).below("loss", 1.0, arm="a")
    assert at(depth=1) == Cell(depth=1, init="he") == {"depth": 1, "init": "he"}
    assert list(at(depth=1)) == ["depth", "init"]  # the order of words in a verdict stays
    assert at == {"depth": 16, "init": "he"}
