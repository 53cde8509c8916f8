"""What claims may read of the search, where the test split is sealed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import Budget, Claim, Float, Metric, Study
from harness.claims import (
    above,
    best_draws_higher,
    every,
    rank_correlation_above,
    share_above,
    slower,
)
from harness.study import PHASES, InvalidStudy, catalog

METRICS = {
    name: Metric("fraction", better="high")
    for name in ("valid_accuracy", "test_accuracy", "best_test_accuracy")
}


def study(check: Any, **changes: Any) -> Study:
    fields: dict[str, Any] = {
        "question": "Which?", "trial": print, "arms": {"a": {}, "b": {}},
        "nuisance": {"lr": Float(1e-3, 1.0, log=True)}, "select": ("valid_accuracy",),
        "metrics": METRICS, "budgets": {"smoke": Budget(40, 6)},
        "claims": {"one": Claim("It is so.", "a deck", check)},
    }  # fmt: skip
    return Study(**{**fields, **changes})


READ = {
    "best draws": best_draws_higher("test_accuracy", arm="a", than="b"),
    "a share": share_above("test_accuracy", 0.5, of="lr", arm="a"),
    "a correlation": rank_correlation_above("test_accuracy", 0.5, column="lr", arm="a"),
    "its column": rank_correlation_above("valid_accuracy", 0.5, column="test_accuracy", arm="a"),
    "of the best record": share_above("best_test_accuracy", 0.5, of="lr", arm="a"),
    "one of several": every(
        above("test_accuracy", 0.5, arm="a"),
        rank_correlation_above("test_accuracy", 0.5, column="lr", arm="a", phase="final"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("read", READ)
def test_a_claim_that_reads_the_test_split_in_a_phase_unseals_it(read: str) -> None:
    one, phase = study(READ[read]), "final" if read == "one of several" else "tune"
    assert one.unsealed == {phase: ["one"]}
    assert [one.sealed(each) for each in PHASES] == [
        each not in (phase, "confirm") for each in PHASES
    ]


@pytest.mark.parametrize(
    "check",
    [
        best_draws_higher("valid_accuracy", arm="a", than="b"),
        share_above("valid_accuracy", 0.5, of="lr", arm="a"),
        above("test_accuracy", 0.5, arm="a"),
        rank_correlation_above("test_accuracy", 0.5, column="lr", arm="a", phase="confirm"),
        slower(1.0, of="lr", arms=("a",)),
    ],
)
def test_what_is_not_of_the_test_split_and_what_is_confirmed_unseals_nothing(check: Any) -> None:
    assert study(check).unsealed == {}
    assert [study(check).sealed(phase) for phase in PHASES] == [True, True, False]


def test_nothing_is_chosen_by_the_test_split() -> None:
    for name in ("test_accuracy", "best_test_accuracy"):
        with pytest.raises(
            InvalidStudy, match="nothing is tuned on the test split: allowed: valid_ac"
        ):
            study(READ["a share"], select=(name,))


def test_of_the_project_only_the_comparison_of_lstms_reads_the_search() -> None:
    """As Greff et al. do. Whatever else reads the test split reads it on fresh seeds."""
    folder = Path(__file__).parent.parent.parent / "studies"
    found = {p.stem: catalog.load(catalog.find(str(p))) for p in folder.glob("[a-z]*.py")}
    assert [name for name, one in found.items() if one.unsealed] == ["lstm_variants"]
    lstm = found["lstm_variants"]
    search = {claim.id for claim in lstm.claims if claim.family == "search"}
    assert search - {*lstm.unsealed["tune"]} == {"slower"}
    assert {*lstm.unsealed.pop("tune")} < search
    assert not lstm.unsealed
