"""From training to report: what is trained, judged and written, in this order.

Commands and notebooks call this; how what comes of it is shown is theirs.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

from harness import execution
from harness.ledger.results import Results
from harness.study import BadInput, Source, Study, Unfinished

if TYPE_CHECKING:
    from harness.claims.verdicts import Verdict


@dataclass(frozen=True)
class Order:
    """How a study is to be run.

    Args:
        scale: Which budget.
        root: The project's folder.
        inline: Train in this process, without Ray.
        fresh: Train everything again.
        pack_size: Most trials trained as one program; None leaves it to a forecast.
        limit: Seconds after which training ends.
        trial_limit: Seconds after which a trial is cut.
        rows: A parquet file to write rows to, in place of the ledger.
        amend: Why claims or budget were changed after trials had run.
        console: Where progress is shown.
    """

    scale: str
    root: Path
    inline: bool = False
    fresh: bool = False
    pack_size: int | None = None
    limit: float | None = None
    trial_limit: float | None = None
    rows: Path | None = None
    amend: str = ""
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        if self.rows is not None and not self.inline:
            raise BadInput("--rows was given without --inline; allowed: both together")
        if self.inline and self.trial_limit is not None:
            raise BadInput(
                "--trial-limit was given with --inline; allowed: either, for only a worker process "
                "can be ended while it trains"
            )


class Partial(Exception):
    """The run was stopped before its end; its report tells what there is."""

    def __init__(self, concluded: Concluded) -> None:
        super().__init__(str(concluded.results.info["stopped"]))
        self.concluded = concluded


@dataclass(frozen=True)
class Concluded:
    """What came of a run: what was measured, the verdicts, and the report's files by name."""

    results: Results
    verdicts: list[Verdict]
    paths: dict[str, Path]


Told = Callable[[Concluded], object]  # shows what came of a study


def run(study: Study, source: Source, order: Order, name: str, told: Told) -> Concluded | None:
    """Run a study, and before it those whose rows it reads.

    Args:
        study, source, order: What, and how.
        name: What the user calls the study.
        told: Is given what came of each of them.

    Returns:
        What came of the study; None where rows only were written.

    Raises:
        Partial: it was stopped; the same command continues.
        Unfinished: the tracking store does not take what was measured.
    """

    def first(other: Study, at: Source, ending: Any) -> Results:
        order.console.print(
            f"{other.name}, whose rows {study.name} reads, is run first", markup=False
        )
        if order.rows is None:
            return _whole(other, at, order, ending, name, told).results
        beside = order.rows.with_name(f"{order.rows.stem}.{other.name}{order.rows.suffix}")
        return execution.execute_to_file(
            other, at, order.scale, beside, order.console, ending, order.pack_size
        )

    with execution.Ending(order.limit) as ending:
        if study.reads:
            ledger = None if order.rows else order.root
            execution.read_first(
                study, order.scale, ledger, lambda other, at: first(other, at, ending)
            )
        if order.rows is None:
            return _whole(study, source, order, ending, name, told, order.fresh)
        execution.execute_to_file(
            study, source, order.scale, order.rows, order.console, ending, order.pack_size,
            order.fresh, order.amend,
        )  # fmt: skip
        return None


def _whole(
    study: Study, source: Source, order: Order, ending: Any, name: str, told: Told,
    fresh: bool = False,
) -> Concluded:  # fmt: skip
    """Train, judge, report: one study, which no other process may run meanwhile."""
    root, scale = order.root, order.scale
    with execution.sole(root / ".harness" / f"{study.name}.lock", f"study {study.name} in {root}"):
        folder = report_folder(root, study.name, scale)
        results, recorder = execution.execute(
            study, source, scale, root, order.console, ending, use_ray=not order.inline,
            fresh=fresh, pack_size=order.pack_size, trial_limit=order.trial_limit,
            amend=order.amend, meanwhile=_prepare_report,
        )  # fmt: skip
        try:
            concluded = conclude(
                results,
                folder,
                recorder,
                told,
                lambda text: order.console.print(text, markup=False),
            )
        except Unfinished as error:
            words = ["harness", "run", name, "--scale", scale]
            words += ["--inline"] if order.inline else []
            raise Unfinished(f"{error}. This finishes: {shlex.join(words)}") from None
    if results.info["partial"]:
        raise Partial(concluded)
    return concluded


def _prepare_report() -> None:
    """Import what the report needs longest for, while there is time."""
    from harness import figures

    figures.prepare()


def report_folder(root: Path, study: str, scale: str) -> Path:
    """Where a report goes.

    Raises:
        BadInput: nothing can be written there.
    """
    folder = root / "reports" / study / scale
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            f"report folder {folder} cannot be written ({error.strerror}); make it writable"
        ) from None
    return folder


def judged(results: Results) -> list[Verdict]:
    """The verdicts on a run's claims."""
    from harness import claims

    return claims.judged(results.study, results.scale, results.timed)


def conclude(
    results: Results, folder: Path, recorder: Any = None, told: Told = lambda _: None,
    say: Callable[[str], object] = lambda _: None,
) -> Concluded:  # fmt: skip
    """Judge, write the report, tell, and keep it in the ledger where there is a recorder.

    Args:
        results, folder, recorder, told: These four.
        say: Is told where the disk is full and the report waits for room.
    """
    from harness import report

    def write() -> tuple[dict[str, Path], Path]:
        return report.write(results, verdicts, folder), report.write_index(folder.parent.parent)

    try:
        verdicts = judged(results)
        paths, index = execution.with_room(write, say, "the report")
    except BaseException:
        if recorder:
            recorder.end("FAILED")
        raise
    concluded = Concluded(results, verdicts, {**paths, "index": index})
    told(concluded)
    if recorder:
        note, partial = report.note(results, verdicts), bool(results.info["partial"])
        recorder.complete(folder, note, numbers(results, verdicts), partial)
    return concluded


def numbers(results: Results, verdicts: Sequence[Verdict]) -> dict[str, float]:
    """What MLflow compares two runs of a study by.

    Returns:
        How many trials there were of each ending and claims of each verdict, and each claim's effect
        and interval, those that are finite.
    """
    from harness.claims.verdicts import Outcome

    found: dict[str, float] = {f"trials_{k}": v for k, v in results.counts.items()}
    tally = Counter(v.verdict for v in verdicts)
    found |= {verdict: tally[verdict] for verdict in get_args(Outcome)}
    for v in verdicts:
        shown = {"effect": v.effect, "low": v.low, "high": v.high}
        found |= {f"claims/{v.id}.{k}": value for k, value in shown.items() if math.isfinite(value)}
    return found
