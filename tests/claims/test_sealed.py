"""What claims may read of the search, where the test split is sealed there."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Budget, Claim, Float, Metric, Study
from harness.claims import (
    above,
    best_draws_higher,
    every,
    rank_correlation_above,
    registration,
    share_above,
)
from harness.study import InvalidStudy, Source

METRICS = {
    name: Metric("fraction", better="high")
    for name in ("valid_accuracy", "test_accuracy", "best_test_accuracy")
}
WHY = "the paper compares the draws themselves"


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
def test_a_claim_may_read_sealed_metrics_only_where_the_study_says_why(read: str) -> None:
    with pytest.raises(InvalidStudy, match=r"test_accuracy' in the (tune|final) phase, where the"):
        study(READ[read])
    assert study(READ[read], unsealed=WHY).unsealed == WHY


def test_what_is_not_of_the_test_split_and_what_is_confirmed_may_be_read() -> None:
    for check in (
        best_draws_higher("valid_accuracy", arm="a", than="b"),
        share_above("valid_accuracy", 0.5, of="lr", arm="a"),
        above("test_accuracy", 0.5, arm="a"),
        rank_correlation_above("test_accuracy", 0.5, column="lr", arm="a", phase="confirm"),
    ):
        assert study(check).sealed("tune")


def test_nothing_is_chosen_by_the_test_split() -> None:
    check = above("test_accuracy", 0.5, arm="a")
    for name in ("test_accuracy", "best_test_accuracy"):
        with pytest.raises(
            InvalidStudy, match="nothing is tuned on the test split: allowed: valid_ac"
        ):
            study(check, select=(name,), unsealed=WHY)


@pytest.mark.parametrize("wrong", [True, None, "two\nlines"])
def test_the_reason_is_a_line_of_text(wrong: Any) -> None:
    with pytest.raises(InvalidStudy, match=r"Study.unsealed is .*; allowed: text on one line"):
        study(above("test_accuracy", 0.5, arm="a"), unsealed=wrong)


# --- registered ----------------------------------------------------------------------------------

CHECK = above("test_accuracy", 0.5, arm="a")


def entry(trials: int, at: str, **changes: Any) -> dict[str, Any]:
    return registration.entry(study(CHECK, **changes), Source("s", "s.py", ""), "smoke", at, trials)


def test_what_is_unsealed_is_registered_and_nothing_else_is() -> None:
    assert "unsealed" not in entry(0, "t1")
    assert entry(0, "t1", unsealed=WHY)["unsealed"] == WHY
    assert len({entry(0, "t1", unsealed=why)["hash"] for why in ("", WHY, "another reason")}) == 3


def test_what_was_unsealed_after_trials_had_run_is_named() -> None:
    sealed, early = entry(0, "t1"), entry(0, "t1", unsealed=WHY)
    late = entry(9, "t2", unsealed=WHY)
    found = registration.summary([sealed], late)["claims_changed"]
    assert found == [{"id": "", "what": "unsealed", "at": "t2", "trials": 9, "statement": WHY}]
    assert (
        registration.summary([sealed, late], entry(30, "", unsealed=WHY))["claims_changed"] == found
    )
    assert registration.summary([early], late)["claims_changed"] == []
    assert registration.summary([early], entry(9, "t2"))["claims_changed"] == []
