"""What a study declares: a rule, its numbers and a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from harness.parts.optimizers import own
from harness.parts.optimizers.base import COMMON, Ridge, Rule
from harness.parts.optimizers.rules import RULES
from harness.parts.schedules import Constant, Schedule

CONSTANT = Constant()


@dataclass(frozen=True)
class Optimizer:
    """A rule, its numbers and a schedule: ``Optimizer("adam", lr=1e-3, clip=1.0)``.

    Args:
        rule: A key of `RULES`; a `Rule` of one's own; or anything that steps as `torch.optim` does:
            a class, made for each trial from its parameters and the keywords, or a function of
            (name, parameter) pairs and the keywords that makes one. Of the latter kinds each trial
            has an instance, which steps it by itself; the gradient is taken of all at once.
        schedule: What multiplies the rate through training (`harness.parts.schedules`).
        numbers: The rule's own (see its `defaults`, or a class's constructor), and any of `COMMON`
            that it does not take itself.

    Attributes:
        given: What a class or function is made with.

    Raises:
        ValueError: an unknown rule; a number that it does not take; a class that needs more than a
            gradient (a closure, say).
    """

    rule: str | type[Rule] | own.Maker
    schedule: Schedule = CONSTANT
    numbers: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    def __init__(
        self, rule: str | type[Rule] | own.Maker, schedule: Schedule = CONSTANT, **numbers: Any
    ) -> None:
        if isinstance(rule, str) and rule not in RULES:
            raise ValueError(f"optimizer is {rule!r}; allowed: {', '.join(RULES)}")
        if not isinstance(rule, str) and not callable(rule):
            raise ValueError(
                f"optimizer is {rule!r}; allowed: a rule's name, a Rule, a class like those of "
                "torch.optim, or a function that makes one"
            )
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "schedule", schedule)
        given: dict[str, Any] = {}
        if self.batched is None:
            given = {
                n: v for n, v in numbers.items() if n not in COMMON or own.takes(self.maker, n)
            }
            own.check(self.maker, given)
            defaults = {**COMMON, **Stepped.defaults}
        else:
            defaults = {**COMMON, **self.batched.defaults}
        takes = [n for n in defaults if self.batched is None or self._takes(self.batched, n)]
        for name in numbers:
            if name not in takes and name not in given:
                raise ValueError(f"{self.name} takes no {name!r}; allowed: {', '.join(takes)}")
        if self.solves and schedule != CONSTANT:
            raise ValueError(
                f"{self.name} is solved at once and has {schedule}; allowed: no schedule"
            )
        ours = {name: float(value) for name, value in numbers.items() if name not in given}
        object.__setattr__(self, "numbers", MappingProxyType({**defaults, **ours}))
        object.__setattr__(self, "given", MappingProxyType(given))

    @staticmethod
    def _takes(rule: type[Rule], name: str) -> bool:
        return name in rule.defaults or name in rule.common

    @property
    def solves(self) -> bool:
        """Whether it solves a layer in closed form, and makes no steps."""
        return self.batched is not None and issubclass(self.batched, Ridge)

    @property
    def asked(self) -> float:
        """How often a step asks for the loss or its curvature, at most."""
        rule = self.batched
        return self.numbers[rule.rounds] if rule is not None and rule.asks else 0.0

    @property
    def batched(self) -> type[Rule] | None:
        """The rule that moves all trials at once, if it is one."""
        if isinstance(self.rule, str):
            return RULES[self.rule]
        if isinstance(self.rule, type) and issubclass(self.rule, Rule):
            return self.rule
        return None

    @property
    def maker(self) -> own.Maker:
        """What makes an instance for each trial, where `batched` is None."""
        assert not isinstance(self.rule, str)
        return cast(own.Maker, self.rule)

    @property
    def name(self) -> str:
        """What it is called."""
        return self.rule if isinstance(self.rule, str) else own.called(self.maker)


class Stepped(Rule):
    """Stands for what steps each trial by itself: of its numbers a pack knows the schedule's factor
    only."""

    defaults = {"lr": 1.0}
