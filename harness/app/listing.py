"""What `harness list`, `show` and `plan` print of a study, kept until it changes.

To read a study its file is run, which takes torch and whatever else it imports: seconds. So what
was read is kept, one JSON file under `.harness/listings/` a study, and one for the plan of each of
its scales, and used for as long as nothing has changed that it depends on:

    code        the text of the study's file and of the modules beside it, this package's text
    versions    Python's, and those of all installed packages
    files       whatever else was opened to read it, and which data sets are at hand (`at_hand`)

A study whose declaration may depend on more (the clock, the environment, the machine: it imports or
names what could ask for them) is never kept. Nor is one that cannot be read: its error is raised
each time anew.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.study import BadInput, By, Source, Study, catalog, few, range_of

PACKAGE = Path(__file__).resolve().parent.parent

# What a study may import and still be known by its code: none of it tells the time, the machine or
# the environment, unless by one of the names below. Modules beside the study are looked into.
PURE = {
    "__future__", "abc", "bisect", "collections", "contextlib", "copy", "dataclasses", "decimal", "enum",
    "fractions", "functools", "heapq", "itertools", "math", "numbers", "operator", "re", "statistics",
    "string", "textwrap", "types", "typing", "unicodedata", "warnings",
    "harness", "imblearn", "matplotlib", "numpy", "optuna", "pandas", "scipy", "seaborn", "sklearn", "torch",
}  # fmt: skip
BUILTINS = {"__builtins__", "__import__", "eval", "exec", "globals", "input"}
ATTRIBUTES = {"cpu_count", "cuda", "device_count", "environ", "getenv", "is_available", "mps"}
# What data sets are at hand goes by these.
VARIABLES = ("HARNESS_DATA", "HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")


def of(name: str) -> dict[str, Any]:
    """What is to be said of a study (by name, or by the path of a file), as JSON can hold it.

    Returns:
        Under "about" what `harness show --json` prints, under "printed" the words of its tables.

    Raises:
        BadInput: there is no such study, or it cannot be read.
    """
    source = catalog.find(name)
    return _kept_or(source, "", lambda: describe(catalog.load(source), source))


def planned(name: str, scale: str) -> dict[str, Any]:
    """What `harness plan` says of a study at a scale: see `harness.plan.forecast.dry_run`.

    Raises:
        BadInput: there is no such study or scale, or it cannot be read.
    """
    source, cores = catalog.find(name), os.cpu_count() or 1

    def tell() -> dict[str, Any]:
        study = catalog.load(source)
        study.budget(scale)
        from harness.claims import gates
        from harness.execution import seconds_taken
        from harness.plan.declared import Declarations
        from harness.plan.forecast import corrected, dry_run

        def sketched(at: str) -> dict[str, Any]:
            declared = Declarations(study, recorded=lambda: seconds_taken(study, at))
            return dry_run(study, source, at, cores, declared=declared)

        sketch = sketched(scale)
        if not sketch["recorded"] and "default" in study.budgets and _rows(source.name, "default"):
            off = sketched("default")["off"]
            sketch = corrected(sketch, off) if off else sketch
        return sketch | {"gates": [gate.told() for gate in gates(study, scale)]}

    if any(Path("/dev").glob("nvidia[0-9]*")):  # whether a process may use it, no file tells
        return tell()
    digests = [_rows(source.name, at) for at in (scale, "default")]
    return _kept_or(source, f"-{scale}-{cores}", tell, "".join(digests))


def _rows(study: str, scale: str) -> str:
    """Of the rows of the published run at a scale, by which a plan is told; "" where there are none."""
    try:
        return _content(str(catalog.published_file(study, scale))) or ""
    except BadInput:
        return ""


def in_flight(name: str, scale: str) -> dict[str, Any]:
    """The packs of a study at a scale that are saved: how many trials, the share of their updates that
    has been made, and the seconds that they have been trained for."""
    from harness.execution import saves

    return saves.aloft(saves.home(catalog.root(), catalog.find(name).name, scale))


def last(name: str, scale: str) -> dict[str, Any]:
    """What the published run of a study at a scale took: its trials, their cost and the machine (the
    seconds of a run leave out those of trials that it took from earlier ones); or nothing."""
    try:
        stated = catalog.published_file(catalog.find(name).name, scale).with_suffix(".json")
        run = json.loads(stated.read_text(encoding="utf-8"))
        return {
            "trials": run["trials"]["planned"], "cost": run["cost"], "machine": run["machine"],
        }  # fmt: skip
    except (BadInput, OSError, ValueError, KeyError):
        return {}


def _kept_or(
    source: Source, which: str, tell: Callable[[], dict[str, Any]], also: str = ""
) -> dict[str, Any]:
    """What is kept, or else what is told now; `also` is what it was told by beside the study."""
    path = _path(source, which)
    key = _key(source) + also
    kept = _kept(path, key) if path else None
    if kept is not None:
        return kept
    with _opened() as opened:
        said = tell()
    if path and known_by_code(source):
        with contextlib.suppress(OSError):  # a folder that cannot be written: told anew each time
            _keep(path, key, said, opened)
    return said


# --- what is said of a study ---------------------------------------------------------------------


def describe(study: Study, source: Source) -> dict[str, Any]:
    """All that is to be said of a study that has been loaded."""
    claims = [
        {
            "id": c.id,
            "family": c.family,
            "statement": c.statement,
            "source": study.cite(c.source),
            "quantity": c.check.quantity(study),
            "direction": c.check.direction,
            "margin": c.check.margin,
            "unit": c.check.unit(study),
            "exploratory": c.exploratory,
        }
        for c in study.claims
    ]
    about = {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "about": catalog.about(source),
        "file": source.path,
        "arms": {
            arm: {
                "label": study.label(arm),
                "settings": dict(study.arms[arm].settings),
                "held": dict(study.arms[arm].held),
                "tuned": {n: str(d) for n, d in study.space(arm).items()},
            }
            for arm in study.arms
        },
        "vary": {k: list(v) for k, v in study.vary.items()},
        "fixed": dict(study.fixed),
        "reads": list(study.reads),
        "unsealed": study.unsealed,
        "metrics": {n: {"unit": m.unit, "better": m.better} for n, m in study.metrics.items()},
        "budgets": {
            s: {
                "draws": _plain(b.draws),
                "seeds": _plain(b.seeds),
                "most_seeds": b.most_seeds,
                "futility": b.futility,
                "finalists": b.finalists,
                "final_seeds": _plain(b.final_seeds),
                "settings": {name: _plain(value) for name, value in b.settings.items()},
                "trials": sum(study.trials(s, arm, cell) for arm, cell in study.cells(s)),
            }
            for s, b in study.budgets.items()
        },
        "families": {name: dataclasses.asdict(one) for name, one in study.families.items()},
        "claims": claims,
    }
    return {"about": about, "printed": _printed(study, about)}


def _printed(study: Study, about: dict[str, Any]) -> dict[str, Any]:
    """The words of tables whose values JSON would not give back as they are."""
    arms = []
    for arm, one in study.arms.items():
        held = [f"{k}={v} (held)" for k, v in one.held.items()]
        own = [f"{k}={v}" for k, v in one.settings.items()]
        tuned = [f"{k} {range_of(d)}" for k, d in study.space(arm).items()]
        arms.append([study.label(arm), ", ".join(own + held), ", ".join(tuned)])
    budgets = []
    for scale, b in study.budgets.items():
        more = ", ".join(
            f"{k}=({few(v)})" if isinstance(v, tuple) else f"{k}={v}" for k, v in b.settings.items()
        )
        trials = f"{about['budgets'][scale]['trials']:,}"
        budgets.append(
            [
                scale,
                str(b.draws),
                f"{b.finalists} × {b.final_seeds}" if b.finalists else "–",
                str(b.seeds),
                trials,
                more,
            ]
        )
    return {
        "arms": arms,
        "vary": "; ".join(f"{k} = {few(v)}" for k, v in study.vary.items()),
        "fixed": ", ".join(f"{k} = {v}" for k, v in study.fixed.items()),
        "margins": [f"{c['direction']} {c['margin']:.3g} {c['unit']}" for c in about["claims"]],
        "budgets": budgets,
    }


def _plain(value: Any) -> Any:
    """A number of a budget for JSON: what goes by a factor as the factor's levels."""
    return {value.factor: dict(value.values)} if isinstance(value, By) else value


