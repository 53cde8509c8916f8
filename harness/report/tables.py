"""What the page prints as rows: arms, tuned settings, held settings, errors, provenance."""

from __future__ import annotations

import itertools
from typing import Any

from harness.ledger.results import STATUSES, Results
from harness.report import numbers, words
from harness.report.ends import Ends
from harness.report.numbers import plain, setting

WIDE_CELLS = 8  # more cells than this turn the table of tuned settings on its side


def arms(results: Results) -> list[dict[str, Any]]:
    """Each arm: label, settings, what it holds, and its trials by status."""
    study = results.study
    table = results.trials.groupby(["arm", "status"]).size()
    return [
        {
            "label": study.label(name),
            "settings": numbers.settings(arm.settings) or "—",
            "held": numbers.settings(arm.held),
            "counts": [int(table.get((name, status), 0)) for status in STATUSES],
        }
        for name, arm in study.arms.items()
    ]


def tuned(results: Results, ends: Ends) -> dict[str, Any] | None:
    """The tuned settings as a table: arms down and cells across, or one row each where many. What is
    the lowest or highest of those drawn is said to be."""
    which = {(one.arm, *one.cell.values(), one.name): f" ({one.which})" for one in ends.found}
    study, table = results.study, results.winners()
    names = study.nuisance_names()
    if not len(table):
        return None
    rows: dict[tuple[str, tuple[Any, ...]], list[tuple[str, str]]] = {}
    for record in table.to_dict("records"):
        arm, cell = str(record["arm"]), tuple(record[factor] for factor in study.vary)
        held = study.arms[arm].held
        rows[arm, cell] = [
            (
                plain(name),
                _drawn(record[name])
                + (" held" if name in held else which.get((arm, *cell, name), "")),
            )
            for name in names
            if record[name] == record[name] and record[name] is not None
        ]
    cells = list(dict.fromkeys(cell for _, cell in rows))
    names_of_arms = list(dict.fromkeys(arm for arm, _ in rows))
    heads = [
        ", ".join(numbers.level(f, v) for f, v in zip(study.vary, c, strict=True)) for c in cells
    ]
    if len(cells) <= WIDE_CELLS:
        body = [
            (study.label(arm), [rows.get((arm, cell), []) for cell in cells])
            for arm in names_of_arms
        ]
        return {"wide": True, "heads": heads, "rows": body}
    body = [
        (study.label(arm), [[("", head)], rows[arm, cell]])
        for arm, (cell, head) in itertools.product(names_of_arms, zip(cells, heads, strict=True))
        if (arm, cell) in rows
    ]
    return {"wide": False, "heads": ["cell", "chosen"], "rows": body}


def _drawn(value: Any) -> str:
    return numbers.digits(value) if isinstance(value, float) else setting(value)


def fixed(results: Results) -> list[tuple[str, str, bool]]:
    """What was held constant at this scale: name, value, and whether the scale changed it."""
    changed = results.study.budget(results.scale).settings
    values = {**results.study.fixed, **changed}
    return [(plain(name), setting(value), name in changed) for name, value in values.items()]


def errors(results: Results) -> list[tuple[str, int]]:
    """Distinct error texts of failed trials with how often they came, most frequent first."""
    failed = results.trials.loc[results.trials["status"] == "failed", "error"]
    counts: dict[str, int] = {}
    for text in failed.fillna("no message"):
        counts[str(text)] = counts.get(str(text), 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def provenance(results: Results) -> list[tuple[str, str]]:
    """What made these results: commit, hashes, times, command, packages, machine."""
    info = results.info
    known = {
        "commit": info.get("commit") and words.commit(info, 40),
        "plan": info.get("plan"),
        "claims registered": info.get("registered_at"),
        "hash of the claims": info.get("claims_hash"),
        "started": info.get("started_at"),
        "finished": info.get("finished_at"),
        "command": info.get("command"),
        "MLflow experiment": info.get("experiment_id"),
        "MLflow run": info.get("run_id"),
    }
    rows = [(name, str(value)) for name, value in known.items() if value]
    return rows + [(str(k), str(v)) for k, v in (info.get("provenance") or {}).items()]
