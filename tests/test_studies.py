"""Conformance: what every study in studies/ must do. A new study is picked up by itself.

A study is trained at the smoke scale once in a run of the tests, whatever the number of their
processes: its rows lie in the folder that these share. Tests of one study follow each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import matplotlib
import pandas as pd
import pytest
import torch
from filelock import FileLock

from harness.app import conformance
from harness.claims import compound, draws
from harness.engine import batches
from harness.ledger import rows
from harness.parts import data
from harness.parts.data import SealedSplits, Splits
from harness.study import SCALES, DataError, Source, Study, catalog

matplotlib.use("Agg")

FOLDER = Path(__file__).parent.parent / "studies"
STUDIES = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))
COUNT = 27  # studies in the project; a discovery that misses one must not stay green
FEW = 200  # examples of a split that are scored here: more than `EVAL_ROWS`, so in two batches


def source(name: str) -> Source:
    return catalog.find(str(FOLDER / f"{name}.py"))


@cache
def loaded(name: str) -> Study:
    return catalog.load(source(name))


@pytest.fixture(scope="module", params=STUDIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def few() -> Iterator[None]:
    """Trials are scored on the first `FEW` examples of a split: more of them say nothing more here."""

    def load(*given: Any, **more: Any) -> Splits:
        found = data.load(*given, **more)
        valid = tuple(part[:FEW] for part in found.valid)
        if isinstance(found, SealedSplits):
            return SealedSplits(found.train, valid)
        return Splits(found.train, valid, tuple(part[:FEW] for part in found.test))

    with mock.patch.object(batches, "data_", SimpleNamespace(**{**vars(data), "load": load})):
        yield


@contextlib.contextmanager
def at_hand() -> Iterator[None]:
    """Skips what needs data that are neither here nor to be had."""
    try:
        yield
    except DataError as error:
        pytest.skip(str(error))


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
            with few(), at_hand():
                conformance.trained(loaded(name), source(name)).to_pickle(path)
    return pd.read_pickle(path)


def test_the_count_of_studies() -> None:
    assert len(STUDIES) == COUNT
    assert sorted(catalog.names()) == STUDIES


def test_three_scales_and_a_page(name: str) -> None:
    study = loaded(name)
    assert {"smoke", "default", "paper"} <= set(study.budgets) <= set(SCALES)
    assert len(study.claims) >= 8
    assert conformance.declared(study) == ""
    assert study.title


def test_a_smoke_run_has_the_declared_columns(name: str, frame: pd.DataFrame) -> None:
    assert list(frame.columns) == [*loaded(name).columns(), *rows.PER_TRIAL]
    assert set(frame["status"]) <= {"finished", "diverged"}


@pytest.mark.parametrize("check", conformance.CHECKS)
def test_conforms(
    name: str, frame: pd.DataFrame, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "AGAIN", 4)  # packs of every kind are trained twice elsewhere
    monkeypatch.setattr(draws, "RESAMPLES", 19)  # of plain frames: more say nothing more
    monkeypatch.setattr(compound, "RESAMPLES", 199)
    with few():
        assert conformance.CHECKS[check](loaded(name), source(name), frame) == ""


def test_every_claim_cites_a_deck_or_a_paper(name: str) -> None:
    study = loaded(name)
    for claim in study.claims:
        assert study.cite(claim.source) != claim.source, claim.id
