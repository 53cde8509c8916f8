"""Data sets behind one interface, split once and for all. Layer 2.

A `Data` names a data set; `load` turns it into tensors. The test split is fixed and the validation
split is drawn once from the rest, so that seeds vary initialisation and batches, never what is
tested on. Downloads are checked against pinned digests; `HARNESS_DATA` is looked in first.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.study import BadInput


class DataError(BadInput):
    """A data file that is missing, truncated or not the one expected."""


@dataclass(frozen=True)
class Data:
    """A named data set: "digits", "mnist" or "fashion_mnist".

    Args:
        name: Which.
        train: How many training examples to keep (None: all).
    """

    name: str
    train: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ("digits", *IMAGES):
            raise DataError(f"data set {self.name!r}; allowed: {', '.join(('digits', *IMAGES))}")


@dataclass(frozen=True)
class Splits:
    """Inputs x (n, ...) float32 and targets y (n,) int64 of the three splits."""

    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@functools.cache
def load(data: Data, device: str = "cpu") -> Splits:
    """The splits of a data set as tensors on a device, kept for the life of the process.

    Raises:
        DataError: a file is missing or is not the pinned one.
    """
    splits = _digits() if data.name == "digits" else _images(data.name)
    x, y = splits.train
    if data.train is not None:
        if not 0 < data.train <= len(x):
            raise DataError(f"train={data.train}; allowed: 1 to {len(x)} for {data.name}")
        splits = Splits((x[: data.train], y[: data.train]), splits.valid, splits.test)
    pairs = (splits.train, splits.valid, splits.test)
    return Splits(*((x.to(device), y.to(device)) for x, y in pairs))


def train_size(data: Data) -> int:
    """Training examples of a data set, known without loading it."""
    if data.train is not None:
        return data.train
    return {"digits": 1077}.get(data.name, 50_000)


def _digits() -> Splits:
    """Handwritten digits, 8x8, bundled with scikit-learn (UCI ML "Optical Recognition of
    Handwritten Digits", test part): 1,797 images, split 60/20/20 by a fixed permutation."""
    table = np.loadtxt(_bundled("datasets", "data", "digits.csv.gz"), delimiter=",")
    x, y = table[:, :64], table[:, 64]
    order = np.random.default_rng(0).permutation(len(x))
    images = torch.from_numpy((x[order] / 16.0).astype(np.float32))
    labels = torch.from_numpy(y[order].astype(np.int64))
    cut = (1077, 1437)
    parts = [slice(0, cut[0]), slice(cut[0], cut[1]), slice(cut[1], None)]
    train, valid, test = ((images[p], labels[p]) for p in parts)
    return Splits(train, valid, test)


def _bundled(*parts: str) -> Path:
    """A file of scikit-learn's, found without importing it: that takes a second in every worker."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("digits come with scikit-learn, which is not installed; install it")
    return Path(spec.origin).parent.joinpath(*parts)


# --- MNIST and Fashion-MNIST in the IDX layout -------------------------------------------------

_FILES = {
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "test_x": "t10k-images-idx3-ubyte",
    "test_y": "t10k-labels-idx1-ubyte",
}

# Public home and sha256 of each file's decompressed content, in the order of _FILES.
IMAGES: dict[str, tuple[str, tuple[str, str, str, str]]] = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    "fashion_mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
}


def _images(name: str) -> Splits:
    """60,000 + 10,000 images of 28x28; the last 10,000 training images validate."""
    home, digests = IMAGES[name]
    raw = {
        part: parse_idx(_content(name, file, home, digest), file)
        for (part, file), digest in zip(_FILES.items(), digests, strict=True)
    }
    x = torch.from_numpy(raw["train_x"].astype(np.float32) / 255.0)
    y = torch.from_numpy(raw["train_y"].astype(np.int64))
    test_x = torch.from_numpy(raw["test_x"].astype(np.float32) / 255.0)
    test_y = torch.from_numpy(raw["test_y"].astype(np.int64))
    return Splits((x[:50_000], y[:50_000]), (x[50_000:], y[50_000:]), (test_x, test_y))


def _content(name: str, file: str, home: str, digest: str) -> bytes:
    """The decompressed bytes of one file, from HARNESS_DATA or the cache, checked."""
    path = _locate(name, f"{file}.gz", home)
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise DataError(
            f"{path} cannot be decompressed ({error}); delete it and run again"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise DataError(f"{path} has sha256 {found}; expected {digest}; delete it and run again")
    return content


def _locate(name: str, file: str, home: str) -> Path:
    folder = os.environ.get("HARNESS_DATA")
    if folder:
        path = Path(folder) / name / file
        if path.is_file():
            return path
    import pooch  # only where something may have to be downloaded

    try:
        fetched = pooch.retrieve(
            home + file, known_hash=None, fname=file, path=pooch.os_cache("harness") / name
        )
    except Exception as error:  # whatever the transport raises, the user's remedy is the same
        raise DataError(
            f"data file {name}/{file} is not in HARNESS_DATA={folder or '(unset)'} and cannot be "
            f"downloaded from {home} ({type(error).__name__}); put it into HARNESS_DATA/{name}/"
        ) from None
    return Path(fetched)


def parse_idx(content: bytes, name: str = "file") -> np.ndarray:
    """An array of unsigned bytes from the IDX layout of MNIST.

    Raises:
        DataError: not IDX, not unsigned bytes, or not as long as its header says.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise DataError(
            f"{name} starts with {content[:4]!r}; expected an IDX header of unsigned bytes"
        )
    rank = content[3]
    if len(content) < 4 + 4 * rank:
        raise DataError(f"{name} ends inside its header ({len(content)} bytes)")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    size = 1
    for length in shape:
        size *= length
    body = len(content) - 4 - 4 * rank
    if body != size:
        raise DataError(
            f"{name} holds {body} values; its header says {' x '.join(map(str, shape))}"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
