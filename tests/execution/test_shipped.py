"""What reaches Ray's workers, in one run: modules beside a study's file, data of one's own, rows of
another study; and the seeds that are added there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_wine

from harness.claims import judge
from harness.execution import recall
from harness.parts import data
from harness.study import catalog
from tests.conftest import TINY, apart, harness

STUDY = '''
"""Mine: two optimizers on my data, and what is read of another study."""

from my_models import FACTOR, made, network

from harness import Budget, Claim, Data, Metric, Optimizer, Study, Training, Trial, claims
from harness.parts import data

WINE = Data.of(made, name="wine", target="target", standardize=True)


def asked(t: Trial):
    table = data.table("tiny")
    here = (table["arm"] == "gd") & (table["seed"] == t.seed) & (table["step"] == 60)
    yield {"lowest": table["loss"][here].min(), "rows": len(table["loss"])}


def trial(t: Trial):
    if t.arm == "asked":
        return asked(t)
    step = Optimizer(t.arm, lr=0.01 * FACTOR)
    return Training(network, step, WINE, epochs=2, batch_size=16)


STUDY = Study(
    question="What is seen there?",
    trial=trial,
    arms={"sgd": {}, "momentum": {}, "asked": {}},
    reads=("tiny",),
    metrics={name: Metric("number") for name in ("train_loss", "test_accuracy", "lowest", "rows")},
    budgets={"smoke": Budget(draws=0, seeds=6, most_seeds=24)},
    claims={"better": Claim("Momentum is better.", "notes",
                            claims.ratio_below("train_loss", 1.0, arm="momentum", than="sgd"))},
)
'''
MODELS = """
import pandas
from inner.layers import network

FACTOR = 1.0


def made():
    with open('made.txt', 'a') as file:
        file.write('once ')
    return pandas.read_csv('wine.csv')
"""
LAYERS = """
from functools import partial

from harness.parts.models import MLP

network = partial(MLP, (13, 16, 3))
"""
RUN = ("run", "own/mine.py", "--scale", "smoke")


@pytest.fixture(scope="module")
def shipped(tables: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which a study has been run on Ray that needs all this."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("studies", "reports", "own/inner"):
        (folder / name).mkdir(parents=True)
    (folder / "studies" / "tiny.py").write_text(TINY)
    (folder / "own" / "mine.py").write_text(STUDY)
    (folder / "own" / "my_models.py").write_text(MODELS)
    (folder / "own" / "inner" / "__init__.py").write_text("")
    (folder / "own" / "inner" / "layers.py").write_text(LAYERS)
    load_wine(as_frame=True).frame.to_csv(folder / "wine.csv", index=False)
    before = os.getcwd()
    os.chdir(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
                patch.delenv(name, raising=False)
            data.forget()
            done = apart(*RUN)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "out.txt").write_text(done.stdout)
            yield folder
    finally:
        os.chdir(before)


def rows(folder: Path, name: str = "mine") -> pd.DataFrame:
    frame = pd.read_parquet(folder / "reports" / name / "smoke" / "rows.parquet")
    return frame.sort_values(["trial", "step"], ignore_index=True)


def test_data_are_made_once_and_shipped(shipped: Path) -> None:
    assert (shipped / "made.txt").read_text() == "once "
    report = (shipped / "reports" / "mine" / "smoke" / "report.html").read_text()
    assert "Tested on what was trained on" not in report


def test_what_is_read_is_run_first_and_reaches_every_worker(shipped: Path) -> None:
    assert "tiny, whose rows mine reads, is run first" in (shipped / "out.txt").read_text()
    table = rows(shipped, "tiny")
    confirmed = table[table["phase"] == "confirm"]
    asked = rows(shipped).query("arm == 'asked'")
    assert set(asked["rows"]) == {len(confirmed)}
    last = confirmed[(confirmed["step"] == 60) & (confirmed["arm"] == "gd")]
    assert asked.set_index("seed")["lowest"].to_dict() == last.set_index("seed")["loss"].to_dict()


def test_seeds_are_added_until_claims_are_decided(shipped: Path) -> None:
    source = catalog.find("own/mine.py")
    study = catalog.load(source)
    looks = study.budget("smoke").looks
    assert looks == (6, 12, 24)
    results = recall(study, source, "smoke", shipped)
    (verdict,) = judge(study, results.frame, looks=looks)
    counts = results.trials.groupby("arm")["seed"].nunique().to_dict()
    assert counts == {"sgd": verdict.seeds_used, "momentum": verdict.seeds_used, "asked": 6}
    assert verdict.seeds_used > 6  # six cannot decide a sign test at a quarter of the level
    said = json.loads((shipped / "reports" / "mine" / "smoke" / "verdicts.json").read_text())
    assert said["trials"]["planned"] == said["trials"]["finished"] == sum(counts.values())
    assert said["claims"][0]["n"] == verdict.seeds_used


def test_the_rows_are_those_of_this_process(shipped: Path) -> None:
    before = rows(shipped)
    done = harness(*RUN, "--inline", "--fresh")
    assert done.returncode == 0, done.stdout + done.stderr
    measured = ["trial", "step", "arm", "seed", "train_loss", "test_accuracy", "lowest", "rows"]
    pd.testing.assert_frame_equal(rows(shipped)[measured], before[measured])


def test_the_record_has_all_that_it_takes(shipped: Path) -> None:
    """The last of these: what lies beside the study goes."""
    key = rows(shipped).query("arm == 'sgd'")["trial"].iloc[0]
    shutil.rmtree(shipped / "own")
    done = harness("replay", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bitwise the same" in done.stdout
