"""The notebooks, run by a real Jupyter kernel; and studies that are made of cells."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import harness
from harness.study import BadInput

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def surround(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """What a kernel that starts now is to find."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    patch.setenv("PYTHONPATH", os.pathsep.join(paths))
    patch.setenv("IPYTHONDIR", str(folder / "ipython"))
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        patch.delenv(name, raising=False)


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is no clone, with the published runs."""
    (project / "reports" / "published").symlink_to(ROOT / "reports" / "published")
    surround(monkeypatch, project)
    return project


def client_in(folder: Path, notebook: nbformat.NotebookNode) -> NotebookClient:
    return NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )


def run(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    client_in(folder, notebook).execute()
    return notebook


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookClient]:
    """One that several notebooks are run in, each in a folder of its own, for it takes seconds to
    import what they need; what they use they define anew."""
    folder = tmp_path_factory.mktemp("kernel")
    with pytest.MonkeyPatch.context() as patch:
        surround(patch, folder)
        client = client_in(folder, nbformat.v4.new_notebook())
        with client.setup_kernel():
            yield client


def executed(kernel: NotebookClient, cells: list[str], folder: Path) -> nbformat.NotebookNode:
    kernel.nb = notebook(f"import os; os.chdir({str(folder)!r})")
    kernel.execute_cell(kernel.nb.cells[0], 0)
    kernel.nb = notebook(*cells)
    for number, cell in enumerate(kernel.nb.cells):
        kernel.execute_cell(cell, number)
    return kernel.nb


def notebook(*cells: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


def outputs(cell: Any, kind: str = "text/plain") -> str:
    found = [one.get("data", {}).get(kind, one.get("text", "")) for one in cell.outputs]
    return "\n".join(filter(None, found))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_has_no_outputs_in_the_repository(path: Path) -> None:
    for cell in json.loads(path.read_text())["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_your_optimizer_against_adam(here: Path) -> None:
    """On Ray, from cells: workers train the class that the notebook defines."""
    done = run(nbformat.read(ROOT / "notebooks" / "your_optimizer.ipynb", 4), here)
    board = next(cell for cell in done.cells if "found\n" in cell.source + "\n" and cell.outputs)
    html = outputs(board, "text/html")
    assert "My optimizer&#39;s test accuracy" in html and "smoke scale" in html
    assert any(
        "image/svg+xml" in one.get("data", {})
        for cell in done.cells
        for one in cell.get("outputs", ())
    )
    assert (here / "reports" / "against_adam" / "smoke" / "report.html").is_file()
    streams = "".join(outputs(cell) for cell in done.cells if cell.cell_type == "code")
    assert "14/14 trials" in streams


def test_a_published_study_is_read(kernel: NotebookClient, here: Path) -> None:
    cells = nbformat.read(ROOT / "notebooks" / "published.ipynb", 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    done = executed(kernel, code, here)
    assert "default scale" in outputs(done.cells[0], "text/html")


STUDY = """
from harness import Budget, Claim, Metric, Study
from harness.claims import higher
from harness.figures import intervals
"""
TRIAL = """
SCORES = {"a": 1.0}
SCORES["b"] = 2.0

def trial(t):
    yield {"score": SCORES[t.arm] + 0.01 * t.seed}
