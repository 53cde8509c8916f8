"""What is changed in a report, a ledger or a chain of registrations is found by `harness verify`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.claims import registration
from harness.execution import verified
from harness.ledger import Ledger, chain
from harness.report import manifest
from harness.study import catalog
from tests.conftest import TINY, harness

RUN = ("run", "tiny", "--scale", "smoke", "--inline")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which the tiny study has run, and a copy of its report."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "studies").mkdir()
    (folder / "reports").mkdir()
    (folder / "studies" / "tiny.py").write_text(TINY)
    before = os.getcwd()
    os.chdir(folder)
    try:
        done = harness(*RUN)
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copytree(folder / "reports" / "tiny" / "smoke", folder / "kept")
        yield folder
    finally:
        os.chdir(before)


@pytest.fixture
def report(ran: Path) -> Iterator[Path]:
    """The report's folder, which is put back as it was."""
    folder = ran / "reports" / "tiny" / "smoke"
    yield folder
    restore(ran)


def restore(ran: Path) -> None:
    folder = ran / "reports" / "tiny" / "smoke"
    shutil.rmtree(folder)
    shutil.copytree(ran / "kept", folder)


def found(root: Path) -> dict[str, str]:
    """The state of each check."""
    source = catalog.find("tiny")
    checks = verified.verify(catalog.load(source), source, "smoke", root)
    return {one.name: one.state for one in checks}


def broken(root: Path) -> set[str]:
    return {name for name, state in found(root).items() if state == "broken"}


def sign(folder: Path, change: Callable[[dict[str, Any]], object] = lambda made: None) -> None:
    """What a forger does who knows the digests: writes all of them anew."""
    made = json.loads((folder / manifest.NAME).read_text())
    change(made)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != manifest.NAME]
    digests = {path.name: manifest.of(path.read_bytes()) for path in files}
    (folder / manifest.NAME).write_text(manifest.text(manifest.signed(made, digests)))


def edit(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2) + "\n")


def test_an_honest_report_holds(ran: Path) -> None:
    assert {*found(ran).values()} == {"holds", "untold"}
    assert found(ran)["anchor"] == "untold"
    done = harness("verify", "tiny", "--scale", "smoke")
    assert done.returncode == 0, done.stdout
    assert "20 trials began after registration" in done.stdout
    assert harness("report", "tiny", "--scale", "smoke").returncode == 0
    assert not broken(ran)
    restore(ran)


FILES = ("chain.json", "verdicts.json", "trials.csv", "report.html", "rows.parquet")


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(FILES), st.randoms(use_true_random=False))
def test_a_number_that_is_changed_anywhere_is_found(ran: Path, name: str, random: Any) -> None:
    path = ran / "reports" / "tiny" / "smoke" / name
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            column = random.choice([c for c in frame if frame[c].dtype.kind in "if"])
            place = random.choice(list(frame.index[frame[column].notna()]))
            frame.loc[place, column] += 1
            frame.to_parquet(path, index=False)
        else:
            text = path.read_text()
            place = random.choice([i for i, char in enumerate(text) if char.isdigit()])
            digit = random.choice([d for d in "0123456789" if d != text[place]])
            path.write_text(text[:place] + digit + text[place + 1 :])
        assert broken(ran)
    finally:
        restore(ran)


def test_a_forged_verdict_is_found_though_all_digests_are_right(ran: Path, report: Path) -> None:
    edit(report / "verdicts.json", lambda d: d["claims"][0].update(effect=0.125))
    sign(report)
    assert broken(ran) == {"verdicts"}


def test_a_forged_page_is_found_though_all_digests_are_right(ran: Path, report: Path) -> None:
    page = report / "report.html"
    text = page.read_text()
    where = text.index("over 6 seeds")
    page.write_text(text[:where] + "over 9 seeds" + text[where + 12 :])
    sign(report)
    assert broken(ran) == {"report"}


def test_forged_rows_are_found_beside_the_ledger(ran: Path, report: Path) -> None:
    frame = pd.read_parquet(report / "rows.parquet")
    frame.loc[0, "loss"] += 1.0
    frame.to_parquet(report / "rows.parquet", index=False)
    sign(report)
    assert "ledger" in broken(ran)


