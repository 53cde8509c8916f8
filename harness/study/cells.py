"""Studies that are written in a notebook's cells, or in the script that runs them: their source.

Workers, keys and records want a study as a file's text. Here that text is put together out of what
has been executed: the statements that define the study and all that these name, in order, and
nothing else; so that a call of ``harness.run`` in the next cell is not part of it.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.study import beside
from harness.study.declared import Source
from harness.study.errors import BadInput
from harness.study.study import Study


def source_of(study: Study, name: str | None = None) -> Source:
    """The source of a study that was made in a notebook or in a script.

    Args:
        study: The very value.
        name: What it is to be called; by default the name that it has there, in small letters, and
            where that is ``STUDY`` the file's.

    Raises:
        BadInput: it has no name of its own at the top level of a notebook or script, or its name is
            no identifier.
    """
    module = sys.modules.get(getattr(study.trial, "__module__", ""))
    space = vars(module) if module is not None else {}
    bound = next((key for key, value in space.items() if value is study), None)
    bound = bound or next((k for k, v in vars(sys.modules["__main__"]).items() if v is study), None)
    if bound is None:
        raise BadInput(
            "the study has no name at the top level of a notebook or file; allowed: STUDY = Study(…)"
        )
    if module is None or bound not in space:
        module = sys.modules["__main__"]
    file = getattr(module, "__file__", None)
    if file is not None:
        texts, home = [Path(file).read_text(encoding="utf-8")], Path(file).resolve().parent
        stem = Path(file).stem
    else:
        texts, home, stem = _executed(module.__dict__), Path.cwd(), "notebook"
    name = name or (stem if bound == "STUDY" else bound.lower())
    if not name.isidentifier():
        raise BadInput(f"the study's name is {name!r}; allowed: an identifier, as in name='mine'")
    text = _only(texts, bound)
    if bound != "STUDY":
        text += f"\nSTUDY = {bound}\n"
    path = home / f"{name}.py"
    return Source(name, str(path), text, beside.gather(path, text))


def _executed(space: Mapping[str, Any]) -> list[str]:
    """What a notebook has executed so far, as Python has seen it."""
    cells = space.get("In")
    if not isinstance(cells, list):
        raise BadInput(
            "the study was typed into an interpreter that keeps no record; allowed: a notebook, or a "
            "file"
        )
    return [str(cell) for cell in cells]


def check(study: Study, loaded: Study) -> None:
    """That what was put together is the study that was given.

    Raises:
        BadInput: something else has changed what it was made of.
    """
    for one in dataclasses.fields(study):
        if one.name in ("name", "title"):
            continue
        if _told(getattr(study, one.name)) != _told(getattr(loaded, one.name)):
            raise BadInput(
                f"Study.{one.name} is not what its own statements make of it; allowed: values that "
                "are assigned, or changed by methods of theirs, at the top level"
            )


def _told(value: Any) -> str:
    """A value in words, in which it does not matter where in memory or in which module it lies."""
    code = getattr(value, "__code__", None)
    if code is not None:
        consts = [_told(one) if hasattr(one, "co_code") else repr(one) for one in code.co_consts]
        return repr((code.co_code, consts, code.co_names))
    if hasattr(value, "co_code"):
        return repr((value.co_code, value.co_names))
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return re.sub(r"__main__\.|harness_study_\w+\.", "", text)


# --- what a name needs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Statement:
    """One at the top level, with the names that it binds, may change, and uses: `later` where only
    a call of what it defines does."""

    text: str
    binds: frozenset[str]
    changes: frozenset[str]
    uses: frozenset[str]
    later: bool


def _only(texts: Sequence[str], name: str) -> str:
    """The statements that make what a name stands for in the end, in the order they were executed.

    What a statement names is what that was bound to before it, with what may have changed it since;
    what a function names is what that was bound to last.
    """
    statements = [one for text in texts for one in _statements(text)]
    wanted: set[int] = set()
    waiting, seen = [(name, len(statements))], set()
    while waiting:
        needed, until = waiting.pop()
        if (needed, until) in seen:
            continue
        seen.add((needed, until))
        bound = [i for i, one in enumerate(statements) if needed in one.binds]
        bound = [i for i in bound if i < until] or bound
        if not bound:
            continue
        since = range(bound[-1] + 1, until)
        for i in (bound[-1], *(i for i in since if needed in statements[i].changes)):
            if i not in wanted:
                wanted.add(i)
                when = len(statements) if statements[i].later else i
                waiting += [(used, when) for used in statements[i].uses]
    wanted |= {i for i, one in enumerate(statements) if "*" in one.binds}
    future = "from __future__ import annotations"
    found = [statements[i].text for i in sorted(wanted)]
    return "\n".join([future, *(text for text in found if text != future)]) + "\n"


def _statements(text: str) -> Iterator[_Statement]:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return  # was not executed
    for node in tree.body:
        for one in _alone(node):
            yield _Statement(
                _as_written(text, one) if one is node else ast.unparse(one),
                frozenset(_bound(one)), frozenset(_changed(one)), frozenset(_used(one)),
                isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef),
            )  # fmt: skip


def _as_written(text: str, node: ast.stmt) -> str:
    if getattr(node, "decorator_list", ()):
        first = min(one.lineno for one in node.decorator_list)  # type: ignore[attr-defined]
        return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _alone(node: ast.stmt) -> Iterator[ast.stmt]:
    """An import of several names as several."""
    if isinstance(node, ast.Import | ast.ImportFrom) and len(node.names) > 1:
        for alias in node.names:
            yield ast.copy_location(type(node)(**{**vars(node), "names": [alias]}), node)
    else:
        yield node


def _bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement makes anew."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        yield node.name
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        return
    if isinstance(node, ast.AugAssign):
        return  # changes what is there
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield child.name


def _changed(node: ast.stmt) -> Iterator[str]:
    """The names whose values a statement may change: by assigning to a part of them, or by calling a
    method of theirs."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return
    for child in ast.walk(node):
        if isinstance(child, ast.AugAssign) and isinstance(child.target, ast.Name):
            yield child.target.id
        elif isinstance(child, ast.Subscript | ast.Attribute) and isinstance(
            child.ctx, ast.Store | ast.Del
        ):
            yield from _root(child)
        elif isinstance(child, ast.Call) and isinstance(node, ast.Expr | ast.For | ast.While):
            yield from _root(child.func) if isinstance(child.func, ast.Attribute) else ()


def _root(node: ast.expr) -> Iterator[str]:
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id


def _used(node: ast.stmt) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
            yield child.id
        elif isinstance(child, ast.AugAssign):
            yield from _root(child.target)
