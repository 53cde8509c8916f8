"""A hash of the code that trains, so that a trial's key changes when its training would. Layer 1.

Starting from a function, every module-level name it uses is followed through the study file and
through this package, and the syntax trees found are hashed: comments, docstrings, figures and
claims do not count. Of a dictionary that maps names to parts (rules, activations, surfaces) only
the parts that the study names count, so that a new part changes no old key.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.study import InvalidStudy

PACKAGE = "harness"


Definitions = dict[str, tuple[ast.stmt, ...]]


@functools.cache
def _definitions(module: str) -> Definitions:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return {}
    return definitions(Path(spec.origin).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)
def definitions(source: str) -> Definitions:
    """Top-level names of a source text and all statements that define or change them, in order;
    docstrings removed."""
    found: dict[str, list[ast.stmt]] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Module):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    for node in tree.body:
        for name, statement in _defines(node):
            found.setdefault(name, []).append(statement)
    return {name: tuple(statements) for name, statements in found.items()}


def _defines(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a top-level statement binds or changes."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield node.name, node
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            for child in ast.walk(target):  # of R[0] and a.b too, the R and the a
                if isinstance(child, ast.Name):
                    yield child.id, node
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from _imports(node)
    elif isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With):
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.id, node
            elif isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield child.name, node
            elif isinstance(child, ast.Import | ast.ImportFrom):
                yield from _imports(child)
    elif isinstance(node, ast.Expr):  # R.update(...): a call on a name may change it
        for child in ast.walk(node):
            if isinstance(child, ast.Name):
                yield child.id, node


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.stmt]]:
    """Each name that an import binds, with an import of that name alone."""
    for alias in node.names:
        one = type(node)(**{**vars(node), "names": [alias]})
        yield (alias.asname or alias.name).split(".")[0], ast.copy_location(one, node)


def code_hash(source: str, root: str, settings: frozenset[str] = frozenset()) -> str:
    """Sixteen hex digits over everything that `root` in a study's source text can reach.

    Args:
        source: The text of the study file.
        root: The name where following starts ("trial").
        settings: String settings of the trial, which pick parts from dictionaries of parts.
    """
    if root not in definitions(source):
        raise InvalidStudy(
            f"trial is {root!r}, which the study file does not define at its top level; allowed: a "
            "function of the study file, so that its code can be part of every trial's key"
        )
    walk = _Walk(source, set(settings))
    walk.follow("", root)
    # The engine itself, which a study declares for but does not call.
    walk.follow(f"{PACKAGE}.packs", "train")
    walk.follow(f"{PACKAGE}.work", "_generated")
    return walk.digest()


def parts(source: str, root: str, settings: frozenset[str]) -> frozenset[str]:
    """Those of the settings that pick something from a dictionary of parts: `code_hash` is the same
    without the others."""
    walk = _Walk(source, set(settings))
    walk.follow("", root)
    keys = {key.value for table in walk.tables.values() for key in table.keys
            if isinstance(key, ast.Constant)}  # fmt: skip
    return settings & keys


def part_hash(source: str, name: str) -> str:
    """Sixteen hex digits over what one function of a study's source text can reach."""
    walk = _Walk(source, set())
    walk.follow("", name)
    return walk.digest()


@dataclass(frozen=True)
class _Uses:
    """What a syntax tree mentions, and its own hash."""

    words: frozenset[str]
    names: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    dotted: tuple[tuple[str, str], ...]
    imports: tuple[ast.Import | ast.ImportFrom, ...]
    digest: str


