"""The nouns of the project: what a study file declares, frozen and validated.

Layer 1. Nothing here trains, tracks or draws; every value can be compared, printed and sent to a
worker.

What a user can get wrong raises a `BadInput`, whose text is one line that shows the value received
and what is allowed:

    ValueError
    └── BadInput            (also: an unknown study or scale, an unreachable tracking server)
        ├── InvalidStudy    a study, or a part of one, that cannot be run as declared
        └── DataError       a data file that is missing, truncated or not the one expected
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

from optuna.distributions import BaseDistribution
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

__all__ = [
    "Arm",
    "BadInput",
    "Budget",
    "By",
    "Choice",
    "Claim",
    "DataError",
    "Float",
    "Int",
    "InvalidStudy",
    "Metric",
    "Published",
    "Source",
    "Study",
    "Trial",
    "make_trial",
]

SCALES = ("smoke", "default", "paper")
PHASES = ("tune", "confirm")
COLUMNS = (
    "study", "phase", "arm", "seed", "trial", "step", "status", "pack", "seconds", "error", "run_id",
)  # fmt: skip

Setting = str | int | float | bool | None
Sampler = Literal["qmc", "random", "tpe"]


class BadInput(ValueError):
    """Something the user gave that cannot be used."""


class InvalidStudy(BadInput):
    """A study, or a part of one, that cannot be run as declared."""


class DataError(BadInput):
    """A data file that is missing, truncated or not the one expected."""


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


def _names(values: Any) -> str:
    return ", ".join(map(str, values)) or "(none)"


@dataclass(frozen=True)
class Metric:
    """One measured quantity.

    Args:
        unit: What a value counts, as printed on axes ("fraction", "steps", "nats").
        better: Which direction is better, or None where neither is.
        worst: The score of a diverged trial; by default the infinite end of the worse side.
        log: Whether the metric is read on a logarithmic axis.
        label: The words on axes; by default the metric's name with blanks.
    """

    unit: str
    better: Literal["high", "low"] | None = None
    worst: float | None = None
    log: bool = False
    label: str | None = None

    def __post_init__(self) -> None:
        if self.better not in ("high", "low", None):
            raise InvalidStudy(f"Metric.better is {self.better!r}; allowed: 'high', 'low', None")

    @property
    def worst_value(self) -> float:
        """The value that a diverged trial scores; NaN where no direction is better."""
        if self.worst is not None:
            return self.worst
        return {"high": -math.inf, "low": math.inf, None: math.nan}[self.better]


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Args:
        settings: The scientific hyperparameters, held for every trial of the arm.
        nuisance: What is tuned for this arm beyond the study's own nuisance.
        held: Study nuisance held at one value instead of tuned ("Adam at its default rate").
        label: The name in figures; by default the arm's key with blanks.
    """

    settings: Mapping[str, Setting] = field(default_factory=dict)
    nuisance: Mapping[str, BaseDistribution] = field(default_factory=dict)
    held: Mapping[str, Setting] = field(default_factory=dict)
    label: str | None = None

    def __post_init__(self) -> None:
        for name in ("settings", "nuisance", "held"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))


@dataclass(frozen=True, init=False)
class By:
    """A value that goes by the level of one factor: ``By("task", {"digits": 60, "music": 24})``.

    Args:
        factor: A factor of `Study.vary`.
        values: The value at each of its levels that the scale runs.
    """

    factor: str
    values: tuple[tuple[Setting, Any], ...]

    def __init__(self, factor: str, values: Mapping[Any, Any]) -> None:
        object.__setattr__(self, "factor", factor)
        object.__setattr__(self, "values", tuple(values.items()))

    def at(self, cell: Mapping[str, Any]) -> Any:
        """The value in a cell of `vary`."""
        return dict(self.values)[cell[self.factor]]

    def __str__(self) -> str:
        return ", ".join(f"{value} ({_plain(level)})" for level, value in self.values)

    def __repr__(self) -> str:
        return f"By({self.factor!r}, {dict(self.values)!r})"


