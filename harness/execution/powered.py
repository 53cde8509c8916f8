"""What a scale's seeds can decide of each claim, by the rows that there are before a run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.claims import power
from harness.execution.published import read_published
from harness.execution.recorded import recall
from harness.ledger.results import Results
from harness.study import BadInput, Source, Study

SMOKE = "smoke"
NAME = f"power of {100 * power.POWER:.0f} %"


def at_hand(
    study: Study, source: Source, scale: str, root: Path, *, ledger: bool = True
) -> tuple[Results, str] | None:
    """Rows of a study that show how seeds scatter, and what they are: the ledger's at this scale, else a
    published run's, else the ledger's at the smoke scale; None where there are none.

    Args:
        ledger: Whether the ledger is asked, which needs MLflow.
    """

    def own(at: str) -> Results:
        if not (root / "mlflow.db").is_file() and "MLFLOW_TRACKING_URI" not in os.environ:
            raise BadInput("no ledger; allowed: one that a run has made")
        return recall(study, source, at, root)

    latest = "the ledger's latest run"
    ways: list[tuple[Callable[[], Results], str]] = [
        (lambda: own(scale), latest),
        (lambda: read_published(study, source), "the published run"),
        (lambda: own(SMOKE), latest),
    ]
    for read, words in ways if ledger else ways[1:2]:
        try:
            results = read()
        except BadInput:
            continue
        seeds = results.frame.loc[results.frame["phase"] == "confirm", "seed"].nunique()
        rough = f": {seeds} seeds, so roughly" if 0 < seeds < 5 else ""
        return results, f"{words} at the {results.scale} scale{rough}"
    return None


def announced(study: Study, source: Source, scale: str, root: Path, *, ledger: bool = True) -> str:
    """The gate of power in a line, before a run; "" at the smoke scale, which decides nothing."""
    if scale == SMOKE:
        return ""
    found = at_hand(study, source, scale, root, ledger=ledger)
    if found is None:
        return (
            f"gate: {NAME}: unknown, as no rows show how seeds scatter "
            f"(a run at the {SMOKE} scale does, roughly)"
        )
    rows, where = found
    seen = rows.scale == scale
    told = gate(study, power.forecast(study, rows.timed, scale, seen=seen))
    effects = "effects as in" if seen else "effects unknown, scatter as in"
    return f"{told} ({effects} {where})"


def gate(study: Study, claims: Sequence[power.Forecast]) -> str:
    """Which claims their seeds will probably not decide, in a line, and why they are tested so.

    A low power closes no gate by itself, as it rests on what was measured; it is named, with the
    reason that the claim gives (`Claim.underpowered`), else with what it would take.
    """
    whys = {claim.id: claim.underpowered for claim in study.tested}
    known = [one for one in claims if not math.isnan(one.power)]
    low = [one for one in known if one.power < power.POWER]
    told = f"gate: {NAME}: {len(known) - len(low)} of {len(known)} claims pass"
    unknown = f"{len(claims) - len(known)} cannot be told" * (len(known) < len(claims))
    some = [
        f"{one.claim} {100 * one.power:.0f} % ({whys[one.claim] or _takes(one)})" for one in low
    ]
    return "; ".join(one for one in (told, *some, unknown) if one)


def _takes(one: power.Forecast) -> str:
    if one.needed is None:
        return f"no number of {one.unit} up to {power.MOST:,} would do"
    return f"takes {one.needed:,} {one.unit}"
