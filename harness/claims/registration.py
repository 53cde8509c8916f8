"""What was claimed, and when, relative to the rows.

Before the first trial of a run, the content of its claims is written to the ledger with a digest
each and the number of trials that the ledger held then. A report compares the claims it judges
with those entries, and says which of them were added or changed after trials existed.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from types import CodeType
from typing import Any

from harness.claims.verdicts import IF_SET, LEVEL
from harness.study import PRIMARY, Claim, Source, Study, fingerprint

Entry = Mapping[str, Any]


def entry(study: Study, source: Source, scale: str, at: str, trials: int) -> dict[str, Any]:
    """The registration of a study's claims at one moment.

    Args:
        at: The moment, ISO, UTC; "" for claims that are only being looked at.
        trials: Trials of the study at this scale that the ledger held then.
    """
    budget = study.budget(scale)
    claims = {
        claim.id: {"statement": claim.statement, "digest": _digest(_content(claim, source))}
        for claim in study.tested
    }
    content: dict[str, Any] = {
        "scale": scale, "level": LEVEL, "budget": repr(budget), "claims": claims
    }  # fmt: skip
    if study.families:
        content["families"] = _declared(study)
    if study.gates:
        content["gates"] = describe(study.gates, source)
    # what the hashes stand for, so that a stranger can read it and a later version can judge by it
    told = {
        claim.id: {
            **claims[claim.id], "source": claim.source, "check": describe(claim.check, source),
            **_marks(claim, source),
        }
        for claim in study.tested
    }  # fmt: skip
    excluded = {"needs": dict(study.needs), "include": describe(study.include, source)}
    return {
        "at": at, "trials": trials, "hash": _digest(content), **content, "claims": told,
        "seeds": budget.looks[0], "looks": list(budget.looks), "exclusions": excluded,
    }  # fmt: skip


def summary(entries: Sequence[Entry], now: Entry) -> dict[str, Any]:
    """What a report says of the registration of the claims that it judges.

    Args:
        entries: Every registration of the study at this scale, the oldest first.
        now: The `entry` of the claims as they are judged.

    Returns:
        `claims_hash`; `registered_at`, when exactly these claims were first written down, or "";
        `claims_changed`: a dictionary for each claim that was added, changed or removed after
        trials existed (and for the budget, and the families), with id, what, at and trials, and where
        that was registered in a chain the reason that was given, or ""; and `amended`, empty unless
        claims or the budget were changed: what `claims.amended` judges the first of them by.
    """
    same = [one["at"] for one in entries if one["hash"] == now["hash"]]
    found = [_since(entries, now, id_) for id_ in now["claims"]]
    found += [_removed(entries, id_) for id_ in _gone(entries, now)]
    found += [_budget(entries, now), _families(entries, now)]
    changed = [one for one in found if one]
    late = any(one["what"] in ("changed", "budget") for one in changed)
    return {
        "claims_hash": now["hash"],
        "registered_at": same[0] if same else "",
        "claims_changed": changed,
        "amended": _amended(entries, now, changed) if late else {},
    }


def _amended(
    entries: Sequence[Entry], now: Entry, changed: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The budget as first registered and as it is, the looks of then, and for each claim that was
    changed its check then and now as plain data; None where an entry does not have it."""
    first = entries[0] if entries else now
    claims = {}
    for id_ in (one["id"] for one in changed if one["what"] == "changed"):
        then = next(one for one in entries if id_ in one["claims"])
        claims[id_] = [one["claims"][id_].get("check") for one in (then, now)]
    return {
        "budget": [first["budget"], now["budget"]],
        "looks": first.get("looks", now.get("looks", [])),
        "claims": json.loads(json.dumps(claims, default=repr)),
    }


def _reason(entry: Entry) -> dict[str, str]:
    return {"reason": str(entry["reason"])} if "reason" in entry else {}


def since(entries: Sequence[Entry], now: Entry, id_: str) -> Entry:
    """The registration with which a claim got the content that it has: `now` where none has it."""
    return [*entries, now][_start(entries, now, id_)]


def _start(entries: Sequence[Entry], now: Entry, id_: str) -> int:
    """The place of that registration; one past the last for `now`."""
    digest = now["claims"][id_]["digest"]
    start = len(entries)
    while start and entries[start - 1]["claims"].get(id_, {}).get("digest") == digest:
        start -= 1
    return start


