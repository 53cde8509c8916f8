"""Ends before their time: signals, limits, workers that die, and whose fault it is held to be."""

from __future__ import annotations

import contextlib
import io
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
from rich.console import Console

from harness.engine.outcome import Outcome
from harness.execution import Ending, Session, Stopped, orphans
from harness.execution import run as running
from harness.execution.progress import Meter
from harness.execution.session import TRIES
from harness.plan.declared import Declarations
from harness.plan.packing import Packer
from harness.plan.plan import Plan
from harness.study import catalog

ENDING = Path(__file__).parent.parent.parent / "harness" / "execution" / "ending.py"


def test_these_tests_hold_in_a_background_job() -> None:
    """Shells have SIGINT ignored there; what tests start is to take it all the same."""
    name = "test_the_second_signal_ends_at_once"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"{__file__}::{name}",
    ]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def alone(code: str) -> tuple[int, str]:
    """Exit code and output of a process that has `ending` and little else."""
    start = f"import runpy, os, sys, time, ctypes\nfor k, v in runpy.run_path({str(ENDING)!r}).items(): globals()[k] = v\n"
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_where_training_is(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="interrupted"), Ending():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_within_a_loop_it_waits_for_the_check() -> None:
    with Ending() as stop:
        with stop.polled():
            stop.check()
            os.kill(os.getpid(), signal.SIGINT)
            held = True  # not raised above
            with pytest.raises(Stopped):
                stop.check()
        assert held


def test_the_limit_ends_what_runs_and_nothing_after_it() -> None:
    with pytest.raises(Stopped, match=r"cut: its limit of 0\.05 s is over"), Ending(0.05):
        time.sleep(5)
    with Ending(0.05) as stop:
        stop.over()
        time.sleep(0.1)
    assert stop.why is None


def test_the_limit_holds_while_ray_has_started_and_nothing_trains(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own handler would abort the process, without a word of the limit."""
    taken: list[int] = []
    there = threading.Event()

    def started() -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: taken.append(number))
        there.set()

    def opened(root: Path) -> object:
        there.wait()
        time.sleep(0.2)  # by then nothing is left but to wait for this
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError("past the signal")

    for name, fake in (("start_ray", started), ("stop_ray", lambda: None), ("open_ledger", opened)):
        monkeypatch.setattr(running, name, fake)
    source = catalog.find("tiny")
    study, quiet = catalog.load(source), Console(quiet=True)
    with pytest.raises(Stopped), Ending() as stop:
        running.execute(study, source, "smoke", project, quiet, stop)
    assert not taken


def test_tune_can_store_what_it_is_given() -> None:
    with Ending(60.0) as stop:  # a timer holds a lock, which no pickle takes
        pickle.dumps(stop)


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as nohup and background jobs have it
    try:
        with Ending() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        assert stop.why is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_second_signal_ends_at_once() -> None:
    code, said = alone("""
        with Ending() as stop:
            try:
                os.kill(os.getpid(), 2)
                time.sleep(9)
            except Stopped:
                print("writing a report", flush=True)
                os.kill(os.getpid(), 2)
                time.sleep(9)
    """)
    assert code == 130
    assert "writing a report" in said and "ended at once" in said


def test_a_deadline_holds_when_c_code_has_python_locked(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    code, _ = alone(f"""
        def run_pack():
            ctypes.PyDLL(None).sleep(50)  # holds the interpreter's lock
        with open({str(trace)!r}, "w") as file, deadline(0.3, file):
            run_pack()
    """)
    assert code == 1
    assert "in run_pack" in trace.read_text()


def test_a_deadline_that_is_kept_ends_nothing(tmp_path: Path) -> None:
    code, said = alone("""
        with deadline(0.2, sys.stderr):
            pass
        with deadline(None, sys.stderr):
            time.sleep(0.3)
        print("lived")
    """)
    assert (code, said) == (0, "lived\n")


class Kept:
    """A keeper that remembers how trials ended."""

    def __init__(self) -> None:
        self.ended: dict[str, Outcome] = {}

    def add(self, pack, trials, outcomes, began) -> None:
        for trial, outcome in zip(trials, outcomes, strict=True):
            assert trial.key not in self.ended
            self.ended[trial.key] = outcome

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame()

    def wait(self) -> None:
        return None


@pytest.fixture
def session(project: Path) -> Session:
    source = catalog.find("tiny")
    study = catalog.load(source)
    plan, packer = Plan(study, source, "smoke"), Packer(Declarations(study), workers=1)
    meter = Meter(plan.planned, 1.0, Console(quiet=True))
    return Session(study, source, "smoke", plan, packer, Kept(), meter, trial_limit=60.0)


def run(session: Session, culprit, end) -> int:
    """Train all packs; one that holds the culprit ends as `end` has it. Returns how often."""
    ends = 0
    while pack := session.next():
        if any(map(culprit, pack.trials)):
            ends += 1
            end(pack)
        else:
            outcomes = [Outcome("finished", [0], {"loss": [1.0]}) for _ in pack.trials]
            session.finish(pack.name, outcomes)
    assert session.done
    return ends


def test_only_the_trial_that_ends_its_process_fails(session: Session) -> None:
    ends = run(
        session,
        lambda t: (t.arm, t.phase, t.seed) == ("gd", "confirm", 4),
        lambda pack: session.lose(pack.name, "the worker process died: by itself"),
    )
    failed = [o for o in session.keeper.ended.values() if o.status == "failed"]
    assert [o.error for o in failed] == ["the worker process died: by itself"]
    assert len(session.keeper.ended) == 20
    assert ends <= math.ceil(math.log2(6)) + TRIES


def test_a_trial_whose_process_died_once_is_trained(session: Session) -> None:
    died = []

    def end(pack) -> None:
        if len(pack.trials) == 1:
            died.append(pack)
        session.lose(pack.name, "its node left")

    run(session, lambda t: (t.arm, t.phase, t.seed) == ("gd", "confirm", 4) and not died, end)
    assert {o.status for o in session.keeper.ended.values()} == {"finished"}


def test_only_the_trial_that_overruns_is_cut(session: Session) -> None:
    allowed: list[tuple[int, float]] = []

    def end(pack) -> None:
        allowed.append((len(pack.trials), session.allowance(pack)))
        session.cut(pack.name, ", at tiny.py:13")

    ends = run(session, lambda t: (t.arm, t.phase, t.seed) == ("gd", "confirm", 4), end)
    failed = [o.error for o in session.keeper.ended.values() if o.status == "failed"]
    assert failed == ["cut: the limit of 60 s a trial is over, at tiny.py:13"]
    assert ends <= 1 + math.ceil(math.log2(6))
    sizes, seconds = zip(*allowed, strict=True)
    assert sizes[-1] == 1 and seconds[-1] == 60.0  # alone, a trial has the limit and no more
    assert list(seconds) == sorted(seconds, reverse=True)
    assert all(60 <= s <= 60 * n for n, s in allowed)


def test_a_pack_that_was_not_begun_goes_back_whole(session: Session) -> None:
    pack = session.next()
    session.put_back(pack.name)
    assert session.next() is pack
    session.put_back("unknown")


def test_times_are_read_with_units() -> None:
    import typer

    from harness.app.cli import _seconds

    assert [_seconds(t) for t in ("90", "90s", "30m", "1h30m", "2h")] == [90, 90, 1800, 5400, 7200]
    for wrong in ("", "0", "-3s", "soon", "nan", "-5"):
        with pytest.raises(typer.BadParameter, match=re.escape(repr(wrong))):
            _seconds(wrong)


@pytest.mark.parametrize("where", ["while it is imported", "while it runs"])
def test_an_interrupted_command_exits_130_without_a_traceback(where: str) -> None:
    program = textwrap.dedent("""
        import atexit, sys, types
        stand_in = types.ModuleType("harness.app.cli")
        def main():
            atexit.register(print, "left in order")
            sys.exit(130)
        def attribute(name):
            raise KeyboardInterrupt
        if sys.argv[1] == "while it runs":
            stand_in.main, stand_in.INTERRUPTED = main, 130
        else:
            stand_in.__getattr__ = attribute
        sys.modules["harness.app.cli"] = stand_in
        from harness.__main__ import console
        console()
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, where], capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    ran = where == "while it runs"
    assert ("left in order" in done.stdout) == ran
    assert ("the same command continues" in done.stderr) != ran


