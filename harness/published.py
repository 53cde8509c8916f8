"""The tracked board: `reports/README.md`, from the verdicts of published runs. Layer 5.

`add` keeps a run's `verdicts.json` and first figure in `reports/published/` and writes the board
anew from everything kept there, so that no number in it was typed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- published:begin -->", "<!-- published:end -->"
LARGEST = 400_000  # bytes of a figure that is tracked; contour maps are larger
MARKS = {"supported": "✓ supported", "refuted": "✗ refuted", "inconclusive": "? inconclusive"}


def add(folder: Path, reports: Path) -> Path:
    """Publish the run whose report is in `folder`; returns the board's path."""
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    home = reports / "published"
    home.mkdir(exist_ok=True)
    shutil.copy(folder / "verdicts.json", home / f"{verdicts['study']}.json")
    drawn = [folder / "figures" / f"{name}.svg" for name in verdicts["figures"]]
    small = [path for path in drawn if path.stat().st_size < LARGEST]
    if small:
        shutil.copy(small[0], home / f"{verdicts['study']}.svg")
    kept = [json.loads(path.read_text("utf-8")) for path in sorted(home.glob("*.json"))]
    board = reports / "README.md"
    board.write_text(markdown(kept, home), encoding="utf-8")
    front = reports.parent / "README.md"
    if front.is_file():
        before, _, rest = front.read_text("utf-8").partition(BEGIN)
        _, found, after = rest.partition(END)
        if found:
            front.write_text(f"{before}{BEGIN}\n{summary(kept)}{END}{after}", encoding="utf-8")
    return board


def summary(kept: list[dict[str, Any]]) -> str:
    """A table of the published runs, for the project's front page."""
    lines = [
        "| study | supported | refuted | inconclusive | trials | time | on |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in kept:
        tally = Counter(claim["verdict"] for claim in run["claims"])
        counts = " | ".join(str(tally[outcome]) for outcome in MARKS)
        lines.append(
            f"| [{run['study']}](reports/README.md#{run['study']}) | {counts} "
            f"| {run['trials']['planned']:,} | {run['seconds']:.0f} s | {run['machine']} |"
        )
    return "\n".join(lines) + "\n"


def markdown(kept: list[dict[str, Any]], home: Path) -> str:
    """The board of all published runs."""
    lines = [
        "# Published verdicts",
        "",
        "Written by `harness report NAME --publish` from the runs named below; nothing is typed.",
        "`make study NAME=…` makes the full report: every claim with its figure, interval and source.",
    ]
    for run in kept:
        trials = run["trials"]
        lines += [
            "",
            f"## {run['study']}",
            "",
            f"{run['question']}",
            "",
            f"**{run['answer']}**",
            "",
            f"{trials['planned']:,} trials ({trials['diverged']:,} diverged, {trials['failed']:,} "
            f"failed) in {run['seconds']:.0f} s on {run['machine']}, {run['scale']} scale, "
            f"{run['finished_at'][:10]}, commit {run['commit'][:12]}.",
            "",
            "| verdict | claim | effect | interval | claimed | n | source |",
            "|---|---|---|---|---|---|---|",
        ]
        for claim in run["claims"]:
            effect, interval, claimed = claim["words"]
            row = (MARKS[claim["verdict"]], claim["statement"], effect, interval, claimed)
            cells = [*map(_cell, row), str(claim["n"]), _cell(claim["source"])]
            lines.append(f"| {' | '.join(cells)} |")
        if (home / f"{run['study']}.svg").exists():
            lines += ["", f"![{run['study']}](published/{run['study']}.svg)"]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
