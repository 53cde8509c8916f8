"""A made-up study of depth and activation: what figures over factors and layers are tested on."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pandas as pd

from harness.study import Arm, Budget, Float, Metric, Study

DEPTHS = (1, 4, 16)
ARMS = ("sigmoid", "tanh", "relu", "selu")


def study(**changes: Any) -> Study:
    """The study; keyword arguments replace fields of it."""
    deltas = {f"delta_norm_{i}": Metric("norm", log=True) for i in range(max(DEPTHS) + 1)}
    fields: dict[str, Any] = {
        "name": "deep",
        "question": "Which activation trains a deep network?",
        "trial": print,
        "arms": {arm: Arm({"activation": arm}) for arm in ARMS},
        "vary": {"depth": DEPTHS, "norm": (False, True)},
        "nuisance": {"lr": Float(1e-3, 1.0, log=True)},
        "select": ("valid_accuracy",),
        "metrics": {
            "valid_accuracy": Metric("fraction", better="high", worst=0.1),
            "test_accuracy": Metric("fraction", better="high", worst=0.1),
            "steps_to_90": Metric("steps", better="low", log=True),
            **deltas,
        },
        "budgets": {"smoke": Budget(10, 6)},
    }
    return Study(**{**fields, **changes})


@functools.cache
def frame() -> pd.DataFrame:
    """Its rows: two steps a trial; deep sigmoid networks never get there, deep SELU ones diverge."""
    one = study()
    records: list[dict[str, Any]] = []
    for arm, cell in one.cells("smoke"):
        place, depth = ARMS.index(arm), int(str(cell["depth"]))
        for phase, count in (("tune", 10), ("confirm", 6)):
            for seed in range(count):
                rng = np.random.default_rng([place, depth, bool(cell["norm"]), seed, len(phase)])
                gone = arm == "selu" and (depth == 16 or (depth == 4 and seed == 0))
                shrink = (0.22, 0.7, 0.95, 1.1)[place]
                lr = 10 ** rng.uniform(-3, 0) if phase == "tune" else 0.1
                score = 0.97 - 0.02 * place - 0.03 * math.log2(depth) * (3 - place) / 3
                score += 0.01 * rng.normal() - 0.1 * abs(math.log10(lr) + 1) * (phase == "tune")
                head = {"study": "deep", "phase": phase, "arm": arm, **cell, "lr": lr, "seed": seed}
                head["trial"] = f"{arm}-{depth}-{cell['norm']}-{phase}-{seed}"
                head["status"] = "diverged" if gone else "finished"
                for step in (0,) if gone else (0, 100):
                    row = {**head, "step": step}
                    for layer in range(depth + 1):
                        noise = math.exp(0.1 * rng.normal())
                        row[f"delta_norm_{layer}"] = shrink ** (depth - layer) * noise
                    if step:
                        row |= {"valid_accuracy": score, "test_accuracy": score - 0.005}
                        slow = arm == "sigmoid" and depth == 16
                        row["steps_to_90"] = math.inf if slow else 40 * (1 + place) * depth**0.5
                    records.append(row)
    return pd.DataFrame(records).reindex(columns=one.columns())
