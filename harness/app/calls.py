"""Runs and results from Python: what a notebook or a script calls."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from harness import claims, execution
from harness.app import running
from harness.claims import Verdict
from harness.ledger.results import Results
from harness.plan.reached import reached
from harness.study import BadInput, Claim, Source, Study, catalog, cells

Named = Study | str | os.PathLike[str]


@dataclass(frozen=True)
class Judged:
    """What a run measured, and what it says about the study's claims.

    A notebook shows it as the board of its verdicts.

    Args:
        measured: What the run measured.
        folder: Where its report lies, or is to be written.
        added: How many comparisons were made after the run: see `explore`.
    """

    measured: Results = field(repr=False)
    folder: Path
    added: int = 0

    @functools.cached_property
    def verdicts(self) -> list[Verdict]:
        """One for each claim, in the study's order."""
        return running.judged(self.measured)

    @functools.cached_property
    def explored(self) -> list[Verdict]:
        """An estimate for each exploratory claim, and each comparison that was made by `explore`: they
        have an interval at 95 % and no verdict."""
        return claims.explore(self.study, self.measured.timed)

    def explore(self, statement: str, check: Any) -> Judged:
        """The same run with one more comparison, that nobody registered before it.

        It stands with `explored`, in a section of its own in the report, and changes no verdict.

        Args:
            statement: What is looked into.
            check: Of `harness.claims`, as in higher(...).

        Raises:
            BadInput: the check reads what the study does not have.
        """
        claim = Claim(
            statement, "looked into after the run", check, id=f"explored-{self.added + 1}",
            exploratory=True,
        )  # fmt: skip
        study = dataclasses.replace(self.study, claims=(*self.study.claims, claim))
        return Judged(dataclasses.replace(self.measured, study=study), self.folder, self.added + 1)

    @property
    def study(self) -> Study:
        """The study."""
        return self.measured.study

    @property
    def scale(self) -> str:
        """At which scale it was run."""
        return self.measured.scale

    @property
    def trials(self) -> pd.DataFrame:
        """One row a trial: settings, status, error, seconds, and the last value of each metric."""
        return self.measured.trials

    @property
    def rows(self) -> pd.DataFrame:
        """One row for each recorded step of each trial, with the columns of `rows.parquet`."""
        return self.measured.frame

    @property
    def info(self) -> dict[str, Any]:
        """Where, when and of what code it is; whether it is partial."""
        return dict(self.measured.info)

    def claim(self, id: str) -> Verdict:
        """The verdict on the claim of an id.

        Raises:
            BadInput: there is no such claim.
        """
        found = {verdict.id: verdict for verdict in self.verdicts}
        if id not in found:
            raise BadInput(f"claim {id!r}; allowed: {', '.join(found)}")
        return found[id]

    def figure(self, name: str) -> Any:
        """One of the study's figures, a matplotlib `Figure`; a notebook shows it as the report does.

        Raises:
            BadInput: there is no such figure.
        """
        found = {figure.name: figure for figure in self.study.figures}
        if name not in found:
            raise BadInput(f"figure {name!r}; allowed: {', '.join(found)}")
        from harness import figures

        spec = found[name]
        figure = spec.draw(self.study, self.measured.timed)
        # no pyplot, which would show it twice
        text = figures.standalone(figures.svg(figure, spec.name, spec.told(self.study)))
        vars(figure)["_repr_svg_"] = lambda: text
        return figure

    @property
    def report(self) -> Path:
        """The HTML report, which is written where it is not there, or has to show what was added."""
        page = self.folder / "report.html"
        if self.added or not page.is_file():
            running.conclude(self.measured, self.folder)
        return page

    def __repr__(self) -> str:
        from harness.report import board_text

        return board_text(self.measured, self.verdicts)

    def _repr_html_(self) -> str:
        from harness.report import board_html

        return board_html(self.measured, self.verdicts)


def run(
    study: Named, scale: str = "default", *, name: str | None = None, inline: bool = False,
    fresh: bool = False, limit: float | None = None, trial_limit: float | None = None,
    pack_size: int | None = None, quiet: bool = False, amend: str = "",
) -> Judged:  # fmt: skip
    """Run a study: train what the ledger lacks, judge the claims, write the report.

    Args:
        study: One that was made here, in a notebook's cells or in the script that runs; the name of
            one of the project's; the path of a study file; or the `study` of what one of these gave,
            which is run as it was read then.
        scale: "smoke", "default", "evening" or "paper".
        name: What a study that was made here is to be called in the ledger; by default as its
            variable, in small letters.
        inline: Train in this process, without Ray.
        fresh: Train everything again; earlier runs are kept.
        limit: Seconds after which training ends, with what there is; the next call goes on.
        trial_limit: Seconds after which a trial is cut (on Ray).
        pack_size: Most trials trained as one program; by default by a forecast.
        quiet: Show no progress.
        amend: Why claims or budget were changed after trials had run.

    Raises:
        BadInput: study, data, tracking store or an argument cannot be used.
        KeyboardInterrupt: it was interrupted before any trial had ended.
    """
    loaded, source = _loaded(study, scale, name)
    if isinstance(study, Study):
        _check_data(study, loaded)
    console = Console(quiet=quiet, highlight=False)
    order = running.Order(
        scale, catalog.root(), inline=inline, fresh=fresh, pack_size=pack_size, limit=limit,
        trial_limit=trial_limit, amend=amend, console=console,
    )  # fmt: skip
    with execution.left_as_found():
        try:
            done = running.run(loaded, source, order, source.name, lambda _: None)
        except running.Partial as stopped:
            warnings.warn(f"partial: {stopped}; the same call continues", stacklevel=2)
            done = stopped.concluded
    assert done is not None
    return Judged(done.results, done.paths["report.html"].parent)


def results(
    study: Named, scale: str = "default", *, name: str | None = None, published: bool = False
) -> Judged:
    """The latest run of a study from the ledger; trains nothing.

    Args:
        study, scale, name: As of `run`.
        published: The run that came with the project, whatever has been run here.

    Raises:
        BadInput: there is none.
    """
    loaded, source = _loaded(study, None if published else scale, name)
    root = catalog.root()
    if published:
        found = execution.read_published(loaded, source, scale)
        return Judged(
            found, root / "reports" / loaded.name / catalog.published_as("published", scale)
        )
    with execution.left_as_found():
        execution.read_first(loaded, scale, root)
        found = execution.recall(loaded, source, scale, root)
    return Judged(found, root / "reports" / loaded.name / scale)


def _loaded(study: Named, scale: str | None, name: str | None) -> tuple[Study, Source]:
    origin = catalog.origin(study) if isinstance(study, Study) else None
    if isinstance(study, Study) and origin is None:
        source = cells.source_of(study, name)
        loaded = catalog.load(source)
        cells.check(study, loaded)
    else:
        told = study.name if isinstance(study, Study) else str(study)
        if name is not None:
            raise BadInput(f"name={name!r} was given for {told!r}; allowed: for a study made here")
        source = origin or catalog.find(told)
        loaded = catalog.load(source)
    if scale is not None:
        loaded.budget(scale)
    return loaded, source


def _check_data(study: Study, loaded: Study) -> None:
    """Raise where data of a study's own are not what its statements make, when they are run again."""
    here = reached(study.trial)
    for name, own in reached(loaded.trial).items():
        if here.get(name, own) != own:
            raise BadInput(
                f"data set {name!r} is not what its own statements make of it; allowed: numbers that are "
                "the same whenever these are run, as from a file or a seed"
            )
