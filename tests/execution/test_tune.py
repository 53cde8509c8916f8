"""What is changed of Ray Tune while a run trains."""

from __future__ import annotations

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