def _plain(level: Setting) -> str:
    return str(level).replace("_", " ")


def _at(value: Any, cell: Mapping[str, Any]) -> Any:
    return value.at(cell) if isinstance(value, By) else value


class Budget:
    """How much one scale may spend.

    Args:
        draws: Nuisance settings tried for each arm and cell in the tune phase; `By` a factor where
            cells differ in cost. The arms of a cell always get the same number.
        seeds: Fresh seeds on which each winner is confirmed (0: the search itself is read).
        most_seeds: Where given, seeds are doubled until every claim is decided or there are so
            many; only cells that an open claim reads get more. By default `seeds`.
        settings: Anything that replaces a `fixed` setting at this scale (``epochs=40``, or `By` a
            factor), or a tuple that narrows a `vary` factor (``depth=(1, 4)``).
    """

    draws: int | By
    seeds: int
    most_seeds: int
    settings: Mapping[str, Any]

    def __init__(
        self, draws: int | By, seeds: int, most_seeds: int | None = None, **settings: Any
    ) -> None:
        numbers = [value for _, value in draws.values] if isinstance(draws, By) else [draws]
        for name, value in (*(("draws", n) for n in numbers), ("seeds", seeds)):
            if not isinstance(value, int) or value < 0:
                raise InvalidStudy(f"Budget.{name} is {value!r}; allowed: an integer of at least 0")
        if min(numbers, default=0) + seeds == 0:
            raise InvalidStudy("Budget has draws=0 and seeds=0; allowed: at least one trial a cell")
        most = seeds if most_seeds is None else most_seeds
        if not isinstance(most, int) or most < seeds or (most and not seeds):
            allowed = f"an integer of at least {seeds}" if seeds else "none, where seeds=0"
            raise InvalidStudy(f"Budget.most_seeds is {most_seeds!r}; allowed: {allowed}")
        self.__dict__.update(draws=draws, seeds=seeds, most_seeds=most, settings=_frozen(settings))

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds a cell at each look at the claims: doubled from `seeds` to `most_seeds`."""
        looks = [self.seeds]
        while looks[-1] < self.most_seeds:
            looks.append(min(2 * looks[-1], self.most_seeds))
        return tuple(looks)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Budget is frozen; cannot set {name}")

    def __repr__(self) -> str:
        more = f", most_seeds={self.most_seeds}" if self.most_seeds > self.seeds else ""
        more += "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"Budget(draws={self.draws}, seeds={self.seeds}{more})"


Trust = Literal["read in the paper", "read off a figure", "quoted by someone else", "from memory"]


@dataclass(frozen=True)
class Published:
    """A number from the literature, set beside ours.

    Args:
        words: The number with its unit, place and setting.
        trust: How it is known, and so how far it can be trusted.
        value: The number in the unit of the claim's effect, where it is comparable.
    """

    words: str
    trust: Trust
    value: float | None = None

    def __post_init__(self) -> None:
        if self.trust not in get_args(Trust):
            raise InvalidStudy(
                f"Published.trust is {self.trust!r}; allowed: {_names(get_args(Trust))}"
            )


@dataclass(frozen=True)
class Claim:
    """A falsifiable sentence, written down before any trial.

    Args:
        statement: The sentence, with its margin in words.
        source: Where it is taught: a tag of `Study.sources` ("[1]") and a heading.
        check: What decides it, from `harness.claims`.
        id: A short stable name; by default a slug of the statement.
        figure: The name of the study's figure that shows it.
        published: What the literature reports, shown beside ours.
    """

    statement: str
    source: str
    check: Any
    id: str = ""
    figure: str | None = None
    published: Published | None = None

    def __post_init__(self) -> None:
        if not self.statement.strip():
            raise InvalidStudy(
                "Claim.statement is empty; write the sentence that is put to the test"
            )
        if not self.source.strip():
            raise InvalidStudy(f"Claim {self.statement!r} has no source; cite a deck or a paper")
        if not self.id:
            slug = re.sub(r"[^a-z0-9]+", "-", self.statement.lower()).strip("-")
            object.__setattr__(self, "id", slug[:48].rstrip("-"))


@dataclass(frozen=True)
class Source:
    """A study file as text, so that a worker anywhere runs exactly what the driver read."""

    name: str
    path: str
    text: str


@dataclass(frozen=True)
class Trial:
    """One arm, one cell of `vary`, one draw of the nuisance, one seed, in one phase.

    ``trial["lr"]`` reads a setting wherever it was declared: arm, vary, nuisance, fixed or budget.
    """

    study: str
    phase: str
    arm: str
    seed: int
    cell: Mapping[str, Setting]
    nuisance: Mapping[str, Setting]
    settings: Mapping[str, Any]
    key: str = ""

    def __getitem__(self, name: str) -> Any:
        try:
            return self.settings[name]
        except KeyError:
            raise KeyError(
                f"trial has no setting {name!r}; declared: {_names(sorted(self.settings))}"
            ) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The setting, or the default where this trial has none of that name."""
        return self.settings.get(name, default)


