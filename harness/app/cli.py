"""The `harness` command.

Exit codes: 0 done; 1 the run failed; 2 bad input, said in one clear line; 130 interrupted, and the
same command continues.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.app import listing
from harness.study import SCALES, BadInput, Source, Study, Unfinished, catalog

if TYPE_CHECKING:
    from harness.claims import Verdict
    from harness.ledger.results import Results

app = typer.Typer(
    name="harness",
    help="Put deep learning's textbook claims to the test: run a study, read its verdicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
PIPED_WIDTH = None if sys.stdout.isatty() else 120  # tables in logs need room
out = Console(highlight=False, width=PIPED_WIDTH)
err = Console(stderr=True, highlight=False)

INTERRUPTED = 130
COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}


def _names(incomplete: str) -> list[str]:
    return [name for name in catalog.names() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A study's name (see `harness list`), or the path of a study file of your own.",
        autocompletion=_names,
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        "--scale", "-s",
        help="smoke (seconds), default (minutes on two cores) or paper (a GPU).",
        autocompletion=lambda: list(SCALES),
    ),
]  # fmt: skip


def _seconds(text: str) -> float:
    """Seconds of "90s", "30m", "1h30m" or plain "90"."""
    import pandas as pd

    try:
        seconds = float(text) if text.isdigit() else pd.Timedelta(text).total_seconds()
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise typer.BadParameter(f"{text!r} is no time; allowed: 90s, 30m, 2h, 1h30m …")
    return seconds


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _load(name: str, scale: str | None = None) -> tuple[Study, Source]:
    source = catalog.find(name)
    study = catalog.load(source)
    if scale is not None:
        study.budget(scale)
    return study, source


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the studies: what they ask, their claims, trials, and the time of their last run."""
    found: list[dict[str, Any]] = []
    for name in catalog.names():
        about = listing.of(name)["about"]
        found.append(
            {
                "name": name,
                "title": about["title"],
                "question": about["question"],
                "claims": len(about["claims"]),
                "trials": {scale: b["trials"] for scale, b in about["budgets"].items()},
                "seconds": {scale: _last_seconds(name, scale) for scale in about["budgets"]},
            }
        )
    if as_json:
        _say(found)
        return
    table = Table("study", "question", "claims", "trials (default)", "last run")
    for one in found:
        seconds = one["seconds"].get("default")
        when = f"{seconds:.0f} s" if seconds else "not yet"
        table.add_row(
            one["name"], escape(one["question"]), str(one["claims"]),
            f"{one['trials'].get('default', 0):,}", when,
        )  # fmt: skip
    out.print(table)
    out.print("Run one with [bold]make study NAME=…[/] or [bold]harness run …[/]")


