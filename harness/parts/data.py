"""Data sets behind one interface, split once and for all.

A `Data` names a data set, and how many training examples of it are used; `load` turns it into
tensors. The test split is fixed and the validation split is drawn once from the rest, so that seeds
vary initialisation, batches and which examples are trained on, never what is tested on.

Files are looked for in `HARNESS_DATA`, then in the user's cache, then downloaded from their public
home; each is checked against a pinned digest every time it is read. `share` and `adopt` hand what
one process has read to others.

A study may also read what another study has measured (`Study.reads`): `table` gives it those rows.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import io
import os
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.parts import sequences
from harness.study import DataError


@dataclass(frozen=True)
class Data:
    """A named data set: "digits", "mnist", "fashion_mnist", or sequences: "jsb_chorales",
    "tinyshakespeare", "temporal_order" (see `harness.parts.sequences`).

    Args:
        name: Which.
        train: How many training examples to use (None: all).
        draw: The number of a random subset, which may differ between trials of a pack; None takes
            the first `train` examples. The same number is the same subset in every trial, and a
            smaller one is part of a larger one, so that arms and sizes can be paired.
        length: Steps of a sequence, for data sets that come at any length.

    Raises:
        DataError: an unknown name, more examples than there are, or an impossible length.
    """

    name: str
    train: int | None = None
    draw: int | None = None
    length: int | None = None

    def __post_init__(self) -> None:
        if self.name not in (*SIZES, *sequences.NAMES):
            names = ", ".join((*SIZES, *sequences.NAMES))
            raise DataError(f"data set {self.name!r}; allowed: {names}")
        shortest = sequences.SHORTEST.get(self.name)
        if (self.length or 0) < (shortest or 0) or (self.length is not None and shortest is None):
            allowed = "None" if shortest is None else f"at least {shortest}"
            raise DataError(f"length={self.length}; allowed: {allowed} for {self.name}")
        if self.train is not None and not 0 < self.train <= self.most:
            raise DataError(f"train={self.train}; allowed: 1 to {self.most} for {self.name}")

    @property
    def most(self) -> int:
        """Training examples that there are."""
        return SIZES.get(self.name) or sequences.train_size(self.name, self.length)


# Training examples of each data set of images.
SIZES = {"digits": 1077, "mnist": 50_000, "fashion_mnist": 50_000}


@dataclass(frozen=True)
class Splits:
    """Inputs x (n, ...) float32 and targets y (n,) int64 of the three splits; of sequences what
    `harness.parts.sequences` says."""

    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(data: Data, device: str = "cpu") -> Splits:
    """The splits of a data set as tensors on a device, kept for the life of the process.

    A random subset (`Data.draw`) is the business of whoever draws it: the training split is whole.

    Raises:
        DataError: a file is missing or is not the pinned one.
    """
    splits = _splits(data.name, data.length, device)
    if data.train is None or data.draw is not None:
        return splits
    x, y = splits.train
    return Splits((x[: data.train], y[: data.train]), splits.valid, splits.test)


def at_hand(data: Data) -> bool:
    """Whether a data set can be loaded without a download: it is bundled or made here, or its files
    are in HARNESS_DATA or the cache. Their content is checked when it is read."""
    if data.name in sequences.FILES:
        file = sequences.FILES[data.name]
        return _found(file.folder, file.name)
    return data.name not in IMAGES or all(_found(data.name, f"{file}.gz") for file in _FILES)


def train_size(data: Data) -> int:
    """Training examples that are used of a data set, known without loading it."""
    return data.most if data.train is None else data.train


# Training, validation and test examples, x and y of each, as the files have them: images are bytes.
Arrays = tuple[np.ndarray, ...]
_ARRAYS: dict[str, Arrays] = {}


def share() -> dict[str, Arrays]:
    """What this process has read so far, to be handed to others."""
    return dict(_ARRAYS)


def adopt(shared: Mapping[str, Arrays]) -> None:
    """Take over what another process has read and checked, so that nothing is read again."""
    _ARRAYS.update(shared)


def forget() -> None:
    """Drop everything that was read."""
    _ARRAYS.clear()
    _TABLES.clear()
    _DIGESTS.clear()
    _SOURCES.clear()
    _splits.cache_clear()


# --- rows of other studies -----------------------------------------------------------------------

Table = Mapping[str, np.ndarray]
MEASURED = ("seconds",)  # columns that no second run repeats
_TABLES: dict[str, Table] = {}
_DIGESTS: dict[str, str] = {}
_SOURCES: dict[str, Mapping[str, Any]] = {}


def table(study: str) -> Table:
    """The rows of a study that this one `reads`: its confirmed trials at every recorded step.

    Returns:
        Columns of equal length, by name: arm, seed, step, status, seconds, each factor and metric.
        Times are in no key: what a trial makes of them is not trained again when they change.

    Raises:
        DataError: that study is not among `Study.reads`, or has not been run.
    """
    if study not in _TABLES:
        held = ", ".join(_TABLES) or "none"
        raise DataError(f"no table {study!r}; allowed: those that Study.reads names, here {held}")
    return _TABLES[study]


def hold(
    study: str, columns: Mapping[str, np.ndarray],
    source: Mapping[str, Any] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Make rows the `table` of a study in this process, in place of those that were.

    Args:
        study, columns: What `table` returns.
        source: What is known of the run that they are from.

    Raises:
        DataError: columns of different lengths.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"table {study!r} has columns of {lengths}; allowed: one length")
    _TABLES[study] = MappingProxyType({name: np.asarray(c) for name, c in columns.items()})
    found = hashlib.sha256()
    for name, column in sorted(_TABLES[study].items()):
        if name in MEASURED:
            continue
        plain = column.dtype != object  # else the bytes are addresses
        content = (
            np.ascontiguousarray(column).tobytes() if plain else repr(column.tolist()).encode()
        )
        found.update(f"{name} {column.dtype}".encode() + content)
    _DIGESTS[study] = found.hexdigest()[:16]
    _SOURCES[study] = source


def table_source(study: str) -> Mapping[str, Any]:
    """What is known of the run that a table is from."""
    return _SOURCES.get(study, {})


def tables() -> dict[str, dict[str, np.ndarray]]:
    """Every table that this process holds, to be handed to others."""
    return {name: dict(columns) for name, columns in _TABLES.items()}


def table_digest(study: str) -> str:
    """Sixteen hex digits over a table's rows, less what a clock measured: the same trainings done
    anew are the same table. Nothing where it is not held."""
    return _DIGESTS.get(study, "")


# --- reading -------------------------------------------------------------------------------------


@functools.cache
def _splits(name: str, length: int | None, device: str) -> Splits:
    key = name if length is None else f"{name} {length}"
    if key not in _ARRAYS:
        _ARRAYS[key] = _read(name, length)
    brightest = 16 if name == "digits" else 255
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        for array in _ARRAYS[key]:
            tensor = torch.from_numpy(array).to(device)
            if tensor.dtype == torch.uint8:  # images and their labels
                tensor = tensor.long() if tensor.dim() == 1 else tensor.float() / brightest
            found.append(tensor)
    train_x, train_y, valid_x, valid_y, test_x, test_y = found
    return Splits((train_x, train_y), (valid_x, valid_y), (test_x, test_y))


def _read(name: str, length: int | None) -> Arrays:
    if name == "digits":
        return _digits()
    if name in IMAGES:
        return _images(name)
    content = b""
    if name in sequences.FILES:
        file = sequences.FILES[name]
        content = _content(file.folder, file.name, file.home, file.digest)
    return sequences.arrays(name, content, length)


# sha256 of scikit-learn's digits.csv
DIGITS = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"


def _digits() -> Arrays:
    """Handwritten digits, 8x8, bundled with scikit-learn (UCI ML "Optical Recognition of
    Handwritten Digits", test part): 1,797 images, split 60/20/20 by a fixed permutation."""
    path = _bundled("datasets", "data", "digits.csv.gz")
    content = _checked(path, DIGITS, "reinstall scikit-learn")
    table = np.loadtxt(io.BytesIO(content), delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))].astype(np.uint8)
    parts = np.split(table, (1077, 1437))
    halves = (half for part in parts for half in (part[:, :64], part[:, 64]))
    return tuple(map(np.ascontiguousarray, halves))  # so that Ray hands it on without a copy


