"""Pages to start from: each runs as it is; and what `harness test` says of a study that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.app import starting
from tests.conftest import harness

KINDS = starting.kinds()


def test_there_is_a_page_for_each_kind() -> None:
    assert set(KINDS) >= {"optimizer", "model", "search", "anything"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_runs_at_once(kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = harness("new", "my_study.py", "--kind", kind)
    assert done.returncode == 0, done.stderr
    done = harness("test", "my_study.py")
    assert done.returncode == 0, done.stdout
    assert "✕" not in done.stdout and done.stdout.count("✓") == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("my_study.py", "--kind", "poem"), "--kind is 'poem'; allowed: anything, "),
        (("my-study.py",), "'my-study.py' is no study's file; allowed: a name like my_study.py"),
        (("none/my_study.py",), "cannot be written (No such file or directory); allowed"),
        (("there.py",), "'there.py' is there already; allowed: a new file"),
    ],
)
def test_a_page_that_cannot_be_written(tmp_path: Path, monkeypatch, words, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.py").touch()
    done = harness("new", *words)
    assert done.returncode == 2 and said in done.stderr


WRONG = '''
"""A study with a fault."""
import itertools
from harness import Budget, Claim, Metric, Study
from harness.claims import higher
from harness.figures import custom, intervals

COUNT = itertools.count()


def trial(t):
    yield {row}


def draw(study, frame, palette):
    raise RuntimeError("no such column")


STUDY = Study(
    question="Is b better?", trial=trial, arms={{"a": {{}}, "b": {{}}}},
    metrics={{"score": Metric("points", better="high"), "other": Metric("points")}},
    budgets={{"smoke": Budget(draws=0, seeds=5), "default": Budget(draws=0, seeds={seeds})}},
    claims={{"b": Claim("b is better.", "notes", higher("score", arm="b", than="a"))}},
    figures=({figure},),
)
'''
FINE = {
    "row": '{"score": t.seed, "other": 1}',
    "seeds": 5,
    "figure": 'intervals("s", metric="score")',
}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            {"row": '{"score": 1 / 0}'},
            "10 of 10 trials failed: ZeroDivisionError: division by zero",
        ),
        ({"row": '{"score": t.seed}'}, "no trial reports other, which Study.metrics declares"),
        (
            {"row": '{"score": next(COUNT), "other": 1}'},
            "arm 'a', seed 0: other rows the second time",
        ),
        ({"seeds": 3}, "the default scale has 3 seeds; fewer than 5 decide nothing"),
        ({"figure": 'custom("f", fn=draw)'}, "RuntimeError: no such column"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, monkeypatch, fault, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.py").write_text(WRONG.format(**{**FINE, **fault}).lstrip())
    done = harness("test", "wrong.py")
    assert done.returncode == 1
    assert said in done.stdout, done.stdout
