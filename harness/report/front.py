"""The tracked board: `reports/README.md`, from the verdicts of published runs.

`add` keeps a run's `verdicts.json`, first figure and manifest in `reports/published/` and writes the board
anew from everything kept there, so that no number in it was typed.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from harness.report import manifest, words
from harness.study import BadInput, catalog

BEGIN, END = "<!-- published:begin -->", "<!-- published:end -->"
LARGEST = 400_000  # bytes of a figure that is tracked; contour maps are larger
BLANK = 2000  # and of one that says only that there is nothing to draw at this scale
MARKS = {
    "supported": "✓ supported", "refuted": "✕ refuted", "inconclusive": "? inconclusive",
    "not judged": "– not judged",
}  # fmt: skip


def add(folder: Path, reports: Path) -> Path:
    """Publish the run whose report is in `folder`; returns the board's path."""
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    home = reports / "published"
    home.mkdir(parents=True, exist_ok=True)
    study = catalog.published_as(verdicts["study"], verdicts["scale"])
    shutil.copy(folder / "verdicts.json", home / f"{study}.json")
    drawn = [folder / "figures" / f"{name}.svg" for name in verdicts["figures"]]
    small = [path for path in drawn if BLANK < path.stat().st_size < LARGEST]
    if small:
        shutil.copy(small[0], home / f"{study}.svg")
    there = [home / f"{study}.{kind}" for kind in ("json", "parquet", "svg")]
    made = json.loads((folder / manifest.NAME).read_text("utf-8"))
    digests = {path.name: manifest.of(path.read_bytes()) for path in there if path.is_file()}
    signed = manifest.signed(made, digests)
    chain = catalog.chain_file(home / f"{study}.parquet")
    chain.parent.mkdir(exist_ok=True)
    chain.write_text(manifest.text(signed), "utf-8")
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


def want_all(folder: Path, reports: Path) -> None:
    """Want what was registered before the published run among the registrations of the run whose
    report is in `folder`: a ledger that began anew knows of no claims that were changed before.

    Raises:
        BadInput: some are not.
    """
    made = json.loads((folder / manifest.NAME).read_text("utf-8"))
    study = catalog.published_as(made["study"], made["scale"])
    former = catalog.chain_file(reports / "published" / f"{study}.parquet")
    if not former.is_file():
        return
    before, now = (
        {one["digest"] for one in chain["registrations"] if "digest" in one}
        for chain in (json.loads(former.read_text("utf-8")), made)
    )
    if lost := before - now:
        raise BadInput(
            f"{len(lost)} of the {len(before)} registrations of the published {study} are not in this "
            f"ledger; allowed: a run that follows them (harness import reports/published/{study}.parquet, "
            "then run and report again)"
        )


