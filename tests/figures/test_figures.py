"""Figures: drawn from any frame, the same bytes each time, readable on light and dark pages."""

from __future__ import annotations

import base64
import io
import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness import figures
from harness.claims import stats
from harness.figures import searches
from harness.figures.values import band_of
from harness.study import Arm, InvalidStudy, Metric, Study
from tests import synthetic

pytestmark = pytest.mark.filterwarnings("error")
STUDY = synthetic.study()


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("}text")]


def tiny(values: dict[str, list[float]], **changes: Any) -> tuple[Study, pd.DataFrame]:
    """A study of one metric, m, and its confirm rows: the final value of each seed, by arm."""
    one = Study(
        **{
            "name": "tiny",
            "question": "?",
            "trial": print,
            "arms": {arm: Arm() for arm in values},
            "metrics": {"m": Metric("steps", better="low")},
            "budgets": {"smoke": synthetic.Budget(0, 2)},
            **changes,
        }
    )
    records = [
        {"study": "tiny", "phase": "confirm", "arm": arm, "seed": seed, "step": 1, "m": value}
        | {"trial": f"{arm}{seed}", "status": "diverged" if math.isnan(value) else "finished"}
        for arm, column in values.items()
        for seed, value in enumerate(column)
    ]
    return one, pd.DataFrame(records).reindex(columns=one.columns())


