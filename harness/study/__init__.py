"""The nouns of the project: what a study file declares, frozen and validated. Layer 1.

Nothing here trains, tracks or draws; every value can be compared, printed and sent to a worker.

    study    a study, and its trials
    parts    what it is made of: metrics, arms, budgets, claims
    errors   what a user can get wrong, and how it is said
"""

from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from harness.study.errors import BadInput, DataError, InvalidStudy, Unfinished, few
from harness.study.parts import (
    COLUMNS,
    FINAL_SEEDS,
    PHASES,
    SCALES,
    Arm,
    Budget,
    By,
    Claim,
    Metric,
    Published,
    Sampler,
    Setting,
    Source,
    Trial,
    held_as,
    is_level,
    module_of,
)
from harness.study.study import Study, make_trial

__all__ = [
    "COLUMNS",
    "FINAL_SEEDS",
    "PHASES",
    "SCALES",
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
    "Sampler",
    "Setting",
    "Source",
    "Study",
    "Trial",
    "Unfinished",
    "few",
    "held_as",
    "is_level",
    "make_trial",
    "module_of",
]
