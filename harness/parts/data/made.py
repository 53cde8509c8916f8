"""Made language, of which the best that can be said is known: sentences and their translations, texts
that ask for a name, pictures and their captions. Each gives three splits for `Data.of`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.parts.data.markov import MarkovSource

Array = np.ndarray[Any, Any]
COUNTS = (4000, 256, 1000)  # examples that train, validate and test

WORDS, ADJECTIVES = 16, 6  # the first words are adjectives
NAMES, LETTERS = 4, 4  # symbols of a text, and a sign to ask
COLOURED, SHAPES = ("red", "green", "blue"), ("square", "cross", "ring")
SAID = (*COLOURED, *SHAPES, "left of", "above")  # words of a caption


def sentences(length: int) -> tuple[tuple[Array, Array], ...]:
    """Sentences of different words and their translations: word by word (s becomes 15 - s), but an
    adjective before a word that is none comes after it. No sentence stands in two splits.

    Shapes: source and target (n, length) int64, below 16.
    """
    rng, n = np.random.default_rng(length), sum(COUNTS)
    drawn = rng.permuted(np.tile(np.arange(WORDS), (3 * n, 1)), axis=1)[:, :length]
    x = rng.permutation(np.unique(drawn, axis=0))[:n]
    y, free = x.copy(), np.ones(n, bool)
    for t in range(length - 1):
        swap = free & (x[:, t] < ADJECTIVES) & (x[:, t + 1] >= ADJECTIVES)
        y[swap, t], y[swap, t + 1] = x[swap, t + 1], x[swap, t]
        free = ~swap
    return tuple(zip(_split(x), _split(WORDS - 1 - y), strict=True))


def names(stop: float = 0.15) -> MarkovSource:
    """Texts that ask for a name, as "Jane walked into the room … said hi to" (SNU, "Problems with
    BPTT"): one of four names, letters that follow each other by chance, of which each is the last
    with probability `stop`, a sign to ask, the name again, and so on.

    Symbols 0 to 3 are names, 4 to 7 letters, 8 is the sign.
    """
    each, symbols = LETTERS + 2, NAMES + LETTERS + 1  # states of a name: it, letters, the sign
    emits = np.zeros((1 + NAMES * each, symbols))
    to = np.zeros(emits.shape, np.int64)
    follows = np.array([np.roll([0.1, 0.6, 0.2, 0.1], shift) for shift in range(LETTERS)])
    for name in range(NAMES):
        first = 1 + name * each
        asked = first + each - 1
        emits[0, name], to[0, name], emits[asked, name] = 1 / NAMES, first, 1
        emits[first, NAMES:-1] = 1 / LETTERS
        emits[first + 1 : asked, NAMES:-1] = (1 - stop) * follows
        emits[first + 1 : asked, -1], to[first + 1 : asked, -1] = stop, asked
        to[first:asked, NAMES:-1] = np.arange(first + 1, asked)
    return MarkovSource(emits, to)


def texts(source: MarkovSource, length: int) -> tuple[tuple[Array, Array], ...]:
    """Texts of a source, to be predicted one symbol ahead: x and y (n, length - 1) int64."""
    whole = _split(source.texts(sum(COUNTS), length, seed=0))
    return tuple((part[:, :-1].copy(), part[:, 1:].copy()) for part in whole)


def captions() -> tuple[tuple[tuple[Array, Array], Array], ...]:
    """Pictures of two objects of nine kinds, one in the corner and the other to its right or below it,
    with noise, standardised; which kinds there are; and captions of five words of `SAID`: the colour and
    shape of the one in the corner, how it stands, and those of the other.

    Given the kinds alone, four captions are equally likely.

    Shapes: x (n, 3, 8, 8) and (n, 9) float32; y (n, 5) int64, below 8.
    """
    rng, n = np.random.default_rng(0), sum(COUNTS)
    square, cross, ring = np.ones((4, 4)), np.zeros((4, 4)), np.ones((4, 4))
    cross[1:3], cross[:, 1:3], ring[1:3, 1:3] = 1, 1, 0
    images = rng.normal(0, 0.2, (n, 3, 8, 8))
    bags, words = np.zeros((n, 9), np.float32), np.zeros((n, 5), np.int64)
    for image, bag, word in zip(images, bags, words, strict=True):
        above = rng.integers(2)
        for number, kind in enumerate(rng.permutation(9)[:2]):
            row, column = (4 * number, 0) if above else (0, 4 * number)
            colour, shape = divmod(kind, 3)
            image[colour, row : row + 4, column : column + 4] += (square, cross, ring)[shape]
            bag[kind], word[3 * number : 3 * number + 2] = 1, (colour, 3 + shape)
        word[2] = 6 + above
    images = ((images - images.mean()) / images.std()).astype(np.float32)
    x = zip(_split(images), _split(bags), strict=True)
    return tuple(zip(x, _split(words), strict=True))


def _split(part: Array) -> list[Array]:
    return np.split(part, np.cumsum(COUNTS)[:-1])
