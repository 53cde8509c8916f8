"""Conformance: what every study in studies/ must do. A new study is picked up by itself.

A study is trained at the smoke scale once in a run of the tests, whatever the number of their
processes: its rows lie in the folder that these share. Tests of one study follow each other.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
import torch
from filelock import FileLock

from harness import figures
from harness.claims import LEVEL, compound, draws, judge
from harness.engine.attempt import run_pack
from harness.ledger import rows
from harness.parts import data
from harness.plan.declared import Declarations
from harness.plan.packing import Packer
from harness.plan.plan import Plan
from harness.study import FINAL_SEEDS, Source, Study, catalog

matplotlib.use("Agg")

FOLDER = Path(__file__).parent.parent / "studies"
STUDIES = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))
COUNT = 6  # studies in the project; a discovery that misses one must not stay green


def source(name: str) -> Source:
    return catalog.find(str(FOLDER / f"{name}.py"))


@cache
def loaded(name: str) -> Study:
    return catalog.load(source(name))


@pytest.fixture(scope="module", params=STUDIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same in every process of pytest-xdist."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def frame(name: str, shared: Path) -> pd.DataFrame:
    return smoke(name, shared)


@cache
def smoke(name: str, shared: Path) -> pd.DataFrame:
    """All rows of a smoke run, after those of the studies that it reads; trained by the first that
    asks."""
    torch.set_num_threads(1)
    for other in loaded(name).reads:
        read = smoke(other, shared)
        data.hold(other, {column: read[column].to_numpy() for column in read})
    path = shared / f"smoke-{name}.pickle"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            trained(name).to_pickle(path)
    return pd.read_pickle(path)


def trained(name: str) -> pd.DataFrame:
    study = loaded(name)
    plan, packer, frames = Plan(study, source(name), "smoke"), Packer(Declarations(study)), []
    while trials := plan.ready():
        for pack in packer.pack(trials):
            outcomes = run_pack(study, pack.trials)
            frames.append(rows.frame_of(study, pack.name, pack.trials, outcomes))
            for trial, outcome in zip(pack.trials, outcomes, strict=True):
                plan.tell(trial.key, outcome)
    assert plan.done
    return pd.concat(frames, ignore_index=True)


def test_the_count_of_studies() -> None:
    assert len(STUDIES) == COUNT
    assert sorted(catalog.names()) == STUDIES


def test_three_scales_and_a_page(name: str) -> None:
    study = loaded(name)
    assert set(study.budgets) == {"smoke", "default", "paper"}
    assert len(study.claims) >= 8
    assert study.figures
    assert study.title


def test_a_smoke_run_reports_exactly_the_declared_metrics(name: str, frame: pd.DataFrame) -> None:
    study = loaded(name)
    assert list(frame.columns) == [*study.columns(), *rows.PER_TRIAL]
    assert set(frame["status"]) <= {"finished", "diverged"}, frame["error"].unique()
    silent = [metric for metric in study.metrics if frame[metric].isna().all()]
    arms, run = zip(*Plan(study, source(name), "smoke").cells(), strict=True)
    # an arm whose data are not at hand is left out, and may be alone in what it reports
    whole = set(arms) == set(study.arms)
    whole &= all({c[f] for c in run} == set(levels) for f, levels in study.vary.items())
    assert silent == [] or not whole


def test_every_arm_and_cell_runs_in_both_phases(name: str, frame: pd.DataFrame) -> None:
    study = loaded(name)
    budget = study.budget("smoke")
    for arm, cell in Plan(study, source(name), "smoke").cells():
        mine = frame[frame["arm"] == arm]
        for factor, level in cell.items():
            mine = mine[mine[factor] == level]
        assert mine[mine["phase"] == "confirm"]["trial"].nunique() == budget.seeds
        tune = mine[mine["phase"] == "tune"]
        assert tune["trial"].nunique() == study.draws("smoke", arm, cell)
        again = mine[mine["phase"] == "final"]["trial"].nunique()
        assert again == FINAL_SEEDS * study.finalists("smoke", arm, cell)
        assert mine["trial"].nunique() == study.trials("smoke", arm, cell)


def test_the_same_seed_gives_identical_rows(name: str, frame: pd.DataFrame) -> None:
    study = loaded(name)
    confirm = frame[frame["phase"] == "confirm"]
    first = confirm.drop_duplicates(["arm", *study.vary])["trial"]
    for key in first:
        recorded = frame[frame["trial"] == key]
        trial = rows.trial_of(study, "smoke", recorded)
        again = rows.frame_of(study, "again", [trial], run_pack(study, [trial]))
        pd.testing.assert_frame_equal(
            again[study.columns()],
            recorded[study.columns()].reset_index(drop=True),
            check_exact=True,
        )


def test_every_figure_draws_rows_and_no_rows(name: str, frame: pd.DataFrame) -> None:
    study = loaded(name)
    for figure in study.figures:
        for part in (frame, frame.iloc[:0]):
            drawn = figures.svg(figure.draw(study, part), figure.name, figure.caption)
            assert drawn.lstrip().startswith("<svg")


def test_every_claim_can_be_supported_refuted_and_left_open(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "RESAMPLES", 19)  # of plain frames: more say nothing more
    monkeypatch.setattr(compound, "RESAMPLES", 199)
    study = loaded(name)
    empty = pd.DataFrame(columns=study.columns())
    assert {v.verdict for v in judge(study, empty)} == {"inconclusive"}
    for claim in study.claims:
        for hold, expected in ((True, "supported"), (False, "refuted")):
            frame = claim.check.planted(study, 16, hold)
            (verdict,) = judge(replace(study, claims=(claim,)), frame, LEVEL / len(study.claims))
            assert verdict.verdict == expected, (claim.id, hold, verdict)


def test_every_claim_cites_a_deck_or_a_paper(name: str) -> None:
    study = loaded(name)
    for claim in study.claims:
        assert study.cite(claim.source) != claim.source, claim.id
