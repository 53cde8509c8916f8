"""Results and verdicts as one self-contained page, its PDF, its data files, and a board of all.

Every sentence, table, bar and moving
picture is written from the same `Results` and `Verdict` values, so that prose and plots cannot
disagree, and building twice from the same values gives the same bytes.

Within the package, imports point down this list:

    latex       the same for a paper, out of `methods` and `tex`
    book        the board and the same for print
    files       every file of a report, in one step; `documents` and `board` beside it
    manifest    the chain of registrations, and a digest of each file
    notebook    the verdicts alone, as a notebook and a shell show them
    page        the HTML page, out of the parts below
    descent     paths over contour maps, for the player
    panels      the part of a figure that a card shows
    islands     every trial as compact JSON, for the table and the explorer
    methods     what was done, and departures, in sentences
    tables      arms, tuned settings, provenance: what the page prints as rows
    lectures    headings of the decks, and the claims that cite them
    bars        an interval drawn against its margin
    tex         any text as LaTeX
    quoting     the line by which a verdict is quoted
    words       sentences about verdicts
    numbers     numbers, times and settings in words

May import `figures` and what lies before it.
"""

from harness.report.board import write_index
from harness.report.documents import note, verdicts_json
from harness.report.files import write
from harness.report.notebook import board_html, board_text
from harness.report.page import html
from harness.report.printing import pdf
from harness.report.quoting import quote
from harness.report.words import answer, in_words, sentence, weakest

__all__ = [
    "answer", "board_html", "board_text", "html", "in_words", "note", "pdf", "quote", "sentence", "verdicts_json", "weakest",
    "write", "write_index",
]  # fmt: skip
