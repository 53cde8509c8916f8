"""The board of one study's verdicts, as a notebook and a shell show it."""

from __future__ import annotations

from typing import Any

from harness.claims import Verdict, explore
from harness.ledger.results import Results
from harness.report import words
from harness.report.page import environment

MARKS = {"supported": "✓", "refuted": "✕", "inconclusive": "?"}
COLOURS = {"supported": "#1f8a5b", "refuted": "#d0453c", "inconclusive": "#94801f"}  # on any page


def board_html(results: Results, verdicts: list[Verdict]) -> str:
    """A table of verdicts, to stand in a page that is not ours."""
    template = environment().get_template("notebook.html")
    said = template.render(
        title=words.title(results.study), scale=results.scale,
        partial=bool(results.info.get("partial")), answer=words.answer(results, verdicts),
        rows=[_row(verdict, results) for verdict in verdicts], trials=_trials(results),
        explored=[
            {"statement": one.statement, "n": one.n, "words": words.in_words(one, results.study)}
            for one in explore(results.study, results.timed)
        ],
    )  # fmt: skip
    return str(said)


def board_text(results: Results, verdicts: list[Verdict]) -> str:
    """The same in lines."""
    lines = [
        f"{words.title(results.study)}, {results.scale} scale",
        words.answer(results, verdicts),
    ]
    for verdict in verdicts:
        effect, interval, claimed = words.in_words(verdict, results.study)
        lines += [
            f"  {MARKS[verdict.verdict]} {verdict.verdict:12} {verdict.statement}",
            f"    {effect}, {interval}; claimed: {claimed}; n={verdict.n}",
        ]
    explored = explore(results.study, results.timed)
    if explored:
        lines.append("exploratory, without a verdict:")
    for one in explored:
        effect, interval, _ = words.in_words(one, results.study)
        lines += [f"    {one.statement}", f"    {effect}, {interval} (95 %); n={one.n}"]
    return "\n".join([*lines, _trials(results)])


def _row(verdict: Verdict, results: Results) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict, "mark": MARKS[verdict.verdict], "n": verdict.n,
        "colour": COLOURS[verdict.verdict], "statement": verdict.statement,
        "source": verdict.source, "words": words.in_words(verdict, results.study),
        "reason": verdict.reason if verdict.verdict == "inconclusive" else "",
    }  # fmt: skip


def _trials(results: Results) -> str:
    counts = results.counts
    return (
        f"{counts['finished']:,} finished, {counts['diverged']:,} diverged, "
        f"{counts['failed']:,} failed of {counts['planned']:,} trials"
    )
