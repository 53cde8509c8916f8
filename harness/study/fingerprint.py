"""A hash of the code that trains, so that a trial's key changes when its training would.

Starting from a function, every name it uses is followed through the study file, the modules beside
it, this package and any other source that is not installed; what is found is hashed as a graph of
definitions, in which a name stands for what it names. So it does not matter in which module a
definition lies nor how it is imported, and comments, docstrings, annotations, figures and claims do
not count. Of a dictionary of this package that maps names to parts (rules, activations, surfaces)
only the parts that the study names count, so that a new part changes no old key. Of installed
packages the version counts: `libraries` says which are used.

One module: reading a definition, finding what a name stands for and walking from one to the next call
each other, and nothing else calls them.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.study.declared import Source
from harness.study.errors import InvalidStudy

PACKAGE = "harness"

# The engine itself, which a study declares for but does not call.
ENGINE = ((f"{PACKAGE}.engine.pack", "train"), (f"{PACKAGE}.engine.attempt", "_generated"))

# They draw, fetch or show, and what comes of it is checked or part of a key by itself.
DECIDE_NOTHING = frozenset({"optuna", "pooch", "tqdm", "pytest"})

Definitions = dict[str, tuple[ast.stmt, ...]]
STAR = "*"  # the name under which ``from x import *`` is kept


@functools.cache
def _definitions(module: str) -> Definitions:
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
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
            if statement not in found.setdefault(name, []):
                found[name].append(statement)
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
    elif isinstance(node, ast.If) and all(
        isinstance(one, ast.Import | ast.ImportFrom) for one in (*node.body, *node.orelse)
    ):  # if TYPE_CHECKING: from … import …
        for one in (*node.body, *node.orelse):
            assert isinstance(one, ast.Import | ast.ImportFrom)
            yield from _imports(one)
    elif isinstance(node, ast.If | ast.Try | ast.For | ast.While | ast.With | ast.Match):
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                yield child.id, node
            elif isinstance(child, ast.FunctionDef | ast.ClassDef):
                yield child.name, node
            elif isinstance(child, ast.Import | ast.ImportFrom):
                for name, _ in _imports(child):
                    yield name, node
    elif isinstance(node, ast.Expr):  # R.update(...): a call on a name may change it
        for child in ast.walk(node):
            if isinstance(child, ast.Name):
                yield child.id, node


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, ast.stmt]]:
    """Each name that an import binds, with an import of that name alone."""
    for alias in node.names:
        one = type(node)(**{**vars(node), "names": [alias]})
        yield (alias.asname or alias.name).split(".")[0], ast.copy_location(one, node)


def _changes_only(node: ast.stmt, name: str) -> bool:
    """Whether a statement changes what a name stands for and does not bind it."""
    if isinstance(node, ast.Expr):
        return True
    if isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return not any(
            isinstance(child, ast.Name) and child.id == name and isinstance(child.ctx, ast.Store)
            for target in targets
            for child in ast.walk(target)
        )
    return False


# --- what is asked -------------------------------------------------------------------------------


def code_hash(source: Source | str, root: str, settings: frozenset[str] = frozenset()) -> str:
    """Sixteen hex digits over everything that `root` in a study can reach, and the engine.

    Args:
        source: The study, or the text of its file.
        root: The name where following starts ("trial").
        settings: String settings of the trial, which pick parts from dictionaries of parts.
    """
    return _engine_too(source, root, settings).digest()


@dataclass(frozen=True)
class Survey:
    """What a study's code uses.

    Attributes:
        parts: Those of its settings that pick something from a dictionary of parts: `code_hash` is
            the same without the others.
        libraries: The installed packages whose numbers it uses.
    """

    parts: frozenset[str]
    libraries: tuple[str, ...]


def survey(source: Source | str, root: str, settings: frozenset[str]) -> Survey:
    """What `root` in a study can reach, of parts and of installed packages."""
    walk = _engine_too(source, root, settings)
    keys = {key.value for table in walk.tables.values() for key in table.keys
            if isinstance(key, ast.Constant)}  # fmt: skip
    keys |= {key for place in walk.seen for key, _, _ in walk.added(place)}
    found = {name for head in walk.outside for name in _distributions(head)}
    return Survey(settings & keys, tuple(sorted(found - DECIDE_NOTHING)))


def part_hash(source: Source | str, name: str) -> str:
    """Sixteen hex digits over what one function of a study can reach."""
    walk = _Walk(source, set())
    walk.follow("", name)
    return walk.digest()


def _engine_too(source: Source | str, root: str, settings: frozenset[str]) -> _Walk:
    walk = _Walk(source, set(settings))
    if walk.names.resolve("", root) is None:
        raise InvalidStudy(
            f"trial is {root!r}, which the study file does not define at its top level; allowed: a "
            "function of the study file, so that its code can be part of every trial's key"
        )
    walk.follow("", root)
    for place in ENGINE:
        walk.follow(*place)
    return walk


def version(library: str) -> str:
    """The version of an installed package without what tells one build of it from another
    ("+cpu"), or "" where it is not installed."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _distributions(head: str) -> tuple[str, ...]:
    """The installed packages that a top-level module belongs to."""
    if head in sys.stdlib_module_names or head in vars(builtins):
        return ()
    head = {"sklearn": "scikit-learn", "PIL": "pillow"}.get(head, head)  # else a search of seconds
    if version(head):
        return (head,)
    return tuple(sorted(set(_owners().get(head, ()))))