def _last_seconds(name: str, scale: str) -> float | None:
    path = catalog.root() / "reports" / name / scale / "verdicts.json"
    try:
        return float(json.loads(path.read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show what a study compares: arms, metrics, claims with their sources, budgets."""
    said = listing.of(name)
    about, printed = said["about"], said["printed"]
    if as_json:
        _say(about)
        return
    out.print(
        f"[bold]{escape(about['title'])}[/]\n{escape(about['question'])}\n"
        f"[dim]{escape(about['file'])}[/]\n"
    )
    arms = Table("arm", "settings", "tuned", title="Arms", title_justify="left")
    for label, settings, tuned in printed["arms"]:
        arms.add_row(escape(label), escape(settings), escape(tuned) or "–")
    out.print(arms)
    out.print(f"vary:  {printed['vary']}", markup=False)
    if about["reads"]:
        out.print(
            f"reads: the rows of {', '.join(about['reads'])}, at the same scale", markup=False
        )
    out.print(f"fixed: {printed['fixed']}\n", markup=False)
    metrics = Table("metric", "unit", "better", title="Metrics", title_justify="left")
    for metric, m in about["metrics"].items():
        metrics.add_row(metric, escape(m["unit"]), m["better"] or "–")
    out.print(metrics)
    listed = Table("claim", "margin", "source", title="Claims, with margins set before any trial",
                   title_justify="left", show_lines=True)  # fmt: skip
    for claim, margin in zip(about["claims"], printed["margins"], strict=True):
        listed.add_row(escape(claim["statement"]), escape(margin), escape(claim["source"]))
    out.print(listed)
    budgets = Table(
        "scale", "draws", "finalists", "seeds", "trials", "settings", title="Budgets",
        title_justify="left",
    )  # fmt: skip
    for *numbers, settings in printed["budgets"]:
        budgets.add_row(*numbers, escape(settings))
    out.print(budgets)
    if about["about"]:
        out.print(f"\n{about['about']}", markup=False, highlight=False)


@app.command()
def plan(name: Name, scale: Scale = "default", as_json: Json = False) -> None:
    """Say what a run would train, and roughly how long it would take. Trains nothing."""
    sketch = listing.planned(name, scale)
    if as_json:
        _say(sketch)
        return
    out.print(f"[bold]{sketch['study']}[/] at the {scale} scale, plan {sketch['plan']}")
    table = Table("phase", "trials", "packs", "alone")
    for phase, row in sketch["phases"].items():
        table.add_row(phase, f"{row['trials']:,}", str(row["packs"]), str(row["alone"]))
    out.print(table)
    if sketch["reads"]:
        out.print(
            f"reads the rows of {', '.join(sketch['reads'])}: run first, if they are not there"
        )
    if sketch["most_trials"] > sketch["trials"]:
        out.print(f"up to {sketch['most_trials']:,} trials, should every claim stay open")
    for why, count in sketch["alone"].items():
        out.print(f"{count} trials run alone: {escape(why)}")
    if sketch["untried"]:
        out.print(
            f"{sketch['untried']} kinds of trial have not been tried beside plain PyTorch on this "
            "machine: a run tries each, and trains alone what differs"
        )
    out.print(
        f"{sketch['trials']:,} trials in {sketch['packs']} packs, about "
        f"{_time(sketch['seconds'])} on {sketch['cores']} cores without a GPU (an estimate)"
    )


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@app.command()
def run(
    name: Name,
    scale: Scale = "default",
    inline: Annotated[
        bool, typer.Option("--inline", help="Train in this process, without Ray (for debugging).")
    ] = False,
    rows: Annotated[
        Path | None,
        typer.Option(help="With --inline: only write rows to this parquet file, without MLflow."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train everything again; earlier runs are kept.")
    ] = False,
    pack_size: Annotated[
        int | None,
        typer.Option(
            "--pack-size",
            min=1,
            max=4096,
            help="Most trials trained as one program; by default measured.",
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(
            parser=_seconds,
            metavar="TIME",
            help="End training after 90s, 30m, 2h …, with a report of what there is.",
        ),
    ] = None,
    trial_limit: Annotated[
        float | None,
        typer.Option(
            "--trial-limit",
            parser=_seconds,
            metavar="TIME",
            help="Cut a trial that trains for longer than this.",
        ),
    ] = None,
) -> None:
    """Run a study: train what the ledger lacks, judge the claims, write the report.

    Interrupted runs go on where they were when the same command is given again.
    """
    study, source = _load(name, scale)
    from harness import execution as run_

    out.print(f"[bold]{study.name}[/], {scale} scale: {escape(study.question)}")
    if rows is not None and not inline:
        raise BadInput("--rows was given without --inline; allowed: both together")
    if inline and trial_limit is not None:
        raise BadInput(
            "--trial-limit was given with --inline; allowed: either, for only a worker process can "
            "be ended while it trains"
        )
    root = catalog.root()

    def whole(study: Study, source: Source, ending: Any, fresh: bool = False) -> Results:
        with run_.sole(root / ".harness" / f"{study.name}.lock", f"study {study.name} in {root}"):
            folder = _report_folder(root, study.name, scale)
            results, recorder = run_.execute(
                study, source, scale, root, out, ending, use_ray=not inline, fresh=fresh,
                pack_size=pack_size, trial_limit=trial_limit, meanwhile=_prepare_report,
            )  # fmt: skip
            try:
                _conclude(results, folder, recorder)
            except Unfinished as error:
                words = ["harness", "run", name, "--scale", scale]
                words += ["--inline"] if inline else []
                raise Unfinished(
                    f"{error}. Nothing is lost; this finishes: {shlex.join(words)}"
                ) from None
        if results.info["partial"]:
            out.print(f"partial: {results.info['stopped']}", markup=False)
            raise typer.Exit(INTERRUPTED)
        return results

    def first(other: Study, source: Source, ending: Any) -> Results:
        out.print(f"{other.name}, whose rows {study.name} reads, is run first", markup=False)
        if rows is None:
            return whole(other, source, ending)
        beside = rows.with_name(f"{rows.stem}.{other.name}{rows.suffix}")
        return run_.execute_to_file(other, source, scale, beside, out, pack_size)

    with run_.Ending(limit) as ending:
        if study.reads:
            from_ledger = None if rows else root
            run_.read_first(study, scale, from_ledger, lambda other, at: first(other, at, ending))
        if rows is None:
            whole(study, source, ending, fresh)
            return
        run_.execute_to_file(study, source, scale, rows, out, pack_size, fresh)
    out.print(f"rows: {rows}\nLoad them with: harness import {rows}", markup=False)


def _prepare_report() -> None:
    """Import what the report needs longest for, while there is time."""
    from harness import figures

    figures.prepare()


def _report_folder(root: Path, study: str, scale: str) -> Path:
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


def _conclude(results: Results, folder: Path, recorder: Any = None) -> None:
    """Judge, write the report, keep it in the ledger where there is a recorder, and print."""
    from harness import report
    from harness.claims import judge

    try:
        looks = results.study.budget(results.scale).looks
        verdicts = judge(results.study, results.timed, looks=looks)
        paths = report.write(results, verdicts, folder)
        index = report.write_index(folder.parent.parent)
    except BaseException:
        if recorder:
            recorder.end("FAILED")
        raise
    _print_verdicts(results.study, verdicts)
    counts = results.counts
    out.print(
        f"{counts['finished']:,} finished, {counts['diverged']:,} diverged, "
        f"{counts['failed']:,} failed of {counts['planned']:,} trials in "
        f"{results.info.get('seconds', 0):.0f} s"
    )
    for label, path in (("report", paths["report.html"]), ("pdf", paths["report.pdf"]),
                        ("verdicts", paths["verdicts.json"]), ("all studies", index)):  # fmt: skip
        out.print(f"{label + ':':13}{path}", soft_wrap=True, markup=False)
    where = results.info["tracking_uri"]
    out.print(f"{'tracking:':13}{where}  (make ui)", soft_wrap=True, markup=False)
    if recorder:
        tally: Counter[str] = Counter(v.verdict for v in verdicts)
        numbers: dict[str, int] = {f"trials_{k}": v for k, v in counts.items()}
        note, partial = report.note(results, verdicts), bool(results.info["partial"])
        recorder.complete(folder, note, {**numbers, **tally}, partial)


def _print_verdicts(study: Study, verdicts: list[Verdict]) -> None:
    from harness.report import in_words, weakest

    table = Table("verdict", "claim", "effect", "interval", "claimed", "n", show_lines=True)
    for v in verdicts:
        effect, interval, claimed = in_words(v, study)
        least = weakest(v, study)
        whys = "; ".join(filter(None, [least and f"weakest: {least}", v.reason]))
        why = f"\n[dim]{escape(whys)}[/]" if v.verdict == "inconclusive" and whys else ""
        table.add_row(
            f"[{COLOURS[v.verdict]}]{v.verdict}[/]", escape(v.statement) + why, escape(effect),
            escape(interval), escape(claimed), str(v.n),
        )  # fmt: skip
    out.print(table)


@app.command()
def report(
    name: Name,
    scale: Scale = "default",
    publish: Annotated[
        bool,
        typer.Option("--publish", help="Also put verdicts and a figure into reports/README.md."),
    ] = False,
) -> None:
    """Rebuild a study's report from the ledger alone; trains nothing."""
    study, source = _load(name, scale)
    root = catalog.root()
    folder = _report_folder(root, study.name, scale)
    from harness import execution as run_

    run_.read_first(study, scale, root)
    _conclude(run_.recall(study, source, scale, root), folder)
    if publish:
        from harness.report import front

        out.print(f"{'published:':13}{front.add(folder, root / 'reports')}", soft_wrap=True)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Rows written by `harness run --inline --rows FILE`.")
    ],
    study_file: Annotated[
        Path | None,
        typer.Option("--study", help="The study's file, where it is not one of studies/."),
    ] = None,
) -> None:
    """Load rows trained elsewhere into the ledger, judge them and write the report."""
    from harness import execution as run_

    frame, name, scale = run_.read_rows(file)
    if study_file is None and name not in catalog.names():  # no file is run because rows say so
        raise BadInput(
            f"{str(file)!r} holds rows of study {name!r}, which is not in studies/; allowed: to "
            f"name its file, as in harness import {file} --study {name}.py"
        )
    study, source = _load(str(study_file or name), scale)
    if study.name != name:
        raise BadInput(f"--study is {study.name!r}; allowed: {name!r}, whose rows these are")
    root = catalog.root()
    folder = _report_folder(root, study.name, scale)
    run_.read_first(study, scale, root)
    results, recorder = run_.import_rows(study, source, scale, root, frame, out)
    _conclude(results, folder, recorder)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run: NAME, NAME@SCALE, NAME~1, or an MLflow run id.")],
    b: Annotated[str, typer.Argument(help="The run it is compared with.")],
    as_json: Json = False,
) -> None:
    """Set two runs of a study side by side: verdicts, effects, and what differed between them."""
    from harness import execution as run_
    from harness.report.compare import compare as compare_

    root = catalog.root()
    found = [run_.find_run(words, root) for words in (a, b)]
    if found[0][0] != found[1][0]:
        raise BadInput(
            f"{a!r} is a run of {found[0][0]} and {b!r} one of {found[1][0]}; allowed: two runs of "
            "one study"
        )
    study, source = _load(found[0][0])
    results = [run_.recall(study, source, scale, root, id_) for _, scale, id_ in found]
    made = compare_(*results)
    if as_json:
        _say(made.document())
        return
    names = [f"{id_[:8]}, {one.info.get('started_at', '')}" for (*_, id_), one in
             zip(found, results, strict=True)]  # fmt: skip
    _print_comparison(study, made, names)


