"""What the lectures say, heading by heading, and the verdicts of the claims that cite them.

`studies/lectures.toml` lists the decks in their order, and of each the headings that compare or claim
something. A claim belongs to every heading that its source names after the deck.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.parts.data.rows import shown
from harness.study import BadInput
from harness.study.sources import WORKS

# A heading in a source, and a remark in parentheses after it, which may quote.
_NEXT = re.compile(r"\s*(?:[,;]|and)\s*“((?:[^“”]|“[^”]*”)*)”(?:\s*\([^()]*\))?")
_SLIDE = re.compile(r"\s*\((?:cont['’]d|\d+)\)$")


@dataclass(frozen=True)
class Heading:
    """A slide that compares or claims something.

    Args:
        name: As the deck has it; slides that go on with the same heading are one.
        says: What it claims, where no claim cites it.
        why: Why there is no verdict then.
    """

    name: str
    says: str = ""
    why: str = ""


@dataclass(frozen=True)
class Lecture:
    """A deck.

    Args:
        tag: In `harness.study.sources.WORKS`.
        headings: In its order.
    """

    tag: str
    headings: tuple[Heading, ...]

    @property
    def words(self) -> str:
        """How claims name it."""
        return WORKS[f"[{self.tag}]"].words


def topics(path: Path) -> dict[str, list[str]]:
    """The topics of each study in a file of lectures, by the study's name; none where there is no file.

    Raises:
        BadInput: it is no TOML, or a topic is no list of names.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8")).get("topics", {}) if path.is_file() else {}
        of: dict[str, list[str]] = {}
        for topic, names in found.items():
            if not isinstance(names, list):
                raise TypeError(f"topic {topic} is {names!r}")
            for name in names:
                of.setdefault(name, []).append(topic)
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as wrong:
        raise BadInput(
            f"{path.name}: {type(wrong).__name__}: {shown(str(wrong))}; allowed: [topics], each a list of "
            "the names of studies"
        ) from None
    return of


def read(path: Path) -> list[Lecture]:
    """The lectures of a file; none where there is no file.

    Raises:
        BadInput: it is no TOML, names an unknown deck, or a heading has other words than those of
            `Heading`.
    """
    if not path.is_file():
        return []
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        return [
            Lecture(one["tag"], tuple(Heading(**heading) for heading in one["headings"]))
            for one in found["lecture"]
            if WORKS[f"[{one['tag']}]"]
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as wrong:
        raise BadInput(
            f"{path.name}: {type(wrong).__name__}: {shown(str(wrong))}; allowed: [[lecture]] with tag "
            f"(one of harness.study.sources, such as SNU) and headings of name, says and why"
        ) from None


def plain(heading: str) -> str:
    """A heading without what differs between its slides: "(cont'd)", numbers, kinds of quotes and dashes."""
    while (shorter := _SLIDE.sub("", heading)) != heading:
        heading = shorter
    return re.sub(r"\s+", " ", heading.translate(str.maketrans("’‘“”–", "''\"\"-"))).strip().lower()


def named(source: str, words: str) -> list[str]:
    """The headings that a claim's source names after a deck's words, as `plain` has them."""
    found = []
    for place in re.finditer(re.escape(words), source):
        at = place.end()
        while heading := _NEXT.match(source, at):
            found.append(plain(heading[1]))
            at = heading.end()
    return found


def chapters(
    lectures: Sequence[Lecture], claims: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each lecture with its headings and their claims.

    Args:
        claims: With "source".

    Returns:
        Of each: tag, words, headings (each name, says, why, claims), other: claims that cite the deck
        and none of these headings; and how many headings are judged.
    """
    made = []
    for lecture in lectures:
        cited = [(claim, named(claim["source"], lecture.words)) for claim in claims]
        known = {plain(heading.name) for heading in lecture.headings}
        headings = [
            {
                "name": heading.name,
                "says": heading.says,
                "why": heading.why,
                "claims": [claim for claim, names in cited if plain(heading.name) in names],
            }
            for heading in lecture.headings
        ]
        other = [
            claim
            for claim, names in cited
            if lecture.words in claim["source"] and not known & {*names}
        ]
        judged = sum(bool(heading["claims"]) for heading in headings)
        made.append(
            {
                "tag": lecture.tag,
                "words": lecture.words,
                "headings": headings,
                "other": other,
                "judged": judged,
            }
        )
    return made