@dataclass(frozen=True)
class Study:
    """A comparison and what it may claim. See README.md, "Write a study".

    Args:
        question: What the study asks, in one sentence.
        trial: ``Trial -> Training`` (declared, fused into packs), or a generator of row dicts.
        arms: What is compared: a name, and an `Arm` or just its settings.
        metrics: Every quantity a trial may report.
        budgets: A `Budget` for each scale: smoke, default, paper.
        vary: Further factors the arms are compared across; their product is the cells.
        include: Which arms run in which cells; by default all.
        nuisance: What is tuned for each arm and cell with an equal number of draws.
        fixed: What is held constant, printed as caveats.
        select: Metrics that choose the winning draw: the first that the cell reports decides,
            ties go to the next. Validation metrics, never test ones.
        sampler: How draws are made: "qmc" (scrambled Sobol), "random" or "tpe".
        sources: Tags used by claims and what they stand for.
        claims, figures: See `harness.claims` and `harness.figures`.
    """

    question: str
    trial: Callable[[Trial], Any]
    arms: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    budgets: Mapping[str, Budget]
    vary: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    include: Callable[[str, Mapping[str, Setting]], bool] | None = None
    nuisance: Mapping[str, BaseDistribution] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    select: tuple[str, ...] = ()
    sampler: Sampler = "qmc"
    sources: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    figures: tuple[Any, ...] = ()
    name: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise InvalidStudy("Study.question is empty; say what the study asks")
        if not self.arms:
            raise InvalidStudy("Study.arms is empty; a comparison needs at least one arm")
        arms = {k: a if isinstance(a, Arm) else Arm(a) for k, a in self.arms.items()}
        vary = {k: tuple(v) for k, v in self.vary.items()}
        object.__setattr__(self, "arms", _frozen(arms))
        object.__setattr__(self, "vary", _frozen(vary))
        for name in ("metrics", "budgets", "nuisance", "fixed", "sources"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        for name in ("claims", "figures", "select"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_settings()
        self._check_budgets()
        self._check_metrics()
        self._check_claims()
        names = [figure.name for figure in self.figures]
        for figure in self.figures:
            figure.validate(self)
            if names.count(figure.name) > 1:
                raise InvalidStudy(f"figure {figure.name!r} is declared twice; allowed: one a name")

    def _check_settings(self) -> None:
        homes: dict[str, str] = {}
        for home in ("vary", "nuisance", "fixed"):
            for name in getattr(self, home):
                self._check_name(name, home)
                if name in homes:
                    raise InvalidStudy(
                        f"setting {name!r} is declared twice: in {homes[name]} and in {home}; "
                        "allowed: one home a setting"
                    )
                homes[name] = home
        for factor, levels in self.vary.items():
            if not levels:
                raise InvalidStudy(f"vary[{factor!r}] is empty; allowed: at least one level")
        for key, arm in self.arms.items():
            own: dict[str, str] = {}
            for home in ("settings", "nuisance", "held"):
                for name in getattr(arm, home):
                    self._check_name(name, f"arm {key!r}")
                    taken = own.get(name) or (None if home == "held" else homes.get(name))
                    if taken:
                        raise InvalidStudy(
                            f"setting {name!r} is declared twice: in {taken} and in arm {key!r}; "
                            "allowed: one home a setting (hold a nuisance with Arm(held=...))"
                        )
                    own[name] = f"arm {key!r}"
            for name in arm.held:
                if name not in self.nuisance:
                    raise InvalidStudy(
                        f"arm {key!r} holds {name!r}; allowed: {_names(self.nuisance)}"
                    )

    def _check_name(self, name: str, home: str) -> None:
        if not name.isidentifier() or name in COLUMNS or name in self.metrics:
            raise InvalidStudy(
                f"{name!r} in {home} cannot name a setting; allowed: a Python identifier that is "
                f"no metric and none of {_names(COLUMNS)}"
            )

    def _check_budgets(self) -> None:
        if not self.budgets:
            raise InvalidStudy(f"Study.budgets is empty; allowed: {_names(SCALES)}")
        for scale, budget in self.budgets.items():
            if scale not in SCALES:
                raise InvalidStudy(f"budget for scale {scale!r}; allowed: {_names(SCALES)}")
            for name, value in [("draws", budget.draws), *budget.settings.items()]:
                if isinstance(value, By):
                    self._check_by(f"budgets[{scale!r}]", name, value, budget)
                if name == "draws":
                    continue
                if name in self.vary:
                    odd = [v for v in value if v not in self.vary[name]]
                    if odd or not value:
                        raise InvalidStudy(
                            f"budgets[{scale!r}] narrows {name!r} to {value!r}; allowed: some of "
                            f"{_names(self.vary[name])}"
                        )
                elif name not in self.fixed:
                    raise InvalidStudy(
                        f"budgets[{scale!r}] sets {name!r}, which is neither in fixed nor in vary; "
                        f"allowed: {_names([*self.fixed, *self.vary])}"
                    )

    def _check_by(self, home: str, name: str, value: By, budget: Budget) -> None:
        if value.factor not in self.vary or name in self.vary:
            raise InvalidStudy(
                f"{home} sets {name!r} by {value.factor!r}; allowed: draws and fixed settings, by "
                f"{_names(self.vary)}"
            )
        run = budget.settings.get(value.factor, self.vary[value.factor])
        given = [level for level, _ in value.values]
        if [v for v in given if v not in self.vary[value.factor]] or set(run) - set(given):
            raise InvalidStudy(
                f"{home} sets {name!r} by {value.factor!r} at {_names(given)}; allowed: a value at "
                f"each of {_names(run)}"
            )

    def _check_metrics(self) -> None:
        if not self.metrics:
            raise InvalidStudy("Study.metrics is empty; declare what a trial reports")
        for name in self.metrics:
            if name in COLUMNS or not name.isidentifier():
                raise InvalidStudy(f"metric {name!r}; allowed: an identifier, none of {COLUMNS}")
        tuned = self.nuisance or any(a.nuisance for a in self.arms.values())
        if tuned and not self.select:
            raise InvalidStudy("Study.select is empty; say which metric chooses among the draws")
        for name in self.select:
            if name not in self.metrics:
                raise InvalidStudy(f"select names metric {name!r}; allowed: {_names(self.metrics)}")
            if self.metrics[name].better is None:
                raise InvalidStudy(
                    f"select names {name!r}, whose Metric.better is None; allowed: 'high', 'low'"
                )
            if name.startswith("test"):
                raise InvalidStudy(
                    f"select names {name!r}; nothing is tuned on the test split: allowed: "
                    f"{_names(m for m in self.metrics if not m.startswith('test'))}"
                )

    def _check_claims(self) -> None:
        seen: set[str] = set()
        for claim in self.claims:
            if claim.id in seen:
                raise InvalidStudy(f"claim id {claim.id!r} is used twice; allowed: one claim an id")
            seen.add(claim.id)
            for tag in re.findall(r"\[\w+\]", claim.source):
                if tag not in self.sources:
                    raise InvalidStudy(
                        f"claim {claim.id!r} cites {tag}; allowed: {_names(self.sources)}"
                    )
            claim.check.validate(self)
            figures = [f.name for f in self.figures]
            if claim.figure is not None and claim.figure not in figures:
                raise InvalidStudy(
                    f"claim {claim.id!r} names figure {claim.figure!r}; allowed: {_names(figures)}"
                )

    # --- what the rest of the harness asks a study -------------------------------------------

    def budget(self, scale: str) -> Budget:
        """The budget of a scale, or an error naming the scales there are."""
        if scale not in self.budgets:
            raise InvalidStudy(
                f"study {self.name or '?'} has no scale {scale!r}; allowed: {_names(self.budgets)}"
            )
        return self.budgets[scale]

    def cells(self, scale: str) -> list[tuple[str, dict[str, Setting]]]:
        """Every (arm, cell of `vary`) that a scale runs, in declared order."""
        budget = self.budget(scale)
        levels = [tuple(budget.settings.get(name, all_)) for name, all_ in self.vary.items()]
        product = [dict(zip(self.vary, combo, strict=True)) for combo in itertools.product(*levels)]
        return [
            (arm, cell)
            for arm in self.arms
            for cell in product
            if self.include is None or self.include(arm, cell)
        ]

    def space(self, arm: str) -> dict[str, BaseDistribution]:
        """What is drawn for an arm: the study's nuisance and its own, less what it holds."""
        one: Arm = self.arms[arm]
        space = {**self.nuisance, **one.nuisance}
        return {name: dist for name, dist in space.items() if name not in one.held}

    def draws(self, scale: str, arm: str, cell: Mapping[str, Any]) -> int:
        """Draws of an arm in a cell in the tune phase: none where there is nothing to draw and
        fresh seeds are read."""
        budget = self.budget(scale)
        draws: int = _at(budget.draws, cell)
        return draws if self.space(arm) or not budget.seeds else 0

    def settings(self, scale: str, arm: str, cell: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a trial but the drawn ones."""
        one: Arm = self.arms[arm]
        budget = self.budget(scale).settings
        changed = {k: _at(v, cell) for k, v in budget.items() if k not in self.vary}
        return {**self.fixed, **changed, **one.settings, **one.held, **cell}

    def nuisance_names(self) -> list[str]:
        """Every nuisance of any arm, in declared order."""
        names = dict.fromkeys(self.nuisance)
        for arm in self.arms.values():
            names.update(dict.fromkeys(arm.nuisance))
        return list(names)

    def columns(self) -> list[str]:
        """The columns of the study's frame, in the contract's order."""
        first, last = ["study", "phase", "arm"], ["seed", "trial", "step", "status"]
        return [*first, *self.vary, *self.nuisance_names(), *last, *self.metrics]

    def label(self, arm: str) -> str:
        """The arm's name as figures and tables print it."""
        one: Arm = self.arms[arm]
        return one.label or arm.replace("_", " ")

    def cite(self, source: str) -> str:
        """A claim's source with its tags spelt out."""
        for tag in re.findall(r"\[\w+\]", source):
            source = source.replace(tag, self.sources[tag])
        return source


def make_trial(
    study: Study, scale: str, phase: str, arm: str, cell: Mapping[str, Any],
    nuisance: Mapping[str, Any], seed: int, key: str,
) -> Trial:  # fmt: skip
    """A trial with all its settings, from what distinguishes it."""
    settings = {**study.settings(scale, arm, cell), **nuisance}
    return Trial(study.name, phase, arm, seed, dict(cell), dict(nuisance), settings, key)
