"""The board of all studies on one page: every claim's verdict, and what the lectures say beside it.

Reports that were made here come first; where a study has none at the default scale, what was published
of it stands in for one. Of each study one run speaks for it under the lectures' headings.
"""

from __future__ import annotations

import base64
import json
import math
import os
import re
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.report import bars, lectures, numbers, words
from harness.report.front import LARGEST
from harness.report.page import asset, environment
from harness.study import catalog


def write_index(reports_root: Path) -> Path:
    """Write index.html, the board of all studies reported under `reports_root`.

    Raises:
        BadInput: the lectures' file is wrong.
    """
    text = rendered(gathered(reports_root))
    reports_root.mkdir(parents=True, exist_ok=True)
    target = reports_root / "index.html"
    with tempfile.TemporaryDirectory(dir=reports_root, prefix=".new-") as new:
        staged = Path(new, "index.html")
        staged.write_text(text, "utf-8")
        os.replace(staged, target)
    return target


def gathered(reports_root: Path) -> dict[str, Any]:
    """What the page is made of.

    Args:
        reports_root: The folder of the reports; `studies/lectures.toml` lies beside it.

    Returns:
        entries: Every report. speaking: of each study the one that speaks for it, by name. chapters:
        the lectures (`lectures.chapters`).
    """
    entries = [
        _entry(path, reports_root) for path in sorted(reports_root.glob("*/*/verdicts.json"))
    ]
    here = {
        catalog.published_as(entry["study"], entry["scale"])
        for entry in entries
        if not entry["error"]
    }
    published = sorted((reports_root / "published").glob("*.json"))
    entries += [_entry(path, reports_root) for path in published if path.stem not in here]
    entries.sort(key=lambda entry: (entry.get("study", entry["where"]), entry["where"]))
    speaking: dict[str, dict[str, Any]] = {}
    for entry in entries:
        before = speaking.get(entry.get("study", ""))
        if not entry["error"] and (before is None or before["scale"] != "default"):
            speaking[entry["study"]] = entry
    for entry in speaking.values():
        entry["speaks"] = True
        for claim in entry["claims"]:
            claim["anchor"] = f"{entry['study']}.{claim['id']}"
    told = [claim for entry in speaking.values() for claim in entry["claims"]]
    listed = reports_root.parent / "studies" / "lectures.toml"
    found = lectures.read(listed) if told else []
    topics = lectures.topics(listed)
    for entry in entries:
        for claim in entry.get("claims", ()):
            claim["topics"] = topics.get(entry["study"], [])
    return {
        "entries": entries,
        "speaking": speaking,
        "chapters": lectures.chapters(found, told),
    }


def rendered(made: dict[str, Any], **paper: Any) -> str:
    """The page of what is `gathered`; for print with what `book` adds."""
    claims = [claim for entry in made["entries"] for claim in entry.get("claims", ())]
    speaking = made["speaking"].items()
    told = [claim for claim in claims if claim["anchor"]]  # once, whatever scales it is judged at
    values = {
        "paper": False,
        "claims": claims,
        "figures": {name: one["figure"] for name, one in speaking if one["figure"]},
        "explored": [one for entry in made["entries"] for one in entry.get("explored", ())],
        "once": told,
        "tally": words.tally(claim["verdict"] for claim in told),
        "topics": sorted({topic for claim in claims for topic in claim["topics"]}),
        "sources": sorted({source for claim in claims for source in claim["cites"]}),
        "css": asset("style.css"),
        "script": asset("links.js", "quote.js", "board.js"),
    }
    return str(environment().get_template("index.html").render(made | values | paper))


def _figure(entry: dict[str, Any], folder: Path) -> dict[str, str] | None:
    """A study's first figure that is not too large, as text that a style sheet can hold."""
    names = (
        [f"{catalog.published_as(entry['study'], entry['scale'])}.svg"]
        if folder.name == "published"
        else []
    )
    names += [f"figures/{name}.svg" for name in entry["figures"]]
    for path in (folder / name for name in names):
        if path.is_file() and path.stat().st_size < LARGEST:
            raw = path.read_bytes()
            box = re.search(rb'viewBox="[\d.-]+ [\d.-]+ ([\d.]+) ([\d.]+)"', raw)
            shape = f"{float(box[1]):.0f} / {float(box[2]):.0f}" if box else "3 / 2"
            return {"data": base64.b64encode(raw).decode(), "shape": shape}
    return None


def _dated(quote: str, when: str) -> str:
    """A verdict's line with the day of its run: what is cited names study, claim, commit, date, digest."""
    day = when.split(",")[0]
    return f"{quote[:-1]}; run of {day}." if day and quote.endswith(".") else quote


def _spark(claim: dict[str, Any]) -> str:
    """A claim's interval against its margin, from what is kept of it."""
    open_ = {"effect": math.nan, "low": -math.inf, "high": math.inf, "margin": math.nan}
    known = {k: v if claim.get(k) is None else float(claim[k]) for k, v in open_.items()}
    direction = str(claim.get("direction") or "above")
    if math.isnan(known["margin"]):
        return ""
    verdict: Any = SimpleNamespace(
        verdict=claim["verdict"], n=int(claim.get("n") or 0), direction=direction, **known
    )
    times = "×" in str((claim.get("words") or [""])[0])
    return bars.spark(verdict, numbers.Scale("", log=times))


def _entry(path: Path, root: Path) -> dict[str, Any]:
    """One study at one scale, as its verdicts.json has it, or the error that it cannot be read."""
    where = path.parent.relative_to(root).as_posix()
    page = path.parent / "report.html"
    published = path.parent.name == "published"
    where = f"{where}/{path.stem}" if published else where
    entry: dict[str, Any] = {"where": where, "error": "", "published": published, "speaks": False}
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
            "finished": str(found.get("finished_at") or found.get("started_at") or ""),
            "took": numbers.duration(float(found["seconds"])) if found.get("seconds") else "",
            "cost": str(found.get("cost") or ""),
            "commit": str(found.get("commit") or "")[:12],
            "figures": [str(name) for name in found.get("figures") or ()],
        }
        entry["figure"] = _figure(entry, path.parent)
        entry["of_all"], firsts = words.stated_first(found["claims"])
        entry["claims"] = [
            {
                "number": number,
                "id": str(claim.get("id") or number),
                "anchor": "",
                "quote": _dated(str(claim.get("quote") or ""), entry["when"]),
                "spark": _spark(claim),
                "study": entry["study"],
                "title": entry["title"],
                "scale": entry["scale"],
                "link": f"{entry['link']}#claim-{number}" if entry["link"] else "",
                "statement": str(claim["statement"]),
                "verdict": words.outcome(claim),
                "source": str(claim.get("source") or ""),
                "cites": [str(source) for source in claim.get("cites") or ()],
                "n": int(claim.get("n") or 0),
                "words": [str(text) for text in claim.get("words") or ("", "", "")],
                "late": bool(claim.get("changed_late")),
                "published": claim.get("published") or {},
                "within": words.within(claim),
                "first": first,
            }
            for number, (claim, first) in enumerate(zip(found["claims"], firsts, strict=True), 1)
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
