"""What every figure has: names that are checked, rows that are picked, panels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from harness.figures.axes import plain_powers, words
from harness.figures.theme import blank, palette, style
from harness.ledger.results import at
from harness.study import PHASES, InvalidStudy, Study, of_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Figure_:
    """What every figure has.

    Args:
        name: File name and link target.
        caption: A sentence under the figure; by default what it draws, and where.
    """

    name: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):  # it names a file
            raise InvalidStudy(
                f"figure name {self.name!r}; allowed: lower-case letters, digits, '-' and '_'"
            )

    def validate(self, study: Study) -> None:
        """Raise `InvalidStudy` for a name the study does not have, or cells that would be mixed."""
        raise NotImplementedError

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        """The figure of the frame's rows, or a panel saying that there are none yet.

        A frame with a column `seconds` (`Results.timed`) has the times of trials drawn, too.
        """
        raise NotImplementedError

    def told(self, study: Study) -> str:
        """The caption that a report prints."""
        return self.caption or self.name.replace("_", " ").capitalize() + "."


def fixed(value: Any = None) -> Any:
    """A field of `Measured` that a kind of figure does not let a study choose."""
    return field(default=value, init=False)


@dataclass(frozen=True)
class Measured(Figure_):
    """A figure of what trials measured.

    Args:
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

    metric: str = ""
    _: KW_ONLY
    factor: str | None = None
    levels: Sequence[Any] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    arms: Sequence[str] | None = None
    phase: str = "confirm"
    # On a claim's card: of more arms than these, only those that the claim reads are drawn.
    crowd: ClassVar[int | None] = None

    def validate(self, study: Study) -> None:
        self._allow("phase", [self.phase], PHASES)
        self._names_metric(study)
        self._allow("arm", self.arms or (), study.arms)
        axis, facet = self.axis(), self.facet(study)
        self._allow("factor", [name for name in (axis, facet) if name], study.vary)
        self._allow("factor", self.where, study.vary)
        for factor, level in self.where.items():
            self._allow(f"{factor} in where", [level], study.vary[factor])
        taken = [name for name in (axis, facet, *self.where) if name]
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
        self._allow("metric", [self.metric], study.metrics)

    def _allow(self, what: str, received: Any, allowed: Any) -> None:
        for value in received:
            if value not in allowed:
                raise InvalidStudy(
                    f"figure {self.name!r} names {what} {value!r}; allowed: "
                    f"{', '.join(map(str, allowed)) or '(none)'}"
                )

    def facet(self, study: Study) -> str | None:
        """The factor whose levels are the panels."""
        return self.factor or self._free(study)

    def apart(self, study: Study) -> str | None:
        """The factor whose levels are drawn apart, and so can be left out."""
        return self.facet(study)

    def _free(self, study: Study) -> str | None:
        """The factor that neither the axis nor `where` takes, the first with several levels."""
        free = [n for n in study.vary if n not in self.where and n != self.axis()]
        return next((n for n in free if len(study.vary[n]) > 1), free[0] if free else None)

    def axis(self) -> str | None:
        """The factor whose levels lie along an axis, of a figure that has one."""
        return None

    def reads(self, study: Study) -> tuple[str, ...]:
        """The metrics that are drawn."""
        return (self.metric,)

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        with style():
            wanted = self.reads(study)
            rows = frame[[c for c in frame if c not in study.metrics or c in wanted]]
            for factor, level in self.where.items():
                rows = rows[at(rows[factor], level)]
            if self.arms is not None:
                rows = rows[rows["arm"].isin(self.arms)]
            if lacking := self._sealed(study, rows):
                return blank(lacking)
            return self._draw(study, rows) if len(rows) else blank()

    def _sealed(self, study: Study, rows: pd.DataFrame) -> str:
        """What is not there to be drawn, as the test split is sealed in this figure's phase."""
        rows = rows[rows["phase"] == self.phase]
        if not len(rows) or not study.sealed(self.phase):
            return ""
        sealed = [m for m in self.reads(study) if of_test(m) and rows[m].isna().all()]
        if not sealed:
            return ""
        what = " and ".join(study.metrics[m].label or m.replace("_", " ") for m in sealed)
        return f"{what}: the test split is sealed in the {self.phase} phase"

    def _draw(self, study: Study, rows: pd.DataFrame) -> Figure:
        raise NotImplementedError

    def told(self, study: Study) -> str:
        if self.caption:
            return self.caption
        places = [named(factor, level) for factor, level in self.where.items()]
        facet = self.facet(study)
        apart = (
            f", a panel a {facet.replace('_', ' ')}" if facet and facet not in self.where else ""
        )
        arms = listed([study.label(arm) for arm in self.arms or ()])
        what = f"{self._about(study)}{f' of {arms}' if arms else ''}"
        what += f" ({', '.join(places)})" if places else ""
        return f"{what[0].upper()}{what[1:]}{apart}."

    def _about(self, study: Study) -> str:
        """What is drawn, in words; the place and the arms come after it."""
        return words(self.metric, study.metrics[self.metric])

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
    """A figure drawn by the study's own ``fn(study, frame, palette)``, which starts from `panels`."""

    fn: Callable[[Study, pd.DataFrame, dict[str, str]], Figure] | None = None

    def validate(self, study: Study) -> None:
        if not callable(self.fn):
            raise InvalidStudy(f"figure {self.name!r} has fn={self.fn!r}; allowed: a function")

    def draw(self, study: Study, frame: pd.DataFrame) -> Figure:
        assert self.fn is not None
        with style():
            figure = self.fn(study, frame, palette(study)) if len(frame) else blank()
            for ax in figure.axes:
                plain_powers(ax)
            return figure


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


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; nothing where there are more than four, which a legend tells."""
    if not 0 < len(names) < 5:
        return ""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