def _bundled(*parts: str) -> Path:
    """A file of scikit-learn's, found without importing it: that takes a second in every worker."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError("digits come with scikit-learn, which is not installed; install it")
    return Path(spec.origin).parent.joinpath(*parts)


# --- MNIST and Fashion-MNIST in the IDX layout -------------------------------------------------

_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip

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


def _images(name: str) -> Arrays:
    """60,000 + 10,000 images of 28x28; the last 10,000 training images validate."""
    home, digests = IMAGES[name]
    x, y, test_x, test_y = (
        parse_idx(_content(name, f"{file}.gz", home, digest), file)
        for file, digest in zip(_FILES, digests, strict=True)
    )
    return x[:50_000], y[:50_000], x[50_000:], y[50_000:], test_x, test_y


def _given(name: str, file: str) -> Path | None:
    """Where a file lies in HARNESS_DATA, if it does."""
    folder = os.environ.get("HARNESS_DATA")
    path = Path(folder) / name / file if folder else None
    return path if path and path.is_file() else None


def _cached(name: str, file: str) -> Path:
    """Where a download of a file is kept."""
    import pooch  # only where HARNESS_DATA does not have it

    return Path(pooch.os_cache("harness")) / name / file


_LOOKED: dict[str, bool] = {}


def looked_for() -> dict[str, bool]:
    """The files that this process has looked for, and whether they were there: what a study
    declares by `at_hand` goes by them."""
    return dict(_LOOKED)


def _found(name: str, file: str) -> bool:
    folder = os.environ.get("HARNESS_DATA")
    if folder and _is_there(Path(folder) / name / file):
        return True
    return _is_there(_cached(name, file))


def _is_there(path: Path) -> bool:
    _LOOKED[str(path.absolute())] = there = path.is_file()
    return there


def _content(name: str, file: str, home: str, digest: str) -> bytes:
    """The decompressed bytes of one file, from HARNESS_DATA, the cache or its home, checked."""
    if given := _given(name, file):
        return _checked(given, digest)
    path = _cached(name, file)
    if not path.is_file():
        resumed = _part(path).is_file()
        try:
            _download(home + file, path)
            return _checked(path, digest)
        except Exception as error:
            if not resumed:
                raise _missing(name, file, home, error) from None
        # the server may not have gone on from where an earlier download ended: from the start
        for left in (path, _part(path)):
            left.unlink(missing_ok=True)
        try:
            _download(home + file, path)
        except Exception as error:  # whatever the transport raises, the remedy is the same
            raise _missing(name, file, home, error) from None
    return _checked(path, digest)


LARGEST = 2**28  # bytes that a file, or its content, may have: five times the largest there is


def _checked(path: Path, digest: str, remedy: str = "delete it and run again") -> bytes:
    """The decompressed content of a file.

    Raises:
        DataError: it is not what was pinned; says its name, the expected and the found digest.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {remedy}") from None
    if len(raw) > LARGEST:
        raise DataError(f"{path} is larger than {LARGEST:,} bytes; expected less; {remedy}")
    found, flaw = decompressed(raw) if path.suffix == ".gz" else (raw, "")
    sha = hashlib.sha256(found).hexdigest()
    if flaw or sha != digest:
        raise DataError(
            f"{path} {flaw or 'is another file'}: its content has sha256 {sha}; expected {digest}; "
            f"{remedy}"
        )
    return found


