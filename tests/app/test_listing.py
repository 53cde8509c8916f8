"""What `list` and `show` keep of a study: the same words as without, and never old ones."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import harness as harness_package
from harness.app import listing
from harness.engine import vouching
from harness.ledger import rows
from harness.plan import forecast, packing
from harness.plan.plan import Plan
from harness.study import BadInput, Source, catalog
from tests.conftest import harness

ROOT = Path(__file__).parent.parent.parent
STUDIES = sorted(p.stem for p in (ROOT / "studies").glob("*.py"))


def kept(project: Path) -> list[Path]:
    return sorted((project / ".harness" / "listings").glob("*.json"))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call it, and no study can be read any more: what is printed was kept."""

    def refuse(source: Source) -> Any:
        raise AssertionError(f"{source.name} was read")

    return lambda: monkeypatch.setattr(catalog, "load", refuse)


def printed(*words: str) -> str:
    done = harness(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHOWN = ("forecasting", "lstm_variants", "nas", "transfer")  # that differ most in what they declare


def test_the_same_words_with_and_without(
    project: Path, monkeypatch: pytest.MonkeyPatch, unread: Any
) -> None:
    for name in SHOWN:
        shutil.copy(ROOT / "studies" / f"{name}.py", project / "studies")
    commands = [("list",), *(("show", name) for name in (*SHOWN, "tiny"))]
    commands += [(*words, "--json") for words in commands]
    with monkeypatch.context() as without:
        without.setattr(listing, "_path", lambda source, which: None)
        plain = [printed(*words) for words in commands]
    assert kept(project) == []
    assert [printed(*words) for words in commands] == plain
    assert len(kept(project)) == len(SHOWN) + 1
    unread()
    assert [printed(*words) for words in commands] == plain


def test_a_plan_says_what_the_published_run_took(project: Path) -> None:
    shutil.copy(ROOT / "studies" / "transfer.py", project / "studies")
    stated = json.loads((ROOT / "reports" / "published" / "transfer.json").read_text())
    last = json.loads(printed("plan", "transfer", "--json"))["last"]
    assert last == {
        "trials": stated["trials"]["planned"], "cost": stated["cost"], "machine": stated["machine"],
    }  # fmt: skip
    assert f"trials, {stated['cost']} in all" in printed("plan", "transfer")
    assert listing.last("transfer", "smoke") == listing.last("tiny", "default") == {}


def test_a_plan_takes_the_seconds_of_the_published_run(project: Path) -> None:
    """Those of the planned seeds, and anew where another run is published."""
    shutil.copy(ROOT / "studies" / "transfer.py", project / "studies")
    plain = json.loads(printed("plan", "transfer", "--json"))
    assert plain["recorded"] == plain["trials"]
    assert "100% of the trials as long as in the published run" in " ".join(
        printed("plan", "transfer").split()
    )
    frame = rows.load(ROOT / "reports" / "published" / "transfer.parquet")
    first = catalog.load(catalog.find("transfer")).budget("default").looks[0]
    ends = frame.drop_duplicates("trial")
    planned = ends[(ends["phase"] != "confirm") | (ends["seed"] < first)]

    def spent(sketch: dict[str, Any]) -> float:
        records = forecast.SECONDS_A_RECORD * sketch["trials"]
        return (sketch["seconds"] - forecast.SECONDS_TO_START) * sketch["cores"] - records

    assert spent(plain) == pytest.approx(
        planned["seconds"].sum(), rel=0.1
    )  # further seeds count, too
    path = project / "reports" / "published" / "transfer.parquet"
    rows.save(frame.assign(seconds=frame["seconds"] * 3), path)
    assert spent(json.loads(printed("plan", "transfer", "--json"))) == pytest.approx(
        3 * spent(plain), rel=0.01
    )
    lost = frame["arm"] == frame["arm"].iloc[0]  # what has failed tells nothing
    attrs = frame.attrs
    broken = frame.assign(
        status=frame["status"].astype(object).mask(lost, "failed"),
        seconds=frame["seconds"].mask(lost, 0.0),
    )
    broken.attrs = attrs
    rows.save(broken, path)
    sketch = json.loads(printed("plan", "transfer", "--json"))
    assert sketch["trials"] - sketch["recorded"] == planned["arm"].eq(frame["arm"].iloc[0]).sum()
    frame.attrs["info"]["provenance"]["device"] = "cuda"  # which tells nothing of a core
    rows.save(frame, path)
    sketch = json.loads(printed("plan", "transfer", "--json"))
    assert (sketch["recorded"], sketch["work"]) == (0, plain["work"])


def test_a_plan_of_what_was_not_published_is_off_as_that_of_the_default_scale(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "studies" / "transfer.py", project / "studies")
    default, paper = (
        json.loads(printed("plan", "transfer", "--scale", scale, "--json"))
        for scale in ("default", "paper")
    )
    assert (paper["recorded"], paper["off"]) == (0, default["off"])
    records = forecast.SECONDS_A_RECORD * paper["trials"]
    spent = (paper["seconds"] - forecast.SECONDS_TO_START) * paper["cores"] - records
    assert spent == pytest.approx(default["off"] * paper["work"], rel=1e-3)
    assert "times the one by arithmetic" in printed("plan", "transfer", "--scale", "paper")
    monkeypatch.setattr(catalog, "PUBLISHED", project / "none")
    plain = json.loads(printed("plan", "transfer", "--scale", "paper", "--json"))
    assert (plain["off"], plain["work"]) == (None, paper["work"])


def test_what_is_kept_of_each_study_is_what_was_told(
    project: Path, monkeypatch: pytest.MonkeyPatch, unread: Any
) -> None:
    """From which all is printed."""
    for name in STUDIES:
        shutil.copy(ROOT / "studies" / f"{name}.py", project / "studies")
    told = json.loads(json.dumps({name: listing.of(name) for name in STUDIES}))
    assert len(kept(project)) == len(STUDIES)
    unread()
    assert {name: listing.of(name) for name in STUDIES} == told


def test_a_plan_is_kept_until_another_kind_of_model_has_been_tried(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unread: Any
) -> None:
    tried = tmp_path / "vouched"
    monkeypatch.setattr(vouching, "_folder", lambda: tried)
    monkeypatch.setattr(vouching, "_FOUND", {})
    monkeypatch.setattr(packing, "MOST_TRIED", 0)

    def sketch() -> dict[str, Any]:
        return json.loads(printed("plan", "tiny", "--scale", "smoke", "--json"))

    plain = sketch()
    assert plain["untried"] == 2  # of one model, by two rules
    source = catalog.find("tiny")
    study = catalog.load(source)
    trial = Plan(study, source, "smoke").ready()[0]
    assert study.trial(trial).why_alone() == ""
    assert len([*tried.glob("*.json")]) == 1
    monkeypatch.setattr(vouching, "_FOUND", {})
    assert sketch() == {**plain, "untried": 0}
    unread()
    assert sketch() == {**plain, "untried": 0}
    assert printed("plan", "tiny", "--scale", "smoke") == printed(
        "plan", "tiny", "--scale", "smoke"
    )


def test_what_is_kept_needs_no_library_that_trains(project: Path) -> None:
    printed("list")
    printed("plan", "tiny")
    code = """
import sys
from harness.app.cli import main
for words in (["list"], ["show", "tiny", "--json"], ["plan", "tiny", "--json"]):
    sys.argv = ["harness", *words]
    try:
        main()
    except SystemExit as done:
        assert done.code == 0
print({"torch", "numpy", "optuna", "pandas", "scipy"} & {*sys.modules}, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
    )
    assert "Is momentum faster" in done.stdout
    assert done.stderr.strip() == "set()"


def test_an_edited_study_is_read_at_once_and_no_other(project: Path, unread: Any) -> None:
    path = project / "studies" / "tiny.py"
    text = path.read_text()
    (project / "studies" / "other.py").write_text(text)
    printed("list")
    before = {p.name: p.stat().st_mtime_ns for p in kept(project)}
    for question in ("Is it slower?", "Is it equal?"):  # as long: not told by the size
        path.write_text(text.replace("Is momentum faster in the valley?", question))
        assert [one["question"] for one in json.loads(printed("list", "--json"))] == [
            "Is momentum faster in the valley?", question
        ]  # fmt: skip
        assert question in printed("show", "tiny")
    changed = {p.name for p in kept(project) if p.stat().st_mtime_ns != before[p.name]}
    assert [name.split("-")[0] for name in changed] == ["tiny"]
    unread()
    assert "Is it equal?" in printed("show", "tiny")


def test_a_module_beside_the_study(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project / "studies")
    path = project / "studies" / "tiny.py"
    path.write_text(
        "from _tiny_words import QUESTION\n"
        + path.read_text().replace('"Is momentum faster in the valley?"', "QUESTION")
    )
    for question in ("Is it slower?", "Is it equal?"):
        (project / "studies" / "_tiny_words.py").write_text(f"QUESTION = {question!r}\n")
        sys.modules.pop("_tiny_words", None)  # as in the next process
        shutil.rmtree(project / "studies" / "__pycache__", ignore_errors=True)
        for _ in range(2):
            assert question in printed("show", "tiny")
    sys.modules.pop("_tiny_words", None)


def test_what_a_source_carries_is_in_the_key() -> None:
    @dataclasses.dataclass(frozen=True)
    class Carrying(Source):
        beside: tuple[tuple[str, str], ...] = ()

    one = Carrying("a", "a.py", "STUDY = 1", (("b.py", "c = 1"),))
    other = dataclasses.replace(one, beside=(("b.py", "c = 2"),))
    assert listing._key(one) == listing._key(dataclasses.replace(one)) != listing._key(other)
    assert listing.known_by_code(dataclasses.replace(one, text="import b"))
    assert not listing.known_by_code(dataclasses.replace(one, text="import b2"))
    asking = dataclasses.replace(one, text="import b", beside=(("b.py", "import os"),))
    assert not listing.known_by_code(asking)


def test_a_file_that_a_study_opens(project: Path, unread: Any) -> None:
    words = project / "words.csv"
    path = project / "studies" / "tiny.py"
    opening = f"pd.read_csv({str(words)!r}).columns[0]"
    text = path.read_text().replace('"Is momentum faster in the valley?"', opening)
    path.write_text(f"import pandas as pd\n{text}")
    for question in ("Is it slower?", "Is it equal?"):
        words.write_text(question)
        assert question in printed("show", "tiny")
    assert len(kept(project)) == 1
    unread()
    assert "Is it equal?" in printed("show", "tiny")


def test_data_that_comes_to_hand(
    project: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch, unread: Any
) -> None:
    files = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("HARNESS_DATA", str(files))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    path = project / "studies" / "tiny.py"
    path.write_text(
        path.read_text()
        .replace("from harness import Arm,", "from harness import at_hand, Data, Arm,")
        .replace(
            "    fixed={",
            '    fixed={"data": "both" if at_hand(Data("jsb_chorales")) else "digits", ',
        )
    )

    def given() -> Any:
        return json.loads(printed("show", "tiny", "--json"))["fixed"]["data"]

    assert given() == "digits"
    (files / "jsb_chorales").mkdir()
    (files / "jsb_chorales" / "JSB_Chorales.mat").touch()
    assert given() == "both"
    monkeypatch.setenv("HARNESS_DATA", str(project))
    assert given() == "digits"
    monkeypatch.setenv("HARNESS_DATA", str(files))
    assert given() == "both"
    unread()
    assert given() == "both"


@pytest.mark.parametrize("text", ["x = = 1", "STUDY = 3", "import nothing_of_this_name"])
def test_a_broken_study_is_an_error_each_time(project: Path, text: str) -> None:
    path = project / "studies" / "tiny.py"
    right = path.read_text()
    printed("list")
    path.write_text(text)
    for words in (("list",), ("show", "tiny"), ("list",)):
        done = harness(*words)
        assert done.returncode == 2
        assert "tiny.py" in done.stderr
    path.write_text(right)
    assert "Is momentum faster" in printed("list")


DAMAGE = {
    "empty": lambda b: b"",
    "not JSON": lambda b: b"{",
    "not text": lambda b: b"\xff" + b,
    "no object": lambda b: b"[]",
    "no content": lambda b: b"{}",
    "cut": lambda b: b[: len(b) // 2],
    "another title": lambda b: b.replace(b"Tiny: two", b"Tiny: six"),
    "another number": lambda b: b.replace(b'"trials": 24', b'"trials": 42'),
    "no files": lambda b: b.replace(b'"files": {', b'"files": 3, "left": {'),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_ignored_and_replaced(project: Path, how: str, unread: Any) -> None:
    right = [printed("list", "--json"), printed("show", "tiny")]
    (file,) = kept(project)
    whole = file.read_bytes()
    assert DAMAGE[how](whole) != whole
    file.write_bytes(DAMAGE[how](whole))
    assert [printed("list", "--json"), printed("show", "tiny")] == right
    assert json.loads(file.read_bytes())["said"] == json.loads(whole)["said"]
    unread()
    assert [printed("list", "--json"), printed("show", "tiny")] == right


def test_other_code_or_versions(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed("list")
    monkeypatch.setattr(listing, "_surroundings", lambda: "others")
    read: list[str] = []
    load = catalog.load
    monkeypatch.setattr(catalog, "load", lambda source: read.append(source.name) or load(source))
    printed("list")
    printed("list")
    assert read == ["tiny"]


def test_surroundings_are_code_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {listing._surroundings.__wrapped__()}
    assert seen == {listing._surroundings.__wrapped__()}
    (tmp_path / "numpy-99.dist-info").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    seen.add(listing._surroundings.__wrapped__())
    package = tmp_path / "package"
    package.mkdir()
    monkeypatch.setattr(listing, "PACKAGE", package)
    for text in ("a = 1", "a = 2"):
        (package / "one.py").write_text(text)
        seen.add(listing._surroundings.__wrapped__())
    assert len(seen) == 4


def test_where_nothing_can_be_kept(project: Path) -> None:
    (project / ".harness").write_text("a file is in the way")
    for _ in range(2):
        assert "Is momentum faster" in printed("list")


def test_nothing_is_left_beside_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    assert "Is momentum faster" in printed("list")
    assert list((project / ".harness" / "listings").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("import numpy as np\nfrom torch import nn\nfrom harness.parts.models import MLP", True),
        ("def trial(t):\n    net.eval()", True),
        ("import os", False),
        ("def f():\n    from time import time", False),
        ("import datetime as d", False),
        ("import nobody_knows", False),
        ("import torch\nA = torch.cuda.is_available()", False),
        ("from torch.cuda import *", False),
        ("from torch import cuda", False),
        ("A = eval('1')", False),
        ("A = __import__('os')", False),
        ("from harness import Data\nA = Data.of('hf:me/mine', target='y')", False),
    ],
)
def test_what_a_study_may_depend_on(text: str, known: bool, project: Path) -> None:
    assert listing.known_by_code(Source("a", "a.py", text)) == known


def test_a_study_that_asks_for_more_is_read_each_time(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project / "studies" / "tiny.py"
    text = path.read_text().replace('"Is momentum faster in the valley?"', 'os.environ["WORDS"]')
    path.write_text(f"import os\n{text}")
    for question in ("Is it slower?", "Is it equal?"):
        monkeypatch.setenv("WORDS", question)
        assert question in printed("show", "tiny")
    assert kept(project) == []
    monkeypatch.delenv("WORDS")
    with pytest.raises(BadInput, match="KeyError"):
        listing.of("tiny")


def test_the_whole_package_counts() -> None:
    assert Path(harness_package.__file__).parent == listing.PACKAGE
