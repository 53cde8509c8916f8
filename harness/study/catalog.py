"""Finding and loading studies: by name, or a file of your own.

A study's name is its file's. Names are those of `studies/*.py` in the project that one is in, and of
the studies that come with this package, from anywhere. A file that does not import or does not
declare a valid `STUDY` raises, naming file and line; it never vanishes from a listing.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import os
import re
import traceback
import weakref
from pathlib import Path

from harness.study import beside
from harness.study.declared import Source
from harness.study.errors import BadInput, InvalidStudy
from harness.study.study import Study

MODULE = "harness_study_"  # and its name: the module that a study's file becomes


PACKAGE = Path(__file__).resolve().parent.parent


def _shipped(inside: str, beside: str) -> Path:
    """What comes with the package: a wheel has it inside of it, a checkout beside it."""
    places = PACKAGE / inside, PACKAGE.parent / beside
    return next((folder for folder in places if folder.is_dir()), places[0])


SHIPPED = _shipped("_studies", "studies")
PUBLISHED = _shipped("_published", "reports/published")  # the rows of published runs


def published_as(study: str, scale: str) -> str:
    """What the files of a published run are called: by its study, and by its scale but for the default."""
    return study if scale == "default" else f"{study}-{scale}"


def project() -> Path | None:
    """The nearest folder upwards with `studies/` and `reports/`, if there is one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "studies").is_dir() and (folder / "reports").is_dir():
            return folder
    return None


def published_file(study: str, scale: str = "default") -> Path:
    """The rows of a study's published run: the project's, or those that came with the package.

    Raises:
        BadInput: there are none.
    """
    here = project()
    folders = [here / "reports" / "published"] if here else []
    study = published_as(study, scale)
    paths = [folder / f"{study}.parquet" for folder in (*folders, PUBLISHED)]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        there = sorted(one.stem for one in PUBLISHED.glob("*.parquet"))
        raise BadInput(
            f"no published run of {study!r}; allowed: {', '.join(there) or 'none is there'}"
        )
    return found


def chain_file(rows: Path) -> Path:
    """What a published run's registrations and digests are in, of the file that its rows are in."""
    return rows.parent / "chains" / f"{rows.stem}.json"


def root() -> Path:
    """Where ledger, reports and spool go: `HARNESS_HOME`, else the project, else this folder.

    Raises:
        BadInput: `HARNESS_HOME` is no folder.
    """
    if home := os.environ.get("HARNESS_HOME"):
        folder = Path(home).expanduser().absolute()
        if not folder.is_dir():
            raise BadInput(f"HARNESS_HOME={home!r}; allowed: a folder that exists")
        return folder
    return project() or Path.cwd()


def names() -> list[str]:
    """The studies that a listing shows: the project's, or outside of any those of the package."""
    here = project()
    return _in(here / "studies" if here else SHIPPED)


def known(name: str) -> bool:
    """Whether a study is found by its name alone."""
    return name in names() or name in _in(SHIPPED)


def _in(folder: Path) -> list[str]:
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def find(name: str) -> Source:
    """The source of a study by its name, or by the path of a file (ending in .py).

    Raises:
        BadInput: no such study or file, or a name that is no identifier.
    """
    if name.endswith(".py"):
        path = _file(name)
        if path is None:
            raise BadInput(f"no study file {name!r}; allowed: a path to an existing .py file")
        if not path.stem.isidentifier():
            raise BadInput(
                f"study file {name!r}: its name must be an identifier, as in my_study.py"
            )
    else:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise BadInput(
                f"study name {name!r}; allowed: letters, digits and underscores, one of "
                f"{', '.join(names())}, or the path of a .py file"
            )
        here = project()
        own = _file(str(here / "studies" / f"{name}.py")) if here else None
        path = own or _file(str(SHIPPED / f"{name}.py"))
        if path is None:
            near = difflib.get_close_matches(name, names(), 1, 0.5)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise BadInput(f"no study {name!r}{hint}; allowed: {', '.join(names())}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"study file {path} cannot be read: {error}") from None
    return Source(path.stem, str(path), text, beside.gather(path, text))


def _file(name: str) -> Path | None:
    """The file of a path that a user gives, if there is one."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long, an unknown ~user, a null character
        return None


def load(source: Source) -> Study:
    """The `STUDY` that a source declares, with its name set.

    Raises:
        BadInput: the file does not run, or declares no valid study.
    """
    module = beside.module_for(source)
    try:
        _check_keys(source)
        exec(compile(source.text, source.path, "exec"), module.__dict__)  # noqa: S102 - a study is code
    except InvalidStudy as error:
        raise BadInput(f"study file {source.path}{_line(error, source)}: {error}") from None
    except Exception as error:
        line = _line(error, source)
        raise BadInput(
            f"study file {source.path}{line} does not import: {type(error).__name__}: {error}"
        ) from None
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise BadInput(f"study file {source.path} has STUDY={study!r}; allowed: a harness.Study")
    title = study.title or (module.__doc__ or source.name).strip().splitlines()[0]
    loaded = dataclasses.replace(study, name=source.name, title=title)
    _LOADED[id(loaded)] = source
    weakref.finalize(loaded, _LOADED.pop, id(loaded), None)
    return loaded


_LOADED: dict[int, Source] = {}  # by the ids of the studies that there still are


def origin(study: Study) -> Source | None:
    """The source that a study was loaded from; None for one that was made here."""
    return _LOADED.get(id(study))


def _check_keys(source: Source) -> None:
    """Raise `InvalidStudy` for a key that is written twice, of which Python would drop one: a claim,
    an arm."""
    for node in ast.walk(ast.parse(source.text, source.path)):
        keys = node.keys if isinstance(node, ast.Dict) else []
        words = [key.value for key in keys if isinstance(key, ast.Constant)]
        for key in keys:
            if isinstance(key, ast.Constant) and words.count(key.value) > 1:
                raise InvalidStudy(
                    f"{key.value!r} is a key twice, first in line {key.lineno}; allowed: each once"
                )


def about(source: Source) -> str:
    """What the file says of its study after the first line: methods, departures, what to know."""
    text = ast.get_docstring(ast.parse(source.text)) or ""
    return text.partition("\n")[2].strip()


def _line(error: BaseException, source: Source) -> str:
    """Where a study file went wrong; and where beside it, if it was there."""
    frames = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.lineno:
        frames.append((error.filename or source.path, error.lineno))
    mine = [line for file, line in frames if file == source.path]
    others = beside.files(source)
    theirs = [f"{others[file]}, line {line}" for file, line in frames if file in others]
    found = [f"line {mine[-1]}"] if mine else []
    return "".join(f", {one}" for one in [*found, *theirs[-1:]])
