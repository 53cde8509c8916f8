"""The nouns: what a study file may declare, and what each mistake says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from harness import Arm, Budget, By, Claim, Float, Metric, Published, Study, classification
from harness.claims import above, higher
from harness.figures import intervals
from harness.study import BadInput, InvalidStudy
from harness.study.sources import SOURCES, WORKS, work_of


def make(**changes: Any) -> Study:
    declared: dict[str, Any] = {
        "question": "Which?",
        "trial": lambda t: None,
        "arms": {"a": {"rule": "x"}, "b": {"rule": "y"}},
        "vary": {"depth": (1, 4)},
        "nuisance": {"lr": Float(0.1, 1.0)},
        "fixed": {"width": 8},
        "select": ("valid_loss",),
        "metrics": {"valid_loss": Metric("nats", better="low"), "test_accuracy": Metric("fraction", better="high")},
        "budgets": {"smoke": Budget(2, 3), "default": Budget(4, 5, width=16, depth=(4,))},
        "sources": {"[1]": "Deck"},
    }  # fmt: skip
    return Study(**{**declared, **changes})


def test_cells_settings_and_columns() -> None:
    study = make(arms={"a": Arm({"rule": "x"}), "b": Arm({"rule": "y"}, held={"lr": 0.5})})
    assert study.cells("smoke") == [(a, {"depth": d}) for a in "ab" for d in (1, 4)]
    assert study.cells("default") == [("a", {"depth": 4}), ("b", {"depth": 4})]
    assert study.settings("default", "b", {"depth": 4}) == {
        "width": 16, "rule": "y", "lr": 0.5, "depth": 4,
    }  # fmt: skip
    assert list(study.space("a")) == ["lr"]
    assert study.space("b") == {}
    assert study.columns() == [
        "study", "phase", "arm", "depth", "lr", "seed", "trial", "step", "status",
        "valid_loss", "test_accuracy",
    ]  # fmt: skip


def test_include_takes_cells_out() -> None:
    study = make(include=lambda arm, cell: arm == "a" or cell["depth"] == 1)
    assert study.cells("smoke") == [("a", {"depth": 1}), ("a", {"depth": 4}), ("b", {"depth": 1})]


def test_a_budget_may_go_by_a_factor() -> None:
    more = By("depth", {1: 5, 4: 1})
    budget = Budget(
        By("depth", {1: 6, 4: 2}),
        0,
        finalists=2,
        final_seeds=more,
        width=By("depth", {1: 8, 4: 16}),
    )
    study = make(budgets={"smoke": budget})
    for cell, draws, width in (({"depth": 1}, 6, 8), ({"depth": 4}, 2, 16)):
        assert study.draws("smoke", "a", cell) == draws
        final = 2 * (5 if cell["depth"] == 1 else 1)
        assert study.count("smoke", "a", cell) == {"tune": draws, "final": final, "confirm": 0}
        assert study.settings("smoke", "a", cell)["width"] == width
    assert f"{budget.draws}" == "6 (1), 2 (4)"
    budget = Budget(3, By("depth", {1: 0, 4: 7}), most_seeds=20, finalists=2)
    study = make(budgets={"smoke": budget})
    assert budget.looks == (7, 14, 20)
    searched, confirmed = (
        {"tune": 3, "final": 0, "confirm": 0},
        {"tune": 3, "final": 6, "confirm": 7},
    )
    assert study.count("smoke", "a", {"depth": 1}) == searched
    assert study.count("smoke", "a", {"depth": 4}) == confirmed
    assert repr(budget).startswith("Budget(draws=3, seeds=0 (1), 7 (4), most_seeds=20")
    for seeds, why in (
        ({1: 5, 4: 7}, "one number, and 0"),
        ({1: -1, 4: 7}, "an integer of at least 0"),
    ):
        with pytest.raises(InvalidStudy, match=rf"Budget\.seeds is .*{why}"):
            Budget(3, By("depth", seeds))
    with pytest.raises(InvalidStudy, match="draws=0 and seeds=0"):
        Budget(0, By("depth", {1: 0, 4: 7}))
    with pytest.raises(InvalidStudy, match=r"Budget\.draws is -1"):
        Budget(By("depth", {1: -1}), 1)


MISTAKES = {
    "no question": ({"question": " "}, "question is empty"),
    "no arms": ({"arms": {}}, "arms is empty"),
    "twice in vary and fixed": ({"fixed": {"depth": 1}}, "'depth' is declared twice: in vary and in fixed"),
    "twice in arm and fixed": ({"arms": {"a": {"width": 1}}}, "'width' is declared twice: in fixed and in arm 'a'"),
    "arm holds what is not tuned": ({"arms": {"a": Arm(held={"width": 1})}}, "holds 'width'; allowed: lr"),
    "setting named as a column": ({"fixed": {"seed": 1}}, "'seed' in fixed cannot name a setting"),
    "setting named as a metric": ({"fixed": {"valid_loss": 1}}, "'valid_loss' in fixed"),
    "empty factor": ({"vary": {"depth": ()}, "budgets": {"smoke": Budget(1, 1)}}, "vary['depth'] is empty"),
    "unknown scale": ({"budgets": {"huge": Budget(1, 1)}}, "scale 'huge'; allowed: smoke, default, evening, paper"),
    "budget sets a stranger": ({"budgets": {"smoke": Budget(1, 1, layers=2)}}, "'layers', which is neither"),
    "budget widens a factor": ({"budgets": {"smoke": Budget(1, 1, depth=(9,))}}, "allowed: some of 1, 4"),
    "budget by a stranger": (
        {"budgets": {"smoke": Budget(By("width", {8: 1}), 1)}}, "'draws' by 'width'; allowed: draws, seeds, final_seeds and fixed settings, by depth",
    ),
    "budget by some levels": (
        {"budgets": {"smoke": Budget(1, 1, width=By("depth", {1: 8}))}}, "at 1; allowed: a value at each of 1, 4",
    ),
    "no metrics": ({"metrics": {}}, "metrics is empty"),
    "select unknown": ({"select": ("speed",)}, "metric 'speed'; allowed: valid_loss, test_accuracy"),
    "select on the test split": ({"select": ("test_accuracy",)}, "nothing is tuned on the test split"),
    "nothing selects": ({"select": ()}, "select is empty"),
    "claim about an unknown arm": (
        {"claims": (Claim("S.", "[1]", higher("valid_loss", arm="a", than="z", depth=1)),)}, "arm 'z'; allowed: a, b",
    ),
    "claim about an unknown metric": (
        {"claims": (Claim("S.", "[1]", above("speed", 1, arm="a")),)}, "metric 'speed'; allowed",
    ),
    "claim about an unknown level": (
        {"claims": (Claim("S.", "[1]", above("valid_loss", 1, arm="a", depth=7)),)}, "depth=7; allowed: 1, 4",
    ),
    "claim that would mix cells": (
        {"claims": (Claim("S.", "[1]", above("valid_loss", 1, arm="a")),)},
        "would mix the levels of depth; allowed: one level of each, as in depth=1",
    ),
    "claim with an unknown source": (
        {"claims": (Claim("S.", "[2]", above("valid_loss", 1, arm="a")),)}, "cites [2]; allowed: [1], [ECNU]",
    ),
    "claim with an unknown figure": (
        {"claims": (Claim("S.", "[1]", above("valid_loss", 1, arm="a", depth=1), figure="f"),)}, "figure 'f'; allowed: (none)",
    ),
    "two claims of one id": (
        {"claims": (Claim("S.", "[1]", above("valid_loss", 1, arm="a", depth=1)),) * 2}, "'s' is used twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_show_the_value_and_what_is_allowed(mistake: str) -> None:
    changes, words = MISTAKES[mistake]
    with pytest.raises(InvalidStudy) as caught:
        make(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, BadInput)


def test_budget_refuses_nonsense() -> None:
    for draws, seeds in ((-1, 2), (0, 0), (1.5, 2)):
        with pytest.raises(InvalidStudy):
            Budget(draws, seeds)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        Budget(1, 1).draws = 2


def test_claims_need_a_sentence_and_a_source() -> None:
    with pytest.raises(InvalidStudy, match="statement is empty"):
        Claim("", "[1]", None)
    with pytest.raises(InvalidStudy, match="has no source"):
        Claim("S.", " ", None)


def test_citation_spells_tags_out() -> None:
    assert make().cite("[1], “Heading”") == "Deck, “Heading”"


def test_sources_are_those_of_the_shelf_that_claims_cite_and_the_study_s_own() -> None:
    check = above("valid_loss", 1, arm="a", depth=1)
    claims = {"one": Claim("S.", "[Kingma], section 6; [He], section 2; [1]", check)}
    study = make(claims=claims, sources={"[1]": "Deck", "[He]": "[He15]"})
    assert set(study.sources) == {"[Kingma]", "[He]", "[1]"}
    assert make(claims=(), sources={"[Simon-Gabriel]": "S"}).cite("[Simon-Gabriel], 2") == "S, 2"
    assert study.cite("[Kingma]; [He]") == f"{SOURCES['[Kingma]']}; {SOURCES['[He15]']}"
    assert (
        make(claims=claims, sources={"[1]": "D", "[He]": "H", "[Kingma]": "K"}).cite("[Kingma]")
        == "K"
    )
    assert replace(study, name="again").sources == study.sources


def test_works_are_named_in_short_as_they_are_in_full() -> None:
    assert len(set(SOURCES.values())) == len(WORKS)
    for work in WORKS.values():
        assert work_of(work.words) is work
        named = re.match(r"([\w-]+)(?: et al\.|, | & | )[^\d]*(\d{4}),", work.words)
        if named:  # a paper: of its first author, of a year
            assert work.authors[0].startswith(f"{named[1]}, ")
            assert work.year == named[2]
        years = re.findall(r"\b20\d\d\b", work.words)
        assert [work.year] == (years or [""])
        assert all(re.fullmatch(r"[^,]+, [^,]+", author) for author in work.authors)
        assert work.where or work.arxiv
        assert re.fullmatch(r"(\d{4}\.\d{4,5})?", work.arxiv)
        assert not work.arxiv or int(work.arxiv[:2]) <= int(work.year[2:])
    assert work_of("Doe 2024, Notes").title == "Doe 2024, Notes"
    assert (work_of("Doe 2024, Notes").year, work_of("A deck").year) == ("2024", "")


def test_claims_by_id_are_claims_of_that_id() -> None:
    check = above("valid_loss", 1, arm="a", depth=1)
    one = Claim("A sentence.", "[1]", check)
    assert one.id == "a-sentence"
    study = make(claims={"first": one, "second": one})
    assert study.claims == (replace(one, id="first"), replace(one, id="second"))
    assert replace(study, name="again").claims == study.claims
    with pytest.raises(InvalidStudy, match="'not an id'"):
        make(claims={"not an id": one})
    with pytest.raises(InvalidStudy, match="a Claim"):
        make(claims={"first": check})


def test_the_usual_metrics_of_a_classifier() -> None:
    usual = classification()
    assert list(usual) == ["train_loss", "valid_loss", "valid_accuracy", "test_accuracy"]
    assert usual["valid_loss"] == Metric("nats", better="low", log=True)
    assert list(classification("test_accuracy", "test_loss")) == ["test_accuracy", "test_loss"]
    for wrong in ("loss", "test_error", "some_loss"):
        with pytest.raises(InvalidStudy, match=f"{wrong!r}; allowed: train, valid or test"):
            classification(wrong)


def test_what_an_arm_needs_is_the_data_set_that_a_setting_names() -> None:
    study = make(
        vary={"data": ("digits", "mnist")}, needs={"b": "data"},
        budgets={"smoke": Budget(1, 1), "paper": Budget(1, 1)},
    )  # fmt: skip
    cell = {"data": "mnist"}
    assert study.needed("smoke", "b", cell) == "mnist"
    assert study.needed("smoke", "a", cell) == study.needed("paper", "b", cell) == ""
    with pytest.raises(InvalidStudy, match=r"an arm in Study\.needs is 'z'; allowed: a, b"):
        make(needs={"z": "width"})
    with pytest.raises(
        InvalidStudy, match="what arm 'a' needs is 'lr'; allowed: width, depth, rule"
    ):
        make(needs={"a": "lr"})


def test_figures_are_validated() -> None:
    with pytest.raises(InvalidStudy):
        make(figures=(intervals("f", "c", metric="speed"),))


def test_seeds_until_decided_double_until_the_most() -> None:
    assert Budget(1, 5).looks == (5,)
    assert Budget(1, 5, most_seeds=5).looks == (5,)
    assert Budget(1, 5, most_seeds=30).looks == (5, 10, 20, 30)
    assert (
        repr(Budget(1, 5, most_seeds=30, width=8))
        == "Budget(draws=1, seeds=5, most_seeds=30, width=8)"
    )
    with pytest.raises(InvalidStudy, match="most_seeds is 4; allowed: an integer of at least 5"):
        Budget(1, 5, most_seeds=4)
    with pytest.raises(InvalidStudy, match="most_seeds is 4; allowed: none, where seeds=0"):
        Budget(1, 0, most_seeds=4)
    assert repr(Budget(8, 5, finalists=3)) == "Budget(draws=8, seeds=5, finalists=3)"
    for wrong in (1, -2, 2.5, True):
        with pytest.raises(InvalidStudy, match=f"Budget.finalists is {wrong}; allowed: 0"):
            Budget(8, 5, finalists=wrong)
    assert repr(Budget(8, 5, finalists=3, final_seeds=9)) == (
        "Budget(draws=8, seeds=5, finalists=3, final_seeds=9)"
    )
    for wrong in (0, -2, 2.5, True):
        with pytest.raises(InvalidStudy, match=f"Budget.final_seeds is {wrong}; allowed: an"):
            Budget(8, 5, finalists=3, final_seeds=wrong)


def test_a_published_number_says_how_far_it_can_be_trusted() -> None:
    assert Published("1.43 % test error", "read in the paper", 0.0143).value == 0.0143
    with pytest.raises(InvalidStudy, match="trust is 'sure'; allowed: read in the paper"):
        Published("1.43 %", "sure")  # type: ignore[arg-type]
