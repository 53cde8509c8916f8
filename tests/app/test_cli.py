"""The command line: help, listings, JSON, and every kind of bad input."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import harness

ROOT = Path(__file__).parent.parent.parent


def test_listings(project: Path) -> None:
    listed = json.loads(harness("list", "--json").stdout)
    assert [one["name"] for one in listed] == ["tiny"]
    assert listed[0]["trials"] == {"smoke": 20, "default": 24}
    shown = json.loads(harness("show", "tiny", "--json").stdout)
    assert shown["claims"][0]["source"] == "A deck Heading"
    planned = json.loads(harness("plan", "tiny", "--scale", "smoke", "--json").stdout)
    assert planned["trials"] == 20
    for words in (("list",), ("show", "tiny"), ("plan", "tiny")):
        done = harness(*words)
        assert done.returncode == 0, done.stderr
        assert "tiny" in done.stdout or "Momentum" in done.stdout
    assert not list(project.glob("mlflow.db*"))


def test_a_plan_says_what_its_seeds_can_decide(project: Path) -> None:
    """From nothing it says so; once the smoke scale has run, from that, of other scales too."""
    done = harness("plan", "tiny", "--power")
    assert done.returncode == 0, done.stderr
    assert "unknown: run the smoke scale first" in done.stdout
    assert not list(project.glob("mlflow.db*"))
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    here, there = (
        json.loads(harness("plan", "tiny", "--power", "--scale", scale, "--json").stdout)
        for scale in ("smoke", "default")
    )
    (one,), (other,) = here["claims"], there["claims"]
    assert "the effects last seen: the ledger's latest run at the smoke scale" in here["from"]
    assert "effects at this scale are unknown" in there["from"]
    assert (one["claim"], one["level"], one["unit"]) == ("faster", 0.05, "seeds")
    assert (other["truth"], other["why"]) == (1.0, "")  # a ratio's, of arms that are alike
    printed = harness("plan", "tiny", "--power", "--scale", "smoke").stdout
    assert "takes" in printed and "gate: power of 80 %: " in printed


def test_help_names_every_command() -> None:
    printed = harness("--help").stdout
    for command in ("list", "show", "plan", "run", "report", "replay", "import", "ui"):
        assert command in printed
    assert "--scale" in harness("run", "--help").stdout
    assert "--install-completion" in printed


BAD = {
    "unknown study": (("run", "tinny"), "did you mean 'tiny'?"),
    "unknown scale": (
        ("run", "tiny", "--scale", "huge"),
        "no scale 'huge'; allowed: smoke, default",
    ),
    "metacharacters": (("run", "tiny; touch hacked"), "allowed: letters"),
    "dots": (("run", "../../etc/passwd"), "allowed: letters"),
    "rows without inline": (("run", "tiny", "--rows", "x.parquet"), "without --inline"),
    "report of nothing": (("report", "tiny"), "has no run of tiny"),
    "quote of no claim": (
        ("report", "tiny", "--quote", "slower"),
        "claim 'slower'; allowed: faster",
    ),
    "import of nothing": (("import", "none.parquet"), "none.parquet"),
    "unknown option": (("run", "tiny", "--fast"), "No such option"),
    "pack size": (("run", "tiny", "--pack-size", "0"), "greater than or equal to 1"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_line_and_exit_code_2(project: Path, what: str) -> None:
    words, expected = BAD[what]
    before = sorted(p.name for p in project.rglob("*"))
    done = harness(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
    if what != "report of nothing":  # looking into the ledger creates its file
        after = {p.name for p in project.rglob("*")} - {"tiny", "smoke", "default"}
        assert sorted(after - set(before)) == []


def test_a_report_for_a_paper_and_a_line_to_quote(project: Path) -> None:
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    done = harness("report", "tiny", "--scale", "smoke", "--latex")
    assert done.returncode == 0, done.stderr
    folder = project / "reports" / "tiny" / "smoke-latex"
    assert str(folder / "main.tex") in done.stdout
    assert r"\cite{source1} Heading" in (folder / "verdicts.tex").read_text()
    assert (folder / "figures" / "steps.pdf").is_file()
    quoted = harness("report", "tiny", "--scale", "smoke", "--quote", "faster").stdout
    document = json.loads((project / "reports" / "tiny" / "smoke" / "verdicts.json").read_text())
    assert quoted == document["claims"][0]["quote"] + "\n"
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    assert "smoke-latex" not in (project / "reports" / "index.html").read_text()


def test_what_is_published_is_not_published_once_more(project: Path) -> None:
    """Its chain would be that of rows which were thinned out."""
    done = harness("report", "tiny", "--published", "--publish")
    assert done.returncode == 2
    assert "--publish with --published; allowed: either" in done.stderr


def test_a_study_file_that_does_not_import(project: Path) -> None:
    (project / "studies" / "bad.py").write_text("import nothing_of_this_name\n")
    for words in (("run", "bad"), ("list",)):
        done = harness(*words)
        assert done.returncode == 2
        assert "bad.py, line 1 does not import: ModuleNotFoundError" in done.stderr


def test_a_corrupt_data_file_stops_the_run_before_it_starts(project: Path) -> None:
    text = (project / "studies" / "tiny.py").read_text()
    old = text[text.index("    return Training(") : text.index("STUDY")]
    new = (
        "    from harness import Data\n    from harness.parts.models import MLP\n"
        "    return Training(partial(MLP, (784, 10)), Optimizer(t['rule'], lr=t['lr']), Data('mnist'),"
        " epochs=1, batch_size=64)\n\n\n"
    )
    (project / "studies" / "tiny.py").write_text(text.replace(old, new))
    (project / "mnist").mkdir()
    (project / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"truncated")
    done = harness("run", "tiny", "--scale", "smoke", HARNESS_DATA=str(project))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "train-images-idx3-ubyte.gz cannot be decompressed" in done.stderr
    assert not (project / "mlflow.db").exists()


def test_an_unreachable_tracking_server(project: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    done = harness("run", "tiny", "--scale", "smoke", "--inline", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"tracking server '{uri}' does not answer" in done.stderr
    done = harness("run", "tiny", "--inline", MLFLOW_TRACKING_URI="gopher://x")
    assert done.returncode == 2
    assert "allowed: http(s)://host:port, sqlite:///file, postgresql://" in done.stderr


def test_an_unwritable_report_folder(project: Path) -> None:
    (project / "reports" / "tiny").write_text("a file is in the way")
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "report folder" in done.stderr
    assert not (project / "mlflow.db").exists()


def test_a_taken_port(project: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        done = harness("ui", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} is taken" in done.stderr


# --- make ----------------------------------------------------------------------------------------


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(
        ["make", *words], cwd=folder, capture_output=True, text=True, env=env, check=False
    )


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with our Makefile and a `harness` that prints the arguments it was given."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    script = tmp_path / ".venv" / "bin" / "harness"
    script.write_text(f"#!{sys.executable}\nimport sys, json\nprint(json.dumps(sys.argv[1:]))\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / ".venv" / ".run").touch()
    (tmp_path / ".venv" / ".dev").touch()
    return tmp_path


def test_make_alone_prints_the_targets(made: Path) -> None:
    printed = make(made).stdout
    for target in ("setup", "study", "report", "list", "ui", "test", "check"):
        assert f"  {target} " in printed


def test_make_passes_arguments(made: Path) -> None:
    assert json.loads(make(made, "study", "NAME=optimizers").stdout) == [
        "run", "--scale", "default", "--", "optimizers",
    ]  # fmt: skip
    assert json.loads(make(made, "report", "NAME=a", "SCALE=smoke").stdout)[2] == "smoke"


@pytest.mark.parametrize(
    "name", [
        "a; touch hacked", "$(touch hacked)", "`touch hacked`", "$(shell touch hacked)", "'\"", "a b", "$HOME",
        "-x", "--help", "a\ntouch hacked", "a\n\ttouch hacked", "a && touch hacked", "$$(touch hacked)", "%#\\",
        "${HARNESS}", "../x", "x" * 5000, "é",
    ],
)  # fmt: skip
def test_make_runs_nothing_of_a_name(made: Path, name: str) -> None:
    done = make(made, "study", f"NAME={name}")
    assert json.loads(done.stdout)[-1] == name
    done = make(made, "report", "NAME=a", f"SCALE={name}")
    assert json.loads(done.stdout) == ["report", "--scale", name, "--", "a"]
    assert not (made / "hacked").exists()


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("exit 0", 0, "no known vulnerabilities"),
        ("echo 'Found 2 known vulnerabilities in 1 package' >&2; exit 1", 1, "Found 2 known"),
        ("echo 'ConnectionError: no route' >&2; exit 1", 0, "skipped, the database cannot be rea"),
    ],
)
def test_an_audit_fails_for_what_is_known_and_not_for_want_of_a_network(
    tmp_path: Path, script: str, code: int, words: str
) -> None:
    (tmp_path / "pip-audit").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "pip-audit").chmod(0o755)
    command = [str(ROOT / ".ci" / "audit"), str(tmp_path / "pip-audit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_make_study_needs_a_name(made: Path) -> None:
    done = make(made, "study")
    assert done.returncode == 2
    assert "make study NAME=optimizers" in done.stderr