@functools.cache  # trees hash by identity and live as long as the cached definitions
def _uses(node: ast.AST) -> _Uses:
    words: set[str] = set()
    names: dict[str, None] = {}  # a set that keeps its order
    attributes: dict[tuple[str, str], None] = {}
    dotted: dict[tuple[str, str], None] = {}
    imports = []
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            words.add(child.value)
        elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            attributes[child.value.id, child.attr] = None
        elif isinstance(child, ast.Attribute):
            module, _, name = ast.unparse(child).rpartition(".")
            if module.startswith(f"{PACKAGE}."):
                dotted[module, name] = None
        elif isinstance(child, ast.Import | ast.ImportFrom):
            imports.append(child)
        elif isinstance(child, ast.Name):
            names[child.id] = None
    digest = hashlib.sha256(ast.dump(node).encode()).hexdigest()
    return _Uses(
        frozenset(words), tuple(names), tuple(attributes), tuple(dotted), tuple(imports), digest
    )


class _Walk:
    def __init__(self, source: str, words: set[str]) -> None:
        self.modules: dict[str, Definitions] = {"": definitions(source)}
        self.words = words
        self.seen: dict[tuple[str, str], list[ast.AST]] = {}
        self.tables: dict[tuple[str, str], ast.Dict] = {}

    def _in(self, module: str) -> Definitions:
        if module not in self.modules:
            self.modules[module] = _definitions(module)
        return self.modules[module]

    def follow(self, module: str, name: str) -> None:
        """Take in a name's definition and, in turn, every name that it uses."""
        if (module, name) in self.seen or name not in self._in(module):
            return
        self.seen[module, name] = []
        for node in self._in(module)[name]:
            value = getattr(node, "value", None)
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif module and isinstance(value, ast.Dict) and all(map(_is_word, value.keys)):
                self.tables[module, name] = value  # a package table of parts: by the entry
                self._entries()
            else:
                self._take(module, name, node)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        alias = node.names[0]
        if isinstance(node, ast.ImportFrom):
            home = node.module or ""
            if _module_of(node):
                return  # a module: its attributes are followed where they are used
            if home == PACKAGE:
                home = _exported(alias.name)
            if home.split(".")[0] == PACKAGE:
                self.follow(home, alias.name)

    def _take(self, module: str, name: str, node: ast.AST) -> None:
        self.seen[module, name].append(node)
        uses = _uses(node)
        if not uses.words <= self.words:
            self.words |= uses.words
            self._entries()
        for imported in uses.imports:
            self._import(imported)
        inner = {bound: one for node_ in uses.imports for bound, one in _imports(node_)}
        for base, attribute in uses.attributes:
            for statement in (*self._in(module).get(base, ()), inner.get(base)):
                target = _module_of(statement)
                if target == PACKAGE:  # harness.Optimizer
                    target = _exported(attribute)
                if target:
                    self.follow(target, attribute)
        for dotted in uses.dotted:  # harness.models.MLP
            self.follow(*dotted)
        for used in uses.names:
            self.follow(module, used)

    def _entries(self) -> None:
        """Take in the entries of tables whose key has turned up as a word."""
        for (module, name), table in list(self.tables.items()):
            for key, value in zip(table.keys, table.values, strict=True):
                assert isinstance(key, ast.Constant)
                label = f"{name}[{key.value!r}]"
                if key.value in self.words and (module, label) not in self.seen:
                    self.seen[module, label] = []
                    self._take(module, label, value)

    def digest(self) -> str:
        text = "\n".join(
            f"{module}:{name}:{_uses(node).digest}"
            for (module, name), nodes in sorted(self.seen.items())
            for node in nodes
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_word(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str)


@functools.cache
def _module_of(node: ast.stmt | None) -> str:
    """The package module that an import statement binds, or nothing."""
    if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
        full = f"{PACKAGE}.{node.names[0].name}"
        return full if importlib.util.find_spec(full) else ""
    if isinstance(node, ast.Import):
        name, bound = node.names[0].name, node.names[0].asname
        if name == PACKAGE or (bound and name.startswith(f"{PACKAGE}.")):
            return name
    return ""


def _exported(name: str) -> str:
    """The module behind a name that the package itself exports."""
    package = importlib.import_module(PACKAGE)
    return str(getattr(package, "EXPORTS", {}).get(name, PACKAGE))
