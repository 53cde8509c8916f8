"""Files of data sets: looked for in `HARNESS_DATA`, then in the user's cache, then downloaded from
their public home; each is checked against a pinned digest every time it is read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import zlib
from pathlib import Path

from harness.study import DataError


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


def forget() -> None:
    """Have looked for nothing."""
    _LOOKED.clear()


def at_hand(name: str, file: str) -> bool:
    """Whether a file needs no download."""
    folder = os.environ.get("HARNESS_DATA")
    if folder and _is_there(Path(folder) / name / file):
        return True
    return _is_there(_cached(name, file))


def _is_there(path: Path) -> bool:
    _LOOKED[str(path.absolute())] = there = path.is_file()
    return there


def content(name: str, file: str, home: str, digest: str) -> bytes:
    """The decompressed bytes of one file, from HARNESS_DATA, the cache or its home, checked."""
    if given := _given(name, file):
        return checked(given, digest)
    path = _cached(name, file)
    if not path.is_file():
        resumed = _part(path).is_file()
        try:
            _download(home + file, path)
            return checked(path, digest)
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
    return checked(path, digest)


LARGEST = 2**28  # bytes that a file, or its content, may have: five times the largest there is


def checked(path: Path, digest: str, remedy: str = "delete it and run again") -> bytes:
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
