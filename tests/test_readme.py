"""The README says what the code does: commands, files, variables, nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

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
    others = {"--install-completion", "--help"}  # typer's
    for option in set(re.findall(r"(--[a-z][a-z-]*)", README)) - others:
        assert f'"{option}"' in source or f"{option[2:]}:" in source, option


def test_every_variable_is_read() -> None:
    code = "".join(p.read_text() for p in (ROOT / "harness").rglob("*.py"))
    named = re.findall(r"^\| `([A-Z_]+)`", README, re.M)
    assert named == [
        "HARNESS_DATA", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "HARNESS_HOME", "RAY_TMPDIR",
    ]  # fmt: skip
    for name in named:
        assert f'"{name}"' in code


def test_every_path_named_exists_or_is_written() -> None:
    for path in re.findall(r"`((?:harness|studies|tests)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path
    written = {
        "chain.json",
        "report.html",
        "report.pdf",
        "verdicts.json",
        "rows.parquet",
        "trials.csv",
    }
    assert set(re.findall(r"`reports/<study>/<scale>/([\w.]+)`", README)) == written


FENCED = re.compile(r"```python\n(.*?)```", re.S)
BLOCKS = FENCED.findall(README + (ROOT / "YOURS.md").read_text())
TRAININGS = FENCED.findall((ROOT / "TRAININGS.md").read_text())
PAGES = [path.read_text() for path in (ROOT / "harness" / "app" / "pages").glob("*.txt")]


def plain(code: str) -> str:
    """Without docstrings, indentation, and how a keyword is set apart from its value."""
    code = re.sub(r'""".*?"""', "", code, flags=re.S).replace(" = ", "=")
    return "\n".join(filter(None, map(str.strip, code.splitlines())))


PARTS = [
    block for block in BLOCKS if any(plain(block).rstrip("}") in plain(page) for page in PAGES)
]


def test_code_is_short() -> None:
    assert len(BLOCKS) >= 6
    assert len(TRAININGS) >= 11
    for block in [*BLOCKS, *TRAININGS]:
        ast.parse(block)
        lines = [*filter(str.strip, block.splitlines())]
        if block in TRAININGS:
            lines = [line for line in lines if not line.startswith(("from ", "import "))]
        assert len(lines) <= 20, block


def test_three_are_parts_of_pages_to_start_from() -> None:
    assert len(PARTS) == 3


@pytest.mark.parametrize("code", [block for block in [*BLOCKS, *TRAININGS] if block not in PARTS])
def test_code_runs_as_it_is_written(code: str, tmp_path: Path, monkeypatch, capsys) -> None:
    for folder in ("studies", "reports"):
        (tmp_path / folder).mkdir()
    for folder in ("studies/optimizers.py", "reports/published"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    said = capsys.readouterr().out
    assert said.strip()
    assert "nan" not in said.lower().split()


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 300
    pages = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+\.md)", page.read_text()):
            assert (page.parent / link).is_file(), (page, link)


def test_exports_are_what_a_study_needs() -> None:
    assert set(harness.__all__) == set(harness.EXPORTS)
    for name in harness.EXPORTS:
        assert getattr(harness, name) is not None


def test_nothing_names_this_machine() -> None:
    code = [path for part in ("harness", "studies", "tests", "benchmarks")
            for path in (ROOT / part).rglob("*.py")]  # fmt: skip
    for path in [
        *ROOT.glob("*.md"),
        ROOT / "benchmarks" / "README.md",
        *code,
        *ROOT.glob("reports/*.md"),
    ]:
        assert not re.search(r"(^|[\s\"'(])/(work|root|home)/", path.read_text(), re.M), path


def test_published_numbers_are_those_of_the_kept_verdicts() -> None:
    import json

    from harness.report import front

    home = ROOT / "reports" / "published"
    kept = [json.loads(path.read_text()) for path in sorted(home.glob("*.json"))]
    studies = sorted(path.stem for path in (ROOT / "studies").glob("*.py"))
    assert [run["study"] for run in kept if run["scale"] == "default"] == studies
    assert front.summary(kept) in README
    assert (ROOT / "reports" / "README.md").read_text() == front.markdown(kept, home)
    for run in kept:
        assert run["commit"] != "unknown"
        assert run["scale"] in ("default", "evening", "paper")


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