def test_a_study_file_that_lists_figures_loads_no_drawing_library() -> None:
    code = (
        "import sys, harness.figures as f\n"
        "f.curves('a', 'b', 'loss')\n"
        "print([m for m in ('matplotlib', 'seaborn', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("spec", STUDY.figures, ids=lambda f: f.name)
def test_every_kind_draws_full_and_empty_frames(spec: figures.Figure_) -> None:
    results, _ = synthetic.small()
    spec.validate(STUDY)
    full = texts(figures.svg(spec.draw(STUDY, results.frame), spec.name, spec.caption))
    assert "no trial of this has run" not in full
    assert "gradient descent" in full
    empty = texts(figures.svg(spec.draw(STUDY, results.frame.iloc[:0])))
    assert empty == ["no trial of this has run"]


@pytest.mark.parametrize("spec", STUDY.figures, ids=lambda f: f.name)
def test_every_kind_draws_a_frame_in_which_all_diverged_or_failed(spec: figures.Figure_) -> None:
    results, _ = synthetic.small()
    last = results.frame.drop_duplicates("trial")
    for status in ("diverged", "failed"):
        gone = last.assign(status=status, **dict.fromkeys(STUDY.metrics, math.nan))
        assert texts(figures.svg(spec.draw(STUDY, gone))) == ["no trial of this has run"]


@pytest.mark.parametrize("spec", STUDY.figures, ids=lambda f: f.name)
def test_a_single_seed_is_enough_to_draw(spec: figures.Figure_) -> None:
    frame = synthetic.small()[0].frame
    one = frame[(frame["seed"] == 1000) | (frame["seed"] == 0) | (frame["seed"] == 1)]
    assert "no trial of this has run" not in texts(figures.svg(spec.draw(STUDY, one)))


@pytest.mark.parametrize("spec", STUDY.figures, ids=lambda f: f.name)
def test_the_same_rows_give_the_same_bytes(
    spec: figures.Figure_, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searches, "RESAMPLES", 4)
    frame = synthetic.thin(synthetic.small()[0].frame)
    first = figures.svg(spec.draw(STUDY, frame), spec.name, spec.caption)
    assert first == figures.svg(spec.draw(STUDY, frame.copy()), spec.name, spec.caption)


def test_svg_takes_the_inks_of_the_page_and_keeps_text() -> None:
    spec = STUDY.figures[4]
    text = figures.svg(spec.draw(STUDY, synthetic.small()[0].frame), "steps", 'Say "<hi>" & go')
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.get("aria-label", "").startswith('Say "<hi>" & go ')
    assert figures.INK not in text
    assert "currentColor" in text
    assert not re.search(r"(fill|stroke): #(000000|ffffff)", text)
    ids = re.findall(r' id="([^"]*)"', text)
    assert ids
    assert len(ids) == len(set(ids))
    assert all(i.startswith("steps-") for i in ids)
    assert set(re.findall(r"(?:href=\"|url\()#([\w.-]+)", text)) <= set(ids)


def test_a_standalone_svg_is_a_document_with_its_own_inks() -> None:
    spec = STUDY.figures[5]
    inline = figures.svg(spec.draw(STUDY, synthetic.small()[0].frame))
    text = figures.standalone(inline)
    ElementTree.fromstring(text.encode())
    assert "prefers-color-scheme:dark" in text


@pytest.mark.parametrize("changed", [('pt"', 'px"'), ("</style>", "</style >")])
def test_svg_text_that_is_not_as_known_is_an_image_of_its_own(
    changed: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of matplotlib may write sizes in other units, or styles where we leave them."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    written: list[str] = []
    real = FigureCanvasSVG.print_svg

    def other(self: Any, target: Any, **given: Any) -> None:
        own = io.StringIO()
        real(self, own, **given)
        written.append(own.getvalue().replace(*changed))
        target.write(written[-1])

    one, frame = tiny({"a": [1.0, 2.0], "b": [2.0, 3.0]})
    spec = figures.intervals("f", "c", "m")
    assert "<image" not in figures.svg(spec.draw(one, frame))
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", other)
    drawn = spec.draw(one, frame)
    text = figures.svg(drawn, "f", 'Say "<hi>"')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label", "").startswith('Say "<hi>"')
    assert root.get("width") == f"{72 * drawn.get_figwidth():g}pt"
    data = root[0].get("href", "").removeprefix("data:image/svg+xml;base64,")
    assert base64.b64decode(data).decode() == written[0]
    ElementTree.fromstring(figures.standalone(text).encode())


def test_one_module_reads_what_matplotlib_writes() -> None:
    home = Path(figures.__file__).parent.parent
    files = [path for path in home.rglob("*.py") if "backend_svg" in path.read_text("utf-8")]
    assert [path.name for path in files] == ["export.py"]


def test_text_in_labels_is_neither_markup_nor_mathematics() -> None:
    arms = {"a": Arm(label="<script>$\\bad{$ & co"), "b": Arm()}
    one, frame = tiny({"a": [1.0, 2.0], "b": [2.0, 3.0]}, arms=arms)
    drawn = figures.intervals("f", "c", "m").draw(one, frame)
    text = figures.svg(drawn)
    assert "<script>" not in text
    assert "<script>$\\bad{$ & co" in texts(text)


def test_never_and_diverged_have_a_labelled_edge() -> None:
    one, frame = tiny({"a": [10.0, 20.0], "b": [30.0, math.inf]})
    assert "never" in texts(figures.svg(figures.intervals("f", "c", "m").draw(one, frame)))
    one, frame = tiny({"a": [10.0, 20.0], "b": [30.0, math.nan]})
    drawn = texts(figures.svg(figures.intervals("f", "c", "m").draw(one, frame)))
    assert "diverged" in drawn
    assert "never" not in drawn


def test_intervals_put_the_best_arm_first() -> None:
    spec = figures.intervals("f", "c", "m")
    values = {"slow": [30.0, 31.0], "fast": [10.0, 11.0], "never": [math.inf, math.inf]}
    for better, order in (("low", ["fast", "slow", "never"]), ("high", ["never", "slow", "fast"])):
        one, frame = tiny(values, metrics={"m": Metric("steps", better=better)})
        labels = [t.get_text() for t in spec.draw(one, frame).axes[0].get_yticklabels()]
        assert labels == order


def test_a_figure_reads_the_phase_it_names() -> None:
    one, frame = tiny({"a": [10.0, 20.0]})
    searched = frame.assign(phase="tune")
    assert texts(figures.svg(figures.intervals("f", "c", "m").draw(one, searched))) == [
        "no trial of this has run"
    ]
    drawn = figures.intervals("f", "c", "m", phase="tune").draw(one, searched)
    assert "a" in texts(figures.svg(drawn))


def test_a_diverged_trial_counts_with_its_worst_score() -> None:
    one, frame = tiny({"a": [0.9, math.nan]}, metrics={"m": Metric("fraction", "high", worst=0.1)})
    values = figures.final(one, frame, "m").set_index("seed")["value"]
    assert values.to_dict() == {0: 0.9, 1: 0.1}


def test_curves_do_not_improve_because_a_bad_seed_has_left() -> None:
    metric = Metric("nats", better="low", worst=9.0)
    rows = pd.DataFrame(
        {
            "step": [0, 1, 2, 0],
            "trial": ["a", "a", "a", "b"],
            "status": ["finished"] * 3 + ["diverged"],
            "m": [3.0, 2.0, 1.0, 5.0],
        }
    )
    band = band_of(rows, metric, "m")
    assert band["centre"].tolist() == [4.0, 5.5, 5.0]


def test_bands_are_the_intervals_of_the_statistics() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(4, 6))
    rows = pd.DataFrame(
        [
            {"step": s, "trial": f"t{t}", "status": "finished", "m": values[s, t]}
            for s in range(4)
            for t in range(6)
        ]
    )
    band = band_of(rows, Metric("nats"), "m")
    for s in range(4):
        wanted = stats.interval_for_display(values[s])
        assert band[["centre", "low", "high"]].iloc[s].tolist() == pytest.approx(list(wanted))


def test_colours_belong_to_arms_and_differ() -> None:
    colours, dash = figures.palette(STUDY), figures.dashes(STUDY)
    assert list(colours) == list(STUDY.arms)
    looks = {(colours[arm], dash[arm]) for arm in STUDY.arms}
    assert len(looks) == len(STUDY.arms) == 14


def test_a_custom_figure_gets_study_frame_and_palette() -> None:
    def draw(study: Study, frame: pd.DataFrame, colours: dict[str, str]) -> Any:
        figure, (ax,) = figures.panels(1)
        ax.plot([0, 1], [0, len(frame)], color=colours["a"], label=study.name)
        ax.legend()
        return figure

    one, frame = tiny({"a": [1.0, 2.0]})
    spec = figures.custom("mine", "c", draw)
    spec.validate(one)
    text = figures.svg(spec.draw(one, frame))
    assert "tiny" in texts(text)
    assert figures.COLOURS[0] in text


def test_a_custom_figures_powers_of_ten_are_words() -> None:
    def draw(*_: Any) -> Any:
        figure, (ax,) = figures.panels(1)
        ax.loglog([1e-3, 1e3], [1e-3, 1e3])
        return figure

    one, frame = tiny({"a": [1.0, 2.0]})
    said = texts(figures.svg(figures.custom("mine", "c", draw).draw(one, frame)))
    assert "10²" in said
    assert not any("mathdefault" in words for words in said)


def test_pictures_are_of_the_first_seed_that_has_one() -> None:
    names = [f"map_{place}" for place in range(2)]  # 16 pixels
    one, frame = tiny(
        {"a": [1.0, 2.0], "b": [1.0, 2.0]},
        metrics={"m": Metric("steps"), **{name: Metric("pixels") for name in names}},
    )
    frame.loc[frame["seed"] == 1, names] = [0.0, 8.0**8 - 1]  # black above, white below
    spec = figures.pictures("f", "c", "map", shape=(4, 4), colours=False)
    spec.validate(one)
    figure = spec.draw(one, frame)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a", "b"]
    shown = figure.axes[0].images[0].get_array()
    assert shown.tolist() == [[0.0] * 4] * 2 + [[1.0] * 4] * 2
    assert figures.svg(figure).count("<image") == 2
    with pytest.raises(InvalidStudy, match="draws metrics m_0, m_1"):
        figures.pictures("f", "c", "m").validate(one)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (figures.curves("f", "Mine.", "loss"), "Mine."),
        (figures.curves("f", metric="loss"),
         "Loss against steps, mean and 95 % band over seeds, a panel a task."),
        (figures.intervals("f", metric="test_accuracy", arms=("gd", "adam"), where={"task": "digits"}),
         "Test accuracy (%), mean or median and 95 % interval of gradient descent and adam (digits)."),
        (figures.across("f", metric="gap", factor="task"),
         "Gap to the minimum (decades) by task, with 95 % intervals."),
        (figures.sensitivity("f", metric="valid_loss", where={"task": "digits"}),
         "Valid loss (nats) against lr, every draw of the tune phase (digits)."),
        (figures.scatter("f", x="gap", y="loss", factor="task"),
         "Loss against gap to the minimum (decades), a panel a task."),
        (figures.custom("my_own", fn=lambda *_: None), "My own."),
    ],
)  # fmt: skip
def test_a_figure_without_a_caption_says_what_it_draws(spec: figures.Figure_, says: str) -> None:
    assert spec.told(STUDY) == says


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: figures.curves("f", "c", "speed"), "metric 'speed'; allowed: loss, x, y"),
        (lambda: figures.curves("f", "c", "loss", arms=("sgd",)), "arm 'sgd'; allowed: gd"),
        (lambda: figures.curves("f", "c", "loss", factor="depth"), "'depth'; allowed: task"),
        (lambda: figures.intervals("f", "c", "loss", levels=("mnist",)), "'mnist'; allowed: beale"),
        (lambda: figures.curves("f", "c", "loss", where={"task": "x"}), "'x'; allowed: beale"),
        (lambda: figures.sensitivity("f", "c", "loss"), "would mix cells of task"),
        (lambda: figures.sensitivity("f", "c", "loss", "decay", where={"task": "digits"}),
         "nuisance 'decay'; allowed: lr, momentum"),
        (lambda: figures.trajectories("f", "c", levels=("digits",)), "at least one of beale"),
        (lambda: figures.custom("f", "c", None), "fn=None; allowed: a function"),  # type: ignore
        (lambda: figures.curves("f", "c"), "metric ''; allowed: loss, x, y"),
        (lambda: figures.curves("../f", "c", "loss"), "figure name '../f'; allowed: lower-case"),
    ],
)  # fmt: skip
def test_what_a_study_does_not_have_is_refused(make: Any, says: str) -> None:
    with pytest.raises(InvalidStudy, match=re.escape(says)):
        make().validate(STUDY)


