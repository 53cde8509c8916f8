"""Finding and loading studies, and what each mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.study import BadInput, Source, catalog

ROOT = Path(__file__).parent.parent.parent


def test_names_and_loading(project: Path) -> None:
    assert catalog.names() == ["tiny"]
    study = catalog.load(catalog.find("tiny"))
    assert (study.name, study.title) == ("tiny", "Tiny: two optimizers in the valley.")


def test_a_path_outside_the_project_is_a_study(project: Path, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "mine.py"
    elsewhere.write_text((project / "studies" / "tiny.py").read_text())
    assert catalog.load(catalog.find(str(elsewhere))).name == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tinny", "did you mean 'tiny'?"),
        ("../tiny", "letters, digits and underscores"),
        ("tiny; touch x", "letters, digits and underscores"),
        ("$(touch x)", "letters, digits and underscores"),
        ("", "letters, digits and underscores"),
        ("missing.py", "no study file 'missing.py'"),
    ],
)
def test_bad_names(project: Path, name: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        catalog.find(name)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = = 1", "line 1"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("a = 1\nb = a / 0", "line 2 does not import: ZeroDivisionError"),
        ("STUDY = 3", "STUDY=3; allowed: a harness.Study"),
        ("", "STUDY=None"),
        (
            'CLAIMS = {\n    "one": 1,\n    "two": 2,\n    "one": 3,\n}',
            "'one' is a key twice, first in line 2",
        ),
        (
            "from harness import *\nSTUDY = Study(question='q', trial=print, arms={}, metrics={}, budgets={})",
            "line 2: Study.arms is empty",
        ),
    ],
)
def test_bad_files(project: Path, text: str, words: str) -> None:
    (project / "studies" / "bad.py").write_text(text)
    with pytest.raises(BadInput) as caught:
        catalog.load(catalog.find("bad"))
    assert words in str(caught.value)
    assert "bad.py" in str(caught.value)


def test_what_a_file_says_of_its_study() -> None:
    text = '"""A title.\n\nDepartures: [none] of\nnote.\n"""\nSTUDY = 1\n'
    assert catalog.about(Source("one", "one.py", text)) == "Departures: [none] of\nnote."
    assert catalog.about(Source("one", "one.py", '"""A title."""')) == ""
    assert catalog.about(Source("one", "one.py", "STUDY = 1")) == ""


def test_outside_of_any_project_work_stays_in_the_folder_and_studies_are_the_package_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert catalog.root() == tmp_path
    assert catalog.names() == sorted(p.stem for p in (ROOT / "studies").glob("*.py"))
    (tmp_path / "inside").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "reports").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    assert catalog.root() == tmp_path


def test_a_study_of_the_package_is_found_from_every_project_which_goes_before_it(
    project: Path,
) -> None:
    assert catalog.find("optimizers").path == str(ROOT / "studies" / "optimizers.py")
    assert catalog.known("optimizers")
    (project / "studies" / "optimizers.py").write_text("STUDY = None")
    assert catalog.find("optimizers").text == "STUDY = None"
    assert not catalog.known("nothing")


def test_a_home_of_one_s_own(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HARNESS_HOME", str(home))
    assert (catalog.root(), catalog.names()) == (home, ["tiny"])
    monkeypatch.setenv("HARNESS_HOME", str(home / "missing"))
    with pytest.raises(BadInput, match="missing'; allowed: a folder that exists"):
        catalog.root()
