"""What is private of Ray may go: a run then says less, or starts later."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from harness.execution import cluster
from harness.execution.tune import _error

CACHE = "ray.tune.execution.class_cache"


def test_a_tune_without_those_names_keeps_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    import ray.tune.execution as package
    from ray.tune.execution import class_cache

    monkeypatch.setattr(class_cache, "DEFAULT_ENV_VARS", {"A": "1"})
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", {"B"})
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    cluster.one_environment()  # another's cluster has not this process's variables
    assert class_cache.DEFAULT_ENV_VARS and class_cache.ENV_VARS_TO_PROPAGATE
    monkeypatch.delenv("RAY_ADDRESS")
    cluster.one_environment()
    assert not class_cache.DEFAULT_ENV_VARS and not class_cache.ENV_VARS_TO_PROPAGATE
    bare = ModuleType(CACHE)
    monkeypatch.setitem(sys.modules, CACHE, bare)
    monkeypatch.setattr(package, "class_cache", bare)
    cluster.one_environment()
    assert not {"DEFAULT_ENV_VARS", "ENV_VARS_TO_PROPAGATE"} & {*vars(bare)}


def test_a_tune_that_keeps_its_state_otherwise_writes_it_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray.tune.execution import tune_controller

    real, bare = tune_controller.TuneController, type("Bare", (), {})
    monkeypatch.setattr(real, "_get_trial_checkpoints", lambda _: {"a trial": "{}"})
    monkeypatch.setattr(tune_controller, "TuneController", bare)
    cluster.nothing_to_restore()
    assert not hasattr(bare, "_get_trial_checkpoints")
    monkeypatch.setattr(tune_controller, "TuneController", real)
    cluster.nothing_to_restore()
    assert real._get_trial_checkpoints(None) == {}


def test_a_ray_that_prints_otherwise_is_left_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._private as package

    for given, left in ({"print_to_stdstream": print}, ["print_to_stdstream"]), ({}, []):
        worker = ModuleType("ray._private.worker")
        vars(worker).update(given)
        monkeypatch.setitem(sys.modules, "ray._private.worker", worker)
        monkeypatch.setattr(package, "worker", worker)
        cluster._quiet()
        assert [name for name in vars(worker) if not name.startswith("__")] == left
        assert vars(worker).get("print_to_stdstream") is not print


def test_what_tune_says_of_an_error_in_words_unknown_is_told(tmp_path: Path) -> None:
    file = tmp_path / "error.txt"
    trial = SimpleNamespace(error_file=str(file))
    assert _error(trial) == (False, "cause unknown")  # no file
    assert _error(SimpleNamespace(error_file=None)) == (False, "cause unknown")
    file.write_text("Failure #1\n")
    assert _error(trial) == (False, "cause unknown")
    file.write_text("Failure #1\n\x1b[36mSomething new\x1b[0m\nand more\n")
    assert _error(trial) == (False, "Something new")
    file.write_text("Failure\nThe actor died. Worker exit detail: it was killed by 9. Then more.\n")
    assert _error(trial) == (False, "it was killed by 9")
    file.write_text("Failure\nan error raised in its creation task, at pid 1\nValueError: no\n")
    assert _error(trial) == (True, "ValueError: no")


def test_a_private_cluster_has_a_token_and_is_kept_to_loopback() -> None:
    found = cluster._of_a_private_cluster(ahead=False)
    assert found["RAY_prestart_worker_first_driver"] == "0"
    assert found["RAY_AUTH_MODE"] == "token" and len(found["RAY_AUTH_TOKEN"]) == 64
    assert found["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert "RAY_preload_python_modules" not in found
