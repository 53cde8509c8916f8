"""What a name needs of what was executed."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.study.cells import _only


def made(texts: list[str], name: str) -> Any:
    space: dict[str, Any] = {}
    exec(_only(texts, name), space)
    return space[name]


def test_only_what_is_needed_is_there() -> None:
    text = _only(["import os, sys", "a = 1\nb = os.sep", "print(a)\nrun(b)", "c = [b]"], "c")
    assert text.splitlines()[1:] == ["import os", "b = os.sep", "c = [b]"]


def test_a_name_is_what_it_was_when_it_was_used() -> None:
    cells = ["a = 1", "b = {'x': a}", "a = 2", "b['y'] = a", "def f(): return a, b", "a = 3"]
    assert made(cells, "b") == {"x": 1, "y": 2}
    assert made(cells, "f")() == (3, {"x": 1, "y": 2})


def test_decorators_and_classes_come_along() -> None:
    cells = [
        "from functools import cache\nN = 3",
        "@cache\ndef f(x):\n    return x + N\n\nclass A:\n    size = N\n",
        "def f2():\n    return f(1) + A.size",
    ]
    assert made(cells, "f2")() == 7


def test_the_same_cells_again_are_the_same_text() -> None:
    cells = ["A = {}\nA['x'] = 1", "def f():\n    return A", "g = f"]
    assert _only([*cells, *cells], "g") == _only(cells, "g")


def test_cells_that_did_not_parse_or_are_magic_are_left_out() -> None:
    cells = ["a = = 1", "get_ipython().run_line_magic('matplotlib', 'inline')", "a = 5"]
    assert made(cells, "a") == 5


NAMES = "abcd"
ASSIGNED = st.builds("{} = {}".format, st.sampled_from(NAMES), st.integers(0, 9))
LISTED = st.builds("{} = [{}, 1]".format, st.sampled_from(NAMES), st.sampled_from(NAMES))
ADDED = st.builds("{} = [{}, {}]".format, *[st.sampled_from(NAMES)] * 3)
DEFINED = st.builds("def {}(): return {}".format, st.sampled_from("fg"), st.sampled_from(NAMES))
CHANGED = st.builds("L.append({})".format, st.sampled_from(NAMES))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(ASSIGNED, LISTED, ADDED, DEFINED, CHANGED), max_size=14))
def test_it_is_what_executing_everything_makes(cells: list[str]) -> None:
    before = [f"{name} = 0" for name in NAMES] + ["L = []"]
    space: dict[str, Any] = {}
    for cell in [*before, *cells]:
        exec(cell, space)
    for name in (*NAMES, "L"):
        assert made([*before, *cells], name) == space[name]
    for name in {"f", "g"} & set(space):
        assert made([*before, *cells], name)() == space[name]()
