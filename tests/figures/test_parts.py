"""The part of a figure on a claim's card: the right panel, at a size that can be read."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import figures
from harness.figures import parts, searches
from harness.figures.parts import Part, drawn, part
from harness.figures.theme import CARD, WIDTH
from harness.study import Arm, Budget, Float, Metric, Study
from tests import synthetic
from tests.figures.test_figures import texts
from tests.synthetic import TUNED

pytestmark = pytest.mark.filterwarnings("error")
STUDY = synthetic.study()
BY = {figure.name: figure for figure in STUDY.figures}
NARROWEST = 327  # px that a card has on a phone 360 px wide
TWO = ("gd", "momentum")


def at(**where: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(arm, where) for arm in TWO]


def test_the_panel_is_that_of_the_place_which_a_claim_reads() -> None:
    assert part(BY["steps"], STUDY, at(task="valley")).levels == (("task", "valley"),)
    two = [("gd", {"task": "saddle"}), ("gd", {"task": "beale"})]
    assert part(BY["steps"], STUDY, two).levels == (("task", "beale"), ("task", "saddle"))
    many = [("gd", {"task": task}) for task in synthetic.TASKS[:5]]
    assert part(BY["steps"], STUDY, many).levels == ()  # the whole figure
    assert part(BY["steps"], STUDY, at()).levels == ()  # which cannot be told
    assert part(BY["steps"], STUDY, at(task="digits")).levels == ()  # which it does not draw
    assert part(BY["accuracy"], STUDY, at(task="digits")).levels == ()  # its only panel
    other = replace(BY["rates"], name="other", where={"task": "valley"})
    assert part(other, STUDY, at(task="digits")) == Part("other", bold=TWO)


def test_crowded_lines_are_those_of_the_claim_and_rows_are_all_kept() -> None:
    for name, only in (("descent", TWO), ("trajectories", TWO), ("rates", TWO), ("steps", ())):
        where = {"task": "digits" if name == "rates" else "valley"}
        assert part(BY[name], STUDY, at(**where)).only == only, name
    every = [(arm, {"task": "valley"}) for arm in STUDY.arms]
    assert part(BY["descent"], STUDY, every) == Part("descent", (("task", "valley"),))
    wanted = part(BY["descent"], STUDY, at(task="valley"))
    assert wanted.told(STUDY) == "valley: gradient descent and momentum"


def size_of_type(svg: str) -> float:
    """The smallest type of a drawing, in px on the narrowest card."""
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])  # type: ignore[index]
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px", svg)]
    return min(sizes) * NARROWEST / width


@pytest.mark.parametrize("name", BY)
def test_what_is_on_a_card_can_be_read_and_is_the_same_each_time(name: str) -> None:
    frame = synthetic.small()[0].frame
    where = {"task": "digits" if name in ("learning", "rates", "accuracy") else "valley"}
    wanted = part(BY[name], STUDY, at(**where))
    became, drawing = drawn(BY[name], STUDY, frame, wanted)
    assert became == wanted and drawing is not None
    assert drawing.get_figwidth() == CARD
    svg = figures.svg(drawing, "p", "c")
    assert size_of_type(svg) >= 9
    shown = texts(svg)
    other = {task for task in synthetic.TASKS if task != where["task"]}
    assert not other & {*shown}
    if name in ("steps", "descent", "trajectories"):
        assert "valley" in shown
    assert svg == figures.svg(drawn(BY[name], STUDY, frame.copy(), wanted)[1], "p", "c")  # type: ignore[arg-type]
    whole = BY[name].draw(STUDY, frame)  # what is drawn after is as wide as ever
    assert whole.get_figwidth() == WIDTH


def test_a_figure_that_would_be_too_tall_is_left_to_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "TALL", 2.0)
    frame = synthetic.small()[0].frame
    assert drawn(BY["steps"], STUDY, frame, Part("steps"))[1] is None


def factorial() -> tuple[Study, pd.DataFrame]:
    """Two factors, one of numbers, and a family of metrics a layer, with pictures."""
    metrics = {"m": Metric("nats", better="low"), "params": Metric("count")}
    metrics |= {f"layer_{i}": Metric("norm", log=True) for i in range(3)}
    metrics |= {f"map_{i}": Metric("packed") for i in range(4)}
    study = Study(
        question="?",
        trial=print,
        arms={"a": Arm(label="first"), "b": Arm(label="second"), "c": Arm(label="third")},
        vary={"task": ("easy", "hard"), "depth": (2, 8, 32)},
        nuisance={"lr": Float(1e-4, 1.0, log=True), "mom": Float(0.5, 0.99)},
        metrics=metrics,
        select=("m",),
        budgets={"smoke": Budget(30, 6)},
    )
    rng = np.random.default_rng(0)
    records = [
        {
            "study": "", "phase": phase, "arm": arm, "task": task, "depth": depth, "seed": seed,
            "lr": 10 ** rng.uniform(-4, 0), "mom": rng.uniform(0.5, 0.99), "step": step,
            "status": "finished", "trial": f"{phase}{arm}{task}{depth}{seed}", "seconds": 1.0,
            "m": depth + rng.uniform(), "params": depth * 10.0 + seed,
            **{f"layer_{i}": 10.0**-i * rng.uniform(1, 2) for i in range(3)},
            **{f"map_{i}": float(rng.integers(0, 2**20)) for i in range(4)},
        }
        for phase in ("tune", "confirm")
        for arm in study.arms for task in study.vary["task"] for depth in study.vary["depth"]
        for seed in range(30 if phase == "tune" else 6) for step in (0, 10)
    ]  # fmt: skip
    return study, pd.DataFrame(records).reindex(columns=[*study.columns(), "seconds"])


def own(study: Study, frame: pd.DataFrame, palette: dict[str, str]) -> Any:
    figure, axes = figures.panels(2, columns=2, height=2.0)
    for ax, depth in zip(axes, (2, 32), strict=True):
        for arm in study.arms:
            ax.plot([0, 1], [depth, depth + 1], color=palette[arm], label=study.label(arm))
        ax.set(title=f"{depth} layers", xlabel="x")
    axes[0].set_ylabel("height of it")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


HELD = {"task": "easy"}
KINDS: dict[str, figures.Figure_] = {
    "curves": figures.curves("f", "", "m", factor="depth", where=HELD),
    "intervals": figures.intervals("f", "", "m", factor="depth", where=HELD),
    "across": figures.across("f", "", "m", "depth"),
    "heat": figures.heat("f", "", "m", "depth"),
    "layers": figures.layers("f", "", "layer_", factor="depth", where=HELD),
    "boxes": figures.boxes("f", "", "m", factor="depth", where=HELD),
    "scatter": figures.scatter("f", "", "params", "m", factor="depth", where=HELD),
    "sensitivity": figures.sensitivity("f", "", "m", where={**HELD, "depth": 8}),
    "marginals": figures.marginals("f", "", "m", arm="a", where={**HELD, "depth": 8}),
    "shares": figures.shares("f", "", "m", arm="a", where={**HELD, "depth": 8}),
    "profile": figures.profile("f", "", factor="depth", metrics=("m",), where=HELD),
    "ranks": figures.ranks("f", "", factor="depth", metrics=("m",), where=HELD),
    "pictures": figures.pictures(
        "f", "", "map", factor="depth", where=HELD, shape=(4, 8), colours=False
    ),
    "custom": figures.custom("f", "", own),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_part_for_a_card(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "RESAMPLES", 4)
    study, frame = factorial()
    KINDS[kind].validate(study)
    depth = KINDS[kind].where.get("depth", 32) if kind != "custom" else 32  # type: ignore[attr-defined]
    places = [(arm, {"task": "easy", "depth": depth}) for arm in ("a", "b")]
    wanted = part(KINDS[kind], study, places)
    became, drawing = drawn(KINDS[kind], study, frame, wanted)
    assert drawing is not None
    svg = figures.svg(drawing, "p", "c")
    assert size_of_type(svg) >= 9
    shown = texts(svg)
    assert "no trial of this has run" not in shown
    panel = {"across": ("task", "easy"), "heat": ("task", "easy")}.get(kind, ("depth", 32))
    apart = kind not in ("sensitivity", "marginals", "shares", "profile", "ranks")
    assert became.levels == ((panel,) if apart else ())
    if kind == "custom":
        assert "32 layers" in shown and "2 layers" not in shown
        assert "height of it" in shown and "first" in shown  # said once, for both
    if kind in ("sensitivity", "pictures"):
        assert "third" not in " ".join(shown)


def test_panels_that_cannot_be_told_apart_are_all_kept() -> None:
    study, frame = factorial()
    places = [("a", {"task": "easy", "depth": 8})]  # of which no panel is
    wanted = part(KINDS["custom"], study, places)
    became, drawing = drawn(KINDS["custom"], study, frame, wanted)
    assert drawing is not None and became.levels == ()
    assert {"2 layers", "32 layers"} <= {*texts(figures.svg(drawing))}


def test_a_drawing_says_what_it_shows() -> None:
    label = figures.svg(BY["steps"].draw(STUDY, synthetic.small()[0].frame), "p", "Steps.")
    said = re.search(r'aria-label="([^"]*)"', label)[1]  # type: ignore[index]
    assert said.startswith("Steps. 6 panels: beale, rosenbrock, valley")
    assert "steps to target" in said and "gradient descent" in said
    assert len(TUNED) > 9
