"""What reports and plans say of seeds: sentences by hand, and what they rest on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from harness import Budget, Claim, Family, Metric, Study
from harness.claims import Verdict, above, equivalent, every, higher, ratio_below
from harness.claims.power import Forecast
from harness.ledger.results import Results
from harness.report import outlook, words
from tests.synthetic import small

CHECKS: dict[str, Any] = {
    "level": above("acc", 0.5, arm="a"),
    "difference": higher("acc", arm="a", than="b"),
    "ratio": ratio_below("loss", 0.5, arm="a", than="b"),
    "band": equivalent("acc", arm="a", to="b", within=0.01),
    "all": every(above("loss", 0.5, arm="a"), higher("acc", arm="a", than="b")),
}
STUDY = Study(
    question="Which?",
    trial=lambda t: None,
    arms={"a": {}, "b": {}},
    metrics={"acc": Metric("fraction", better="high"), "loss": Metric("nats", better="low")},
    budgets={"smoke": Budget(0, 20)},
    sources={"[1]": "Deck"},
    claims={id_: Claim(f"It is so: {id_}.", "[1]", check) for id_, check in CHECKS.items()},
)
NONE, NAN = math.inf, math.nan


def found(claim: str, low: float, high: float, **more: Any) -> Forecast:
    given: dict[str, Any] = {"truth": 0.02, "margin": 0.0, "power": 0.3, "needed": 1234}
    return Forecast(claim, "primary", 0.01, "seeds", 20, low, high, **given | more)


@pytest.mark.parametrize(
    ("forecast", "sentence"),
    [
        (
            found("difference", -0.03, 0.04),
            "20 seeds decide effects under −3 or over +4 points in 80 % of runs; the effect seen, "
            "+2 points, takes about 1,200 seeds.",
        ),
        (
            found("level", 0.4, 0.6, truth=0.5, needed=None),
            "20 seeds decide effects under 40 or over 60 % in 80 % of runs; no number of seeds up to "
            "10,000 would do, as the effect seen, 50 %, lies too near the margin.",
        ),
        (
            found("difference", -NONE, 0.04, needed=None),
            "20 seeds decide effects over +4 points in 80 % of runs; no number of seeds up to 10,000 "
            "would do, as some have no finite score.",
        ),
        (
            found("ratio", 0.0, 0.8, truth=0.4, needed=20, power=0.81),
            "20 seeds decide effects over 0.8× in 80 % of runs; the effect seen, 0.4×, is decided by "
            "so many in 81 %.",
        ),
        (
            found("band", NAN, 0.03),
            "20 seeds show no effect to lie inside the band and those over 3 points to lie outside in "
            "80 % of runs; the effect seen, +2 points, takes about 1,200 seeds.",
        ),
        (
            found("all", -NONE, NONE, weakest=(1,), needed=30),
            "20 seeds decide no effect in 80 % of runs; the effect seen, +2 points, takes about 30 "
            "seeds.",
        ),
    ],
)  # fmt: skip
def test_sentences_by_hand(forecast: Forecast, sentence: str) -> None:
    assert outlook.sentence(forecast, STUDY) == sentence


def test_a_line_of_the_table_by_hand() -> None:
    line = outlook.row(found("difference", -0.03, 0.04), STUDY, True)
    assert line == {
        "family": "primary", "level": "0.01", "planned": "20 seeds", "margin": "0 points",
        "decides": "≤ −3, ≥ +4", "effect": "+2", "power": "30 %", "needed": "1,234 seeds",
    }  # fmt: skip
    band = outlook.row(found("band", 0.002, 0.03, truth=0.0, needed=None), STUDY, False)
    assert (band["decides"], band["effect"]) == ("inside ± 0.2, outside ± 3", "0 (if alike)")
    assert band["needed"] == "over 10,000 seeds"
    unknown = Forecast("level", "primary", 0.01, "seeds", 2, why="2 seeds; at least 5 are needed")
    line = outlook.row(unknown, STUDY, True)
    assert line["decides"] == "2 seeds; at least 5 are needed"
    assert (line["margin"], line["effect"], line["power"], line["needed"]) == ("", "", "", "")


def test_only_what_was_looked_at_has_an_outlook() -> None:
    results, verdicts = small()
    seen = [v for v in verdicts if v.n]
    told = outlook.after(results, verdicts)
    assert {v.verdict for v in seen if v.id in told} >= {"supported", "inconclusive"}
    assert all(told[v.id].planned == v.n for v in seen if v.id in told)
    waits = [replace(v, level=0.0) for v in seen]
    gone = [replace(v, id="gone") for v in seen]
    assert outlook.after(results, waits) == outlook.after(results, gone) == {}


def decided(
    claim: str, verdict: str, low: float, high: float, margin: float, **more: Any
) -> Verdict:
    check = next(one.check for one in STUDY.claims if one.id == claim)
    given: dict[str, Any] = {
        "n": 20, "direction": check.direction, "unit": check.unit(STUDY), "effect": (low + high) / 2,
        "level": 0.01,
    }  # fmt: skip
    return Verdict(
        claim, "", "", verdict, low=low, high=high, p=0.001, margin=margin, **given | more
    )  # type: ignore[arg-type]


SCALED = replace(
    STUDY,
    fixed={"width": 8, "data": "digits", "epochs": 2},
    budgets={
        "smoke": Budget(0, 20),
        "paper": Budget(0, 5, width=800, data="mnist", epochs=2),
    },
    trial=lambda t: t["width"],
)
PAPER = "The paper scale (data mnist, width 800) may differ."


@pytest.mark.parametrize(
    ("verdict", "forecast", "told"),
    [
        (
            decided("difference", "supported", 0.011, 0.034, 0.0),
            found("difference", -0.03, 0.04, needed=12, power=0.97),
            "A margin over +1.1 would leave it open, over +3.4 points refute it. Its 20 seeds "
            "decide such an effect in 97 % of runs.",
        ),
        (
            decided("difference", "refuted", -0.034, -0.011, 0.0),
            found("difference", -0.03, 0.04, needed=50, power=0.41),
            "A margin under −1.1 would leave it open, under −3.4 points support it. Its 20 seeds "
            "decide such an effect in 41 % of runs.",
        ),
        (
            decided("ratio", "supported", 0.0, 0.25, 0.5),  # no margin of a ratio lies under 0
            found("ratio", 0.0, 0.8, truth=math.inf),
            "A margin under 0.25× would leave it open.",
        ),
        (
            decided("band", "supported", -0.004, 0.002, 0.01), None,
            "A margin narrower than ± 0.40 points would leave it open.",
        ),
        (
            decided("band", "refuted", 0.02, 0.03, 0.01), None,
            "A margin wider than ± 2.00 would leave it open, wider than ± 3.00 points support it.",
        ),
        (
            decided("all", "refuted", 0.2, 0.3, 0.5, weakest=(0,)), None,
            "A margin under 0.30 nats would leave it open.",  # another check may refute it then
        ),
        (decided("level", "supported", 0.9, 0.9, 0.5), None, "A margin over 90 % would refute it."),
        (decided("level", "supported", 0.4, 0.9, 0.5), None, ""),  # by its p, not by its interval
        (decided("level", "inconclusive", 0.4, 0.9, 0.5), None, "More seeds, or a larger effect."),
        (
            decided("level", "inconclusive", math.nan, math.nan, 0.5, n=0), None,
            "Trials that have what it lacks.",
        ),
    ],
)  # fmt: skip
def test_what_would_change_a_verdict_by_hand(
    verdict: Verdict, forecast: Forecast | None, told: str
) -> None:
    frame = pd.DataFrame()
    results = Results(STUDY, "smoke", frame, frame, {})
    assert outlook.change(verdict, forecast, results) == told
    scaled = replace(results, study=SCALED)
    assert outlook.change(verdict, forecast, scaled) == f"{told} {PAPER}".strip()
    assert PAPER not in outlook.change(verdict, forecast, replace(scaled, scale="paper"))


def test_every_card_says_what_would_change_its_verdict() -> None:
    results, verdicts = small()
    told = outlook.after(results, verdicts)
    for verdict in verdicts:
        said = outlook.change(verdict, told.get(verdict.id), results)
        assert said.endswith(".") and 10 < len(said) < 300, verdict.id


def test_families_in_words() -> None:
    assert words.correction(STUDY).startswith("All claims of the study are corrected together")
    named = [replace(claim, family="second" if i else "first") for i, claim in
             enumerate(STUDY.claims)]  # fmt: skip
    families = {"first": Family(1.0), "second": Family(0.0, "sequence")}
    told = words.correction(replace(STUDY, claims=tuple(named), families=families))
    assert "first (100 % of the allowed error, in Holm’s order; claims 1) and second (0 %" in told
    assert "one after the other as declared; claims 2, 3, 4, 5)" in told
