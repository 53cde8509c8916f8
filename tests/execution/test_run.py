"""Whole runs: inline and on a real Ray cluster, into a real MLflow store, continued and recalled."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from harness.engine import attempt
from harness.execution import read_rows
from harness.execution.cluster import short_folder
from harness.ledger import HISTORY, Ledger, Recorder
from harness.study import BadInput, catalog
from tests.conftest import HARNESS, TINY, apart, harness


def edit(project: Path, old: str, new: str) -> None:
    path = project / "studies" / "tiny.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def rows(project: Path, scale: str = "smoke") -> pd.DataFrame:
    return pd.read_parquet(project / "reports" / "tiny" / scale / "rows.parquet")


LONG = "x" * 100  # the name of a folder in which no socket of Ray's can be


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which `harness run tiny --scale smoke` has run on Ray, as in a batch system that
    sets a long temporary folder."""
    folder = tmp_path_factory.mktemp("finished")
    for name in ("studies", "reports", LONG):
        (folder / name).mkdir()
    (folder / "studies" / "tiny.py").write_text(TINY)
    before = os.getcwd()
    os.chdir(folder)
    try:
        done = apart("run", "tiny", "--scale", "smoke", TMPDIR=str(folder / LONG))
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "out.txt").write_text(done.stdout)
        yield folder
    finally:
        os.chdir(before)


def test_what_is_printed(finished: Path) -> None:
    printed = (finished / "out.txt").read_text()
    assert "0/20 trials" in printed
    assert "20/20 trials" in printed
    assert "Momentum needs fewer steps." in printed
    assert "report.html" in printed


def test_files_of_the_contract(finished: Path) -> None:
    folder = finished / "reports" / "tiny" / "smoke"
    names = {"report.html", "report.pdf", "verdicts.json", "rows.parquet", "trials.csv"}
    assert names <= {p.name for p in folder.iterdir()}
    assert [p.name for p in (folder / "figures").iterdir()] == ["steps.svg"]
    assert (finished / "reports" / "index.html").is_file()
    verdicts = json.loads((folder / "verdicts.json").read_text())
    assert verdicts["study"] == "tiny"
    assert verdicts["scale"] == "smoke"
    assert {"planned", "finished", "diverged", "failed"} <= set(verdicts["trials"])
    claim = verdicts["claims"][0]
    for field in (
        "id",
        "statement",
        "source",
        "verdict",
        "effect",
        "low",
        "high",
        "p",
        "margin",
        "unit",
        "n",
    ):
        assert field in claim
    frame = rows(finished)
    assert list(frame.columns) == [
        "study", "phase", "arm", "lr", "seed", "trial", "step", "status", "loss", "steps_to_target",
    ]  # fmt: skip
    assert frame["trial"].nunique() == 20
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 20
    assert trials["run_id"].notna().all()


def test_the_ledger_holds_parent_and_children(finished: Path) -> None:
    ledger = Ledger(finished)
    (parent,) = ledger.parents("tiny", "smoke")
    assert parent.info.run_name == "tiny smoke"
    assert parent.info.status == "FINISHED"
    tags = parent.data.tags
    assert {"harness.study", "harness.scale", "harness.commit", "harness.plan"} <= set(tags)
    assert "Is momentum faster" in tags["mlflow.note.content"]
    assert "Momentum needs fewer steps." in tags["mlflow.note.content"]
    artifacts = {f.path for f in ledger.client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "report.pdf", "verdicts.json", "rows.parquet", "figures"} <= artifacts
    children = ledger.client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    )
    assert len(children) == 20
    frame = rows(finished)
    for run in children:
        own = run.data.tags
        for tag in ("trial", "arm", "phase", "seed", "pack", "status"):
            assert f"harness.{tag}" in own
        mine = frame[frame["trial"] == own["harness.trial"]]
        assert run.data.params["lr"] == str(mine["lr"].iloc[0])
        finite = mine[np.isfinite(mine["loss"])]  # a trial may diverge
        assert len(finite) == len(mine) or own["harness.status"] == "diverged"
        assert run.data.metrics["loss"] == finite["loss"].iloc[-1]
        history = ledger.client.get_metric_history(run.info.run_id, "loss")
        assert len(history) <= HISTORY[own["harness.phase"]]
        assert len(history) == min(len(mine), HISTORY[own["harness.phase"]]) or len(finite) < len(
            mine
        )