def _since(entries: Sequence[Entry], now: Entry, id_: str) -> dict[str, Any] | None:
    """When a claim got the content it has, if trials existed by then."""
    first = since(entries, now, id_)
    if not first["trials"]:
        return None
    known = any(id_ in one["claims"] for one in entries[: _start(entries, now, id_)])
    what = "changed" if known else "added"
    told = {"id": id_, "what": what, "at": first["at"], "trials": first["trials"]}
    return told | _reason(first)


def _gone(entries: Sequence[Entry], now: Entry) -> list[str]:
    found = dict.fromkeys(id_ for one in entries for id_ in one["claims"])
    return [id_ for id_ in found if id_ not in now["claims"]]


def _removed(entries: Sequence[Entry], id_: str) -> dict[str, Any]:
    held = [one for one in entries if id_ in one["claims"]][-1]
    words = held["claims"][id_]["statement"]
    return {"id": id_, "what": "removed", "at": held["at"], "trials": held["trials"]} | {
        "statement": words
    }


def _budget(entries: Sequence[Entry], now: Entry) -> dict[str, Any] | None:
    """Seeds or draws that were changed after trials existed: stopping at will is no fixed n."""
    first = next((one for one in entries if one["budget"] == now["budget"]), now)
    earlier = [one for one in entries if one["budget"] != now["budget"]]
    if not earlier or not first["trials"]:
        return None
    return {
        "id": "",
        "what": "budget",
        "at": first["at"],
        "trials": first["trials"],
        "statement": _differing(earlier[-1]["budget"], now["budget"]),
        **_reason(first),
    }


def _differing(then: str, now: str) -> str:
    """What of a budget is another, of two as `repr` has them."""
    try:
        old, new = (
            {one.arg: ast.unparse(one.value) for one in call.keywords}
            for call in (ast.parse(text, mode="eval").body for text in (then, now))
            if isinstance(call, ast.Call) and not call.args
        )
    except (SyntaxError, ValueError):  # not one of ours, or an inf
        return f"{then} became {now}"
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(
        f"{name} from {old.get(name, 'unset')} to {new.get(name, 'unset')}" for name in names
    )


def _families(entries: Sequence[Entry], now: Entry) -> dict[str, Any] | None:
    """Families of claims that were declared otherwise after trials existed."""

    def told(one: Entry) -> str:
        return "; ".join(one.get("families", ())) or "one family"

    first = next((one for one in entries if told(one) == told(now)), now)
    earlier = [one for one in entries if told(one) != told(now)]
    if not earlier or not first["trials"]:
        return None
    return {
        "id": "",
        "what": "families",
        "at": first["at"],
        "trials": first["trials"],
        "statement": f"{told(earlier[-1])} became {told(now)}",
    }


def _declared(study: Study) -> list[str]:
    """The families in order; of those that are a sequence, the claims in order too."""
    found = []
    for name, (family, members) in zip(study.families, study.grouped(), strict=True):
        ids = ", ".join(study.tested[i].id for i in members)
        found.append(f"{name} {family}" + (f" of {ids}" if family.order == "sequence" else ""))
    return found


def _content(claim: Claim, source: Source) -> Any:
    content = [claim.statement, claim.source, describe(claim.check, source)]
    marks = _marks(claim, source)
    return [*content, marks] if marks else content


def _marks(claim: Claim, source: Source) -> dict[str, Any]:
    """What else decides how a claim is judged, where it is not as by default: so the digests of
    claims that have none of it stay what they were."""
    marks = {
        "family": claim.family if claim.family != PRIMARY else "",
        "control": claim.control,
        "underpowered": claim.underpowered,
        "gates": describe(claim.gates, source),
    }
    return {name: value for name, value in marks.items() if value}


def describe(value: Any, source: Source | str) -> Any:
    """A check as plain data: its fields, and a hash of the code of any function in it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: describe(getattr(value, f.name), source)
            for f in dataclasses.fields(value)
            if getattr(value, f.name) or f.metadata != IF_SET
        }
        return {"check": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [describe(one, source) for one in value]
    if callable(value):
        name = str(getattr(value, "__name__", ""))
        text = source if isinstance(source, str) else source.text
        if name in fingerprint.definitions(text):
            return fingerprint.part_hash(source, name)
        code = getattr(value, "__code__", None)
        return _digest(_code(code)) if code else repr(type(value))
    return value


def _code(code: CodeType) -> list[Any]:
    """What a function that has no name of its own does: a lambda among a claim's arguments."""
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), constants]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
