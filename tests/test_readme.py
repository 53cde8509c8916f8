"""The README says what the code does: commands, files, variables, nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import harness
from harness.app.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = {
    command.name or command.callback.__name__.rstrip("_") for command in app.registered_commands
}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)) - {"help", "clean"}


def test_every_target_and_command_is_there_and_no_other() -> None:
    assert set(re.findall(r"`make ([a-z]+)", README)) == TARGETS
    assert set(re.findall(r"`harness ([a-z]+)", README)) == COMMANDS


def test_every_option_named_exists() -> None:
    source = (ROOT / "harness" / "app" / "cli.py").read_text()
    for option in set(re.findall(r"(--[a-z][a-z-]*)", README)) - {"--install-completion"}:
        assert f'"{option}"' in source or f"{option[2:]}:" in source, option


def test_every_variable_is_read() -> None:
    code = "".join(p.read_text() for p in (ROOT / "harness").rglob("*.py"))
    named = re.findall(r"^\| `([A-Z_]+)`", README, re.M)
    assert named == ["HARNESS_DATA", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_TMPDIR"]
    for name in named:
        assert f'"{name}"' in code


def test_every_path_named_exists_or_is_written() -> None:
    for path in re.findall(r"`((?:harness|studies|tests)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path
    written = {"report.html", "report.pdf", "verdicts.json", "rows.parquet", "trials.csv"}
    assert set(re.findall(r"`reports/<study>/<scale>/([\w.]+)`", README)) == written


def test_python_in_the_readme_parses() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 3
    for block in blocks:
        ast.parse(block)


def test_exports_are_what_a_study_needs() -> None:
    assert set(harness.__all__) == set(harness.EXPORTS)
    for name in harness.EXPORTS:
        assert getattr(harness, name) is not None


def test_nothing_names_this_machine() -> None:
    code = [path for part in ("harness", "studies", "tests", "benchmarks")
            for path in (ROOT / part).rglob("*.py")]  # fmt: skip
    for path in [*ROOT.glob("*.md"), *code, *ROOT.glob("reports/*.md")]:
        assert not re.search(r"(^|[\s\"'(])/(work|root|home)/", path.read_text(), re.M), path


def test_published_numbers_are_those_of_the_kept_verdicts() -> None:
    import json

    from harness.report import front

    home = ROOT / "reports" / "published"
    kept = [json.loads(path.read_text()) for path in sorted(home.glob("*.json"))]
    studies = sorted(path.stem for path in (ROOT / "studies").glob("*.py"))
    assert {run["study"] for run in kept} == set(studies)
    assert front.summary(kept) in README
    assert (ROOT / "reports" / "README.md").read_text() == front.markdown(kept, home)
    for run in kept:
        assert run["commit"] != "unknown"
        assert run["scale"] == "default"


def test_training_without_a_study_works_as_it_is_written(capsys) -> None:
    (code,) = re.findall(r"```python\n(import harness\n.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["finished", "finished"]
    assert all(float(line.split()[1]) > 0.5 for line in lines)


def test_the_versions_that_ci_installs_are_allowed() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {
        canonicalize_name(name): version.strip()
        for name, _, version in (line.partition("==") for line in lines if "==" in line)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for one in map(Requirement, project["dependencies"]):
        assert one.specifier.contains(tested[canonicalize_name(one.name)]), one
        assert {clause.operator for clause in one.specifier} == {">=", "<"}, one
