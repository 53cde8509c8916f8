"""Sequences with a label at every step by their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.parts.data.labelled import apart, events, fifths, joined, known

STEPS, CHANCE = 12, 0.25


def test_events_latest_and_next() -> None:
    x, latest, following = events(np.random.default_rng(0), 300, STEPS, CHANCE)
    assert x.dtype == np.float32
    assert {*x.sum(2).ravel()} == {0, 1}
    assert (x[:, [0, -1]].sum(2) == 1).all()
    assert abs(x[:, 1:-1].sum(2).mean() - CHANCE) < 4 * (CHANCE * (1 - CHANCE) / 3000) ** 0.5
    for row, before, after in zip(x, latest, following, strict=True):
        for t in range(STEPS - 1):
            assert before[t] == next(row[s, 1] for s in range(t, -1, -1) if row[s].any())
            assert after[t] == next(row[s, 1] for s in range(t + 1, STEPS) if row[s].any())


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (3, 2), (STEPS, 0), (2, STEPS)])
def test_what_is_known_of_events(before: int, after: int) -> None:
    """Against a count of what a window sees, where a guess is right half of the time."""
    x = np.asarray(events(np.random.default_rng(1), 20_000, STEPS, CHANCE)[0].any(2))
    right = [
        (1 + x[:, max(0, t - before) : t + 1].any(1)) * (1 + x[:, t + 1 : t + 1 + after].any(1)) / 4
        for t in range(STEPS - 1)
    ]
    assert abs(np.mean(right) - known(STEPS, CHANCE, before, after)) < 0.01
    assert known(STEPS, CHANCE, STEPS, STEPS) == 1
    assert known(STEPS, CHANCE, STEPS, 0) == 0.5


def test_noise_lies_over_the_same_events() -> None:
    clean, *labels = events(np.random.default_rng(0), 300, STEPS, CHANCE)
    x, *same = events(np.random.default_rng(0), 300, STEPS, CHANCE, 0.1)
    assert np.array_equal(labels, same)
    assert abs((x - clean).std() - 0.1) < 0.005


def test_no_sequence_of_another_split_stands_in_training() -> None:
    train, valid, test = apart(lambda random, n: fifths(random, n, 4), (50, 40, 60))
    assert len(train[0]) == 50
    rows = [{row.tobytes() for row in x} for x, _ in (train, valid, test)]
    assert rows[1] and rows[2]
    assert not rows[0] & (rows[1] | rows[2])
    whole = fifths(np.random.default_rng(2), 60, 4)
    kept = [row.tobytes() not in rows[0] for row in whole[0]]
    for part, all_of_it in zip(test, whole, strict=True):
        assert np.array_equal(part, all_of_it[kept])


def test_chords_walk_round_the_circle_of_fifths() -> None:
    x, root = fifths(np.random.default_rng(0), 200, STEPS)
    assert x.shape == (200, STEPS, 12)
    for notes, r in zip(x.reshape(-1, 12), root.ravel(), strict=True):
        assert {*np.flatnonzero(notes)} == {r, (r + 4) % 12, (r + 7) % 12}
    step = (root[:, 1:] - root[:, :-1]) % 12
    assert {*step.ravel()} == {5, 7}
    assert abs((step == 7).mean() - 0.5) < 4 * 0.5 / math.sqrt(step.size)
    up, down = (((root + by) % 12)[..., None] + [0, 4, 7] for by in (7, 5))
    assert not (up[..., None] % 12 == down[..., None, :] % 12).any()


def test_signals_one_after_another() -> None:
    y = np.arange(40)
    x = (100 * y[:, None] + np.arange(6)).astype(np.float32)
    frames, labels = joined(np.random.default_rng(0), x, y, many=4, frame=2)
    assert frames.shape == (10, 9, 2)
    assert labels.shape == (10, 9)
    assert (frames // 100 == labels[..., None]).all()
    for number, row in enumerate(frames.reshape(10, -1)):
        whole = x[4 * number : 4 * number + 4].ravel()
        begin = int(np.flatnonzero(whole == row[0])[0])
        assert begin in range(0, 7, 2)
        assert np.array_equal(row, whole[begin : begin + 18])