def decompressed(raw: bytes) -> tuple[bytes, str]:
    """What a gzip file holds, as far as it can be read, and what is wrong with it, if anything.

    Never more than `LARGEST` bytes and one, however much a hostile file would unpack to.
    """
    try:
        found = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        with_header = zlib.decompressobj(wbits=31)
        try:
            found = with_header.decompress(raw, LARGEST)
        except zlib.error:
            found = raw
        return found, f"cannot be decompressed ({error})"
    return found, f"unpacks to more than {LARGEST:,} bytes" if len(found) > LARGEST else ""


def _missing(name: str, file: str, home: str, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    return DataError(
        f"data file {name}/{file} is not in HARNESS_DATA="
        f"{os.environ.get('HARNESS_DATA') or '(unset)'} and cannot be downloaded from {home} "
        f"({type(error).__name__}); put it into HARNESS_DATA/{name}/, or run again to go on"
    )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _download(url: str, path: Path) -> None:
    """Fetch a file with a progress bar. What an interrupted download has left is gone on with."""
    import pooch
    from tqdm import tqdm

    part = _part(path)

    def go_on(url: str, output: str, _: object) -> None:
        have = part.stat().st_size if part.is_file() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        label = "/".join(path.parts[-2:])
        bar = tqdm(total=1, desc=label, unit="B", unit_scale=True, disable=None)  # on a terminal
        with part.open("ab") as file:
            pooch.HTTPDownloader(progressbar=bar, headers=headers)(url, file, None)
        os.replace(part, output)

    pooch.get_logger().setLevel("WARNING")
    path.parent.mkdir(parents=True, exist_ok=True)
    pooch.retrieve(url, known_hash=None, fname=path.name, path=path.parent, downloader=go_on)


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
