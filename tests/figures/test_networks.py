"""The figures of a space of architectures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness import figures
from harness.nas.space import SPACES
from harness.study import Budget, InvalidStudy, Metric, Study

NAMES = tuple(a.name for a in SPACES["smoke"].architectures[::5])
STUDY = Study(
    name="small",
    question="Which?",
    trial=print,
    arms={"one": {}, "two": {}},
    vary={"architecture": NAMES},
    metrics={
        "accuracy": Metric("fraction", better="high"),
        "params": Metric("trained numbers", log=True),
    },
    budgets={"default": Budget(0, 2)},
)


def frame() -> pd.DataFrame:
    """Accuracies that fall along the names, by the arm that is read; the other's rise."""
    records = [
        {"study": "small", "phase": "confirm", "arm": arm, "architecture": name, "seed": seed,
         "trial": f"{arm}{name}{seed}", "step": 1, "status": "finished", "params": 100 + place,
         "accuracy": 0.9 + (-1) ** (arm == "one") * 0.01 * place + 0.001 * seed}
        for arm in STUDY.arms for place, name in enumerate(NAMES) for seed in range(2)
    ]  # fmt: skip
    return pd.DataFrame(records)[STUDY.columns()]


def test_cells_are_those_of_the_best_and_the_last() -> None:
    drawn = figures.genotypes("best", "The best.", "accuracy", arm="one", count=3).draw(
        STUDY, frame()
    )
    titles = [ax.get_title(loc="left") for ax in drawn.axes]
    accuracies = [100 * (0.9 - 0.01 * place) + 0.05 for place in (0, 1, len(NAMES) - 1)]
    assert titles == [f"{rank} {score:.2f} %"
                      for rank, score in zip(("1.", "2.", "last"), accuracies, strict=True)]  # fmt: skip
    for ax, place in zip(drawn.axes, (0, 1, len(NAMES) - 1), strict=True):
        operations = [e for e in SPACES["smoke"].architectures[::5][place].edges if e != "none"]
        assert len(ax.patches) == len(operations)


def test_every_architecture_is_a_dot_in_the_space() -> None:
    drawn = figures.space("space", "All.", "accuracy", arm="one").draw(STUDY, frame())
    (dots,) = drawn.axes[0].collections
    assert np.sort(dots.get_offsets()[:, 0]).tolist() == [100.0 + n for n in range(len(NAMES))]


def test_they_draw_no_rows_and_say_what_is_wrong() -> None:
    for spec in (figures.genotypes("a", "A.", "accuracy", arm="one"),
                 figures.space("b", "B.", "accuracy", arm="one")):  # fmt: skip
        spec.validate(STUDY)
        assert figures.svg(spec.draw(STUDY, frame().iloc[:0]), spec.name, spec.caption)
        assert figures.svg(spec.draw(STUDY, frame()), spec.name, spec.caption)
    for wrong, said in (
        (figures.genotypes("a", "A.", "params", arm="one"), "ranks 6 cells by 'params'"),
        (
            figures.genotypes("a", "A.", "accuracy", arm="three"),
            "names arm 'three'; allowed: one, two",
        ),
        (figures.space("a", "A.", "accuracy", arm="one", operation="fft"), "operation 'fft'"),
        (figures.space("a", "A.", "accuracy", arm="one", factor="cell"), "factor 'cell'"),
    ):
        with pytest.raises(InvalidStudy, match=said):
            wrong.validate(STUDY)