def without(folder: Path, key: str) -> None:
    frame = pd.read_parquet(folder / "rows.parquet")
    frame[frame["trial"] != key].to_parquet(folder / "rows.parquet", index=False)
    lines = (folder / "trials.csv").read_text().splitlines(keepends=True)
    (folder / "trials.csv").write_text("".join(one for one in lines if key not in one))


@pytest.mark.parametrize("phase", ["tune", "confirm"])
def test_a_trial_that_is_dropped_is_found(ran: Path, report: Path, phase: str) -> None:
    trials = pd.read_csv(report / "trials.csv", dtype={"trial": str})
    without(report, trials.loc[trials["phase"] == phase, "trial"].iloc[-1])
    sign(report)
    assert "planned trials" in broken(ran)


def test_a_trial_that_began_before_its_registration_is_found(ran: Path, report: Path) -> None:
    trials = pd.read_csv(report / "trials.csv", dtype={"trial": str})
    trials.loc[3, "began"] -= 3600.0
    trials.to_csv(report / "trials.csv", index=False)
    sign(report)
    assert "beginnings" in broken(ran)


def test_a_claim_that_is_moved_after_the_rows_is_found(ran: Path, report: Path) -> None:
    """Its registration is written anew, with the digests that belong to it."""
    path = ran / "studies" / "tiny.py"
    text = path.read_text()
    try:
        path.write_text(text.replace('"steps_to_target", 1.0', '"steps_to_target", 1.5'))
        assert "claims" in broken(ran)
        source = catalog.find("tiny")
        entry = registration.entry(catalog.load(source), source, "smoke", "2026-01-01T00:00:00Z", 0)

        def move(made: dict[str, Any]) -> None:
            old = made["registrations"][0]
            made["registrations"] = [chain.link(entry | {"at": old["at"]}, [], old)]
            made["head"] = chain.head(made["registrations"])

        sign(report, move)
        edit(report / "verdicts.json", lambda d: d["claims"][0].update(margin=1.5))
        sign(report)
        assert {"ledger", "verdicts"} <= broken(ran)
    finally:
        path.write_text(text)


def test_a_forged_ledger_is_found(project: Path) -> None:
    """Its rows, and its registrations."""
    assert harness(*RUN).returncode == 0
    assert not broken(project)
    ledger = Ledger(project)
    run = ledger.parents("tiny", "smoke")[0].info.run_id
    with ledger.artifact(run, "rows.parquet") as path:
        frame = pd.read_parquet(path)
        kept = path.read_bytes()
        place = frame.index[frame["status"] == "finished"][-1]
        frame.loc[place, "loss"] *= 0.5
        frame.to_parquet(path, index=False)
        assert harness("report", "tiny", "--scale", "smoke").returncode == 0
        assert broken(project) == {"ledger"}  # its child runs say what was measured
        path.write_bytes(kept)
    assert harness("report", "tiny", "--scale", "smoke").returncode == 0
    assert not broken(project)
    with ledger.artifact(run, "claims.json") as path:
        edit(path, lambda entries: entries[0].update(at="2020-01-01T00:00:00Z"))
    assert broken(project) == {"ledger"}


def test_registrations_are_linked_and_the_same_again_adds_none(project: Path) -> None:
    assert harness(*RUN).returncode == 0
    assert harness(*RUN).returncode == 0
    ledger = Ledger(project)
    (first,) = ledger.registrations(ledger.parents("tiny", "smoke"))
    path = project / "studies" / "tiny.py"
    path.write_text(path.read_text().replace('"steps_to_target", 1.0', '"steps_to_target", 1.5'))
    assert harness(*RUN).returncode == 0
    entries = ledger.registrations(ledger.parents("tiny", "smoke"))
    assert [one["previous"] for one in entries] == ["", first["digest"]]
    assert chain.broken(entries) == []
    assert chain.head(entries) == entries[1]["digest"]
    assert not broken(project)  # changed late, and marked so


ENTRIES = st.lists(st.fixed_dictionaries({"hash": st.text(max_size=5), "margin": st.floats(0, 1)}),
                   min_size=1, max_size=5)  # fmt: skip


