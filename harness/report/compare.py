"""Two runs of a study side by side: which verdicts changed, by how much, and what differed.

Both are read from the ledger and judged by the claims as they stand, so that a difference is one
of the rows and not of the margins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from harness.claims import Verdict, judged
from harness.ledger.results import Results

# Provenance that says nothing about what was measured.
ASIDE = ("command",)


@dataclass(frozen=True)
class Comparison:
    """What two runs of a study have in common, and what not.

    Args:
        verdicts: A claim's two verdicts; None where a run has none.
        differs: What differed, with its value in either run: commit, plan, budget, claims, and
            the provenance (packages, machine, data, precision).
        trials: Counts: trials of the first and of the second run, those of the same key (the same
            code, settings and seed), and among these the ones whose rows differ.
        rows: Which metrics differ in the shared trials, and in how many of them.
    """

    verdicts: list[tuple[Verdict, Verdict]]
    differs: dict[str, tuple[str, str]]
    trials: dict[str, int]
    rows: dict[str, int]

    @property
    def changed(self) -> list[tuple[Verdict, Verdict]]:
        """The claims whose verdict is not the same."""
        return [(a, b) for a, b in self.verdicts if a.verdict != b.verdict]

    def document(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "verdicts": [
                {"id": a.id, "statement": a.statement, "changed": a.verdict != b.verdict}
                | {"a": _numbers(a), "b": _numbers(b), "shift": _finite(b.effect - a.effect)}
                for a, b in self.verdicts
            ],
            "differs": {name: list(values) for name, values in self.differs.items()},
            "trials": self.trials,
            "rows": self.rows,
        }


def _numbers(verdict: Verdict) -> dict[str, Any]:
    kept = ("verdict", "effect", "low", "high", "p", "n", "unit")
    found = asdict(verdict)
    return {name: _finite(found[name]) for name in kept}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def compare(a: Results, b: Results) -> Comparison:
    """Set two runs of one study side by side."""
    verdicts = [judged(one.study, one.scale, one.timed) for one in (a, b)]
    trials, rows = _shared(a.frame, b.frame, list(a.study.metrics))
    return Comparison(list(zip(*verdicts, strict=True)), _differs(a, b), trials, rows)


def _differs(a: Results, b: Results) -> dict[str, tuple[str, str]]:
    then, now = _about(a), _about(b)
    return {
        name: (then.get(name, "not recorded"), now.get(name, "not recorded"))
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    }


def _about(results: Results) -> dict[str, str]:
    info: Mapping[str, Any] = results.info
    dirty = " with local changes" if info.get("dirty") else ""
    confirmed = results.trials[results.trials["phase"] == "confirm"]
    seeds = sorted(confirmed["seed"].unique())
    about = {
        "scale": results.scale,
        "commit": f"{info.get('commit', 'unknown')}{dirty}",
        "plan": str(info.get("plan", "unknown")),
        "confirm seeds": f"{seeds[0]} to {seeds[-1]}" if seeds else "none",
        "trials": ", ".join(f"{count} {status}" for status, count in results.counts.items()),
        "partial": str(bool(info.get("partial"))),
    }
    known = info.get("provenance") or {}
    return about | {str(k): str(v) for k, v in known.items() if k not in ASIDE}


def _shared(
    a: pd.DataFrame, b: pd.DataFrame, metrics: list[str]
) -> tuple[dict[str, int], dict[str, int]]:
    """How many trials are the same in both runs, and whether they measured the same."""
    keys = set(a["trial"]) & set(b["trial"])
    columns = ["status", *metrics]
    index = ["trial", "step"]
    old, new = (
        one[one["trial"].isin(keys)].set_index(index)[columns].sort_index() for one in (a, b)
    )
    either = old.index.union(new.index)
    old, new = old.reindex(either), new.reindex(either)
    apart = (old != new) & ~(old.isna() & new.isna())
    by_trial = apart.groupby(level="trial").any()
    counts = {
        "a": int(a["trial"].nunique()),
        "b": int(b["trial"].nunique()),
        "shared": len(keys),
        "shared that differ": int(by_trial.any(axis=1).sum()),
    }
    return counts, {str(k): int(v) for k, v in by_trial.sum().items() if v}