def test_a_shape_of_one_paint_has_the_opacity_of_that() -> None:
    figure, (ax,) = figures.panels(1)
    ax.fill_between([0, 1], 0, 1, color="#112233", alpha=0.3, lw=0)
    ax.plot([0, 1], [0, 1], color="#445566", alpha=0.7)
    ax.bar([0.5], [0.5], color="#778899", edgecolor="#778899", alpha=0.4)  # filled and stroked
    looks = re.findall(r'style="([^"]*#(?:112233|445566|778899)[^"]*)"', figures.svg(figure))
    assert {re.search(r"#\w+", look)[0]: re.findall(r"[\w-]*opacity", look) for look in looks} == {  # type: ignore[index]
        "#112233": ["fill-opacity"], "#445566": ["stroke-opacity"], "#778899": ["opacity"],
    }  # fmt: skip


def test_what_is_longer_than_its_panel_is_broken_and_nothing_else() -> None:
    long, short = "largest slope of an image that is classified wrongly", "slope"
    figure, axes = figures.panels(6, columns=6)
    for ax, label in zip(axes, (long, *5 * [short]), strict=True):
        ax.set(xlabel=short, ylabel=label, title=label)
    found = texts(figures.svg(figure))
    assert found.count(short) == 6 + 5 + 5
    assert long not in found
    (title,) = filter(None, (axes[0].get_title(place) for place in ("left", "center")))
    for text in (axes[0].get_ylabel(), title):
        assert len(text.splitlines()) > 1 and " ".join(text.splitlines()) == long