def test_what_is_withheld_of_a_sealed_split_is_said_once(session: Session) -> None:
    session.meter.console = Console(file=io.StringIO(), width=500)
    while pack := session.next():
        found = {"loss": [1.0]}
        outcomes = [
            Outcome("finished", [0], found, withheld=["test_loss"] * (t.phase == "tune"))
            for t in pack.trials
        ]
        session.finish(pack.name, outcomes)
    said = session.meter.console.file.getvalue()
    assert said.count("test_loss of trials in the tune phase is dropped: the test split is") == 1


def test_a_cluster_that_is_just_starting_ends_with_its_driver() -> None:
    """Its agents give themselves other names, and would look for its head for a minute."""
    code = (
        "from harness.execution.cluster import start_ray; start_ray(); import time; time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as driver:
        seen: set[psutil.Process] = set()
        until = time.monotonic() + 60
        while not any("raylet" in one.name() for one in seen) and time.monotonic() < until:
            seen |= {*psutil.Process(driver.pid).children(recursive=True)}
            time.sleep(0.05)
        until = time.monotonic() + 0.7  # in which the agents are started
        while time.monotonic() < until:
            seen |= {*psutil.Process(driver.pid).children(recursive=True)}
            time.sleep(0.05)
        assert driver.poll() is None
        driver.kill()
    _, left = psutil.wait_procs([*seen], 15)
    for one in left:
        one.kill()
    assert [one.pid for one in left] == []


def test_what_a_cluster_starts_last_is_known_by_who_started_it(tmp_path: Path) -> None:
    """Of another name, and too late to be seen among the driver's children. Its folder goes, too."""
    sleep = "import time; time.sleep(60)"
    start = (
        "import os, subprocess, sys\n"
        f"words = [sys.executable, '-c', {sleep!r}, f'session_2026_{{os.getpid()}}']\n"
        "one = subprocess.Popen(words)\n"
        "print(one.pid, flush=True)\n"
        "one.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout
        raylet = driver.stdout.readline().strip()
        words = [sys.executable, "-I", orphans.__file__, str(driver.pid)]
        for number in (driver.pid, f"{driver.pid}0"):
            (tmp_path / f"harness-ray-{number}-x").mkdir()
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        with subprocess.Popen(words, stdin=subprocess.PIPE, env=env) as guard:
            time.sleep(2)  # it has looked
            env = {**os.environ, "RAY_RAYLET_PID": raylet}
            with subprocess.Popen([sys.executable, "-c", sleep], env=env) as late:
                driver.kill()
                assert guard.stdin
                guard.stdin.close()
                assert late.wait(20) == -signal.SIGKILL
            assert guard.wait(20) == 0
        assert [one.name for one in tmp_path.iterdir()] == [f"harness-ray-{driver.pid}0-x"]
        with contextlib.suppress(psutil.NoSuchProcess):  # a container may leave it unburied
            assert psutil.Process(int(raylet)).status() == psutil.STATUS_ZOMBIE
