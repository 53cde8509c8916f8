"""The report: one page, its PDF and its files, all from the same values."""

from __future__ import annotations

import dataclasses
import html.parser
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import claims, report
from harness.claims import Verdict, judge
from harness.ledger.results import Results
from harness.parts.models import SURFACES
from harness.report import bars, descent, files, islands, numbers, outlook, words
from harness.report.panels import Panel
from harness.study import Arm, Claim, Published
from tests import synthetic

pytestmark = pytest.mark.filterwarnings("error")

CONTRACT = (
    "id", "statement", "source", "verdict", "effect", "low", "high", "p", "margin", "unit", "n",
)  # fmt: skip


def verdict(**changes: Any) -> Verdict:
    base = Verdict(
        "c", "A beats B.", "Deck", "supported", 2.0, 1.0, 3.0, 0.01, 0.5, "steps", 20,
        direction="above", quantity="steps, a minus b",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def pages(path: Path) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(path).pages]


class Outline(html.parser.HTMLParser):
    """Every tag, attribute and visible word of a page, and whether its tags are balanced."""

    void = ("meta", "input", "br", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.values: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.values.setdefault(name, []).append(value or "")
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_writes_every_file_of_the_contract(written: tuple[Path, dict[str, Path]]) -> None:
    folder, files = written
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    figures = {f"figures/{f.name}.svg" for f in synthetic.study().figures}
    one = {"report.html", "report.pdf", "verdicts.json", "rows.parquet", "trials.csv", "chain.json"}
    assert names == one | figures == set(files)
    frame = synthetic.small()[0].frame
    pd.testing.assert_frame_equal(pd.read_parquet(files["rows.parquet"]), frame)
    assert list(frame.columns) == synthetic.study().columns()
    assert len(pd.read_csv(files["trials.csv"])) == len(synthetic.small()[0].trials)


def test_the_same_values_give_the_same_bytes(
    written: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    again = report.write(*synthetic.small(), tmp_path)
    for name, path in written[1].items():
        assert path.read_bytes() == again[name].read_bytes(), name


def test_the_page_stands_alone_and_is_well_formed(written: tuple[Path, dict[str, Path]]) -> None:
    text = written[1]["report.html"].read_text()
    page = Outline(text)
    assert page.open == []
    links = page.values["href"]
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors <= set(page.values["id"])
    beside = {"trials.csv", "rows.parquet", "../../index.html"}
    run = "http://127.0.0.1:5000/#/experiments/1/runs/abc123?workflowType=machine_learning"
    assert {link for link in links if link[:1] != "#"} == beside | {run}
    assert not {"link", "img", "iframe", "object"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)|\bfetch\(|src=", text)
    ids = page.values["id"]
    assert len(ids) == len(set(ids))


def test_page_and_pdf_say_what_the_verdicts_say(written: tuple[Path, dict[str, Path]]) -> None:
    results, verdicts = synthetic.small()
    shown = Outline(written[1]["report.html"].read_text()).text
    printed = re.sub(r"\s+", " ", " ".join(pages(written[1]["report.pdf"])))
    assert len(verdicts) == 11
    for text in (shown, printed):
        assert results.study.question in text
        assert report.answer(results, verdicts) in text
        for v in verdicts:
            assert v.statement in text
            assert report.sentence(v, results.study) in text
        for name in ("gradient descent", "Adam, lr 0.001", "beta2 0.9999", "Figure 6."):
            assert name in text
    for outcome in ("supported", "refuted", "inconclusive"):
        count = sum(v.verdict == outcome for v in verdicts)
        mark = {"supported": "✓", "refuted": "✕"}.get(outcome, "?")
        assert shown.count(f"{mark} {outcome}") == 3 * count  # board, card and table


def test_the_pdf_numbers_its_pages_embeds_fonts_and_keeps_the_trials_out(
    written: tuple[Path, dict[str, Path]],
) -> None:
    reader = pypdf.PdfReader(written[1]["report.pdf"])
    total = len(reader.pages)
    assert 4 <= total <= 15
    fonts = set()
    for number, page in enumerate(reader.pages, 1):
        text = page.extract_text()
        assert f"{number} / {total}" in text
        assert "Optimizers · default scale" in text
        assert "optimizers-000-tune" not in text
        for font in page["/Resources"].get("/Font", {}).values():
            font = font.get_object()
            holder = (
                font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
            )
            keys = holder["/FontDescriptor"].get_object().keys()
            fonts.add(font["/BaseFont"])
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(keys), font["/BaseFont"]
    assert fonts
    assert reader.metadata is not None
    assert reader.metadata.title == "Optimizers"
    assert reader.metadata["/CreationDate"].startswith("20261120100612")


def test_the_pdf_has_text_on_a_machine_without_fonts(tmp_path: Path) -> None:
    bare = tmp_path / "fonts.conf"
    bare.write_text("<fontconfig><dir>/nonexistent</dir></fontconfig>")
    code = (
        "import sys; from harness import report; sys.stdout.buffer.write("
        "report.pdf('<p>Readable <b>bold</b> <code>code</code></p>', 't', '2026-01-01T00:00:00Z'))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FONTCONFIG_FILE": str(bare)},
        capture_output=True,
        check=True,
    )
    text = pypdf.PdfReader(io.BytesIO(out.stdout)).pages[0].extract_text()
    assert " ".join(text.split()) == "Readable bold code"


def test_in_print_a_card_has_the_panel_of_its_claim_or_says_where_it_is(
    written: tuple[Path, dict[str, Path]],
) -> None:
    text = " ".join(" ".join(pages(written[1]["report.pdf"])).split())
    cards = text[text.index("The claims, one by one") : text.rindex("Figures")]
    assert "From figure 5: valley" in cards
    results, verdicts = synthetic.small()
    drawing = Panel("<svg><text>only once</text></svg>", "valley")
    shown = {v.id: dataclasses.replace(drawing, beside=verdicts[0].id) for v in verdicts}
    shown[verdicts[0].id] = drawing
    figure = {f.name: "<svg></svg>" for f in results.study.figures}
    page = report.html(
        results, verdicts, figure, outlook.after(results, verdicts), shown, paper=True
    )
    assert page.count("only once") == 1
    assert 'the panel beside <a href="#claim-1">claim 1</a>' in page


def test_verdicts_json_is_the_contract_and_strict() -> None:
    results, _ = synthetic.small()
    odd = [verdict(effect=math.nan, low=-math.inf, high=math.inf, p=1.0, n=0), verdict(id="d")]
    document = report.verdicts_json(results, odd)
    read = json.loads(json.dumps(document, allow_nan=False))
    assert {"study", "scale", "commit", "started_at", "finished_at", "trials", "claims"} <= set(
        read
    )
    assert (read["study"], read["scale"]) == ("optimizers", "default")
    assert set(read["trials"]) == {"planned", "finished", "diverged", "failed"}
    assert sum(read["trials"][k] for k in ("finished", "diverged", "failed")) == len(results.trials)
    first, second = read["claims"]
    assert set(CONTRACT) <= set(first)
    assert [first[k] for k in ("effect", "low", "high")] == [None, None, None]
    assert [second[k] for k in ("effect", "low", "high", "p", "n")] == [2.0, 1.0, 3.0, 0.01, 20]


def test_what_others_wrote_is_escaped_everywhere(tmp_path: Path) -> None:
    bad = '<script>alert("1")</script></style>&'
    check = synthetic.below("loss", 1.0, arm="gd", task="beale")
    one = synthetic.study(
        title=bad, question=bad, arms={"gd": Arm({"rule": bad}, label=bad), "adam": Arm()},
        fixed={"note": bad}, sources={"[x]": bad},
        claims=(Claim(bad, f"[x] {bad}", check, id="bad", figure="accuracy",
                      published=Published(bad, "from memory", 1.0)),),
        figures=(dataclasses.replace(synthetic.study().figures[5], caption=bad),),
    )  # fmt: skip
    results = synthetic.results(one, draws=1, seeds=5)
    trials = results.trials.assign(status="failed", error=bad)
    changed = [{"id": "bad", "what": bad, "at": bad, "trials": 3, "statement": bad}]
    info = synthetic.info(10, command=bad, commit=bad, provenance={bad: bad}, run_id=bad,
                          claims_changed=changed)  # fmt: skip
    results = dataclasses.replace(results, trials=trials, info=info)
    verdicts = [dataclasses.replace(v, reason=bad) for v in judge(one, results.frame)]
    files = report.write(results, verdicts, tmp_path / "bad" / "default")
    board = report.write_index(tmp_path)
    for path in (files["report.html"], board, files["figures/accuracy.svg"]):
        text = path.read_text()
        own = {"report.html": 2, "index.html": 1}.get(path.name, 0)
        assert text.count("<script") == own, path.name
        assert text.count("</style") == 1, path.name
        assert "alert(" in text.replace("&#34;", '"')
    assert bad in " ".join(" ".join(pages(files["report.pdf"])).split())
    assert "<script" not in report.note(results, verdicts)


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.text() | st.integers() | st.none(), st.lists))
def test_what_is_embedded_can_be_read_back_and_ends_nothing(value: Any) -> None:
    text = islands.embed([value, "</script><!--<script>&\u2028"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == [value, "</script><!--<script>&\u2028"]


def test_the_island_holds_every_trial() -> None:
    results, _ = synthetic.small()
    island = json.loads(islands.embed(islands.trials(results)))
    columns = {column["name"]: column for column in island["columns"]}
    table = islands.ordered(results)
    assert len(table) == island["total"] == len(results.trials)
    assert columns["trial"]["values"] == table["trial"].tolist()
    arms = [columns["arm"]["levels"][i] for i in columns["arm"]["values"]]
    assert arms == table["arm"].map(results.study.label).tolist()
    odd = {"inf": math.inf, "-inf": -math.inf, None: math.nan}
    for name in ("lr", "gap", "steps_to_target", "test_accuracy"):
        read = [odd.get(v, v) if not isinstance(v, float) else v for v in columns[name]["values"]]
        np.testing.assert_allclose(np.array(read, float), table[name].to_numpy(float), rtol=1e-3)
    assert {"inf", None} <= set(columns["steps_to_target"]["values"])
    assert columns["seed"]["values"] == table["seed"].tolist()
    status = [columns["status"]["levels"][i] for i in columns["status"]["values"]]
    assert status == sorted(status, key=["failed", "diverged", "finished"].index)


def test_runs_are_looked_up_at_the_tracking_server_or_where_make_ui_serves_it() -> None:
    results, _ = synthetic.small()
    page = "runs/r?workflowType=machine_learning"
    assert islands.run_address(results, "r") == f"http://127.0.0.1:5000/#/experiments/1/{page}"
    info = {**results.info, "tracking_uri": "https://mlflow.example/", "experiment_id": "7"}
    there = dataclasses.replace(results, info=info)
    assert islands.run_address(there, "r") == f"https://mlflow.example/#/experiments/7/{page}"
    nowhere = dataclasses.replace(results, info={**info, "experiment_id": None})
    assert islands.run_address(nowhere, "r") == ""


def test_the_player_has_the_paths_of_the_frame() -> None:
    results, _ = synthetic.small()
    (player,) = descent.players(results).values()
    assert [place["title"] for place in player["places"]] == list(synthetic.TASKS[:-1])
    confirm = results.frame[results.frame["phase"] == "confirm"]
    for place in player["places"]:
        surface = SURFACES[place["title"]]
        x0, x1, y0, y1 = surface.bounds
        some = confirm[confirm["task"] == place["title"]]
        some = some[some["seed"] == some["seed"].min()]
        for arm, path in zip(synthetic.TUNED, place["paths"], strict=True):
            rows = some[some["arm"] == arm].sort_values("step")
            assert place["steps"][0] == rows["step"].min()
            assert place["steps"][-1] == rows["step"].max()
            ends = rows[["x", "y"]].iloc[[0, -1]].to_numpy()
            drawn = np.array([[path["x"][i], path["y"][i]] for i in (0, -1)]) / descent.REACH
            back = np.column_stack([x0 + drawn[:, 0] * (x1 - x0), y1 - drawn[:, 1] * (y1 - y0)])
            inside = (np.abs(drawn) < 1).all(axis=1)
            np.testing.assert_allclose(back[inside], ends[inside], atol=(x1 - x0) / 4000)


def test_a_path_arrives_when_it_stays_at_the_target() -> None:
    valley = SURFACES["valley"]  # 0.01 x^2 + y^2, target 0.001: arrived within |x| 0.316 at y 0
    rows = pd.DataFrame({
        "arm": "gd", "step": [0, 5, 10, 15, 20], "x": [-10.0, 0.1, -1.0, 0.3, 0.2], "y": 0.0,
    })  # fmt: skip
    path = descent._place("valley", valley, rows, 0)["paths"]["gd"]
    assert path["there"] == 15  # at step 5 it only passes
    assert descent._place("valley", valley, rows[:3], 0)["paths"]["gd"]["there"] is None


def test_maps_are_lowest_at_the_minimum() -> None:
    place = {c: i for i, c in enumerate(descent.DIGITS)}
    for name in ("beale", "rastrigin", "valley"):
        surface = SURFACES[name]
        text = descent._heights(surface)
        heights = [place[a] * 64 + place[b] for a, b in zip(text[::2], text[1::2], strict=True)]
        grid = np.array(heights).reshape(descent.GRID, descent.GRID)
        assert grid.max() == descent.REACH
        x0, x1, y0, y1 = surface.bounds
        for x, y in surface.minima:
            column = round((x - x0) / (x1 - x0) * (descent.GRID - 1))
            row = round((y1 - y) / (y1 - y0) * (descent.GRID - 1))
            assert grid[row, column] <= np.quantile(grid, 0.02)


def page_of(results: Results, verdicts: list[Verdict]) -> str:
    return report.html(results, verdicts, dict.fromkeys(figure_names(results), "<svg/>"), {})


def test_claims_changed_late_are_marked_on_board_card_and_provenance() -> None:
    results, verdicts = synthetic.small()
    assert 'class="warning"' not in page_of(results, verdicts)
    changed = [
        {"id": verdicts[1].id, "what": "changed", "at": "2026-11-20T10:01:00Z", "trials": 1200},
        {"id": "gone", "what": "removed", "at": "", "trials": 7, "statement": "A <b>."},
        {"id": "", "what": "budget", "at": "", "trials": 9, "statement": "seeds 5 became 9"},
    ]
    late = dataclasses.replace(results, info={**results.info, "claims_changed": changed})
    shown = Outline(page_of(late, verdicts)).text
    assert "1 claim was changed, 1 claim was removed and the budget was changed" in shown
    when = "when 1,200 trials had run (20 Nov 2026, 10:01 UTC)"
    assert f"This claim was changed {when}. Read its verdict as exploration" in shown
    assert f"Claim {verdicts[1].id} was changed {when}." in shown
    assert "The claim “A <b>” was removed after 7 trials had run." in shown
    assert "The budget was changed when 9 trials had run: seeds 5 became 9." in shown
    assert shown.count("changed late") == 1
    document = report.verdicts_json(late, verdicts)
    assert [c["changed_late"] for c in document["claims"]].count(True) == 1


def test_cards_say_how_a_claim_was_tested_and_when_it_was_decided() -> None:
    results, verdicts = synthetic.small()
    plain = Outline(page_of(results, verdicts)).text
    assert "published +3 points · 3 points more on MNIST, figure 2 read off a figure" in plain
    for test in {v.test for v in verdicts}:
        assert f"estimated by {test}" in plain
        named = [str(i) for i, v in enumerate(verdicts, 1) if v.test == test]
        method = plain[plain.index("How the claims were estimated") :].replace(" ,", ",")
        assert f"{test} (claim{'s' * (len(named) > 1)} {', '.join(named)} )" in method
    assert "look" not in plain.replace("looked", "")
    one = dataclasses.replace(
        verdicts[0], look=2, seeds_used=20, seeds_allowed=80, replication="trial", n=7
    )
    shown = Outline(page_of(results, [one, *verdicts[1:]])).text
    assert "replicated 7 trials; decided at look 2, with 20 of at most 80 seeds a cell" in shown
    assert "over 7 trials." in shown
    open_ = dataclasses.replace(one, verdict="inconclusive")
    assert words.stopping(open_).startswith("open after look 2")


@pytest.mark.parametrize("value", [1.7, -3.0, 40.0])
def test_a_published_number_is_drawn_on_the_same_scale(value: float) -> None:
    one = verdict(published=Published("theirs", "from memory", value))
    drawn = bars.bar(one, words.scale_of(one, synthetic.study()))
    at = float(re.search(r'class="diamond" d="M([\d.]+)', drawn)[1])  # type: ignore[index]
    low, high = (float(x) for x in re.findall(r'"interval" d="M([\d.]+) 27H([\d.]+)', drawn)[0])
    share = (value - 1) / 2  # of the way from low, 1, to high, 3
    assert at == pytest.approx(low + share * (high - low), abs=0.1 * max(2, abs(value)))
    assert 0 <= at <= bars.WIDTH
    assert f"published {numbers.digits(value)} steps, from memory" in drawn
    assert "diamond" not in bars.bar(
        verdict(published="words only"), words.scale_of(one, synthetic.study())
    )


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, True), ({"direction": "below"}, False), ({"margin": 2.5}, False),
        ({"direction": "below", "margin": 9.0}, True),
        ({"unit": "ratio", "margin": 0.5, "effect": 0.2, "low": 0.1, "high": 0.3}, False),
        ({"low": -math.inf, "high": math.inf}, True),
    ],
)  # fmt: skip
def test_the_board_draws_what_is_claimed_on_the_right(changes: dict[str, Any], right: bool) -> None:
    one = verdict(**changes)
    drawn = bars.spark(one, words.scale_of(one, synthetic.study()))
    assert (float(re.search(r'cx="([\d.]+)"', drawn)[1]) > 60) == right  # type: ignore[index]
    assert not re.search("nan|inf[^e]", drawn.replace("inconclusive", ""))


