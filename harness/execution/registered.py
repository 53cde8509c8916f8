"""Claims registered before there is a run, and anchored in git, where they can be."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.execution.lock import sole
from harness.execution.prepare import announce, check_data, info_of, open_ledger, written_down
from harness.execution.tables import read_first
from harness.ledger import chain
from harness.ledger.names import SCHEDULED
from harness.plan.declared import Declarations
from harness.plan.plan import Plan
from harness.study import BadInput, Source, Study

TRAILER = "Harness-Registration"
TAGS = "harness"  # before the names of tags
SECONDS = 30.0  # that git may take


@dataclass(frozen=True)
class Anchor:
    """A tag or a commit that holds the digest of a registration.

    Args:
        name: Of the tag, or the commit's first digits.
        at: When it was made, seconds since 1970.
        digest: Which registration it holds.
    """

    name: str
    at: float
    digest: str


def register(
    study: Study, source: Source, scale: str, root: Path, console: Console, amend: str = ""
) -> str:
    """Write down a study's claims, with what a run would train, and train nothing.

    A run of the same plan goes on from there. What is registered already is not written again.

    Returns:
        The digest of the last registration.

    Raises:
        BadInput: data, tracking store or study cannot be used.
    """
    with sole(root / ".harness" / f"{study.name}.lock", f"study {study.name} in {root}"):
        read_first(study, scale, root)
        plan = Plan(study, source, scale)
        found = check_data(plan, Declarations(study))
        announce(plan, console)
        ledger = open_ledger(root)
        info = info_of(root, plan, ledger.uri, found)
        info.pop("started_at")  # which a run has, and this is none
        same = ledger.parents(study.name, scale, plan.hash(), most=1)
        from harness.ledger import Past, Recorder

        recorder = Recorder(ledger, study, source, scale, info, fresh=False)
        try:
            past = Past(ledger, study)
            entries, _ = written_down(ledger, recorder, source, plan, info, past, amend, console)
        finally:
            recorder.end(same[0].info.status if same else SCHEDULED)
    return chain.head(entries)


def trailer(study: str, scale: str, digest: str) -> str:
    """The line of a commit's message that anchors a registration."""
    return f"{TRAILER}: {study}@{scale} {digest}"


def tag(root: Path, study: str, scale: str, digest: str) -> str:
    """Make an annotated tag that holds a registration; nothing is pushed.

    Returns:
        Its name.

    Raises:
        BadInput: the project is no git repository with a commit, or git refuses.
    """
    name = f"{TAGS}/{study}-{scale}-{digest[:12]}"
    if not _git(root, "tag", "--list", name):
        _git(root, "tag", "-a", name, "-m", trailer(study, scale, digest))
    return name


def anchors(root: Path, study: str, scale: str) -> list[Anchor]:
    """Every tag and commit that holds a registration of a study at a scale, the oldest first."""
    try:
        tags = _git(
            root, "for-each-ref", "refs/tags", "--format=%(refname:short)%00%(creatordate:unix)%00%(contents)%01"
        )  # fmt: skip
        commits = _git(root, "log", "--all", f"--grep={TRAILER}: ", "--format=%h%x00%ct%x00%B%x01")
    except BadInput:
        return []
    found = [*_read(tags, study, scale), *_read(commits, study, scale)]
    return sorted(found, key=lambda one: one.at)


def _read(text: str, study: str, scale: str) -> Iterator[Anchor]:
    line = re.compile(rf"^{TRAILER}: {re.escape(study)}@{re.escape(scale)} ([0-9a-f]{{64}})$", re.M)
    for record in text.split("\1"):
        name, _, rest = record.strip().partition("\0")
        at, _, message = rest.partition("\0")
        for digest in line.findall(message):
            yield Anchor(name, float(at), digest)


def _git(root: Path, *words: str) -> str:
    try:
        done: Any = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=True, timeout=SECONDS
        )
    except subprocess.CalledProcessError as error:
        why = " ".join(error.stderr.split())[:200]
        raise BadInput(f"git {words[0]} in {root} failed: {why}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"git cannot be asked in {root}: {error}") from None
    return str(done.stdout).strip()
