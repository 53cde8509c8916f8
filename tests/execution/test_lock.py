"""Two runs at once: one at a time, whatever ends the first."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.execution import sole
from harness.ledger import lease
from harness.study import BadInput
from tests.conftest import harness

HOLDER = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
os.write(descriptor, f"{os.getpid()} since noon".encode())
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(project: Path):
    """A process that runs `tiny` as far as its lock goes."""
    (project / ".harness").mkdir()
    words = [sys.executable, "-c", HOLDER, str(project / ".harness" / "tiny.lock")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_run_of_a_study_is_refused_until_the_first_is_gone(
    project: Path, holder: subprocess.Popen[str]
) -> None:
    words = ("run", "tiny", "--scale", "smoke", "--inline")
    done = harness(*words)
    assert done.returncode == 2
    assert f"in use by process {holder.pid} since noon" in done.stderr.replace("\n", " ")
    assert not (project / "mlflow.db").exists()
    holder.kill()
    holder.wait()
    with sole(project / ".harness" / "tiny.lock", "it"):
        assert (project / ".harness" / "tiny.lock").read_text().startswith(f"{os.getpid()} since ")
    assert not list((project / ".harness").glob("*.lock"))


def test_of_many_at_once_one_is_in(tmp_path: Path) -> None:
    inside, most, refused = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, refused
        for _ in range(200):
            try:
                with sole(tmp_path / "lock", "it"):
                    with guard:
                        inside += 1
                        most = max(most, inside)
                    os.sched_yield()
                    with guard:
                        inside -= 1
            except BadInput:
                refused += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not (tmp_path / "lock").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), sole(tmp_path / "file" / "lock", "it"):
        pass


class Tags:
    """An MLflow client's experiment tags."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}

    def get_experiment(self, experiment: str) -> Tags:
        return self

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        self.tags[key] = value


def test_a_server_is_leased_to_one_run_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLED", 0.0)
    monkeypatch.setattr(lease, "RENEWED", 0.05)
    store = Tags()
    store.tags[lease.TAG] = f"elsewhere process 7 until {time.time() + 30:.0f}"
    with pytest.raises(BadInput, match="by elsewhere process 7; allowed: one run"):
        lease.Lease(store, "1", "tiny")
    store.tags[lease.TAG] = f"elsewhere process 7 until {time.time() - 1:.0f}"  # it vanished
    held = lease.Lease(store, "1", "tiny")
    assert store.tags[lease.TAG].startswith(held.mine)
    store.tags[lease.TAG] = ""
    for _ in range(200):
        if store.tags[lease.TAG]:
            break
        time.sleep(0.05)
    assert store.tags[lease.TAG].startswith(held.mine)  # renewed
    held.release()
    assert store.tags[lease.TAG] == ""


def test_of_two_at_the_same_moment_the_earlier_writer_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Tags()
    later = f"elsewhere process 7 until {time.time() + 30:.0f}"
    monkeypatch.setattr(lease.time, "sleep", lambda _: store.tags.update({lease.TAG: later}))
    with pytest.raises(BadInput, match="elsewhere"):
        lease.Lease(store, "1", "tiny")


def test_a_lease_of_a_process_that_is_no_more_is_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease, "SETTLED", 0.0)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store = Tags()
    store.tags[lease.TAG] = (
        f"{socket.gethostname()} process {dead.pid} until {time.time() + 30:.0f}"
    )
    lease.Lease(store, "1", "tiny").release()