def _print_comparison(study: Study, made: Any, names: list[str]) -> None:
    from harness.report import in_words

    names = [escape(name) for name in names]
    table = Table("claim", *names, show_lines=True)
    for pair in made.verdicts:
        cells = []
        for v in pair:
            effect, interval, _ = in_words(v, study)
            cells.append(
                f"[{COLOURS[v.verdict]}]{v.verdict}[/]\n{escape(effect)}  {escape(interval)}"
            )
        mark = "" if pair[0].verdict == pair[1].verdict else "[bold]changed:[/] "
        table.add_row(mark + escape(pair[0].statement), *cells)
    out.print(table)
    out.print(f"{len(made.changed)} of {len(made.verdicts)} verdicts changed")
    if made.differs:
        differs = Table("what differed", *names)
        for name, values in made.differs.items():
            differs.add_row(escape(name), *(escape(value) for value in values))
        out.print(differs)
    trials = made.trials
    out.print(
        f"{trials['shared']:,} trials are the same in both (of {trials['a']:,} and "
        f"{trials['b']:,}), and {trials['shared that differ']:,} of them measured something else"
        + "".join(f"\n  {name}: {count:,} trials" for name, count in made.rows.items())
    )


@app.command()
def replay(
    trial: Annotated[str, typer.Argument(help="A trial's key, from trials.csv or MLflow's tags.")],
    study: Annotated[
        Path | None,
        typer.Option(help="The study file to train it from, instead of the recorded one."),
    ] = None,
) -> None:
    """Train one finished trial again and compare it with its recorded rows."""
    from harness import execution as run_

    same, lines = run_.replay(trial, catalog.root(), study)
    for line in lines:
        out.print(line, markup=False)
    if not same:
        raise typer.Exit(1)


