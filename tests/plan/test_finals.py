"""Further seeds of the best draws are draws of no reader: figures, claims, tables, shares."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import figures
from harness.claims import draws, judge
from harness.claims.checks import Check
from harness.figures import searches
from harness.study import Study, catalog
from tests import synthetic
from tests.conftest import harness


def with_finals(study: Study, frame: pd.DataFrame, phase: str = "final") -> pd.DataFrame:
    """The frame with its tune trials once more: on other seeds, with other values."""
    again = frame[frame["phase"] == "tune"].copy()
    again["phase"] = phase
    again["seed"] += 2_000_000
    again["trial"] = "again-" + again["trial"]
    metrics = [m for m in study.metrics if again[m].notna().any()]
    again[metrics] = 0.25 * again[metrics].to_numpy()[::-1]
    return pd.concat([frame, again], ignore_index=True)


def told(verdicts: list[Any]) -> list[Any]:
    return [
        (v.id, v.verdict, v.n, *np.nan_to_num([v.effect, v.low, v.high, v.p]), v.reason)
        for v in verdicts
    ]


def test_no_verdict_and_no_figure_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "RESAMPLES", 4)
    results, verdicts = synthetic.small()
    study = results.study
    assert told(judge(study, with_finals(study, results.timed))) == told(verdicts)
    frame = synthetic.thin(results.timed)
    more = with_finals(study, frame)
    for figure in study.figures:
        drawn = [
            figures.svg(figure.draw(study, part), figure.name, figure.caption)
            for part in (frame, more)
        ]
        assert drawn[0] == drawn[1], figure.name


def of_the_search() -> list[tuple[str, Check]]:
    """One check of each kind that reads draws, of any study."""
    found: dict[type, tuple[str, Check]] = {}
    for name in catalog.names():
        for claim in catalog.load(catalog.find(name)).claims:
            check = getattr(claim.check, "checks", (claim.check,))[0]
            if check.phase == "tune":
                found.setdefault(type(check), (name, check))
    return list(found.values())


@pytest.mark.parametrize(("name", "check"), of_the_search(), ids=lambda one: str(one)[:12])
def test_no_check_of_the_search_counts_them(
    name: str, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draws, "RESAMPLES", 9)  # which decide no more than an interval's width
    study = catalog.load(catalog.find(name))
    frame = check.planted(study, 6, True).reset_index(drop=True)
    if "seconds" not in frame:
        frame["seconds"] = 1.0
    one, other, counted = (
        check.evidence(part, study)
        for part in (frame, with_finals(study, frame), with_finals(study, frame, "tune"))
    )
    assert one.estimate is not None and other.estimate is not None
    assert other.estimate.n == one.estimate.n
    assert other.estimate.effect == one.estimate.effect
    if check.metric != "seconds":  # as draws they would be counted
        assert counted.estimate is None or counted.estimate.n != one.estimate.n


def test_the_searches_figures_read_draws_alone() -> None:
    results, _ = synthetic.small()
    study = results.study
    frame = results.timed
    arm = next(a for a in study.arms if study.space(a))
    figure = figures.marginals("m", "c", study.select[0], arm=arm)
    rows = frame[frame["arm"] == arm]
    values, objective = figure._trials(study, with_finals(study, rows))
    assert set(values["trial"]) <= set(frame.loc[frame["phase"] == "tune", "trial"])
    assert len(objective) == len(values)


def test_a_run_marks_them_everywhere(project: Path) -> None:
    path = project / "studies" / "tiny.py"
    text = path.read_text().replace(
        "Budget(draws=4, seeds=6)", "Budget(4, 6, finalists=2, final_seeds=5)"
    )
    path.write_text(text)
    done = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_parquet(project / "reports" / "tiny" / "smoke" / "rows.parquet")
    counts = rows.groupby("phase")["trial"].nunique().to_dict()
    assert counts == {"tune": 8, "final": 20, "confirm": 12}
    trials = pd.read_csv(project / "reports" / "tiny" / "smoke" / "trials.csv")
    assert trials["phase"].value_counts().to_dict() == counts
    key = trials.loc[trials["phase"] == "final", "trial"].iloc[0]
    assert "bitwise the same" in harness("replay", key).stdout
    again = harness("run", "tiny", "--scale", "smoke", "--inline")
    assert "40 from the ledger" in again.stdout
    assert (
        harness("run", "tiny", "--scale", "smoke", "--inline", "--rows", "f.parquet").returncode
        == 0
    )
    assert harness("import", "f.parquet").returncode == 0
    study = catalog.load(catalog.find("tiny"))
    assert dataclasses.replace(study).finalists("smoke", "gd", {}) == 2
