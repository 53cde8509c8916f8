"""The short form of `make faults`, and whether it would notice what it looks for."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import faults
from benchmarks.faults import Calm, Came, Life, Nodes, Way
from tests.conftest import harness


@pytest.fixture(scope="module")
def calm(tables: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, Calm]]:
    """The study in peace, trained in this process: its rows are the same as Ray's."""
    with pytest.MonkeyPatch.context() as patch:
        life = Life(tmp_path_factory.mktemp("calm") / "calm", None, random.Random(0))
        patch.chdir(life.folder)
        patch.setenv("FAULTS_LOG", str(life.log))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(faults, "SCALE", "smoke")
        done = harness(*faults.command(), "--inline")
        assert done.returncode == 0, done.stderr
        found = faults.rows_of(life.folder), faults.verdicts_of(life.folder)
        yield life, Calm(*found, starting=1.0, ending=1.0)


def judged(life: Life, calm: Calm, allowed: int = 0) -> Came:
    came = Came(tried=1, allowed=allowed, codes=[0])
    faults._judge(life, calm, came)
    return came


def test_what_is_lost_doubled_changed_or_trained_again_is_noticed(
    calm: tuple[Life, Calm], monkeypatch: pytest.MonkeyPatch
) -> None:
    life, expected = calm
    frame = expected.frame
    keys = list(frame["trial"].unique())
    life.log.write_text("\n".join(keys))
    assert judged(life, expected) == Came(tried=1, survived=1, codes=[0])

    life.log.write_text("\n".join([*keys, *keys[:5]]))
    assert (judged(life, expected, 5).survived, judged(life, expected, 4).beyond) == (1, 1)
    life.log.write_text("\n".join(keys))

    runs = Counter(keys)
    for found, field in (
        (frame[frame["trial"] != keys[0]], "lost"),
        (frame.iloc[[0, *range(len(frame))]], "twice"),
        (frame.assign(valid_loss=frame["valid_loss"] * (1 + 2**-52)), "differ"),
    ):
        monkeypatch.setattr(faults, "rows_of", lambda folder, found=found: found)
        came = judged(life, expected)
        assert getattr(came, field) == 1, field
        assert came.survived == 0
    monkeypatch.setattr(faults, "rows_of", lambda folder: frame)
    for changed, field in ((runs - Counter(keys[:1]), "lost"), (runs + Counter(keys[:1]), "twice")):
        monkeypatch.setattr(faults, "children_in_ledger", lambda life, changed=changed: changed)
        assert getattr(judged(life, expected), field) == 1, field


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strike when the next trial begins: a random moment may come after the end, and a study as
    short as this one is soon over. Random ones are for `make faults`."""

    def moment(way: Way, life: Life, *_: object) -> bool:
        before = len(set(life.trainings()))
        return life.until(lambda: len(set(life.trainings())) > before)

    monkeypatch.setattr(faults, "_moment", moment)


@pytest.mark.usefixtures("early")
def test_a_study_survives_the_end_of_a_worker_and_then_of_its_driver(
    calm: tuple[Life, Calm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = [*faults.command(), "--inline"]  # the rows are the same, and Ray takes seconds to start

    ways = [faults.kill_driver, faults.kill_worker]

    def hit(life: Life) -> bool:
        way = ways.pop()
        if not ways:
            monkeypatch.setattr(faults, "command", lambda: again)
        return way(life)

    life = Life(tmp_path / "life", None, random.Random(os.urandom(8)))
    came = faults.live(Way("both", hit), life, calm[1], 2)
    assert (came.tried, came.survived, came.lost, came.twice) == (2, 2, 0, 0), came
    assert came.codes == [-signal.SIGKILL, 0]
    assert came.orphans == 0, came.troubles
    assert came.again <= came.allowed


@pytest.mark.usefixtures("early")
def test_a_study_survives_that_a_node_leaves_its_cluster(
    calm: tuple[Life, Calm], tmp_path: Path
) -> None:
    life = Life(tmp_path / "life", None, random.Random(os.urandom(8)))
    life.nodes = Nodes(life.told())
    try:
        came = faults.live(faults.WAYS["node"], life, calm[1], 1)
    finally:
        life.nodes.end()
    assert (came.tried, came.survived, came.lost, came.twice) == (1, 1, 0, 0), came
    assert came.codes == [0]
    assert came.again <= came.allowed
