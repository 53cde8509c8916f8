"""Shared fixtures: a tiny study, a project folder of one's own, and what real parts need."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
import pytest
import torch
from filelock import FileLock

from harness.parts import data

hypothesis.settings.register_profile("long", deadline=None)

# Some containers set it, and then every process that a test starts compiles what it imports anew,
# where no compiled files lie beside it: seconds each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Nearly all that is imported stays: looking through it for garbage in circles takes a seventh of the
# time of tests that draw.
gc.set_threshold(100_000, 50, 100)

# What takes long, in the order in which workers take it up: folders of tests that start Ray and other
# processes, and the modules that train every study, of which the second knows what the first has found.
# First in its folder is a module whose tests share one long run: at the end workers take tests from
# each other, and each that took one of these would run it anew.
SLOW = (
    ("test_shipped.py", "test_run.py", "execution"),
    ("test_studies.py", "test_device.py"),
    ("app",),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first in the share of each worker, so that none waits for another's last
    test; modules stay whole, for what is set up for them. What mostly waits for Ray is one worker's:
    two that start clusters at once wait for each other."""
    groups: list[list[pytest.Item]] = [[] for _ in SLOW]
    quick: list[pytest.Item] = []
    for item in items:
        names = {item.path.name, item.path.parent.name}
        place = next((n for n, group in enumerate(SLOW) if names & {*group}), None)
        (quick if place is None else groups[place]).append(item)
    for group, order in zip(groups, SLOW, strict=True):
        group.sort(
            key=lambda item: order.index(item.path.name) if item.path.name in order else len(order)
        )
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share, ordered = len(items) // workers, []
    for place in range(workers):
        own = [item for group in groups[place::workers] for item in group]
        rest = max(0, share - len(own)) if place < workers - 1 else len(quick)
        ordered += own + quick[:rest]
        quick = quick[rest:]
    items[:] = ordered


TINY = '''
"""Tiny: two optimizers in the valley."""

from functools import partial

from harness import Arm, Budget, Claim, Float, Metric, Optimizer, Study, Training, Trial
from harness.claims import ratio_below
from harness.figures import intervals
from harness.parts.models import Descent
from harness.parts.probes import StepsTo


def trial(t: Trial) -> Training:
    if t["break_it"] and t.arm == "momentum" and t.seed == 1:
        raise RuntimeError("planned <b>failure</b>")
    return Training(
        model=partial(Descent, "valley"),
        optimizer=Optimizer(t["rule"], lr=t["lr"]),
        steps=t["steps"],
        every=10,
        probes=(StepsTo(1.0),),
    )


STUDY = Study(
    question="Is momentum faster in the valley?",
    trial=trial,
    arms={"gd": {"rule": "sgd"}, "momentum": {"rule": "momentum"}},
    nuisance={"lr": Float(1e-3, 5.0, log=True)},
    fixed={"steps": 60, "break_it": False},
    select=("steps_to_target", "loss"),
    metrics={
        "loss": Metric("height", better="low", log=True),
        "steps_to_target": Metric("steps", better="low"),
    },
    budgets={"smoke": Budget(draws=4, seeds=6), "default": Budget(draws=4, seeds=8)},
    sources={"[1]": "A deck"},
    claims=(
        Claim(
            "Momentum needs fewer steps.", "[1] Heading",
            ratio_below("steps_to_target", 1.0, arm="momentum", than="gd"), id="faster",
        ),
    ),
    figures=(intervals("steps", "Steps to the target.", metric="steps_to_target"),),
)
'''


HARNESS = [sys.executable, "-m", "harness"]


def apart(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a user runs it."""
    return subprocess.run(
        [*HARNESS, *words], capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, **env},
    )  # fmt: skip


def harness(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The same in this process, which saves seconds of imports; not for Ray."""
    from harness.app.cli import main

    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["harness", *words]),
        mock.patch.dict(os.environ, env),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return subprocess.CompletedProcess(words, ended.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """Ctrl-C as a terminal has it, here and in all that tests start: a shell's background jobs ignore
    it, and so does what they start."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same in every process of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tables(shared: Path) -> Iterator[None]:
    """An empty SQLite file gets MLflow's tables from the first that MLflow has made in this run.

    Its migrations, of which no test is, take two seconds a file.
    """
    from mlflow.store.db import utils

    first, really = shared / "tables.db", utils._initialize_tables

    def make(engine: Any) -> None:
        if engine.dialect.name != "sqlite" or not utils._is_empty_database(engine):
            really(engine)
            return
        with FileLock(first.with_suffix(".lock")):
            if not first.exists():
                really(engine)
                part = first.with_suffix(".part")
                _copy(Path(engine.url.database), part)
                part.rename(first)
                return
        _copy(first, Path(engine.url.database))

    with mock.patch.object(utils, "_initialize_tables", make):
        yield


def _copy(database: Path, to: Path) -> None:
    """Copy a SQLite database; the other file may be one, too."""
    with (
        contextlib.closing(sqlite3.connect(database)) as one,
        contextlib.closing(sqlite3.connect(to)) as other,
    ):
        one.backup(other)


@pytest.fixture
def project(tables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one tiny study, no ledger yet, and no tracking server."""
    for folder in ("studies", "reports"):
        (tmp_path / folder).mkdir()
    (tmp_path / "studies" / "tiny.py").write_text(textwrap.dedent(TINY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    data.forget()
    return tmp_path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A report with every kind of claim, its folder and its files; the board lies two up."""
    from harness import report
    from tests import synthetic

    folder = tmp_path_factory.mktemp("reports") / "optimizers" / "default"
    files = report.write(*synthetic.small(), folder)
    report.write_index(folder.parent.parent)
    return folder, files


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium, or a skip that says how to get one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found or not shutil.which("chromedriver"):
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    return found


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What workers train with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
