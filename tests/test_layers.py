"""The pipeline's order: folders, imports and documents keep to one list."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "harness"

# A folder may import itself and those before it.
FOLDERS = (
    "study", "parts", "engine", "nas", "plan", "ledger", "claims", "figures", "report", "execution",
    "app",
)  # fmt: skip
FLAT = {"__init__", "__main__", "durable"}

SOLE = {
    "ray": {"execution"}, "mlflow": {"ledger"}, "sqlalchemy": {"ledger"}, "seaborn": {"figures"},
    "matplotlib": {"figures"}, "jinja2": {"report"}, "plutoprint": {"report"}, "typer": {"app"},
    "optuna": {"study", "nas", "plan", "claims"},
}  # fmt: skip

# What trains needs no more than this.
TRAINS = FOLDERS[:4]
LIGHT = {"torch", "numpy", "optuna", "scipy", "sklearn", "pooch", "tqdm", "pandas", "harness"}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@functools.cache
def imports(module: str) -> set[str]:
    """The modules that a module imports anywhere in it, for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            home = str(node.module)
            full = {f"{home}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else home for name in full}
    return found


def folder(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


INSIDE = sorted(module for module in FILES if folder(module) in FOLDERS)


def test_everything_lies_in_a_folder() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == FLAT
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)


@pytest.mark.parametrize("module", INSIDE)
def test_imports_point_downward(module: str) -> None:
    allowed = {*FOLDERS[: FOLDERS.index(folder(module)) + 1], "durable"}
    own = {name for name in imports(module) if name.split(".")[0] == "harness"}
    assert {name for name in own if folder(name) not in allowed} == set()


def test_imports_go_round_in_no_circle() -> None:
    graph = {module: imports(module) & {*FILES} for module in INSIDE}
    assert [*graphlib.TopologicalSorter(graph).static_order()]


@pytest.mark.parametrize("module", INSIDE)
def test_sole_importers(module: str) -> None:
    heads = {name.split(".")[0] for name in imports(module)}
    assert {lib for lib in heads & set(SOLE) if folder(module) not in SOLE[lib]} == set()


@pytest.mark.parametrize("module", [m for m in INSIDE if folder(m) in TRAINS])
def test_what_trains_needs_little(module: str) -> None:
    heads = {name.split(".")[0] for name in imports(module)}
    assert heads - LIGHT - set(sys.stdlib_module_names) == set()


def test_each_folder_says_what_it_may_import() -> None:
    for place, name in enumerate(FOLDERS):
        text = " ".join(
            str(ast.get_docstring(ast.parse(FILES[f"harness.{name}"].read_text()))).split()
        )
        before = f"`{FOLDERS[place - 1]}` and what lies before it" if place else "nothing of ours"
        assert text.endswith(f"May import {before}."), (name, text)


def test_the_readme_shows_the_folders_in_order() -> None:
    text = (ROOT / "README.md").read_text().partition("## How it is built")[2]
    assert tuple(re.findall(r"^(\w+)/ ", text, re.MULTILINE)) == FOLDERS


def test_the_walk_of_a_trial_names_what_there_is() -> None:
    walk = (ROOT / "README.md").read_text().partition("One trial, from")[2].partition("\n## ")[0]
    named = [name.split(".") for name in re.findall(r"`(\w+\.[\w.]+)`", walk)]
    assert len(named) > 8
    for first, *rest in named:
        if first in FOLDERS:
            home = importlib.import_module(".".join(["harness", first, *rest[:-1]]))
            assert hasattr(home, rest[-1]), rest
    assert len(re.findall(r"^\d+\. ", walk, re.MULTILINE)) <= 15
