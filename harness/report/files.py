"""Every file of a report, written in one step."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from harness import figures
from harness.claims import Verdict
from harness.ledger.results import Results
from harness.report import documents, manifest, page, printing, words


def write(results: Results, verdicts: list[Verdict], folder: Path) -> dict[str, Path]:
    """Write report.html, report.pdf, verdicts.json, rows.parquet, trials.csv, figures/*.svg, and
    chain.json, which has a digest of each.

    All are made in a folder beside the target first and moved when the last is done, so an error
    leaves the former report as it was.

    Returns:
        The path of each file, by its name under `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study, info = results.study, results.info
    timed = results.timed
    drawn = {
        f.name: figures.svg(f.draw(study, timed), f.name, f.told(study)) for f in study.figures
    }
    when = str(info.get("finished_at") or info.get("started_at") or "2000-01-01T00:00:00+00:00")
    document = json.dumps(
        documents.verdicts_json(results, verdicts), indent=2, ensure_ascii=False, allow_nan=False
    )
    paper = page.html(results, verdicts, drawn, paper=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        staged = Path(new)
        (staged / "figures").mkdir()
        (staged / "report.html").write_text(page.html(results, verdicts, drawn), "utf-8")
        (staged / "report.pdf").write_bytes(printing.pdf(paper, words.title(study), when))
        (staged / "verdicts.json").write_text(document + "\n", "utf-8")
        results.frame.to_parquet(
            staged / "rows.parquet", index=False, engine="pyarrow", compression="zstd"
        )
        results.trials.to_csv(staged / "trials.csv", index=False)
        for name, text in drawn.items():
            (staged / "figures" / f"{name}.svg").write_text(figures.standalone(text), "utf-8")
        files = [path for path in staged.rglob("*") if path.is_file()]
        signed = manifest.manifest(results, files)
        (staged / manifest.NAME).write_text(manifest.text(signed), "utf-8")
        (folder / "figures").mkdir(exist_ok=True)
        names = sorted(p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file())
        for name in names:
            os.replace(staged / name, folder / name)
    for old in (folder / "figures").glob("*.svg"):
        if old.stem not in drawn:  # of a figure that the study no longer has
            old.unlink()
    return {name: folder / name for name in names}
