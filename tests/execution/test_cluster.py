"""A cluster that others have started: what is sent to it, and what is learned of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.app import doctor
from harness.engine import sizing
from harness.engine.attempt import run_pack
from harness.execution import cluster
from harness.execution.nodes import Machines, Node, versions
from harness.execution.surroundings import left_as_found
from harness.parts import data
from harness.study import BadInput
from tests.conftest import harness
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
    return partial(MLP, (64, width, 10))
"""


@dataclass
class Nodes:
    """Two nodes, and the folder with a file of each that has trained."""

    cluster: two_nodes.Cluster
    seen: Path
    folder: Path  # that the second does not see

    def command(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """The command, joining them."""
        return self.python("-m", "harness", *words, **env)

    def python(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Python, in a process of its own that is told of them; its own files are not for the second
        node's eyes either."""
        path = os.pathsep.join([str(two_nodes.HERE), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=280, check=False,
            env={**os.environ, **self.cluster.joins, "PYTHONPATH": path,
                 "TMPDIR": str(self.folder), **env},
        )  # fmt: skip


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    if reason := two_nodes.why_not():
        pytest.skip(f"no mount namespace can be made here: {reason}")
    seen, folder = tmp_path_factory.mktemp("seen"), tmp_path_factory.mktemp("project")
    told = [{"NODE": name, "NODES": str(seen)} for name in ("first", "second")]
    with two_nodes.Cluster([folder], *told) as cluster:
        yield Nodes(cluster, seen, folder)


def study_in(folder: Path) -> None:
    for name in ("studies", "reports"):
        (folder / name).mkdir(parents=True)
    (folder / "studies" / "where.py").write_text(STUDY)
    (folder / "studies" / "notes.py").write_text(NOTES)


def rows_in(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "reports" / "where" / "smoke" / "rows.parquet")
    return frame.sort_values(["trial", "step"], kind="stable", ignore_index=True)


def test_a_node_needs_neither_this_package_nor_the_study(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data.forget()
    words = ("run", "where", "--scale", "smoke", "--pack-size", "2")
    study_in(nodes.folder)
    monkeypatch.chdir(nodes.folder)
    done = nodes.command(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    study_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = harness(*words, "--inline")
    assert done.returncode == 0, done.stdout + done.stderr

    noted = {name: (nodes.seen / name).read_text().split() for name in ("first", "second")}
    keys = {name: {*words[::2]} for name, words in noted.items()}
    assert all(keys.values())
    local = rows_in(tmp_path)
    assert {*local["status"]} == {"finished"}
    assert keys["first"] | keys["second"] == {*local["trial"]}
    assert {*noted["second"][1::2]}.isdisjoint(noted["first"][1::2])  # other environments
    pd.testing.assert_frame_equal(rows_in(nodes.folder), local, check_exact=True)


def test_what_nodes_lack_is_told_before_anything_is_trained(
    nodes: Nodes, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nodes.folder / "data").mkdir()
    asked = "import json; from harness.app import doctor; print(json.dumps([*map(vars, doctor.nodes())]))"
    with nodes.cluster.another("--num-gpus=2"):
        done = nodes.python("-c", asked, HARNESS_DATA=str(nodes.folder / "data"))
        refused = nodes.command("run", "tiny", "--scale", "smoke")
    found = {one["name"]: one for one in json.loads(done.stdout)}
    second, third = found.pop("node 127.0.0.2"), found.pop("node 127.0.0.3")
    (first,) = (
        found.values()
    )  # Ray puts the machine's own address in the place of the first of these
    assert (first["state"], second["state"], third["state"]) == ("works", "absent", "broken")
    assert f"torch {torch.__version__}" in first["detail"] and "1 cores" in first["detail"]
    assert "no folder HARNESS_DATA" in second["detail"] and "have the folder there" in second["fix"]
    assert "Ray lends 2 GPUs, and torch finds none" in third["detail"]
    assert refused.returncode == 2
    assert "127.0.0.3 of the Ray cluster has 2 GPUs, says Ray" in refused.stderr
    assert len(refused.stderr.splitlines()) <= 4 and not (project / "mlflow.db").exists()


def test_keys_hold_what_the_cluster_trains_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes of two GPUs, simulated: what is learned of them decides keys, packs and forecasts."""
    from harness.execution import nodes as module
    from harness.execution import run, tune
    from harness.execution.session import Session

    there = Node("far", 8, 2, 2**35, 2**36, versions=module.versions())
    caught: list[Session] = []

    def train(session: Session, ending: object) -> None:
        caught.append(session)
        while pack := session.next():
            session.finish(pack.name, run_pack(session.study, pack.trials, "cpu"))

    monkeypatch.setenv("RAY_ADDRESS", "far:1")
    monkeypatch.setattr(run, "start_ray", lambda: None)
    monkeypatch.setattr(run, "stop_ray", lambda: None)
    monkeypatch.setattr(module, "survey", lambda: Machines([there, there]))
    monkeypatch.setattr(tune, "on_ray", train)
    assert harness("run", "tiny", "--scale", "smoke").returncode == 0
    (session,) = caught
    assert session.plan.origin["device"] == session.packer.declared.device == "cuda"
    assert session.packer.workers == 16 and not session.packer.uneven
    assert session.packer.room == sizing.MEMORY_SHARE * 2**34
    monkeypatch.delenv("RAY_ADDRESS")
    assert "from the ledger" not in harness("run", "tiny", "--scale", "smoke", "--inline").stdout
    monkeypatch.setenv("RAY_ADDRESS", "far:1")
    assert "20 from the ledger" in harness("run", "tiny", "--scale", "smoke").stdout


@given(st.lists(st.tuples(st.integers(1, 256), st.integers(0, 16)), min_size=1, max_size=8))
def test_packs_fit_on_the_nodes(nodes: list[tuple[int, int]]) -> None:
    machines = Machines([Node("", cores, gpus, 2**36, 2**36) for cores, gpus in nodes])
    share = machines.resources.get("GPU", 0)
    assert machines.device == ("cuda" if any(gpus for _, gpus in nodes) else "cpu")
    assert not machines.uneven
    fit = [min(cores, int(gpus / share + 1e-9)) if share else cores for cores, gpus in nodes]
    assert machines.workers == max(1, sum(fit))
    for (_, gpus), packs in zip(nodes, fit, strict=True):
        memory = 2**36 * (gpus if share else 1)
        assert packs * machines.room <= sizing.MEMORY_SHARE * memory * (1 + 1e-9)


def test_a_node_of_other_versions_is_refused() -> None:
    same = versions() | {"torch": f"{versions()['torch']}+cu126"}  # of another build
    origin = {"device": "cpu", "torch": versions()["torch"], "numpy": versions()["numpy"]}
    Machines([Node("a", 1, versions=same)]).check(origin | {"scikit-learn": "1.9.1"})
    for changed, said in (
        ({"torch": "2.0.0+cpu"}, "torch 2.0.0, not"),
        ({"numpy": ""}, "no numpy"),
    ):
        node = Node("b", 1, versions=same | changed)
        with pytest.raises(BadInput, match=f"node b of the Ray cluster has {said}.*pip install"):
            Machines([Node("a", 1, versions=same), node]).check(origin)
        found = doctor.of_node(node)
        assert (found.state, said in found.detail) == ("broken", True) and "pip" in found.fix
    found = doctor.of_node(Node("c", 1, versions=same | {"optuna": "4.0.0"}))
    assert found.state == "absent" and found.detail.endswith(f"4.0.0, not {same['optuna']}")
    with pytest.raises(BadInput, match=r"node d.*no answer"):
        Machines([Node("d", 1, trouble="no answer")]).check(origin)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("The current node timed out during startup.", "did not start in time, .*--inline"),
        ("something else", "^something else$"),
    ],
)
def test_a_cluster_that_does_not_start_in_time_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    import ray

    def init(**_: object) -> None:
        raise Exception(said)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with left_as_found(), pytest.raises(Exception, match=told) as caught:
        cluster.start_ray()
    assert isinstance(caught.value, BadInput) is ("timed out" in said)
