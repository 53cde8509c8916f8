"""Nobody is let in, and nothing that comes from outside is run."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import TINY, harness

ROOT = Path(__file__).parent.parent.parent

# --- code that could run what others wrote -------------------------------------------------------

BANNED_MODULES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib", "yaml", "ctypes",
    "tarfile", "zipfile", "xmlrpc", "telnetlib", "ftplib",
}  # fmt: skip
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.save", "torch.hub.load", "np.load", "numpy.load",
    "pd.read_pickle", "pandas.read_pickle", "shutil.unpack_archive", "os.system", "os.popen", "os.execv",
    "subprocess.getoutput", "subprocess.getstatusoutput", "importlib.import_module", "pd.eval", "ray.cloudpickle",
    "re.template", "jinja2.Template", "markupsafe.Markup",
}  # fmt: skip
# Where each of them may stand, and why.
ALLOWED = {
    ("harness/study/catalog.py", "exec"): "a study is code, which its user asks to be run",
    ("harness/study/catalog.py", "compile"): "the same",
    ("harness/study/beside.py", "exec"): "modules beside a study are code of its user's, too",
    ("harness/study/beside.py", "compile"): "the same",
    ("harness/engine/tracing/code.py", "exec"): "text of our own, written from a traced program",
    ("harness/engine/tracing/code.py", "compile"): "the same",
    ("harness/study/fingerprint.py", "importlib.import_module"): "this package, by a constant",
    ("harness/__init__.py", "importlib.import_module"): "our own modules, from a table of ours",
    ("harness/execution/__init__.py", "importlib.import_module"): "the same",
    ("harness/ledger/__init__.py", "importlib.import_module"): "the same",
    (
        "harness/parts/torch_private.py",
        "importlib.import_module",
    ): "modules of torch's, by constants",
    (
        "harness/parts/data/sources.py",
        "importlib.import_module",
    ): "an optional package, by a constant",
    (
        "harness/engine/saved.py",
        "zipfile",
    ): "two members of known names, read into memory and never unpacked",
    ("harness/app/cli.py", "os.execv"): "MLflow's server, by fixed words",
}


def sources() -> list[Path]:
    return sorted([*(ROOT / "harness").rglob("*.py"), *(ROOT / "studies").glob("*.py")])


def found_in(path: Path) -> set[str]:
    """What a file imports or calls of the above, and calls of a shell."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & BANNED_MODULES
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found |= {module.split(".")[0]} & BANNED_MODULES
            found |= {f"{module}.{alias.name}" for alias in node.names} & BANNED_CALLS
        elif isinstance(node, ast.Call):
            found |= {ast.unparse(node.func)} & BANNED_CALLS
            for word in node.keywords:
                if word.arg in ("shell", "allow_pickle") and ast.unparse(word.value) != "False":
                    found.add(word.arg)
                if word.arg == "weights_only" and ast.unparse(word.value) != "True":
                    found.add("weights_only")
    return found


def test_nothing_from_outside_is_run_or_unpickled() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), what) for path in sources() for what in found_in(path)
    }
    assert found == set(ALLOWED)


def test_what_is_looked_for_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text(
        "import pickle\nfrom torch import load\nimport torch\ntorch.load('x', weights_only=False)\n"
        "import subprocess\nsubprocess.run('x', shell=True)\neval('1')\n"
    )
    assert found_in(path) == {"pickle", "torch.load", "weights_only", "shell", "eval"}


def test_no_server_is_told_to_listen_elsewhere(project: Path, monkeypatch) -> None:
    started: list[str] = []

    def execv(path: str, words: list[str]) -> None:
        started.extend(words)

    monkeypatch.setattr(os, "execv", execv)
    assert harness("ui", "--port", "5999").returncode == 0
    assert started[started.index("--host") + 1] == "127.0.0.1"
    for path in sources():
        assert "0.0.0.0" not in path.read_text(), path


# --- words and links of others -------------------------------------------------------------------

BAD = '<img src=x onerror="hacked=1"><script>hacked=1</script>[/][bold red]&\'{{7*7}}'


class Elements(HTMLParser):
    """Names of elements and attributes that a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}


HOSTILE = {  # in the tiny study: words of others, for ours
    '"Is momentum faster in the valley?"': "BAD",
    '"Momentum needs fewer steps."': "BAD",
    '"planned <b>failure</b>"': "BAD",
    '"A deck"': "BAD",
    '"[1] Heading"': '"[1] " + BAD',
    '"Steps to the target."': "BAD",
    'Metric("height"': "Metric(BAD",
    '{"rule": "sgd"}': 'Arm({"rule": "sgd"}, label=BAD)',
    '"break_it": False': '"break_it": True, "note": BAD',
    "STUDY = Study(": "STUDY = Study(title=BAD, ",
    "def trial(": f"BAD = {BAD!r}\n\n\ndef trial(",
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a study full of markup, which has been run into a folder full of links."""
    root = tmp_path_factory.mktemp("hostile")
    folder = root / "project" / "reports" / "tiny" / "smoke"
    folder.mkdir(parents=True)
    (root / "project" / "studies").mkdir()
    (root / "mine.txt").write_text("mine")
    for name in ("report.html", "verdicts.json", "rows.parquet", "trials.csv", ".writable"):
        (folder / name).symlink_to(root / "mine.txt")
    (folder.parent.parent / "index.html").symlink_to(root / "mine.txt")
    text = TINY
    for ours, theirs in HOSTILE.items():
        assert text.count(ours) == 1, ours
        text = text.replace(ours, theirs)
    (root / "project" / "studies" / "tiny.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "project")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for words in (("list",), ("show", "tiny"), ("run", "tiny", "--scale", "smoke", "--inline")):
            done = harness(*words)
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            assert "[/]" in done.stdout and "onerror=" in done.stdout, words
        yield root


def test_a_study_called_script_is_shown_and_not_run(hostile: Path) -> None:
    reports = hostile / "project" / "reports"
    for name in ("tiny/smoke/report.html", "index.html"):
        page = (reports / name).read_text()
        elements = Elements(page).found
        assert "img" not in elements
        assert not {one for one in elements if " on" in one}
        assert "<script>hacked" not in page
        assert "{{7*7}}" in page
    figure = (reports / "tiny" / "smoke" / "figures" / "steps.svg").read_text()
    assert not {"img", "script"} & Elements(figure).found


def test_links_in_the_report_folder_are_replaced_and_not_followed(hostile: Path) -> None:
    assert (hostile / "mine.txt").read_text() == "mine"
    assert not [one for one in (hostile / "project" / "reports").rglob("*") if one.is_symlink()]
