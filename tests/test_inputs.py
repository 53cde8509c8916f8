"""Whatever is put in, a clear error or the right thing comes out: study values, arguments, files.

`pytest --hypothesis-profile=long tests/test_inputs.py` draws a hundred times as many examples.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import Arm, Budget, Claim, Data, Float, Int, Metric, Published, Study, sequences
from harness import data as data_
from harness.claims import above
from harness.data import IMAGES, decompressed, load, parse_idx
from harness.figures import intervals
from harness.run import read_rows
from harness.study import BadInput, By, DataError, InvalidStudy
from tests.conftest import harness
from tests.test_study import make

SLOW = 100 if settings.get_current_profile_name() == "long" else 1


def examples(count: int) -> settings:
    """So many examples; a hundred times as many in the long form."""
    return settings(
        max_examples=count * SLOW, deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


# --- study values --------------------------------------------------------------------------------


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.floats(), st.text(max_size=6), st.binary(max_size=3),
    st.sampled_from([
        "high", "low", "a", "depth", "lr", "valid_loss", "smoke", "[1]", "[2]", " ", "\n", "x\ny",
        "\ud800", "../x", "class", 10**400, np.float64("nan"), np.int64(3), object, print,
        Float(0.1, 1.0), Int(1, 2), Arm(), Metric("u"), Budget(1, 1), By("depth", {1: 2, 4: 3}),
        above("valid_loss", 1.0, arm="a", depth=1), intervals("f", "c", metric="valid_loss"),
        Claim("S.", "[1]", above("valid_loss", 1.0, arm="a", depth=1)),
        Published("1 %", "from memory"), pd.DataFrame({"a": [1]}), np.zeros(2),
    ]),
)  # fmt: skip
VALUE = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "lr", "depth", "smoke", "", "b c", 3, None]), inner, max_size=3)
    ),
    max_leaves=4,
)  # fmt: skip

FIELDS = {
    Metric: ("unit", "better", "worst", "log", "label"),
    Arm: ("settings", "nuisance", "held", "label"),
    Budget: ("draws", "seeds", "most_seeds", "width", "depth"),
    Published: ("words", "trust", "value"),
    Claim: ("statement", "source", "check", "id", "figure", "published"),
    By: ("factor", "values"),
}
SOUND: dict[Any, dict[str, Any]] = {
    Metric: {"unit": "u"},
    Arm: {},
    Budget: {"draws": 1, "seeds": 2},
    Published: {"words": "1 %", "trust": "from memory"},
    Claim: {"statement": "S.", "source": "[1]", "check": above("valid_loss", 1.0, arm="a", depth=1)},
    By: {"factor": "depth", "values": {1: 2, 4: 3}},
}  # fmt: skip


def one_line(error: BadInput) -> None:
    said = str(error)
    assert said
    assert len(said.splitlines()) == 1, said
    assert len(said) < 2000


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
@examples(60)
@given(st.data())
def test_a_part_of_a_study_is_valid_or_says_in_a_line_why_not(kind: type, data: Any) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(FIELDS[kind]), VALUE, max_size=3))
    try:
        made = kind(**SOUND[kind] | changes)
    except InvalidStudy as error:
        one_line(error)
        return
    if kind is Claim:  # and a study takes it, or says why not
        try:
            make(claims=(made,))
        except InvalidStudy as error:
            one_line(error)


@examples(150)
@given(st.data())
def test_a_study_is_valid_or_says_in_a_line_why_not(data: Any) -> None:
    names = sorted(Study.__dataclass_fields__)
    changes = data.draw(st.dictionaries(st.sampled_from(names), VALUE, min_size=1, max_size=3))
    try:
        study = make(**changes)
    except InvalidStudy as error:
        one_line(error)
        return
    for scale in study.budgets:  # what is valid can be asked everything
        for arm, cell in study.cells(scale):
            assert study.draws(scale, arm, cell) + study.budget(scale).seeds > 0
            assert set(cell) <= set(study.settings(scale, arm, cell))
            study.space(arm)
            study.label(arm)
    assert len(set(study.columns())) == len(study.columns())
    for claim in study.claims:
        study.cite(claim.source)


# --- the command line ----------------------------------------------------------------------------

WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from([
        "", " ", "-", "--", "-x", "--json", "..", "../x", "../../etc/passwd", "/etc/passwd", "a/b", "tiny/",
        "./tiny", "x.py", "../x.py", "/dev/null", "~nobody/x.py", "~", "a\0b", "a\0b.py", "\udcff", "\udcff.py",
        "x" * 300, "x" * 5000 + ".py", "tiny\n", "tiny.py", "TINY", "ｔｉｎｙ", "tiny~1", "tiny@smoke", "tiny@x",
        "tiny~99999999999999999999", "tiny~-1", "tiny@smoke~²", "'; DROP TABLE runs; --", "<script>",
        "[bold]x[/]", "[/]", "%s", "{0}", "$HOME", "$(touch hacked)", "nan", "1e999",
    ]),
)  # fmt: skip
COMMANDS = (
    ("list",), ("show",), ("plan",), ("run",), ("run", "--inline"), ("report",), ("compare", "tiny"),
    ("replay",), ("import",), ("ui", "--port"), ("run", "tiny", "--scale"), ("report", "tiny", "--scale"),
    ("plan", "tiny", "--scale"), ("run", "tiny", "--inline", "--pack-size"), ("doctor",),
    ("run", "tiny", "--rows"), ("run", "nothing", "--inline", "--rows"),
)  # fmt: skip


@examples(60)
@given(st.sampled_from(COMMANDS), WORDS)
def test_arguments_never_lead_to_a_traceback_or_out_of_the_project(
    project: Path, command: tuple[str, ...], word: str
) -> None:
    outside = sorted(project.parent.iterdir())
    if command == ("ui", "--port") and word.strip().isdecimal():
        return  # would serve
    done = harness(*command, word)
    said = done.stderr
    assert done.returncode == 2 or word in ("--help", "--json", "tiny", "tiny.py"), (said, done.stdout)
    assert "Traceback" not in said + done.stdout
    if done.returncode == 2:
        assert len(said.strip().splitlines()) == 1, said
    assert sorted(project.parent.iterdir()) == outside
    inside = {path.name for path in project.iterdir()}
    assert inside <= {"studies", "reports", "mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "mlruns"}
    assert {path.name for path in (project / "reports").rglob("*")} <= {"tiny", "smoke", "default"}
