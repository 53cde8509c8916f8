"""The ledger: what is written in bulk is what MLflow's own client writes."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy.exc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    BAD_REQUEST,
    INVALID_PARAMETER_VALUE,
    TEMPORARILY_UNAVAILABLE,
)
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, StatementError

from harness import durable
from harness.engine.outcome import Outcome
from harness.ledger import Ledger, Past, Recorder, past, recorder, rows, store
from harness.ledger.permanent import permanent
from harness.plan.plan import Plan
from harness.study import BadInput, Source, Study, Trial, Unfinished, catalog

INFO = {"commit": "abc", "plan": "p1", "provenance": {"python": "3"}}


def written(
    project: Path, direct: bool, monkeypatch: pytest.MonkeyPatch, uri: str = ""
) -> list[dict[str, Any]]:
    """What MLflow's client reads of three children that were written into a new SQLite file, or
    into a store that is given."""
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = Plan(study, source, "smoke").ready()[:3]
    outcomes = [
        Outcome("finished", list(range(0, 200, 2)), {"loss": [1.0 / (1 + s) for s in range(100)], "steps_to_target": [math.nan] * 99 + [7.0]}),
        Outcome("diverged", [0, 2], {"loss": [1.0, math.inf]}),
        Outcome("failed", error="ValueError: <no>"),
    ]  # fmt: skip
    here = f"sqlite:///{project / ('bulk.db' if direct else 'client.db')}"
    ledger = Ledger(project, uri or here)
    if not direct:
        monkeypatch.setattr(ledger, "store", lambda: None)
    recorder = Recorder(ledger, study, source, "smoke", INFO, False)
    recorder.add("p1", trials, outcomes)
    assert recorder.wait()
    ledger.release()
    found = []
    for trial in trials:
        run = ledger.client.get_run(recorder.run_ids[trial.key])
        tags = dict(run.data.tags)
        assert tags.pop("mlflow.parentRunId") == recorder.run_id
        history = {
            name: [
                (m.step, m.value) for m in ledger.client.get_metric_history(run.info.run_id, name)
            ]
            for name in run.data.metrics
        }
        assert run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")
        assert run.info.end_time >= run.info.start_time
        found.append(
            {"tags": tags, "params": run.data.params, "metrics": run.data.metrics, "history": history,
             "status": run.info.status, "name": run.info.run_name, "stage": run.info.lifecycle_stage}
        )  # fmt: skip
    return found


def test_bulk_writes_what_the_client_writes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk, client = (written(project, direct, monkeypatch) for direct in (True, False))
    for ours, theirs in zip(bulk, client, strict=True):
        ours["tags"].pop("mlflow.user")
        theirs["tags"].pop("mlflow.user")
        assert ours == theirs
    assert bulk[0]["metrics"]["loss"] == 1.0 / 100
    assert len(bulk[0]["history"]["loss"]) == 10
    assert bulk[1]["history"]["loss"] == [(0, 1.0)]  # infinities stay in the rows
    assert bulk[2]["status"] == "FAILED"


def tiny() -> tuple[Study, Source, list[Trial], list[Outcome]]:
    """The tiny study, four of its trials and how they ended."""
    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = Plan(study, source, "smoke").ready()[:4]
    return study, source, trials, [Outcome("finished", [0, 1], {"loss": [2.0, n]}) for n in (1.0, 2.0, 3.0, 4.0)]  # fmt: skip


def begun(project: Path, said: list[str] | None = None) -> Recorder:
    """A recorder on the run of the tiny study, as every process that runs it makes one."""
    study, source, *_ = tiny()
    ledger = Ledger(project)
    ledger.recover("tiny")
    say = (lambda text: None) if said is None else said.append
    return Recorder(ledger, study, source, "smoke", INFO, False, say)


def held(project: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """What a store holds of the one run: its rows, and the children of its trials."""
    study, *_ = tiny()
    ledger = Ledger(project)
    (parent,) = ledger.parents("tiny")
    words = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    children = ledger.client.search_runs([parent.info.experiment_id], words)
    found = {run.data.tags["harness.trial"]: run.info.status for run in children}
    assert len(found) == len(children)
    return past.rows_of(ledger, study, parent.info.run_id), found


def reuse(one: Recorder, trials: list[Trial], outcomes: list[Outcome]) -> None:
    """Take trials as a run does that finds their rows in its own artifacts."""
    frame = Past(one.ledger, one.study).find({trial.key for trial in trials}, one.run_id)
    assert set(frame["trial"]) == {trial.key for trial in trials}
    one.take("ledger", frame, trials, outcomes, stored=True)


def test_rows_come_back_and_a_damaged_file_is_passed_over(project: Path) -> None:
    study, source, trials, outcomes = tiny()
    one = begun(project)
    one.add("p1", trials[:2], outcomes[:2])
    one.add("p2", trials[2:], outcomes[2:])
    assert one.wait()
    frame, _ = held(project)
    pd.testing.assert_frame_equal(frame, one.frame())
    assert rows.Recorded(study, frame).get(trials[0].key) == outcomes[0]
    assert "no such trial" not in rows.Recorded(study, frame)
    assert trials[0].key not in rows.Recorded(study, frame.iloc[:0])
    (broken,) = (project / "mlruns").rglob("p2-*.parquet")
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    assert set(held(project)[0]["trial"]) == {t.key for t in trials[:2]}
    one.ledger.write(one.run_id, "info.json", '{"commit": "ab')
    info = one.ledger.info_of(one.run_id)
    assert (info["commit"], info["plan"], info["provenance"]) == ("abc", "p1", {"python": "3"})

    # what is trained again for it is recorded once, and one file has both
    again = begun(project)
    reuse(again, trials[:2], outcomes[:2])
    again.add("p1", trials[2:], outcomes[2:])
    assert again.consolidate(INFO)
    frame, children = held(project)
    assert (len(frame), children) == (8, dict.fromkeys((t.key for t in trials), "FINISHED"))
    assert [path.name for path in (project / "mlruns").rglob("*.parquet")] == ["rows.parquet"]
    assert again.ledger.source_of(again.run_id) == source.text


def test_a_trial_that_failed_and_was_trained_again_is_one_trial(project: Path) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    one.add("p9", trials[:1], [Outcome("failed", error="ValueError: once")])
    assert one.wait()
    two = begun(project)
    two.add("p1", trials[:1], outcomes[:1])  # sorted by name it comes before the failure
    assert two.wait()
    frame, children = held(project)
    assert frame["step"].tolist() == [0, 1]
    assert set(frame["status"]) == {"finished"}
    assert children == {trials[0].key: "FINISHED"}


def test_while_the_store_is_away_records_wait_and_then_follow_in_order(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, trials, outcomes = tiny()
    said: list[str] = []
    one = begun(project, said)
    monkeypatch.setattr(recorder, "FIRST_DELAY", 0.01)
    real, order, down = one.ledger.keep, [], True

    def keep(run_id: str, path: Path, folder: str = "") -> None:
        if down:
            raise ConnectionError("nobody answers\n(at all)")
        order.append(path.name[:2])
        real(run_id, path, folder)

    monkeypatch.setattr(one.ledger, "keep", keep)
    for number, trial in enumerate(trials):
        one.add(f"p{number}", [trial], [outcomes[number]])
        assert len(list(one.spool.glob("*.parquet"))) == number + 1  # on the disk, at once
    assert "takes no records, nobody answers; 4 wait in" in one.missing()
    assert held(project)[1] == {}
    down = False
    assert one.wait()
    assert order == ["p0", "p1", "p2", "p3"]
    assert [text.partition(":")[0] for text in said] == [
        "the tracking store takes no records", "the tracking store takes records again; 4 waited",
    ]  # fmt: skip
    assert len(held(project)[1]) == 4
    assert not list(one.spool.iterdir())
    down = True
    one.remember(INFO)
    assert not one.wait(patience=0.1)
    with pytest.raises(Unfinished, match="1 wait in"):
        one.complete(project / "reports", "", {})


@pytest.mark.parametrize(
    ("error", "delays"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        (ConnectionError("nobody answers"), [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]),
    ],
)
def test_a_full_disk_is_asked_every_second_and_a_store_that_is_away_less_often(
    project: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, delays: list[float]
) -> None:
    one, slept, tries = begun(project), list[float](), iter([*delays, 0.0])
    monkeypatch.setattr(recorder.time, "sleep", slept.append)

    def step() -> None:
        if next(tries):
            raise error

    one._insist(step)
    assert slept == delays


def test_what_a_killed_process_left_is_recorded_by_the_next(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _, trials, outcomes = tiny()
    one = begun(project)
    monkeypatch.setattr(recorder, "insert", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    one.add("p1", trials[:2], outcomes[:2])  # killed between the artifact and the child runs
    one.add("p2", trials[2:3], outcomes[2:3])  # and with these in the spool
    one.add("p3", trials[3:], outcomes[3:])
    assert not one.wait(patience=1.0)
    (cut,) = one.spool.glob("p3-*")
    cut.write_bytes(cut.read_bytes()[:-7])
    (one.spool / ".p4-0.parquet.part").touch()
    monkeypatch.undo()
    monkeypatch.chdir(project)
    two = begun(project)
    assert not list(two.spool.parent.rglob("*.parquet*"))
    known = Past(two.ledger, study).find({t.key for t in trials})
    assert set(known["trial"]) == {t.key for t in trials[:3]}  # the half-written pack is not
    reuse(two, trials[:3], outcomes[:3])
    two.add("p1", trials[3:], outcomes[3:])
    assert two.consolidate(INFO)
    frame, children = held(project)
    assert children == dict.fromkeys((t.key for t in trials), "FINISHED")
    assert not frame.duplicated(["trial", "step"]).any()
    assert len(frame) == 8


def test_over_the_client_children_cut_short_are_written_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    monkeypatch.setattr(one.ledger, "store", lambda: None)
    monkeypatch.setattr(recorder, "FIRST_DELAY", 0.01)
    client, cut = one.ledger.client, iter([1, 3])

    def unreliable(name: str) -> None:
        real, calls, when = getattr(client, name), [], next(cut)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            result = real(*args, **kwargs)
            if len(calls) == when:  # it was done, and the answer was lost
                raise ConnectionError("reset")
            return result

        monkeypatch.setattr(client, name, call)

    unreliable("create_run")
    unreliable("set_terminated")
    one.add("p1", trials, outcomes)
    assert one.wait()
    assert held(project)[1] == dict.fromkeys((t.key for t in trials), "FINISHED")
    assert set(one.run_ids) == {t.key for t in trials}


def test_a_full_disk_that_is_freed_loses_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, trials, outcomes = tiny()
    said: list[str] = []
    one = begun(project, said)
    monkeypatch.setattr(recorder, "FIRST_DELAY", 0.01)
    real = durable._sync
    full = True

    def sync(path: Path) -> None:
        if full:
            raise OSError(28, "No space left on device")
        real(path)

    monkeypatch.setattr(durable, "_sync", sync)
    one.add("p1", trials, outcomes)
    assert "(1 of them in memory only)" in one.missing()
    assert not list((project / ".harness").rglob("*.parquet"))
    full = False
    assert one.wait()
    assert not list((project / ".harness").rglob("*.part"))  # what the tries have left
    assert len(held(project)[1]) == 4


def sql(project: Path, *statements: str) -> None:
    """Change the project's own store, as another program might."""
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