@functools.cache
def _owners() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.cache
def _installed(module: str) -> bool:
    """Whether a module is Python's own or an installed package's, whose version stands for it."""
    head = module.partition(".")[0]
    if not head or head == PACKAGE:  # beside the study, or of this package
        return False
    if head in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(head)
    except (ImportError, ValueError):
        return True
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return True
    here = Path(spec.origin).resolve()
    homes = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")}
    inside = any(here.is_relative_to(Path(home).resolve()) for home in homes)
    return inside or bool({"site-packages", "dist-packages"} & set(here.parts))


# --- a definition as text with gaps where it uses other names ------------------------------------


@dataclass(frozen=True)
class _Use:
    """A name that is used: what binds it, and the attributes that are read of it."""

    root: str | ast.stmt  # a name of the module, or an import inside of the definition
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class _Text:
    """A syntax tree as text, with gaps for what it uses, and the strings that it mentions."""

    pieces: tuple[str | _Use, ...]
    words: frozenset[str]


Scope = Mapping[str, ast.stmt | None]  # local names, and the imports among them


@functools.cache  # trees hash by identity and live as long as the cached definitions
def _text(node: ast.AST) -> _Text:
    reader = _Reader()
    reader.read(node, ())
    pieces: list[str | _Use] = []
    for piece in reader.pieces:
        if pieces and isinstance(piece, str) and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return _Text(tuple(pieces), frozenset(reader.words))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LEFT_OUT = {"annotation", "returns", "type_comment", "ctx", "kind", "type_params"}


class _Reader:
    """Writes a syntax tree down. Scopes are those of functions and classes around, the inner last."""

    def __init__(self) -> None:
        self.pieces: list[str | _Use] = []
        self.words: set[str] = set()

    def read(self, node: Any, scopes: tuple[Scope, ...]) -> None:
        if isinstance(node, list):
            self.pieces.append("[")
            for one in node:
                self.read(one, scopes)
            self.pieces.append("]")
        elif not isinstance(node, ast.AST):
            self.pieces.append(f"{node!r},")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            pass  # what they bind is written where it is used
        elif isinstance(node, ast.Name | ast.Attribute):
            self._chain(node, scopes)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                self.words.add(node.value)
            self.pieces.append(f"{type(node.value).__name__} {node.value!r},")
        elif isinstance(node, _FUNCTIONS):
            self._function(node, scopes)
        elif isinstance(node, ast.ClassDef):
            outer, inner = (
                {"bases", "keywords", "decorator_list"},
                (*scopes, _Class(_bound(node.body))),
            )
            self._node(node, lambda name: scopes if name in outer else inner)
        elif isinstance(node, _COMPREHENSIONS):
            bound = _bound([generator.target for generator in node.generators])
            self._node(node, lambda _: (*_functions_only(scopes), bound))
        elif isinstance(node, ast.AnnAssign) and scopes and isinstance(scopes[-1], _Class):
            self.pieces.append(_marker(node.annotation))  # of dataclasses
            self._node(node, lambda _: scopes)
        else:
            self._node(node, lambda _: scopes)

    def _node(self, node: ast.AST, scopes_of: Any) -> None:
        self.pieces.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name not in _LEFT_OUT:
                self.read(value, scopes_of(name))
        self.pieces.append(")")

    def _function(self, node: Any, scopes: tuple[Scope, ...]) -> None:
        inside = (*_functions_only(scopes), _parameters(node.args) | _bound(node.body))
        self.pieces.append(f"{type(node).__name__} {getattr(node, 'name', '')}(")
        self.read(getattr(node, "decorator_list", []), scopes)
        self.read(node.args, scopes)
        self.read(node.body, inside)
        self.pieces.append(")")

    def _chain(self, node: ast.Name | ast.Attribute, scopes: tuple[Scope, ...]) -> None:
        base: ast.expr = node
        attributes: list[str] = []
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            assert isinstance(node, ast.Attribute)
            self._node(node, lambda _: scopes)
            return
        names = tuple(reversed(attributes))
        scope = next((one for one in reversed(scopes) if base.id in one), None)
        if scope is not None and scope[base.id] is None:
            self.pieces.append(f"{'.'.join((base.id, *names))},")
        else:
            root = base.id if scope is None else scope[base.id]
            assert root is not None
            self.pieces.append(_Use(root, names))


