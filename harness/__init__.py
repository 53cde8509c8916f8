"""Put deep learning's textbook claims to the test. See README.md.

Names are loaded when they are first used, so that a command pays only for what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# What a study file needs, and the module each name lives in.
EXPORTS = {
    "Arm": "harness.study",
    "Budget": "harness.study",
    "By": "harness.study",
    "Choice": "harness.study",
    "Claim": "harness.study",
    "Family": "harness.study",
    "Float": "harness.study",
    "Gate": "harness.study",
    "Int": "harness.study",
    "Metric": "harness.study",
    "Published": "harness.study",
    "Study": "harness.study",
    "Trial": "harness.study",
    "classification": "harness.study",
    "regression": "harness.study",
    "Data": "harness.parts.data",
    "at_hand": "harness.parts.data",
    "Loss": "harness.parts.objectives",
    "Optimizer": "harness.parts.optimizers",
    "Rule": "harness.parts.optimizers",
    "Members": "harness.engine.members",
    "Beside": "harness.engine.stages",
    "Player": "harness.engine.stages",
    "Stage": "harness.engine.stages",
    "Stop": "harness.engine.training",
    "Training": "harness.engine.training",
    "train": "harness.engine.pack",
    "run": "harness.app.calls",
    "results": "harness.app.calls",
    "Judged": "harness.app.calls",
}

if TYPE_CHECKING:
    from harness.app.calls import Judged, results, run
    from harness.engine.members import Members
    from harness.engine.pack import train
    from harness.engine.stages import Beside, Player, Stage
    from harness.engine.training import Stop, Training
    from harness.parts.data import Data, at_hand
    from harness.parts.objectives import Loss
    from harness.parts.optimizers import Optimizer, Rule
    from harness.study import (
        Arm,
        Budget,
        By,
        Choice,
        Claim,
        Family,
        Float,
        Gate,
        Int,
        Metric,
        Published,
        Study,
        Trial,
        classification,
        regression,
    )

__all__ = [
    "Arm", "Beside", "Budget", "By", "Choice", "Claim", "Data", "Family", "Float", "Gate", "Int", "Judged", "Loss",
    "Members", "Metric", "Optimizer", "Player", "Published", "Rule", "Stage", "Stop", "Study", "Training", "Trial", "at_hand", "classification",
    "regression", "results", "run", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in EXPORTS:
        return getattr(importlib.import_module(EXPORTS[name]), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
