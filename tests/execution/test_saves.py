"""Runs go on with the packs that were in flight, and leave nothing behind that has been recorded."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.engine import flight as flights
from harness.engine import saved
from harness.engine.flight import Flight, Landed
from harness.engine.pack import PackInFlight, train_pack
from harness.engine.saved import Saved
from harness.execution import saves
from harness.execution.ending import Ending, Stopped
from harness.execution.saves import Saves
from harness.execution.worker import Gone
from harness.study import Trial
from tests.conftest import HARNESS, harness
from tests.engine.test_flight import KINDS, fly, key
from tests.engine.test_fusing import same

RUN = ("run", "tiny", "--scale", "smoke", "--inline")


def trials(*keys: str) -> list[Trial]:
    return [Trial("s", "tune", "arm", {}, {}, {}, 0, key) for key in keys]


def put(folder: Path, name: str, *keys: str, step: int = 3, device: str = "cpu") -> Path:
    """A file of a pack in flight."""
    about = Saved(keys, device, saved.code(), step, 10, 60.0)
    saved.write(folder / f"{name}.flight", about, {}, lambda _: None)
    return folder / f"{name}.flight"


def held(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.flight"))


def open_(folder: Path, device: str = "cpu", fresh: bool = False) -> tuple[Saves, list[str]]:
    told: list[str] = []
    return Saves(folder, device, told.append, fresh), told


def test_trials_are_found_in_the_pack_that_has_come_furthest(tmp_path: Path) -> None:
    put(tmp_path, "early", "a", "b", "c", step=2)
    put(tmp_path, "late", "c", "b", step=7)
    put(tmp_path, "other", "d", "e", device="cuda")
    there, told = open_(tmp_path)
    begun, rest = there.of(trials("a", "b", "c", "d"))
    assert [(name, [t.key for t in members]) for name, members in begun] == [
        ("late.flight", ["c", "b"]),
        ("early.flight", ["a"]),
    ]
    assert [t.key for t in rest] == ["d"]
    assert told == []
    assert open_(tmp_path, fresh=True)[0].of(trials("a"))[0] == []


def test_what_is_told_is_removed_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path, "whole", "a", "b")
    put(tmp_path, "half", "a")
    put(tmp_path, "other", "a", device="cuda")
    there, _ = open_(tmp_path)
    with there.open():
        assert there.flag.is_file()
        there.told(["a"])
        assert held(tmp_path) == ["other.flight", "whole.flight"]
        put(tmp_path, "mine", "c")
        put(tmp_path, "mine-part", "c")
        there.recorded("mine")
        assert held(tmp_path) == ["other.flight", "whole.flight"]
        there.done()
        assert held(tmp_path) == ["other.flight"]
    assert not there.flag.exists()
    assert tmp_path.is_dir()


def test_the_file_of_a_pack_that_died_is_kept_for_its_halves(tmp_path: Path) -> None:
    there, _ = open_(tmp_path)
    assert there.latest("pack") == ""
    put(tmp_path, "pack", "a", "b")
    assert there.latest("pack") == "pack.flight"
    there.told(["a"])
    assert held(tmp_path) == ["pack.flight"]
    there.told(["b"])
    assert held(tmp_path) == []


@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(path.read_bytes()[:-40]),
                                  lambda path: path.write_text("{}")])  # fmt: skip
def test_what_is_damaged_is_refused_in_one_line(
    tmp_path: Path, harm: Callable[[Path], Any]
) -> None:
    harm(put(tmp_path, "pack", "a", "b"))
    there, told = open_(tmp_path)
    assert told == ["pack.flight is damaged, and is not gone on from: its trials train anew"]
    assert there.of(trials("a"))[0] == []
    assert saves.aloft(tmp_path)["trials"] == 0


def test_how_far_they_are(tmp_path: Path) -> None:
    assert saves.aloft(tmp_path / "none") == {"trials": 0, "done": 0.0, "seconds": 0}
    put(tmp_path, "pack", "a", "a", step=2)  # a lone trial and its twin
    put(tmp_path, "other", "b", "c", "d", step=6)
    assert saves.aloft(tmp_path) == {"trials": 4, "done": pytest.approx(0.5), "seconds": 120.0}


def test_who_cannot_see_the_flag_is_to_end(tmp_path: Path, monkeypatch) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    clock = [0.0]
    monkeypatch.setattr("harness.execution.worker.time.monotonic", lambda: clock[0])
    gone = Gone(flag)
    assert not gone()
    flag.unlink()
    assert not gone()  # looked up a moment ago
    clock[0] += 1.0
    assert gone()


def cut(monkeypatch, at: int, calls: list[int]) -> None:
    """Have the run end at the so-many-th update of training, as Ctrl-C does."""
    real = Flight.look

    def look(flight: Flight, step: int, *given: Any) -> None:
        calls.append(step)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)
        real(flight, step, *given)

    monkeypatch.setattr(Flight, "look", look)


def ordered(path: str) -> pd.DataFrame:
    frame = pd.read_parquet(path).drop(columns=["pack", "seconds", "began"])
    return frame.sort_values(["trial", "step"], ignore_index=True)


def test_a_run_goes_on_where_it_was(project: Path, monkeypatch) -> None:
    """Bitwise, with nothing trained twice, and nothing left in the end."""
    assert harness(*RUN, "--rows", "whole.parquet").returncode == 0
    calls: list[int] = []
    updates = 0
    for at in (30, 50, 10):  # within the first pack, a later one, and once more
        with monkeypatch.context() as patch:
            calls = []
            cut(patch, at, calls)
            assert harness(*RUN, "--rows", "out.parquet").returncode == 130
            updates += len(calls) - 1
        (file,) = Path("out.flight").glob("*.flight")
        said = saved.about(file)
        assert said.step == calls[-1]
    with monkeypatch.context() as patch:
        calls = []
        cut(patch, 10**9, calls)
        assert harness(*RUN, "--rows", "out.parquet").returncode == 0
        updates += len(calls)
    pd.testing.assert_frame_equal(
        ordered("out.parquet"), ordered("whole.parquet"), check_exact=True
    )
    packs = pd.read_parquet("out.parquet")["pack"].nunique()
    assert updates == packs * 60  # of each pack, as often as it was begun
    assert not Path("out.flight").exists()


def test_what_is_in_flight_is_told_and_fresh_begins_anew(project: Path, monkeypatch) -> None:
    folder = saves.home(project, "tiny", "smoke")
    with monkeypatch.context() as patch:
        cut(patch, 30, [])
        assert harness(*RUN).returncode == 130
    assert len(held(folder)) == 1
    told = json.loads(harness("plan", "tiny", "--scale", "smoke", "--json").stdout)["in_flight"]
    assert told["trials"] == 4
    assert told["done"] == pytest.approx(29 / 60)
    words = " ".join(harness("plan", "tiny", "--scale", "smoke").stdout.split())
    assert "4 trials are in flight, 48% of their updates made" in words
    with monkeypatch.context() as patch:
        steps: list[int] = []
        cut(patch, 10**9, steps)
        assert harness(*RUN, "--fresh").returncode == 0
    assert steps.count(0) == len(steps) // 60
    assert not folder.exists()


def test_ctrl_c_waits_for_the_save_and_not_for_what_hangs(monkeypatch) -> None:
    monkeypatch.setattr("harness.execution.ending.PATIENCE", 0.05)
    with Ending() as ending:
        with ending.deferred():
            signal.raise_signal(signal.SIGINT)
            assert ending.why == "interrupted"  # and nothing has been raised
        time.sleep(0.2)
        with pytest.raises(Stopped):
            ending.check()
    with Ending() as ending, ending.deferred():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped):
            time.sleep(60)


def test_a_worker_that_is_killed_costs_the_minutes_since_its_save(
    tmp_path: Path, monkeypatch
) -> None:
    """What its halves train begins where it was saved."""
    monkeypatch.setattr(flights, "EVERY", 0.0)
    expected = fly("point", [0, 1, 2, 3], tmp_path / "none")
    with contextlib.suppress(Landed):
        fly("point", [0, 1, 2, 3], tmp_path, at=23)
    there, _ = open_(tmp_path)
    source = tmp_path / there.latest("pack")
    steps: list[int] = []
    real = PackInFlight.gradient
    monkeypatch.setattr(
        PackInFlight, "gradient", lambda pack, step: (steps.append(step), real(pack, step))[1]
    )
    for label, half in (("first", [0, 1]), ("second", [2, 3])):
        flight = Flight(tmp_path, label, tuple(map(key, half)), "cpu", source=source)
        found = train_pack([KINDS["point"](lane) for lane in half], half, "cpu", flight)
        assert expected
        assert all(same(one, expected[lane]) for lane, one in zip(half, found, strict=True))
    assert min(steps) == 23


def test_a_killed_run_goes_on_where_it_was_saved(project: Path) -> None:
    """kill -9 in the middle of a pack, on a machine where saves are made all the time."""
    source = project / "studies" / "tiny.py"
    source.write_text(source.read_text().replace('"steps": 60', '"steps": 400'))
    assert harness(*RUN, "--rows", "whole.parquet").returncode == 0
    code = (
        "import sys, time\nfrom harness.engine import flight, pack\n"
        "flight.EVERY, flight.TIMES = 0.0, 0\n"
        "real = pack.PackInFlight.move\n"
        "pack.PackInFlight.move = lambda self, step: (time.sleep(0.01), real(self, step))[1]\n"
        f"sys.argv = ['harness', *{RUN!r}, '--rows', 'out.parquet']\n"
        "from harness.app.cli import main\nmain()\n"
    )
    killed = subprocess.Popen([HARNESS[0], "-c", code], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until:
        steps = [
            one.step for _, one in saved.found(project / "out.flight") if isinstance(one, Saved)
        ]
        if max(steps, default=0) > 20:
            break
        time.sleep(0.05)
    killed.kill()
    killed.wait()
    assert held(project / "out.flight")
    assert harness(*RUN, "--rows", "out.parquet").returncode == 0
    pd.testing.assert_frame_equal(
        ordered("out.parquet"), ordered("whole.parquet"), check_exact=True
    )
    assert not (project / "out.flight").exists()
