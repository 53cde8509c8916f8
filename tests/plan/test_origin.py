"""Versions and devices are part of keys, and rows of unlike origin are named where they meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest

from harness.ledger import Ledger, provenance
from harness.plan.plan import Plan
from harness.study import catalog, fingerprint
from tests.conftest import harness
from tests.execution.test_tables import READER


@contextmanager
def another_machine(torch: str = "2.11.0", cpu: str = "Another CPU") -> Iterator[None]:
    """Where torch has another version, and the processor another name."""
    known, here = fingerprint.version, provenance.describe()
    with (
        mock.patch.object(
            fingerprint, "version", lambda name: torch if name == "torch" else known(name)
        ),
        mock.patch.object(
            provenance, "describe", return_value=here | {"torch": f"{torch}+cu130", "cpu": cpu}
        ),
    ):
        yield


def plan_of(name: str = "tiny", **options: str) -> Plan:
    source = catalog.find(name)
    return Plan(catalog.load(source), source, "smoke", **options)


def run(*words: str) -> str:
    done = harness("run", "tiny", "--scale", "smoke", "--inline", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def report_of(project: Path, name: str = "tiny") -> str:
    return " ".join((project / "reports" / name / "smoke" / "report.html").read_text().split())


def keys_of(project: Path, name: str = "tiny") -> set[str]:
    return set(pd.read_parquet(project / "reports" / name / "smoke" / "rows.parquet")["trial"])


def edit(project: Path, old: str, new: str) -> None:
    path = project / "studies" / "tiny.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_versions_and_the_kind_of_device_are_part_of_every_key(project: Path) -> None:
    here = plan_of()
    assert here.origin["device"] in ("cpu", "cuda")
    assert here.origin["torch"] == fingerprint.version("torch")
    assert "optuna" not in here.origin  # what it draws are settings
    with another_machine():
        there = plan_of()
    gpu = plan_of(device="cuda" if here.origin["device"] == "cpu" else "cpu")
    keys = [{trial.key for trial in plan.ready()} for plan in (here, there, gpu)]
    assert len(set.union(*keys)) == sum(map(len, keys))
    assert len({plan.hash() for plan in (here, there, gpu)}) == 3
    again = plan_of(origin=there.origin)  # what a key would be there can be told here
    assert {trial.key for trial in again.ready()} == keys[1]
    assert again.hash() == there.hash()


@pytest.mark.parametrize(("one", "other", "same"), [
    ("2.13.0+cpu", "2.13.0+cu130", True), ("2.13.0", "2.13.1", False), ("2.13.0", "2.14.0", False),
])  # fmt: skip
def test_a_build_of_the_same_version_is_no_other_version(one: str, other: str, same: bool) -> None:
    with mock.patch("importlib.metadata.version", side_effect=[one, other]):
        assert (fingerprint.version("torch") == fingerprint.version("torch")) is same


def test_what_is_reused_says_so_and_what_differs_is_named(project: Path) -> None:
    with another_machine(torch=fingerprint.version("torch")):
        run()
    edit(project, "Budget(draws=4, seeds=6)", "Budget(draws=4, seeds=8)")
    printed = run()
    assert "20 trials are from run " in printed
    assert "cpu Another CPU there" in printed
    assert "Rows of unlike origin:" in report_of(project)
    assert harness("report", "tiny", "--scale", "smoke").returncode == 0
    assert "Rows of unlike origin:" in report_of(project)  # the ledger knows it, too
    run("--fresh")
    assert "are from" not in report_of(project)
    edit(project, "seeds=8", "seeds=9")
    assert "24 trials are from run " in run()
    assert "Rows of unlike origin:" not in report_of(project)
    assert "trained alike" in report_of(project)


def test_rows_from_elsewhere_keep_their_keys_and_stand_in_a_run_of_their_own(
    project: Path,
) -> None:
    with another_machine():
        run("--rows", "theirs.parquet")
    theirs = set(pd.read_parquet("theirs.parquet")["trial"])
    assert harness("import", "theirs.parquet").returncode == 0
    assert keys_of(project) == theirs
    run()
    assert not keys_of(project) & theirs
    assert len(Ledger(project).parents("tiny", "smoke")) == 2
    replayed = harness("replay", min(theirs))
    said = " ".join(replayed.stdout.split())
    assert "torch 2.11.0+cu130 there" in said
    assert "the code that trains has changed" not in said


def test_a_table_from_elsewhere_is_read_and_named(project: Path) -> None:
    (project / "studies" / "reader.py").write_text(READER)
    with another_machine():
        run("--rows", "theirs.parquet")
    assert harness("import", "theirs.parquet").returncode == 0
    done = harness("run", "reader", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stderr
    assert "is run first" not in done.stdout
    assert "The rows of tiny, which are read, are from run" in " ".join(done.stdout.split())
    assert "torch 2.11.0+cu130 there" in report_of(project, "reader")


def test_a_file_of_rows_holds_no_rows_of_before(project: Path) -> None:
    run("--rows", "kept.parquet")
    before = set(pd.read_parquet("kept.parquet")["trial"])
    with another_machine():
        run("--rows", "kept.parquet")
    after = pd.read_parquet("kept.parquet")
    assert not set(after["trial"]) & before
    assert after["trial"].nunique() == 20


def test_a_copy_without_git_is_told_its_commit_and_no_folder_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.commit(tmp_path) == ("unknown", False)
    monkeypatch.setenv("HARNESS_COMMIT", "abc")
    assert provenance.commit(tmp_path) == ("abc", False)
    monkeypatch.setattr(
        "sys.argv", ["/opt/me/harness", "run", "/opt/me/a.py", "--rows", "b/c.parquet"]
    )
    assert provenance.describe()["command"] == "harness run a.py --rows b/c.parquet"
