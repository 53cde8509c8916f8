"""The lectures, heading by heading, on the board and in the book."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import report
from harness.claims import amended
from harness.report import board, book, front, lectures, words
from harness.report.lectures import Heading, Lecture
from harness.study import BadInput, catalog
from tests import synthetic
from tests.report.test_report import Outline

ROOT = Path(__file__).parents[2]
SNU, ECNU = Lecture("SNU", ()), Lecture("ECNU", ())


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{snu}, “Batch normalization (cont’d)”", ["batch normalization"]),
        ("{snu}, “A (1)”, “B”; {ecnu}, “C”", ["a", "b"]),
        ("{snu}, “A” (“said so”), “B (SGD)”", ["a", "b (sgd)"]),
        ("{snu}, “Why “deep”, i.e., many layers?”", ['why "deep", i.e., many layers?']),
        ("Someone 2016, section 2; counter-evidence to {snu}, “A” (read so)", ["a"]),
        ("{snu} (“A”)", []),
        ("{ecnu}, “A”", []),
    ],
)
def test_headings_that_a_source_names(source: str, names: list[str]) -> None:
    text = source.format(snu=SNU.words, ecnu=ECNU.words)
    assert lectures.named(text, SNU.words) == names


WORDS = st.text(st.characters(categories=("L", "N"), include_characters=" -,:"), min_size=1).filter(
    lambda text: text.strip() == text
)


@given(st.lists(WORDS, min_size=1, max_size=6, unique_by=lectures.plain), st.data())
def test_every_claim_stands_where_it_cites(names: list[str], data: st.DataObject) -> None:
    """Under each heading that it names, or elsewhere in the deck; of another deck, nowhere."""
    lecture = Lecture("SNU", tuple(map(Heading, names)))
    chosen = data.draw(st.lists(st.sampled_from([*names, "of no slide (2)"]), unique=True))
    cited = "".join(f", “{name}”" for name in chosen)
    claims = [{"source": lecture.words + cited}, {"source": ECNU.words + cited}]
    (chapter,) = lectures.chapters([lecture], claims)
    for heading in chapter["headings"]:
        there = claims[:1] if heading["name"] in chosen else []
        assert heading["claims"] == there
    assert chapter["other"] == ([] if {*chosen} & {*names} else claims[:1])
    assert chapter["judged"] == len({*chosen} & {*names})


def test_the_lectures_of_this_project() -> None:
    """Every heading is judged or says why it is not, none is listed twice, and what claims cite of a
    deck is a heading of it."""
    found = lectures.read(ROOT / "studies" / "lectures.toml")
    runs = [*(ROOT / "reports" / "published").glob("*.json")]
    claims = [claim for run in runs for claim in json.loads(run.read_text())["claims"]]
    assert {one.tag for one in found} == {"ECNU", "Oxford", "UIUC", "Overview", "SNU"}
    for lecture, chapter in zip(found, lectures.chapters(found, claims), strict=True):
        names = [lectures.plain(heading.name) for heading in lecture.headings]
        assert len({*names}) == len(names)
        assert [
            one["name"] for one in chapter["headings"] if not one["claims"] and not one["why"]
        ] == []
        assert all(one.says for one in lecture.headings if one.why)
        assert [one["name"] for one in chapter["headings"] if one["claims"] and one["why"]] == []
        cited = {
            name for claim in claims for name in lectures.named(claim["source"], lecture.words)
        }
        # a word of a slide is quoted, and one heading is cited without its abbreviation
        assert cited - {*names} <= {"discontinuous", "stochastic gradient descent"}


@pytest.mark.parametrize(
    "text", ["[[lecture]]\ntag = 'MIT'\nheadings = []", "lecture = 1", "x", "[[lecture]]\ntag = 'SNU'\nheadings = [{ title = 'x' }]"]
)  # fmt: skip
def test_a_wrong_file_is_told_in_a_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "lectures.toml").write_text(text)
    with pytest.raises(BadInput, match=r"lectures\.toml: .*allowed: \[\[lecture\]\]"):
        lectures.read(tmp_path / "lectures.toml")
    assert lectures.read(tmp_path / "none.toml") == []


def test_every_study_has_a_topic_and_every_topic_is_of_studies(tmp_path: Path) -> None:
    path = ROOT / "studies" / "lectures.toml"
    assert lectures.topics(path).keys() == {*catalog.names()}
    assert lectures.topics(path)["batch_norm"] == ["optimization", "depth and gradients"]
    assert lectures.topics(tmp_path / "none.toml") == {}
    wrong = tmp_path / "lectures.toml"
    for text in ("topics = 1", "[topics]\nimages = 'gan'", "x"):
        wrong.write_text(text)
        with pytest.raises(BadInput, match=r"lectures\.toml: .*allowed: \[topics\]"):
            lectures.topics(wrong)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """What is published of this project, and one report that was made here."""
    (tmp_path / "studies").mkdir()
    shutil.copy(ROOT / "studies" / "lectures.toml", tmp_path / "studies")
    home = tmp_path / "reports"
    shutil.copytree(ROOT / "reports" / "published", home / "published")
    results, verdicts = synthetic.small()
    for scale in ("smoke", "default"):
        folder = home / "optimizers" / scale
        folder.mkdir(parents=True)
        (folder / "report.html").write_text("x")
        found = report.verdicts_json(results, verdicts) | {"scale": scale}
        (folder / "verdicts.json").write_text(json.dumps(found))
    return home


def test_one_report_speaks_for_each_study(reports: Path) -> None:
    """What was made here before what was published, default before smoke; each of its claims has an
    anchor of its own, and nothing on the page leads nowhere."""
    made = board.gathered(reports)
    published = [*(reports / "published").glob("*.json")]
    assert made["speaking"].keys() == {json.loads(path.read_text())["study"] for path in published}
    assert made["speaking"]["optimizers"]["where"] == "optimizers/default"
    assert made["speaking"]["losses"]["published"]
    page = report.write_index(reports).read_text()
    outline = Outline(page)
    assert outline.open == []
    once = sum(len(entry["claims"]) for entry in made["speaking"].values())
    assert f"{len(made['entries'])} reports, {once} claims." in page
    ids = outline.values["id"]
    assert len({*ids}) == len(ids)
    assert {"losses.bounded", "study-losses", "lecture-SNU"} <= {*ids}
    inside = {link[1:] for link in outline.values["href"] if link.startswith("#")}
    assert inside <= {*ids}
    bounded = next(c for c in made["speaking"]["losses"]["claims"] if c["id"] == "bounded")
    assert bounded["quote"]
    assert bounded["quote"] in outline.text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)


def test_the_book_says_on_which_page_each_part_begins(reports: Path) -> None:
    page, pdf = book.write(reports)
    assert page == reports / "index.html"
    sheets = [sheet.extract_text() for sheet in pypdf.PdfReader(pdf).pages]
    contents = re.findall(r"(?m)^(.*?)\s*\.{3,}\s*(\d+)$", sheets[0])
    made: dict[str, Any] = board.gathered(reports)
    titles = [one["words"] for one in made["chapters"]]
    titles += [one["title"] for one in made["speaking"].values()]
    assert len(contents) == len(titles)
    for title, (_, number) in zip(titles, contents, strict=True):
        there = re.sub(r"\s+", " ", sheets[int(number) - 1])
        assert title in there, (title, number)
    assert pdf.read_bytes() == book.write(reports)[1].read_bytes()


def test_a_book_of_nothing_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no report; allowed: after a run"):
        book.write(tmp_path)


def test_a_run_of_another_scale_is_published_beside_the_default(tmp_path: Path) -> None:
    run = json.loads((ROOT / "reports" / "published" / "activations.json").read_text())
    kept = [run, run | {"scale": "paper"}]
    name = f"{run['study']}-paper"
    assert f"[{name}](reports/README.md#{name})" in front.summary(kept)
    text = front.markdown(kept, tmp_path)
    assert text.startswith("# Published verdicts\n\n1 study, ")
    assert f" {len(run['claims'])} claims, " in text  # each once, whatever scales it was judged at
    half = run | {"scale": "paper", "partial": True, "finished_at": None}
    assert "The run is partial: " in front.markdown([run, half], tmp_path)
    first, other = (text.index(f"\n## {one}\n") for one in (run["study"], name))
    assert first < other  # as in whatever order they are kept
    assert text == front.markdown(kept[::-1], tmp_path)


def test_what_a_scale_does_not_judge_is_counted_apart(tmp_path: Path) -> None:
    run = json.loads((ROOT / "reports" / "published" / "activations.json").read_text())
    first, second, third = run["claims"][:3]
    closed = {"verdict": "inconclusive", "gate": "it is not run at this scale"}
    open_ = {"verdict": "inconclusive", "gate": ""}
    run["claims"] = [first | closed, second | open_, third | {"verdict": "refuted", "gate": ""}]
    assert "| 0 | 1 | 1 | 1 |" in front.summary([run])
    assert "–&nbsp;not&nbsp;judged" in front.markdown([run], tmp_path)
    part = front.markdown([run | {"scale": "paper"}], tmp_path)  # of which it is no part
    assert "| 0 | 1 | 1 | 0 |" in part


def test_what_a_changed_budget_hides_is_said_once_a_study(tmp_path: Path) -> None:
    run = json.loads((ROOT / "reports" / "published" / "activations.json").read_text())
    hidden = words.first(amended.BUDGET, catalog.load(catalog.find("activations")))
    for claim in run["claims"]:
        claim["amended"] = {"words": hidden}
    once = words.first_of_all({"any": amended.BUDGET})
    text = front.markdown([run], tmp_path)
    assert (text.count(once), text.count(hidden)) == (1, 0)
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "activations.json").write_text(json.dumps(run))
    page = html.unescape(board.rendered(board.gathered(tmp_path)))
    assert (page.count(once), page.count(hidden)) == (1, 0)
    for claim in run["claims"][1:]:
        claim["amended"] = None
    run["claims"][0]["amended"] = {"words": "As first registered it would be refuted."}
    text = front.markdown([run], tmp_path)  # each claim's own is said with it
    assert (text.count("As first registered it would"), text.count(once)) == (1, 0)
