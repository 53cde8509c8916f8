"""What trains asks for nothing that a node of a cluster need not have."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

from tests.execution import two_nodes

TRAIN = """
import importlib.abc, importlib.util, json, os, sys

from harness.engine.attempt import run_pack
from harness.execution.prepare import check_data
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import catalog

jobs = []
for name in catalog.names():
    source = catalog.find(name)
    study = catalog.load(source)
    if not study.reads:
        plan = Plan(study, source, "smoke")
        check_data(plan, Declarations(study))  # a driver reads data sets, and sends them
        jobs.append((study, plan.samples()[:1]))


class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BANNED:
            raise ModuleNotFoundError(f"No module named {name!r}")


BANNED = {*json.loads(sys.argv[1])}
for name in [*sys.modules]:
    if name.partition(".")[0] in BANNED:
        del sys.modules[name]
sys.meta_path.insert(0, Bare())
found = importlib.util.find_spec  # torch's compiler asks first
importlib.util.find_spec = lambda name, *more: (
    None if name.partition(".")[0] in BANNED else found(name, *more)
)
home = os.environ.pop("XDG_CACHE_HOME", None)
for number, (study, trials) in enumerate(jobs):
    if number < 2:
        os.environ["XDG_CACHE_HOME"] = sys.argv[2]
    elif home is not None:
        os.environ["XDG_CACHE_HOME"] = home
    else:
        os.environ.pop("XDG_CACHE_HOME", None)
    for trial in trials:
        (outcome,) = run_pack(study, [trial], "cpu")
        print(study.name, outcome.status, outcome.error)
"""


def test_a_node_can_train_every_study(tmp_path: Path) -> None:
    """The first two are vouched for anew; of the others that is remembered where the same code has
    been tried on this machine, and their own parts run here all the same."""
    there = {re.sub(r"[-_.]+", "-", name).lower() for name in two_nodes.requirements()}
    mine = {"textbook-harness", "setuptools", "packaging", "psutil"}  # Ray brings its own psutil
    banned = [
        head for head, names in importlib.metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", name).lower() for name in names} & (there | mine)
    ]  # fmt: skip
    assert {"sklearn", "pooch", "mlflow", "seaborn", "typer", "rich"} <= {*banned}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, json.dumps(banned), str(tmp_path)], capture_output=True,
        text=True, timeout=280, check=False, cwd=two_nodes.HERE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ended = done.stdout.splitlines()
    assert len(ended) >= 10 and {line.split()[1] for line in ended} == {"finished"}, done.stdout
