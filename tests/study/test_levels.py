"""Levels and choices with None, or of several types: the same in runs, reports, files and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import figures
from harness.claims import judge
from harness.claims.importance import fanova
from harness.execution import recall
from harness.ledger import Ledger, rows
from harness.study import Choice, InvalidStudy, catalog, held_as, is_level
from tests.conftest import TINY, harness

CHANGES = {
    "import Arm, Budget, Claim, Float,": "import Arm, Budget, Choice, Claim, Float,",
    "    nuisance={": '    vary={"size": (None, "auto", 3), "flag": (True, False)},\n    nuisance={"kind": Choice((None, "a", 2)), ',
    'steps=t["steps"],': 'steps=t["steps"] + {None: 0, "auto": 1, 3: 2}[t["size"]] + {None: 0, "a": 1, 2: 2}[t["kind"]],',
    'ratio_below("steps_to_target", 1.0, arm="momentum", than="gd")': 'ratio_below("steps_to_target", 1.0, arm="momentum", than="gd", size=None, flag=True)',
    "    figures=(intervals(": '''    figures=(
        across("by-size", "c", "steps_to_target", "size", where={"flag": True}),
        heat("map", "c", "loss", "size", where={"flag": True}),
        curves("curves", "c", "loss", where={"flag": False}),
        intervals("of-none", "c", metric="loss", where={"size": None, "flag": True}),
        intervals(''',
    'metric="steps_to_target"),)': 'metric="steps_to_target", factor="size", where={"flag": True}),)',
    "from harness.figures import intervals": "from harness.figures import across, curves, heat, intervals",
}  # fmt: skip


@pytest.fixture
def mixed(project: Path) -> Path:
    text = TINY
    for old, new in CHANGES.items():
        assert old in text, old
        text = text.replace(old, new)
    (project / "studies" / "tiny.py").write_text(text)
    return project


def run(*words: str) -> None:
    done = harness(*words)
    assert done.returncode == 0, done.stdout + done.stderr


def outcome(project: Path) -> dict[str, Any]:
    return dict(json.loads((project / "reports/tiny/smoke/verdicts.json").read_text())["claims"][0])


def test_a_run_and_its_report_agree_and_every_trial_can_be_replayed(mixed: Path) -> None:
    run("run", "tiny", "--scale", "smoke", "--inline")
    first, table = outcome(mixed), pd.read_csv(mixed / "reports/tiny/smoke/trials.csv")
    assert first["n"] == 6
    frame = pd.read_parquet(mixed / "reports/tiny/smoke/rows.parquet")
    assert set(frame["size"]) == {"None", "auto", "3"}
    assert set(frame["kind"]) <= {"None", "a", "2"}
    assert frame["flag"].dtype == bool
    run("report", "tiny", "--scale", "smoke")
    assert outcome(mixed) == first
    study = catalog.load(catalog.find("tiny"))
    results = recall(study, catalog.find("tiny"), "smoke", mixed)
    assert len(results.winners()) == 12
    assert [v.n for v in judge(study, results.timed)] == [6]
    blank = figures.svg(figures.intervals("x", "c", "loss", factor="size", where={"flag": True})
                        .draw(study, results.timed.iloc[:0]), "x", "c")  # fmt: skip
    for figure in study.figures:
        drawn = figures.svg(figure.draw(study, results.timed), figure.name, figure.caption)
        assert drawn.lstrip().startswith("<svg")
        assert len(drawn) > len(blank) + 1000, figure.name  # something is in it
    for size in ("None", "auto", "3"):
        some = table[(table["size"].fillna("None") == size) & (table["phase"] == "tune")]
        replayed = harness("replay", some["trial"].iloc[0])
        assert "bitwise the same" in replayed.stdout, replayed.stdout + replayed.stderr
    run("run", "tiny", "--scale", "smoke", "--inline")
    assert outcome(mixed) == first
    ledger = Ledger(mixed)
    (parent,) = ledger.parents("tiny", "smoke")
    children = ledger._search([parent.info.experiment_id], "params.size = 'None'")
    assert len(list(children)) == len(table) // 3


def test_rows_files_hold_them_too(mixed: Path) -> None:
    for _ in range(2):  # the second goes on with the first
        run("run", "tiny", "--scale", "smoke", "--inline", "--rows", "r.parquet")
    run("import", "r.parquet")
    assert outcome(mixed)["n"] == 6


def test_every_trial_comes_back_from_its_rows(mixed: Path) -> None:
    source = catalog.find("tiny")
    study = catalog.load(source)
    from harness.engine.outcome import Outcome
    from harness.plan.plan import Plan

    trials = Plan(study, source, "smoke").ready()
    frame = rows.frame_of(
        study, "p", trials, [Outcome("finished", [1], {"loss": [1.0]})] * len(trials)
    )
    rows.save(frame, mixed / "x.parquet")
    back = rows.typed(study, rows.load(mixed / "x.parquet"))
    for trial in trials:
        again = rows.trial_of(study, "smoke", back[back["trial"] == trial.key])
        assert (again.cell, again.nuisance) == (trial.cell, trial.nuisance)
        assert [type(v) for v in again.settings.values()] == [
            type(v) for v in trial.settings.values()
        ]
    tried = back.drop_duplicates("trial")
    assert {is_level(v, None) for v in tried["kind"]} == {True, False}
    objective = tried["kind"].map({"None": 0.0, "a": 1.0, "2": 2.0}).to_numpy()
    import numpy as np

    shares = fanova(tried, objective, study.space("gd"), np.random.default_rng(0), resamples=9)
    assert shares.of("kind").effect > 0.8


@pytest.mark.parametrize(("levels", "held"), [
    ((1, 2), [1, 2]), ((1, 2.5), [1, 2.5]), (("a", "b"), ["a", "b"]), ((True, False), [True, False]),
    ((None, 1), ["None", "1"]), (("a", 1.5), ["a", "1.5"]), ((True, "x"), ["True", "x"]),
    ((None,), ["None"]),
])  # fmt: skip
def test_how_levels_are_held(levels: tuple[Any, ...], held: list[Any]) -> None:
    found = [held_as(level, levels) for level in levels]
    assert found == held
    for i, value in enumerate(found):
        assert [is_level(value, level) for level in levels] == [i == j for j in range(len(levels))]


@pytest.mark.parametrize("levels", ['(None, "None")', '(3, "3")'])
def test_levels_that_read_alike_are_refused(mixed: Path, levels: str) -> None:
    path = mixed / "studies" / "tiny.py"
    path.write_text(path.read_text().replace('(None, "auto", 3)', levels))
    with pytest.raises(Exception, match="levels that differ as text"):
        catalog.load(catalog.find("tiny"))


def test_what_is_no_number_is_not_correlated(mixed: Path) -> None:
    from harness.claims import rank_correlation_above

    study = catalog.load(catalog.find("tiny"))
    claim = rank_correlation_above("loss", 0.1, column="kind", arm="gd", size=None, flag=True)
    with pytest.raises(InvalidStudy, match="allowed: numbers"):
        claim.validate(study)
    assert Choice((None, "a"))
