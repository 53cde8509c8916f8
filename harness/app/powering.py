"""What a scale's seeds can decide of each claim, for `harness plan --power`."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.claims import power
from harness.ledger.results import Results
from harness.study import BadInput, Source, Study


def told(study: Study, source: Source, scale: str, root: Path) -> dict[str, Any]:
    """The forecast of each claim, from the rows there are: the ledger's at this scale, else a
    published run's, else the ledger's at the smoke scale.

    A low power closes no gate by itself, as it rests on what was measured; it is named, with the reason
    that the claim gives (`Claim.underpowered`).

    Returns:
        Under "claims" a `harness.claims.power.Forecast` each, and under "words" of it the cells of a
        table; under "from" what rows it rests on.
    """
    from harness.report import outlook

    found = _rows(study, source, scale, root)
    looks = study.budget(scale).looks
    about: dict[str, Any] = {
        "study": study.name,
        "scale": scale,
        "families": {name: asdict(family) for name, family in study.families.items()},
        "looks": f", at the last of {len(looks)} looks" if len(looks) > 1 else "",
        "often": power.POWER,
        "effect": "effect last seen",
        "from": "How seeds scatter is unknown: run the smoke scale first.",
        "claims": [],
    }
    if found is None:
        return about
    rows, where = found
    seen = rows.scale == scale
    about["from"] = (
        f"How seeds scatter, and the effects last seen: {where}."
        if seen
        else f"How seeds scatter: {where}; effects at this scale are unknown."
    )
    about["effect"] = "effect last seen" if seen else "effect asked about"
    for one in power.forecast(study, rows.timed, scale, seen=seen):
        plain = {k: _finite(v) for k, v in asdict(one).items()}
        about["claims"].append(plain | {"words": outlook.row(one, study, seen)})
    about["gate"] = gate(study, about["claims"])
    return about


def gate(study: Study, claims: list[dict[str, Any]]) -> str:
    """Which claims their seeds will probably not decide, in a line, and why they are tested so."""
    whys = {claim.id: claim.underpowered for claim in study.tested}
    known = [one for one in claims if one["power"] is not None]
    low = [one for one in known if one["power"] < power.POWER]
    told = f"gate: power of {100 * power.POWER:.0f} %: {len(known) - len(low)} of {len(known)} claims pass"
    some = [
        f"{one['claim']} {100 * one['power']:.0f} % ({whys[one['claim']] or 'not said why'})"
        for one in low
    ]
    return "; ".join([told, *some])


def _rows(study: Study, source: Source, scale: str, root: Path) -> tuple[Results, str] | None:
    """Rows of the study, those of this scale first, and what they are."""
    from harness import execution

    def own(at: str) -> Results:
        if not (root / "mlflow.db").is_file() and "MLFLOW_TRACKING_URI" not in os.environ:
            raise BadInput("no ledger; allowed: one that a run has made")
        return execution.recall(study, source, at, root)

    ledger = "the ledger's latest run"
    ways: list[tuple[Callable[[], Results], str]] = [
        (lambda: own(scale), ledger),
        (lambda: execution.read_published(study, source), "the published run"),
        (lambda: own("smoke"), ledger),
    ]
    for read, words in ways:
        try:
            results = read()
        except BadInput:
            continue
        seeds = results.frame.loc[results.frame["phase"] == "confirm", "seed"].nunique()
        rough = f": {seeds} seeds, so roughly" if 0 < seeds < 5 else ""
        return results, f"{words} at the {results.scale} scale{rough}"
    return None


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
