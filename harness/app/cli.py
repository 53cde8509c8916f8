"""The `harness` command: parses, calls, has it printed; decides nothing.

Exit codes: 0 done; 1 the run failed; 2 bad input, said in one clear line; 130 interrupted, and the
same command continues.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from harness import durable
from harness.app import listing, printing, starting
from harness.app.printing import err, out
from harness.study import SCALES, BadInput, Source, Study, Unfinished, catalog

app = typer.Typer(
    name="harness",
    help="Put deep learning's textbook claims to the test: run a study, read its verdicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
INTERRUPTED = 130


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
        help="smoke (seconds), default (minutes on two cores), evening (up to hours; some studies) or paper (a GPU).",
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
                "claims": sum(not claim["exploratory"] for claim in about["claims"]),
                "trials": {scale: b["trials"] for scale, b in about["budgets"].items()},
                "seconds": {scale: _last_seconds(name, scale) for scale in about["budgets"]},
            }
        )
    if as_json:
        printing.document(found)
    else:
        printing.studies(found)


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
    if as_json:
        printing.document(said["about"])
    else:
        printing.study(said["about"], said["printed"])


@app.command()
def plan(
    name: Name,
    scale: Scale = "default",
    power: Annotated[
        bool,
        typer.Option("--power", help="Say what the planned seeds can decide of each claim."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a run would train, and roughly how long it would take. Trains nothing."""
    if power:
        from harness.app import powering

        study, source = _load(name, scale)
        told = powering.told(study, source, scale, catalog.root())
        printing.document(told) if as_json else printing.power(told)
        return
    sketch = listing.planned(name, scale)
    sketch |= {"in_flight": listing.in_flight(name, scale), "last": listing.last(name, scale)}
    if as_json:
        printing.document(sketch)
    else:
        printing.plan(sketch)


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
            help="Most trials trained as one program; by default by a forecast.",
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
    amend: Annotated[
        str,
        typer.Option(
            "--amend", metavar="WHY", help="Why claims or budget were changed after trials had run."
        ),
    ] = "",
) -> None:
    """Run a study: train what the ledger lacks, judge the claims, write the report.

    Interrupted runs go on where they were when the same command is given again: recorded trials
    are never trained twice, and packs in flight, saved every few minutes and when a run ends, go
    on from their last save, on the CPU bitwise as if they had never stopped. On Ray workers save
    where they see the driver's disk; on others a pack begins anew. A store that refuses records
    ends the run with one line that says why: the records wait in the spool.

    With `--limit` a long study can be done in slices. `--trial-limit` cuts even a trial that hangs
    in C code: its worker process is ended. Fused trials end together, so a pack may take the limit
    times what it is forecast to take over one of its trials alone; a pack that overruns is halved
    until the culprit is alone. What was cut counts as failed, says so, and is trained again by the
    next run.

    Ctrl-C once ends with a report marked partial, twice at once. A shell's background jobs ignore
    Ctrl-C, and so does a run among them: there SIGTERM (`kill`) does the same.
    """
    study, source = _load(name, scale)
    from harness.app import running

    order = running.Order(
        scale, catalog.root(), inline=inline, fresh=fresh, pack_size=pack_size, limit=limit,
        trial_limit=trial_limit, rows=rows, amend=amend, console=out,
    )  # fmt: skip
    out.print(f"[bold]{study.name}[/], {scale} scale: {escape(study.question)}")
    try:
        running.run(study, source, order, name, printing.concluded)
    except running.Partial as stopped:
        out.print(f"partial: {stopped}", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    if rows is not None:
        out.print(f"rows: {rows}\nLoad them with: harness import {rows}", markup=False)


@app.command()
def register(
    name: Name,
    scale: Scale = "default",
    amend: Annotated[
        str,
        typer.Option(
            "--amend", metavar="WHY", help="Why claims or budget were changed after trials had run."
        ),
    ] = "",
    anchor: Annotated[
        bool, typer.Option("--anchor", help="Also make an annotated git tag; nothing is pushed.")
    ] = False,
) -> None:
    """Write down a study's claims and what would be trained, before any run; trains nothing."""
    study, source = _load(name, scale)
    from harness.execution import registered

    root = catalog.root()
    digest = registered.register(study, source, scale, root, out, amend)
    out.print(f"registered: {digest}", markup=False, soft_wrap=True)
    if anchor:
        made = registered.tag(root, study.name, scale, digest)
        out.print(f"tag: {made}, to be pushed or shown by whoever wants it seen", markup=False)
    else:
        line = registered.trailer(study.name, scale, digest)
        out.print(f"To anchor it in git: --anchor, or as the last line of a commit's message\n{line}",
                  markup=False, soft_wrap=True)  # fmt: skip


@app.command()
def report(
    name: Name,
    scale: Scale = "default",
    publish: Annotated[
        bool,
        typer.Option(
            "--publish", help="Also put verdicts, rows and a figure into reports/published/."
        ),
    ] = False,
    published: Annotated[
        bool,
        typer.Option("--published", help="Of the run that came with the project, from its rows."),
    ] = False,
    latex: Annotated[
        bool,
        typer.Option(
            "--latex", help="Also write a folder for a paper: tables, figures, methods, sources."
        ),
    ] = False,
    quote: Annotated[
        str | None,
        typer.Option(
            "--quote", metavar="CLAIM", help="Only print the line by which a verdict is quoted."
        ),
    ] = None,
) -> None:
    """Rebuild a study's report from the ledger alone, or from published rows; trains nothing."""
    if publish and published:
        raise BadInput(
            "--publish with --published; allowed: either: what is published is so already"
        )
    study, source = _load(name, None if published else scale)
    from harness import execution
    from harness.app import running

    ids = [claim.id for claim in study.claims]
    if quote is not None and quote not in ids:
        raise BadInput(f"claim {quote!r}; allowed: {', '.join(ids) or 'none, there are no claims'}")
    root = catalog.root()
    if published:
        found = execution.read_published(study, source, scale)
    else:
        execution.read_first(study, scale, root)
        found = execution.recall(study, source, scale, root)
    if publish and not {"finished_at", "stopped"} & {*found.info}:
        raise BadInput(
            f"--publish of a run that goes on, or was killed; allowed: one that has ended (harness run "
            f"{name} --scale {scale} goes on from where it is)"
        )
    if quote is not None:
        from harness.report import quote as line

        verdict = running.judged(found)[ids.index(quote)]
        out.print(line(found, verdict), markup=False, soft_wrap=True)
        return
    kind = catalog.published_as("published", scale) if published else scale
    folder = running.report_folder(root, study.name, kind)
    concluded = running.conclude(found, folder, told=printing.concluded)
    if latex:
        from harness.report import latex as paper

        beside = folder.with_name(f"{folder.name}-latex")
        made = paper.write(found, concluded.verdicts, beside, catalog.about(source))
        out.print(f"{'latex:':13}{made['main.tex']}", soft_wrap=True, markup=False)
    if publish:
        from harness.report import front

        front.want_all(folder, root / "reports")
        execution.write_published(found, root / "reports" / "published")
        out.print(f"{'published:':13}{front.add(folder, root / 'reports')}", soft_wrap=True)


@app.command()
def book() -> None:
    """Write all studies on one page and for print: lecture by lecture, then study by study."""
    from harness.report import book as made

    for name, path in zip(("page", "pdf"), made.write(catalog.root() / "reports"), strict=True):
        out.print(f"{name + ':':13}{path}", soft_wrap=True, markup=False)


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="Rows written by `harness run --inline --rows FILE`, or of a published run, which a "
            "run then goes on from: reports/published/NAME.parquet."
        ),
    ],
    study_file: Annotated[
        Path | None,
        typer.Option("--study", help="The study's file, where it is not one of studies/."),
    ] = None,
) -> None:
    """Load rows trained elsewhere into the ledger, judge them and write the report."""
    from harness import execution
    from harness.app import running

    frame, name, scale = execution.read_file(file)
    if study_file is None and not catalog.known(name):  # no file is run because rows say so
        raise BadInput(
            f"{str(file)!r} holds rows of study {name!r}, which is not in studies/; allowed: to "
            f"name its file, as in harness import {file} --study {name}.py"
        )
    study, source = _load(str(study_file or name), scale)
    if study.name != name:
        raise BadInput(f"--study is {study.name!r}; allowed: {name!r}, whose rows these are")
    root = catalog.root()
    folder = running.report_folder(root, study.name, scale)
    execution.read_first(study, scale, root)
    results, recorder = execution.import_rows(study, source, scale, root, frame, out)
    running.conclude(results, folder, recorder, printing.concluded)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run: NAME, NAME@SCALE, NAME~1, or an MLflow run id.")],
    b: Annotated[str, typer.Argument(help="The run it is compared with.")],
    as_json: Json = False,
) -> None:
    """Set two runs of a study side by side: verdicts, effects, and what differed between them."""
    from harness import execution
    from harness.report.compare import compare as compare_

    root = catalog.root()
    found = [execution.find_run(words, root) for words in (a, b)]
    if found[0][0] != found[1][0]:
        raise BadInput(
            f"{a!r} is a run of {found[0][0]} and {b!r} one of {found[1][0]}; allowed: two runs of "
            "one study"
        )
    study, source = _load(found[0][0])
    results = [execution.recall(study, source, scale, root, id_) for _, scale, id_ in found]
    made = compare_(*results)
    if as_json:
        printing.document(made.document())
        return
    names = [f"{id_[:8]}, {one.info.get('started_at', '')}" for (*_, id_), one in
             zip(found, results, strict=True)]  # fmt: skip
    printing.comparison(study, made, names)