def summary(kept: list[dict[str, Any]]) -> str:
    """A table of the published runs at the default scale, and which others there are, for the
    project's front page."""
    lines = [
        "| study | supported | refuted | inconclusive | not judged | trials | time | on |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in (run for run in kept if run["scale"] == "default"):
        tally = Counter(map(words.outcome, run["claims"]))
        counts = " | ".join(str(tally[outcome]) for outcome in MARKS)
        lines.append(
            f"| {_link(run)} | {counts} "
            f"| {run['trials']['planned']:,} | {run['seconds']:.0f} s | {run['machine']} |"
        )
    if others := [_link(run) for run in kept if run["scale"] != "default"]:
        lines += ["", f"At other scales: {', '.join(others)}."]
    return "\n".join(lines) + "\n"


def _link(run: dict[str, Any]) -> str:
    return f"[{_name(run)}](reports/README.md#{_name(run)})"


def markdown(kept: list[dict[str, Any]], home: Path) -> str:
    """The board of all published runs: studies, decks and papers, then every claim by study.

    Args:
        kept: What `verdicts.json` holds of each run.
        home: The folder of the published figures; a study without one has none.
    """
    kept = sorted(
        map(_read, kept), key=lambda run: (run["study"], run["scale"] != "default", run["scale"])
    )
    # a claim counts once, though it may be judged at the paper scale, too
    first = [run for run in kept if run["scale"] == "default"]
    claims = [claim for run in first for claim in run["claims"]]
    late = any(claim.get("changed_late") for claim in claims)
    lines = [
        "# Published verdicts",
        "",
        f"{_count([*{run['study'] for run in kept}], 'study', 'studies')}, {len(claims)} claims, each written down with its margin "
        f"and its source before any trial{', but for those marked' if late else ''}.",
        "`harness report NAME --publish` wrote this page from the runs named below; nothing is typed.",
        "`make study NAME=…` makes the full report: every claim with its figure, interval and source.",
        "",
        "A claim is supported (✓) when its whole interval lies on the claimed side of the margin,",
        "refuted (✕) when it lies wholly on the other, else inconclusive (?). What the default scale",
        "does not run is not judged there (–); at other scales it is left out.",
        "",
        "| study | question | ✓ | ✕ | ? | – |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for run in kept:
        link = f"[{_name(run)}](#{_name(run)})"
        lines.append(f"| {link} | {_cell(run['question'])} | {_tally(run['claims'])} |")
    lines += _by_source(first)
    lines += _beside(kept)
    for run in kept:
        lines += _study(run, home)
    return "\n".join(lines) + "\n"


def _read(run: dict[str, Any]) -> dict[str, Any]:
    """A run with the claims that its scale can speak of: another than the default may be a part of it."""
    if run["scale"] == "default":
        return run
    return {**run, "claims": [claim for claim in run["claims"] if not claim.get("gate")]}


def _by_source(kept: list[dict[str, Any]]) -> list[str]:
    """How the claims of each deck and paper came out, over all studies at their default scale."""
    cited: dict[str, list[dict[str, Any]]] = {}
    for run in kept:
        for claim in run["claims"]:
            for source in claim.get("cites", ()):
                cited.setdefault(source, []).append(claim)
    if not cited:
        return []
    lines = ["", "| deck or paper, at the default scale | ✓ | ✕ | ? | – |", "|---|--:|--:|--:|--:|"]
    return lines + [f"| {_cell(name)} | {_tally(some)} |" for name, some in sorted(cited.items())]


def _beside(kept: list[dict[str, Any]]) -> list[str]:
    """What the literature reports, with how far that is known, beside what was found here."""
    lines = []
    for run in kept:
        for claim in run["claims"]:
            known = claim.get("published")
            if known and claim["effect"] is not None:
                effect, interval, _ = map(_cell, claim["words"])
                lines.append(
                    f"| [{_name(run)}](#{_name(run)}) {claim['id']} | {_cell(known['words'])} "
                    f"| {known['trust']} | {effect} | {interval} | {words.within(claim) or '—'} |"
                )
    if not lines:
        return []
    return [
        "",
        "## Published beside ours",
        "",
        "Theirs are of the papers' data and sizes, ours of the scale that a study was run at. A dash stands",
        "where theirs has no number in the unit of our effect.",
        "",
        "| claim | theirs | how it is known | ours | interval | theirs within it |",
        "|---|---|---|--:|---|---|",
        *lines,
    ]


def _study(run: dict[str, Any], home: Path) -> list[str]:
    trials = run["trials"]
    ended = trials["finished"] + trials["diverged"] + trials["failed"]
    partial = f" The run is partial: {ended:,} of them have ended." if run.get("partial") else ""
    cost = f" ({run['cost']})" if run.get("cost") else ""
    of_all, firsts = words.stated_first(run["claims"])
    lines = [
        "",
        f"## {_name(run)}",
        "",
        f"{run['question']}",
        "",
        f"**{run['answer']}**",
        "",
        f"{trials['planned']:,} trials ({trials['diverged']:,} diverged, {trials['failed']:,} "
        f"failed) in {run['seconds']:.0f} s{cost} on {run['machine']}, {run['scale']} scale, "
        f"{(run['finished_at'] or run['started_at'])[:10]}, commit {run['commit'][:12]}.{partial}",
        "",
        *([of_all, ""] if of_all else []),
        "| verdict | claim, and where it is taught | effect | interval | claimed | n |",
        "|---|---|---|---|---|--:|",
    ]
    for claim, said in zip(run["claims"], firsts, strict=True):
        effect, interval, claimed = map(_cell, claim["words"])
        verdict = MARKS[words.outcome(claim)].replace(" ", "&nbsp;")
        if claim.get("changed_late"):
            verdict += "<br>changed after trials had run"
        if said:
            verdict += f"<br><sub>{_cell(said)}</sub>"
        what = f"{_cell(claim['statement'])}<br><sub>{_cell(claim['source'])}</sub>"
        lines.append(f"| {verdict} | {what} | {effect} | {interval} | {claimed} | {claim['n']} |")
    if (home / f"{_name(run)}.svg").exists():
        lines += ["", f"![{_name(run)}](published/{_name(run)}.svg)"]
    return lines


def _name(run: dict[str, Any]) -> str:
    return catalog.published_as(run["study"], run["scale"])


def _tally(claims: list[dict[str, Any]]) -> str:
    count = Counter(map(words.outcome, claims))
    return " | ".join(str(count[outcome]) for outcome in MARKS)


def _count(things: list[Any], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
