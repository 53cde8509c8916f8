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
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "harness"


@functools.cache
def _definitions(module: str) -> dict[str, ast.stmt]:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        return {}
    return definitions(Path(spec.origin).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=64)
def definitions(source: str) -> dict[str, ast.stmt]:
    """Top-level names of a source text and the statements that define them, docstrings removed."""
    found: dict[str, ast.stmt] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef | ast.Module):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found[(alias.asname or alias.name).split(".")[0]] = ast.copy_location(
                    type(node)(**{**vars(node), "names": [alias]}), node
                )
    return found


def code_hash(source: str, root: str, settings: frozenset[str] = frozenset()) -> str:
    """Sixteen hex digits over everything that `root` in a study's source text can reach.

    Args:
        source: The text of the study file.
        root: The name where following starts ("trial").
        settings: String settings of the trial, which pick parts from dictionaries of parts.
    """
    walk = _Walk(source, set(settings))
    walk.follow("", root)
    # The engine itself, which a study declares for but does not call.
    walk.follow(f"{PACKAGE}.packs", "train")
    return walk.digest()


@dataclass(frozen=True)
class _Uses:
    """What a syntax tree mentions, and its own hash."""

    words: frozenset[str]
    names: tuple[str, ...]
    attributes: tuple[tuple[str, str], ...]
    digest: str


@functools.cache  # trees hash by identity and live as long as the cached definitions
def _uses(node: ast.AST) -> _Uses:
    words: set[str] = set()
    names: dict[str, None] = {}  # a set that keeps its order
    attributes: dict[tuple[str, str], None] = {}
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            words.add(child.value)
        elif isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            attributes[child.value.id, child.attr] = None
        elif isinstance(child, ast.Name):
            names[child.id] = None
    digest = hashlib.sha256(ast.dump(node).encode()).hexdigest()
    return _Uses(frozenset(words), tuple(names), tuple(attributes), digest)


class _Walk:
    def __init__(self, source: str, words: set[str]) -> None:
        self.modules: dict[str, dict[str, ast.stmt]] = {"": definitions(source)}
        self.words = words
        self.seen: dict[tuple[str, str], list[ast.AST]] = {}
        self.tables: dict[tuple[str, str], ast.Dict] = {}

    def _in(self, module: str) -> dict[str, ast.stmt]:
        if module not in self.modules:
            self.modules[module] = _definitions(module)
        return self.modules[module]

    def follow(self, module: str, name: str) -> None:
        """Take in a name's definition and, in turn, every name that it uses."""
        if (module, name) in self.seen or name not in self._in(module):
            return
        node = self._in(module)[name]
        self.seen[module, name] = []
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node, name)
            return
        value = getattr(node, "value", None)
        if isinstance(value, ast.Dict) and value.keys and all(map(_is_word, value.keys)):
            self.tables[module, name] = value
            self._entries()
        else:
            self._take(module, name, node)

    def _import(self, node: ast.Import | ast.ImportFrom, name: str) -> None:
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
        for base, attribute in uses.attributes:
            target = _module_of(self._in(module).get(base))
            if target:
                self.follow(target, attribute)
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
    if isinstance(node, ast.Import) and node.names[0].name.startswith(f"{PACKAGE}."):
        return node.names[0].name
    return ""


def _exported(name: str) -> str:
    """The module behind a name that the package itself exports."""
    package = importlib.import_module(PACKAGE)
    return str(getattr(package, "EXPORTS", {}).get(name, PACKAGE))
