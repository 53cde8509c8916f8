"""The line by which a verdict is quoted: enough to find it again, and to see that it is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.claims import Verdict
from harness.ledger.results import Results
from harness.report import words


def quote(results: Results, verdict: Verdict) -> str:
    """A verdict in one line: study, claim, outcome, effect with interval, n, commit and digest.

    What would make it less than a test (an unfinished run, a claim that was changed when trials had
    run, local changes) is part of the line.
    """
    study, info = results.study, results.info
    place = f"{study.name}, {results.scale} scale, claim {verdict.id}"
    effect, interval, claimed = words.in_words(verdict, study)
    if not verdict.n or math.isnan(verdict.effect):
        found = f"not decided, {verdict.reason or 'nothing was measured'}"
    else:
        found = (
            f"{verdict.verdict}, {effect}, interval {interval}, claimed {claimed}, "
            f"n = {words.replicates(verdict)}"
        )
    late = [change["what"] for change in words.changes(results) if change["id"] == verdict.id]
    caveats = [f"{what} after trials had run" for what in late]
    caveats += ["from an unfinished run"] if info.get("partial") else []
    made = f"commit {words.commit(info)}"
    made += f", registration {digest(info)}" if digest(info) else ""
    said = "; ".join([found, *caveats, made])
    return f"{place}: “{verdict.statement.strip().rstrip('.')}”: {said}."


def digest(info: Mapping[str, Any]) -> str:
    """The digest of what was registered of a run's claims; "" where nothing was."""
    return str(info.get("claims_hash") or "")