# --- what it depends on --------------------------------------------------------------------------


def _key(source: Source) -> str:
    """Of everything that is known before a study is read."""
    folder = os.environ.get("HARNESS_DATA")
    variables = [os.environ.get(name) for name in VARIABLES]
    content = [
        dataclasses.asdict(source),
        _surroundings(),
        variables,
        os.path.abspath(folder) if folder else None,
    ]
    return _digest(json.dumps(content).encode())


@functools.cache
def _surroundings() -> str:
    """Of Python, the installed packages and this one's text: they stay while a process lives."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # not sys.path, to which some add
    homes = {
        *_installed(),
        *site.getsitepackages(),
        site.getusersitepackages(),
        *filter(None, given),
    }
    packages = sorted(
        name
        for folder in homes
        if os.path.isdir(folder)
        for name in os.listdir(folder)
        if name.endswith((".dist-info", ".egg-info"))  # with the version in its name
    )
    texts = [
        (str(path.relative_to(PACKAGE)), _digest(path.read_bytes()))
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    return _digest(json.dumps([sys.version, packages, texts]).encode())


def known_by_code(source: Source) -> bool:
    """Whether a study's code alone, and the files it opens, decide what it declares, as far as can
    be told from what it imports and names."""
    texts = [source.text, *(text for _, text in _beside(source))]
    own = {path.split("/")[0].removesuffix(".py") for path, _ in _beside(source)}
    names: set[str] = set()
    for node in (node for text in texts for node in ast.walk(ast.parse(text))):
        dotted: list[str] = []
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
            dotted = [node.module] if node.module and not node.level else []
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            return False
        elif isinstance(node, ast.Constant) and str(node.value).startswith("hf:"):
            return False  # `Data.of` reads it in ways that nobody hears of
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        if any(name.split(".")[0] not in PURE | own for name in dotted):
            return False
        names.update(*(name.split(".") for name in dotted))
    return not names & ATTRIBUTES


def _beside(source: Source) -> tuple[tuple[str, str], ...]:
    """The modules beside a study that it imports, where its source carries them."""
    return getattr(source, "beside", ())


_LISTENERS: list[set[str]] = []  # those who want to know which files are opened


@functools.cache
def _listen() -> None:
    """Tell `_LISTENERS` of every file that Python opens from now on."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if _LISTENERS and event == "open" and isinstance(arguments[0], str | bytes):
            for listener in _LISTENERS:
                listener.add(os.fsdecode(arguments[0]))

    sys.addaudithook(heard)