def test_the_cost_is_the_trials_own_seconds() -> None:
    results, _ = synthetic.small()
    spent = results.trials["seconds"].sum()
    assert words.cost(results) == f"{spent:,.0f} core-seconds"
    gpu = {**results.info, "provenance": {"device": "cuda"}}
    assert words.cost(dataclasses.replace(results, info=gpu)).endswith("GPU-seconds")
    assert words.cost(synthetic.empty()) == "0.0 core-seconds"


def test_an_empty_run_and_a_study_without_claims_still_make_a_report(tmp_path: Path) -> None:
    nothing = synthetic.empty()
    verdicts = judge(nothing.study, nothing.frame)
    assert {v.verdict for v in verdicts} == {"inconclusive"}
    files = report.write(nothing, verdicts, tmp_path / "a")
    shown = Outline(files["report.html"].read_text())
    assert "None of the 11 claims could be decided." in shown.text
    assert shown.text.count("no trial of this has run") == 6
    assert "bar" not in shown.values["class"]
    json.loads(files["verdicts.json"].read_text(), parse_constant=pytest.fail)
    bare = synthetic.study(claims=(), figures=(), nuisance={}, vary={"task": ("digits",)},
                           arms={"gd": {}, "adam": {}})  # fmt: skip
    files = report.write(synthetic.results(bare, draws=0, seeds=2), [], tmp_path / "b")
    assert "makes no claims" in Outline(files["report.html"].read_text()).text


