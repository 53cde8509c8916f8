"""The page of worked examples says what is tested, and every test is on it."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests import decks

PAGE = Path(__file__).parents[2] / "studies" / "WORKED.md"
LEAST = {"ECNU": 20, "Oxford": 11, "UIUC": 22, "Overview": 30, "SNU": 34}  # tests of each deck


def test_the_page_lists_the_tests() -> None:
    assert PAGE.read_text() == decks.page(), "python -m tests.decks > studies/WORKED.md"


def test_every_test_names_its_slide() -> None:
    decks.page()
    for deck in decks.DECKS:
        module = importlib.import_module(f"tests.decks.test_{deck.lower()}")
        tests = {name for name in vars(module) if name.startswith("test_")}
        assert tests == {one.test for one in decks.SLIDES if one.deck == deck}
        assert len(tests) >= LEAST[deck]


def test_a_slide_is_named_once() -> None:
    decks.page()
    lines = [one.line() for one in decks.SLIDES]
    assert len(lines) == len(set(lines))
