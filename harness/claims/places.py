"""A cell filled in once, for all that is claimed of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from harness.claims import sentences
from harness.claims.checks import Check

P = ParamSpec("P")


def _here(sentence: Callable[P, Check]) -> Callable[Concatenate[Cell, P], Check]:
    @functools.wraps(sentence)
    def placed(at: Cell, /, *args: P.args, **keywords: P.kwargs) -> Check:
        filled: Any = {**at, **keywords}
        return sentence(*args, **filled)

    return placed


class Cell(dict[str, Any]):
    """Levels of `vary` that pick a cell, with the sentences of `harness.claims` as methods. It is
    the mapping that a figure's `where` takes, too."""

    def __call__(self, **cell: Any) -> Cell:
        """The same place but for these levels."""
        return Cell({**self, **cell})

    above, below = _here(sentences.above), _here(sentences.below)
    higher, lower = _here(sentences.higher), _here(sentences.lower)
    equivalent = _here(sentences.equivalent)
    ratio_above, ratio_below = _here(sentences.ratio_above), _here(sentences.ratio_below)
    best, crosses = _here(sentences.best), _here(sentences.crosses)
    best_draws_higher = _here(sentences.best_draws_higher)
    best_draws_lower = _here(sentences.best_draws_lower)
    best_draws_equivalent = _here(sentences.best_draws_equivalent)
    best_draws_published = _here(sentences.best_draws_published)
    rank_correlation_above = _here(sentences.rank_correlation_above)
    rank_correlation_below = _here(sentences.rank_correlation_below)
    share_above, share_below = _here(sentences.share_above), _here(sentences.share_below)
    share_higher = _here(sentences.share_higher)
    rises, falls = _here(sentences.rises), _here(sentences.falls)
    carried, slower = _here(sentences.carried), _here(sentences.slower)


def place(**cell: Any) -> Cell:
    """A cell filled in once, for all that is claimed of it:

    ``at = place(depth=16, init="suited")``, then ``at.below("test_accuracy", 0.3, arm="sigmoid")``
    is ``below("test_accuracy", 0.3, arm="sigmoid", depth=16, init="suited")``, and ``at(depth=1)`` is
    the same place but for the depth. Where both name a level, the sentence's holds.
    """
    return Cell(cell)