def test_a_partial_run_says_so() -> None:
    results, verdicts = synthetic.small()
    part = dataclasses.replace(results, info={**results.info, "partial": True, "planned": 99999})
    page = Outline(report.html(part, verdicts, dict.fromkeys(figure_names(part), ""), {}))
    assert f"{len(results.trials)} of 99,999 planned trials have ended" in page.text
    assert report.answer(part, verdicts).startswith("So far, from an unfinished run: ")
    assert report.verdicts_json(part, verdicts)["partial"] is True
    whole = Outline(report.html(results, verdicts, dict.fromkeys(figure_names(results), ""), {}))
    assert "Partial" not in whole.text


def figure_names(results: Results) -> list[str]:
    return [f.name for f in results.study.figures]


def test_errors_of_failed_trials_are_counted() -> None:
    results, verdicts = synthetic.small()
    trials = results.trials.assign(
        status=["failed"] * 3 + ["finished"] * (len(results.trials) - 3),
        error=["out of memory", "bad cell", "out of memory"] + [""] * (len(results.trials) - 3),
    )
    page = report.html(
        dataclasses.replace(results, trials=trials), verdicts,
        dict.fromkeys(figure_names(results), ""), {},
    )  # fmt: skip
    assert re.search(
        r'num">2</td><td><code>out of memory.*num">1</td><td><code>bad cell', page, re.S
    )


