"""What a study is made of: metrics, arms, budgets, claims; and its trials."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from harness.study.errors import (
    InvalidStudy,
    is_count,
    is_number,
    listed,
    want,
    want_mapping,
    want_setting,
    want_text,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SCALES = ("smoke", "default", "evening", "paper")
PHASES = ("tune", "final", "confirm")
COLUMNS = (
    "study", "phase", "arm", "seed", "trial", "step", "status", "pack", "seconds", "error", "began",
    "run_id",
)  # fmt: skip


def of_test(metric: str) -> bool:
    """Whether a metric is of the test split, by a word of its name: ``test_loss``,
    ``best_test_loss``."""
    return "test" in metric.split("_")


Setting = str | int | float | bool | None
Sampler = Literal["qmc", "random", "tpe"]
DISTRIBUTION = "a distribution, as in Float(1e-3, 1.0, log=True)"


def frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping that nobody can change."""
    return MappingProxyType(dict(mapping))


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
        want_text("Metric.unit", self.unit)
        known = self.better is None or (
            isinstance(self.better, str) and self.better in ("high", "low")
        )
        want(known, "Metric.better", self.better, "'high', 'low', None")
        worst = self.worst is None or is_number(self.worst)
        want(worst, "Metric.worst", self.worst, "a number, None")
        want(isinstance(self.log, bool), "Metric.log", self.log, "True, False")
        want_text("Metric.label", self.label, optional=True)

    @property
    def worst_value(self) -> float:
        """The value that a diverged trial scores; NaN where no direction is better."""
        if self.worst is not None:
            return self.worst
        return {"high": -math.inf, "low": math.inf, None: math.nan}[self.better]


def classification(*names: str) -> dict[str, Metric]:
    """The metrics of a classifier by name: ``<split>_loss`` in nats, ``<split>_accuracy`` as a
    fraction.

    Args:
        names: Which, in order; by default the training and validation loss, and the validation and
            test accuracy.
    """
    kinds = {
        "loss": Metric("nats", better="low", log=True),
        "accuracy": Metric("fraction", better="high", worst=0.0),
    }
    found = {}
    for name in names or ("train_loss", "valid_loss", "valid_accuracy", "test_accuracy"):
        split, _, kind = name.partition("_")
        known = split in ("train", "valid", "test") and kind in kinds
        want(known, "a name in classification()", name,
             "train, valid or test, and _loss or _accuracy")  # fmt: skip
        found[name] = kinds[kind]
    return found


def regression(*names: str) -> dict[str, Metric]:
    """The metrics of a regression by name: ``<split>_loss`` and ``<split>_absolute_error``, in the
    target's own unit (the loss in its square, where that is the squared error).

    Args:
        names: Which, in order; by default the training, validation and test loss, and the validation
            and test error.
    """
    default = (
        "train_loss",
        "valid_loss",
        "test_loss",
        "valid_absolute_error",
        "test_absolute_error",
    )
    found = {}
    for name in names or default:
        split, _, kind = name.partition("_")
        known = split in ("train", "valid", "test") and kind in ("loss", "absolute_error")
        want(known, "a name in regression()", name,
             "train, valid or test, and _loss or _absolute_error")  # fmt: skip
        found[name] = Metric("" if kind == "loss" else "of the target", better="low", log=True)
    return found


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
        from optuna.distributions import BaseDistribution

        want_mapping("Arm.nuisance", self.nuisance, BaseDistribution, DISTRIBUTION)
        for home in ("settings", "held"):
            want_mapping(f"Arm.{home}", getattr(self, home))
            for name, value in getattr(self, home).items():
                want_setting(f"Arm.{home}[{name!r}]", value)
        for home in ("settings", "nuisance", "held"):
            object.__setattr__(self, home, frozen(getattr(self, home)))
        want_text("Arm.label", self.label, optional=True)


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
        want_text("By.factor", factor)
        want(isinstance(values, Mapping), "By.values", values, "a mapping, from levels to values")
        for level in values:
            want_setting("a level in By.values", level)
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


