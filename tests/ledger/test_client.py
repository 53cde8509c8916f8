"""What is private of MLflow may go: then its client is asked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.ledger import Ledger, client

ROOT = Path(__file__).parent.parent.parent
WITHOUT = """
import sys
import mlflow.tracking
import mlflow.store.tracking.sqlalchemy_store
names = ("mlflow.store.tracking.dbmodels.models", "mlflow.utils.rest_utils")
there = {name: sys.modules[name] for name in names}
sys.modules.update(dict.fromkeys(names))  # to us, a version that has them no more
from harness.ledger import client
sys.modules.update(there)
assert (client.tables, client.requests_) == (False, False)
from pathlib import Path
from tests.ledger.test_ledger import begun, held, tiny
study, source, trials, outcomes = tiny()
one = begun(Path.cwd())
assert one.ledger.store() is None and one.ledger.wire is None
one.add("p1", trials, outcomes)
assert one.wait()
frame, children = held(Path.cwd())
assert children == {trial.key: "FINISHED" for trial in trials}
assert len(frame) == 8
"""


def test_without_tables_children_are_written_over_the_client(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_store_is_taken_for_what_it_is(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(project)
    assert client.store_of(ledger.client) is ledger.store() is not None
    assert client.server_of(ledger.client) is None
    for other in (object(), SimpleNamespace(_tracking_client=SimpleNamespace(store=object()))):
        assert client.store_of(other) is None
        assert client.server_of(other) is None
    monkeypatch.delattr(ledger.store(), "ManagedSessionMaker")
    assert ledger.store() is None
