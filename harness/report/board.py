"""The board of all studies: every claim's verdict on one page."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from harness.report import numbers, words
from harness.report.page import asset, environment


def write_index(reports_root: Path) -> Path:
    """Write index.html, the board of all studies reported under `reports_root`."""
    entries = [
        _entry(path, reports_root) for path in sorted(reports_root.glob("*/*/verdicts.json"))
    ]
    claims = [claim for entry in entries for claim in entry.get("claims", ())]
    text = (
        environment()
        .get_template("index.html")
        .render(
            entries=entries,
            claims=claims,
            explored=[one for entry in entries for one in entry.get("explored", ())],
            tally=words.tally(claim["verdict"] for claim in claims),
            sources=sorted({source for claim in claims for source in claim["cites"]}),
            css=asset("style.css"),
            script=asset("board.js"),
        )
    )
    reports_root.mkdir(parents=True, exist_ok=True)
    target = reports_root / "index.html"
    with tempfile.TemporaryDirectory(dir=reports_root, prefix=".new-") as new:
        staged = Path(new, "index.html")
        staged.write_text(text, "utf-8")
        os.replace(staged, target)
    return target


def _entry(path: Path, root: Path) -> dict[str, Any]:
    """One study at one scale, as its verdicts.json has it, or the error that it cannot be read."""
    where = path.parent.relative_to(root).as_posix()
    page = path.parent / "report.html"
    entry: dict[str, Any] = {"where": where, "error": ""}
    entry["link"] = f"{where}/report.html" if page.is_file() else ""
    try:
        found = json.loads(path.read_text("utf-8"))
        entry |= {
            "study": str(found["study"]),
            "title": str(found.get("title") or found["study"]),
            "scale": str(found["scale"]),
            "question": str(found.get("question") or ""),
            "answer": str(found.get("answer") or ""),
            "partial": bool(found.get("partial")),
            "trials": {k: int(v) for k, v in found["trials"].items()},
            "when": numbers.moment(str(found.get("finished_at") or found.get("started_at") or "")),
            "took": numbers.duration(float(found["seconds"])) if found.get("seconds") else "",
            "cost": str(found.get("cost") or ""),
            "commit": str(found.get("commit") or "")[:12],
        }
        entry["claims"] = [
            {
                "number": number,
                "study": entry["study"],
                "title": entry["title"],
                "scale": entry["scale"],
                "link": f"{entry['link']}#claim-{number}" if entry["link"] else "",
                "statement": str(claim["statement"]),
                "verdict": str(claim["verdict"]),
                "source": str(claim.get("source") or ""),
                "cites": [str(source) for source in claim.get("cites") or ()],
                "n": int(claim.get("n") or 0),
                "words": [str(text) for text in claim.get("words") or ("", "", "")],
                "late": bool(claim.get("changed_late")),
                "first": str((claim.get("amended") or {}).get("words") or ""),
            }
            for number, claim in enumerate(found["claims"], 1)
        ]
        entry["explored"] = [
            {
                "study": entry["study"],
                "scale": entry["scale"],
                "link": f"{entry['link']}#exploratory" if entry["link"] else "",
                "statement": str(one["statement"]),
                "n": int(one.get("n") or 0),
                "words": [str(text) for text in one.get("words") or ("", "", "")],
            }
            for one in found.get("exploratory") or ()
        ]
        entry["tally"] = words.tally(claim["verdict"] for claim in entry["claims"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        entry["error"] = f"{type(problem).__name__}: {problem}"
        entry.pop("claims", None)
        entry.pop("explored", None)
    return entry
