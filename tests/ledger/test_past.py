"""What runs hold: the same at every moment of becoming one file, and read only where it is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import durable
from harness.engine.outcome import Outcome
from harness.ledger import Past, Recorder, past, rows
from harness.study import Trial
from tests.ledger.test_ledger import INFO, begun, reuse, tiny


class Killed(BaseException):
    """Ends a step where a kill would."""


def files(project: Path) -> set[str]:
    return {path.name for path in (project / "mlruns").rglob("*.*")} - {
        "study.py",
        "beside.json",
        "info.json",
    }


def seen(one: Recorder, trials: list[Trial]) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """A run's rows, those that a later run would take, and the trials it is known to hold."""
    order = ["trial", "step"]
    held = past.rows_of(one.ledger, one.study, one.run_id)
    found = Past(one.ledger, one.study).find({t.key for t in trials})
    statuses = past.statuses_of(one.ledger, one.run_id)
    return *(f.sort_values(order, ignore_index=True) for f in (held, found)), statuses


def steps(one: Recorder, monkeypatch: pytest.MonkeyPatch, last: int) -> Callable[[], int]:
    """Have a run killed at one of the steps by which its files change; says how many there were."""
    count = 0

    def step(real: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*given: Any, **more: Any) -> Any:
            nonlocal count
            if count == last:
                raise Killed
            count += 1
            return real(*given, **more)

        return taken

    monkeypatch.setattr(durable.os, "replace", step(durable.os.replace))
    monkeypatch.setattr(Path, "unlink", step(Path.unlink))
    monkeypatch.setattr(Path, "rmdir", step(Path.rmdir))
    return lambda: count


def consolidate(one: Recorder) -> None:
    """What the recorder's thread does, in this one."""
    one._entries.clear()
    put: list[Any] = []
    one._put = lambda entry: (one._save(entry), put.append(entry))  # type: ignore[method-assign]
    one.wait = lambda patience=None: True  # type: ignore[method-assign]
    one.consolidate(INFO)
    for entry in put:
        one._record([entry])


def test_a_run_killed_at_any_step_of_becoming_one_file_holds_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, source, trials, outcomes = tiny()
    outcomes = [*outcomes[:3], Outcome("failed", error="ValueError: no")]
    one = begun(project)
    for number, (trial, outcome) in enumerate(zip(trials, outcomes, strict=True)):
        one.add(f"p{number}", [trial], [outcome])
    assert one.wait()
    before = seen(one, trials)
    assert before[2] == {t.key: o.status for t, o in zip(trials, outcomes, strict=True)}
    assert set(before[1]["trial"]) == {t.key for t in trials[:3]}  # a failed one is trained again
    for last in range(100):
        again = Recorder(one.ledger, study, source, "smoke", INFO, False)
        reuse(again, trials[:3], outcomes[:3])
        again.take("p3", before[0][before[0]["status"] == "failed"], trials[3:], outcomes[3:], True)
        again._grown = True
        assert again.wait()
        with monkeypatch.context() as patch:
            taken = steps(again, patch, last)
            try:
                consolidate(again)
                whole = True
            except Killed:
                whole = False
        again.ledger.recover("tiny")
        for ours, theirs in zip(seen(again, trials), before, strict=True):
            if isinstance(ours, pd.DataFrame):
                pd.testing.assert_frame_equal(ours, theirs)
            else:
                assert ours == theirs
        if whole:
            break
    assert whole and taken() == 2 * 2 + len(trials)  # two files made and moved, the packs removed
    assert files(project) == {"rows.parquet", "keys.json"}


def old_layout(one: Recorder, packs: list[str]) -> None:
    """One file beside its packs, as earlier versions kept a run that is whole."""
    frame = one.frame().assign(pack="p1")
    frame.attrs["packs"] = packs
    home = one.ledger._home(one.run_id)
    assert home is not None
    rows.save(frame, home / "packs" / "all.parquet")


def test_a_run_of_an_earlier_version_is_read_and_gone_on_with(project: Path) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    one.add("p1", trials[:1], outcomes[:1])
    one.add("p2", trials[1:2], outcomes[1:2])
    assert one.wait()
    old_layout(one, sorted(one.packs))
    one.add("p1", trials[2:3], outcomes[2:3])  # after a later process has gone on with it
    assert one.wait()
    held, found, statuses = seen(one, trials)
    assert set(statuses) == {t.key for t in trials[:3]} == {*held["trial"]} == {*found["trial"]}
    assert len(held) == 6
    again = begun(project)
    reuse(again, trials[:3], outcomes[:3])
    again.add("p1", trials[3:], outcomes[3:])
    assert again.consolidate(INFO)
    assert files(project) == {"rows.parquet", "keys.json"}
    assert set(seen(again, trials)[2]) == {t.key for t in trials}


