"""Data sets: fixed splits, pinned digests, and hostile files."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import IMAGES, Data, DataError, load, parse_idx, train_size


def test_digits_splits_are_disjoint_and_complete() -> None:
    splits = load(Data("digits"))
    sizes = [len(part[0]) for part in (splits.train, splits.valid, splits.test)]
    assert sizes == [1077, 360, 360]
    assert train_size(Data("digits")) == sizes[0]
    images = np.concatenate([part[0].numpy() for part in (splits.train, splits.valid, splits.test)])
    assert len(np.unique(images, axis=0)) == len(images)
    assert images.min() == 0.0
    assert images.max() == 1.0
    for _, labels in (splits.train, splits.valid, splits.test):
        assert set(labels.tolist()) == set(range(10))


def test_a_smaller_training_set_keeps_the_other_splits() -> None:
    some, all_ = load(Data("digits", train=100)), load(Data("digits"))
    assert len(some.train[0]) == 100
    assert some.test[0].equal(all_.test[0])
    with pytest.raises(DataError, match="train=2000; allowed: 1 to 1077"):
        load(Data("digits", train=2000))


def test_unknown_data() -> None:
    with pytest.raises(DataError, match="'cifar'; allowed: digits, mnist, fashion_mnist"):
        Data("cifar")


@pytest.mark.parametrize("name", IMAGES)
def test_real_images(name: str) -> None:
    folder = os.environ.get("HARNESS_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"needs {name} in HARNESS_DATA")
    splits = load(Data(name))
    assert splits.train[0].shape == (50_000, 28, 28)
    assert splits.valid[0].shape == splits.test[0].shape == (10_000, 28, 28)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not gzip", "cannot be decompressed"),
        (gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x01x")[:-4], "cannot be decompressed"),
        (gzip.compress(b"something else"), "expected ba891046"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, monkeypatch, content, words) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    load.cache_clear()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz") as caught:
        load(Data("mnist"))
    assert words in str(caught.value)


def test_idx_by_hand() -> None:
    content = b"\x00\x00\x08\x02" + struct.pack(">2I", 2, 3) + bytes(range(6))
    assert parse_idx(content).tolist() == [[0, 1, 2], [3, 4, 5]]


@given(st.binary(max_size=200))
def test_idx_refuses_or_reads_what_its_header_says(content: bytes) -> None:
    for attempt in (content, b"\x00\x00\x08" + content):
        try:
            array = parse_idx(attempt)
        except DataError:
            continue
        assert array.size == len(attempt) - 4 - 4 * attempt[3]
