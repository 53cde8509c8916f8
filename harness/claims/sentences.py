"""What a study file writes: a function for each kind of claim, named as one would say it.

Keywords beyond those listed pick the cell: ``below("loss", 0.1, arm="adam", task="digits")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import pandas as pd

from harness.claims.checks import Check, Difference, Level, Ratio
from harness.claims.compound import Everywhere, Statistic
from harness.claims.draws import Best, BestLevel, RankCorrelation, SameDraws, Share
from harness.claims.marginals import Carried, Rise
from harness.claims.times import Slower
from harness.claims.verdicts import At
from harness.study import InvalidStudy, Study


def _items(where: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((where or {}).items())


def above(metric: str, value: float, *, arm: str, at: At = "end", **where: Any) -> Check:
    """The metric of `arm` exceeds `value`, on average over seeds."""
    return Level(metric, arm, "above", value, _items(where), at)


def below(metric: str, value: float, *, arm: str, at: At = "end", **where: Any) -> Check:
    """The metric of `arm` stays under `value`, on average over seeds."""
    return Level(metric, arm, "below", value, _items(where), at)


def higher(
    metric: str, *, arm: str, than: str, by: float = 0.0, at: At = "end",
    against: Mapping[str, Any] | None = None, **where: Any,
) -> Check:  # fmt: skip
    """`arm` minus `than` exceeds `by`, paired by seed (a negative `by`: at most that much lower).

    `against` moves `than` to another cell: ``higher("acc", arm="none", than="none", size=1000,
    against={"size": 500})``.
    """
    return Difference(
        metric, arm, "above", by, _items(where), at, than=than, against=_items(against)
    )


def lower(
    metric: str, *, arm: str, than: str, by: float = 0.0, at: At = "end",
    against: Mapping[str, Any] | None = None, **where: Any,
) -> Check:  # fmt: skip
    """`arm` is lower than `than` by more than `by` (a negative `by`: at most that much higher)."""
    return Difference(
        metric, arm, "below", -by, _items(where), at, than=than, against=_items(against)
    )


def equivalent(
    metric: str, *, arm: str, to: str, within: float, at: At = "end",
    against: Mapping[str, Any] | None = None, **where: Any,
) -> Check:  # fmt: skip
    """`arm` and `to` differ by less than `within` (two one-sided tests; Schuirmann 1987)."""
    if within <= 0:
        raise InvalidStudy(f"equivalent(within={within}); allowed: a positive band")
    return Difference(
        metric, arm, "within", within, _items(where), at, than=to, against=_items(against)
    )


def ratio_below(
    metric: str, ratio: float, *, arm: str, than: str, at: At = "end",
    against: Mapping[str, Any] | None = None, **where: Any,
) -> Check:  # fmt: skip
    """`arm` over `than` stays under `ratio`, in the median over seeds."""
    return Ratio(metric, arm, "below", ratio, _items(where), at, than=than, against=_items(against))


def ratio_above(
    metric: str, ratio: float, *, arm: str, than: str, at: At = "end",
    against: Mapping[str, Any] | None = None, **where: Any,
) -> Check:  # fmt: skip
    """`arm` over `than` exceeds `ratio`, in the median over seeds."""
    return Ratio(metric, arm, "above", ratio, _items(where), at, than=than, against=_items(against))


def everywhere(check: Check, **over: Iterable[Any]) -> Check:
    """The check in every listed place: ``everywhere(lower(...), task=("beale", "saddle"))``.

    `over` names factors of `vary`, or `arm`/`than`, with the values to go through; of several checks
    that must hold (`every`), each goes through them.
    """
    if isinstance(check, Everywhere):
        found = (everywhere(inner, **over) for inner in check.checks)
        return every(*(one for each in found for one in cast(Everywhere, each).checks))
    checks = [check]
    levels = {name: tuple(values) for name, values in over.items()}
    for name, values in levels.items():
        if name in ("arm", "than"):
            checks = [replace(c, **{name: level}) for c in checks for level in values]
        else:
            checks = [
                replace(c, where=tuple((dict(c.where) | {name: level}).items()))
                for c in checks
                for level in values
            ]
    return every(*checks)


def every(*checks: Check) -> Check:
    """All of the checks hold: ``every(above("acc", 0.9, arm="relu"), below("acc", ...))``."""
    if not checks:
        raise InvalidStudy("every() and everywhere() need a check; received none")
    first = checks[0]
    return Everywhere(
        first.metric, first.arm, first.direction, first.margin, phase=first.phase, checks=checks
    )


def best(
    metric: str, *, arm: str, among: Iterable[str], by: float = 0.0, better: str = "high",
    at: At = "end", **where: Any,
) -> Check:  # fmt: skip
    """`arm` beats each of `among` by more than `by`; `better` is the metric's good side."""
    others = [other for other in among if other != arm]
    if better not in ("high", "low"):
        raise InvalidStudy(f"best(better={better!r}); allowed: 'high', 'low'")
    beats = higher if better == "high" else lower
    return every(*(beats(metric, arm=arm, than=other, by=by, at=at, **where) for other in others))


