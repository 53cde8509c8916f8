"""What every figure has: names that are checked, rows that are picked, panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.figures.theme import blank, palette, style
from harness.ledger.results import at
from harness.study import PHASES, InvalidStudy, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Figure_:
    """What every figure has.

    Args:
        name: File name and link target.
        caption: A sentence under the figure.
        metric: What is drawn.
        factor: The factor of `vary` whose levels are the panels; by default the one factor that
            `where` leaves open.
        levels: Which levels of the axis, or of the panels where the axis is none of the factors,
            in order; by default all.
        where: Levels that the other factors are held at.
        arms: Which arms; by default all.
        phase: Whose trials curves and intervals read: "confirm", or "tune" in a study whose
            claims read the search itself ("final": further seeds of the best draws).
    """

    name: str
    caption: str
    metric: str = ""
    factor: str | None = None
    levels: tuple[Any, ...] | None = None
    where: tuple[tuple[str, Any], ...] = ()
    arms: tuple[str, ...] | None = None
    phase: str = "confirm"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):  # it names a file
            raise InvalidStudy(
                f"figure name {self.name!r}; allowed: lower-case letters, digits, '-' and '_'"
            )

    def validate(self, study: Study) -> None:
        """Raise `InvalidStudy` for a name the study does not have, or cells that would be mixed."""
        self._allow("phase", [self.phase], PHASES)
        self._names_metric(study)
        self._allow("arm", self.arms or (), study.arms)
        self._allow("factor", [self.factor] if self.factor else [], study.vary)
        self._allow("factor", [name for name, _ in self.where], study.vary)
        for factor, level in self.where:
            self._allow(f"{factor} in where", [level], study.vary[factor])
        axis, facet = self.axis(), self.facet(study)
        self._allow("factor", [axis] if axis else [], study.vary)
        taken = [name for name in (axis, facet, *dict(self.where)) if name]
        for name in taken:
            if taken.count(name) > 1:
                raise InvalidStudy(
                    f"figure {self.name!r} uses factor {name!r} twice; allowed: one of the axis, "
                    "the panels and where={…}"
                )
        if self.levels is not None:
            name = axis or facet or ""
            self._allow(f"level of {name}", self.levels, study.vary.get(name, ()))
        mixed = [n for n, levels in study.vary.items() if len(levels) > 1 and n not in taken]
        if mixed:
            raise InvalidStudy(
                f"figure {self.name!r} would mix cells of {', '.join(mixed)}; allowed: panels "
                "over one factor, and where={…} for the others"
            )

    def _names_metric(self, study: Study) -> None:
        self._allow("metric", [self.metric] if self.metric else [], study.metrics)

    def _allow(self, what: str, received: Any, allowed: Any) -> None:
        for value in received:
            if value not in allowed:
                raise InvalidStudy(
                    f"figure {self.name!r} names {what} {value!r}; allowed: "
                    f"{', '.join(map(str, allowed)) or '(none)'}"
                )

    def facet(self, study: Study) -> str | None:
        """The factor whose levels are the panels."""
        if self.factor is not None:
            return self.factor
        free = [n for n in study.vary if n not in dict(self.where) and n != self.axis()]
        return next((n for n in free if len(study.vary[n]) > 1), free[0] if free else None)

    def axis(self) -> str | None:
        """The factor whose levels lie along an axis, of a figure that has one."""
        return None

    def reads(self, study: Study) -> tuple[str, ...]:
        """The metrics that are drawn."""
        return (self.metric,)

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        """The figure of the frame's rows, or a panel saying that there are none yet.

        A frame with a column `seconds` (`Results.timed`) has the times of trials drawn, too.
        """
        with style():
            wanted = self.reads(study)
            rows = frame[[c for c in frame if c not in study.metrics or c in wanted]]
            for factor, level in self.where:
                rows = rows[at(rows[factor], level)]
            if self.arms is not None:
                rows = rows[rows["arm"].isin(self.arms)]
            return self._draw(study, rows) if len(rows) else blank()

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        raise NotImplementedError

    def _panels(self, study: Study, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """A title and the rows of each panel that has any value of the metric."""
        rows = rows[rows[self.metric].notna() | (rows["status"] == "diverged")]
        factor = self.facet(study)
        if factor is None:
            return [("", rows)] if rows[self.metric].notna().any() else []
        found = []
        for level in self.levels or study.vary[factor]:
            some = rows[at(rows[factor], level)]
            if some[self.metric].notna().any():
                title = level if isinstance(level, str) else f"{factor.replace('_', ' ')} {level}"
                found.append((title.replace("_", " ") if isinstance(level, str) else title, some))
        return found

    def _split(self, study: Study, rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
        """A title and the rows of each panel that has any rows, diverged ones too."""
        factor = self.facet(study)
        if factor is None:
            return [("", rows)]
        levels = study.vary[factor] if self.axis() else self.levels or study.vary[factor]
        parts = [(level, rows[at(rows[factor], level)]) for level in levels]
        single = len(study.vary[factor]) == 1
        return [
            ("" if single else named(factor, level), some) for level, some in parts if len(some)
        ]

    def _arms(self, study: Study, rows: pd.DataFrame) -> list[str]:
        """The arms that have rows, in declared order."""
        there = set(rows["arm"].unique())
        return [arm for arm in study.arms if arm in there]


@dataclass(frozen=True)
class Custom(Figure_):
    """A figure drawn by the study's own function."""

    fn: Callable[[Study, pd.DataFrame, dict[str, str]], Figure] | None = None

    def validate(self, study: Study) -> None:
        if not callable(self.fn):
            raise InvalidStudy(f"figure {self.name!r} has fn={self.fn!r}; allowed: a function")

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        assert self.fn is not None
        with style():
            return self.fn(study, frame, palette(study)) if len(frame) else blank()


def named(factor: str, level: Any) -> str:
    """A level as a panel's title: a word alone, anything else with its factor."""
    if isinstance(level, str):
        return level.replace("_", " ")
    return f"{factor.replace('_', ' ')} {as_word(level)}"


def as_word(level: Any) -> str:
    """A level as a tick's label: yes and no for truth values, thousands set apart."""
    if isinstance(level, bool) or level is None:
        return {True: "yes", False: "no", None: "none"}[level]
    if isinstance(level, int) and abs(level) >= 10_000:
        return f"{level:,}".replace(",", "\u202f")
    return level.replace("_", " ") if isinstance(level, str) else f"{level:.6g}"


def pairs(where: Mapping[str, Any] | None) -> tuple[tuple[str, Any], ...]:
    return tuple((where or {}).items())


def custom(
    name: str, caption: str, fn: Callable[[Study, pd.DataFrame, dict[str, str]], Figure]
) -> Figure_:
    """A figure drawn by ``fn(study, frame, palette)``, which starts from `panels`."""
    return Custom(name, caption, fn=fn)


def as_tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
