"""Keys follow the code that trains, wherever it lies, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.study import Source, fingerprint

ROOT = Path(__file__).parent.parent.parent
RENAMED = {"parts": "shelf", "engine": "machinery"}

# Run in the project and in a copy of it whose files lie elsewhere.
STUDIES = ("activations", "adversarial", "architectures", "lstm_variants", "nas", "optimizers")
HASHES = """
import json, pathlib, sys
from harness.plan import keys
from harness.study import catalog, fingerprint
found = {}
for name in json.loads(sys.argv[1]):
    source = catalog.find(name)
    study = catalog.load(source)
    cells = study.cells("smoke")
    words = {keys.words(study, "smoke", arm, cell) for arm, cell in cells}
    found[name] = {
        " ".join(sorted(one)): fingerprint.code_hash(source, "trial", one) for one in words
    }
files = [m.__file__ for name, m in sys.modules.items() if name.startswith("harness.")]
here = str(pathlib.Path.cwd())
assert not [file for file in files if file and not file.startswith(here)], files
print(json.dumps(found))
"""


def hashes(
    root: Path, script: str = HASHES, names: tuple[str, ...] = STUDIES
) -> dict[str, dict[str, str]]:
    """The code hashes of studies of a project, by what their cells name."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(names)], cwd=root, env=env, capture_output=True, text=True,
        check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def moved(root: Path) -> str:
    """Copy the project: every folder within another, two renamed, one module cut in two.

    Returns:
        The script that hashes its studies.
    """
    (root / "reports").mkdir()
    shutil.copytree(ROOT / "studies", root / "studies")
    wing = root / "harness" / "wing"
    wing.mkdir(parents=True)
    shutil.copy(ROOT / "harness" / "__init__.py", root / "harness" / "__init__.py")
    (wing / "__init__.py").write_text("")
    names = []
    for path in (ROOT / "harness").iterdir():
        if path.stem.startswith("__"):
            continue
        names.append(path.stem)
        target = wing / RENAMED.get(path.stem, path.stem)
        if path.is_dir():
            shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, target.with_suffix(".py"))
    some = "|".join(names)
    for path in root.rglob("*.py"):
        path.write_text(elsewhere(path.read_text(), some))
    schedules = wing / "shelf" / "schedules.py"
    text = schedules.read_text()
    node = next(
        n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == "Cosine"
    )
    lines = text.splitlines(keepends=True)
    start = node.decorator_list[0].lineno - 1
    cosine = "".join(lines[start : node.end_lineno])
    lines[start : node.end_lineno] = []
    text = "".join(lines)
    head = text.index("@dataclass")
    schedules.write_text(f"{text[:head]}from harness.wing.cosine import Cosine\n\n{text[head:]}")
    (wing / "cosine.py").write_text(text[text.index("from __future__") : head] + cosine)
    return elsewhere(HASHES, some)


def elsewhere(text: str, names: str) -> str:
    """A module's text with imports, and names of modules, that fit the copy."""

    def dotted(found: re.Match[str]) -> str:
        return f"harness.wing.{RENAMED.get(found[1], found[1])}"

    def one_line(found: re.Match[str]) -> str:
        return "from harness import " + ", ".join(found[1].replace(",", " ").split())

    def several(found: re.Match[str]) -> str:
        each = [one.strip() for one in found[2].split(",")]
        modules = [one for one in each if one.partition(" as ")[0] in names.split("|")]
        others = [one for one in each if one not in modules]
        moved = [f"{RENAMED[one]} as {one}" if one in RENAMED else one for one in modules]
        lines = [f"from harness import {', '.join(others)}"] if others else []
        lines += [f"from harness.wing import {', '.join(moved)}"] if moved else []
        return "\n".join(found[1] + line for line in lines)

    text = re.sub(r"from harness import \(([^)]*)\)", one_line, text)
    text = re.sub(r"(?m)^( *)from harness import ([\w, ]+)", several, text)
    text = re.sub(rf"\bharness\.({names})\b(?! import harness)", dotted, text)
    return text.replace('f"{PACKAGE}.engine.', 'f"{PACKAGE}.wing.machinery.')


def test_where_in_the_package_a_file_lies_does_not_count(tmp_path: Path) -> None:
    script = moved(tmp_path)
    here, there = hashes(ROOT), hashes(tmp_path, script)
    assert len(here) >= 6
    assert len({one for found in here.values() for one in found.values()}) > len(here)
    assert there == here
    # and a line that trains counts there as it does here
    rules = tmp_path / "harness" / "wing" / "machinery" / "stepper.py"
    text = rules.read_text()
    assert "def advance" in text
    rules.write_text(text.replace("def advance", "def further").replace(".advance(", ".further("))
    for path in (tmp_path / "harness" / "wing" / "machinery").rglob("*.py"):
        path.write_text(path.read_text().replace(".advance(", ".further("))
    changed = hashes(tmp_path, script, ("activations", "optimizers"))
    assert not any(set(changed[name].values()) & set(here[name].values()) for name in changed)


# --- a study and what lies beside it --------------------------------------------------------------

STUDY = """
from one import build
import two

def trial(t):
    return build(t) + two.build(t)
"""


def hash_of(text: str, root: str = "trial", **beside: str) -> str:
    files = tuple((f"{name.replace('__', '/')}.py", one) for name, one in beside.items())
    return fingerprint.part_hash(Source("s", "s.py", text, files), root)


