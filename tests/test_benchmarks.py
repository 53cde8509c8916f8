"""The benchmark compares the same work, and writes what it says it writes."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, plain, table, workers
from benchmarks.__main__ import agreement
from benchmarks.models import CNN, Encoder, PeepholeLSTM
from benchmarks.several import ensemble, gan, outliers, pretrained
from benchmarks.works import Work, works
from harness.engine.outcome import Outcome
from harness.engine.pack import train
from harness.engine.training import Training
from harness.parts.data import Data
from tests import simulated

WORKS = works(quick=True)


pytestmark = pytest.mark.usefixtures("one_thread")


def short(work: Work, i: int) -> Training:
    """Trial i with few updates; recorded in between, too."""
    training = work.declare(i)
    if training.data is None:
        return dataclasses.replace(training, steps=20)
    if work.name == "lstm":
        return dataclasses.replace(training, steps=4, every=2, data=Data("digits", train=40))
    if work.name == "pretraining":
        return pretrained(i, work.trials, epochs=1)
    if work.name == "ensemble":
        return ensemble(i, work.trials, epochs=2, members=3)
    if work.name == "outliers":
        return outliers(i, work.trials, epochs=1, members=3)
    if work.name == "gan":
        return gan(i, work.trials, steps=20)
    if work.name == "search":
        return dataclasses.replace(training, epochs=1, data=Data("jsb_chorales", train=8))
    if work.name in ("echo", "forecasters"):
        return training
    if work.name == "encoder":  # each side draws masks of its own
        training = dataclasses.replace(training, model=partial(Encoder, dropout=0.0))
    return dataclasses.replace(training, epochs=2, data=Data("digits", train=320))


@pytest.mark.parametrize("name", WORKS)
def test_both_sides_do_the_same_work(name: str) -> None:
    work = WORKS[name]
    groups: dict[object, list[int]] = {}
    for i in range(work.trials):
        groups.setdefault(short(work, i).signature(), []).append(i)
    pair = next(iter(groups.values()))[:2]
    trainings = [short(work, i) for i in pair]
    ours = dict(zip(pair, train(trainings, pair), strict=True))
    for variant in plain.variants(trainings[0].optimizer.rule):
        peer = {i: plain.fit(t, i, variant) for i, t in zip(pair, trainings, strict=True)}
        assert agreement(ours, peer, work.compare, work.within)[0] == 1.0
        if name == "gan":  # each side draws codes of its own
            continue
        for i in pair:
            for metric, column in ours[i].metrics.items():
                assert peer[i].metrics[metric] == pytest.approx(
                    column, rel=1e-3, abs=1e-4, nan_ok=True
                )


def test_other_work_is_noticed() -> None:
    one = {0: Outcome("finished", [0, 5], {"loss": [1.0, 0.5]})}
    assert agreement(one, one, "loss") == (1.0, 0.0)
    with pytest.raises(ValueError, match="other work: loss of 0%"):
        agreement(one, {0: Outcome("finished", [0, 5], {"loss": [1.0, 0.4]})}, "loss")
    with pytest.raises(ValueError, match="trial 0 recorded"):
        agreement(one, {0: Outcome("finished", [0, 6], {"loss": [1.0, 0.5]})}, "loss")


def test_every_trial_is_in_one_pack_and_the_peers_are_spread() -> None:
    for name, work in WORKS.items():
        assert sorted(i for pack in work.packs(4) for i in pack) == list(range(work.trials)), name
        assert len(set(work.peers())) == len(work.peers()) == work.peer_trials
        assert max(work.peers()) < work.trials
    rules = [WORKS["contour"].declare(i).optimizer.rule for i in WORKS["contour"].peers()]
    assert all(rules.count(rule) == 2 for rule in rules)


def test_zeros_around_a_narrow_lstm_change_nothing() -> None:
    narrow, wide = PeepholeLSTM(20), PeepholeLSTM(32)
    with torch.no_grad():
        for own, into in zip(narrow.parameters(), wide.parameters(), strict=True):
            into.zero_()
            into[tuple(slice(0, n) for n in own.shape)] = own
    x = torch.rand(3, 64)
    torch.testing.assert_close(narrow(x), wide(x))


def test_the_cnn_with_batch_normalisation_has_the_same_outputs() -> None:
    assert CNN(norm=True)(torch.rand(5, 64)).shape == CNN()(torch.rand(5, 64)).shape == (5, 10)


def test_a_row_and_the_file(tmp_path) -> None:
    row = table.make_row("a", "b", [10.0, 30.0, 20.0], [1.0, 2.0, 4.0], 8, 100, {"n": 3})
    assert set(table.FIELDS) <= set(row)
    assert (row["ratio"], row["spread"], row["reached"]) == (10.0, [5.0, 15.0], True)
    assert not table.make_row("a", "b", [10.0], [1.0], 8, 100, {}, gpu=True)["reached"]
    with pytest.raises(ValueError, match="allowed: as many, all positive"):
        table.make_row("a", "b", [1.0], [1.0, 2.0], 8, 100, {})
    path = tmp_path / "results.json"
    table.write([row], None, path)
    written = json.loads(path.read_text())
    assert written["results"] == [row]
    parts = ("cpu", "cores", "memory", "gpu", "torch", "ray", "mlflow", "optuna", "python")
    assert {*parts, "date", "commit"} == set(written["machine"])


def test_what_a_call_wrote_travels_in_parts(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(gpu, "PART", 1000)
    content = {
        "bench.json": b"{}",
        "a.flight/large": bytes(6000),
        "b.flight/one": b"0123456789",
        "b.flight/two": b"x",
    }
    home, away = tmp_path / "home", tmp_path / "away"
    for name, text in {**content, gpu.SUMMARY: b"all"}.items():
        (home / name).parent.mkdir(exist_ok=True, parents=True)
        (home / name).write_bytes(text)
    gpu.give(home, room=5000)
    names = {path.name for path in home.iterdir()}
    assert {gpu.SUMMARY, "results.tar.00", "results.tar.01"} < names
    assert names - {gpu.SUMMARY} == {f"results.tar.{n:02d}" for n in range(len(names) - 1)}
    assert max(path.stat().st_size for path in home.iterdir()) == 1000
    gpu.take(home, away)
    del content["a.flight/large"]  # there was no room for it
    found = {path.relative_to(away).as_posix(): path for path in away.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == content


def test_memory_is_flat_or_not() -> None:
    from benchmarks.soak import growth

    samples = [(64, 100.0), (1024, 200.0), (5000, 230.0), (10_000, 210.0)]
    assert growth(samples) == (1024, 200.0, pytest.approx(0.15))
    assert growth([(10, 50.0), (100, 50.0)]) == (10, 50.0, 0.0)


def test_a_project_of_many_studies(tmp_path: Path) -> None:
    from benchmarks import commands

    names = commands.project(tmp_path / "many", 9)
    assert len(set(names)) == 9
    assert sorted(p.stem for p in (tmp_path / "many" / "studies").glob("*.py")) == sorted(names)
    assert set(names[:6]) == {f"{file.stem}_1" for file in commands.OURS[:6]}


@pytest.mark.parametrize("row", gpu.ROWS)
def test_the_peers_stay_on_the_device(row: str) -> None:
    """A plain loop whose tensors meet others of the CPU, which only a GPU would show."""
    brief = workers._brief(WORKS[row].declare(0), 3)
    with simulated.gpu():
        assert plain.fit(brief, 0, "for-loop", simulated.NAME).status == "finished"