@given(ENTRIES, st.data())
def test_a_chain_shows_every_change(claimed: list[dict[str, Any]], data: st.DataObject) -> None:
    about = {"commit": "c", "dirty": False, "plan": "p", "planned": {"trials": 3}, "left_out": {}}
    entries: list[dict[str, Any]] = []
    for number, one in enumerate(claimed):
        at = f"2026-01-0{number + 1}T00:00:00Z"
        entries.append(chain.link(one | {"at": at, "trials": number}, entries, about))
    assert chain.broken(entries) == []
    place = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(["at", "trials", "margin", "previous", "planned", "reason"]))
    forged = [dict(one) for one in entries]
    forged[place][name] = "other"
    assert chain.broken(forged)
    if place < len(entries) - 1:
        assert chain.broken(entries[:place] + entries[place + 1 :])


VERIFY = ("verify", "tiny", "--published", "--scale", "smoke")


def test_what_is_published_carries_its_chain_and_verifies(project: Path) -> None:
    assert harness(*RUN).returncode == 0
    assert harness("report", "tiny", "--scale", "smoke", "--publish").returncode == 0
    done = harness(*VERIFY, "--json")
    assert done.returncode == 0, done.stdout
    assert {one["name"] for one in json.loads(done.stdout) if one["state"] != "holds"} == {"anchor"}
    home = project / "reports" / "published"
    for name in ("tiny-smoke.json", "chains/tiny-smoke.json"):
        path = home / name
        text = path.read_text()
        path.write_text(text.replace('"planned": 20', '"planned": 21'))
        assert text != path.read_text()
        assert harness(*VERIFY).returncode == 1
        path.write_text(text)
    path = home / "tiny-smoke.parquet"
    frame = pd.read_parquet(path)
    frame.loc[0, "loss"] += 1.0
    frame.to_parquet(path, index=False)
    assert harness(*VERIFY).returncode == 1


def test_a_ledger_that_began_anew_publishes_only_after_what_was_registered_before(
    project: Path,
) -> None:
    publish = ("report", "tiny", "--scale", "smoke", "--publish")
    assert harness(*RUN).returncode == 0
    assert harness(*publish).returncode == 0
    chain_ = project / "reports" / "published" / "chains" / "tiny-smoke.json"
    before = chain_.read_text()
    other, third = (
        {"MLFLOW_TRACKING_URI": f"sqlite:///{project}/{name}.db"} for name in ("other", "third")
    )
    assert harness(*RUN, **other).returncode == 0
    done = harness(*publish, **other)
    assert done.returncode == 2, done.stdout
    assert (
        "1 of the 1 registrations of the published tiny-smoke are not in this ledger" in done.stderr
    )
    assert chain_.read_text() == before
    promised = json.loads(before)["promised"]
    assert promised
    assert harness("import", "reports/published/tiny-smoke.parquet", **third).returncode == 0
    assert harness(*publish, **third).returncode == 0
    assert json.loads(chain_.read_text())["promised"] == promised
    assert harness(*VERIFY).returncode == 0
    assert harness(*RUN, "--fresh", **third).returncode == 0
    done = harness(*publish, **third)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(chain_.read_text())["registrations"]) == 2
    assert harness(*VERIFY).returncode == 0


def test_a_run_that_goes_on_is_not_published(project: Path) -> None:
    assert harness("register", "tiny", "--scale", "smoke").returncode == 0
    ledger = Ledger(project)
    [run] = ledger.parents("tiny")
    ledger.client.update_run(run.info.run_id, status="RUNNING")  # and no trial has ended
    done = harness("report", "tiny", "--scale", "smoke", "--publish")
    assert done.returncode == 2, done.stdout
    assert "allowed: one that has ended" in done.stderr
    assert not [*(project / "reports").rglob("*.parquet")]


def test_rows_that_were_trained_elsewhere_bring_their_chain(project: Path) -> None:
    assert harness(*RUN, "--rows", "r.parquet").returncode == 0
    assert harness("import", "r.parquet").returncode == 0
    states = found(project)
    assert {name for name, state in states.items() if state != "holds"} == {"anchor"}