@app.command()
def doctor(
    as_json: Json = False,
    list_licences: Annotated[
        bool, typer.Option("--licences", help="Only list the licence of every package it needs.")
    ] = False,
) -> None:
    """Try everything that a study needs here, and say how to mend what does not work."""
    from harness.app.doctor import examine, licences

    if list_licences:
        if as_json:
            _say([vars(one) for one in licences()])
            return
        listed = Table("package", "version", "licence")
        for each in licences():
            listed.add_row(each.name, each.version, escape(each.licence))
        out.print(listed)
        return
    found = examine(catalog.root())
    if as_json:
        _say([vars(one) for one in found])
    else:
        table = Table("", "state", "found", "to mend it")
        colours = {"works": "green", "absent": "yellow", "broken": "red"}
        for one in found:
            table.add_row(
                one.name, f"[{colours[one.state]}]{one.state}[/]", escape(one.detail),
                escape(one.fix),
            )  # fmt: skip
        out.print(table)
    if any(one.state == "broken" for one in found):
        raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open MLflow's own UI on the ledger, on 127.0.0.1."""
    root = catalog.root()
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"
    if uri.startswith("http"):
        out.print(f"The tracking server's own UI is at {uri}", markup=False)
        return
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise BadInput(
                f"port {port} is taken; allowed: a free one, as in harness ui --port {port + 1}"
            )
    out.print(f"MLflow UI: http://127.0.0.1:{port}  (Ctrl-C ends it)")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # seven more processes, for jobs of MLflow's that nothing here asks for
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri,
        "--default-artifact-root", str(root / "mlruns"), "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1",
    ]  # fmt: skip
    os.execv(command[0], command)


def main() -> None:
    """The console script: turns every ending into its exit code."""
    from harness.execution import left_as_found

    try:
        with left_as_found():
            ended = app(standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
    except typer.Exit as done:
        code = done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BadInput as error:
        err.print(f"[red]error:[/] {escape(' '.join(str(error).split()))}", soft_wrap=True)
        code = 2
    except Unfinished as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        code = 1
    except Exception as error:
        code = _usage_error(error)
    if code == INTERRUPTED:  # the command line library may have turned Ctrl-C into it already
        err.print("interrupted; the same command continues")
    sys.stdout.flush()
    sys.exit(code)


def _usage_error(error: Exception) -> int:
    show_usage = getattr(error, "format_message", None)  # click's own errors, exit code 2
    if show_usage is not None:
        err.print(f"[red]error:[/] {escape(show_usage())}", soft_wrap=True)
        return int(getattr(error, "exit_code", 2))
    traceback.print_exception(error, limit=-6)
    err.print(f"[red]error:[/] {type(error).__name__}: {escape(str(error))}", soft_wrap=True)
    return 1
