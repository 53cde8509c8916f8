"""A drawn figure as SVG text, and as PDF.

How matplotlib writes SVG is not promised, and here alone it is rewritten. A text that is not as
known stands in the page as an image of its own: right, though with one ink for light and dark."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.figures.theme import FONTS, INK, PAPER, style, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAMILY = f'font-family="{FONTS}"'
# Markers of one line: what each refers to and where it lies, and one look for all.
_MARK = r'<use xlink:href="[^"]*" x="[^"]*" y="[^"]*" style="'
_MARKERS = re.compile(rf'{_MARK}([^"]*)"/>(?:\n{_MARK}\1"/>)+')
SPREAD = (
    1.3  # of the room that axes have before the layout, which moves them apart, at most after it
)
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
        _fitted(figure)
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    label = html.escape(" ".join(filter(None, [caption or name, described(figure)])))
    return _rewritten(buffer.getvalue(), name, label) or _image(figure, buffer.getvalue(), label)


def pdf(figure: Figure) -> bytes:
    """The figure as a page of its own size, with its fonts, the same bytes each time."""
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    buffer = io.BytesIO()
    with style():
        _fitted(figure)
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})
    return buffer.getvalue()


def _fitted(figure: Figure) -> None:
    """Break what would be cut off, or lie on what is beside it: labels of upright axes that are
    longer than these are high, and titles that are longer than their panel is wide."""
    width, height = (SPREAD * inches for inches in figure.get_size_inches())
    for ax in figure.axes:
        place = ax.get_subplotspec()
        room = place.get_position(figure) if place else ax.get_position()
        label, size = ax.yaxis.label, float(ax.title.get_fontsize())
        text = wrapped(label.get_text(), height * room.height, float(label.get_fontsize()))
        label.set_text(text)
        for side in ("left", "center"):
            title = ax.get_title(side)
            if (broken := wrapped(title, width * room.width, size)) != title:
                ax.set_title(broken, loc=side)


def _rewritten(text: str, name: str, label: str) -> str:
    """matplotlib's SVG text as `svg` gives it; nothing where it is not as known."""
    text = text[max(0, text.find("<svg")) :]
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
    text = re.sub(r'style="[^"]*"', _of_its_paint, text)
    text = _MARKERS.sub(_as_one, text)
    text = text.replace(f"; font-family: {FONTS}", "")
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text)
    if size is None or "<style" in text:
        return ""
    return text.replace(
        size[0], f'role="img" aria-label="{label}" {size[0]} {JOINS} {FAMILY}', 1
    ).strip()


def _of_its_paint(style: re.Match[str]) -> str:
    """The look of a shape that is filled or stroked, and not both: its opacity is then that of the
    paint, where one of the shape as a whole makes a PDF's page a picture around it."""
    filled, stroked = "fill: none" not in style[0], "stroke: " in style[0]
    if filled == stroked or "-opacity" in style[0]:
        return style[0]
    return re.sub(r"(?<![-\w])opacity", "fill-opacity" if filled else "stroke-opacity", style[0])


def _as_one(markers: re.Match[str]) -> str:
    """Markers of one look, with the look said once."""
    if re.search(r"(?<![-\w])opacity", markers[1]):  # which is of a group as a whole
        return markers[0]
    look = f' style="{markers[1]}"'
    return f"<g{look}>{markers[0].replace(look, '')}</g>"


def described(figure: Figure) -> str:
    """What a drawing shows, for those who do not see it: panels, axes, and what is named in it."""

    def told(words: Iterable[str], most: int = 16) -> str:
        some = list(dict.fromkeys(" ".join(w.split()) for w in words if w.strip()))
        more = f" and {len(some) - most} more" if len(some) > most else ""
        return ", ".join(some[:most]) + more

    axes = [ax for ax in figure.axes if ax.axison]
    titles = [ax.get_title("left") or ax.get_title() for ax in figure.axes]
    said = []
    if len(titles) > 1:
        said.append(f"{len(titles)} panels{f': {told(titles)}' if any(titles) else ''}")
    elif any(titles):
        said.append(told(titles))
    ways = [
        f"{ax.get_ylabel()} against {ax.get_xlabel()}" if ax.get_ylabel() else ax.get_xlabel()
        for ax in axes
        if ax.get_xlabel()
    ]
    if ways:
        said.append(told(ways, 3))
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for ax in axes:  # names of rows; lines that are named at their ends
        names += [tick.get_text() for tick in ax.get_yticklabels()]
        names += [text.get_text() for text in ax.texts]
    if names := [name for name in names if re.search(r"[^\W\d_]{2}", name)]:
        said.append(told(names))
    return "; ".join(said) + "." if said else ""


def _image(figure: Figure, text: str, label: str) -> str:
    """An SVG text within another, neither of which can reach what is in the other."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    held = base64.b64encode(text.encode()).decode()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
        f'width="{width:g}pt" height="{height:g}pt" viewBox="0 0 {width:g} {height:g}">'
        f'<image width="{width:g}" height="{height:g}" href="data:image/svg+xml;base64,{held}"/></svg>'
    )


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
