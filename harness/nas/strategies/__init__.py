"""Search strategies: which architecture to train next.

Each is a generator function of a space and a random generator that yields what to train and is sent
its score (see `harness.nas.table`). All that learn from scores spend about `first` full trainings at
random before they do.

    blind          random search
    local          hill climbing, regularized evolution
    fidelities     successive halving, Hyperband
    sampled        Optuna's samplers: TPE, NSGA-II
    regression     a regression on encodings
    comparator     a graph network that says which of two is better
"""

from harness.nas.strategies.comparator import Comparator, comparator, comparator_clean, compared
from harness.nas.strategies.fidelities import hyperband, successive_halving
from harness.nas.strategies.local import evolution, local_search, random_search
from harness.nas.strategies.regression import regression, regressor
from harness.nas.strategies.sampled import nsga2, tpe
from harness.nas.table import Strategy

STRATEGIES: dict[str, Strategy] = {
    "random": random_search,
    "local": local_search,
    "evolution": evolution,
    "halving": successive_halving,
    "hyperband": hyperband,
    "tpe": tpe,
    "nsga2": nsga2,
    "regression": regression,
    "comparator": comparator,
    "comparator_clean": comparator_clean,
}

__all__ = [
    "STRATEGIES", "Comparator", "comparator", "comparator_clean", "compared", "evolution",
    "hyperband", "local_search", "nsga2", "random_search", "regression", "regressor",
    "successive_halving", "tpe",
]  # fmt: skip
