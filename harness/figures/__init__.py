"""Figures of a study: frozen specs that draw a frame.

A study lists specs; the report calls ``spec.draw(study, frame)`` and `svg`.

| spec | shows |
|---|---|
| `curves` | a metric against the step |
| `intervals` | a final metric by arm, with its interval |
| `across` | a metric against the levels of a factor |
| `heat` | a metric by arm and level, printed in a table of colours |
| `layers` | a family of metrics, one a layer, against the layer |
| `boxes` | the best share of each arm's trials |
| `scatter` | one metric against another, a dot a trial |
| `sensitivity` | a metric against a nuisance |
| `marginals` | what the search predicts along each nuisance |
| `shares` | how much of the variance each nuisance and each pair explains |
| `trajectories` | paths over the contours of a surface |
| `space` | architectures, a dot each, against their size |
| `cells` | the best architectures' cells as graphs |
| `custom` | what the study's own function draws |

Drawing is a pure function of the study and the frame: the same rows give the same bytes. Every spec
draws an empty frame too, and shows what is not a number (diverged, never reached) at a labelled
edge instead of leaving it out.

matplotlib and seaborn are imported where they are used, so that study files stay light.

May import `claims` and what lies before it.
"""

from harness.figures.axes import words
from harness.figures.base import Figure_, custom
from harness.figures.depth import layers
from harness.figures.dots import intervals
from harness.figures.export import standalone, svg
from harness.figures.factors import across, heat
from harness.figures.networks import cells, space
from harness.figures.nuisances import sensitivity
from harness.figures.paths import trajectories
from harness.figures.searches import marginals, shares
from harness.figures.steps import curves
from harness.figures.theme import (
    COLOURS,
    INK,
    PAPER,
    blank,
    dashes,
    font_folder,
    palette,
    panels,
    prepare,
    style,
)
from harness.figures.trials import boxes, scatter
from harness.figures.values import final

__all__ = [
    "COLOURS", "INK", "PAPER", "Figure_", "across", "blank", "boxes", "cells", "curves", "custom", "dashes",
    "final", "font_folder", "heat", "intervals", "layers", "marginals", "palette",
    "panels", "prepare", "scatter", "sensitivity", "shares", "space", "standalone", "style", "svg", "trajectories", "words",
]  # fmt: skip
