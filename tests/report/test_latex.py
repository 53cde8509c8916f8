"""The report for a paper: complete, well-formed, the same bytes each time, and compiled by a real TeX."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pypdf
import pytest

from harness import report
from harness.claims import judge
from harness.report import latex, methods
from harness.report.tex import escape
from harness.study import Arm, Budget, By, Claim
from tests import synthetic

ABOUT = """What was done, in `code`.

Departures: none of the papers' data.

- first: a point
- second: another"""
BAD = "\\input{/etc/passwd} %$&#_{}^~ [x] 中 σ² “q” --"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return latex.write(*synthetic.small(), tmp_path_factory.mktemp("latex"), ABOUT)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What others wrote is full of what LaTeX takes for its own."""
    check = synthetic.below("loss", 1.0, arm="gd", task="beale")
    one = synthetic.study(
        title=BAD, question=BAD, arms={"gd": Arm({"rule": BAD}, label=BAD.replace("中", "")), "adam": Arm()},
        fixed={"note": BAD}, sources={"[x]": BAD, "[中]": "Deck, 2016"},
        claims=(Claim(BAD, f"[x] {BAD}; [中]", check, id="bad"),),
        figures=(dataclasses.replace(synthetic.study().figures[5], caption=BAD),),
    )  # fmt: skip
    results = synthetic.results(one, draws=1, seeds=5)
    trials = results.trials.assign(status="failed", error=f"`{BAD}`")
    late = [{"id": "bad", "what": BAD, "at": BAD, "trials": 3, "statement": BAD}]
    info = synthetic.info(10, commit=BAD, provenance={"cpu": BAD, "duplicates": BAD}, dirty=True,
                          partial=True, claims_changed=late, claims_hash=BAD)  # fmt: skip
    results = dataclasses.replace(results, trials=trials, info=info)
    verdicts = [dataclasses.replace(v, reason=BAD) for v in judge(one, results.frame)]
    return latex.write(results, verdicts, tmp_path_factory.mktemp("hostile"), f"`{BAD}`\n\n- {BAD}")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Nothing claimed, drawn or measured."""
    one = synthetic.study(claims=(), figures=(), sources={})
    return latex.write(synthetic.empty(one), [], tmp_path_factory.mktemp("bare"))


def test_everything_is_there_once_and_the_same_again(made: dict[str, Path], tmp_path: Path) -> None:
    drawn = {f"figures/{figure.name}.pdf" for figure in synthetic.study().figures}
    assert set(made) == {*latex.FILES, *drawn}
    old = tmp_path / "figures" / "gone.pdf"
    old.parent.mkdir()
    old.touch()
    again = latex.write(*synthetic.small(), tmp_path, ABOUT)
    assert not old.exists()
    for name, path in made.items():
        assert path.read_bytes() == again[name].read_bytes(), name
    assert "CreationDate" not in str(pypdf.PdfReader(made["figures/steps.pdf"]).metadata)


def test_the_text_is_ascii_and_says_what_the_verdicts_say(made: dict[str, Path]) -> None:
    results, verdicts = synthetic.small()
    text = {name: made[name].read_bytes().decode("ascii") for name in latex.FILES}
    for verdict in verdicts:
        for words in (verdict.statement, *report.in_words(verdict, results.study)):
            assert escape(words) in text["verdicts.tex"]
        assert f"& {verdict.n} & {verdict.verdict} \\\\" in text["verdicts.tex"]
        assert escape(report.quote(results, verdict)) in text["quotes.tex"]
    assert escape(report.answer(results, verdicts)) in text["main.tex"]
    assert text["main.tex"].count("\\includegraphics") == len(results.study.figures)
    assert r"in \texttt{code}." in text["methods.tex"]
    assert "\nfirst: a point\n\nsecond: another\n" in text["methods.tex"]
    assert r"\item Departures: none of the papers' data." in text["departures.tex"]


def test_every_citation_is_in_both_lists_of_sources(made: dict[str, Path]) -> None:
    cited = set(re.findall(r"\\cite\{(\w+)\}", made["verdicts.tex"].read_text()))
    assert cited == {"source1", "source2"}
    assert cited == set(re.findall(r"@\w+\{(\w+),", made["sources.bib"].read_text()))
    assert cited == set(re.findall(r"\\bibitem\{(\w+)\}", made["main.bbl"].read_text()))


def test_sources_of_the_shelf_are_given_in_full() -> None:
    check = synthetic.below("loss", 1.0, arm="gd", task="beale")
    one = synthetic.study(
        claims=(Claim("S.", "[Kingma]; [Müller]; [He]; [He15]; [Mu]; [mine], 1", check),),
        sources={"[He]": "[He15]", "[Mu]": "Another", "[mine]": "Doe 2024, Notes"},
    )  # fmt: skip
    keys = latex.cite_keys(one)
    assert keys == {
        "[Kingma]": "Kingma", "[Müller]": "Muller", "[He15]": "He15", "[He]": "He15", "[Mu]": "Mu",
        "[mine]": "mine",
    }  # fmt: skip
    said = latex._said(synthetic.empty(one), judge(one, synthetic.empty(one).frame), "")
    bib = latex._environment().get_template("sources.bib").render(said)
    assert bib.count("@") == 5
    assert "@inproceedings{Kingma,\n  author = {Kingma, Diederik P. and Ba, Jimmy},\n" in bib
    assert "title = {{Adam: A Method for Stochastic Optimization}},\n" in bib
    assert r"author = {M\"{u}ller, Rafael and Kornblith, Simon and Hinton, Geoffrey}" in bib
    assert "@misc{mine,\n  title = {{Doe 2024, Notes}},\n  year = {2024},\n" in bib


def test_keys_of_tags_that_read_alike_differ() -> None:
    check = synthetic.below("loss", 1.0, arm="gd", task="beale")
    tags = {"[Mu]": "A", "[Mü]": "B", "[中]": "C", "[文]": "D"}
    one = synthetic.study(claims=(Claim("S.", "; ".join(tags), check),), sources=tags)
    keys = latex.cite_keys(one)
    assert len(set(keys.values())) == 4
    assert all(key.isascii() and key.isalnum() for key in keys.values())


def test_methods_say_what_the_budget_says() -> None:
    budgets = {
        "default": Budget(By("task", dict.fromkeys(synthetic.TASKS, 3)), 6, most_seeds=24, finalists=2,
                          task=synthetic.TASKS[:2]),
        "paper": Budget(64, 40, width=7),
    }  # fmt: skip
    results = synthetic.empty(synthetic.study(budgets=budgets, fixed={"width": 5}))
    said = " ".join(methods.methods(results, judge(results.study, results.frame)))
    for words in (
        "11 claims were written down", "before the first trial of this run, on 20 Nov 2026, 09:59 UTC",
        "(digest of the registration: 9f8e7d6c5b4a)", "lr 0.0001 to ", "lr held at",
        "trained on 3 further seeds", "on 6 to 24 fresh seeds", "after 6, 12, 24 seeds a cell",
        "Holm’s procedure, at 5 % in all", "commit 4c1781d0a5c1",
    ):  # fmt: skip
        assert words in said
    listed = methods.departures(results, [], "")
    assert any(
        "finalists 2 (0), seeds 6 (40), most seeds 24 (40), width 5 (7)" in one for one in listed
    )
    assert any(one.startswith("Levels that only the paper scale has: task ") for one in listed)
    assert any(one.startswith("Not trained, ") for one in listed)


def test_departures_count_what_was_lost() -> None:
    results = synthetic.results(draws=6, seeds=2)
    listed = methods.departures(results, [], "")
    for status, rule in (("diverged", "worst score"), ("failed", "left out")):
        (one,) = [text for text in listed if f" {status} (" in text and rule in text]
        count = results.counts[status]
        assert count and one.startswith(f"{count} trial")
        assert sum(map(int, re.findall(r" (\d+)[,)]", one))) == count
    assert "1 trial failed with `RuntimeError: <b>saddle</b> ran out of memory & died`." in listed
    assert not [text for text in listed if "unfinished" in text or "Not trained" in text]


def compile_(folder: Path) -> str:
    """The words of the page that pdflatex makes in two runs."""
    found = shutil.which("pdflatex")
    if not found:
        pytest.skip("needs a TeX: apt-get install texlive-latex-recommended")
    for _ in range(2):
        done: Any = subprocess.run(
            [found, "-interaction=nonstopmode", "-halt-on-error", "main.tex"], cwd=folder,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:].decode(errors="replace")
    log = (folder / "main.log").read_text(errors="replace")
    assert not re.search(r"(Citation|Reference).*undefined", log)
    assert not re.findall(r"Overfull \\hbox \((?:[1-9]\d|\d{3})", log)  # ten points or more
    return " ".join(page.extract_text() for page in pypdf.PdfReader(folder / "main.pdf").pages)


def test_it_compiles_and_nothing_runs_off_the_page(made: dict[str, Path]) -> None:
    said = re.sub(r"\W|\d", "", compile_(made["main.tex"].parent))
    for verdict in synthetic.small()[1]:
        assert re.sub(r"\W|\d", "", verdict.statement.replace("fi", "ﬁ")) in said.replace("fi", "ﬁ")


def test_what_others_wrote_compiles_and_does_nothing(hostile: dict[str, Path]) -> None:
    for name in latex.FILES:
        assert "\\input{/" not in hostile[name].read_text("ascii")
    assert "root:" not in compile_(hostile["main.tex"].parent)


def test_a_study_without_claims_or_figures_compiles(bare: dict[str, Path]) -> None:
    assert "Thestudymakesnoclaims" in re.sub(r"\s", "", compile_(bare["main.tex"].parent))
