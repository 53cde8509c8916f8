"""Rows of the result, the table that is printed and the file that is written."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.ledger import provenance

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "benchmarks" / "results.json"
FIELDS = ("work", "against", "unit", "ours_per_s", "peer_per_s", "ratio", "spread", "must", "aim")


def make_row(
    work: str,
    against: str,
    ours: Sequence[float],
    peer: Sequence[float],
    must: float,
    aim: float,
    settings: Mapping[str, Any],
    gpu: bool = False,
) -> dict[str, Any]:
    """One row, from trials a second of each repeat of both sides.

    `ratio` is the median over repeats, `spread` its lowest and highest; `must` is what two CPU
    cores have to reach, `aim` what one H200 has to, and `reached` judges by the one that applies.
    """
    if not ours or len(ours) != len(peer) or min(*ours, *peer) <= 0:
        raise ValueError(f"repeats of {work!r}: {ours} and {peer}; allowed: as many, all positive")
    ratios = [a / b for a, b in zip(ours, peer, strict=True)]
    ratio = statistics.median(ratios)
    return {
        "work": work,
        "against": against,
        "unit": "trials",
        "ours_per_s": _rounded(statistics.median(ours)),
        "peer_per_s": _rounded(statistics.median(peer)),
        "ratio": _rounded(ratio),
        "spread": [_rounded(min(ratios)), _rounded(max(ratios))],
        "must": must,
        "aim": aim,
        "reached": ratio >= (aim if gpu else must),
        "repeats": len(ratios),
        "settings": dict(settings),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def machine() -> dict[str, str]:
    """What the numbers were measured on and with."""
    found = provenance.describe()
    sha, dirty = provenance.commit(ROOT)
    kept = ("cpu", "cores", "memory", "gpu", "torch", "ray", "mlflow", "optuna", "python")
    return {
        **{name: found[name] for name in kept},
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": sha + (" with changes" if dirty else ""),
    }


def show(rows: Sequence[Mapping[str, Any]], gpu: bool, console: Console) -> None:
    """Print the table, what was missed, and each row's settings."""
    table = Table(title=None)
    for name in ("work", "against"):
        table.add_column(name, overflow="fold")
    for name in ("ours /s", "peer /s", "ratio", "lowest to highest", "aim" if gpu else "must", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["spread"]
        table.add_row(
            row["work"], row["against"], f"{row['ours_per_s']:g}", f"{row['peer_per_s']:g}",
            f"{row['ratio']:.3g}x", f"{low:.3g} to {high:.3g}",
            f"{row['aim' if gpu else 'must']:g}x", "reached" if row["reached"] else "missed",
        )  # fmt: skip
    console.print(table)
    for row in rows:
        console.print(f"{row['work']}, against {row['against']}:", highlight=False)
        for name, value in row["settings"].items():
            console.print(f"  {name}: {value}", highlight=False, soft_wrap=True)


def write(
    rows: Sequence[Mapping[str, Any]],
    peak: Mapping[str, Any] | None,
    path: Path = FILE,
    quick: bool = False,
) -> None:
    """Write machine, results and the share of the peak."""
    content = {"machine": machine(), "quick": quick, "results": list(rows), "peak": peak}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
