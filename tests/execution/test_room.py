"""A disk that is full: waited for, told once, and given up in a line."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from harness import report
from harness.app import cli, running
from harness.durable import full
from harness.execution import RowsFile, room
from harness.execution.room import with_room
from harness.ledger import rows, store
from harness.report import files
from harness.study import BadInput, Unfinished
from tests import synthetic
from tests.ledger.test_ledger import tiny

FULL = OSError(errno.ENOSPC, "No space left on device")


def failing(times: int, error: Exception = FULL):
    """A step that fails so often and then gives how often it was tried."""
    tried: list[int] = []

    def step(*_: object) -> int:
        tried.append(1)
        if len(tried) <= times:
            raise error
        return len(tried)

    return step


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses pass at once, on a clock of their own."""
    clock = [0.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(room.time, "sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    return clock


def wrapped(inner: Exception) -> Exception:
    try:
        raise MlflowException("the store failed") from inner
    except MlflowException as error:
        return error


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (wrapped(FULL), True),
        (MlflowException("(sqlite3.OperationalError) database or disk is full"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (wrapped(ValueError("7")), False),
        (sqlite3.OperationalError("database is locked"), False),
    ],
)
def test_what_says_that_a_disk_is_full(error: Exception, is_full: bool) -> None:
    assert full(error) == is_full


def test_there_is_room_again(hurried: list[float]) -> None:
    said: list[str] = []
    assert with_room(failing(3), said.append, "the report") == 4
    assert said == [
        "the disk is full; the report waits for room",
        "there is room on the disk again, after 2 s",  # 3 pauses of half a second
    ]
    assert with_room(failing(0), said.append, "the report") == 1
    assert len(said) == 2


def test_waiting_ends_in_a_line_and_other_errors_do_not_wait(hurried: list[float]) -> None:
    said: list[str] = []
    with pytest.raises(Unfinished, match=r"disk is full, and the report found no room in 60 s"):
        with_room(failing(1000), said.append, "the report")
    assert len(said) == 1
    before = hurried[0]
    with pytest.raises(PermissionError):
        with_room(failing(1, PermissionError(errno.EACCES, "no")), said.append, "the report")
    assert hurried[0] == before


def test_a_report_waits_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, _ = synthetic.small()
    put, fail, said = files.put, failing(2), []

    def short(*words, **others):
        fail()
        return put(*words, **others)

    monkeypatch.setattr(files, "put", short)
    folder = tmp_path / "reports" / results.study.name / "default"
    concluded = running.conclude(results, folder, say=said.append)
    assert {*concluded.paths} >= {"report.html", "report.pdf", "index"}
    assert all(path.is_file() for path in concluded.paths.values())
    assert said[0] == "the disk is full; the report waits for room"
    monkeypatch.setattr(report, "write", failing(1000))
    with pytest.raises(Unfinished, match="the report found no room"):
        running.conclude(results, folder, say=said.append)


def test_a_rows_file_goes_on_without_room(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _, trials, outcomes = tiny()
    path = tmp_path / "rows.parquet"
    keeper = RowsFile(study, path, {}, None)
    monkeypatch.setattr("harness.execution.rowsfile.SAVE_EVERY", -1.0)
    saved = rows.save
    monkeypatch.setattr(rows, "save", failing(1))
    keeper.add("p1", trials[:2], outcomes[:2])
    assert not path.exists()
    monkeypatch.setattr(rows, "save", saved)
    keeper.add("p2", trials[2:], outcomes[2:])
    assert rows.load(path)["trial"].nunique() == len(trials)
    monkeypatch.setattr(rows, "save", failing(1, PermissionError(errno.EACCES, "no")))
    with pytest.raises(PermissionError):
        keeper.add("p3", trials[:1], outcomes[:1])


def test_a_full_disk_is_one_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._other_error(FULL) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the disk is full" in told
    assert cli._other_error(ValueError("7")) == 1


def test_a_ledger_on_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(BadInput, match="cannot be opened"):
        store._check_sqlite(f"sqlite:///{path}")
    monkeypatch.setattr(store, "ROOM", float("inf"))  # as if nothing were left of the disk
    with pytest.raises(OSError, match="No space left") as ended:
        store._check_sqlite(f"sqlite:///{path}")
    assert full(ended.value)
