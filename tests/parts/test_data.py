"""Data sets: fixed splits, pinned digests, and hostile files."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.parts import data as data_
from harness.parts.data import Data, at_hand, load, train_size
from harness.parts.data.images import FILES, IMAGES, parse_idx
from harness.study import DataError


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


def test_5000_of_mnist_are_balanced_whichever_part_is_used() -> None:
    splits = load(Data("mnist_5k"))
    sizes = [len(part[0]) for part in (splits.train, splits.valid, splits.test)]
    assert sizes == [2500, 1000, 1500]
    assert train_size(Data("mnist_5k")) == sizes[0]
    images = np.concatenate([part[0].numpy() for part in (splits.train, splits.valid, splits.test)])
    assert images.shape[1:] == (28, 28)
    assert len(np.unique(images, axis=0)) == len(images)
    for _, labels in (splits.train, splits.valid, splits.test):
        assert np.bincount(labels).tolist() == [len(labels) // 10] * 10
    assert np.bincount(load(Data("mnist_5k", train=100)).train[1]).tolist() == [10] * 10


def test_a_smaller_training_set_keeps_the_other_splits() -> None:
    some, all_ = load(Data("digits", train=100)), load(Data("digits"))
    assert len(some.train[0]) == 100
    assert some.test[0].equal(all_.test[0])
    with pytest.raises(DataError, match="train=2000; allowed: 1 to 1077"):
        load(Data("digits", train=2000))


def test_unknown_data() -> None:
    with pytest.raises(DataError, match="'cifar'; allowed: digits, mnist_5k, mnist, fashion_mnist"):
        Data("cifar")


def test_at_hand_is_what_needs_no_download(tmp_path, monkeypatch) -> None:
    given, cache = tmp_path / "given", tmp_path / "cache"
    monkeypatch.setenv("HARNESS_DATA", str(given))
    monkeypatch.setattr("pooch.os_cache", lambda name: cache)
    assert at_hand(Data("digits"))
    assert at_hand(Data("temporal_order", length=10))
    for folder in (given, cache):
        file = folder / "jsb_chorales" / "JSB_Chorales.mat"
        assert not at_hand(Data("jsb_chorales"))
        file.parent.mkdir(parents=True)
        file.touch()
        assert at_hand(Data("jsb_chorales"))
        file.unlink()
    file = cache / "mnist" / "train-images-idx3-ubyte.gz"
    file.parent.mkdir(parents=True)
    file.touch()
    assert not at_hand(Data("mnist"))  # one of four


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
        (gzip.compress(b"content", mtime=0)[:-4], "cannot be decompressed"),
        (gzip.compress(b"content", mtime=0), "is another file"),
    ],
    ids=("no gzip", "cut short", "another"),
)
def test_a_wrong_file_is_refused_by_name(tmp_path, monkeypatch, content, words) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    data_.forget()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz") as caught:
        load(Data("mnist"))
    held = b"not gzip" if content == b"not gzip" else b"content"  # as far as it can be read
    said = str(caught.value)
    assert words in said
    assert (
        f"has sha256 {hashlib.sha256(held).hexdigest()}; expected {IMAGES['mnist'][1][0]}" in said
    )


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


# --- downloads, from a server of our own ---------------------------------------------------------


class Home(BaseHTTPRequestHandler):
    """Serves files; breaks off after `cut` bytes once, and goes on from a byte where `ranges`."""

    files: dict[str, bytes] = {}
    cut: int | None = None
    ranges = True
    asked: list[str | None] = []

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and self.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end, type(self).cut = self.cut, None
        self.wfile.write(content[start:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def idx(array: np.ndarray) -> bytes:
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Home]]:
    """A small data set in MNIST's layout on a server of our own, and an empty cache."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, shape) for shape in ((60, 16, 16), (60,), (20, 16, 16), (20,))]
    contents = [idx(array) for array in arrays]
    Home.files = {f"/{name}.gz": gzip.compress(c, mtime=0)
                  for name, c in zip(FILES, contents, strict=True)}  # fmt: skip
    Home.cut, Home.ranges, Home.asked = None, True, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Home)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    digests = tuple(hashlib.sha256(c).hexdigest() for c in contents)
    monkeypatch.setitem(IMAGES, "mnist", (f"http://127.0.0.1:{server.server_port}/", digests))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    data_.forget()
    yield Home
    server.shutdown()
    server.server_close()
    thread.join()
    data_.forget()


def test_a_download_is_checked_cached_and_not_asked_for_again(home) -> None:
    first = load(Data("mnist"))
    assert len(home.asked) == 4
    data_.forget()
    assert load(Data("mnist")).test[0].equal(first.test[0])
    assert len(home.asked) == 4


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(home, tmp_path, ranges) -> None:
    name = f"{FILES[0]}.gz"
    home.cut, home.ranges = 3000, ranges
    with pytest.raises(DataError, match="cannot be downloaded from"):
        load(Data("mnist"))
    part = tmp_path / "harness" / "mnist" / f"{name}.part"
    have = part.stat().st_size
    assert 1000 < have <= 3000
    load(Data("mnist"))
    assert home.asked[1] == f"bytes={have}-"
    # a server that starts over is noticed by the digest, and asked for the whole once more
    assert len(home.asked) == (5 if ranges else 6)
    assert part.with_suffix("").read_bytes() == home.files[f"/{name}"]


def test_a_wrong_download_is_refused(home) -> None:
    name = f"{FILES[1]}.gz"
    home.files[f"/{name}"] = gzip.compress(b"another")
    found = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(DataError, match=f"{name} is another file: its content has sha256 {found}"):
        load(Data("mnist"))


def test_adopted_arrays_stand_in_for_files(home) -> None:
    load(Data("mnist"))
    shared = data_.share()
    for array in shared["mnist"]:
        array.setflags(write=False)  # as they come out of Ray's object store
    data_.forget()
    home.files.clear()
    data_.adopt(shared)
    splits = load(Data("mnist"))
    assert splits.test[0].shape == (20, 16, 16)
    assert splits.test[0].max() <= 1.0
    assert len(home.asked) == 4


def test_two_parts_of_a_split_have_nothing_in_common() -> None:
    whole, first = load(Data("digits")).train, load(Data("digits", 500)).train
    second, rest = (
        load(Data("digits", 500, after=500)).train,
        load(Data("digits", after=1000)).train,
    )
    for part, *three in zip(whole, first, second, rest, strict=True):
        assert np.array_equal(np.concatenate(three), part)
    assert train_size(Data("digits", after=1000)) == 77
    for wrong in (
        {"after": 1077},
        {"after": -1},
        {"train": 1000, "after": 78},
        {"train": 9, "draw": 0, "after": 1},
    ):
        with pytest.raises(DataError, match="allowed: "):
            Data("digits", **wrong)
