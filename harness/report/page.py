"""The report as one HTML page: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.claims import Verdict, explore
from harness.claims.power import Forecast
from harness.ledger import provenance
from harness.ledger.results import Results
from harness.report import bars, descent, islands, numbers, outlook, tables, words
from harness.report.ends import End, ends, of_claim, told
from harness.report.panels import Panel
from harness.report.quoting import quote
from harness.study import Study

TEMPLATES = Path(__file__).parent / "templates"
STATIC = 60  # trials listed for readers without scripts
ERRORS_SHOWN = 10
NONE: Mapping[str, Any] = {}


@functools.cache
def environment() -> Any:
    """jinja2 over this package's templates: everything is escaped unless marked safe."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def asset(*names: str) -> str:
    """The text of style sheets or scripts, one after the other."""
    return "\n".join((TEMPLATES / name).read_text("utf-8") for name in names)


def html(
    results: Results, verdicts: list[Verdict], drawn: Mapping[str, str],
    could: Mapping[str, Forecast], shown: Mapping[str, Panel] = NONE, *, paper: bool = False,
) -> str:  # fmt: skip
    """The report page.

    Args:
        results, verdicts: What is reported.
        drawn: Inline SVG of each figure of the study, by name.
        could: What seeds can decide of claims, by their ids: see `outlook.after`.
        shown: What the cards show of figures, by the claims' ids: see `panels.panels`.
        paper: Leave out what only a screen can show (scripts and the trials they list).
    """
    study, info = results.study, results.info
    then, firsts = words.as_first(results)
    of_all = words.first_of_all(firsts)  # said once, on top of the page
    at_ends = ends(results)
    cards = _cards(results, verdicts, could, shown, then, {} if of_all else firsts, at_ends.found)
    playing = {} if paper else descent.players(results)
    title = words.title(study)
    changes = words.changes(results)
    return str(
        environment()
        .get_template("report.html")
        .render(
            title=title,
            running=_css_string(f"{title} · {results.scale} scale"),
            css=asset("style.css"),
            script="" if paper else asset("links.js", "quote.js", "trials.js", "explorer.js", "descent.js"),
            paper=paper,
            study=study,
            scale=results.scale,
            answer=words.answer(results, verdicts),
            tally=words.tally(v.word for v in verdicts),
            counts=results.counts,
            partial=bool(info.get("partial")),
            info=info,
            when=numbers.moment(str(info.get("finished_at") or info.get("started_at") or "")),
            registered=numbers.moment(str(info.get("registered_at") or "")),
            changes=changes,
            changed=words.changed(changes),
            first_of_all=of_all,
            duration=numbers.duration(float(info.get("seconds") or 0.0)),
            cost=words.cost(results),
            device=words.device(info),
            cores=str((info.get("provenance") or {}).get("cores") or ""),
            commit=words.commit(info),
            run=islands.run_address(results, str(info.get("run_id") or "")),
            cards=cards,
            tests=_tests(cards),
            explored=_explored(results),
            figures=_figures(results, cards, drawn, playing),
            arms=tables.arms(results),
            tuned=tables.tuned(results, at_ends),
            at_ends=at_ends,
            fixed=tables.fixed(results),
            tested=words.tested(results),
            budget=study.budget(results.scale),
            correction=words.correction(study),
            errors=tables.errors(results),
            errors_shown=ERRORS_SHOWN,
            trials=None if paper else _static_trials(results),
            island="" if paper or not len(results.trials) else islands.embed(islands.trials(results)),
            players=islands.embed(playing) if playing else "",
            provenance=tables.provenance(results),
            duplicates=(info.get("provenance") or {}).get("duplicates"),
            elsewhere=provenance.elsewhere(info),
        )
    )  # fmt: skip


