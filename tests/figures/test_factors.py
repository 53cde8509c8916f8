"""Figures over factors, layers and trials: positions, labels and edges with known answers."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import figures
from harness.claims import stats
from harness.figures import (
    Figure_,
    across,
    boxes,
    heat,
    layers,
    marginals,
    profile,
    ranks,
    scatter,
    shares,
)
from harness.figures.axes import spread, thin
from harness.figures.trials import Boxes, best, pareto
from harness.study import InvalidStudy, Metric
from tests import deep
from tests.figures.test_figures import texts

pytestmark = pytest.mark.filterwarnings("error")
STUDY = deep.study()
PLAIN = {"norm": False}
FOUR = {"norm": False, "depth": 4}
BOUND = {"4⁻ᴸ": lambda layer, count: 4.0 ** (layer - count + 1)}
SPECS = (
    across("across", "c", "test_accuracy", "depth", where=PLAIN, reference={"chance": 0.1}),
    across("times", "c", "steps_to_90", "depth", panels="norm"),
    across("words", "c", "test_accuracy", "norm", panels="depth"),
    heat("heat", "c", "test_accuracy", "depth", where=PLAIN),
    heat("slow", "c", "steps_to_90", "depth", panels="norm"),
    layers("layers", "c", factor="depth", where=PLAIN, bounds=BOUND),
    layers("late", "c", factor="depth", where=PLAIN, at="end", relative=True),
    boxes("boxes", "c", "test_accuracy", factor="depth", where=PLAIN, top=0.5, mark="tanh"),
    scatter("scatter", "c", "steps_to_90", "test_accuracy", factor="depth", where=PLAIN,
            front=True),
    scatter("rates", "c", "lr", "test_accuracy", where=FOUR, phase="tune"),
    profile("profile", factor="depth", metrics=("steps_to_90",), where=PLAIN),
    ranks("ranks", factor="depth", metrics=("test_accuracy",), where=PLAIN),
)  # fmt: skip


def shown(spec: Figure_, frame: pd.DataFrame | None = None) -> list[str]:
    return texts(figures.svg(spec.draw(STUDY, deep.frame() if frame is None else frame)))


def line(ax: Any, colour: str) -> np.ndarray:
    """The data of the first drawn line of a colour, (points, 2)."""
    return next(one.get_xydata() for one in ax.get_lines() if one.get_color() == colour)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_draws_rows_no_rows_and_rows_without_a_number(spec: Figure_) -> None:
    spec.validate(STUDY)
    frame = deep.frame()
    first = figures.svg(spec.draw(STUDY, frame), spec.name, spec.caption)
    assert first == figures.svg(spec.draw(STUDY, frame.copy()), spec.name, spec.caption)
    assert any("relu" in text for text in texts(first))
    assert len(first) < 60_000
    assert shown(spec, frame.iloc[:0]) == ["no trial of this has run"]
    bare = frame.assign(**dict.fromkeys(STUDY.metrics, math.nan))
    sealed = spec.name in ("boxes", "rates")  # which show test scores of the tune phase
    (said,) = shown(spec, bare.assign(status="failed"))
    assert said == (
        "test accuracy: the test split is sealed in the tune phase"
        if sealed
        else "no trial of this has run"
    )
    spec.draw(STUDY, bare.assign(status="diverged"))
    spec.draw(STUDY, frame[frame["seed"] == 0])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_type_is_legible_and_none_of_it_overlaps(spec: Figure_) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    with figures.style():
        drawn = spec.draw(STUDY, deep.frame())
        canvas = FigureCanvasAgg(drawn)
        canvas.draw()
        left_out = outside(drawn)
        seen = [
            text
            for text in drawn.findobj(Text)
            if text.get_visible() and text.get_text().strip() and text not in left_out
        ]
        # of the words alone: an annotation's own extent has its arrow in it
        boxes_ = [Text.get_window_extent(text, canvas.get_renderer()) for text in seen]
    assert min(text.get_fontsize() for text in seen) >= 6.5
    clashes = [
        (seen[i].get_text(), seen[j].get_text())
        for i in range(len(seen))
        for j in range(i)
        if overlap(boxes_[i], boxes_[j]) > 1.5
    ]
    assert clashes == []


def outside(drawn: Any) -> set[Any]:
    """Tick labels outside an axis' limits, which are made but not drawn."""
    found: set[Any] = set()
    for axis in [axis for ax in drawn.axes for axis in (ax.xaxis, ax.yaxis)]:
        found |= {tick.label1 for tick in axis.get_major_ticks()}
        found -= {tick.label1 for tick in axis._update_ticks()}
    return found