def crosses(
    metric: str, *, arm: str, than: str, along: str, first: Any, last: Any, by: float = 0.0,
    at: At = "end", **where: Any,
) -> Check:  # fmt: skip
    """`arm` minus `than` changes sign along a factor: under -`by` at `first`, over `by` at `last`."""
    return every(
        lower(metric, arm=arm, than=than, by=by, at=at, **{along: first}, **where),
        higher(metric, arm=arm, than=than, by=by, at=at, **{along: last}, **where),
    )


def statistic(
    fn: Callable[[pd.DataFrame], float],
    margin: float,
    *,
    metric: str,
    unit: str,
    words: str,
    example: Callable[[Study, int, bool], pd.DataFrame],
    direction: Literal["above", "below"] = "above",
    each: bool = False,
    arms: Iterable[str] = (),
) -> Check:
    """A function of a metric's final values (see `Statistic`) is above, or below, `margin`; where
    `each`, of each seed's own. It reads all arms, or `arms` alone: at a scale that runs no other it
    is judged by them, and where it is open only they are given further seeds."""
    return Statistic(
        metric, "", direction, margin, fn=fn, example=example, words=words, unit_=unit, each=each,
        arms=tuple(arms),
    )  # fmt: skip


def best_draws_higher(
    metric: str, *, arm: str, than: str, by: float = 0.0, share: float = 0.1, select: str = "",
    **where: Any,
) -> Check:  # fmt: skip
    """The best `share` of `arm`'s draws exceed those of `than` by more than `by` (Welch's t)."""
    return Best(metric, arm, "above", by, _items(where), than=than, share=share, select=select)


def best_draws_lower(
    metric: str, *, arm: str, than: str, by: float = 0.0, share: float = 0.1, select: str = "",
    **where: Any,
) -> Check:  # fmt: skip
    """The best `share` of `arm`'s draws are under those of `than` by more than `by` (Welch's t)."""
    return Best(metric, arm, "below", -by, _items(where), than=than, share=share, select=select)


def best_draws_equivalent(
    metric: str, *, arm: str, to: str, within: float, share: float = 0.1, select: str = "",
    **where: Any,
) -> Check:  # fmt: skip
    """The best `share` of the draws of `arm` and `to` differ by less than `within` (Welch's t)."""
    if within <= 0:
        raise InvalidStudy(f"best_draws_equivalent(within={within}); allowed: a positive band")
    return Best(metric, arm, "within", within, _items(where), than=to, share=share, select=select)


def same_draws(check: Check, share: float = 0.25) -> Check:
    """A comparison of best draws, or several, made instead at the `share` of draws that are best for
    the two arms together, paired by draw: ``same_draws(best_draws_lower("acc", arm=…, than=…))``."""
    if isinstance(check, Everywhere):
        return every(*(same_draws(one, share) for one in check.checks))
    if type(check) is not Best:
        raise InvalidStudy(
            f"same_draws({type(check).__name__}); allowed: best_draws_higher, best_draws_lower, "
            "best_draws_equivalent, or everywhere() of them"
        )
    return SameDraws(**vars(check) | {"share": share})