def test_inline_gives_bitwise_the_same_rows(finished: Path, project: Path) -> None:
    done = harness("run", "tiny", "--scale", "smoke", "--inline", "--rows", "out.parquet")
    assert done.returncode == 0, done.stderr
    inline = pd.read_parquet(project / "out.parquet")
    ray = rows(finished)
    order = ["trial", "step"]
    inline = inline[ray.columns].sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(
        inline, ray.sort_values(order, ignore_index=True), check_exact=True
    )
    assert not (project / "mlflow.db").exists()


def test_rows_can_be_imported(project: Path) -> None:
    assert (
        harness("run", "tiny", "--scale", "smoke", "--inline", "--rows", "out.parquet").returncode
        == 0
    )
    done = harness("import", "out.parquet")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows(project)) == len(pd.read_parquet("out.parquet"))
    (parent,) = Ledger(project).parents("tiny", "smoke")
    assert parent.info.status == "FINISHED"


def test_interrupted_rows_are_kept_and_gone_on_with(project: Path, monkeypatch) -> None:
    from harness.execution import session

    words = ("run", "tiny", "--scale", "smoke", "--inline", "--rows")
    assert harness(*words, "whole.parquet").returncode == 0
    real, calls = session.run_pack, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(session, "run_pack", interrupted)
    assert harness(*words, "out.parquet").returncode == 130
    part, *_ = read_rows(Path("out.parquet"))
    assert 0 < part["trial"].nunique() < 20
    assert part.attrs["info"]["partial"]
    assert harness(*words, "out.parquet").returncode == 0
    trained = sum(len(given[1]) for given in calls[3:])
    assert trained == 20 - part["trial"].nunique()
    order = ["trial", "step"]
    whole, out = (
        pd.read_parquet(f"{name}.parquet").drop(columns=["pack", "seconds", "began"])
        .sort_values(order, ignore_index=True)
        for name in ("whole", "out")
    )  # fmt: skip
    pd.testing.assert_frame_equal(whole, out, check_exact=True)
    other = harness("run", "tiny", "--inline", "--rows", "out.parquet")
    assert other.returncode == 2
    assert "holds tiny at the smoke scale" in other.stderr


def test_a_pack_that_runs_out_of_memory_is_halved(project: Path, monkeypatch) -> None:
    from harness.plan.plan import Plan

    real, sizes = attempt.train_pack, []

    def small(trainings, seeds, device, flight):
        sizes.append(len(trainings))
        if len(trainings) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(trainings, seeds, device)

    source = catalog.find("tiny")
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm == "gd"] * 2
    expected = attempt.run_pack(study, trials)
    monkeypatch.setattr(attempt, "train_pack", small)
    outcomes = attempt.run_pack(study, trials)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    losses = [[o.metrics["loss"] for o in found] for found in (outcomes, expected)]
    assert losses[0] == losses[1]


