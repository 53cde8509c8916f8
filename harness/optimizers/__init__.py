"""Optimizers as batched update rules. Layer 2.

A rule updates K trials at once: all parameters of a trial lie in one row of a (K, P) tensor, and
every hyperparameter is a number for each trial. Each rule holds to its `torch.optim` namesake step
by step (see tests/test_optimizers.py); formulas and defaults are those of the papers cited, and the
lectures' are the same unless a docstring says otherwise (Overview, "Optimizer").

An `Optimizer` names a rule, its numbers and a schedule; numbers and schedules may differ between
trials of a pack, the rule may not.
"""

from __future__ import annotations

from harness.optimizers.declared import Optimizer
from harness.optimizers.flat import Flat
from harness.optimizers.rules import COMMON, RULES, Rule
from harness.optimizers.stepper import Stepper

__all__ = ["COMMON", "RULES", "Flat", "Optimizer", "Rule", "Stepper"]
