"""The page as PDF, with the same bytes each time."""

from __future__ import annotations

import functools
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from harness import figures

_FONTS = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
<include ignore_missing="yes">{system}</include>
<dir>{folder}</dir><cachedir prefix="xdg">fontconfig</cachedir>
<selectfont><rejectfont>
<glob>{folder}/LastResort*</glob><glob>{folder}/STIX*</glob><glob>{folder}/cm*</glob>
<glob>{folder}/*Display*</glob>
</rejectfont></selectfont>
<alias binding="weak"><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
<alias binding="weak"><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
<alias binding="weak"><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@functools.cache
def _engine() -> Any:
    """The PDF engine, with fonts to fall back on: without any it would print blank pages."""
    import plutoprint

    before = os.environ.get("FONTCONFIG_FILE")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fonts.conf")
        system = before or "/etc/fonts/fonts.conf"
        path.write_text(_FONTS.format(system=system, folder=figures.font_folder()), "utf-8")
        os.environ["FONTCONFIG_FILE"] = str(path)
        try:
            book = plutoprint.Book(plutoprint.PAGE_SIZE_A4)
            book.load_html("<p>fonts are read at the first use</p>")
            book.write_to_pdf_stream(io.BytesIO())
        finally:
            os.environ.pop("FONTCONFIG_FILE")
            if before is not None:
                os.environ["FONTCONFIG_FILE"] = before
    return plutoprint


def pages(page: str) -> int:
    """How many pages a page of `html` takes."""
    engine = _engine()
    book = engine.Book(engine.PAGE_SIZE_A4, engine.PAGE_MARGINS_NONE, engine.MEDIA_TYPE_PRINT)
    book.load_html(page, base_url="report:/")
    return int(book.get_page_count())


def pdf(page: str, title: str, when: str) -> bytes:
    """A page of `html` as PDF; `when` (ISO) is its creation date, so that bytes repeat."""
    engine = _engine()
    book = engine.Book(engine.PAGE_SIZE_A4, engine.PAGE_MARGINS_NONE, engine.MEDIA_TYPE_PRINT)
    book.load_html(page, base_url="report:/")
    book.set_metadata(engine.PDF_METADATA_TITLE, title)
    for date in (engine.PDF_METADATA_CREATION_DATE, engine.PDF_METADATA_MODIFICATION_DATE):
        book.set_metadata(date, when)
    stream = io.BytesIO()
    book.write_to_pdf_stream(stream)
    return stream.getvalue()