def held_as(level: Any, levels: Iterable[Any]) -> Any:
    """How a column of a frame holds a level of a factor, or a choice of a nuisance.

    Columns hold values of one kind. Where None or values of several kinds are among the levels, each
    is held as text: "None", "3", "auto".
    """
    return level if isinstance(level, str) or not _as_text(levels) else repr(level)


def all_held(levels: Iterable[Any]) -> list[Any]:
    """`held_as` of each of the levels."""
    text = _as_text(levels)
    return [repr(one) if text and not isinstance(one, str) else one for one in levels]


def _as_text(levels: Iterable[Any]) -> bool:
    kinds = {type(one) for one in levels}
    return not (kinds in ({str}, {bool}) or kinds <= {int, float})


def is_level(value: Any, level: Any) -> bool:
    """Whether a value is a level, as it is or as a column holds it."""
    return bool(value == level) or (isinstance(value, str) and value == repr(level))


def at_level(value: Any, cell: Mapping[str, Any]) -> Any:
    """What a value is in a cell, where it may be `By` a factor."""
    return value.at(cell) if isinstance(value, By) else value


def range_of(distribution: BaseDistribution) -> str:
    """From where a nuisance is drawn, in words: "0.0001 to 10 (log)"."""
    one: Any = distribution
    if hasattr(one, "choices"):
        return "of " + "/".join(map(str, one.choices))
    return f"{one.low:g} to {one.high:g}{' (log)' if one.log else ''}"


class Budget:
    """How much one scale may spend.

    Args:
        draws: Nuisance settings tried for each arm and cell in the tune phase; `By` a factor where
            cells differ in cost. The arms of a cell always get the same number.
        seeds: Fresh seeds on which each winner is confirmed (0: the search itself is read); `By` a
            factor as `draws`, where at some levels the search itself is read: 0 there, and one number
            elsewhere.
        most_seeds: Where given, seeds are doubled until every claim is decided or there are so
            many; only cells that an open claim reads get more. By default `seeds`.
        futility: Where given, a claim that the last look would decide with a lower probability than
            this, by the seeds so far, gets no more of them (`claims.futility`). 0.05 is sensible.
        finalists: Where given, so many of an arm's best draws in a cell are trained on
            `final_seeds` further seeds each, and the winner is the best of their means: one seed's
            score says little of draws that are nearly as good (Bouthillier et al. 2021).
        final_seeds: More of them find out draws that fail on some seeds; `By` a factor as `draws`.
        settings: Anything that replaces a `fixed` setting at this scale (``epochs=40``, or `By` a
            factor), or a tuple that narrows a `vary` factor (``depth=(1, 4)``).
    """

    draws: int | By
    seeds: int | By
    most_seeds: int
    finalists: int
    final_seeds: int | By
    futility: float
    settings: Mapping[str, Any]

    def __init__(
        self, draws: int | By, seeds: int | By, most_seeds: int | None = None, finalists: int = 0,
        final_seeds: int | By = 3, futility: float = 0.0, **settings: Any,
    ) -> None:  # fmt: skip
        numbers, fresh = _every(draws), _every(seeds)
        for name, value in (*(("draws", n) for n in numbers), *(("seeds", n) for n in fresh)):
            want(is_count(value), f"Budget.{name}", value, "an integer of at least 0")
        if min(numbers, default=0) + min(fresh, default=0) == 0:
            raise InvalidStudy("Budget has draws=0 and seeds=0; allowed: at least one trial a cell")
        if len({*fresh} - {0}) > 1:
            raise InvalidStudy(f"Budget.seeds is {seeds!r}; allowed: one number, and 0")
        first = max(fresh, default=0)
        most = first if most_seeds is None else most_seeds
        allowed = f"an integer of at least {first}" if first else "none, where seeds=0"
        enough = is_count(most) and most >= first and bool(first or not most)
        want(enough, "Budget.most_seeds", most_seeds, allowed)
        want(is_count(finalists) and finalists != 1, "Budget.finalists", finalists,
             "0 (none), or an integer of at least 2")  # fmt: skip
        for number in _every(final_seeds):
            good = is_count(number) and number > 0
            want(good, "Budget.final_seeds", number, "an integer of at least 1")
        chance = isinstance(futility, int | float) and 0 <= futility < 1
        want(chance, "Budget.futility", futility, "a probability under 1; 0 never stops")
        self.__dict__.update(
            draws=draws, seeds=seeds, most_seeds=most, finalists=finalists, final_seeds=final_seeds,
            futility=float(futility), settings=frozen(settings),
        )  # fmt: skip

    @property
    def searched(self) -> tuple[Setting, ...]:
        """Levels at which no winner is confirmed, where others' are: the search itself is read."""
        values = self.seeds.values if isinstance(self.seeds, By) else ()
        return tuple(level for level, count in values if not count)

    @property
    def looks(self) -> tuple[int, ...]:
        """Seeds a cell at each look at the claims: doubled from `seeds` to `most_seeds`."""
        looks = [max(_every(self.seeds), default=0)]
        while looks[-1] < self.most_seeds:
            looks.append(min(2 * looks[-1], self.most_seeds))
        return tuple(looks)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Budget is frozen; cannot set {name}")

    def __repr__(self) -> str:
        more = f", most_seeds={self.most_seeds}" if len(self.looks) > 1 else ""
        more += f", futility={self.futility:g}" if self.futility else ""
        more += f", finalists={self.finalists}" if self.finalists else ""
        more += f", final_seeds={self.final_seeds}" if self.final_seeds != 3 else ""
        more += "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"Budget(draws={self.draws}, seeds={self.seeds}{more})"


