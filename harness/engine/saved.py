"""The file of a pack in flight: whole or refused, and read without running anything in it.

A zip archive, not compressed, of two members: `about`, in JSON, says whose it is and how far it has
come, and holds the tree of its values; `numbers` holds the bytes of its tensors, one after another,
to which that tree refers. The archive has a checksum of each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness import durable
from harness.study.fingerprint import version

SUFFIX = ".flight"
PACKAGE = Path(__file__).resolve().parent.parent
# What reading a file that is none of ours may raise, or one that somebody has written to.
WRONG = (
    OSError,
    zipfile.BadZipFile,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
)
FOLDERS = ("parts", "engine")  # whose code decides what is in a file


class Refused(Exception):
    """A file that cannot be gone on from, and why."""


@dataclass(frozen=True)
class Saved:
    """What a file says of itself.

    Args:
        keys: Of its trials.
        device: The kind of device that they train on.
        code: What made it: see `code`.
        step, updates: How many updates have been made, of how many.
        seconds: That it has been trained for.
    """

    keys: tuple[str, ...]
    device: str
    code: str
    step: int
    updates: int
    seconds: float

    @property
    def left(self) -> float:
        """The share of the updates that is still to be made."""
        return 1 - self.step / self.updates


@functools.cache
def code() -> str:
    """Of the code that makes such files and goes on from them, with torch's version."""
    found = hashlib.sha256(version("torch").encode())
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            found.update(path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def write(path: Path, about: Saved, tree: Any, fill: Callable[[IO[bytes]], object]) -> None:
    """Make a file, or replace it in one step.

    Args:
        path: The file.
        about: What it says of itself.
        tree: JSON of its values.
        fill: Writes the bytes to which the tree refers.

    Raises:
        OSError: the disk is full or cannot be written; an earlier file is as it was.
    """
    text = json.dumps({**dataclasses.asdict(about), "tree": tree})

    def both(part: Path) -> None:
        with zipfile.ZipFile(part, "w") as archive:
            archive.writestr("about", text)
            with archive.open("numbers", "w", force_zip64=True) as numbers:
                fill(numbers)

    durable.write(path, both)


def read(path: Path) -> tuple[Saved, Any, bytearray]:
    """What a file says of itself, its tree and its bytes.

    Raises:
        Refused: it is damaged, or none of ours.
    """
    with _archive(path) as archive:
        said = json.loads(archive.read("about"))
        tree, numbers = said.pop("tree"), bytearray(archive.read("numbers"))
        return _said(said), tree, numbers


def about(path: Path) -> Saved:
    """What a whole file says of itself.

    Raises:
        Refused: it is damaged, or none of ours.
    """
    with _archive(path) as archive:
        if archive.testzip() is not None:
            raise Refused(f"{path.name} is damaged")
        said = json.loads(archive.read("about"))
        said.pop("tree")
        return _said(said)


def found(folder: Path) -> Iterator[tuple[Path, Saved | Refused]]:
    """Every file in a folder and what it says of itself, or why it is refused."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            said = about(path)
            if said.code != code():
                raise Refused(f"{path.name} was made by other code")
            yield path, said
        except Refused as error:
            yield path, error


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A file, opened; whatever is wrong with it is a `Refused`."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except WRONG as error:
        raise Refused(f"{path.name} is damaged") from error


def _said(said: dict[str, Any]) -> Saved:
    made = Saved(**{**said, "keys": tuple(map(str, said["keys"]))})
    if not 0 <= made.step <= made.updates or made.updates < 1:
        raise ValueError(f"{made.step} of {made.updates} updates")
    return made