def test_an_error_leaves_the_former_report_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = dataclasses.replace(synthetic.small()[0], study=synthetic.study(figures=(), claims=()))
    report.write(plain, [], tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def broken(*_: object) -> bytes:
        raise RuntimeError("no engine")

    monkeypatch.setattr(files.printing, "pdf", broken)
    with pytest.raises(RuntimeError, match="no engine"):
        report.write(dataclasses.replace(plain, scale="smoke"), [], tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_figures_of_an_earlier_study_file_are_removed(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.svg").write_text("<svg/>")
    results, _ = synthetic.small()
    plain = dataclasses.replace(results, study=synthetic.study(figures=(), claims=()))
    report.write(plain, [], tmp_path)
    assert not list((tmp_path / "figures").iterdir())


def test_the_board_shows_every_study_and_broken_files_too(tmp_path: Path) -> None:
    results, verdicts = synthetic.small()
    good = tmp_path / "optimizers" / "default"
    good.mkdir(parents=True)
    (good / "report.html").write_text("x")
    (good / "verdicts.json").write_text(json.dumps(report.verdicts_json(results, verdicts)))
    for name, text in (("broken", "{"), ("list", "[]"), ("thin", '{"study": "thin"}')):
        (tmp_path / name / "smoke").mkdir(parents=True)
        (tmp_path / name / "smoke" / "verdicts.json").write_text(text)
    page = Outline(report.write_index(tmp_path).read_text())
    assert page.open == []
    assert page.text.count("unreadable") == 3
    assert results.study.question in page.text
    assert report.answer(results, verdicts) in page.text
    link = "optimizers/default/report.html"
    own = [
        each
        for number, v in enumerate(verdicts, 1)
        for each in (f"{link}#claim-{number}", f"#optimizers.{v.id}")  # its card, and its own place
    ]
    beside = [f"#optimizers.{v.id}" for v in verdicts if v.published]
    assert beside
    assert page.values["href"] == [*own, *beside, link]
    for name, text in (("verdict", "supported"), ("study", "optimizers"), ("scale", "default")):
        assert text in page.values[f"data-{name}"]
    assert {"Course overview", "Kingma & Ba 2015"} == set(page.values["data-cites"])
    assert all(v.statement in page.text for v in verdicts)
    assert "No study has been run" in report.write_index(tmp_path / "new").read_text()


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        ("", "The study makes no claims; its figures show what was measured."),
        ("s", "The one claim holds: “A beats B”."),
        ("ss", "All 2 claims hold."),
        ("rr", "All 2 claims are refuted."),
        ("ii", "None of the 2 claims could be decided."),
        ("ssri", "2 of 4 claims hold, 1 is refuted and 1 stays undecided; what does not hold: "
                 "“A beats B”."),
        ("ri", "None of 2 claims hold, 1 is refuted and 1 stays undecided; what does not hold: "
               "“A beats B”."),
        ("sii", "1 of 3 claims holds and 2 stay undecided."),
        ("srrrr", "1 of 5 claims holds and 4 are refuted."),
    ],
)  # fmt: skip
def test_the_answer_counts_the_verdicts(outcomes: str, says: str) -> None:
    words: Any = {"s": "supported", "r": "refuted", "i": "inconclusive"}
    verdicts = [verdict(verdict=words[letter]) for letter in outcomes]
    assert report.answer(synthetic.small()[0], verdicts) == says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "more than 0.5 steps; the whole interval lies on that side."),
        (
            {"direction": "below", "verdict": "refuted"},
            "the whole interval lies on the other side.",
        ),
        (
            {"direction": "within", "margin": 5.0},
            "within ± 5 steps; the whole interval lies inside",
        ),
        (
            {"direction": "within", "verdict": "refuted"},
            "the whole interval lies outside that band",
        ),
        ({"margin": 1.5, "verdict": "inconclusive"}, "the interval takes in that margin"),
        ({"verdict": "inconclusive", "p": 0.081}, "the corrected p is 0.081."),
        ({"high": math.inf}, "2 steps, interval 1 to never, over 20 seeds"),
        ({"low": -math.inf}, "interval −∞ to 3"),
        ({"n": 0, "effect": math.nan, "reason": "3 seeds"}, "Not decided: 3 seeds."),
    ],
)
def test_sentences_follow_the_numbers(changes: dict[str, Any], says: str) -> None:
    assert says in report.sentence(verdict(**changes), synthetic.study())