"""
REST = """
mine = Study(
    question="Is b better?", trial=trial, arms={"a": {}, "b": {}},
    metrics={"score": Metric("points", better="high")},
    budgets={"smoke": Budget(draws=0, seeds=5)},
    claims={"b": Claim("b is better.", "notes", higher("score", arm="b", than="a"))},
    figures=(intervals("scores", metric="score"),),
)
"""
RUN = 'import harness; found = harness.run(mine, "smoke", inline=True); found.claim("b").verdict'


def test_only_what_has_changed_is_trained_again(kernel: NotebookClient, here: Path) -> None:
    """A cell that runs again changes nothing; one that says another thing does."""
    changed = TRIAL.replace("2.0", "0.5")
    done = executed(kernel, [STUDY, TRIAL, REST, RUN, TRIAL, REST, RUN, changed, REST, RUN], here)
    said = [outputs(done.cells[i]) for i in (3, 6, 9)]
    assert ["'supported'" in one for one in said] == [True, True, False]
    assert "'refuted'" in said[2]
    assert "10 from the ledger" in said[1] and "from the ledger" not in said[2]


def test_what_cannot_be_put_together_again_is_said(kernel: NotebookClient, here: Path) -> None:
    late = 'ARMS = {"a": {}, "b": {}}\ndef more(arms): arms["c"] = {}\n'
    cells = [STUDY, TRIAL, late, "more(ARMS)", REST.replace('{"a": {}, "b": {}}', "ARMS"), RUN]
    with pytest.raises(CellExecutionError, match=r"Study.* is not what its own statements make"):
        executed(kernel, cells, here)


def test_a_script_runs_the_study_that_it_makes(here: Path) -> None:
    import subprocess
    import sys

    call = 'print(repr(harness.run(STUDY, "smoke", inline=True, quiet=True)))'
    text = STUDY + TRIAL + REST.replace("mine =", "STUDY =") + f"\nimport harness\n{call}\n"
    (here / "compare.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "compare.py"], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "✓ supported    b is better." in done.stdout
    assert done.stdout.count("smoke scale") == 1  # the file is not run once more as a study
    assert (here / "reports" / "compare" / "smoke" / "verdicts.json").is_file()


def test_the_study_of_a_file_can_be_run_again(here: Path) -> None:
    (here / "compare.py").write_text(STUDY + TRIAL + REST.replace("mine =", "STUDY ="))
    found = harness.run("compare.py", "smoke", inline=True, quiet=True)
    again = harness.run(found.study, "smoke", inline=True, quiet=True)
    assert again.study.name == "compare"
    assert len(again.trials) == len(found.trials) == 10
    assert harness.results(again.study, "smoke").claim("b").verdict == "supported"
    with pytest.raises(
        BadInput, match=r"name='other' was given for 'compare'; allowed: for a study"
    ):
        harness.run(found.study, "smoke", name="other")
    changed = dataclasses.replace(found.study, question="Is it?")
    with pytest.raises(
        BadInput, match="the study has no name at the top level of a notebook or fil"
    ):
        harness.run(changed, "smoke")


DATA = """
import numpy as np
from functools import partial
from harness import Budget, Data, Optimizer, Study, Training, classification
from harness.parts.models import MLP

X = np.random.default_rng(0).normal(size=(60, 3))
X[:, 2] = 1
MINE = Data.of((X, (X[:, 0] > 0).astype(int)), duplicates="allow")

def trial(t):
    return Training(partial(MLP, (3, 8, 2)), Optimizer(t.arm, lr=0.1), MINE, epochs=2, batch_size=9)

mine = Study(question="Faster?", trial=trial, arms={"sgd": {}, "momentum": {}},
             metrics=classification(), budgets={"smoke": Budget(draws=0, seeds=2)})
"""
TRAIN = 'import harness; harness.run(mine, "smoke", inline=True).info["provenance"]["data"]'


def test_data_of_cells(kernel: NotebookClient, here: Path) -> None:
    """The digest follows the numbers; what no statement makes is not trained on."""
    other = DATA.replace("X[:, 2] = 1", "X[:, 2] = 2")
    done = executed(kernel, [DATA, TRAIN, DATA, TRAIN, other, TRAIN], here)
    first, again, changed = (outputs(done.cells[i]) for i in (1, 3, 5))
    digests = [text.rsplit("mine ", 1)[1] for text in (first, again, changed)]
    assert digests[0] == digests[1] != digests[2]
    assert "4 from the ledger" in again and "from the ledger" not in changed
    with pytest.raises(CellExecutionError, match=r"data set 'mine' is not what its own statements"):
        executed(kernel, [DATA, "def hide(x): x[:, 1] = 3", "hide(X)", TRAIN], here)
