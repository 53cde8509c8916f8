"""A run leaves the process as it was: a notebook goes on in it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from harness.execution import left_as_found

SCRIPT = """
import logging, os, pkgutil, sys, warnings
os.environ.pop("MLFLOW_DISABLE_TELEMETRY")
os.environ.pop("OMP_NUM_THREADS")
import alembic, mlflow, optuna, ray, ray.tune, sqlalchemy, torch, matplotlib, seaborn

torch.set_num_threads(3)

def state():
    named = [x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)]
    return {
        "environment": dict(os.environ.items()),
        "threads": torch.get_num_threads(),
        "verbosity": optuna.logging.get_verbosity(),
        "levels": {x.name: x.level for x in (logging.root, *named)},
        "filters": list(warnings.filters),
    }

before = state()
import harness
for module in pkgutil.walk_packages(harness.__path__, "harness."):
    if not module.name.endswith(("__main__", "orphans", "ledger.ui")):
        __import__(module.name)

def differs(then, now):
    found = {k: (then[k], now[k]) for k in ("threads", "verbosity", "filters") if then[k] != now[k]}
    found |= dict(then["environment"].items() ^ now["environment"].items())
    levels = {k: (v, now["levels"][k]) for k, v in then["levels"].items() if now["levels"][k] != v}
    return {**found, **({"levels": levels} if levels else {})}

assert not differs(before, state()), ("imports", differs(before, state()))
sys.argv = ["harness", "run", "tiny", "--scale", "smoke", "--inline"]
from harness.app.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
assert not differs(before, state()), ("a run", differs(before, state()))
from sqlalchemy import create_engine
engine = create_engine("sqlite:///other.db")
with engine.connect() as connection:
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
assert mode == "delete", mode
"""


def test_imports_and_a_run_leave_a_process_as_it_was(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20/20 trials" in done.stdout


def test_what_is_set_within_is_put_back_even_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIVEN", "one")
    monkeypatch.setenv("TAKEN", "two")
    known = logging.getLogger("tests.known")
    monkeypatch.setattr(known, "level", logging.INFO)
    filters = list(warnings.filters)

    @left_as_found()
    def run() -> None:
        os.environ.update(GIVEN="other", MADE="three")
        del os.environ["TAKEN"]
        known.setLevel(logging.ERROR)
        logging.getLogger("tests.made").setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert (os.environ["GIVEN"], os.environ["TAKEN"]) == ("one", "two")
    assert "MADE" not in os.environ
    assert known.level == logging.INFO
    assert logging.getLogger("tests.made").level == logging.NOTSET
    assert list(warnings.filters) == filters