def overlap(a: Any, b: Any) -> float:
    wide = min(a.x1, b.x1) - max(a.x0, b.x0)
    high = min(a.y1, b.y1) - max(a.y0, b.y0)
    return min(wide, high)


def test_across_puts_means_and_intervals_at_the_levels() -> None:
    (ax,) = SPECS[0].draw(STUDY, deep.frame()).axes
    colours = figures.palette(STUDY)
    frame = deep.frame().query("phase == 'confirm' and arm == 'relu' and not norm and step == 100")
    by = frame.groupby("depth")["test_accuracy"]
    data = line(ax, colours["relu"])
    assert data[:, 1] == pytest.approx([by.get_group(d).mean() for d in deep.DEPTHS])
    # depths 1, 4, 16 span more than a factor of eight: powers of ten, each arm a little aside
    assert np.diff(data[:, 0]) == pytest.approx([math.log10(4)] * 2)
    assert list(ax.get_xticks()) == pytest.approx([math.log10(16), math.log10(4), 0.0])
    bars = [c for c in ax.collections if len(c.get_segments()) == 3]
    wanted = [stats.interval_for_display(by.get_group(d).to_numpy())[1:] for d in deep.DEPTHS]
    ends = [[tuple(s[:, 1]) for s in c.get_segments()] for c in bars]
    assert any(np.allclose(one, wanted) for one in ends)


def test_across_keeps_a_linear_axis_where_asked_and_words_evenly_apart() -> None:
    spec = dataclasses.replace(SPECS[0], log_x=False)  # type: ignore[call-arg]
    data = line(spec.draw(STUDY, deep.frame()).axes[0], figures.palette(STUDY)["relu"])
    assert np.diff(data[:, 0]) == pytest.approx([3.0, 12.0])
    words = SPECS[2].draw(STUDY, deep.frame()).axes[0]
    assert [t.get_text() for t in words.get_xticklabels()] == ["yes", "no"]


def test_across_names_its_lines_references_and_edges() -> None:
    drawn = shown(SPECS[0])
    assert {"chance", "relu", "sigmoid", "16"} <= set(drawn)
    assert any("some of its trials diverged" in text for text in drawn)
    assert "never or diverged" in shown(SPECS[1])
    (ax, _) = SPECS[1].draw(STUDY, deep.frame()).axes
    assert line(ax, figures.palette(STUDY)["sigmoid"])[-1, 1] == pytest.approx(ax.get_ylim()[1])


def test_a_step_other_than_the_last_can_be_read() -> None:
    frame = deep.frame()
    early = figures.final(STUDY, frame[frame["arm"] == "relu"], "delta_norm_0", at="start")
    at_zero = figures.final(STUDY, frame[frame["arm"] == "relu"], "delta_norm_0", at=0)
    late = figures.final(STUDY, frame[frame["arm"] == "relu"], "delta_norm_0")
    pd.testing.assert_frame_equal(early.sort_index(), at_zero.sort_index())
    assert (early["value"].to_numpy() != late["value"].to_numpy()).all()


def test_heat_prints_every_cell_its_interval_and_what_has_no_number() -> None:
    drawn = shown(SPECS[3])
    frame = deep.frame().query("phase == 'confirm' and arm == 'relu' and not norm and step == 100")
    for _, group in frame.groupby("depth"):
        centre, low, high = stats.interval_for_display(group["test_accuracy"].to_numpy())
        assert f"{100 * centre:.1f}" in drawn
        sides = {f"±{100 * side:.1f}" for side in (centre - low, high - centre)}
        skewed = f"{100 * low:.1f}–{100 * high:.1f}"
        assert (sides if len(sides) == 1 else {skewed}) <= set(drawn)
    assert {"1 of 6 diverged", "6 of 6 diverged"} <= set(drawn)
    assert {"never", "diverged"} <= set(shown(SPECS[4]))