class _Class(dict[str, "ast.stmt | None"]):
    """Names of a class body, which functions in it do not see."""


def _functions_only(scopes: tuple[Scope, ...]) -> tuple[Scope, ...]:
    return tuple(scope for scope in scopes if not isinstance(scope, _Class))


def _parameters(args: ast.arguments) -> dict[str, ast.stmt | None]:
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return {one.arg: None for one in every if one is not None}


def _bound(body: Any) -> dict[str, ast.stmt | None]:
    """Names that a block binds itself, and the imports among them."""
    found: dict[str, ast.stmt | None] = {}
    elsewhere: set[str] = set()

    def look(node: ast.AST) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(_imports(node))
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = None
            for one in node.decorator_list:
                look(one)
            return
        if isinstance(node, ast.Lambda):
            return
        if isinstance(node, _COMPREHENSIONS):  # they bind their own, but for ``:=``
            for child in ast.walk(node):
                if isinstance(child, ast.NamedExpr):
                    found[child.target.id] = None
            return
        if isinstance(node, ast.Global | ast.Nonlocal):
            elsewhere.update(node.names)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found[node.id] = None
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found[node.name] = None
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found[node.rest] = None
        for child in ast.iter_child_nodes(node):
            look(child)

    for one in body if isinstance(body, list) else [body]:
        look(one)
    return {name: one for name, one in found.items() if name not in elsewhere}


def _marker(annotation: ast.expr) -> str:
    """What a dataclass reads of an annotation: whether the name is a field at all."""
    named = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    name = ast.unparse(named).rpartition(".")[2]
    return f"{name} " if name in ("ClassVar", "InitVar", "KW_ONLY") else ""


