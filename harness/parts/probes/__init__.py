"""Read-only measurements of a pack while it trains.

A probe is a frozen value; `read(pack)` returns ``{metric: (K,) tensor}`` and is called at every
recorded step with the parameters as they are then, or once, where a trial ends, if `at_end` is
true. Probes never write to what they are shown: a trial trains the same with and without them. Where
the test split is sealed, one that asks for it has measured nothing.

    moment    what a probe is shown, and what a probe is
    progress  how far a trial has come: Position, Gap, Kept, StepsTo, RecordTo, Best, EffectiveRate,
              Every
    layers    the network itself: GradientNorms, WeightNorms, Activations, Backpropagated,
              Jacobians, Sharpness
    pictures  what figures draw: Field, Filters
    shifts    what is said of inputs that are moved: Shifted
    memory    how far back a recurrent network remembers: Kept, Reach, Recalled, Powers
    language  what is said of `harness.parts.data.made`: Places, Alignment, Asked, Captions
    outliers  how well scores of outliers rank: Found, Strips
    state_space  a recurrent network's loss beside a likelihood: Likelihood; these three are imported by themselves
"""

from harness.parts.probes.layers import (
    Activations,
    Backpropagated,
    GradientNorms,
    Jacobians,
    Sharpness,
    WeightNorms,
)
from harness.parts.probes.moment import Moment, Probe
from harness.parts.probes.pictures import Field, Filters
from harness.parts.probes.progress import (
    Best,
    EffectiveRate,
    Every,
    Gap,
    Kept,
    Position,
    RecordTo,
    StepsTo,
)
from harness.parts.probes.shifts import Shifted

__all__ = [
    "Activations", "Backpropagated", "Best", "EffectiveRate", "Every", "Field", "Filters", "Gap", "GradientNorms",
    "Jacobians", "Kept", "Moment", "Position", "Probe", "RecordTo", "Sharpness", "Shifted", "StepsTo", "WeightNorms",
]  # fmt: skip
