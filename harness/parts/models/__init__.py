"""Models: ordinary `nn.Module`s, trained alone or fused without knowing it.

Anything built of linear, convolution, normalisation, embedding, activation and recurrent cells in
plain tensor operations will do; study files may define their own beside their `trial`.

    networks   multi-layer perceptrons, activations, initialisations
    recurrent  recurrent cells and what reads sequences with them
    surfaces   functions of two variables, to be descended
    two_layer  a network of one hidden layer, lazy or in mean-field scaling, and its kernels
    layers     dropout, batch normalisation and last layers that stand in for torch's in packs
"""

from harness.parts.models.layers import BatchNorm, Dropout
from harness.parts.models.networks import (
    ACTIVATIONS,
    INITS,
    MLP,
    WIRINGS,
    SigmoidTanh,
    Skip,
    initialise,
)
from harness.parts.models.recurrent import CELLS, GRU, LSTM, RNN, VARIANTS, Recurrent, Variant, cell
from harness.parts.models.surfaces import SURFACES, Descent, Surface

__all__ = [
    "ACTIVATIONS", "CELLS", "GRU", "INITS", "LSTM", "MLP", "RNN", "SURFACES", "VARIANTS", "WIRINGS",
    "BatchNorm", "Descent", "Dropout", "Recurrent", "SigmoidTanh", "Skip", "Surface", "Variant", "cell",
    "initialise",
]  # fmt: skip
