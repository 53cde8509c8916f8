"""Pages to start from: studies that run as they are, with a place for what is one's own."""

from __future__ import annotations

from pathlib import Path

from harness.study import BadInput

PAGES = Path(__file__).parent / "pages"


def kinds() -> list[str]:
    """What there is a page for."""
    return sorted(path.stem for path in PAGES.glob("*.txt"))


def write(file: Path, kind: str) -> Path:
    """Write the page of a kind to a new file.

    Raises:
        BadInput: no such kind; a file that is there, or that cannot be written; or a name that no
            study can have.
    """
    if kind not in kinds():
        raise BadInput(f"--kind is {kind!r}; allowed: {', '.join(kinds())}")
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise BadInput(f"{str(file)!r} is no study's file; allowed: a name like my_study.py")
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write((PAGES / f"{kind}.txt").read_text(encoding="utf-8"))
    except FileExistsError:
        raise BadInput(f"{str(file)!r} is there already; allowed: a new file") from None
    except OSError as error:
        raise BadInput(
            f"{str(file)!r} cannot be written ({error.strerror}); allowed: a folder that can be written"
        ) from None
    return file
