"""A search strategy in a file of one's own, and what `nas` reads off a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.app import starting
from harness.claims import judge
from harness.engine.attempt import run_pack
from harness.ledger import rows
from harness.nas.space import SPACES
from harness.parts import data
from harness.plan.plan import Plan
from harness.study import Study, Trial, catalog
from tests.nas.test_table import table

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def held() -> Iterator[None]:
    """The table of a space in which every 3x3 convolution and every epoch is worth the same."""
    data.hold("architectures", table(noise=0.0))
    yield
    data.forget()


def run(study: Study, trials: list[Trial]) -> pd.DataFrame:
    outcomes = [run_pack(study, [trial])[0] for trial in trials]
    assert [o.error for o in outcomes] == [""] * len(trials)
    return rows.frame_of(study, "pack", trials, outcomes)


def test_a_strategy_of_ones_own_is_judged_beside_the_others(held: None, tmp_path: Path) -> None:
    path = starting.write(tmp_path / "my_search.py", "search")
    source = catalog.find(str(path))
    study = catalog.load(source)
    frame = run(study, Plan(study, source, "smoke").ready())
    assert set(frame["arm"]) == {"random", "evolution", "mine"}
    (verdict,) = judge(study, frame)
    assert verdict.n == 5 and verdict.effect is not None
    last = frame[frame["step"] == 12]
    assert (last["evaluations"] == 12).all() and (last["regret"] >= 0).all()


def test_a_table_without_noise_ranks_itself(held: None) -> None:
    source = catalog.find(str(ROOT / "studies" / "nas.py"))
    study = catalog.load(source)
    trials = [t for t in Plan(study, source, "smoke").ready() if t.arm in ("by_full", "by_short")]
    frame = run(study, trials)
    assert frame["spearman"].dropna().to_numpy() == pytest.approx(1)
    space = SPACES["smoke"].architectures
    tied = np.unique([a.edges.count("conv3") for a in space], return_counts=True)[1][-2:]
    assert frame["overlap"].min() >= min(1, tied[-1] / 10)  # the others of the ten are ties