# --- the graph of definitions --------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """What a name stands for: a definition in a module, a module (no name), or something of an
    installed package (`outside`)."""

    module: str
    name: str = ""
    outside: bool = False

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.module, self.name, self.outside))

    def __hash__(self) -> int:  # asked a hundred thousand times a plan
        return self._hash


_Linked = tuple[str | tuple[_Place, tuple[str, ...]], ...]


class _Names:
    """What the names in some modules stand for. One serves all that can be imported anywhere.

    A study is the module "", and a module beside it has "./" before its name.

    Args:
        local: The study, and what is beside it.
    """

    def __init__(self, local: Mapping[str, str], packages: frozenset[str] = frozenset()) -> None:
        self.local = {name: definitions(text) for name, text in local.items()}
        self.packages = packages
        self.heads = {name[2:].partition(".")[0] for name in local if name}
        self._resolved: dict[tuple[str, str], _Place | None] = {}
        self._linked: dict[tuple[str, ast.AST], _Linked] = {}

    def names_of(self, module: str) -> _Names:
        return self if module in self.local else _ANYWHERE

    def inside(self, module: str) -> Definitions:
        """The definitions of a module."""
        return self.local[module] if module in self.local else _definitions(module)

    def _full(self, name: str) -> str:
        """The module of a name that is imported: beside the study, or anywhere."""
        return f"./{name}" if name.partition(".")[0] in self.heads else name

    def _exists(self, module: str) -> bool:
        if module.startswith("./"):
            return module in self.local
        try:
            return importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            return False

    def resolve(self, module: str, name: str) -> _Place | None:
        """What a name of a module stands for; None for one of Python's own."""
        if module not in self.local and self is not _ANYWHERE:
            return _ANYWHERE.resolve(module, name)
        if (module, name) not in self._resolved:
            self._resolved[module, name] = None  # names that import each other
            self._resolved[module, name] = self._resolve(module, name)
        return self._resolved[module, name]

    def _resolve(self, module: str, name: str) -> _Place | None:
        statements = self.inside(module).get(name, ())
        binding = [one for one in statements if not _changes_only(one, name)]
        if binding:
            last = binding[-1]
            if isinstance(last, ast.Import | ast.ImportFrom):
                return self.imported(module, last)
            return _Place(module, name)
        for star in self.inside(module).get(STAR, ()):
            assert isinstance(star, ast.ImportFrom)
            home = self._home(module, star)
            if not _installed(home):
                if found := self.resolve(home, name):
                    return found
            elif hasattr(sys.modules.get(home), name):
                return _Place(f"{home}.{name}", outside=True)
        if not module:
            return None
        if self._exists(f"{module}.{name}"):
            return _Place(f"{module}.{name}")
        if module == PACKAGE and (home := _exported(name)):
            return self.resolve(home, name)
        return None

    def _home(self, module: str, node: ast.ImportFrom) -> str:
        """The module that is imported from."""
        if not node.level:
            return self._full(node.module or "")
        beside = module.startswith("./")
        package = module in self.packages if beside else _is_package(module)
        path = module.split(".") if not beside else module[2:].split(".")
        path = path if package else path[:-1]
        path = path[: len(path) - node.level + 1]
        name = ".".join([*path, *([node.module] if node.module else [])])
        return f"./{name}" if beside else name

    def imported(self, module: str, node: ast.stmt) -> _Place:
        """What an import of one name binds."""
        assert isinstance(node, ast.Import | ast.ImportFrom)
        alias = node.names[0]
        if isinstance(node, ast.Import):
            name = self._full(alias.name if alias.asname else alias.name.partition(".")[0])
            return _Place(name, outside=_installed(name))
        home = self._home(module, node)
        if _installed(home):
            return _Place(f"{home}.{alias.name}", outside=True)
        return self.resolve(home, alias.name) or _Place(home, alias.name)

    def place(self, module: str, use: _Use) -> tuple[_Place | None, tuple[str, ...]]:
        """What a use leads to, and the attributes that are then still to be read."""
        found = (
            self.resolve(module, use.root)
            if isinstance(use.root, str)
            else self.imported(module, use.root)
        )
        rest = use.attributes
        while found is not None and not found.outside and not found.name and rest:
            inner = self.resolve(found.module, rest[0])
            if inner is None:
                break
            found, rest = inner, rest[1:]
        return found, rest

    def linked(self, module: str, node: ast.AST) -> _Linked:
        """A syntax tree as text, with the places that it uses."""
        if (module, node) not in self._linked:
            found: list[str | tuple[_Place, tuple[str, ...]]] = []
            for part in _text(node).pieces:
                if isinstance(part, str):
                    found.append(part)
                    continue
                place, rest = self.place(module, part)
                plain = ".".join((str(part.root), *rest))
                found.append(f"{plain}," if place is None else (place, rest))
            self._linked[module, node] = tuple(found)
        return self._linked[module, node]


_ANYWHERE = _Names({})


@functools.lru_cache(maxsize=16)
def _names(source: Source) -> _Names:
    local = {f"./{name}": text for name, text in source.modules().items()}
    packages = frozenset(f"./{name}" for name in source.packages())
    return _Names({"": source.text, **local}, packages)