def best_draws_published(
    metric: str, value: float, *, arm: str, within: float, after: int = 0, share: float = 0.1,
    select: str = "", **where: Any,
) -> Check:  # fmt: skip
    """The best `share` of an arm's draws lie `within` a published value, where the longest trial had
    at least `after` updates."""
    if within <= 0:
        raise InvalidStudy(f"best_draws_published(within={within}); allowed: a positive band")
    return BestLevel(
        metric, arm, "within", within, _items(where), than=arm, share=share, select=select,
        value=value, after=after,
    )  # fmt: skip


def rank_correlation_above(
    metric: str, value: float, *, column: str, arm: str, phase: str = "tune", at: At = "end",
    **where: Any,
) -> Check:  # fmt: skip
    """Spearman's correlation of a metric with a metric or nuisance over an arm's trials."""
    return RankCorrelation(metric, arm, "above", value, _items(where), at, phase, column=column)


def rank_correlation_below(
    metric: str, value: float, *, column: str, arm: str, phase: str = "tune", at: At = "end",
    **where: Any,
) -> Check:  # fmt: skip
    """The same, under `value`: ``rank_correlation_below("loss", 0, column="width", arm="lstm")``."""
    return RankCorrelation(metric, arm, "below", value, _items(where), at, phase, column=column)


def share_above(
    metric: str, value: float, *, of: str | tuple[str, str], arm: str, **where: Any
) -> Check:
    """A nuisance (or the interaction of two) explains more than `value` of a metric's variance."""
    return Share(metric, arm, "above", value, _items(where), of=_names(of))


def share_below(
    metric: str, value: float, *, of: str | tuple[str, str], arm: str, **where: Any
) -> Check:
    """A nuisance (or the interaction of two) explains less than `value` of a metric's variance."""
    return Share(metric, arm, "below", value, _items(where), of=_names(of))


def share_higher(
    metric: str, *, of: str, than: str, arm: str, by: float = 0.0, **where: Any
) -> Check:
    """A nuisance explains more of a metric's variance than another, by more than `by`."""
    return Share(metric, arm, "above", by, _items(where), of=(of,), than=(than,))


def rises(metric: str, *, of: str, arm: str, by: float = 0.0, **where: Any) -> Check:
    """A metric's prediction over the highest third of a nuisance's range exceeds that over the
    lowest third by more than `by` (fANOVA's marginal)."""
    return Rise(metric, arm, "above", by, _items(where), of=of)


def falls(metric: str, *, of: str, arm: str, by: float = 0.0, **where: Any) -> Check:
    """The same, is less by more than `by`; a negative `by` allows a rise of so much."""
    return Rise(metric, arm, "below", -by, _items(where), of=of)


def carried(metric: str, *, of: str, over: str, cost: float, arm: str, **where: Any) -> Check:
    """A nuisance chosen in the lower half of another's range and kept in the upper half costs less
    than `cost`, over the best choice there (fANOVA's marginals)."""
    if cost <= 0:
        raise InvalidStudy(f"carried(cost={cost}); allowed: over 0")
    return Carried(metric, arm, "below", cost, _items(where), of=of, over=over)


def slower(ratio: float, *, of: str, arms: Iterable[str], **where: Any) -> Check:
    """Trials over the highest third of a nuisance's range take more than `ratio` times as long as
    those over the lowest third, in packs of one size: on average over arms, or groups of them that
    share packs, and over the cells that `where` leaves open."""
    arms = tuple(arms)
    if not arms or ratio <= 0:
        raise InvalidStudy(f"slower({ratio}, arms={arms}); allowed: a ratio over 0, and arms")
    return Slower("seconds", arms[0], "above", ratio, _items(where), of=of, arms=arms)


def _names(of: str | tuple[str, str]) -> tuple[str, ...]:
    return (of,) if isinstance(of, str) else of
