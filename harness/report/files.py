"""Every file of a report, written in one step."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from harness import figures
from harness.claims import Verdict
from harness.ledger.results import Results
from harness.report import documents, manifest, outlook, page, panels, printing, words


def write(results: Results, verdicts: list[Verdict], folder: Path) -> dict[str, Path]:
    """Write report.html, report.pdf, verdicts.json, rows.parquet, trials.csv, figures/*.svg, and
    chain.json, which has a digest of each.

    None is moved into place before all are made, so an error leaves the former report as it was.

    Returns:
        The path of each file, by its name under `folder`.
    """
    study, info = results.study, results.info
    timed = results.timed
    drawn = {
        f.name: figures.svg(f.draw(study, timed), f.name, f.told(study)) for f in study.figures
    }
    when = str(info.get("finished_at") or info.get("started_at") or "2000-01-01T00:00:00+00:00")
    document = json.dumps(
        documents.verdicts_json(results, verdicts), indent=2, ensure_ascii=False, allow_nan=False
    )
    could = outlook.after(results, verdicts)
    shown = panels.panels(results, verdicts, drawn)
    paper = page.html(results, verdicts, drawn, could, shown, paper=True)
    frame = io.BytesIO()
    results.frame.to_parquet(frame, index=False, engine="pyarrow", compression="zstd")
    made = {
        "report.html": page.html(results, verdicts, drawn, could, shown).encode(),
        "report.pdf": printing.pdf(paper, words.title(study), when),
        "verdicts.json": (document + "\n").encode(),
        "rows.parquet": frame.getvalue(),
        "trials.csv": results.trials.to_csv(index=False).encode(),
    }
    for name, text in drawn.items():
        made[f"figures/{name}.svg"] = figures.standalone(text).encode()
    made[manifest.NAME] = manifest.text(manifest.manifest(results, made)).encode()
    return put(folder, made, "figures/*.svg")


def put(folder: Path, made: Mapping[str, bytes], drawn: str) -> dict[str, Path]:
    """Put files into a folder in one step: all are written beside them first, and then moved.

    Args:
        folder: Where to.
        made: What each is to hold, by its name under `folder`.
        drawn: A pattern; what goes by it and is not among them is removed, as the figure that a
            study no longer has.

    Returns:
        The path of each, by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        for name, content in made.items():
            staged = Path(new, name)
            staged.parent.mkdir(exist_ok=True)
            staged.write_bytes(content)
        for name in sorted(made):
            (folder / name).parent.mkdir(exist_ok=True)
            os.replace(Path(new, name), folder / name)
    for old in folder.glob(drawn):
        if old.relative_to(folder).as_posix() not in made:
            old.unlink()
    return {name: folder / name for name in sorted(made)}
