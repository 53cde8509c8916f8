"""Modules beside a study file: found, and imported from their texts.

``from my_models import build`` in a study means the ``my_models.py`` in its folder, or the package
``my_models/``, before anything installed of that name. Their texts travel with the study's
(`Source.beside`), so that every worker runs what the driver read. They are imported under the
study's own module, never under their bare names: two studies with a ``my_models`` each have their
own, and nothing that is installed can be hidden from others.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.study.declared import Source, module_of
from harness.study.errors import BadInput

PACKAGE = "harness"


def gather(path: Path, text: str) -> tuple[tuple[str, str], ...]:
    """The modules beside a study that it imports, and that these import: paths from its folder, and
    texts.

    Raises:
        BadInput: one of them cannot be read.
    """
    found: dict[str, str] = {}
    waiting = list(_imported(text, ""))
    while waiting:
        name = waiting.pop()
        file = _file(path, name)
        if file is None:
            continue
        place = file.relative_to(path.parent).as_posix()
        if place in found:
            continue
        try:
            found[place] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{file}, which {path.name} imports, cannot be read: {error}") from None
        waiting += _imported(found[place], name if file.name == "__init__.py" else _up(name))
    return tuple(sorted(found.items()))


def _up(name: str) -> str:
    return name.rpartition(".")[0]


def _file(study: Path, name: str) -> Path | None:
    """The file of a module beside a study, if it is one."""
    head, *rest = name.split(".")
    if head in sys.stdlib_module_names or head in (PACKAGE, study.stem):
        return None
    folder = study.parent
    for part in [head, *rest][:-1]:
        folder = folder / part
        if not (folder / "__init__.py").is_file():
            return None
    last = name.rpartition(".")[2]
    for file in (folder / last / "__init__.py", folder / f"{last}.py"):
        if file.is_file():
            return file
    return None


def _imported(text: str, package: str) -> Iterator[str]:
    """Names of modules that a text may import, with those above each; what does not parse imports
    nothing."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            home = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names = [home, *(f"{home}.{alias.name}" for alias in node.names if home)]
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


# --- importing them ------------------------------------------------------------------------------

_STUDIES: dict[str, Source] = {}  # by the name of the module that their text is run in


def module_for(source: Source) -> types.ModuleType:
    """An empty module to run a study's text in, whose imports find what lies beside it."""
    name = f"harness_study_{source.name}"
    if source.beside:  # two studies of one name, with other modules beside them
        texts = "\0".join([source.text, *(part for pair in source.beside for part in pair)])
        name += f"_{hashlib.sha256(texts.encode()).hexdigest()[:8]}"
    for old in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        del sys.modules[old]
    module = types.ModuleType(name)
    module.__file__ = source.path
    if source.beside:
        _STUDIES[name] = source
        if not any(isinstance(one, _Finder) for one in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        module.__path__ = []
        vars(module)["__builtins__"] = _builtins(name)
    sys.modules[name] = module  # dataclasses and functions look their module up
    return module


def files(source: Source) -> dict[str, str]:
    """The modules beside a study: the file names in their tracebacks, and their paths from its
    folder."""
    return {str(Path(source.path).parent / path): path for path, _ in source.beside}


def _builtins(study: str) -> dict[str, Any]:
    """Python's own names, with an import that looks beside the study first."""
    heads = {name.partition(".")[0] for name in _STUDIES[study].modules()}
    ordinary = builtins.__import__

    def look_beside(
        name: str, globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None, fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:  # fmt: skip
        head = name.partition(".")[0]
        if level or head not in heads:
            return ordinary(name, globals, locals, fromlist or (), level)
        found = ordinary(f"{study}.{name}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[f"{study}.{head}"]

    return {**vars(builtins), "__import__": look_beside}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules beside studies by the full names that they have here."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        study, _, name = fullname.partition(".")
        if study not in _STUDIES or name not in _STUDIES[study].modules():
            return None
        file = next(f for f, at in files(_STUDIES[study]).items() if module_of(at) == name)
        package = name in _STUDIES[study].packages()
        spec = importlib.util.spec_from_loader(fullname, self, origin=file, is_package=package)
        if spec is not None:
            spec.has_location = True
        return spec

    def exec_module(self, module: types.ModuleType) -> None:
        study, _, name = module.__name__.partition(".")
        text = _STUDIES[study].modules()[name]
        vars(module)["__builtins__"] = _builtins(study)
        exec(compile(text, str(module.__file__), "exec"), vars(module))  # noqa: S102 - as the study
