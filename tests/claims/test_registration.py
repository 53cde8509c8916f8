"""What was claimed before the trials: written down, and told apart from what was claimed after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.claims import judge, registration, statistic
from harness.execution import read_rows, recall
from harness.ledger import Ledger, Recorder
from harness.ledger.names import REGISTERED
from harness.study import Source, catalog
from tests.conftest import harness
from tests.ledger.test_ledger import INFO, tiny


def edit(project: Path, old: str, new: str) -> None:
    path = project / "studies" / "tiny.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def entry(digests: dict[str, str], trials: int, at: str, budget: str = "b") -> dict[str, Any]:
    claims = {id_: {"statement": id_, "digest": digest} for id_, digest in digests.items()}
    return {
        "at": at, "trials": trials, "budget": budget, "claims": claims, "hash": str([digests, budget])
    }  # fmt: skip


def told(entries: list[dict[str, Any]], now: dict[str, Any]) -> dict[str, tuple[str, int]]:
    found = registration.summary(entries, now)["claims_changed"]
    return {one["id"]: (one["what"], one["trials"]) for one in found}


def test_claims_written_before_any_trial_are_not_remarked_on() -> None:
    first = entry({"a": "1"}, 0, "t1")
    assert told([first], entry({"a": "1"}, 20, "")) == {}
    assert registration.summary([first], entry({"a": "1"}, 20, ""))["registered_at"] == "t1"


CASES = {
    "changed": ({"a": "2"}, {"a": ("changed", 20)}),
    "added": ({"a": "1", "b": "1"}, {"b": ("added", 20)}),
    "removed": ({}, {"a": ("removed", 0)}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("registered", [True, False])
def test_claims_of_after_the_trials_are_named(case: str, registered: bool) -> None:
    claims, expected = CASES[case]
    later = entry(claims, 20, "t2")
    entries = [entry({"a": "1"}, 0, "t1"), *([later] if registered else [])]
    assert told(entries, later) == expected


def test_a_claim_that_is_changed_back_still_came_after() -> None:
    entries = [
        entry({"a": d}, n, t) for d, n, t in (("1", 0, "t1"), ("2", 20, "t2"), ("1", 30, "t3"))
    ]
    assert told(entries, entry({"a": "1"}, 40, "")) == {"a": ("changed", 30)}


def test_more_seeds_after_the_trials_are_named() -> None:
    entries = [entry({"a": "1"}, 0, "t1", "5 seeds")]
    assert told(entries, entry({"a": "1"}, 20, "", "9 seeds")) == {"": ("budget", 20)}


STUDY = """
from harness import Budget, Claim, Metric, Study
from harness.claims import above, statistic

def trial(t): ...
def half(x): return x / {divisor}
def gain(table): return half(table.mean())  # {comment}