def test_packs_of_an_earlier_version_are_told_apart() -> None:
    frame = pd.DataFrame(
        {
            "pack": ["p1", "p1", "p1", "ledger", "ledger", "p1-abc"],
            "seconds": [1.0, 1.0, 2, 3, 4, 1],
        }
    )
    packs = rows.told_apart(frame)["pack"].tolist()
    assert packs[0] == packs[1]
    assert len(set(packs)) == 5
    assert packs[5] == "p1-abc"
    assert rows.told_apart(rows.told_apart(frame)).equals(rows.told_apart(frame))


def test_a_file_of_keys_that_is_damaged_or_has_no_rows_hides_nothing(project: Path) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    one.add("p1", trials, outcomes)
    assert one.wait()
    held = past.Held({t.key: "finished" for t in trials}, frozenset(one.packs))
    for text in ('{"packs": ["p', "[]", "7", '{"packs": 3, "trials": {}}', held.text()):
        one.ledger.write(one.run_id, "keys.json", text)
        assert len(seen(one, trials)[0]) == 8
        assert set(seen(one, trials)[1]["trial"]) == {t.key for t in trials}
    assert past.Held.of(one.ledger, one.run_id) == held


def test_what_waits_of_a_whole_run_is_put_with_its_keys_last(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    monkeypatch.setattr(one.ledger, "keep", lambda *_: (_ for _ in ()).throw(OSError("away")))
    one.add("p1", trials, outcomes)
    one.patience = 0.1
    assert not one.consolidate(INFO)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    order: list[str] = []
    ledger = begun(project).ledger
    assert not list(ledger.spool("tiny").glob("*/*"))
    spool = ledger.spool("tiny") / one.run_id
    for name in ("keys.json", "rows.parquet", "p1-0.parquet"):
        if name.endswith("json"):
            durable.text(spool / name, "{}")
        else:
            rows.save(one.frame(), spool / name)
    monkeypatch.setattr(ledger, "keep", lambda run, path, folder: order.append(folder + path.name))
    assert ledger.recover("tiny") == 3
    assert order == ["packsp1-0.parquet", "rows.parquet", "keys.json"]


@pytest.mark.parametrize("earlier", [2, 12])
def test_what_is_read_does_not_grow_with_the_runs_there_are(
    project: Path, monkeypatch: pytest.MonkeyPatch, earlier: int
) -> None:
    study, source, trials, outcomes = tiny()
    for number in range(earlier):
        ledger = begun(project).ledger
        one = Recorder(ledger, study, source, "smoke", {**INFO, "plan": f"q{number}"}, True)
        one.add("p1", trials[:3], outcomes[:3])
        assert one.consolidate(INFO)
    read: list[str] = []
    real = rows.load
    monkeypatch.setattr(rows, "load", lambda path, *a: (read.append(path.name), real(path, *a))[1])
    monkeypatch.setattr(past, "statuses_of", counted := Counted(past.statuses_of))
    found = Past(ledger, study).find({t.key for t in trials[:3]})
    assert set(found["trial"]) == {t.key for t in trials[:3]}
    assert (read, counted.calls) == (["rows.parquet"], 1)
    assert len(Past(ledger, study).find({trials[3].key})) == 0  # all keys, and no rows
    assert (len(read), counted.calls) == (1, 2 + earlier)
    assert Past(ledger, study).trials("smoke") == 3
    assert len(read) == 1


class Counted:
    """A function, and how often it was called."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self.real, self.calls = real, 0

    def __call__(self, *given: Any) -> Any:
        self.calls += 1
        return self.real(*given)


def test_the_keys_say_how_each_trial_ended(project: Path) -> None:
    *_, trials, outcomes = tiny()
    one = begun(project)
    one.add("p1", trials[:2], [outcomes[0], Outcome("failed", error="no")])
    assert one.consolidate(INFO)
    (path,) = (project / "mlruns").rglob("keys.json")
    assert json.loads(path.read_text())["trials"] == {
        "finished": [trials[0].key], "failed": [trials[1].key]
    }  # fmt: skip
