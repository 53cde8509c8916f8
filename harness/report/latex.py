"""A study's outcome for a paper: LaTeX that plain pdflatex compiles, its figures and its sources."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import figures
from harness.claims import Verdict
from harness.ledger.results import Results
from harness.report import methods, words
from harness.report.files import put
from harness.report.page import TEMPLATES
from harness.report.quoting import digest, quote
from harness.report.tex import Tex, escape
from harness.study import Study
from harness.study.sources import Work, work_of

FILES = (
    "main.tex", "verdicts.tex", "methods.tex", "departures.tex", "quotes.tex", "sources.bib", "main.bbl",
)  # fmt: skip
HOME = {
    "article": "journal",
    "inproceedings": "booktitle",
    "book": "publisher",
    "misc": "howpublished",
}


@functools.cache
def _environment() -> Any:
    """jinja2 for LaTeX, whose braces are not its own: all values are escaped but what is `Tex`."""
    import jinja2

    return jinja2.Environment(  # noqa: S701 - `finalize` escapes, and for LaTeX
        loader=jinja2.FileSystemLoader(TEMPLATES),
        block_start_string="<%", block_end_string="%>",
        variable_start_string="<<", variable_end_string=">>",
        comment_start_string="<#", comment_end_string="#>",
        finalize=lambda value: value if isinstance(value, Tex) else escape(str(value)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip


def write(
    results: Results, verdicts: list[Verdict], folder: Path, about: str = ""
) -> dict[str, Path]:
    """Write `FILES` and figures/*.pdf; ``pdflatex main`` twice makes main.pdf of them.

    The bibliography is there as main.bbl too, so that nobody needs BibTeX. All files are written
    anew each time.

    Args:
        results, verdicts: What is reported.
        folder: Where to.
        about: What the study's file says of itself (`catalog.about`).

    Returns:
        The path of each file, by its name under `folder`.
    """
    study, timed = results.study, results.timed
    said = _said(results, verdicts, about)
    made = {name: _environment().get_template(name).render(said).encode() for name in FILES}
    for figure in study.figures:
        made[f"figures/{figure.name}.pdf"] = figures.pdf(figure.draw(study, timed))
    return put(folder, made, "figures/*.pdf")


def _said(results: Results, verdicts: list[Verdict], about: str) -> dict[str, Any]:
    """What the templates print."""
    study, info = results.study, results.info
    keys = cite_keys(study)
    late = {change["id"]: change["what"] for change in words.changes(results)}
    rows = []
    for number, verdict in enumerate(verdicts, 1):
        effect, interval, margin = words.in_words(verdict, study)
        claim = words.claim_of(verdict, study)
        rows.append(
            {
                "number": number, "statement": verdict.statement, "verdict": verdict.verdict,
                "effect": effect, "interval": interval, "margin": margin, "n": verdict.n,
                "source": _cited(claim.source if claim else verdict.source, keys),
                "late": late.get(verdict.id, ""), "quote": quote(results, verdict),
            }
        )  # fmt: skip
    return {
        "study": study,
        "title": words.title(study),
        "scale": results.scale,
        "answer": words.answer(results, verdicts),
        "rows": rows,
        "commit": words.commit(info),
        "digest": digest(info),
        "methods": [marked(text) for text in methods.methods(results, verdicts)],
        "notes": [marked(text) for text in methods.notes(about)],
        "departures": [marked(text) for text in methods.departures(results, verdicts, about)],
        "figures": [(figure.name, figure.told(study)) for figure in study.figures],
        "works": [_entry(keys[tag], work_of(study.sources[tag])) for tag in _firsts(keys)],
    }


def marked(text: str) -> Tex:
    """Text whose `code` is in backticks, as docstrings have it."""
    parts = re.split(r"`([^`]+)`", text)
    return Tex(
        "".join(
            f"\\texttt{{{escape(part)}}}" if place % 2 else escape(part)
            for place, part in enumerate(parts)
        )
    )


def cite_keys(study: Study) -> dict[str, str]:
    """The BibTeX key of each source by its tag; tags of one work share a key."""
    keys: dict[str, str] = {}
    by_words: dict[str, str] = {}
    for place, (tag, said) in enumerate(study.sources.items(), 1):
        plain = unicodedata.normalize("NFKD", tag).encode("ascii", "ignore").decode()
        key = re.sub(r"\W", "", plain)
        key = key if key[:1].isalpha() else f"source{key or place}"
        while key in keys.values() and said not in by_words:
            key += "x"
        keys[tag] = by_words.setdefault(said, key)
    return keys


def _firsts(keys: Mapping[str, str]) -> list[str]:
    """One tag of each key."""
    found: dict[str, str] = {}
    for tag, key in keys.items():
        found.setdefault(key, tag)
    return [*found.values()]


def _cited(source: str, keys: Mapping[str, str]) -> Tex:
    """A claim's source with a citation for each tag."""
    parts = re.split(r"(\[\w+\])", source)
    return Tex(
        "".join(f"\\cite{{{keys[part]}}}" if part in keys else escape(part) for part in parts)
    )


def _entry(key: str, work: Work) -> dict[str, Any]:
    """A source as BibTeX and as an item of the bibliography need it."""
    arxiv = f"arXiv:{work.arxiv}" if work.arxiv else ""
    fields = {
        "author": Tex(" and ".join(map(escape, work.authors))),
        "title": Tex(f"{{{escape(work.title)}}}"),
        HOME[work.kind]: work.where,
        "year": work.year,
        "note": arxiv,
        "key": "" if work.authors else work.title,  # what lists are sorted by
    }
    names = [" ".join(reversed(name.split(", "))) for name in work.authors]
    listed = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])
    end = ", ".join(filter(None, [work.where, work.year, arxiv]))
    return {
        "key": Tex(key), "kind": Tex(work.kind), "authors": listed, "title": work.title, "end": end,
        "fields": {Tex(name): value for name, value in fields.items() if value},
    }  # fmt: skip
