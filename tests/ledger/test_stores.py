"""Stores that teams share: a real database that is killed, and what goes to a tracking server."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreateRun, LogBatch, UpdateRun
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric
from mlflow.tracking import MlflowClient
from mlflow.utils.proto_json_utils import parse_dict

from benchmarks import stores
from harness.ledger import Ledger, Recorder, children, past, recorder
from harness.ledger.children import Child, send
from harness.ledger.store import public
from harness.ledger.wire import AT_ONCE, Wire
from harness.study import BadInput
from tests.conftest import harness
from tests.ledger.test_ledger import INFO, tiny, written


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest) -> Iterator[stores.Database]:
    if reason := stores.missing(request.param):
        pytest.skip(reason)
    with stores.database(request.param) as one:
        yield one


def test_a_database_holds_what_a_sqlite_file_holds(
    database: stores.Database, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = written(project, True, monkeypatch, database.uri)
    theirs = written(project, True, monkeypatch)
    assert ours == theirs


def test_a_kill_ends_what_is_under_way() -> None:
    if reason := stores.missing("postgresql"):
        pytest.skip(reason)
    psycopg = pytest.importorskip("psycopg")
    with stores.database("postgresql") as one, psycopg.connect(one.uri, autocommit=True) as watch:
        ended: list[object] = []

        def count() -> None:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(one.uri) as client:
                ended.append(client.execute("SELECT count(*) FROM generate_series(1, 5e7)"))

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        busy = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%(1, 5e7)'"
        _until(lambda: watch.execute(busy).fetchone())
        one.kill()
        thread.join(60)
        assert not thread.is_alive()
        assert not ended


def test_a_database_that_is_killed_in_the_middle_loses_nothing(
    database: stores.Database, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, source, trials, outcomes = tiny()
    monkeypatch.setattr(recorder, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(recorder, "LONGEST_DELAY", 0.1)
    real, strike = children._fill, [False]
    moments = [(SqlMetric, "before"), (SqlLatestMetric, "after")]  # two of three tables; no commit

    def fill(session: Any, table: Any, *rows: Any) -> None:
        for when in ("before", "after"):
            if strike[0] and (table, when) == moments[0]:
                moments.pop(0)
                strike[0] = False
                database.kill()
            if when == "before":
                real(session, table, *rows)

    monkeypatch.setattr(children, "_fill", fill)
    said: list[str] = []
    ledger = Ledger(project, database.uri)
    one = Recorder(ledger, study, source, "smoke", INFO, True, said.append)
    one.add("p0", trials[:1], outcomes[:1])
    assert one.wait()
    for number in (1, 2):
        strike[0] = True
        one.add(f"p{number}", [trials[number]], [outcomes[number]])
        _until(lambda number=number: len(said) == 2 * number - 1)
        one.add(f"while away {number}", [trials[3]], [outcomes[3]])
        database.start()
        assert one.wait()
    assert not moments
    assert [text.partition(":")[0].partition(";")[0] for text in said] == [
        "the tracking store takes no records", "the tracking store takes records again"] * 2  # fmt: skip
    ledger.release()

    again = Ledger(project, database.uri)
    (parent,) = [run for run in again.parents("tiny") if run.info.run_id == one.run_id]
    expected = one.frame().drop_duplicates(["trial", "step"], ignore_index=True)
    found = past.rows_of(again, study, one.run_id).drop_duplicates(["trial", "step"])
    order = ["trial", "step"]
    pd.testing.assert_frame_equal(
        *(f.sort_values(order, ignore_index=True).drop(columns="pack") for f in (found, expected))
    )
    words = f"tags.`mlflow.parentRunId` = '{one.run_id}'"
    runs = again.client.search_runs([parent.info.experiment_id], words)
    keys = [run.data.tags["harness.trial"] for run in runs]
    assert sorted(keys) == sorted(trial.key for trial in trials)
    assert one.run_ids == {r.data.tags["harness.trial"]: r.info.run_id for r in runs}
    for trial, outcome in zip(trials, outcomes, strict=True):
        history = again.client.get_metric_history(one.run_ids[trial.key], "loss")
        assert [m.value for m in history] == outcome.metrics["loss"]


def _until(passed: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not passed():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_study_runs_into_a_database_and_is_reported_from_it(
    database: stores.Database, project: Path
) -> None:
    words = ("tiny", "--scale", "smoke")
    done = harness("run", *words, "--inline", MLFLOW_TRACKING_URI=database.uri)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (project / "mlflow.db").exists()
    before = pd.read_parquet(project / "reports" / "tiny" / "smoke" / "rows.parquet")
    (project / "reports" / "tiny" / "smoke" / "rows.parquet").unlink()
    done = harness("report", *words, MLFLOW_TRACKING_URI=database.uri)
    assert done.returncode == 0, done.stdout + done.stderr
    after = pd.read_parquet(project / "reports" / "tiny" / "smoke" / "rows.parquet")
    pd.testing.assert_frame_equal(after, before)


# --- a tracking server ---------------------------------------------------------------------------


class Fake:
    """A tracking server that keeps what it is sent, and answers as MLflow's does.

    Its `refuse` says which status a request gets, by its number: 200 is the usual.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any], str]] = []  # path, body, proof of identity
        self.refuse, self.reason = dict[int, int](), "not you"
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake.lock:
                    fake.sent.append((self.path, body, self.headers.get("Authorization", "")))
                    number = len(fake.sent)
                info = {"run_id": f"{number:032}", "experiment_id": "1", "status": "RUNNING"}
                answer: dict[str, Any] = {"run_info": info, "run": {"info": info, "data": {}}}
                status = fake.refuse.get(number, 200)
                if status != 200:
                    answer = {"error_code": "BAD_REQUEST", "message": fake.reason}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Silence."""

        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def fake() -> Iterator[Fake]:
    one = Fake()
    yield one
    one.server.shutdown()
    one.server.server_close()


def wire_to(fake: Fake) -> tuple[MlflowClient, Wire]:
    client = MlflowClient(tracking_uri=fake.uri)
    return client, Wire(client._tracking_client.store)


def child(key: str, points: int = 3) -> Child:
    tags = {"mlflow.runName": "gd ü", "mlflow.user": "me", "harness.trial": key}
    metrics = [("loss", 0.1 * step, step) for step in range(points)]
    return Child(key, tags, {"lr": "0.1", "steps": "5"}, metrics, "FINISHED", 1234)


@pytest.mark.parametrize("points", [3, children.BATCH + 1])
def test_a_server_is_sent_what_the_client_sends(fake: Fake, points: int) -> None:
    client, wire = wire_to(fake)
    one = child("a", points)
    one.log(client, "1")
    theirs, fake.sent = fake.sent, []
    for _ in range(2):  # the first goes the client's way, the second as that one went
        one.post(wire, "1")
        assert [path for path, *_ in fake.sent] == [path for path, *_ in theirs]
        for (path, own, _), (_, body, _) in zip(fake.sent, theirs, strict=True):
            kind = next(k for word, k in KINDS.items() if path.endswith(word))
            messages = kind(), kind()
            parse_dict(own, messages[0])
            parse_dict(body, messages[1])
            for message in messages:  # what each run has of its own
                for name in ("run_id", "run_uuid", "end_time"):
                    if message.DESCRIPTOR.fields_by_name.get(name):
                        message.ClearField(name)
            assert messages[0] == messages[1]
        fake.sent = []


KINDS = {"/create": CreateRun, "/log-batch": LogBatch, "/update": UpdateRun}


def test_what_one_of_many_meets_is_told_when_all_others_are_done(fake: Fake) -> None:
    client, wire = wire_to(fake)
    fake.refuse = {20: 500}
    many = [child(str(n)) for n in range(3 * AT_ONCE)]
    found: list[tuple[str, str]] = []
    with pytest.raises(MlflowException):
        found.extend(send(client, wire, "1", many))  # those before the error stay in the list
    taken = [sent for number, sent in enumerate(fake.sent, 1) if number not in fake.refuse]
    ended = [body["run_id"] for path, body, _ in taken if path.endswith("/update")]
    assert sorted(run for _, run in found) == sorted(ended)
    assert len(found) < len(many)
    fake.refuse = {}
    keys = [key for key, _ in send(client, wire, "1", many)]
    assert sorted(keys) == sorted(one.key for one in many)
    assert list(send(client, wire, "1", [])) == []


def test_a_proof_of_identity_goes_along_and_may_be_renewed(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "old")
    _, wire = wire_to(fake)
    for _ in range(2):
        wire.ask("runs/update", {"run_id": "1"})
    fake.refuse = {3: 401}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "new")
    with pytest.raises(MlflowException, match="not you"):
        wire.ask("runs/update", {"run_id": "1"})
    wire.ask("runs/update", {"run_id": "1"})
    assert [proof for *_, proof in fake.sent] == ["Bearer old"] * 3 + ["Bearer new"]


def test_a_crowded_server_is_no_bad_request(fake: Fake) -> None:
    _, wire = wire_to(fake)
    fake.refuse, fake.reason = {1: 400}, "QueuePool limit of size 5 overflow 10 reached"
    with pytest.raises(MlflowException) as raised:
        wire.ask("runs/update", {"run_id": "1"})
    assert raised.value.error_code == "TEMPORARILY_UNAVAILABLE"


def test_a_server_that_is_gone_is_said_in_few_words(fake: Fake) -> None:
    _, wire = wire_to(fake)
    wire.ask("runs/update", {"run_id": "1"})
    fake.server.shutdown()
    fake.server.server_close()
    wire._session.close()
    with pytest.raises(MlflowException) as raised:
        wire.ask("runs/update", {"run_id": "1"})
    assert recorder.one_line(raised.value) == "no answer (ConnectionError)"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://me:s3cret@db:5432/runs", "postgresql://me:***@db:5432/runs"),
        ("https://me:s3cret@host/mlflow", "https://host/mlflow"),
        ("postgresql://me@db/runs", "postgresql://me@db/runs"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
    ],
)
def test_a_password_is_not_shown(uri: str, shown: str) -> None:
    assert public(uri) == shown


def test_a_database_that_cannot_be_reached_is_refused_at_once(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = stores.free_port()
    with pytest.raises(BadInput, match=r"me:\*\*\*@127.*does not answer"):
        Ledger(project, f"postgresql+psycopg://me:s3cret@127.0.0.1:{port}/runs")
    with pytest.raises(BadInput, match="is no address: Can't load plugin"):
        Ledger(project, "mysql+nosuch://me@127.0.0.1/runs")
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(BadInput, match=r"needs a driver.*'\.\[mysql\]', and mysql\+pymysql://"):
        Ledger(project, "mysql://me@127.0.0.1/runs")