class _Walk:
    def __init__(self, source: Source | str, words: set[str]) -> None:
        source = Source("", "", source) if isinstance(source, str) else source
        self.names = _names(source)
        self.words = words
        self.seen: dict[_Place, int] = {}  # in the order met
        self.tables: dict[_Place, ast.Dict] = {}
        self.outside: set[str] = set()
        self._queue: deque[_Place] = deque()
        self._taken: set[tuple[_Place, str, str, ast.AST]] = set()
        self._lines: list[str] = []
        self._changes: dict[_Place, list[tuple[str, ast.stmt]]] = {}
        self._added: dict[_Place, list[tuple[str, str, ast.stmt]]] = {}
        for module in self.names.local:
            self._find_changes(module)

    def _find_changes(self, module: str) -> None:
        """Statements of the study and beside it that change what they have imported."""
        for name, statements in self.names.inside(module).items():
            if not any(isinstance(one, ast.Import | ast.ImportFrom) for one in statements):
                continue
            for one in statements:
                if not _changes_only(one, name):
                    continue
                table, key = _added_entry(one)  # RULES["mine"] = Mine: one more part
                place = self.names.place(module, table)[0] if table else None
                if place and place.name:
                    self._added.setdefault(place, []).append((key, module, one))
                    continue
                for part in self.names.linked(module, one):
                    if isinstance(part, str) or not (part[0].name or part[0].outside):
                        continue
                    known = self._changes.setdefault(part[0], [])
                    known += [] if (module, one) in known else [(module, one)]

    def added(self, place: _Place) -> list[tuple[str, str, ast.stmt]]:
        """Entries that the study, or what is beside it, adds to a table: key, module, statement."""
        return self._added.get(place, [])

    def follow(self, module: str, name: str) -> None:
        """Take in a name's definition and, in turn, everything that it uses."""
        place = self.names.resolve(module, name)
        self._lines.append(f"root {self._refer(place, ()) if place else name}")
        self._drain()

    def _refer(self, place: _Place, rest: Iterable[str]) -> str:
        """How a use is written: by the number of what it leads to."""
        if place.outside:
            head = place.module.partition(".")[0]
            self.outside.add(head)
            for one in (place, _Place(head, outside=True)) if self._changes else ():
                if one in self._changes:
                    self._number(one)
            return "@" + ".".join((place.module, *rest))
        return ".".join((str(self._number(place)), *rest))

    def _number(self, place: _Place) -> int:
        number = self.seen.get(place)
        if number is None:
            number = self.seen[place] = len(self.seen)
            self._queue.append(place)
        return number

    def _drain(self) -> None:
        while True:
            while self._queue:
                self._take(self._queue.popleft())
            entries: list[tuple[_Place, str, str, ast.AST]] = [
                (place, key, place.module, value)
                for place, table in self.tables.items()
                for key, value in sorted(_entries(table), key=lambda entry: entry[0])
            ]
            entries += [
                (place, key, module, node)
                for place in self.seen
                for key, module, node in self.added(place)
            ]
            fresh = [one for one in entries if one[1] in self.words and one not in self._taken]
            if not fresh:
                return
            for place, key, module, value in fresh:
                self._taken.add((place, key, module, value))
                self._write(f"{self.seen[place]}[{key!r}]", module, value)

    def _take(self, place: _Place) -> None:
        number = str(self.seen[place])
        for module, node in self._changes.get(place, ()):
            self._write(number, module, node)
        if place.outside:
            return
        if not place.name:  # a module as a whole
            for name in sorted(self.names.inside(place.module)):
                if found := self.names.resolve(place.module, name):
                    self._lines.append(f"{number} {name} {self._refer(found, ())}")
            return
        ours = place.module.partition(".")[0] == PACKAGE
        for node in self.names.inside(place.module).get(place.name, ()):
            value = getattr(node, "value", None)
            if isinstance(node, ast.Import | ast.ImportFrom):
                found = self.names.names_of(place.module).imported(place.module, node)
                self._lines.append(f"{number} {self._refer(found, ())}")
            elif ours and isinstance(value, ast.Dict) and all(map(_is_word, value.keys)):
                self.tables[place] = value  # a table of parts: by the entry
            else:
                self._write(number, place.module, node)

    def _write(self, label: str, module: str, node: ast.AST) -> None:
        self.words |= _text(node).words
        found = [label, " "]
        for part in self.names.names_of(module).linked(module, node):
            found.append(part if isinstance(part, str) else f"{self._refer(*part)},")
        self._lines.append("".join(found))

    def digest(self) -> str:
        return hashlib.sha256("\n".join(self._lines).encode()).hexdigest()[:16]


def _entries(table: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant) and isinstance(key.value, str)
        yield key.value, value


def _added_entry(node: ast.stmt) -> tuple[_Use | None, str]:
    """The table and the word of a statement that adds one entry to a table, or nothing."""
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        words = ast.unparse(target.value).split(".")
        if isinstance(target.slice.value, str) and all(map(str.isidentifier, words)):
            return _Use(words[0], tuple(words[1:])), target.slice.value
    return None, ""


def _is_word(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str)


@functools.cache
def _is_package(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def _exported(name: str) -> str:
    """The module behind a name that the package itself exports, or nothing."""
    package = importlib.import_module(PACKAGE)
    return str(getattr(package, "EXPORTS", {}).get(name, ""))
