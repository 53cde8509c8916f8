"""Studies that read other studies: those are run first, and their rows held as tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.execution.prepare import open_ledger
from harness.execution.recorded import recall
from harness.ledger.names import SCHEDULED
from harness.ledger.results import Results
from harness.parts import data
from harness.plan.plan import Plan
from harness.study import BadInput, Source, Study, catalog

Train = Callable[[Study, Source], Results]


def read_first(
    study: Study, scale: str, root: Path | None, train: Train | None = None,
    above: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Hold the tables of all studies that a study reads, and of those that these read.

    Args:
        study: Names them.
        scale: At which they are run.
        root: The project, whose ledger has the runs there are; None takes nothing from one.
        train: Runs one of which the ledger has no whole run by today's plan; without it what the
            ledger has last is taken, and what it does not have is left out.
        above: Studies on the way here.

    Raises:
        BadInput: no such study, one that reads itself, or one without this scale.
    """
    for name in study.reads:
        way = (*above, study.name)
        if name in way:
            raise BadInput(
                f"Study.reads of {study.name!r} has {name!r}; allowed: studies that do not read it, "
                f"here {' reads '.join((*way, name))}"
            )
        source = catalog.find(name)
        other = catalog.load(source)
        read_first(other, scale, root, train, way)
        found = None if root is None else _latest(other, source, scale, root)
        if train and not (found and _whole(found, source)):
            found = train(other, source)
        if found is not None:
            hold(found)


def _whole(found: Results, source: Source) -> bool:
    """Whether a run is complete, and today's for where it was trained: rows of a GPU, or of another
    version of torch, are as good to read, and the report names what differs. Its rows may be gone
    while the ledger still names it: files are moved and deleted."""
    today = Plan(found.study, source, found.scale, origin=found.info.get("origin")).hash()
    kept = len(found.frame) > 0
    return kept and not found.info["partial"] and found.info.get("plan") == today


def _latest(study: Study, source: Source, scale: str, root: Path) -> Results | None:
    runs = open_ledger(root).parents(study.name, scale)
    if not any(run.info.status != SCHEDULED for run in runs):
        return None
    return recall(study, source, scale, root)


def hold(results: Results) -> None:
    """Make a study's rows the table that trials read: of its confirmed trials, where it has any."""
    study, frame = results.study, results.timed
    confirmed = bool(results.study.budget(results.scale).looks[0])
    frame = frame[frame["phase"] == ("confirm" if confirmed else "tune")]
    columns = {}
    for name in (
        "seconds",
        "arm",
        *study.vary,
        *study.nuisance_names(),
        "seed",
        "step",
        "status",
        *study.metrics,
    ):
        column = frame[name].to_numpy()
        text = column.dtype.kind not in "biuf" and all(isinstance(v, str) for v in column)
        columns[name] = column.astype(str) if text else column
    data.hold(study.name, columns, results.info)