def test_the_report_is_rebuilt_from_the_ledger_alone(finished: Path) -> None:
    folder = finished / "reports" / "tiny" / "smoke"
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    done = harness("report", "tiny", "--scale", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("rows.parquet", "trials.csv", "verdicts.json", "report.html", "report.pdf"):
        assert (folder / name).read_bytes() == before[name], name


def test_a_second_run_trains_nothing_and_agrees(finished: Path) -> None:
    before = rows(finished)
    verdicts = json.loads((finished / "reports" / "tiny" / "smoke" / "verdicts.json").read_text())
    done = apart("run", "tiny", "--scale", "smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 from the ledger" in done.stdout
    pd.testing.assert_frame_equal(rows(finished), before, check_exact=True)
    again = json.loads((finished / "reports" / "tiny" / "smoke" / "verdicts.json").read_text())
    assert again == verdicts  # its times too: nothing was trained
    (parent,) = Ledger(finished).parents("tiny", "smoke")
    children = Ledger(finished).children(parent.info.experiment_id, parent.info.run_id)
    assert len(children) == 20


def test_replay_is_bitwise(finished: Path) -> None:
    key = rows(finished)["trial"].iloc[0]
    done = harness("replay", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bitwise the same" in done.stdout
    assert harness("replay", "nothing").returncode == 2
    assert harness("replay", "0" * 16).returncode == 2


def test_replay_is_of_the_study_that_was_recorded_and_says_what_differs(project: Path) -> None:
    # a study of one's own, outside studies/, that is gone by then
    own = project / "elsewhere" / "mine.py"
    own.parent.mkdir()
    own.write_text(TINY.replace("draws=4, seeds=6", "draws=1, seeds=2"))
    assert harness("run", str(own), "--scale", "smoke", "--inline").returncode == 0
    frame = pd.read_parquet(project / "reports" / "mine" / "smoke" / "rows.parquet")
    key = frame["trial"].iloc[0]
    text = own.read_text()
    own.unlink()
    done = harness("replay", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bitwise the same" in done.stdout
    assert "changed" not in done.stdout
    own.write_text(text.replace("StepsTo(1.0)", "StepsTo(1e-9)"))
    done = harness("replay", key, "--study", str(own))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "steps_to_target: 1 rows differ" in done.stdout
    assert "the code that trains has changed since" in done.stdout
    assert "is not the text that was recorded" in " ".join(done.stdout.split())
    with mock.patch.object(Ledger, "own", return_value=False):  # as a server's would be
        done = harness("replay", key)
    assert done.returncode == 2
    assert "what a server holds is not run" in done.stderr
    (path,) = (project / "mlruns").rglob("rows.parquet")
    mended = pd.read_parquet(path)
    mended.loc[mended["trial"] == key, "loss"] += 1e-15
    mended.to_parquet(path, index=False)
    done = harness("replay", key)
    assert done.returncode == 1
    assert "loss:" in done.stdout


def test_more_seeds_reuse_what_is_there(project: Path) -> None:
    assert harness("run", "tiny", "--scale", "smoke", "--inline").returncode == 0
    before = rows(project)
    edit(project, '"smoke": Budget(draws=4, seeds=6)', '"smoke": Budget(draws=4, seeds=7)')
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 from the ledger" in done.stdout
    after = rows(project)
    assert after["trial"].nunique() == 22
    shared = after[after["trial"].isin(before["trial"])]
    order = ["trial", "step"]
    pd.testing.assert_frame_equal(
        shared.sort_values(order, ignore_index=True), before.sort_values(order, ignore_index=True)
    )


def test_a_failing_trial_is_reported_and_the_study_goes_on(project: Path) -> None:
    edit(project, '"break_it": False', '"break_it": True')
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    frame = rows(project)
    failed = frame[frame["status"] == "failed"]
    assert len(failed) == 1
    assert failed["loss"].isna().all()
    trials = pd.read_csv(project / "reports" / "tiny" / "smoke" / "trials.csv")
    assert "RuntimeError: planned <b>failure</b>" in trials["error"].dropna().iloc[0]
    page = (project / "reports" / "tiny" / "smoke" / "report.html").read_text()
    assert "planned &lt;b&gt;failure" in page
    assert "planned <b>failure" not in page


def test_when_most_trials_fail_the_claim_is_undecided_and_says_so(project: Path) -> None:
    edit(project, "t.seed == 1", "t.seed < 4")
    edit(project, '"break_it": False', '"break_it": True')
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = json.loads((project / "reports" / "tiny" / "smoke" / "verdicts.json").read_text())
    assert verdicts["claims"][0]["verdict"] == "inconclusive"
    assert "4 of 6 trials of momentum failed" in done.stdout.replace("\n", " ")


def test_divergence_is_counted(project: Path) -> None:
    edit(project, "Float(1e-3, 5.0, log=True)", "Float(1e3, 1e5, log=True)")
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    frame = rows(project)
    assert (frame["status"] == "diverged").all()
    verdicts = json.loads((project / "reports" / "tiny" / "smoke" / "verdicts.json").read_text())
    assert verdicts["trials"]["diverged"] == 20


def test_a_store_that_refuses_records_ends_the_run_in_one_line(project: Path) -> None:
    Ledger(project)  # makes the database
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as store:
        store.execute("ALTER TABLE metrics RENAME COLUMN step TO stage")
        store.commit()
        words = ("run", "tiny", "--scale", "smoke", "--inline")
        ended = harness(*words)
        assert ended.returncode == 1
        (line,) = ended.stderr.splitlines()
        assert "table metrics has no column named step" in line
        assert "takes no records" in line and line.endswith("the same command continues")
        store.execute("ALTER TABLE metrics RENAME COLUMN stage TO step")
        store.commit()
    done = harness(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from the ledger" in done.stdout
    assert rows(project)["trial"].nunique() == 20
    (parent,) = Ledger(project).parents("tiny", "smoke")
    assert len(Ledger(project).children(parent.info.experiment_id, parent.info.run_id)) == 20


def test_an_interrupted_run_continues(project: Path) -> None:
    edit(
        project, "    return Training(",
        "    import os, time; time.sleep(float(os.environ.get('SLOW', 0)))\n    return Training(",
    )  # fmt: skip
    edit(project, '"smoke": Budget(draws=4, seeds=6)', '"smoke": Budget(draws=4, seeds=16)')
    command = [*HARNESS, "run", "tiny", "--scale", "smoke", "--inline", "--pack-size", "2"]
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "SLOW": "0.3"},
    )  # fmt: skip
    packs = project / "mlruns" / "tiny"
    deadline = time.time() + 120
    while not list(packs.rglob("packs/p*.parquet")) and time.time() < deadline:
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130, said
    assert "the same command continues" in said
    report = project / "reports" / "tiny" / "smoke"
    verdicts = json.loads((report / "verdicts.json").read_text())
    assert verdicts["partial"]
    assert 0 < verdicts["trials"]["finished"] < verdicts["trials"]["planned"] == 40
    assert "<b>Partial.</b>" in (report / "report.html").read_text()
    done = harness(*command[3:])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from the ledger" in done.stdout
    frame = rows(project)
    assert frame["trial"].nunique() == 40
    assert not frame.duplicated(["trial", "step"]).any()
    assert not json.loads((report / "verdicts.json").read_text())["partial"]
    (parent,) = Ledger(project).parents("tiny", "smoke")
    assert len(Ledger(project).children(parent.info.experiment_id, parent.info.run_id)) == 40


def test_workers_that_die_or_hang_cost_only_the_culprits(project: Path) -> None:
    # not by asking Ray: the driver's forecast calls `trial`, too, and asking may start another Ray
    in_worker = "sys.argv[0].endswith('default_worker.py')"
    edit(
        project, "    return Training(",
        f"""    if {in_worker} and t.seed == 1:
        if t.arm == "gd":
            os._exit(1)
        ctypes.PyDLL(None).sleep(600)  # in C, with the interpreter's lock
    return Training(""",
    )  # fmt: skip
    edit(
        project,
        "from functools import partial",
        "import ctypes, os, sys\nfrom functools import partial",
    )
    words = ("run", "tiny", "--scale", "smoke", "--pack-size", "1", "--trial-limit", "10s")
    done = apart(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(raylet)" not in done.stdout + done.stderr
    frame = rows(project)
    assert frame["trial"].nunique() == 20
    failed = frame[frame["status"] == "failed"]
    assert set(zip(failed["arm"], failed["seed"], strict=True)) == {("gd", 1), ("momentum", 1)}
    trials = pd.read_csv(project / "reports" / "tiny" / "smoke" / "trials.csv").set_index("arm")
    errors = trials["error"].dropna()
    assert errors["gd"].startswith("the worker process died: Worker unexpectedly exits")
    assert re.fullmatch(
        r"cut: the limit of 10 s a trial is over, at tiny.py:\d+", errors["momentum"]
    )


def test_a_long_temporary_folder_is_no_hindrance(finished: Path) -> None:
    assert rows(finished)["trial"].nunique() == 20
    assert not (finished / LONG / "ray").exists()


def test_a_folder_for_ray_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 149)
    words = r"^RAY_TMPDIR='/.*' has 150 bytes; allowed: at most 39, .*; set RAY_TMPDIR.*$"
    with pytest.raises(BadInput, match=words):
        short_folder()


def test_a_worker_that_cannot_be_set_up_ends_the_run_and_says_why(project: Path) -> None:
    edit(
        project, "from functools import partial",
        "import sys\nfrom functools import partial\n\nif 'default_worker' in sys.argv[0]:\n    import absent_here",
    )  # fmt: skip
    done = apart("run", "tiny", "--scale", "smoke")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no worker can begin" in done.stderr
    assert "No module named 'absent_here'" in done.stderr


def served(project: Path, port: int) -> subprocess.Popen[bytes]:
    """A tracking server that answers on a port of this machine."""
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{project}/served.db",
         "--artifacts-destination", str(project / "served"), "--host", "127.0.0.1", "--port", str(port),
         "--workers", "1"],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # takes seconds more
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.time() + 120
    while time.time() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.3)
    return server


def test_a_tracking_server_that_is_killed_and_comes_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.execution import session

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    words = ("run", "tiny", "--scale", "smoke", "--inline")
    servers = [served(project, port)]
    real, calls = session.run_pack, []

    def killing(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            os.killpg(servers[0].pid, signal.SIGKILL)
            servers[0].wait(30)
        return real(*given)

    monkeypatch.setattr(session, "run_pack", killing)
    monkeypatch.setattr(Recorder, "patience", 1.0)
    try:
        done = harness(*words, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 1, done.stdout + done.stderr
        said = " ".join(done.stdout.split())
        assert "the tracking store takes no records: no answer (ConnectionError); training" in said
        assert "20/20 trials" in said
        assert "Momentum needs fewer steps." in said  # judged all the same
        assert (
            f"error: tracking store {uri} takes no records, no answer (ConnectionError); 7"
            in done.stderr
        )
        assert f"This finishes: harness {' '.join(words)}" in done.stderr
        before, trained = rows(project), len(calls)
        monkeypatch.undo()
        monkeypatch.chdir(project)
        monkeypatch.setattr(session, "run_pack", killing)
        servers.append(served(project, port))
        done = harness(*words, MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(calls) == trained
        assert "View run" not in done.stdout
        pd.testing.assert_frame_equal(rows(project), before)
        assert not (project / "mlflow.db").exists()
        assert not (project / ".harness" / "spool").exists()  # nothing waits
        ledger = Ledger(project, uri)
        (parent,) = ledger.parents("tiny", "smoke")
        assert parent.info.status == "FINISHED"
        assert len(ledger.children(parent.info.experiment_id, parent.info.run_id)) == 20
        (project / "reports" / "tiny" / "smoke" / "rows.parquet").unlink()
        done = harness("report", "tiny", "--scale", "smoke", MLFLOW_TRACKING_URI=uri)
        assert done.returncode == 0, done.stdout + done.stderr
        pd.testing.assert_frame_equal(rows(project), before)
    finally:
        for server in servers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait(30)


def test_generator_trials_run_alone_and_are_checked(project: Path) -> None:
    edit(
        project, "    return Training(",
        "    return ({'step': s, 'loss': t['lr'] + s, 'steps_to_target': 3.0} for s in range(3))\n    return Training(",
    )  # fmt: skip
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    frame = rows(project)
    assert frame.groupby("trial").size().eq(3).all()
    assert all(math.isfinite(v) for v in frame["loss"])


STRANGER = """
import os, sys, ray
os.environ.pop("RAY_AUTH_TOKEN"); os.environ.pop("RAY_AUTH_MODE")
ray.init(address=sys.argv[1], log_to_driver=False)
"""
ASKED = '''
"""Asked: what a Ray worker has before it reads anything, and which process it is."""

import os
from functools import partial

from harness import Budget, Data, Metric, Optimizer, Study, Training, Trial
from harness.parts import data
from harness.parts.models import MLP


def asked():
    (held,) = data.share().values()
    yield {"writable": float(held[0].flags.writeable), "process": float(os.getpid())}


def trial(t: Trial):
    if t.arm == "asked":
        return asked()
    return Training(
        partial(MLP, (64, 10)), Optimizer("sgd"), data=Data("digits"), steps=1, batch_size=8
    )


STUDY = Study(
    question="Who read the data, and who trains?",
    trial=trial,
    arms={"trained": {}, "asked": {}},
    metrics={"test_loss": Metric("nats"), "writable": Metric("fraction"), "process": Metric("number")},
    budgets={"smoke": Budget(draws=0, seeds=2)},
)
'''
DRIVER = """
import json, subprocess, sys, time
from pathlib import Path
import psutil
from rich.console import Console
from harness import execution as run
from harness.study import catalog

run.start_ray()
me, begun = psutil.Process(), set()
while not begun:
    time.sleep(0.5)
    begun = {p.pid for p in me.children(recursive=True) if p.name() == "ray::IDLE"}
import ray
where = ray.get_runtime_context().gcs_address
sockets = [s for p in (me, *me.children(True)) for s in p.net_connections("inet")]
heard = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
stranger = subprocess.run(
    [sys.executable, "-c", sys.argv[1], where], capture_output=True, text=True, timeout=100
)
begun |= {p.pid for p in me.children(True) if p.name() == "ray::IDLE"}
source = catalog.find("asked")
with run.Ending() as stop:
    results, recorder = run.execute(
        catalog.load(source), source, "smoke", Path.cwd(), Console(quiet=True), stop, fresh=True
    )
recorder.end("FINISHED")
asked = results.frame[results.frame["arm"] == "asked"]
print(json.dumps({
    "heard": sorted(heard), "code": stranger.returncode, "said": stranger.stderr, "begun": sorted(begun),
    "process": asked["process"].tolist(), "writable": asked["writable"].tolist(),
}))
"""


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process sees that starts a private cluster, lets a stranger knock, and runs a study."""
    folder = tmp_path_factory.mktemp("clustered")
    for name in ("studies", "reports"):
        (folder / name).mkdir()
    (folder / "studies" / "asked.py").write_text(ASKED)
    left = ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, STRANGER], capture_output=True, text=True, timeout=280, check=False,
        cwd=folder, env={k: v for k, v in os.environ.items() if k not in left},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_private_cluster_is_on_loopback_and_answers_only_who_has_its_token(
    clustered: dict[str, Any],
) -> None:
    assert clustered["heard"] and {*clustered["heard"]} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert clustered["code"] == 1
    assert re.search("AuthenticationError|ConnectionError", clustered["said"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="workers are made ahead without GPUs only")
def test_packs_train_in_the_workers_that_began_with_ray(clustered: dict[str, Any]) -> None:
    assert len(clustered["process"]) == 2
    assert {*clustered["process"]} <= {*clustered["begun"]}


def test_workers_get_data_through_the_object_store(clustered: dict[str, Any]) -> None:
    # Ray's arrays are read-only; those that a process has read from a file itself are not
    assert clustered["writable"] == [0.0, 0.0]
