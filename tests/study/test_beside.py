"""Modules beside a study file: imported anywhere, recorded, and part of every trial's key."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from harness.plan.plan import Plan
from harness.study import BadInput, catalog, fingerprint
from tests.conftest import TINY, harness

MODELS = """
from functools import partial

from harness.parts.models import Descent
from parts.layers import scale

PLACE = "valley"


def build():
    return partial(Descent, PLACE), scale()


def unrelated():
    return 1
"""
LAYERS = """
from .numbers import FACTOR


def scale():
    return FACTOR
"""


def write(folder: Path, factor: float = 1.0) -> Path:
    """A study beside a module and a package that it needs."""
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    text = textwrap.dedent(TINY).replace('model=partial(Descent, "valley")', "model=build()[0]")
    text = text.replace('lr=t["lr"])', 'lr=t["lr"] * build()[1])')
    text = text.replace("from harness.parts.models import Descent", "from my_models import build")
    assert text.count("build") == 3
    (folder / "mine.py").write_text(text)
    (folder / "my_models.py").write_text(MODELS)
    (folder / "parts" / "__init__.py").write_text('"""Parts."""\n')
    (folder / "parts" / "layers.py").write_text(LAYERS)
    (folder / "parts" / "numbers.py").write_text(f"FACTOR = {factor}\n")
    return folder / "mine.py"


def first_key(path: Path) -> str:
    source = catalog.find(str(path))
    return Plan(catalog.load(source), source, "smoke").ready()[0].key


def rows_of(project: Path) -> pd.DataFrame:
    return pd.read_parquet(project / "reports" / "mine" / "smoke" / "rows.parquet")


def test_what_lies_beside_a_study_is_found(project: Path) -> None:
    source = catalog.find(str(write(project / "own")))
    assert [path for path, _ in source.beside] == [
        "my_models.py", "parts/__init__.py", "parts/layers.py", "parts/numbers.py",
    ]  # fmt: skip
    assert source.packages() == {"parts"}
    before = set(sys.modules)
    study = catalog.load(source)
    assert study.name == "mine"
    assert {"my_models", "parts"} & (set(sys.modules) - before) == set()


EDITS = {
    "a function that trains": ("my_models.py", "partial(Descent, PLACE)", "partial(Descent, 'bowl')", True),
    "a constant that it reads": ("my_models.py", 'PLACE = "valley"', 'PLACE = "bowl"', True),
    "a number two modules away": ("parts/numbers.py", "1.0", "2.0", True),
    "a function beside it": ("my_models.py", "return 1", "return 2", False),
    "a comment": ("my_models.py", "PLACE =", "# a place\nPLACE =", False),
    "a patch of what it imports": ("my_models.py", "def unrelated", "Descent.note = 3\n\n\ndef unrelated", True),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_keys_change_with_what_trains_beside_a_study_and_nothing_else(
    project: Path, what: str
) -> None:
    path = write(project / "own")
    before = first_key(path)
    name, old, new, other = EDITS[what]
    file = path.parent / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    assert (first_key(path) != before) is other


def test_studies_in_two_folders_have_each_their_own(project: Path) -> None:
    one, two = write(project / "one", 1.0), write(project / "two", 2.0)
    found = []
    for path in (one, two, one):
        source = catalog.find(str(path))
        study = catalog.load(source)
        found.append((study, Plan(study, source, "smoke").ready()[0]))
    (a, t), (b, u), (c, _) = found
    rates = [dict(study.trial(t).optimizer.numbers)["lr"] for study in (a, b, c)]
    assert rates[1] == 2 * rates[0] == 2 * rates[2]
    assert t.key != u.key


def test_they_reach_the_record(project: Path) -> None:
    path = write(project / "own")
    done = harness("run", str(path), "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20/20 trials" in done.stdout
    frame = rows_of(project)
    shutil.rmtree(path.parent)  # the record has all that it takes
    replayed = harness("replay", frame["trial"].iloc[0])
    assert "bitwise the same" in replayed.stdout, replayed.stdout + replayed.stderr
    assert replayed.returncode == 0
    # the same with another factor is another study's worth of trials
    again = harness("run", str(write(project / "own", 2.0)), "--scale", "smoke", "--inline")
    assert again.returncode == 0, again.stderr
    assert not set(rows_of(project)["trial"]) & set(frame["trial"])


def test_mistakes_beside_a_study_say_where(project: Path) -> None:
    path = write(project / "own")
    (path.parent / "my_models.py").write_text("a = 1\nb = a / 0\n")
    with pytest.raises(BadInput, match=r"line 9, my_models.py, line 2 does not import: ZeroDiv"):
        catalog.load(catalog.find(str(path)))
    (path.parent / "my_models.py").write_text("a = = 1\n")
    with pytest.raises(BadInput, match=r"my_models.py, line 1 does not import: SyntaxError"):
        catalog.load(catalog.find(str(path)))
    (path.parent / "my_models.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"my_models.py, which mine.py imports, cannot be read"):
        catalog.find(str(path))


def test_a_module_of_pythons_own_is_never_beside(project: Path) -> None:
    path = write(project / "own")
    (path.parent / "functools.py").write_text("raise RuntimeError\n")
    assert "functools.py" not in dict(catalog.find(str(path)).beside)
    catalog.load(catalog.find(str(path)))


def test_versions_of_installed_packages_that_are_used_are_told(project: Path) -> None:
    path = write(project / "own")
    source = catalog.find(str(path))
    used = fingerprint.survey(source, "trial", frozenset()).libraries
    assert "torch" in used
    assert "pyyaml" not in [name.lower() for name in used]
    (path.parent / "parts" / "numbers.py").write_text(
        "import yaml\nFACTOR = float(yaml.safe_load('1'))\n"
    )
    more = fingerprint.survey(catalog.find(str(path)), "trial", frozenset()).libraries
    assert {name.lower() for name in set(more) - set(used)} == {"pyyaml"}
    assert fingerprint.version("torch").count(".") == 2
    assert "+" not in fingerprint.version("torch")
    assert fingerprint.version("no-such-package") == ""
