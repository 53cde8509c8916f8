"""Every trial as compact JSON inside the page, for the table and the explorer.

Columns, not records: words are stored once and pointed to, numbers keep four digits.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from harness import figures
from harness.ledger.results import Results
from harness.report.numbers import plain, setting
from harness.study import PHASES, Metric, Study

MOST = 20_000  # trials in the page; more are in trials.csv
LISTED = 6  # metrics that the table of trials has columns for
MLFLOW_UI = "http://127.0.0.1:5000"  # where `make ui` serves the ledger
AS_TRAINING = "workflowType=machine_learning"  # else MLflow files a run under generative AI
RUN = "{run}"  # stands for a run's id, which the page fills in
RANK = {"failed": 0, "diverged": 1}


def embed(value: Any) -> str:
    """A value as JSON that may stand inside a script element, which it cannot end."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def ordered(results: Results) -> pd.DataFrame:
    """The trials a reader looks for first: failed, diverged, confirmed, then those before."""
    table = results.trials
    keys = [
        (RANK.get(s, 2), -PHASES.index(p))
        for s, p in zip(table["status"], table["phase"], strict=True)
    ]
    return table.iloc[sorted(range(len(table)), key=keys.__getitem__)]


def listed(study: Study) -> list[str]:
    """The columns of the table of trials."""
    wanted = {*study.select, *(claim.check.metric for claim in study.claims)}
    metrics = [name for name in study.metrics if name in wanted][:LISTED]
    return ["status", "phase", "arm", *study.vary, *study.nuisance_names(), "seed", *metrics]


def run_address(results: Results, run_id: str = "") -> str:
    """A run's page in MLflow's UI: at the tracking server, or where `make ui` serves the file."""
    info = results.info
    if not info.get("experiment_id"):
        return ""
    uri = str(info.get("tracking_uri") or "")
    home = uri.rstrip("/") if uri.startswith(("http://", "https://")) else MLFLOW_UI
    return f"{home}/#/experiments/{info['experiment_id']}/runs/{run_id}?{AS_TRAINING}"


def trials(results: Results) -> dict[str, Any]:
    """Columns of all trials (at most `MOST`), and how to show them."""
    study, table = results.study, ordered(results).iloc[:MOST]
    nuisance = study.nuisance_names()
    spaces = [study.nuisance, *(arm.nuisance for arm in study.arms.values())]
    drawn = {
        name: bool(getattr(next(s[name] for s in spaces if name in s), "log", False))
        for name in nuisance
    }
    columns: list[dict[str, Any]] = [_texts(table["trial"], "trial", "key")]
    for name in ("status", "phase", "arm", *study.vary):
        columns.append(_levels(table[name], name, study))
    for name in nuisance:
        if pd.api.types.is_numeric_dtype(table[name]):
            column = _numbers(table[name], name) | {"role": "axis", "log": drawn[name]}
        else:
            column = _levels(table[name], name, study) | {"role": "level"}
        columns.append(column)
    columns.append(_numbers(table["seed"], "seed", places=0) | {"role": "axis"})
    for name, metric in study.metrics.items():
        if pd.to_numeric(table[name], errors="coerce").notna().any():
            columns.append(_numbers(table[name], name) | _metric(name, metric))
    columns.append(_numbers(table["seconds"], "seconds", places=3) | {"role": "cost"})
    columns.append(_texts(table["run_id"].fillna(""), "run_id", "run"))
    columns.append(_levels(table["error"].fillna(""), "error", study) | {"role": "error"})
    shown = [name for name in study.select if any(c["name"] == name for c in columns)]
    axes = [name for name, log in drawn.items() if log] or [*nuisance, *study.vary, "arm"]
    palette = figures.palette(study)
    return {
        "total": len(results.trials),
        "columns": columns,
        "listed": listed(study),
        "colours": {study.label(arm): colour for arm, colour in palette.items()},
        "run": run_address(results, RUN),
        "metric": shown[0] if shown else "",
        "axis": axes[0],
    }


def _texts(column: pd.Series, name: str, role: str) -> dict[str, Any]:
    return {"name": name, "label": plain(name), "role": role, "values": column.map(str).tolist()}


def _levels(column: pd.Series, name: str, study: Study) -> dict[str, Any]:
    """Words by their place in a list of those that occur, in declared order."""
    words = [study.label(v) if name == "arm" else setting(v) for v in column]
    declared = (
        [study.label(arm) for arm in study.arms]
        if name == "arm"
        else [setting(study.held(name, level)) for level in study.vary.get(name, ())]
    )
    there = set(words)
    levels = [v for v in dict.fromkeys([*declared, *words]) if v in there]
    place = {level: i for i, level in enumerate(levels)}
    return {
        "name": name, "label": plain(name), "role": "level", "levels": levels,
        "values": [place[word] for word in words],
    }  # fmt: skip


def _numbers(column: pd.Series, name: str, places: int | None = None) -> dict[str, Any]:
    values = [_short(float(v), places) for v in pd.to_numeric(column, errors="coerce")]
    return {"name": name, "label": plain(name), "values": values}


def _short(value: float, places: int | None) -> float | int | str | None:
    """Four digits; missing is null, and infinities, which JSON lacks, are words."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    value = round(value, places) if places is not None else float(f"{value:.4g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _metric(name: str, metric: Metric) -> dict[str, Any]:
    return {
        "role": "metric", "label": metric.label or plain(name), "unit": metric.unit,
        "log": metric.log, "better": metric.better,
    }  # fmt: skip
