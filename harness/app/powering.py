"""What a scale's seeds can decide of each claim, for `harness plan --power`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.claims import power
from harness.execution import powered
from harness.study import Source, Study


def told(study: Study, source: Source, scale: str, root: Path) -> dict[str, Any]:
    """The forecast of each claim, from the rows there are (`execution.powered.at_hand`).

    Returns:
        Under "claims" a `harness.claims.power.Forecast` each, and under "words" of it the cells of a
        table; under "gate" the line that a run begins with; under "from" what rows it rests on.
    """
    from harness.report import outlook

    found = powered.at_hand(study, source, scale, root)
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
    forecasts = power.forecast(study, rows.timed, scale, seen=seen)
    for one in forecasts:
        plain = {k: _finite(v) for k, v in asdict(one).items()}
        about["claims"].append(plain | {"words": outlook.row(one, study, seen)})
    about["gate"] = powered.gate(study, forecasts)
    return about


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
