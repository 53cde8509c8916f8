"""A study: a comparison and what it may claim. And its trials, put together."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

from harness.study.declared import (
    COLUMNS,
    DISTRIBUTION,
    PRIMARY,
    SCALES,
    Arm,
    Budget,
    By,
    Claim,
    Family,
    Gate,
    Metric,
    Sampler,
    Setting,
    Trial,
    all_held,
    at_level,
    frozen,
    held_as,
    of_test,
    want_gates,
)
from harness.study.errors import InvalidStudy, listed, want, want_mapping, want_setting, want_text
from harness.study.sources import SOURCES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Study:
    """A comparison and what it may claim. See CONTRIBUTING.md, "Add a study".

    Args:
        question: What the study asks, in one sentence.
        trial: ``Trial -> Training`` (declared, fused into packs), or a generator of row dicts.
        arms: What is compared: a name, and an `Arm` or just its settings.
        metrics: Every quantity a trial may report.
        budgets: A `Budget` for each scale: smoke, default, paper, and evening where the paper's
            protocol with fewer trials fits an evening on two cores.
        vary: Further factors the arms are compared across; their product is the cells. Where None or
            values of several types are among a factor's levels, frames hold all of them as text.
        include: Which arms run in which cells; by default all.
        nuisance: What is tuned for each arm and cell with an equal number of draws.
        fixed: What is held constant, printed as caveats.
        select: Metrics that choose the winning draw: the first that the cell reports decides,
            ties go to the next. Validation metrics, never test ones.
        sampler: How draws are made: "qmc" (scrambled Sobol), "random" or "tpe".
        reads: Names of studies whose rows at the same scale the trials read, by
            `harness.parts.data.table`. A run of this one runs those first, or takes them from the ledger.
        needs: Arms that cannot run without a data set, and the setting that names it:
            ``{"transfer": "other_data"}``. Where it is not at hand, the smoke and default scales leave
            the cell out, and `harness plan` says so; the paper scale downloads it.
        sources: What tags in claims stand for, where `harness.study.sources` does not have them or
            this study means another: the source's words, or its tag there.
        claims: A mapping from ids to claims, whose checks are of `harness.claims`; kept as a tuple.
            The test split is sealed: before the confirm phase a trial is scored on nothing of it, but
            in a phase of which a claim reads a metric of it (a metric with "test" as a word of its
            name). What generators of rows say of it there is dropped.
        families: What part of the study's error rate which claims share, by the name that
            `Claim.family` has, in the order in which what is left over passes on; by default all
            claims are one family, in Holm's order.
        figures: See `harness.figures`.
        gates: What must be so before the first trial for the claims to be judged, beside what is
            asked of every claim: see `harness.claims.gates`.
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
    reads: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    families: Mapping[str, Family] = field(default_factory=dict)
    figures: tuple[Any, ...] = ()
    gates: tuple[Gate, ...] = ()
    name: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        claims: Any = self.claims
        if isinstance(claims, Mapping):
            want_mapping("Study.claims", claims, Claim, "a Claim")
            named = tuple(replace(claim, id=id_) for id_, claim in claims.items())
            object.__setattr__(self, "claims", named)
        self._check_kinds()
        if not self.question.strip():
            raise InvalidStudy("Study.question is empty; say what the study asks")
        if not self.arms:
            raise InvalidStudy("Study.arms is empty; a comparison needs at least one arm")
        arms = {k: a if isinstance(a, Arm) else Arm(a) for k, a in self.arms.items()}
        vary = {k: tuple(v) for k, v in self.vary.items()}
        object.__setattr__(self, "arms", frozen(arms))
        object.__setattr__(self, "vary", frozen(vary))
        cited = {tag for claim in self.claims for tag in _tags(claim.source)}
        shelf = {tag: words for tag, words in SOURCES.items() if tag in cited}
        own = {tag: SOURCES.get(words, words) for tag, words in self.sources.items()}
        object.__setattr__(self, "sources", {**shelf, **own})
        for name in ("metrics", "budgets", "nuisance", "fixed", "needs", "sources", "families"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        for name in ("claims", "figures", "select", "reads"):
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

    def _check_kinds(self) -> None:
        for name in ("question", "name", "title"):
            want_text(f"Study.{name}", getattr(self, name))
        from optuna.distributions import BaseDistribution

        kinds: dict[str, tuple[Any, str]] = {
            "arms": ((Arm, Mapping), "an Arm, or its settings"),
            "metrics": (Metric, "a Metric"),
            "budgets": (Budget, "a Budget"),
            "vary": ((tuple, list, range), "a tuple of levels"),
            "nuisance": (BaseDistribution, DISTRIBUTION),
            "fixed": (object, ""),
            "needs": (str, "the name of a setting"),
            "sources": (str, "text"),
            "families": (Family, "a Family"),
        }
        for name, (kind, words) in kinds.items():
            want_mapping(f"Study.{name}", getattr(self, name), kind, words)
        for name in ("select", "claims", "figures", "reads"):
            value = getattr(self, name)
            want(isinstance(value, tuple | list), f"Study.{name}", value, "a tuple")
        for name in self.arms:
            want_text("the name of an arm", name)
            want(bool(name.strip()), "the name of an arm", name, "some text")
        for read in self.reads:
            want_text("one of Study.reads", read)
        for metric in self.select:
            want(isinstance(metric, str), "one of Study.select", metric, listed(self.metrics))
        for claim in self.claims:
            want(isinstance(claim, Claim), "one of Study.claims", claim, "a Claim")
            want(hasattr(claim.check, "validate"), f"the check of claim {claim.id!r}", claim.check,
                 "one of harness.claims, as in above(...)")  # fmt: skip
        for figure in self.figures:
            want(hasattr(figure, "validate"), "one of Study.figures", figure,
                 "one of harness.figures, as in intervals(...)")  # fmt: skip
        want_gates("Study.gates", self.gates)
        want(callable(self.trial), "Study.trial", self.trial, "a function of the study file")
        want(self.include is None or callable(self.include), "Study.include", self.include,
             "a function of arm and cell, None")  # fmt: skip
        known = isinstance(self.sampler, str) and self.sampler in get_args(Sampler)
        want(known, "Study.sampler", self.sampler, listed(get_args(Sampler)))
        for factor, levels in self.vary.items():
            for level in levels:
                want_setting(f"a level of vary[{factor!r}]", level)
            once = len(set(levels)) == len(levels)  # 1 and True and 1.0 are one level
            want(once, f"vary[{factor!r}]", levels, "each level once")
            self._check_held(f"vary[{factor!r}]", levels)
        arms = [arm.nuisance for arm in self.arms.values() if isinstance(arm, Arm)]
        for space in (self.nuisance, *arms):
            for name, one in space.items():
                self._check_held(f"nuisance[{name!r}]", getattr(one, "choices", ()))

    def _check_held(self, what: str, levels: Sequence[Any]) -> None:
        held = all_held(levels)
        want(len(set(held)) == len(held), what, levels,
             "levels that differ as text, where None or several types are among them")  # fmt: skip

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
                        f"arm {key!r} holds {name!r}; allowed: {listed(self.nuisance)}"
                    )
        for key, setting in self.needs.items():
            want(key in self.arms, "an arm in Study.needs", key, listed(self.arms))
            known = {**self.fixed, **self.vary, **self.arms[key].settings}
            want(setting in known, f"what arm {key!r} needs", setting, listed(known))

    def _check_name(self, name: str, home: str) -> None:
        if not name.isidentifier() or name in COLUMNS or name in self.metrics:
            raise InvalidStudy(
                f"{name!r} in {home} cannot name a setting; allowed: a Python identifier that is "
                f"no metric and none of {listed(COLUMNS)}"
            )

    def _check_budgets(self) -> None:
        if not self.budgets:
            raise InvalidStudy(f"Study.budgets is empty; allowed: {listed(SCALES)}")
        for scale, budget in self.budgets.items():
            if scale not in SCALES:
                raise InvalidStudy(f"budget for scale {scale!r}; allowed: {listed(SCALES)}")
            counts = {
                "draws": budget.draws, "seeds": budget.seeds, "final_seeds": budget.final_seeds
            }  # fmt: skip
            for name, value in [*counts.items(), *budget.settings.items()]:
                if isinstance(value, By):
                    self._check_by(f"budgets[{scale!r}]", name, value, budget)
                if name in counts:
                    continue
                if name in self.vary:
                    where = f"budgets[{scale!r}]'s {name}"
                    want(isinstance(value, tuple | list), where, value, "a tuple of levels")
                    for level in value:
                        want_setting(f"a level of {where}", level)
                    want(len(set(value)) == len(value), where, value, "each level once")
                    if set(value) - set(self.vary[name]) or not value:
                        raise InvalidStudy(
                            f"budgets[{scale!r}] narrows {name!r} to {value!r}; allowed: some of "
                            f"{listed(self.vary[name])}"
                        )
                elif name not in self.fixed:
                    raise InvalidStudy(
                        f"budgets[{scale!r}] sets {name!r}, which is neither in fixed nor in vary; "
                        f"allowed: {listed([*self.fixed, *self.vary])}"
                    )

    def _check_by(self, home: str, name: str, value: By, budget: Budget) -> None:
        if value.factor not in self.vary or name in self.vary:
            raise InvalidStudy(
                f"{home} sets {name!r} by {value.factor!r}; allowed: draws, seeds, final_seeds and "
                f"fixed settings, by "
                f"{listed(self.vary)}"
            )
        run = budget.settings.get(value.factor, self.vary[value.factor])
        given = [level for level, _ in value.values]
        if [v for v in given if v not in self.vary[value.factor]] or set(run) - set(given):
            raise InvalidStudy(
                f"{home} sets {name!r} by {value.factor!r} at {listed(given)}; allowed: a value at "
                f"each of {listed(run)}"
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
                raise InvalidStudy(f"select names metric {name!r}; allowed: {listed(self.metrics)}")
            if self.metrics[name].better is None:
                raise InvalidStudy(
                    f"select names {name!r}, whose Metric.better is None; allowed: 'high', 'low'"
                )
            if of_test(name):
                raise InvalidStudy(
                    f"select names {name!r}; nothing is tuned on the test split: allowed: "
                    f"{listed(m for m in self.metrics if not of_test(m))}"
                )

    def _check_claims(self) -> None:
        shares = {name: family.share for name, family in self.families.items()}
        if shares and not math.isclose(sum(shares.values()), 1.0):
            raise InvalidStudy(
                f"shares of Study.families are {shares}; allowed: those that sum to 1"
            )
        seen: set[str] = set()
        for claim in self.claims:
            families = self.families or (PRIMARY,)
            want(claim.family in families, f"the family of claim {claim.id!r}", claim.family,
                 f"{listed(families)}, as Study.families declares")  # fmt: skip
            if claim.id in seen:
                raise InvalidStudy(f"claim id {claim.id!r} is used twice; allowed: one claim an id")
            seen.add(claim.id)
            for tag in _tags(claim.source):
                if tag not in self.sources:
                    raise InvalidStudy(
                        f"claim {claim.id!r} cites {tag}; allowed: "
                        f"{listed({**self.sources, **SOURCES})}, or what Study.sources adds"
                    )
            claim.check.validate(self)
            if claim.control:
                want(claim.control in self.arms, f"the control of claim {claim.id!r}", claim.control,
                     listed(self.arms))  # fmt: skip
            figures = [f.name for f in self.figures]
            if claim.figure is not None and claim.figure not in figures:
                raise InvalidStudy(
                    f"claim {claim.id!r} names figure {claim.figure!r}; allowed: {listed(figures)}"
                )

    # --- what the rest of the harness asks a study -------------------------------------------

    @property
    def tested(self) -> list[Claim]:
        """The claims that are put to the test."""
        return [claim for claim in self.claims if not claim.exploratory]

    @property
    def explored(self) -> list[Claim]:
        """The claims that are only looked into."""
        return [claim for claim in self.claims if claim.exploratory]

    def budget(self, scale: str) -> Budget:
        """The budget of a scale, or an error naming the scales there are."""
        if scale not in self.budgets:
            raise InvalidStudy(
                f"study {self.name or '?'} has no scale {scale!r}; allowed: {listed(self.budgets)}"
            )
        return self.budgets[scale]

    @functools.cached_property
    def unsealed(self) -> dict[str, list[str]]:
        """The phases before the confirm phase of which claims read a metric of the test split, and
        these claims, by id."""
        found: dict[str, list[str]] = {}
        for claim in self.claims:
            phases = {phase for phase, name in claim.check.reads(self) if of_test(name)}
            for phase in phases - {"confirm"}:
                found.setdefault(phase, []).append(claim.id)
        return found

    def sealed(self, phase: str) -> bool:
        """Whether trials of a phase are scored on nothing of the test split."""
        return phase != "confirm" and phase not in self.unsealed

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

    def needed(self, scale: str, arm: str, cell: Mapping[str, Any]) -> str:
        """The data set without which a cell is left out of a scale, or ""."""
        needs = arm in self.needs and scale in ("smoke", "default")
        return str(self.settings(scale, arm, cell)[self.needs[arm]]) if needs else ""

    def space(self, arm: str) -> dict[str, BaseDistribution]:
        """What is drawn for an arm: the study's nuisance and its own, less what it holds."""
        one: Arm = self.arms[arm]
        space = {**self.nuisance, **one.nuisance}
        return {name: dist for name, dist in space.items() if name not in one.held}

    def draws(self, scale: str, arm: str, cell: Mapping[str, Any]) -> int:
        """Draws of an arm in a cell in the tune phase: none where there is nothing to draw and
        fresh seeds are read."""
        budget = self.budget(scale)
        draws: int = at_level(budget.draws, cell)
        return draws if self.space(arm) or not self.seeds(scale, cell) else 0

    def seeds(self, scale: str, cell: Mapping[str, Any]) -> int:
        """Fresh seeds of each winner in a cell, before any claim asks for more: none where the
        search itself is read."""
        seeds: int = at_level(self.budget(scale).seeds, cell)
        return seeds

    def finalists(self, scale: str, arm: str, cell: Mapping[str, Any]) -> int:
        """How many of an arm's draws in a cell are trained on further seeds: none without a choice,
        or where no winner is confirmed beside those of other cells."""
        draws, budget = self.draws(scale, arm, cell), self.budget(scale)
        unread = budget.looks[0] and not self.seeds(scale, cell)
        return min(budget.finalists, draws) if draws > 1 and self.space(arm) and not unread else 0

    def count(self, scale: str, arm: str, cell: Mapping[str, Any]) -> dict[str, int]:
        """Trials of each phase of an arm in a cell, before any claim asks for more seeds."""
        budget = self.budget(scale)
        return {
            "tune": self.draws(scale, arm, cell),
            "final": self.finalists(scale, arm, cell) * at_level(budget.final_seeds, cell),
            "confirm": self.seeds(scale, cell),
        }

    def trials(self, scale: str, arm: str, cell: Mapping[str, Any]) -> int:
        """Trials of an arm in a cell, before any claim asks for more seeds."""
        return sum(self.count(scale, arm, cell).values())

    def settings(self, scale: str, arm: str, cell: Mapping[str, Any]) -> dict[str, Any]:
        """All settings of a trial but the drawn ones."""
        one: Arm = self.arms[arm]
        budget = self.budget(scale).settings
        changed = {k: at_level(v, cell) for k, v in budget.items() if k not in self.vary}
        return {**self.fixed, **changed, **one.settings, **one.held, **cell}

    def nuisance_names(self) -> list[str]:
        """Every nuisance of any arm, in declared order."""
        names = dict.fromkeys(self.nuisance)
        for arm in self.arms.values():
            names.update(dict.fromkeys(arm.nuisance))
        return list(names)

    def held(self, name: str, level: Any) -> Any:
        """How a frame holds a level of a factor or a drawn value: see `held_as`."""
        if name in self.vary:
            return held_as(level, self.vary[name])
        spaces = (self.nuisance, *(arm.nuisance for arm in self.arms.values()))
        choices = [one for space in spaces for one in getattr(space.get(name), "choices", ())]
        return held_as(level, choices) if choices else level

    def columns(self) -> list[str]:
        """The columns of the study's frame, in the contract's order."""
        first, last = ["study", "phase", "arm"], ["seed", "trial", "step", "status"]
        return [*first, *self.vary, *self.nuisance_names(), *last, *self.metrics]

    def label(self, arm: str) -> str:
        """The arm's name as figures and tables print it."""
        one: Arm = self.arms[arm]
        return one.label or arm.replace("_", " ")

    def grouped(self) -> list[tuple[Family, list[int]]]:
        """The families in order, and the places of their claims in `tested`."""
        families = self.families or {PRIMARY: Family(1.0)}
        return [
            (family, [i for i, claim in enumerate(self.tested) if claim.family == name])
            for name, family in families.items()
        ]

    def cite(self, source: str) -> str:
        """A claim's source with its tags spelt out."""
        for tag in _tags(source):
            source = source.replace(tag, self.sources[tag])
        return source


def _tags(source: str) -> list[str]:
    """The tags in a claim's source: "[Kingma]"."""
    return re.findall(r"\[[\w-]+\]", source)


def make_trial(
    study: Study, scale: str, phase: str, arm: str, cell: Mapping[str, Any],
    nuisance: Mapping[str, Any], seed: int, key: str,
) -> Trial:  # fmt: skip
    """A trial with all its settings, from what distinguishes it."""
    settings = {**study.settings(scale, arm, cell), **nuisance}
    return Trial(study.name, phase, arm, seed, dict(cell), dict(nuisance), settings, key)
