"""A drawn figure as SVG text."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING

from harness.figures.theme import FONTS, INK, PAPER, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOINS = 'stroke-linejoin="round" stroke-linecap="butt"'
_DARK = "<style>svg{color:#1c1e24}@media(prefers-color-scheme:dark){svg{color:#e4e6ea;--paper:#15171c}}</style>"


def svg(figure: Figure, name: str = "figure", caption: str = "") -> str:
    """The figure as SVG text to stand inline in a page, the same bytes each time.

    Ink becomes the page's text colour and the halo of markers its ``--paper`` colour, so that one
    drawing serves light, dark and print; text stays text.

    Args:
        name: Prefix of the ids, so that several figures can share a page.
        caption: What a screen reader says.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    with style():
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # a style element would reach the whole page: its two properties go on the root instead
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.S)
    used = set(re.findall(r'(?:href="|url\()#([\w.-]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", text)
    text = re.sub(r' d="[^"]*"', _short, text)
    text = re.sub(r"<[^>]+>", lambda tag: re.sub(r"-?\d+\.\d{3,}", _hundredths, tag[0]), text)
    text = text.replace(INK, "currentColor").replace(PAPER, "var(--paper, #fff)")
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONTS, text)
    text = re.sub(r"\n\s*", "\n", text)
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    assert size is not None
    label = html.escape(caption or name)
    return text.replace(size[0], f'role="img" aria-label="{label}" {size[0]} {JOINS}', 1).strip()


def _rounded(number: str, places: int) -> str:
    return f"{float(number):.{places}f}".rstrip("0").rstrip(".")


def _hundredths(number: re.Match[str]) -> str:
    return _rounded(number[0], 2)


def _short(path: re.Match[str]) -> str:
    """A path's data to a tenth of a point where it is long, so that pages stay light."""
    places = 1 if len(path[0]) > 400 else 2
    return re.sub(r"-?\d+\.\d+", lambda m: _rounded(m[0], places), path[0].replace("\n", ""))


def standalone(inline: str) -> str:
    """An SVG file from `svg`'s text: it chooses its own ink for light and dark pages."""
    head, rest = inline.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}>{_DARK}{rest}\n'
