"""The doctor does the real thing, and tells a fix from a shrug."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.app import doctor
from tests.conftest import apart, harness


def states(printed: str) -> dict[str, str]:
    return {one["name"]: one["state"] for one in json.loads(printed)}


def test_a_sound_machine_and_then_a_broken_one(project: Path) -> None:
    sound = apart("doctor", "--json")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    found = states(sound.stdout)
    assert list(found) == [
        "python", "packages", "torch", "gpu", "ray", "mlflow", "pdf", "data", "disk",
    ]  # fmt: skip
    assert found["ray"] == found["mlflow"] == found["pdf"] == "works"
    assert not (project / "mlflow.db").exists()
    ill = harness(  # in which nothing of Ray is reached
        "doctor", "--json", RAY_ADDRESS="127.0.0.1:1", MLFLOW_TRACKING_URI="http://127.0.0.1:1",
        HARNESS_DATA="/nowhere",
    )  # fmt: skip
    assert ill.returncode == 1
    found = states(ill.stdout)
    assert found["ray"] == found["mlflow"] == found["data"] == "broken"
    assert found["torch"] == found["pdf"] == "works"
    assert all(one["fix"] for one in json.loads(ill.stdout) if one["state"] == "broken")


def test_licences_of_everything_that_is_needed_are_listed() -> None:
    listed = {one.name.lower(): one for one in doctor.licences()}
    needed = {
        "torch",
        "ray",
        "mlflow",
        "optuna",
        "numpy",
        "click",
        "alembic",
    }  # the last two indirectly
    assert needed <= set(listed)
    assert "pytest" not in listed
    assert "Apache" in listed["ray"].licence
    assert all(one.licence and one.version for one in listed.values())


def test_versions_are_held_against_the_tested_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constraints.txt").write_text("numpy==0.1  # old\nray==2.60.0\n")
    found = doctor._packages(tmp_path)
    assert (found.state, found.fix) == ("absent", "make setup installs the tested ones")
    assert "(tested: 0.1)" in found.detail
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    assert doctor._packages(tmp_path).state == "broken"


def test_whatever_a_check_meets_is_a_finding(tmp_path: Path) -> None:
    def _ray(root: Path) -> doctor.Finding:
        raise OSError("no\nroom")

    found = doctor._safely(_ray, tmp_path)
    assert (found.name, found.state, found.detail) == ("ray", "broken", "OSError: no room")
    assert "--inline" in found.fix
