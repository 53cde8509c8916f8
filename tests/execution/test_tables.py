"""Studies that read the rows of another study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.parts import data
from harness.plan.plan import Plan
from harness.study import DataError, catalog
from tests.conftest import harness

READER = '''
"""Reader: how low is the loss that tiny has come to?"""

from harness import Budget, Metric, Study, Trial
from harness.parts import data


def asked(t: Trial):
    table = data.table("tiny")
    here = (table["arm"] == t.arm) & (table["seed"] == t.seed) & (table["step"] == 60)
    yield {"lowest": table["loss"][here].min(), "rows": len(table["loss"])}


def trial(t: Trial):
    return asked(t)


STUDY = Study(
    question="How low?",
    trial=trial,
    arms={"gd": {}, "momentum": {}},
    reads=("tiny",),
    metrics={"lowest": Metric("height", better="low"), "rows": Metric("rows")},
    budgets={"smoke": Budget(draws=0, seeds=6)},
)
'''


@pytest.fixture
def reader(project: Path) -> Path:
    (project / "studies" / "reader.py").write_text(READER)
    return project


def frame_of(project: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(project / "reports" / name / "smoke" / "rows.parquet")


def check(read: pd.DataFrame, table: pd.DataFrame) -> None:
    confirmed = table[table["phase"] == "confirm"]
    assert set(read["rows"]) == {len(confirmed)}
    last = confirmed[confirmed["step"] == 60].set_index(["arm", "seed"])["loss"]
    assert read.set_index(["arm", "seed"])["lowest"].to_dict() == last.to_dict()


def test_what_is_read_is_run_first(reader: Path) -> None:
    done = harness("run", "reader", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny, whose rows reader reads, is run first" in done.stdout
    assert (reader / "reports" / "tiny" / "smoke" / "report.html").exists()
    check(frame_of(reader, "reader"), frame_of(reader, "tiny"))

    again = harness("run", "reader", "--scale", "smoke", "--inline")
    assert again.returncode == 0, again.stderr
    assert "is run first" not in again.stdout  # the ledger has both
    assert "12 finished" in again.stdout
    key = frame_of(reader, "reader")["trial"].iloc[0]
    data.forget()
    replayed = harness("replay", key)
    assert "bitwise the same" in replayed.stdout, replayed.stdout + replayed.stderr

    # the ledger names a run whose rows are gone: they are trained anew
    gone = [*(reader / "mlruns" / "tiny").rglob("*.parquet")]
    assert gone
    for path in gone:
        path.unlink()
    after = harness("run", "reader", "--scale", "smoke", "--inline")
    assert after.returncode == 0, after.stderr
    assert "is run first" in after.stdout
    check(frame_of(reader, "reader"), frame_of(reader, "tiny"))

    # other rows of tiny are other trials of reader
    study = reader / "studies" / "tiny.py"
    study.write_text(study.read_text().replace('"steps": 60', '"steps": 70'))
    other = harness("run", "reader", "--scale", "smoke", "--inline")
    assert "is run first" in other.stdout
    assert not set(frame_of(reader, "reader")["trial"]) & {key}


def test_without_a_ledger_what_is_read_goes_to_a_file_beside(reader: Path) -> None:
    done = harness("run", "reader", "--scale", "smoke", "--inline", "--rows", "kept.parquet")
    assert done.returncode == 0, done.stderr
    check(pd.read_parquet("kept.parquet"), pd.read_parquet("kept.tiny.parquet"))
    assert not (reader / "mlflow.db").exists()


def test_show_and_plan_tell_what_is_read(reader: Path) -> None:
    assert "reads: the rows of tiny" in harness("show", "reader").stdout
    assert json.loads(harness("show", "reader", "--json").stdout)["reads"] == ["tiny"]
    told = harness("plan", "reader", "--scale", "smoke")
    assert "reads the rows of tiny: run first" in told.stdout
    assert "12 trials" in told.stdout


@pytest.mark.parametrize(
    ("reads", "words"),
    [('("absent",)', "no study 'absent'"), ('("reader",)', "reader reads reader"),
     ('"tiny"', "Study.reads is 'tiny'"), ("(3,)", "one of Study.reads is 3")],
)  # fmt: skip
def test_mistakes_are_one_line(reader: Path, reads: str, words: str) -> None:
    path = reader / "studies" / "reader.py"
    path.write_text(READER.replace('("tiny",)', reads))
    done = harness("run", "reader", "--scale", "smoke", "--inline")
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_the_rows_that_are_read_are_part_of_every_key(reader: Path) -> None:
    source = catalog.find("reader")
    study = catalog.load(source)
    keys = []
    for value in (1.0, 1.0, 2.0):
        data.hold("tiny", {"arm": np.array(["gd"]), "loss": np.array([value])})
        plan = Plan(study, source, "smoke")
        keys.append((plan.hash(), plan.ready()[0].key))
    assert keys[0] == keys[1]
    assert keys[0][0] != keys[2][0] and keys[0][1] != keys[2][1]


def test_times_that_a_clock_measured_are_in_no_key(reader: Path) -> None:
    """The study that is read is trained anew, in another ledger even: the same rows, other times."""
    assert harness("run", "reader", "--scale", "smoke", "--inline").returncode == 0
    first = frame_of(reader, "reader")
    digests, times = [data.table_digest("tiny")], [data.table("tiny")["seconds"].sum()]
    for store in ("sqlite:///other.db", "sqlite:///third.db"):
        data.forget()
        done = harness("run", "reader", "--scale", "smoke", "--inline", MLFLOW_TRACKING_URI=store)
        assert "is run first" in done.stdout, done.stdout + done.stderr
        digests.append(data.table_digest("tiny"))
        times.append(data.table("tiny")["seconds"].sum())
        assert list(frame_of(reader, "reader")["trial"]) == list(first["trial"])
    assert len(set(times)) > 1
    assert len(set(digests)) == 1
    # a value that is not a time counts, also where a column holds objects
    columns = {name: np.array(column) for name, column in data.table("tiny").items()}
    mixed = np.array([None, "a"] * (len(columns["loss"]) // 2), dtype=object)
    found = set()
    for change in ({}, {"loss": columns["loss"] + 1}, {"arm": columns["arm"][::-1]}, {"kind": mixed},
                   {"kind": mixed[::-1]}, {"kind": mixed.copy()}):  # fmt: skip
        data.hold("tiny", columns | change)
        found.add(data.table_digest("tiny"))
    assert len(found) == 5


def test_tables_are_checked() -> None:
    data.forget()
    with pytest.raises(DataError, match="allowed: those that Study"):
        data.table("tiny")
    with pytest.raises(DataError, match="one length"):
        data.hold("tiny", {"a": np.zeros(2), "b": np.zeros(3)})
