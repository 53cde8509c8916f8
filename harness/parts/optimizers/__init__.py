"""Optimizers as batched update rules.

A rule updates K trials at once: all parameters of a trial lie in one row of a (K, P) tensor, and
every hyperparameter is a number for each trial. Each rule holds to its `torch.optim` namesake step
by step (see tests/parts/test_optimizers.py); formulas and defaults are those of the papers cited, and the
lectures' are the same unless a docstring says otherwise (Overview, "Optimizer").

An `Optimizer` names a rule, its numbers and a schedule; numbers and schedules may differ between
trials of a pack, the rule may not.
"""

from __future__ import annotations

from harness.parts.optimizers.base import COMMON, Rule
from harness.parts.optimizers.declared import Optimizer
from harness.parts.optimizers.rules import RULES

__all__ = ["COMMON", "RULES", "Optimizer", "Rule"]
