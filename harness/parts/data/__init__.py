"""Data: named sets split once and for all, and rows that other studies have measured.

sets       `Data` and its splits as tensors
own        data of one's own: made when asked for, known by a digest
sources    what users hand over as data, read as arrays
rows       what these are held to
splitting  from there to three splits
files      finding, downloading and checking their files
images     digits, MNIST in part and whole, Fashion-MNIST
signals    MNIST-1D
sequences  chorales, characters
nab        series with outliers, of the Numenta Anomaly Benchmark
series     time series to be forecast: ETTh1, and series that drive each other
tasks      temporal order, adding, copy, recall, echo, reverse: sequences made here
planted    time series with outliers that are put there
markov     text of known entropy
made       sentences, names and pictures with captions
labelled   sequences with a label at every step, for one's own
mislabelled  labels drawn anew, for one's own
augment    training images moved a little, anew at every update
measured   rows of other studies
"""

from harness.parts.data.augment import Augment
from harness.parts.data.files import looked_for
from harness.parts.data.measured import hold, table, table_digest, table_source, tables
from harness.parts.data.own import Own
from harness.parts.data.sets import (
    Arrays,
    Data,
    Sealed,
    SealedSplits,
    Shared,
    Splits,
    adopt,
    at_hand,
    forget,
    load,
    share,
    train_size,
)

__all__ = [
    "Arrays", "Augment", "Data", "Own", "Sealed", "SealedSplits", "Shared", "Splits", "adopt", "at_hand", "forget", "hold", "load",
    "looked_for", "share", "table", "table_digest", "table_source", "tables", "train_size",
]  # fmt: skip
