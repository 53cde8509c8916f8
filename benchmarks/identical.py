"""Studies of identical arms, trained for real: how many of them find a difference?

Run as ``python -m benchmarks.identical``: prints one row a kind of study. `benchmarks.calibration` draws
its outcomes from distributions; here they are test accuracies of small networks on digits. The arms of
a study differ in nothing but the numbers of the random subsets that they are trained on, so every
verdict that one is better than another is wrong. At most 5 % of studies should hold one.

Where arms are tuned, the winners' rates differ by luck, and with them, a little, the truth: what is
counted there is not the rate of wrong verdicts on the winners but how often tuning by few draws is
taken for a difference of the arms (VERDICTS.md, "Why you can believe a verdict").
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

import harness
from harness import Arm, Budget, Claim, Data, Family, Float, Metric, Optimizer, Study, Training
from harness.claims import higher, judge, rows_for
from harness.parts.models import MLP

ARMS = ("a", "b", "c", "d")
LOOKS = (10, 20, 40)
DRAWS = 8
RATES = np.geomspace(3e-3, 3e-2, DRAWS)
PACK = 512
PAIRS = [(one, other) for i, one in enumerate(ARMS) for other in ARMS[i + 1 :]]
FAMILIES = {"primary": Family(0.8), "secondary": Family(0.2)}


def study(families: bool) -> Study:
    """Six claims, on every pair of four arms."""
    claims = {
        f"{one}-{other}": Claim(
            f"{one} is better than {other}.", "none", higher("test_accuracy", arm=one, than=other),
            family="primary" if not families or one == "a" else "secondary",
        )
        for one, other in PAIRS
    }  # fmt: skip
    return Study(
        question="Do identical arms differ?", trial=lambda t: None, arms={arm: Arm() for arm in ARMS},
        metrics={"test_accuracy": Metric("fraction", better="high", worst=0.0),
                 "valid_accuracy": Metric("fraction", better="high", worst=0.0)},
        nuisance={"lr": Float(3e-3, 3e-2, log=True)}, select=("valid_accuracy",),
        budgets={"default": Budget(DRAWS, LOOKS[0], LOOKS[-1])}, claims=claims,
        families=FAMILIES if families else {},
    )  # fmt: skip


def one(lr: float, subset: int) -> Training:
    """A small network on 200 digits, a random subset of its own."""
    return Training(
        partial(MLP, (64, 16, 10)), Optimizer("adam", lr=float(lr)), Data("digits", 200, draw=subset),
        steps=60, every=60, batch_size=20,
    )  # fmt: skip


def scores(trainings: Sequence[Training], seeds: Sequence[int], metric: str) -> np.ndarray:
    """The last value of a metric of each training."""
    found: list[float] = []
    for at in range(0, len(seeds), PACK):
        part = slice(at, at + PACK)
        outcomes = harness.train(list(trainings[part]), list(seeds[part]))
        found += [outcome.metrics[metric][-1] for outcome in outcomes]
    return np.array(found)


def accuracies(number: int, studies: int, tuned: bool) -> np.ndarray:
    """(studies, arms, seeds) test accuracies of the winners."""
    shape = (studies, len(ARMS), LOOKS[-1])
    places = list(np.ndindex(*shape))
    lr = np.full(shape[:2], 1e-2)
    if tuned:
        cells = list(np.ndindex(*shape[:2], DRAWS))
        tries = [one(RATES[draw], _subset(number, s, a, LOOKS[-1])) for s, a, draw in cells]
        seeds = [_seed(number, s, LOOKS[-1]) for s, _, _ in cells]
        lr = RATES[scores(tries, seeds, "valid_accuracy").reshape(*shape[:2], DRAWS).argmax(2)]
    trainings = [one(lr[s, a], _subset(number, s, a, seed)) for s, a, seed in places]
    seeds = [_seed(number, s, seed) for s, _, seed in places]
    return scores(trainings, seeds, "test_accuracy").reshape(shape)


def _seed(number: int, study: int, seed: int) -> int:
    return (number * 1_000 + study) * 1_000 + seed


def _subset(number: int, study: int, arm: int, seed: int) -> int:
    return _seed(number, study, seed) * len(ARMS) + arm


def differ(found: np.ndarray, families: bool, looks: Sequence[int]) -> int:
    """How many of the studies hold a verdict."""
    declared = study(families)
    wrong = 0
    for accuracy in found:
        most = looks[-1]
        frame = pd.concat([
            rows_for(declared, "test_accuracy", arm, accuracy[a, :most])
            for a, arm in enumerate(ARMS)
        ])  # fmt: skip
        verdicts = judge(declared, frame, looks=looks if len(looks) > 1 else ())
        wrong += any(verdict.verdict != "inconclusive" for verdict in verdicts)
    return wrong


def main() -> None:
    """Train, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    given = parser.parse_args()
    table = Table("arms", "claims", "looks at seeds", "studies with a verdict", "95 % interval")
    for number, tuned in enumerate((False, True)):
        started = time.perf_counter()
        found = accuracies(number, given.studies, tuned)
        seconds = time.perf_counter() - started
        print(f"{found.size:,} trials in {seconds:.0f} s, spread {found.std(axis=2).mean():.4f}")
        for families in (False, True):
            for looks in ((LOOKS[0],), LOOKS):
                wrong = differ(found, families, looks)
                low, high = binomtest(wrong, len(found)).proportion_ci()
                table.add_row(
                    f"tuned, {DRAWS} draws" if tuned else "alike",
                    "two families" if families else "one family",
                    ", ".join(map(str, looks)),
                    f"{wrong} of {len(found)}, {100 * wrong / len(found):.1f} %",
                    f"{100 * low:.1f} to {100 * high:.1f} %",
                )
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
