"""A cluster that others have started: what is sent to it, and what is learned of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.parts import data
from tests.conftest import apart, harness
from tests.execution import two_nodes

STUDY = '''
"""Where: two optimizers on digits, on two nodes."""

from harness import Arm, Budget, Data, Float, Optimizer, Study, Training, Trial, classification
from harness.claims import lower
from harness import Claim
from notes import begun, network


def trial(t: Trial) -> Training:
    begun(t.key)
    return Training(
        network(t["width"]), Optimizer(t.arm, lr=t["lr"]), Data("digits"), batch_size=64, epochs=1
    )


STUDY = Study(
    question="Does it matter where a trial is trained?",
    trial=trial,
    arms={"sgd": {}, "adam": {}},
    vary={"width": (8, 16)},
    nuisance={"lr": Float(1e-3, 1e-1, log=True)},
    select=("valid_loss",),
    metrics=classification("train_loss", "valid_loss", "test_loss"),
    budgets={"smoke": Budget(draws=2, seeds=5), "default": Budget(draws=2, seeds=5)},
    claims=(Claim("Adam is ahead.", "a test", lower("valid_loss", arm="adam", than="sgd", width=8)),),
)
'''
# On a node a trial notes that it has begun, and waits for the first of the other node: so both train.
NOTES = """
import os
import sys
import time
from functools import partial
from pathlib import Path

from harness.parts.models import MLP


def begun(key):
    if "NODE" not in os.environ:
        return
    folder = Path(os.environ["NODES"])
    with (folder / os.environ["NODE"]).open("a") as log:
        print(key, sys.prefix, file=log)
    for _ in range(900):
        if all((folder / name).exists() for name in ("first", "second")):
            break
        time.sleep(0.1)


def network(width):
    return partial(MLP, 64, [width], 10)
"""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with a file for each node that has trained, and how the two nodes are joined."""
    if reason := two_nodes.why_not():
        pytest.skip(f"no mount namespace can be made here: {reason}")
    seen = tmp_path / "seen"
    seen.mkdir()
    (tmp_path / "project").mkdir()
    env = {name: {"NODE": name, "NODES": str(seen)} for name in ("first", "second")}
    with two_nodes.cluster([tmp_path / "project"], **env) as joins:
        yield seen, joins


def rows_in(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "reports" / "where" / "smoke" / "rows.parquet")
    return frame.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def test_a_node_needs_neither_this_package_nor_the_study(
    nodes: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, joins = nodes
    here, there = tmp_path / "here", tmp_path / "project"
    for folder in (here, there):
        for name in ("studies", "reports"):
            (folder / name).mkdir(parents=True)
        (folder / "studies" / "where.py").write_text(STUDY)
        (folder / "studies" / "notes.py").write_text(NOTES)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data.forget()
    words = ("run", "where", "--scale", "smoke", "--pack-size", "2")
    monkeypatch.chdir(there)
    above = {"PYTHONPATH": os.pathsep.join([str(two_nodes.HERE), os.environ.get("PYTHONPATH", "")])}
    done = apart(*words, **joins, **above)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.chdir(here)
    done = harness(*words, "--inline")
    assert done.returncode == 0, done.stdout + done.stderr

    noted = {name: (seen / name).read_text().split() for name in ("first", "second")}
    keys = {name: {*words[::2]} for name, words in noted.items()}
    assert all(keys.values())
    local = rows_in(here)
    assert keys["first"] | keys["second"] == {*local["trial"]}
    assert {*noted["second"][1::2]}.isdisjoint(noted["first"][1::2])  # other environments
    pd.testing.assert_frame_equal(rows_in(there), local, check_exact=True)
