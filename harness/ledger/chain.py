"""Registrations as a chain of hashes: none can be changed, dropped or put in between unseen.

An entry holds what is claimed (`claims.registration.entry`) and `LINK`: when, of which code, which trials
are planned, why it was changed, and the digest of the entry before it. Its own digest is SHA-256
over all of that as canonical JSON, so that whoever knows the last digest knows them all. Entries of
before there were chains have no digest, and nothing can be said of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]

# What an entry has beside what is claimed.
LINK = (
    "at", "trials", "commit", "dirty", "plan", "planned", "left_out", "reason", "content", "previous",
    "digest",
)  # fmt: skip


def digest(value: Any) -> str:
    """SHA-256 over plain data as canonical JSON: 64 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def link(entry: Entry, entries: Sequence[Entry], about: Entry, reason: str = "") -> dict[str, Any]:
    """An entry that follows those that there are.

    Args:
        entry: Of `claims.registration.entry`.
        entries: Every registration of the study at this scale, the oldest first.
        about: `commit`, `dirty`, `plan`, `planned` (see `plan.plan.Plan.promised`) and `left_out`.
        reason: Why it was changed, as the user says.
    """
    claimed = {name: value for name, value in entry.items() if name not in LINK}
    known = {name: about[name] for name in ("commit", "dirty", "plan", "planned", "left_out")}
    made = {**entry, **known, "reason": reason, "previous": head(entries)}
    # as it will be read, tuples as lists and what JSON has no word for as text
    plain = json.loads(json.dumps({**made, "content": ""}, default=repr))
    plain["content"] = digest({name: plain[name] for name in claimed})
    return {**plain, "digest": digest(plain)}


def brief(entry: Entry) -> list[Any]:
    """What a run's tag says of an entry: all but what is claimed, of which it has the hash."""
    link = {name: entry[name] for name in LINK[2:] if name in entry}
    return [entry["at"], entry["trials"], entry["hash"], *([link] if link else [])]


def whole(told: Sequence[Any], known: Mapping[str, Entry]) -> dict[str, Any] | None:
    """The entry that `brief` was made of, or None where nothing that is known claims the same.

    Args:
        known: Entries by `claimed`.
    """
    at, trials, which, *rest = told
    link = rest[0] if rest else {}
    same = known.get(link.get("content", which))
    if same is None:
        return None
    content = {name: value for name, value in same.items() if name not in LINK}
    return {**content, "at": at, "trials": trials, **link}


def claimed(entry: Entry) -> str:
    """What entries that claim the same have in common."""
    return str(entry.get("content", entry["hash"]))


def follows(entry: Entry, last: Entry) -> bool:
    """Whether an entry says anything that the last one of its run does not."""
    if "digest" not in last or "digest" not in entry:
        return bool(entry["hash"] != last["hash"])
    said = ("content", "planned", "left_out")
    return any(entry[name] != last[name] for name in said)


def of_run(entries: Sequence[Entry], plan: Any) -> Entry | None:
    """The first entry that has the plan of a run, or None where that had no chain yet."""
    found = (one for one in entries if one.get("digest") and one.get("plan") == plan)
    return next(found, None)


def head(entries: Sequence[Entry]) -> str:
    """The digest of the last entry that has one, or ""."""
    followed = {one.get("previous") for one in entries}
    ends = [str(one["digest"]) for one in entries if one.get("digest")]
    return next((one for one in reversed(ends) if one not in followed), "")


def broken(entries: Sequence[Entry]) -> list[str]:
    """What is wrong with a chain, a sentence each; rows that were imported bring one of their own.

    Args:
        entries: All of a study's registrations at a scale, the oldest first.
    """
    found = []
    linked = [one for one in entries if one.get("digest")]
    times = {str(one["digest"]): str(one.get("at")) for one in linked}
    for number, one in enumerate(linked, 1):
        rest = {name: value for name, value in one.items() if name != "digest"}
        claimed = {name: value for name, value in rest.items() if name not in LINK}
        what = f"registration {number} of {len(linked)}, of {one.get('at')},"
        if digest(rest) != one["digest"] or digest(claimed) != one.get("content"):
            found.append(f"{what} is not what was written: its digest is another")
        previous = str(one.get("previous") or "")
        if previous and previous not in times:
            found.append(f"{what} follows one that is not there: {previous[:12]}")
        if times.get(previous, "") > str(one.get("at")):
            found.append(f"{what} is older than the one that it follows")
    if linked and not entries[-1].get("digest"):
        found.append("the last registration has no digest, and one before it has")
    return found