def test_fractions_are_printed_as_percent_and_differences_as_points() -> None:
    study = synthetic.study()
    by = {v.statement: v for v in synthetic.small()[1]}
    level = by["On digits, tuned gradient descent gets above 95 % test accuracy."]
    assert re.search(r": 9\d\.\d+ %, interval 9", report.sentence(level, study))
    difference = by["On digits, Adam beats gradient descent by two points."]
    assert re.search(r"\+\d\.\d+ points.*more than \+2 points", report.sentence(difference, study))
    ratio = by["In the valley, momentum needs at most half the steps of gradient descent."]
    assert re.search(r"less than 0\.5×", report.sentence(ratio, study))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.97345, "0.973"), (-5.5, "−5.5"), (123.4, "123"), (12345.0, "12,345"),
     (2e-5, "2×10⁻⁵"), (-1.234e7, "−1.23×10⁷"), (0.999999, "1"), (99.96, "100")],
)  # fmt: skip
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert numbers.digits(value) == text


@pytest.mark.parametrize("changes", [
    {}, {"direction": "below"}, {"direction": "within"}, {"low": -math.inf, "high": math.inf},
    {"effect": math.inf, "low": 3.0, "high": math.inf}, {"effect": 0.5, "low": 0.5, "high": 0.5},
    {"unit": "ratio", "effect": 0.0, "low": 0.0, "high": math.inf},
])  # fmt: skip
def test_bars_stay_inside_their_box(changes: dict[str, Any]) -> None:
    one = verdict(**changes)
    drawn = bars.bar(one, words.scale_of(one, synthetic.study()))
    assert not re.search("nan|inf[^e]", re.sub('aria-label="[^"]*"|>[^<]*<', "", drawn))
    for x in re.findall(r' (?:c?x)="(-?[\d.]+)"', drawn):
        assert 0 <= float(x) <= bars.WIDTH
    assert 'class="claimed"' in drawn
    assert f'class="bar {one.verdict}"' in drawn