@contextlib.contextmanager
def _opened() -> Iterator[set[str]]:
    """The files that are opened within, as they come."""
    _listen()
    opened: set[str] = set()
    _LISTENERS.append(opened)
    try:
        yield opened
    finally:
        _LISTENERS.remove(opened)


def _files(opened: set[str]) -> dict[str, str | None]:
    """Each file that was opened and is no part of what is installed, and its digest; and those of
    the modules that an earlier study has imported: this one may use them too."""
    modules = [
        file
        for name, module in [*sys.modules.items()]
        if not name.startswith(catalog.MODULE)  # another study
        and isinstance(file := getattr(module, "__file__", None), str)
        and os.path.isfile(file)
    ]
    paths = sorted({*map(_own_path, opened), *map(_own_path, modules)})
    return {path: _content(path) for path in paths if not path.startswith(_ignored())}


def _own_path(file: str) -> str:
    """The path of a file; of compiled code, that of its text."""
    path = os.path.abspath(file)
    if path.endswith(".pyc"):
        with contextlib.suppress(ValueError):
            return importlib.util.source_from_cache(path)
    return path


@functools.cache
def _ignored() -> tuple[str, ...]:
    """Where files lie that versions stand for, or the system's own."""
    ours = {f"{folder}{os.sep}" for folder in (*_installed(), str(PACKAGE))}
    return (*ours, "/proc/", "/sys/", "/dev/", "/etc/", "/usr/share/")


def _installed() -> set[str]:
    return {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}


def _content(path: str) -> str | None:
    try:
        return _digest(Path(path).read_bytes())
    except OSError:  # none there, or a folder
        return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- how it is kept ------------------------------------------------------------------------------


def _path(source: Source, which: str) -> Path | None:
    """Where what is said of a study is kept: in the project, or where something has been run."""
    root = catalog.root()
    if catalog.project() != root and not (root / ".harness").is_dir():
        return None
    where = _digest(os.path.abspath(source.path).encode())[:8]
    return root / ".harness" / "listings" / f"{source.name}-{where}{which}.json"


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    """What was kept of a study, if it is whole and holds still."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        said, files, looked = kept["said"], kept["files"], kept["looked"]
        if kept["key"] != key or kept["whole"] != _whole(said, files, looked):
            return None
        same = all(_content(file) == digest for file, digest in files.items())
        same = same and all(os.path.isfile(file) == there for file, there in looked.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # none, or not one of ours
    return dict(said) if same else None


def _keep(path: Path, key: str, said: dict[str, Any], opened: set[str]) -> None:
    from harness.parts import data

    try:
        text = json.dumps(said, allow_nan=False, default=str)
    except ValueError:
        return  # JSON has no such number
    said = json.loads(text)
    if json.dumps(said) != text:
        return  # two levels, 1 and "1", that JSON takes for one
    files, looked = _files(opened), data.looked_for()
    kept = {"key": key, "whole": _whole(said, files, looked), "files": files, "looked": looked}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps({**kept, "said": said}), "utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _whole(*content: Any) -> str:
    return _digest(json.dumps(content).encode())