def test_heat_is_brighter_where_it_is_better() -> None:
    def light(spec: Figure_, row: int) -> float:
        patches = spec.draw(STUDY, deep.frame()).axes[0].patches
        return float(np.dot(patches[row].get_facecolor()[:3], (0.299, 0.587, 0.114)))

    assert light(SPECS[3], 0) > light(SPECS[3], 11)  # 97 % accurate; all diverged
    assert light(SPECS[4], 0) > light(SPECS[4], 1)  # 40 steps; 80 steps


def test_layers_draws_geometric_means_bounds_and_shorter_lines() -> None:
    axes = SPECS[5].draw(STUDY, deep.frame()).axes
    colours = figures.palette(STUDY)
    for ax, depth in zip(axes, deep.DEPTHS, strict=True):
        assert len(line(ax, colours["relu"])) == depth + 1
        bound = line(ax, figures.INK)
        assert bound[:, 1] == pytest.approx([4.0 ** (i - depth) for i in range(depth + 1)])
    frame = deep.frame().query("phase == 'confirm' and arm == 'tanh' and not norm and depth == 4")
    first = frame[frame["step"] == 0]["delta_norm_2"]
    wanted = math.exp(np.log(first).mean())
    assert line(axes[1], colours["tanh"])[2, 1] == pytest.approx(wanted)


def test_layers_can_be_relative_to_the_top_and_says_who_diverged() -> None:
    axes = SPECS[6].draw(STUDY, deep.frame()).axes
    for ax in axes:
        for arm in ("sigmoid", "relu"):
            assert line(ax, figures.palette(STUDY)[arm])[-1, 1] == pytest.approx(1.0)
    assert "6 of 24 diverged" in shown(SPECS[6])


def test_a_vanished_gradient_is_drawn_at_an_edge_named_zero() -> None:
    frame = deep.frame().copy()
    frame.loc[frame["arm"] == "sigmoid", "delta_norm_0"] = 0.0
    assert "0" in shown(layers("f", "c", where=FOUR), frame)
    ax = layers("f", "c", where=FOUR).draw(STUDY, frame).axes[0]
    low = line(ax, figures.palette(STUDY)["sigmoid"])[0, 1]
    assert low == pytest.approx(ax.get_ylim()[0])


def test_boxes_hold_the_best_share_by_validation() -> None:
    spec = boxes("f", "c", "test_accuracy", top=0.3, where=FOUR)
    assert isinstance(spec, Boxes)
    rows = deep.frame().query("phase == 'tune' and depth == 4 and not norm")
    kept = best(STUDY, rows, spec)
    assert kept.groupby("arm").size().to_dict() == dict.fromkeys(deep.ARMS, 3)
    ended = rows[(rows["arm"] == "relu") & (rows["step"] == 100)]
    wanted = ended.nlargest(3, "valid_accuracy")["trial"]
    assert set(kept.loc[kept["arm"] == "relu", "trial"]) == set(wanted)
    assert "best 3 of 10" in shown(spec)


def test_judged_arms_are_told_better_or_worse_as_the_paper_tells_them() -> None:
    spec = boxes("f", "c", "test_accuracy", top=1.0, where=FOUR, mark="relu", judged=("tanh",))
    frame = deep.frame().query("phase == 'tune' and depth == 4 and not norm")
    ended = frame["step"] == 100
    for shift, said in ((0.3, "better"), (-0.3, "worse"), (0.0, None)):
        noise = frame[ended].groupby("arm").cumcount() / 1000  # the same in both arms
        values = 0.5 + noise + np.where(frame.loc[ended, "arm"] == "tanh", shift, 0.0)
        some = frame.assign(status="finished")
        some.loc[ended, "test_accuracy"] = values
        assert {"better", "worse"} & set(shown(spec, some)) == ({said} if said else set())
    assert any("Welch's t, Bonferroni over 1" in text for text in shown(spec))