def test_the_note_has_the_answer_the_table_and_how_to_reproduce() -> None:
    results, verdicts = synthetic.small()
    text = report.note(results, verdicts)
    assert results.study.question in text
    assert report.answer(results, verdicts) in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "**" in line]
    assert len(rows) == len(verdicts)
    for row, v in zip(rows, verdicts, strict=True):
        assert row.startswith(f"| {v.statement} | **{v.verdict}** | ")
    assert "make study NAME=optimizers SCALE=default" in text
    assert "`4c1781d0a5c1`" in text


def test_winners_are_the_settings_of_the_confirm_trials() -> None:
    results, _ = synthetic.small()
    table = results.winners()
    assert list(table.columns) == ["arm", "task", "lr", "momentum"]
    assert table["arm"].drop_duplicates().tolist() == list(results.study.arms)
    assert table["task"].head(7).tolist() == list(synthetic.TASKS)
    assert len(table) == 14 * 7
    held = table[table["arm"] == "gd_default"]
    assert set(held["lr"]) == {0.01}
    assert set(table["momentum"]) == {0.9}
    assert len(synthetic.empty().winners()) == 0


def test_counts_are_of_trials() -> None:
    counts = synthetic.small()[0].counts
    statuses = synthetic.small()[0].trials["status"].value_counts().to_dict()
    assert counts == {"planned": len(synthetic.small()[0].trials), "failed": 0, **statuses}