def _cards(
    results: Results, verdicts: list[Verdict], could: Mapping[str, Forecast],
    shown: Mapping[str, Panel], then: Study, firsts: Mapping[str, Verdict | str],
    at_ends: list[End],
) -> list[dict[str, Any]]:  # fmt: skip
    study = results.study
    place = {f.name: i for i, f in enumerate(study.figures, 1)}
    changes = words.changes(results)
    cards = []
    numbered = {verdict.id: number for number, verdict in enumerate(verdicts, 1)}
    for number, verdict in enumerate(verdicts, 1):
        scale = words.scale_of(verdict, study)
        panel = shown.get(verdict.id)
        cards.append(
            {
                "number": number,
                "v": verdict,
                "effect": scale.digits(verdict.effect, words.places(verdict, scale)),
                "effect_words": words.effect(verdict, scale),
                "interval": words.interval(verdict, scale),
                "margin": words.asked(verdict, scale, short=True),
                "unit": scale.unit,
                "p": numbers.probability(verdict.p),
                "bar": bars.bar(verdict, scale),
                "spark": bars.spark(verdict, scale),
                "sentence": words.sentence(verdict, study),
                "reason": words.remark(verdict, study),
                "improvement": words.improvement(verdict, study),
                "chance": bars.chance(verdict),
                "middle": words.middle(verdict, study),
                "replicates": words.replicates(verdict) if verdict.n else "none",
                "stopping": words.stopping(verdict),
                "at_ends": told(of_claim(at_ends, verdict, study), study),
                "change": outlook.change(verdict, could.get(verdict.id), results),
                "published": words.published(verdict),
                "theirs": _theirs(verdict, scale),
                "first": words.first(firsts.get(verdict.id), then),
                "changes": [c for c in changes if c["id"] == verdict.id],
                "figure": place.get(verdict.figure or ""),
                "quote": quote(results, verdict),
                "panel": panel,
                "beside": numbered.get(panel.beside) if panel else None,
            }
        )
    return sorted(cards, key=lambda card: bool(card["v"].gate))  # what is not judged last


def _explored(results: Results) -> list[dict[str, Any]]:
    """Estimates of what nobody has registered, as a row each."""
    study = results.study
    return [
        {"v": one, "words": words.in_words(one, study), "replicates": words.replicates(one)}
        for one in explore(study, results.timed)
    ]


def _tests(cards: list[dict[str, Any]]) -> list[tuple[str, list[int]]]:
    """Each way in which claims were estimated and tested, with the claims' numbers."""
    found: dict[str, list[int]] = {}
    for card in cards:
        if card["v"].test:
            found.setdefault(card["v"].test, []).append(card["number"])
    return list(found.items())


def _theirs(verdict: Verdict, scale: numbers.Scale) -> str:
    known = words.published(verdict)
    return scale.words(known.value) if known and known.value is not None else ""


def _figures(
    results: Results, cards: list[dict[str, Any]], drawn: Mapping[str, str], playing: Any
) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "name": figure.name,
            "caption": figure.told(results.study),
            "svg": drawn[figure.name].replace("<svg", f'<svg id="drawn-{figure.name}"', 1),
            "plays": figure.name in playing,
            "claims": [
                {"number": c["number"], "statement": c["v"].statement, "verdict": c["v"].word}
                for c in cards
                if c["v"].figure == figure.name
            ],
        }
        for number, figure in enumerate(results.study.figures, 1)
    ]


def _static_trials(results: Results) -> dict[str, Any]:
    """What a reader without scripts sees of the trials."""
    study = results.study
    names = islands.listed(study)
    some = islands.ordered(results).iloc[:STATIC]
    rows = [
        [study.label(v) if name == "arm" else numbers.cell(v) for name, v in zip(names, row, strict=True)]
        for row in some[names].itertuples(index=False)
    ]  # fmt: skip
    words_ = ("status", "phase", "arm", *study.vary)
    return {
        "heads": [numbers.plain(name) for name in names],
        "numeric": [name not in words_ for name in names],
        "rows": rows,
        "total": len(results.trials),
    }


def _css_string(text: str) -> str:
    """Text as a CSS string that can neither end the string nor the style element."""
    safe = "".join(c if c.isalnum() or c in " .,·-" else f"\\{ord(c):x} " for c in text)
    return f'"{safe}"'
