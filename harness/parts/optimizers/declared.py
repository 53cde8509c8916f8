"""What a study declares: a rule by name, its numbers and a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from harness.parts.optimizers.rules import COMMON, RULES
from harness.parts.schedules import Constant, Schedule

CONSTANT = Constant()


@dataclass(frozen=True)
class Optimizer:
    """A rule by name, its numbers and a schedule: ``Optimizer("adam", lr=1e-3, clip=1.0)``.

    Args:
        rule: A key of `RULES`.
        schedule: What multiplies the rate through training (`harness.parts.schedules`).
        numbers: The rule's own (see its `defaults`), and any of `COMMON`.

    Raises:
        ValueError: an unknown rule, or a number that the rule does not take.
    """

    rule: str
    schedule: Schedule = CONSTANT
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __init__(self, rule: str, schedule: Schedule = CONSTANT, **numbers: float) -> None:
        if rule not in RULES:
            raise ValueError(f"optimizer is {rule!r}; allowed: {', '.join(RULES)}")
        defaults = {**COMMON, **RULES[rule].defaults}
        for name in numbers:
            if name not in defaults:
                raise ValueError(f"{rule} takes no {name!r}; allowed: {', '.join(defaults)}")
        full = {**defaults, **{name: float(value) for name, value in numbers.items()}}
        object.__setattr__(self, "rule", rule)
        object.__setattr__(self, "schedule", schedule)
        object.__setattr__(self, "numbers", MappingProxyType(full))
