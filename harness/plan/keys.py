"""What a trial's key is made of: what the trial is, the code that trains it, and where it trains."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.engine import process
from harness.parts import data
from harness.study import Source, Study, Trial, fingerprint


def key(
    study: Study, trial: Trial, code: str, origin: Mapping[str, str],
    contents: Sequence[Mapping[str, str]],
) -> str:  # fmt: skip
    """A trial's key, sixteen hex digits.

    Args:
        study, trial: What is trained; a key that the trial has already does not count.
        code: Of what trains it: see `code`.
        origin: See `origin`.
        contents: See `contents`.
    """
    reported = sorted(study.metrics)  # rows keep what is declared, and nothing else
    about = [study.name, trial.phase, trial.arm, trial.settings, trial.seed, code, reported, origin]
    unsealed = ["unsealed"] if trial.phase in study.unsealed else []
    return digest([*about, *contents, *unsealed])


def code(study: Study, source: Source, words: frozenset[str]) -> str:
    """The hash of the code that trains what the words name."""
    return fingerprint.code_hash(source, name(study.trial), words)


def words(study: Study, scale: str, arm: str, cell: Mapping[str, Any]) -> frozenset[str]:
    """What may name a part that a cell trains."""
    settings = study.settings(scale, arm, cell)
    return frozenset([arm, *(v for v in settings.values() if isinstance(v, str))])


def name(trial: Any) -> str:
    """The name of a study's trial function in its file."""
    return str(getattr(trial, "__name__", repr(trial)))


def origin(libraries: Iterable[str], device: str | None) -> dict[str, str]:
    """What decides numbers beside the code: the kind of device, by default this process's, and the
    versions of the libraries that the code uses."""
    versions = {name: fingerprint.version(name) for name in libraries}
    return {"device": device or process.device(), **versions}


def contents(study: Study, mine: Mapping[str, data.Own]) -> list[dict[str, str]]:
    """What a study reads of others, and data of its own, are part of what its trials are: by their
    digests.

    Args:
        study: Names what it reads.
        mine: The data sets of its own that it may train on.
    """
    read = {name: data.table_digest(name) for name in study.reads}
    own = {f"own {name}": one.digest for name, one in mine.items()}
    return [part for part in (read, own) if part]


def digest(content: Any) -> str:
    """Sixteen hex digits over plain data."""
    text = json.dumps(content, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
