"""The nouns of the project: what a study file declares, frozen and validated.

Nothing here trains, tracks or draws; every value can be compared, printed and sent to a worker.

    study    a study, and its trials
    declared what it is made of: metrics, arms, budgets, claims
    sources  the decks and papers that claims cite
    errors   what a user can get wrong, and how it is said

Distributions are Optuna's, which is loaded when the first is declared.

May import nothing of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.study.declared import (
    COLUMNS,
    PHASES,
    PRIMARY,
    SCALES,
    Arm,
    Budget,
    By,
    Claim,
    Family,
    Gate,
    Metric,
    Published,
    Sampler,
    Setting,
    Source,
    Trial,
    all_held,
    classification,
    held_as,
    is_level,
    module_of,
    of_test,
    range_of,
    regression,
)
from harness.study.errors import BadInput, DataError, InvalidStudy, Unfinished, few
from harness.study.study import Study, make_trial

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution as Choice
    from optuna.distributions import FloatDistribution as Float
    from optuna.distributions import IntDistribution as Int

__all__ = [
    "COLUMNS",
    "PHASES",
    "PRIMARY",
    "SCALES",
    "Arm",
    "BadInput",
    "Budget",
    "By",
    "Choice",
    "Claim",
    "DataError",
    "Family",
    "Float",
    "Gate",
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
    "all_held",
    "classification",
    "few",
    "held_as",
    "is_level",
    "make_trial",
    "module_of",
    "of_test",
    "range_of",
    "regression",
]

_DISTRIBUTIONS = {
    "Choice": "CategoricalDistribution",
    "Float": "FloatDistribution",
    "Int": "IntDistribution",
}


def __getattr__(name: str) -> Any:
    if name in _DISTRIBUTIONS:
        from optuna import distributions

        return getattr(distributions, _DISTRIBUTIONS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
