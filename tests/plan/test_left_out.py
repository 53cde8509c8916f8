"""What a study needs and is not at hand is left out, told of, and part of the plan all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.parts import data
from harness.plan.plan import Plan
from harness.study import catalog
from tests.conftest import TINY, harness

SETS = ("digits", "jsb_chorales")


@pytest.fixture
def project_that_needs(project: Path) -> Path:
    """One arm needs the data set that its cell names, the other none."""
    text = TINY
    for old, new in {
        '    nuisance={"lr"': f'    vary={{"task": {SETS!r}}},\n    needs={{"gd": "task"}},\n    nuisance={{"lr"',
        'than="gd")': 'than="gd", task="digits")',
        'metric="steps_to_target"),)': 'metric="steps_to_target", factor="task"),)',
        '"default": Budget(draws=4, seeds=8)': '"paper": Budget(draws=4, seeds=8)',
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (project / "studies" / "tiny.py").write_text(text)
    return project


def planned(scale: str = "smoke") -> Plan:
    source = catalog.find("tiny")
    return Plan(catalog.load(source), source, scale)


def test_a_plan_is_the_same_whatever_is_at_hand(
    project_that_needs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "at_hand", lambda name: True)
    whole = planned()
    assert whole.left_out == {}
    assert whole.cells() == [(a, {"task": t}) for a in ("gd", "momentum") for t in SETS]
    monkeypatch.setattr(data, "at_hand", lambda name: name == "digits")
    some = planned()
    assert some.hash() == whole.hash()
    assert some.cells() == [one for one in whole.cells() if one != ("gd", {"task": "jsb_chorales"})]
    assert some.left_out == {"jsb_chorales": 10}  # four draws and six seeds
    assert some.planned == whole.planned - 10
    keys = {trial.key for trial in some.ready()}
    assert keys < {trial.key for trial in whole.ready()}


def test_the_paper_scale_leaves_nothing_out(
    project_that_needs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "at_hand", lambda name: False)
    assert planned("paper").left_out == {}
    assert len(planned("paper").cells()) == 4


def test_plan_and_run_say_what_is_left_out(
    project_that_needs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HARNESS_DATA", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(project_that_needs))
    words = "10 trials are left out, as jsb_chorales is not at hand"
    assert words in " ".join(harness("plan", "tiny", "--scale", "smoke").stdout.split())
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in " ".join(done.stdout.split())
