"""Data of one's own from a folder of one's own, with the commands that a stranger would type."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from harness.execution.prepare import check_data
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import DataError, catalog
from tests.conftest import harness

# As YOURS.md has it under "My data".
MINE = '''\
"""Wine: does momentum help on my data?"""
from functools import partial
import pandas
from harness import Budget, Claim, Data, Optimizer, Study, Training, claims, classification
from harness.parts.models import MLP

WINE = Data.of(lambda: pandas.read_csv("wine.csv"), name="wine", target="target", standardize=True)

def trial(t):
    step = Optimizer(t["rule"], lr=0.05)
    return Training(partial(MLP, (13, 16, 3)), step, WINE, epochs=10, batch_size=16)

BETTER = claims.higher("test_accuracy", arm="momentum", than="plain", by=0.05)
STUDY = Study(
    question="Does momentum help on my data?", trial=trial, metrics=classification(),
    arms={"plain": {"rule": "sgd"}, "momentum": {"rule": "momentum"}},
    budgets={"smoke": Budget(draws=0, seeds=5), "default": Budget(draws=0, seeds=20)},
    claims={"better": Claim("Momentum is right 5 % more often.", "my notes, 2026", BETTER)},
)
'''


@pytest.fixture
def mine(project: Path) -> Path:
    """A study file beside a table."""
    load_wine(as_frame=True).frame.to_csv(project / "wine.csv", index=False)
    (project / "my.py").write_text(MINE)
    return project


def edit(folder: Path, old: str, new: str, file: str = "my.py") -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def rows(folder: Path) -> pd.DataFrame:
    frame = pd.read_parquet(folder / "reports" / "my" / "smoke" / "rows.parquet")
    return frame.sort_values(["trial", "step"], ignore_index=True)


RUN = ("run", "my.py", "--scale", "smoke")


def test_it_is_short() -> None:
    assert len(MINE.splitlines()) <= 20


def test_a_run_follows_the_content_and_nothing_else(mine: Path) -> None:
    done = harness(*RUN, "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 finished, 0 diverged, 0 failed of 10 trials" in done.stdout
    first = rows(mine)
    assert first.groupby("arm")["test_accuracy"].last()["momentum"] > 0.8
    (info,) = (json.loads(path.read_text()) for path in (mine / "mlruns").rglob("info.json"))
    assert info["provenance"]["data"].startswith("wine ")
    assert "duplicates" not in info["provenance"]

    key = first["trial"].iloc[0]
    done = harness("replay", key)
    assert "every row is bitwise the same" in done.stdout, done.stdout + done.stderr

    (mine / "wine.csv").touch()
    assert "10 from the ledger" in harness(*RUN, "--inline").stdout

    table = (mine / "wine.csv").read_text()
    edit(mine, "14.23", "14.24", "wine.csv")
    done = harness("replay", key)
    assert done.returncode == 2
    assert "data set 'wine' has digest " in done.stderr
    assert f"was trained on {info['provenance']['data'].split()[1]}; allowed: the" in done.stderr
    done = harness(*RUN, "--inline")
    assert done.returncode == 0
    assert "from the ledger" not in done.stdout
    assert not {*rows(mine)["trial"]} & {*first["trial"]}

    (mine / "wine.csv").write_text(table)
    done = harness(*RUN, "--inline")
    assert "10 from the ledger" in done.stdout
    pd.testing.assert_frame_equal(rows(mine), first)

    (mine / "wine.csv").unlink()
    for command in (("replay", key), RUN):
        done = harness(*command)
        assert done.returncode == 2
        assert "data set 'wine': its function raises FileNotFoundError" in done.stderr
        assert "Traceback" not in done.stderr


def test_listing_a_study_makes_nothing_and_a_plan_does(mine: Path) -> None:
    (mine / "wine.csv").unlink()
    assert harness("show", "my.py").returncode == 0
    done = harness("plan", "my.py", "--scale", "smoke")
    assert done.returncode == 2
    assert "its function raises FileNotFoundError" in done.stderr
    load_wine(as_frame=True).frame.to_csv(mine / "wine.csv", index=False)
    for _ in range(2):
        done = harness("plan", "my.py", "--scale", "smoke")
        assert "10 trials" in done.stdout, done.stdout + done.stderr


def test_rows_that_are_tested_and_trained_on_are_told_of(mine: Path) -> None:
    table = pd.read_csv(mine / "wine.csv")
    pd.concat([table, table]).to_csv(mine / "wine.csv", index=False)
    done = harness(*RUN, "--inline")
    assert done.returncode == 2
    assert "test rows stand in training too; allowed: none, or duplicates='allow'" in done.stderr
    edit(mine, "standardize=True", "standardize=True, duplicates='allow'")
    done = harness(*RUN, "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    report = (mine / "reports" / "my" / "smoke" / "report.html").read_text()
    assert "<b>Tested on what was trained on:</b> wine: " in report


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(13, 16, 3)", "(13, 16, 2)", "its model has 2 outputs, and there is a class 2; allowed:"),
        ("standardize=True", "task='regression'", "its targets are numbers, as "),
        ('target="target"', 'target="sort"', "target='sort'; allowed: a column, or several, of "),
        ("step, WINE,", "step, Data.of(lambda: pandas.read_csv('wine.csv'), target='target'),",
         "trial trains on data set 'mine', which it makes itself; allowed: Data.of at the top level"),
    ],
    ids=("outputs", "numbers", "target", "inside"),
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_it_is_tried(
    mine: Path, old: str, new: str, words: str
) -> None:
    edit(mine, old, new)
    source = catalog.find("my.py")
    study = catalog.load(source)
    with pytest.raises(DataError) as caught:
        check_data(Plan(study, source, "smoke"), Declarations(study))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


TWO = '''
"""Two inputs, two targets, and a loss of all of them."""
import numpy as np
from torch import nn
from torch.nn import functional as F
from harness import Budget, Claim, Data, Loss, Metric, Optimizer, Study, Training, claims

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(200, 4)), RNG.integers(0, 5, (200, 3))
MINE = Data.of(({"a": A, "b": B}, {"kind": B.sum(1) % 2, "size": A.sum(1)}), name="two")

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.words, self.last = nn.Linear(4, 8), nn.Embedding(5, 8), nn.Linear(8, 3)

    def forward(self, a, b):
        return self.last((self.table(a) + self.words(b).sum(1)).tanh())

def loss(module, a, b, kind, size):
    said = module(a, b)
    return F.cross_entropy(said[:, :2], kind) + F.mse_loss(said[:, 2], size)

BOTH = Loss(loss)

def trial(t):
    return Training(Net, Optimizer(t.arm, lr=0.05), MINE, BOTH, epochs=3, batch_size=20)

LESS = claims.higher("test_loss", arm="sgd", than="adam")
STUDY = Study(
    question="Which?", trial=trial, arms={"sgd": {}, "adam": {}},
    metrics={"test_loss": Metric("nats", better="low")},
    budgets={"smoke": Budget(draws=0, seeds=5)},
    claims={"less": Claim("Adam's loss is less.", "notes", LESS)},
)
'''


def test_several_inputs_and_targets(project: Path) -> None:
    (project / "my.py").write_text(TWO)
    plan = harness("plan", "my.py", "--scale", "smoke")
    assert "10 trials in 2 packs" in plan.stdout and "run alone" not in plan.stdout
    done = harness(*RUN, "--inline")
    assert "10 finished, 0 diverged, 0 failed of 10 trials" in done.stdout, done.stderr
    first = rows(project)
    done = harness("replay", first["trial"].iloc[0])
    assert "every row is bitwise the same" in done.stdout, done.stdout + done.stderr
    edit(project, '"size": A.sum(1)', '"size": A.sum(1) * 2')
    assert harness(*RUN, "--inline").returncode == 0
    assert not {*rows(project)["trial"]} & {*first["trial"]}
    edit(project, "def loss(module, a, b, kind, size)", "def loss(module, a, b, size, kind)")
    done = harness(*RUN, "--inline")
    assert done.returncode == 2
    assert (
        "data set 'two': loss takes (module, a, b, size, kind) and is given the module, x['a'], x['b'], "
        "y['kind'], y['size']; allowed: the order that it takes" in done.stderr
    )
