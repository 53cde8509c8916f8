"""Imports point downward, and each heavy library has one importer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "harness"

# A module may import only modules of lower rank. The integer part is the layer of the design.
RANK = {
    "study": 1.0, "fingerprint": 1.1, "beside": 1.1,
    "random": 2.0, "augment": 2.1, "buckets": 2.1, "lowering": 2.1, "surfaces": 2.0, "objectives": 2.0, "schedules": 2.0, "stats": 2.0,
    "machine": 2.0, "tracing": 2.0, "provenance": 2.0, "durable": 2.0, "optimizers": 2.1, "models": 2.1, "cells": 2.1, "sequences": 2.1, "architectures": 2.0, "convnets": 2.1, "data": 2.2, "tabular": 2.3, "results": 2.1,
    "structure": 2.2, "lanes": 2.0, "fusing": 3.0, "looped": 3.05, "vouching": 3.06, "probes": 3.1, "packs": 3.2, "sizing": 3.3, "relaxation": 3.0, "generalization": 3.3,
    "search": 4.0, "strategies": 4.0, "importance": 4.0, "progress": 4.0, "claims": 4.1, "figures": 4.1, "rows": 4.0, "plan": 4.1,
    "work": 4.1, "ledger": 4.1,
    "catalog": 5.0, "listing": 5.1, "published": 5.0, "report": 5.1, "run": 5.1, "compare": 5.1, "doctor": 5.2,
    "cli": 6.0, "__main__": 6.1,
}  # fmt: skip

SOLE = {
    "ray": {"run"}, "mlflow": {"ledger"}, "seaborn": {"figures"}, "matplotlib": {"figures"},
    "jinja2": {"report"}, "plutoprint": {"report"}, "typer": {"cli"}, "sqlalchemy": {"ledger"},
    "optuna": {"search", "study", "importance", "strategies"},
}  # fmt: skip

# What trains must import neither of these, nor anything of layer 4 and up.
LIGHT = {"torch", "numpy", "optuna", "scipy", "sklearn", "pooch", "tqdm", "pandas"}


def files(module: str) -> list[Path]:
    """A module's file, or all files of the package that it has become."""
    folder = PACKAGE / module
    return sorted(folder.glob("*.py")) if folder.is_dir() else [PACKAGE / f"{module}.py"]


def imports(module: str) -> set[str]:
    """Every module name that a module imports from outside itself."""
    found = set().union(*map(imports_of, files(module)))
    own = f"harness.{module}"
    return {name for name in found if name != own and not name.startswith(f"{own}.")}


def imports_of(path: Path) -> set[str]:
    """Every module name that a file imports, inside functions too, but not for type checking."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "harness":
            found |= {f"harness.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_every_module_has_a_rank() -> None:
    modules = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"}
    modules |= {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert modules == set(RANK)


@pytest.mark.parametrize("module", sorted(RANK))
def test_imports_point_downward(module: str) -> None:
    own = {name.split(".")[1] for name in imports(module) if name.startswith("harness.")}
    assert {m: RANK[m] for m in own if RANK[m] >= RANK[module]} == {}


@pytest.mark.parametrize("module", sorted(RANK))
def test_sole_importers(module: str) -> None:
    heads = {name.split(".")[0] for name in imports(module)}
    assert {lib for lib in heads if lib in SOLE and module not in SOLE[lib]} == set()


@pytest.mark.parametrize("module", sorted(m for m, rank in RANK.items() if rank < 4))
def test_what_trains_needs_little(module: str) -> None:
    import sys

    heads = {name.split(".")[0] for name in imports(module)}
    assert heads - LIGHT - {"harness", ""} - set(sys.stdlib_module_names) == set()
