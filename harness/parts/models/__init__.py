"""Models: ordinary `nn.Module`s, trained alone or fused without knowing it.

Anything built of linear, convolution, normalisation, embedding, activation and recurrent cells in
plain tensor operations will do; study files may define their own beside their `trial`.

    networks   multi-layer perceptrons, activations, initialisations
    recurrent  recurrent cells and what reads sequences with them
    plain      recurrent units without gates, and where gates start
    reservoir  echo state networks
    framewise  what answers at every step, and which have read what they are asked for
    translator from one sequence to another, with attention
    captioner  from a picture to a sentence
    boltzmann  restricted Boltzmann machines
    forecasters linear and other forecasts of several series, and a space of them to be searched
    convolutions pooling by two, and layers that are local without sharing weights
    detectors  ensembles of autoencoders that find outliers, and what is simpler
    ngrams     models of text that are counted
    kernels    ridge regression on features
    state_space a linear recurrent network beside a state-space model
    surfaces   functions of two variables, to be descended
    vision     filters, inception modules and local response normalisation of images
    two_layer  a network of one hidden layer, lazy or in mean-field scaling, and its kernels
    layers     dropout, batch normalisation and last layers that stand in for torch's in packs
"""

from harness.parts.models.boltzmann import RBM, divergence, states
from harness.parts.models.captioner import CAPTIONED, Captioner
from harness.parts.models.convolutions import Local1d, Pool
from harness.parts.models.forecasters import (
    AllPasts,
    DLinear,
    LSTMForecaster,
    OwnPast,
    Searchable,
)
from harness.parts.models.framewise import (
    Late,
    NextStep,
    Transition,
    Window,
    foresees,
    widest,
)
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
from harness.parts.models.reservoir import EchoState
from harness.parts.models.surfaces import SURFACES, Descent, Surface
from harness.parts.models.translator import ATTENTIONS, Translator, scheduled_sampling

__all__ = [
    "ACTIVATIONS", "ATTENTIONS", "CAPTIONED", "CELLS", "GRU", "INITS", "LSTM", "MLP", "RBM", "RNN", "SURFACES", "VARIANTS", "WIRINGS",
    "AllPasts", "BatchNorm", "Captioner", "DLinear", "Descent", "Dropout", "EchoState", "LSTMForecaster", "Late", "Local1d",
    "NextStep", "OwnPast", "Pool", "Recurrent", "Searchable", "SigmoidTanh", "Skip", "Surface", "Transition",
    "Translator", "Variant", "Window", "cell", "divergence", "foresees", "initialise", "scheduled_sampling",
    "states", "widest",
]  # fmt: skip