def _every(value: Any) -> list[Any]:
    """A value, or all of a `By`."""
    return [one for _, one in value.values] if isinstance(value, By) else [value]


def want_gates(what: str, value: Any) -> None:
    """Raise `InvalidStudy` unless the value is a tuple of gates."""
    good = isinstance(value, tuple) and all(isinstance(one, Gate) for one in value)
    want(good, what, value, "a tuple of harness.Gate")


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
        want_text("Published.words", self.words)
        known = isinstance(self.trust, str) and self.trust in get_args(Trust)
        want(known, "Published.trust", self.trust, listed(get_args(Trust)))
        finite = is_number(self.value) and math.isfinite(self.value or 0.0)
        want(self.value is None or finite, "Published.value", self.value, "a finite number, None")


Order = Literal["holm", "sequence", "bonferroni"]
PRIMARY = "primary"  # the family of a claim that names none


@dataclass(frozen=True)
class Family:
    """Claims that share a part of the study's error rate.

    A decided claim's part passes to the open claims of its family, and a wholly decided family's to
    the next family, after the last to the first: nothing is wasted, and a study still calls no more
    than 5 % of identical arms different (Bretz et al. 2009).

    Args:
        share: Of the study's error rate. With 0 the family waits until the one before it is wholly
            decided (serial gatekeeping).
        order: "holm": the open claims have equal parts. "sequence": the first open claim, as they
            are declared, has all of it, and those after it wait. "bonferroni": every claim has an
            equal part for good, and a decided one's passes to the next family (parallel gatekeeping).
    """

    share: float
    order: Order = "holm"

    def __post_init__(self) -> None:
        fine = is_number(self.share) and 0 <= self.share <= 1
        want(fine, "Family.share", self.share, "a number from 0 to 1")
        known = isinstance(self.order, str) and self.order in get_args(Order)
        want(known, "Family.order", self.order, listed(get_args(Order)))


@dataclass(frozen=True)
class Gate:
    """What a study asks for before its first trial: claims that fail it are not judged.

    Args:
        name: What it asks for, in a few words.
        why_not: Of a study and a scale: None where they pass, else why they do not, in words. It
            is asked before any trial and again whenever the claims are judged, so it must not go by
            what was measured.
    """

    name: str
    why_not: Callable[[Any, str], str | None]

    def __post_init__(self) -> None:
        want_text("Gate.name", self.name)
        want(bool(self.name.strip()), "Gate.name", self.name, "some text")
        want(callable(self.why_not), "Gate.why_not", self.why_not, "a function of study and scale")


