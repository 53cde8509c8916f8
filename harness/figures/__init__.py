"""Figures of a study: frozen specs that draw a frame.

A study lists specs; the report calls ``spec.draw(study, frame)`` and `svg`. Each is made from a
name, a caption (by default what it draws) and what its class and `base.Measured` say.

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
| `profile` | the share of problems that each arm solves within a factor of the best |
| `ranks` | each arm's mean rank over tasks, and which do not differ |
| `trajectories` | paths over the contours of a surface |
| `pictures` | pictures that trials have kept: boundaries, filters, samples |
| `space` | architectures, a dot each, against their size |
| `genotypes` | the best architectures' cells as graphs |
| `custom` | what the study's own function draws |

Drawing is a pure function of the study and the frame: the same rows give the same bytes. Every spec
draws an empty frame too, and shows what is not a number (diverged, never reached) at a labelled
edge instead of leaving it out.

matplotlib and seaborn are imported where they are used, so that study files stay light.

May import `claims` and what lies before it.
"""

from harness.figures.axes import words
from harness.figures.base import Custom as custom
from harness.figures.base import Figure_
from harness.figures.depth import Layers as layers
from harness.figures.dots import Intervals as intervals
from harness.figures.export import pdf, standalone, svg
from harness.figures.factors import Across as across
from harness.figures.factors import Heat as heat
from harness.figures.networks import Genotypes as genotypes
from harness.figures.networks import Space as space
from harness.figures.nuisances import Sensitivity as sensitivity
from harness.figures.paths import Trajectories as trajectories
from harness.figures.pictures import Pictures as pictures
from harness.figures.searches import Marginals as marginals
from harness.figures.searches import Shares as shares
from harness.figures.steps import Curves as curves
from harness.figures.tasks import Profile as profile
from harness.figures.tasks import Ranks as ranks
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
from harness.figures.trials import Boxes as boxes
from harness.figures.trials import Scatter as scatter
from harness.figures.values import final

__all__ = [
    "COLOURS", "INK", "PAPER", "Figure_", "across", "blank", "boxes", "curves", "custom", "dashes",
    "final", "font_folder", "genotypes", "heat", "intervals", "layers", "marginals", "palette",
    "panels", "pdf", "pictures", "prepare", "profile", "ranks", "scatter", "sensitivity", "shares", "space", "standalone", "style", "svg", "trajectories", "words",
]  # fmt: skip