@app.command()
def replay(
    trial: Annotated[str, typer.Argument(help="A trial's key, from trials.csv or MLflow's tags.")],
    study: Annotated[
        Path | None,
        typer.Option(help="The study file to train it from, instead of the recorded one."),
    ] = None,
) -> None:
    """Train one finished trial again and compare it with its recorded rows."""
    from harness import execution

    same, lines = execution.replay(trial, catalog.root(), study)
    for line in lines:
        out.print(line, markup=False)
    if not same:
        raise typer.Exit(1)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, as in my_study.py.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help=f"What is yours: {', '.join(starting.kinds())}.",
            autocompletion=starting.kinds,
        ),
    ] = "optimizer",
) -> None:
    """Write a study of one page that runs at once, to put something of your own into."""
    path = starting.write(file, kind)
    out.print(
        f"{path} is a study that runs. Put in what is yours, then:\n"
        f"  harness test {path}\n  harness run {path}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def test(name: Name) -> None:
    """Try a study at its smoke scale, and say in a line each what is wrong with it."""
    study, source = _load(name)
    from harness.app import conformance

    out.print(f"[bold]{study.name}[/]: {escape(study.question)}")
    wrong = 0
    for checked in conformance.examine(study, source):
        wrong += bool(checked.wrong)
        printing.checked(checked)
    if wrong:
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
        listed = licences()
        printing.document([vars(one) for one in listed]) if as_json else printing.licences(listed)
        return
    found = examine(catalog.root())
    printing.document([vars(one) for one in found]) if as_json else printing.findings(found)
    if any(one.state == "broken" for one in found):
        raise typer.Exit(1)


@app.command()
def verify(
    name: Name,
    scale: Scale = "default",
    published: Annotated[
        bool, typer.Option("--published", help="The run that came with the project.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Recompute what a report states: registrations, trials, verdicts and files, a line each."""
    study, source = _load(name, None if published else scale)
    from harness.execution import verified

    if published:
        found = verified.verify_published(study, source, scale)
    else:
        found = verified.verify(study, source, scale, catalog.root())
    printing.document([vars(one) for one in found]) if as_json else printing.verified(found)
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
    if [*importlib.metadata.entry_points(group="mlflow.app", name="harness")]:
        command += ["--app-name", "harness"]
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
        code = _other_error(error)
    if code == INTERRUPTED:  # the command line library may have turned Ctrl-C into it already
        err.print("interrupted; the same command continues")
    sys.stdout.flush()
    sys.exit(code)


def _other_error(error: Exception) -> int:
    show_usage = getattr(error, "format_message", None)  # click's own errors, exit code 2
    if show_usage is not None:
        err.print(f"[red]error:[/] {escape(show_usage())}", soft_wrap=True)
        return int(getattr(error, "exit_code", 2))
    if durable.full(error):
        err.print(f"[red]error:[/] the disk is full: {escape(str(error))}; once there is room, the "
                  "same command continues", soft_wrap=True)  # fmt: skip
        return 1
    traceback.print_exception(error, limit=-6)
    err.print(f"[red]error:[/] {type(error).__name__}: {escape(str(error))}", soft_wrap=True)
    return 1