def test_what_a_search_says_of_each_hyperparameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.figures.searches.RESAMPLES", 4)
    frame = deep.frame().query("phase == 'tune' and depth == 4 and not norm")
    grown = pd.concat(  # ten draws are few: three times as many
        frame.assign(trial=frame["trial"] + str(i), lr=frame["lr"] * (1 + i / 10)) for i in range(3)
    )
    for spec, said in (
        (
            marginals("f", "c", "test_accuracy", arm="relu", where=FOUR),
            "fANOVA, 32 trees, 30 draws",
        ),
        (shares("f", "c", "test_accuracy", arm="relu", where=FOUR), "fANOVA, 32 trees"),
    ):
        spec.validate(STUDY)
        assert any(said in text for text in shown(spec, grown))
        assert "lr" in shown(spec, grown)
        few = frame[frame["arm"] == "relu"].iloc[:4]
        assert any("allowed: at least 8 trials" in text for text in shown(spec, few))
    assert any("PED-ANOVA, best 10%" in text for text in shown(spec, grown))
    for wrong, why in (({"arm": "gelu"}, "names arm 'gelu'"), ({"where": PLAIN}, "cells of depth")):
        with pytest.raises(InvalidStudy, match=why):
            replace(spec, **wrong).validate(STUDY)


def test_the_marked_arm_has_its_median_drawn_across() -> None:
    spec = boxes("f", "c", "test_accuracy", top=0.5, where=FOUR, mark="tanh")
    ax = spec.draw(STUDY, deep.frame()).axes[0]
    rows = deep.frame().query("phase == 'tune' and depth == 4 and not norm")
    kept = best(STUDY, rows, spec)  # type: ignore[arg-type]
    median = kept.loc[kept["arm"] == "tanh", "value"].median()
    across_ = [one for one in ax.get_lines() if list(one.get_ydata()) == [0, 1]]
    assert [one.get_xdata()[0] for one in across_] == pytest.approx([median])
    bold = [t.get_text() for t in ax.get_yticklabels() if t.get_fontweight() == "bold"]
    assert bold == ["tanh"]


def test_scatter_puts_each_trial_at_its_two_values() -> None:
    ax = SPECS[9].draw(STUDY, deep.frame()).axes[0]
    rows = deep.frame().query("phase == 'tune' and depth == 4 and not norm and step == 100")
    rows = rows[rows["arm"] == "relu"]
    data = line(ax, figures.palette(STUDY)["relu"])
    wanted = rows[["lr", "test_accuracy"]].to_numpy()
    assert data[np.argsort(data[:, 0])] == pytest.approx(wanted[np.argsort(wanted[:, 0])])
    assert ax.get_xscale() == "log"


def test_scatter_against_the_time_that_a_trial_took() -> None:
    spec = scatter("time", "c", "seconds", "test_accuracy", where=FOUR, phase="tune")
    frame = deep.frame()
    took = {key: 1.0 + number for number, key in enumerate(frame["trial"].unique())}
    ax = spec.draw(STUDY, frame.assign(seconds=frame["trial"].map(took))).axes[0]
    rows = frame.query(
        "phase == 'tune' and depth == 4 and not norm and step == 100 and arm == 'relu'"
    )
    wanted = np.column_stack([rows["trial"].map(took), rows["test_accuracy"]])
    data = line(ax, figures.palette(STUDY)["relu"])
    assert data[np.argsort(data[:, 0])] == pytest.approx(wanted[np.argsort(wanted[:, 0])])
    assert not spec.draw(STUDY, frame).axes[0].lines  # nobody said how long they took


def test_the_pareto_front_by_hand() -> None:
    points = pd.DataFrame({"x": [1, 2, 2, 3, 4, math.inf], "y": [1, 3, 2, 2, 5, 9]}, dtype=float)
    x, y = pareto(points, "low", "high")
    assert list(zip(x, y, strict=True)) == [(1, 1), (2, 3), (4, 5)]
    x, y = pareto(points, "high", "low")
    assert list(zip(x, y, strict=True)) == [(4, 5), (3, 2), (1, 1)]


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=12))
def test_no_point_beats_one_of_the_front_and_each_other_is_beaten(pairs: Any) -> None:
    points = pd.DataFrame(pairs, columns=["x", "y"], dtype=float)
    front = set(zip(*pareto(points, "low", "low"), strict=True))
    for x, y in pairs:
        beaten = any((a <= x and b <= y) and (a, b) != (x, y) for a, b in pairs)
        assert ((x, y) in front) == (not beaten)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_are_spread_in_order_inside_and_no_farther_than_needed(wanted: Any) -> None:
    gap = 0.07
    array = np.array(wanted)
    placed = spread(array, gap)
    ordered = placed[np.argsort(array, kind="stable")]
    assert (np.diff(ordered) >= gap - 1e-9).all()
    assert ordered[0] >= -1e-9
    assert ordered[-1] <= 1 + 1e-9
    if (np.diff(np.sort(array)) >= gap).all():
        assert placed == pytest.approx(array)


