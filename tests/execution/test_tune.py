"""What is changed of Ray Tune while a run trains, and what is removed of former runs'."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from ray.tune.execution import tune_controller

from harness.execution import tune


def test_all_workers_are_kept_while_none_has_a_pack() -> None:
    former = tune_controller._ObjectCache
    with tune._keeping(2):
        kept = tune_controller._ObjectCache(may_keep_one=True)
        assert [kept.cache_object("cpu", name) for name in "abc"] == [True, True, False]
        assert list(kept.flush_cached_objects()) == []
        assert kept.pop_cached_object("cpu") == "a" and kept.has_cached_object("cpu")
        assert kept.cache_object("cpu", "a")
        assert list(kept.flush_cached_objects(force_all=True)) == ["b", "a"]
        assert kept.num_cached_objects == 0
    assert tune_controller._ObjectCache is former


def test_another_version_of_tune_is_left_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr(tune_controller, "_ObjectCache", object)
    with tune._keeping(2):
        assert tune_controller._ObjectCache is object


def test_what_runs_that_are_gone_have_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    there = [f"harness-ray-{gone.pid}-old", f"harness-ray-{gone.pid}-changes",
             f"harness-ray-{os.getpid()}-old", "harness-ray-x-old"]  # fmt: skip
    long_ago = time.time() - 2 * tune.KEPT
    for name in there:
        (tmp_path / name).mkdir()
        for path in (tmp_path / name / "state.json", tmp_path / name):
            path.is_dir() or path.write_text("{}")
            os.utime(path, (long_ago, long_ago))
    (tmp_path / there[1] / "state.json").write_text("by a process that is not seen here")
    tune.sweep(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == set(there[1:])