STUDY = Study(
    question="Which?", trial=trial, arms={{"a": {{}}}},
    metrics={{"acc": Metric("fraction", better="high")}}, budgets={{"smoke": Budget(0, 5)}},
    sources={{"[1]": "Deck"}},
    claims=(
        Claim("Level.", "[1]", above("acc", {margin}, arm="a"), id="level"),
        Claim("Statistic.", "[1]", statistic(gain, 0.1, metric="acc", unit="u", words="w",
              example=lambda s, n, hold: {example}), id="function"),
    ),
)
"""
WORDS = {"divisor": 2, "comment": "x", "margin": 0.5, "example": "None"}


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ({"comment": "y"}, set()),
        ({"margin": 0.4}, {"level"}),
        ({"divisor": 3}, {"function"}),
        ({"example": "1"}, {"function"}),
    ],
)
def test_a_digest_follows_margins_and_the_code_of_functions(
    change: dict[str, Any], differ: set[str]
) -> None:
    made = []
    for words in (WORDS, WORDS | change):
        text = STUDY.format(**words)
        source = Source("s", "s.py", text)
        made.append(registration.entry(catalog.load(source), source, "smoke", "", 0)["claims"])
    assert {id_ for id_ in made[0] if made[0][id_] != made[1][id_]} == differ


def test_a_field_that_is_not_set_is_not_registered() -> None:
    """So that what was registered before there was such a field has the digest that it had."""
    source = Source("s", "s.py", "")
    common: Any = {"metric": "acc", "unit": "u", "words": "w", "example": len}
    of_all = registration.describe(statistic(len, 0.1, **common), source)
    of_one = registration.describe(statistic(len, 0.1, **common, arms=("a",)), source)
    assert of_one.pop("arms") == ["a"]
    assert of_all == of_one
    assert of_all["each"] is False  # those that were there from the start are, as ever


def test_a_run_registers_before_its_first_trial_and_a_later_margin_is_found_out(
    project: Path,
) -> None:
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    source = catalog.find("tiny")
    ledger = Ledger(project)
    (first,) = ledger.registrations(ledger.parents("tiny", "smoke"))
    assert (first["trials"], list(first["claims"])) == (0, ["faster"])
    tags = ledger.parents("tiny")[0].data.tags
    assert tags["harness.claims"] == first["hash"]
    info = recall(catalog.load(source), source, "smoke", project).info
    assert (info["registered_at"], info["claims_changed"]) == (first["at"], [])
    edit(project, '"steps_to_target", 1.0', '"steps_to_target", 1.5')
    source = catalog.find("tiny")
    info = recall(catalog.load(source), source, "smoke", project).info
    assert info["claims_changed"] == [{"id": "faster", "what": "changed", "at": "", "trials": 20}]
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    first, second = ledger.registrations(ledger.parents("tiny", "smoke"))
    assert (first["trials"], second["trials"]) == (0, 20)
    assert first["hash"] != second["hash"]


def test_rows_from_a_file_keep_their_registration(project: Path) -> None:
    assert (
        harness("run", "tiny", "--scale", "smoke", "--inline", "--rows", "r.parquet").returncode
        == 0
    )
    entries = read_rows(project / "r.parquet")[0].attrs["info"]["registrations"]
    assert [one["trials"] for one in entries] == [0]
    assert harness("import", "r.parquet").returncode == 0
    source = catalog.find("tiny")
    info = recall(catalog.load(source), source, "smoke", project).info
    assert (info["registered_at"], info["claims_changed"]) == (entries[0]["at"], [])
    edit(project, '"steps_to_target", 1.0', '"steps_to_target", 1.5')
    assert harness("import", "r.parquet").returncode == 0
    source = catalog.find("tiny")
    info = recall(catalog.load(source), source, "smoke", project).info
    assert [one["what"] for one in info["claims_changed"]] == ["changed"]


def test_seeds_are_added_until_claims_are_decided(project: Path) -> None:
    edit(project, "Budget(draws=4, seeds=6)", "Budget(draws=4, seeds=6, most_seeds=24)")
    words = ("run", "tiny", "--scale", "smoke", "--inline")
    done = harness(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((project / "reports/tiny/smoke/verdicts.json").read_text())
    source = catalog.find("tiny")
    study = catalog.load(source)
    results = recall(study, source, "smoke", project)
    looks = study.budget("smoke").looks
    (verdict,) = judge(study, results.frame, looks=looks)
    seeds = results.trials.loc[results.trials["phase"] == "confirm", "seed"].nunique()
    assert looks == (6, 12, 24)
    assert seeds == verdict.seeds_used
    assert seeds > 6  # six seeds cannot decide a sign test at a quarter of the level
    ended = found["trials"]["finished"] + found["trials"]["diverged"]  # a high rate may
    assert found["trials"]["planned"] == ended == 8 + 2 * seeds
    assert found["claims"][0]["n"] == seeds
    again = harness(*words)
    assert "from the ledger" in again.stdout
    frame = pd.read_parquet(project / "reports/tiny/smoke/rows.parquet")
    assert frame["trial"].nunique() == 8 + 2 * seeds


def test_only_cells_that_an_open_claim_reads_get_more_seeds(project: Path) -> None:
    edit(project, "Budget(draws=4, seeds=6)", "Budget(draws=4, seeds=6, most_seeds=12)")
    edit(
        project,
        '"momentum": {"rule": "momentum"}}',
        '"momentum": {"rule": "momentum"}, "other": {"rule": "adam"}}',
    )
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    trials = pd.read_csv(project / "reports/tiny/smoke/trials.csv")
    seeds = trials[trials["phase"] == "confirm"].groupby("arm")["seed"].nunique()
    assert seeds.to_dict() == {"gd": 12, "momentum": 12, "other": 6}


def test_equal_claims_are_read_from_one_run_of_all_that_registered_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As do runs of earlier versions, which have no tag that tells when, though one by one."""
    study, source, *_ = tiny()
    ledger = Ledger(project)
    for number in range(5):
        one = Recorder(ledger, study, source, "smoke", {**INFO, "plan": f"p{number}"}, True)
        claims = registration.entry(study, source, "smoke", f"2026-01-0{5 - number}", number)
        one.register(claims if number else {**claims, "hash": "other", "at": "2026-01-03T12"})
        one.end("FINISHED")
    runs = ledger.parents("tiny", "smoke")
    read: list[str] = []
    real = ledger.registered
    monkeypatch.setattr(ledger, "registered", lambda run: (read.append(run), real(run))[1])
    found = ledger.registrations(runs)
    assert [one["at"][8:] for one in found] == ["01", "02", "03", "03T12", "04"]
    assert [one["trials"] for one in found] == [4, 3, 2, 0, 1]
    assert len(read) == 2
    for run in runs:
        ledger.client.delete_tag(run.info.run_id, REGISTERED)
    assert ledger.registrations(ledger.parents("tiny", "smoke")) == found
    assert len(read) == 2 + 5
