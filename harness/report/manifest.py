"""The small file beside a report that a stranger verifies it by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.ledger import chain
from harness.ledger.results import Results

NAME = "chain.json"

# What verifying reads of a run, beside its rows.
ABOUT = (
    "commit", "dirty", "plan", "planned", "partial", "started_at", "finished_at", "run_id", "elsewhere",
    "experiment_id", "provenance", "seconds", "stopped",
)  # fmt: skip


def manifest(results: Results, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The chain of registrations, the planned trials' keys, and a digest of each file of a report,
    given by their names under its folder.

    The last field is a digest over all others, so that no number in it can be changed unseen.
    """
    info = results.info
    made = {
        "study": results.study.name,
        "scale": results.scale,
        "head": chain.head(info.get("registrations") or ()),
        "registrations": info.get("registrations") or [],
        "promised": info.get("promised") or {},
        "run": {name: info[name] for name in ABOUT if name in info},
    }
    digests = {Path(name).name: of(content) for name, content in files.items()}
    return signed(json.loads(json.dumps(made, default=repr)), digests)


def signed(made: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """What a manifest says, of files with these digests."""
    rest = {name: value for name, value in made.items() if name not in ("files", "digest")}
    rest["files"] = dict(sorted(files.items()))
    return {**rest, "digest": chain.digest(rest)}


def of(content: bytes) -> str:
    """SHA-256 over a file's content."""
    return hashlib.sha256(content).hexdigest()


def text(made: Mapping[str, Any]) -> str:
    """As it is kept."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"
