"""Which data sets of one's own a study's function can reach, and that they are in every key."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Beside, Data, Stage
from harness.plan.plan import Plan
from harness.plan.reached import reached
from harness.study import DataError, catalog


def own(name: str, factor: float = 1.0) -> Data:
    x = np.arange(20.0).reshape(10, 2)
    return Data.of(lambda: (x * factor, np.arange(10) % 2), name=name)


def refused() -> Any:
    raise AssertionError("it was made")


NAMED, TABLE, UNUSED = own("named"), {"a": [own("in_a_table")]}, Data.of(refused, name="unused")


class Holder:
    data = own("of_a_class")

    def __init__(self) -> None:
        self.mine = own("of_an_object")


HOLDER, PARTIAL = Holder(), partial(lambda data: data, data=own("of_a_partial"))


POOL, STAGES = Beside(own("beside"), 8), (Stage(steps=1, data=own("of_a_stage")),)


def helper() -> Any:
    return POOL, STAGES, [TABLE for _ in range(1)]


@cache
def remembered() -> Any:
    return own_of_cache


own_of_cache = own("behind_a_cache")


def trial(t: Any, given: Data = own("by_default")) -> Any:  # noqa: B008
    def inner() -> Any:
        return NAMED

    return inner(), helper(), HOLDER.mine, PARTIAL(), remembered()


def test_what_names_lead_to() -> None:
    assert [*reached(trial)] == [
        "behind_a_cache", "beside", "by_default", "in_a_table", "named", "of_a_class", "of_a_partial",
        "of_a_stage", "of_an_object",
    ]  # fmt: skip
    inside = own("closed_over")
    assert [*reached(lambda t: inside)] == ["closed_over"]
    assert reached(len) == {}


def test_two_of_one_name_are_refused_unless_they_are_the_same() -> None:
    first, other = own("twice"), own("twice", 2.0)
    assert [*reached(lambda t: (first, own("twice"), Data("digits")))] == ["twice"]
    with pytest.raises(DataError, match="two data sets have the name 'twice'; allowed: one each"):
        reached(lambda t: (first, other))


STUDY = '''
"""Mine."""
from functools import partial

import my_data
import numpy as np
from harness import Budget, Data, Metric, Optimizer, Study, Training, Trial
from harness.parts.models import MLP

HERE = Data.of((np.load("here.npy"), np.arange(20) % 2), name="here")
UNUSED = Data.of("hf:no/such", name="unused", target="y")


def trial(t: Trial) -> Training:
    data = {"here": HERE, "beside": my_data.BESIDE}[t["data"]]
    return Training(partial(MLP, (2, 4, 2)), Optimizer("sgd", lr=0.1), data, epochs=1, batch_size=4)


STUDY = Study(
    question="?", trial=trial, arms={"one": {}}, vary={"data": ("here", "beside")},
    metrics={"test_accuracy": Metric("fraction", better="high")},
    budgets={"smoke": Budget(draws=0, seeds=1)},
)
'''
BESIDE = """
import numpy as np
from harness import Data

BESIDE = Data.of(lambda: (np.load("beside.npy"), np.arange(20) % 2), name="beside")
"""


def write(folder: Path, name: str, factor: float) -> None:
    np.save(folder / f"{name}.npy", np.arange(40.0).reshape(20, 2) * factor)


def keys(folder: Path) -> tuple[str, set[str]]:
    source = catalog.find(str(folder / "mine.py"))
    plan = Plan(catalog.load(source), source, "smoke")
    assert [*plan.data] == ["beside", "here"]
    return plan.hash(), {trial.key for trial in plan.ready()}


def test_content_is_in_every_key_wherever_it_is_declared(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(STUDY)
    (tmp_path / "my_data.py").write_text(BESIDE)
    found = []
    for here, beside in ((1, 1), (2, 1), (1, 2), (1, 1)):
        write(tmp_path, "here", here)
        write(tmp_path, "beside", beside)
        found.append(keys(tmp_path))
    assert found[0] == found[3]  # the same numbers are the same data, whenever they were written
    assert len({plan for plan, _ in found}) == 3
    assert len(set.union(*(each for _, each in found))) == 6