def test_tick_labels_that_do_not_fit_are_left_out_but_not_the_last() -> None:
    ticks, names = [100.0, 200.0, 1000.0, 50_000.0], ["100", "200", "1000", "50 000"]
    kept, labels = thin(ticks, names, 2.0)
    assert labels == ["50 000", "1000"]
    assert kept == [50_000.0, 1000.0]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: across("f", "c", "speed", "depth"), "metric 'speed'"),
        (lambda: across("f", "c", "test_accuracy", "width"), "factor 'width'; allowed: depth, norm"),
        (lambda: across("f", "c", "test_accuracy", "depth", panels="depth"), "'depth' twice"),
        (lambda: across("f", "c", "test_accuracy", "depth", where={"depth": 4}), "'depth' twice"),
        (lambda: across("f", "c", "test_accuracy", "depth", levels=(1, 8)), "level of depth 8"),
        (lambda: across("f", "c", "test_accuracy", "norm", where={"depth": 4}, log_x=True),
         "log_x=True over norm False, True; allowed: positive numbers"),
        (lambda: heat("f", "c", "test_accuracy", "depth", arms=("gelu",)), "arm 'gelu'"),
        (lambda: layers("f", "c", "norm_", where=PLAIN), "metrics norm_0, norm_1, …; allowed"),
        (lambda: layers("f", "c", arms=("tanh",), where={"depth": 5}), "depth in where 5"),
        (lambda: boxes("f", "c", "test_accuracy"), "would mix cells of norm"),
        (lambda: boxes("f", "c", "test_accuracy", where=FOUR, top=0.0), "top=0.0; allowed: over 0"),
        (lambda: boxes("f", "c", "test_accuracy", where=FOUR, mark="gelu"), "mark 'gelu'"),
        (lambda: boxes("f", "c", "test_accuracy", where=FOUR, select="delta_norm_0"),
         "the best by 'delta_norm_0', whose Metric.better is None"),
        (lambda: scatter("f", x="lr", where=FOUR), "metric ''; allowed"),
        (lambda: scatter("f", "c", "width", "test_accuracy", where=FOUR), "x 'width'"),
        (lambda: scatter("f", "c", "lr", "test_accuracy", where=FOUR, front=True),
         "the front over 'lr', which has no better side"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(make: Any, says: str) -> None:
    with pytest.raises(InvalidStudy, match=re.escape(says)):
        make().validate(STUDY)


def test_a_metric_without_a_worse_side_still_draws_what_diverged() -> None:
    one = deep.study(
        select=("delta_norm_0",),
        metrics={**STUDY.metrics, "delta_norm_0": Metric("norm", better="low", log=True),
                 "test_accuracy": Metric("fraction")},
    )  # fmt: skip
    spec = across("f", "c", "test_accuracy", "depth", where=PLAIN)
    assert "diverged" in texts(figures.svg(spec.draw(one, deep.frame())))


SEARCHED = (
    boxes("f", "c", "test_accuracy", where=FOUR),
    scatter("f", "c", "lr", "test_accuracy", where=FOUR, phase="tune"),
    scatter("f", "c", "test_accuracy", "valid_accuracy", where=FOUR, phase="tune"),
    marginals("f", "c", "test_accuracy", arm="relu", where=FOUR),
    figures.sensitivity("f", "c", "test_accuracy", where=FOUR),
)


@pytest.mark.parametrize("spec", SEARCHED, ids=lambda spec: type(spec).__name__)
def test_a_figure_of_sealed_scores_says_what_it_lacks(spec: Figure_) -> None:
    whole = deep.frame()
    sealed = whole.assign(test_accuracy=whole["test_accuracy"].where(whole["phase"] == "confirm"))
    lacks = "test accuracy: the test split is sealed in the tune phase"
    assert shown(spec, sealed) == [lacks]
    assert lacks not in shown(spec, whole)  # rows that were made before
    confirmed = figures.intervals("f", "c", "test_accuracy", where=FOUR)
    assert shown(confirmed, sealed) == shown(confirmed, whole)
