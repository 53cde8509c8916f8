"""Claims that are registered before a run, and held by git."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from harness.execution import published, recorded, registered, verified
from harness.ledger import Ledger, chain
from harness.report import manifest
from harness.study import BadInput, catalog
from tests.conftest import harness

RUN = ("run", "tiny", "--scale", "smoke", "--inline")
REGISTER = ("register", "tiny", "--scale", "smoke")


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a git repository with one commit."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "A")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@example.org")
    git(project, "init", "-q")
    git(project, "add", "studies")
    git(project, "commit", "-qm", "A study")
    return project


def git(project: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=project, check=True, capture_output=True, text=True)
    return done.stdout


def anchor(root: Path) -> verified.Check:
    source = catalog.find("tiny")
    checks = verified.verify(catalog.load(source), source, "smoke", root)
    return next(one for one in checks if one.name == "anchor")


def digest_of(text: str) -> str:
    return text.partition("registered: ")[2].split()[0]


def test_a_registration_comes_before_its_run_which_goes_on_from_it(project: Path) -> None:
    done = harness(*REGISTER)
    assert done.returncode == 0, done.stdout + done.stderr
    digest = digest_of(done.stdout)
    assert f"Harness-Registration: tiny@smoke {digest}" in done.stdout
    ledger = Ledger(project)
    (run,) = ledger.parents("tiny", "smoke")
    assert run.info.status == "SCHEDULED"
    assert harness("report", "tiny", "--scale", "smoke").returncode == 2  # there is no run yet
    assert digest_of(harness(*REGISTER).stdout) == digest
    assert harness(*RUN).returncode == 0
    assert digest_of(harness(*REGISTER).stdout) == digest
    (run,) = ledger.parents("tiny", "smoke")
    assert run.info.status == "FINISHED"
    (entry,) = ledger.registrations([run])
    assert (entry["digest"], entry["trials"]) == (digest, 0)
    assert harness("verify", "tiny", "--scale", "smoke").returncode == 0
    document = json.loads((project / "reports/tiny/smoke/verdicts.json").read_text())
    assert document["registered_at"] <= document["started_at"]
    assert pd.read_parquet(project / "reports/tiny/smoke/rows.parquet")["trial"].nunique() == 20


def test_rows_that_are_loaded_bring_every_registration(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that says what the one before it does, of another run: the next one follows it."""

    def told() -> list[str]:
        ledger = Ledger(project)
        entries = ledger.registrations(ledger.parents("tiny", "smoke"))
        assert chain.broken(entries) == []
        return [str(one["digest"]) for one in entries]

    for _ in range(3):
        assert harness(*RUN, "--fresh").returncode == 0
    before = told()
    assert len(before) == 3
    source = catalog.find("tiny")
    results = recorded.recall(catalog.load(source), source, "smoke", project)
    none = dataclasses.replace(results, frame=results.frame.iloc[:0])
    with pytest.raises(BadInput, match="the run of tiny has no trial that ended"):
        published.write_published(none, project)
    rows = published.write_published(results, project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'other.db'}")
    assert harness("import", str(rows)).returncode == 0
    assert told() == before


@pytest.mark.parametrize("how", ["tag", "commit"])
def test_git_holds_a_registration_from_before_the_first_trial(repository: Path, how: str) -> None:
    done = harness(*REGISTER, *(["--anchor"] if how == "tag" else []))
    assert done.returncode == 0, done.stdout + done.stderr
    digest = digest_of(done.stdout)
    if how == "commit":
        line = registered.trailer("tiny", "smoke", digest)
        git(repository, "commit", "-q", "--allow-empty", "-m", f"Registered\n\n{line}")
    assert harness(*RUN).returncode == 0
    (held,) = registered.anchors(repository, "tiny", "smoke")
    assert held.digest == digest
    assert registered.anchors(repository, "tiny", "default") == []
    found = anchor(repository)
    assert found.state == "holds", found
    assert "before the first trial, holds the head" in found.detail

    path = repository / "reports" / "tiny" / "smoke" / manifest.NAME  # a chain of another time
    made = json.loads(path.read_text())
    (old,) = made["registrations"]
    made["registrations"] = [chain.link(old | {"at": "2020-01-01T00:00:00Z"}, [], old)]
    made["head"] = chain.head(made["registrations"])
    path.write_text(manifest.text(made))
    found = anchor(repository)
    assert found.state == "broken"
    assert "which is not in the chain" in found.detail


def test_an_anchor_of_after_the_first_trial_shows_nothing(repository: Path) -> None:
    assert harness(*RUN).returncode == 0
    assert harness(*REGISTER, "--anchor", GIT_COMMITTER_DATE="2099-01-01T00:00:00Z").returncode == 0
    found = anchor(repository)
    assert (found.state, "not known to be older" in found.detail) == ("untold", True)


def test_where_there_is_no_repository_that_is_said(project: Path) -> None:
    with pytest.raises(BadInput, match=r"git tag in .* failed"):
        registered.tag(project, "tiny", "smoke", "0" * 64)
    assert registered.anchors(project, "tiny", "smoke") == []