def test_publishing_writes_the_board_from_what_is_kept(
    written: tuple[Path, dict[str, Path]], tmp_path: Path
) -> None:
    from harness.report import front

    folder, _ = written
    made, _ = synthetic.small()
    board = front.add(folder, tmp_path / "reports").read_text()
    kept = json.loads((tmp_path / "reports" / "published" / f"{made.study.name}.json").read_text())
    for claim in kept["claims"]:
        assert claim["statement"].replace("|", "\\|") in board
        assert claim["words"][0] in board
    assert f"{made.counts['planned']:,} trials" in board
    assert (tmp_path / "reports" / "published" / f"{made.study.name}.svg").exists()


def test_it_says_how_often_the_test_split_was_scored() -> None:
    """Of the made-up trials on digits; those on surfaces have no test split."""
    whole, _ = synthetic.small()
    frame = whole.frame
    tests = frame[frame["test_accuracy"].notna()]
    tune, confirm = ((tests["phase"] == phase).sum() for phase in ("tune", "confirm"))
    assert whole.test_scored == {"tune": tune, "confirm": confirm}
    sealed = dataclasses.replace(whole, frame=frame.drop(tests[tests["phase"] == "tune"].index))
    none = dataclasses.replace(whole, frame=frame.drop(tests.index))
    check = claims.rank_correlation_above(
        "test_accuracy", 0.5, column="lr", arm="adam", task="digits"
    )
    one = synthetic.study(claims={"read": Claim("It matters.", "[1]", check)})
    open_ = dataclasses.replace(whole, study=one)
    bare = {"test_accuracy": "accuracy"}
    other = dataclasses.replace(whole.study, metrics={
        bare.get(name, name): metric for name, metric in whole.study.metrics.items()
    }, claims=(), figures=())  # fmt: skip
    n = "(trials × records)"
    assert words.tested(sealed) == (
        f"The test split was scored {confirm:,} times {n}, in the confirm phase only."
    )
    each = f"{tune:,} in the tune phase and {confirm:,} in the confirm phase"
    total = f"The test split was scored {tune + confirm:,} times {n}, {each}"
    assert words.tested(open_) == f"{total}; a claim reads the tune phase."
    assert words.tested(whole) == (
        f"{total}; no claim reads the tune phase, and a run now would not score it there."
    )
    thinned = dataclasses.replace(sealed, info={**sealed.info, "every": 4})
    assert f"was scored at least {confirm:,} times" in words.tested(thinned)
    assert words.tested(none) == "The test split was not scored."
    renamed = dataclasses.replace(whole, study=other, frame=frame.rename(columns=bare))
    assert words.tested(renamed) == ""


def test_the_page_the_note_and_the_data_say_how_often_it_was_scored() -> None:
    whole, verdicts = synthetic.small()
    drawn = {figure.name: "<svg></svg>" for figure in whole.study.figures}
    assert words.tested(whole) in report.html(whole, verdicts, drawn, {})
    assert words.tested(whole) in report.note(whole, verdicts)
    assert report.verdicts_json(whole, verdicts)["test_scored"] == whole.test_scored


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"published": {"value": 0.2}, "effect": 0.1, "low": 0.0, "high": 0.3}, "yes"),
        ({"published": {"value": 0.4}, "effect": 0.1, "low": 0.0, "high": 0.3}, "no"),
        ({"published": {"value": -9.0}, "effect": 0.1, "low": None, "high": 0.3}, "yes"),
        ({"published": {"value": None}, "effect": 0.1, "low": 0.0, "high": 0.3}, ""),
        ({"published": {"value": 0.2}, "effect": None, "low": None, "high": None}, ""),
        ({"published": None, "effect": 0.1, "low": 0.0, "high": 0.3}, ""),
    ],
)
def test_whether_what_was_published_lies_in_the_interval(claim: dict, said: str) -> None:
    assert words.within(claim) == said
