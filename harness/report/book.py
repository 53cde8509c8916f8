"""The book: what the board says, for print, with a page or two a study.

The engine that prints does not know on which page a link ends, so every part begins on a page of its
own and is printed once by itself, to be counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.report import board, printing
from harness.study import BadInput

TITLE = "What was claimed, and what the trials say"


def write(reports_root: Path) -> tuple[Path, Path]:
    """Write index.html and book.pdf, from the reports made here and what was published of the rest.

    Returns:
        Both paths.

    Raises:
        BadInput: nothing has been run or published, or the lectures' file is wrong.
    """
    made = board.gathered(reports_root)
    if not made["speaking"]:
        raise BadInput(
            f"{reports_root} holds no report; allowed: after a run, as in harness run optimizers"
        )
    page = board.write_index(reports_root)
    made["entries"] = [*made["speaking"].values()]
    when = max(entry["finished"] for entry in made["entries"]) or "2000-01-01T00:00:00+00:00"
    target = reports_root / "book.pdf"
    target.write_bytes(_pdf(made, when))
    return page, target


def _pdf(made: dict[str, Any], when: str) -> bytes:
    """The book as PDF; `when` (ISO) is its date, so that bytes repeat."""
    starts, at = {}, 1
    for name, part in _parts(made):
        starts[name] = at
        at += printing.pages(board.rendered(part, paper=True, starts={}))
    return printing.pdf(board.rendered(made, paper=True, starts=starts), TITLE, when)


def _parts(made: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What begins on a page of its own, by its anchor, with nothing but it in what was gathered."""
    none: dict[str, Any] = {"entries": [], "speaking": {}, "chapters": []}
    yield "contents", made | {"only": "contents"}
    for chapter in made["chapters"]:
        tag = f"lecture-{chapter['tag']}"
        yield tag, none | {"chapters": [chapter], "only": tag}
    for entry in made["entries"]:
        tag = f"study-{entry['study']}"
        one = {"entries": [entry], "speaking": {entry["study"]: entry}}
        yield tag, none | one | {"only": tag}
