"""How every figure looks: colours, dashes, type, and the axes of a page."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

At = Literal["end", "start"] | int  # which step of a trial is read, as in `harness.claims`
WIDTH = 7.2  # inches: the text width of an A4 page
CARD = 3.5  # inches: the width of what stands on a claim's card, which a phone shows whole
LETTER = 0.56  # of a letter's height is its width, on the average
INK, PAPER = "#12131a", "#fdfefd"  # stand-ins, replaced in `svg` by the page's own colours
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

# Found by farthest-point search in OKLab under normal, deuteranopic and protanopic vision, among
# colours with a contrast of at least 2.9 to white and to near-black. Neighbours differ most.
COLOURS = (
    "#116bba", "#ea7714", "#b91f58", "#5ca49a", "#9c87f8", "#bb5111", "#7081b3",
    "#286a73", "#ff617c", "#5c6df1", "#019f65", "#a532a0", "#e25744", "#9b6d8c",
)  # fmt: skip
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.4), (1.2, 1.2), (5, 1.2, 1.2, 1.2))
ARMS_A_DASH = 5
POINTS = 120  # most points a line keeps


def palette(study: Study) -> dict[str, str]:
    """Each arm's colour, the same in every figure of the study."""
    return {arm: COLOURS[i % len(COLOURS)] for i, arm in enumerate(study.arms)}


def dashes(study: Study) -> dict[str, tuple[float, ...]]:
    """Each arm's dash pattern in line widths (on, off, …), empty for solid: a second channel."""
    return {arm: DASHES[i // ARMS_A_DASH % len(DASHES)] for i, arm in enumerate(study.arms)}


def font_folder() -> Path:
    """Where matplotlib keeps the fonts it brings, for machines that have none."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def prepare() -> None:
    """Import what drawing needs, which takes a second; harmless beside anything else."""
    import seaborn

    assert seaborn


@functools.cache
def _style() -> dict[str, Any]:
    import seaborn as sns

    own = {
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
        "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.linewidth": 0.6, "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"], "font.size": 8, "axes.titlesize": 8.5,
        "axes.labelsize": 8, "xtick.labelsize": 7.5, "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5, "legend.frameon": False, "legend.handlelength": 2.4,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 4,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "axes.axisbelow": True, "grid.color": INK, "grid.alpha": 0.09, "grid.linewidth": 0.6,
        "xtick.major.size": 2.5, "ytick.major.size": 2.5, "xtick.major.width": 0.6,
        "ytick.major.width": 0.6, "xtick.minor.size": 0, "ytick.minor.size": 0,
        "xtick.major.pad": 2.5, "ytick.major.pad": 2.5, "axes.labelpad": 2.5,
        "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "harness", "path.simplify_threshold": 0.2,
        "axes.unicode_minus": True, "text.parse_math": False, "lines.solid_joinstyle": "round",
    }  # fmt: skip
    return {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **own}


_styled: ContextVar[bool] = ContextVar("styled", default=False)


@contextmanager
def style() -> Iterator[None]:
    """Everything is drawn and saved under this style, whatever the user's own settings are."""
    import matplotlib

    if _styled.get():  # it takes milliseconds, and a figure draws its parts under it, too
        yield
        return
    before = _styled.set(True)
    try:
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(_style())
            yield
    finally:
        _styled.reset(before)


_width: ContextVar[float] = ContextVar("width", default=WIDTH)


@contextmanager
def on_card() -> Iterator[None]:
    """What is drawn within is as wide as a card, its panels below each other."""
    before = _width.set(CARD)
    try:
        yield
    finally:
        _width.reset(before)


def width() -> float:
    """Inches that a figure is wide."""
    return _width.get()


def narrow() -> bool:
    """Whether a card is drawn on."""
    return width() < WIDTH


def alone() -> float:
    """Inches of the height of a panel of lines that has a figure to itself."""
    return 2.3 if narrow() else 3.2


def panels(
    count: int, *, columns: int | None = None, height: float = 1.9, legend: float = 0.45,
    card: int | None = None,
) -> tuple[Figure, list[Axes]]:  # fmt: skip
    """A figure as wide as a page with `count` axes, left to right and top to bottom.

    Args:
        count: How many axes.
        columns: How many in a row; by default at most three.
        height: Inches of a row.
        legend: Inches left for a legend below.
        card: How many in a row on a claim's card; by default one, and two of four or more.
    """
    from matplotlib.figure import Figure

    columns = columns or (count if count < 4 else 2 if count == 4 else 3)
    if narrow():
        columns = card or (1 if count < 4 else 2)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width(), rows * height + legend), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.03)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def blank(text: str = "no trial of this has run") -> Figure:
    """A low panel that says why there is nothing to see."""
    figure, (ax,) = panels(1, height=0.9, legend=0.0)
    ax.axis("off")
    ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=9, style="italic")
    return figure


def wrapped(text: str, inches: float, size: float) -> str:
    """A text in lines for which there is room, in inches, of letters whose size is in points."""
    letters = max(8, int(72 * inches / (LETTER * size)))
    longest = max(map(len, text.splitlines()), default=0)
    return "\n".join(textwrap.wrap(text, letters)) if longest > letters else text