BROKEN = {  # what is done to the store, what undoes it, and what the line then says
    "a renamed column": (
        "ALTER TABLE metrics RENAME COLUMN step TO stage",
        "ALTER TABLE metrics RENAME COLUMN stage TO step",
        "table metrics has no column named step",
    ),
    "a table that is gone": (
        "ALTER TABLE params RENAME TO parameters",
        "ALTER TABLE parameters RENAME TO params",
        "no such table: params",
    ),
    "a refused value": (
        "CREATE TRIGGER no BEFORE INSERT ON metrics BEGIN SELECT RAISE(ABORT, 'not today'); END",
        "DROP TRIGGER no",
        "not today",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_store_that_refuses_records_ends_the_run_and_then_continues(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    *_, trials, outcomes = tiny()
    monkeypatch.setattr(recorder, "FIRST_DELAY", 100.0)  # who waits is found out
    broken, mended, says = BROKEN[name]
    said: list[str] = []
    one = begun(project, said)
    sql(project, broken)
    one.add("p1", trials[:2], outcomes[:2])
    with pytest.raises(Unfinished, match=says) as ended:
        one.wait()
    line = str(ended.value)
    assert line.startswith("tracking store sqlite:///") and "\n" not in line
    assert line.endswith("wait in " + str(one.spool) + "; once that is mended, the same command continues")  # fmt: skip
    with pytest.raises(Unfinished, match=says):  # what was in flight is kept before it is told
        one.add("p2", trials[2:], outcomes[2:])
    one.end("FAILED")
    assert said == []  # no word of waiting
    monkeypatch.undo()
    monkeypatch.chdir(project)
    sql(project, mended)
    again = begun(project)
    reuse(again, trials, outcomes)  # nothing is trained again
    assert again.consolidate(INFO)
    assert held(project)[1] == dict.fromkeys((t.key for t in trials), "FINISHED")


def test_an_outage_is_told_from_a_refusal() -> None:
    def operational(text: str) -> Exception:
        return OperationalError("INSERT", {}, sqlite3.OperationalError(text))

    def through_mlflow(error: Exception) -> Exception:
        wrapped = MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE)
        wrapped.__cause__ = error
        return wrapped

    for text in ("database is locked", "disk I/O error", "unable to open database file",
                 "database or disk is full", "server closed the connection unexpectedly",
                 "attempt to write a readonly database"):  # fmt: skip
        assert not permanent(operational(text)) and not permanent(through_mlflow(operational(text)))
    for error in (OSError(28, "No space left on device"), ConnectionError("reset"),
                  MlflowException("API request failed with error code 503", TEMPORARILY_UNAVAILABLE),
                  MlflowException("QueuePool limit of size 5 overflow 10 reached", BAD_REQUEST),
                  sqlalchemy.exc.TimeoutError("QueuePool limit")):  # fmt: skip
        assert not permanent(error)
    lost = IntegrityError("INSERT", {}, Exception("gone away"), connection_invalidated=True)
    assert not permanent(lost)
    for text in ("no such column: step", "table metrics has no column named step",
                 "no such table: runs", "(1054, \"Unknown column 'step' in 'field list'\")"):  # fmt: skip
        assert permanent(operational(text)) and permanent(through_mlflow(operational(text)))
    for error in (
        IntegrityError("INSERT", {}, Exception("NOT NULL constraint failed: metrics.step")),
        DataError("INSERT", {}, Exception("value too long for type character varying(250)")),
        StatementError("INSERT", "INSERT", {}, OverflowError("int too large")),
        MlflowException("Invalid value", INVALID_PARAMETER_VALUE),
        MlflowException('(psycopg2.errors.UndefinedColumn) column "step" of relation "metrics" does not exist', BAD_REQUEST),
        MlflowException("(sqlite3.IntegrityError) not today", BAD_REQUEST),
    ):  # fmt: skip
        assert permanent(error), error


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    path = tmp_path_factory.mktemp("whole") / "rows.parquet"
    frame = pd.DataFrame({"trial": ["a", "a", "b"], "loss": np.array([1.0, math.nan, 3.0])})
    frame.attrs = {"packs": ["p1"]}
    rows.save(frame, path)
    return path, frame


def test_a_database_is_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full while MLflow makes its tables leaves nothing that it cannot open."""
    monkeypatch.chdir(tmp_path)
    real = sqlite3.connect

    def full(*words: Any, **named: Any) -> sqlite3.Connection:
        connection = real(*words, **named)
        connection.execute("PRAGMA max_page_count = 60")  # of some hundred
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", full)
        patch.setattr("sqlite3.dbapi2.connect", full)
        with pytest.raises(BadInput, match=r"cannot be made: .*full"):
            Ledger(tmp_path)
    assert [*tmp_path.glob(".*"), *tmp_path.glob("*.db*")] == []
    store._make_sqlite(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"]
    with contextlib.closing(real(tmp_path / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    assert Ledger(tmp_path).client.search_experiments()


def test_what_a_file_says_of_its_rows_takes_little_room(tmp_path: Path) -> None:
    frame = pd.DataFrame({"trial": ["a"], "loss": [1.0]})
    told = {"info": {"registrations": [{"claims": "the same words " * 1000}] * 9}}
    for name, attrs in (("bare", {}), ("told", told)):
        frame.attrs = attrs
        rows.save(frame, tmp_path / name)
        assert rows.load(tmp_path / name).attrs == attrs
    bare, whole = ((tmp_path / name).stat().st_size for name in ("bare", "told"))
    assert whole < bare + 5000 < len(json.dumps(told)) / 10


def test_attributes_as_long_as_no_run_s_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"trial": ["a"], "loss": [1.0]})
    frame.attrs = {"info": "x" * 5000}
    rows.save(frame, tmp_path / "rows")
    monkeypatch.setattr(rows, "LONGEST", 5000)
    with pytest.raises(ValueError, match="damaged: its attributes are longer than 5,000 bytes"):
        rows.load(tmp_path / "rows")


def test_files_that_were_written_before_attributes_were_pressed_are_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"trial": ["a"], "loss": [1.0]})
    frame.attrs = {"packs": ["p1"]}
    frame.to_parquet(tmp_path / "rows", index=False, write_page_checksum=True)
    assert rows.load(tmp_path / "rows").attrs == {"packs": ["p1"]}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data())
def test_a_file_cut_at_any_length_is_recognised(
    whole: tuple[Path, pd.DataFrame], data: st.DataObject
) -> None:
    path, frame = whole
    pd.testing.assert_frame_equal(rows.load(path), frame)
    assert rows.load(path).attrs == frame.attrs
    content = path.read_bytes()
    length = data.draw(st.integers(0, len(content) - 1))
    cut = path.with_name("cut.parquet")
    cut.write_bytes(content[:length])
    with pytest.raises(ValueError, match="damaged"):
        rows.load(cut)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    durable.text(path, "one")

    def fill(part: Path) -> None:
        part.write_text("tw")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        durable.write(path, fill)
    assert [(p.name, p.read_text()) for p in path.parent.iterdir()] == [("file", "one")]
    durable.move(path, tmp_path / "other" / "file")
    durable.move(path, tmp_path / "other" / "file")  # done already
    assert (tmp_path / "other" / "file").read_text() == "one"
    with pytest.raises(FileNotFoundError):
        durable.move(path, tmp_path / "third" / "file")


def test_the_same_plan_continues_and_another_starts_anew(project: Path) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    ledger = Ledger(project)
    first = Recorder(ledger, study, source, "smoke", INFO, False)
    again = Recorder(ledger, study, source, "smoke", INFO, False)
    assert (again.run_id, again.continued) == (first.run_id, True)
    assert (
        Recorder(ledger, study, source, "smoke", {**INFO, "plan": "p2"}, False).run_id
        != first.run_id
    )
    assert Recorder(ledger, study, source, "smoke", INFO, True).run_id != first.run_id
    assert len(ledger.parents("tiny", "smoke")) == 3
    assert ledger.parents("tiny", "default") == []


def test_a_deleted_experiment_is_restored(project: Path) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    ledger = Ledger(project)
    recorder = Recorder(ledger, study, source, "smoke", INFO, False)
    ledger.client.delete_experiment(recorder.experiment)
    assert Recorder(ledger, study, source, "smoke", INFO, False).experiment == recorder.experiment


def test_a_file_that_is_no_database(project: Path) -> None:
    (project / "mlflow.db").write_text("not a database, and long enough to be looked at" * 50)
    with pytest.raises(BadInput, match="cannot be opened"):
        Ledger(project)
