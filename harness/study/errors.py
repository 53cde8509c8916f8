"""What a user can get wrong: each is one line that shows the value received and what is allowed.

ValueError
└── BadInput            (also: an unknown study or scale, an unreachable tracking server)
    ├── InvalidStudy    a study, or a part of one, that cannot be run as declared
    └── DataError       a data file that is missing, truncated or not the one expected, or data of
                        one's own that cannot be used

And what nobody got wrong: Unfinished, a run that ended before all of it was done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unicodedata import category

SHOWN = 200  # characters of a wrong value


class BadInput(ValueError):
    """Something the user gave that cannot be used."""


class InvalidStudy(BadInput):
    """A study, or a part of one, that cannot be run as declared."""


class DataError(BadInput):
    """A data file that is missing, truncated or not the one expected, or data of one's own that
    cannot be used."""


class Unfinished(RuntimeError):
    """A run that ended before all of it was done; its text is one line that says what is not."""


def few(levels: Sequence[Any], word: Callable[[Any], str] = str, most: int = 24) -> str:
    """Levels in words; of more than `most`, the first three and how many there are."""
    shown = levels if len(levels) <= most else levels[:3]
    return ", ".join(map(word, shown)) + ("" if shown is levels else f", … ({len(levels):,})")


def listed(values: Any) -> str:
    """What is allowed, as words."""
    return ", ".join(map(str, values)) or "(none)"


def want(holds: bool, what: str, value: Any, allowed: str) -> None:
    """Raise `InvalidStudy` unless something holds of a value."""
    if holds:
        return
    shown = " ".join(repr(value).split())
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]} …"
    raise InvalidStudy(f"{what} is {shown}; allowed: {allowed}")


def want_text(what: str, value: Any, optional: bool = False) -> None:
    """Raise unless it is text that fits a line, or None where that may be."""
    # no control characters, line ends or halves of a character, which no file can hold
    line = isinstance(value, str) and not any(
        category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value
    )
    allowed = "text on one line" + (", None" if optional else "")
    want(line or (optional and value is None), what, value, allowed)


def want_mapping(what: str, value: Any, kind: Any = object, kinds: str = "") -> None:
    """Raise unless it maps text to values of a kind."""
    want(isinstance(value, Mapping), what, value, "a mapping, from names to values")
    for name, one in value.items():
        want(isinstance(name, str), f"a name in {what}", name, "text")
        want(isinstance(one, kind), f"{what}[{name!r}]", one, kinds)


def want_setting(what: str, value: Any) -> None:
    """Raise unless it can be told from others, printed, stored and sent to a worker."""
    number = isinstance(value, float) and math.isfinite(value)
    plain = value is None or isinstance(value, str | int)
    want(number or plain, what, value, "text, a finite number, True, False, None")


def is_count(value: Any) -> bool:
    """Whether it is an integer of at least 0, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: Any) -> bool:
    """Whether it is a number, finite or infinite, and no truth value."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and not math.isnan(value)
