"""Time series to be forecast: windows of several series at once, those of ETTh1, and series made here
that drive each other along a known graph.

Of a window some steps are read and the steps after them are to be said, of every series.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from harness.parts import keyed
from harness.study import DataError

# Training, validation and test examples, x and y of each.
Arrays = tuple[np.ndarray, ...]


def windows(series: np.ndarray, back: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Every window of series (T, N), one step apart.

    Args:
        series: N series side by side.
        back: Steps that are read.
        ahead: Steps after them that are to be said.

    Returns:
        x (n, back, N) and y (n, N, ahead) float32, with n = T - back - ahead + 1.
    """
    found = sliding_window_view(series, back + ahead, axis=0)  # (n, N, back + ahead)
    return (
        np.ascontiguousarray(found[..., :back].swapaxes(1, 2), np.float32),
        np.ascontiguousarray(found[..., back:], np.float32),
    )


# --- ETTh1 ---------------------------------------------------------------------------------------

AHEAD = {"etth1_24": 24, "etth1_96": 96}  # hours that are to be said
HOURS, SERIES = 17_420, 7
CUTS = (8_640, 11_520, 14_400)  # hours at which the three splits end: 12, 4 and 4 months of 30 days


def transformer(content: bytes, back: int, ahead: int) -> Arrays:
    """ETTh1, seven hourly series of an electricity transformer, its loads and its oil's temperature
    (Zhou et al. 2021), cut and scaled as is usual: each series has mean 0 and standard deviation 1 in
    the training split; the first window of the other two reads the end of the split before.

    Shapes: x (n, back, 7), y (n, 7, ahead) float32, with n = 8,640 - back - ahead + 1 to train on,
    and 2,880 - ahead + 1 to validate and to test.

    Args:
        content: The bytes of its file.
        back, ahead: As of `windows`.

    Raises:
        DataError: not a table of 17,420 hours of seven numbers.
    """
    try:
        lines = content.decode("ascii").splitlines()[1:]
        table = np.array([line.split(",")[1:] for line in lines], np.float64)
    except ValueError as error:
        raise DataError(f"ETTh1 cannot be read ({str(error)[:80]}); expected numbers") from None
    if table.shape != (HOURS, SERIES):
        raise DataError(f"ETTh1 has shape {table.shape}; expected {(HOURS, SERIES)}")
    train = table[: CUTS[0]]
    scaled = (table - train.mean(0)) / train.std(0)
    first, second, last = CUTS
    parts = scaled[:first], scaled[first - back : second], scaled[second - back : last]
    return tuple(half for part in parts for half in windows(part, back, ahead))


# --- series that drive each other ----------------------------------------------------------------

OWN, DELAY = 0.3, 3  # how much of a series's last value stays; steps after which neighbours act
LARGEST, USUAL = 2.0, 1.05  # of a neighbour's distance from zero; and the mean distance, about
SETTLE = 200  # steps before the first that is kept


def ring(series: int, steps: Sequence[int]) -> np.ndarray:
    """(N, N) float64, each row of which sums to one: series on a ring, each of which listens to those
    so many steps before it."""
    graph = np.zeros((series, series))
    for step in steps:
        graph += np.roll(np.eye(series), -step, axis=1)
    return graph / len(steps)


def driven(
    length: int, graph: np.ndarray, coupling: float, bent: bool = False, seed: int = 0
) -> np.ndarray:
    """Series that drive each other: ``x_i(t) = 0.3 x_i(t - 1) + c Σ_j G_ij f(x_j(t - 3)) + noise``,
    where f is the identity, or where `bent` the distance from zero, up to 2, less its mean, of which a
    linear forecast sees next to nothing. Noise is normal.

    Up to three steps ahead all that acts has been seen, so that the least mean squared error is that
    of the noise, ``σ² (1 + (1 + a²) + (1 + a² + a⁴)) / 3`` with a = 0.3, whatever the graph and f are.
    Noise has the σ that makes this 1.

    Args:
        length: Steps.
        graph: (N, N), as of `ring`.
        coupling: c; where f is the identity below 0.7, so that series do not grow.
        bent, seed: Which.

    Returns:
        (length, N) float64.
    """
    n = len(graph)
    key = keyed.mix(keyed.keys([seed], "task"), n)  # (1,)
    noise = keyed.normal(key, (SETTLE + length) * n).double().view(-1, n).numpy()
    found = np.array(noise)
    for t in range(DELAY, len(found)):
        seen = found[t - DELAY]
        if bent:
            seen = np.minimum(np.abs(seen), LARGEST) - USUAL
        found[t] += OWN * found[t - 1] + coupling * (graph @ seen)
    kept: np.ndarray = found[SETTLE:] / least_error() ** 0.5
    return kept


def least_error() -> float:
    """Of forecasts of one to three steps, the mean, where the noise has variance 1."""
    return float(np.mean([sum(OWN ** (2 * k) for k in range(h + 1)) for h in range(DELAY)]))


def errors(graph: np.ndarray, coupling: float, back: int) -> tuple[float, float]:
    """The least mean squared errors of linear forecasts of one to three steps ahead that read a series's
    own past alone, and of its last value repeated: exact, where f is the identity and a ring's series are
    all alike. That of forecasts that read all series is 1.

    Args:
        graph, coupling: As of `driven`.
        back: Steps that are read.
    """
    from scipy.linalg import solve_discrete_lyapunov, toeplitz  # for who asks

    n = len(graph)
    move = np.eye(n * DELAY, k=-n)  # of the last three steps together
    move[:n, :n], move[:n, -n:] = OWN * np.eye(n), coupling * graph
    shock = np.zeros_like(move)
    shock[:n, :n] = np.eye(n) / least_error()
    state = solve_discrete_lyapunov(move, shock)
    covariances = []
    for _ in range(back + DELAY + 1):
        covariances.append(state[0, 0])
        state = move @ state
    r = np.array(covariances)  # of a series with itself so many steps later
    past = toeplitz(r[:back])
    own = [r[0] - r[h : h + back] @ np.linalg.solve(past, r[h : h + back]) for h in (1, 2, 3)]
    return float(np.mean(own)), float(np.mean([2 * (r[0] - r[h]) for h in (1, 2, 3)]))