@dataclass(frozen=True)
class Claim:
    """A falsifiable sentence, written down before any trial.

    Args:
        statement: The sentence, with its margin in words.
        source: Where it is taught: a tag ("[Kingma]", see `harness.study.sources`) and a heading.
        check: What decides it, from `harness.claims`.
        figure: The name of the study's figure that shows it.
        published: What the literature reports, shown beside ours.
        id: A short stable name: its key in `Study.claims`, else a slug of the statement.
        family: Which of `Study.families` it is corrected in.
        control: An arm without which the claim says nothing: it is judged only where that arm runs
            in every cell that the check reads.
        underpowered: Why it is tested with fewer seeds than would probably decide it, where `harness
            plan --power` says that they are.
        gates: What else must be so for it to be judged; `Study.gates` are for all claims.
        exploratory: It is no test: not registered, not corrected for, and without a verdict. Reports
            show its estimate in a section apart.
    """

    statement: str
    source: str
    check: Any
    figure: str | None = None
    published: Published | None = None
    id: str = ""
    family: str = PRIMARY
    control: str = ""
    underpowered: str = ""
    gates: tuple[Gate, ...] = ()
    exploratory: bool = False

    def __post_init__(self) -> None:
        want_text("Claim.statement", self.statement)
        want_text("Claim.source", self.source)
        if not self.statement.strip():
            raise InvalidStudy(
                "Claim.statement is empty; write the sentence that is put to the test"
            )
        if not self.source.strip():
            raise InvalidStudy(f"Claim {self.statement!r} has no source; cite a deck or a paper")
        if not self.id:
            slug = re.sub(r"[^a-z0-9]+", "-", self.statement.lower()).strip("-")
            object.__setattr__(self, "id", slug[:48].rstrip("-"))
        plain = isinstance(self.id, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.id)
        want(bool(plain), f"the id of claim {self.statement!r}", self.id,
             "letters, digits, '-', '_' and '.', as in Claim(id='faster')")  # fmt: skip
        want_text("Claim.figure", self.figure, optional=True)
        want_text("Claim.family", self.family)
        want(self.published is None or isinstance(self.published, Published), "Claim.published",
             self.published, "a Published, None")  # fmt: skip
        want_text("Claim.control", self.control)
        want_text("Claim.underpowered", self.underpowered)
        want_gates("Claim.gates", self.gates)
        want(
            isinstance(self.exploratory, bool), "Claim.exploratory", self.exploratory, "True, False"
        )


@dataclass(frozen=True)
class Source:
    """A study file as text, so that a worker anywhere runs exactly what the driver read.

    Args:
        name, path, text: Of the file.
        beside: The modules beside it that it imports, and that these import: each file's path from
            the study's folder ("my_models.py", "parts/__init__.py"), and its text.
    """

    name: str
    path: str
    text: str
    beside: tuple[tuple[str, str], ...] = ()

    def modules(self) -> dict[str, str]:
        """The texts of the modules beside it, by module name."""
        return {module_of(path): text for path, text in self.beside}

    def packages(self) -> set[str]:
        """Those of them that are packages."""
        return {module_of(path) for path, _ in self.beside if path.endswith("__init__.py")}


def module_of(path: str) -> str:
    """The name of the module in a file: "parts/layers.py" is parts.layers."""
    parts = path.removesuffix(".py").split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class Trial:
    """One arm, one cell of `vary`, one draw of the nuisance, one seed, in one phase: "tune", "final"
    (one of the best draws, on a further seed) or "confirm".

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
                f"trial has no setting {name!r}; declared: {listed(sorted(self.settings))}"
            ) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The setting, or the default where this trial has none of that name."""
        return self.settings.get(name, default)