SAME = {
    "alias": (STUDY, STUDY.replace("from one import build", "from one import build as make").replace("return build", "return make")),
    "attribute": (STUDY, STUDY.replace("from one import build", "import one").replace("return build", "return one.build")),
    "inside": (STUDY, STUDY.replace("import two\n", "").replace("    return", "    import two\n    return")),
    "star": (STUDY, STUDY.replace("from one import build", "from one import *")),
    "annotation": (STUDY, STUDY.replace("def trial(t):", "def trial(t: int) -> float:")),
}  # fmt: skip
BESIDE = {"one": "def build(t):\n    return 1\n", "two": "def build(t):\n    return 2\n"}


@pytest.mark.parametrize("what", SAME)
def test_how_a_name_is_imported_does_not_count(what: str) -> None:
    old, new = SAME[what]
    assert old != new
    assert hash_of(old, **BESIDE) == hash_of(new, **BESIDE)


def test_two_functions_of_one_name_both_count() -> None:
    base = hash_of(STUDY, **BESIDE)
    for name in BESIDE:
        other = {**BESIDE, name: BESIDE[name].replace("return", "return 10 *")}
        assert hash_of(STUDY, **other) != base
    swapped = {"one": BESIDE["two"], "two": BESIDE["one"]}
    assert hash_of(STUDY, **swapped) != base
    crossed = STUDY.replace("build(t) + two.build(t)", "two.build(t) + build(t)")
    assert hash_of(crossed, **BESIDE) != base


def test_a_local_name_is_none_of_the_module() -> None:
    text = "{}\n\ndef trial(t):\n    build = [x for x in t]\n    return build, (lambda x: x)(t)\n"
    plain, taken = text.format(""), text.format("from one import build\nx = 3")
    assert hash_of(plain) == hash_of(taken, **BESIDE)
    outer = "x = {}\n\ndef trial(t):\n    return [x for y in t], x\n"
    assert hash_of(outer.format(1)) != hash_of(outer.format(2))
    inner = "x = {}\n\nclass C:\n    x = 5\n    def f(self):\n        return x\n\ndef trial(t):\n    return C\n"
    assert hash_of(inner.format(1)) != hash_of(inner.format(2))


@pytest.mark.parametrize(
    "imported",
    ["from harness.parts.optimizers import RULES", "from harness.parts import optimizers"],
)
def test_a_rule_that_a_study_adds_counts_for_who_names_it(imported: str) -> None:
    table = "RULES" if imported.endswith("RULES") else "optimizers.RULES"
    text = f"""
{imported}
from harness import Optimizer

class Mine:
    rate = {{}}

{table}["mine"] = Mine

def trial(t):
    return Optimizer(t["rule"])
"""
    mine, sgd = (frozenset({"mine", "trial"}), frozenset({"sgd"}))
    one, other = text.format(1), text.format(2)
    without = text.format(1).replace(f'{table}["mine"] = Mine', "")
    assert fingerprint.code_hash(one, "trial", mine) != fingerprint.code_hash(other, "trial", mine)
    for changed in (other, without):
        assert fingerprint.code_hash(one, "trial", sgd) == fingerprint.code_hash(
            changed, "trial", sgd
        )
    assert "mine" in fingerprint.survey(one, "trial", mine | sgd).parts


def test_what_a_study_sets_in_an_installed_package_counts() -> None:
    text = "import torch\n\ntorch.set_default_dtype(torch.float{})\n\ndef trial(t):\n    return torch.ones(t)\n"
    assert hash_of(text.format(32)) != hash_of(text.format(64))


# --- the engine ----------------------------------------------------------------------------------

TRAINS = [
    ("pack", "PackInFlight"), ("pack", "train_pack"), ("batches", "Batches"), ("noise", "Noise"),
    ("losses", "Losses"), ("stopping", "Stopping"), ("record", "Record"), ("graph", "Repeated"),
    ("lanes", "Lanes"), ("stepper", "Stepper"), ("flat", "Flat"), ("program", "Program"),
    ("program", "perturbed"), ("looped", "Looped"), ("tracing.recording", "Tracer"),
    ("building", "built"), ("padding", "pad"), ("vouching", "vouch"), ("watching", "watched"), ("authored", "by_author"), ("attempt", "_generated"),
]  # fmt: skip


DECLARES = "from harness import Training\n\ndef trial(t):\n    return Training(t)\n"


@pytest.mark.parametrize(("module", "name"), TRAINS)
def test_every_room_of_the_engine_counts(monkeypatch, module: str, name: str) -> None:
    """One more statement in any definition of it changes every key, and another layout none."""
    module = f"harness.engine.{module}"
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    real = fingerprint._definitions

    def hashed() -> str:
        changed = fingerprint.definitions(ast.unparse(tree))
        with monkeypatch.context() as patch:
            patch.setattr(
                fingerprint, "_definitions", lambda m: changed if m == module else real(m)
            )
            return fingerprint.code_hash(DECLARES, "trial")

    base = fingerprint.code_hash(DECLARES, "trial")
    assert hashed() == base
    node = next(n for n in tree.body if getattr(n, "name", "") == name)
    inside = next(n for n in ast.walk(node) if isinstance(n, ast.FunctionDef))
    inside.body.append(ast.Pass())
    assert hashed() != base
