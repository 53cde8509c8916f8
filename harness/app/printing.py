"""What commands print: tables and lines on the terminal. Decides nothing and reads no file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.study import Study

if TYPE_CHECKING:
    from harness.app.conformance import Checked
    from harness.app.doctor import Finding, Licence
    from harness.app.running import Concluded
    from harness.claims import Verdict
    from harness.execution.verified import Check
    from harness.report.compare import Comparison

PIPED_WIDTH = None if sys.stdout.isatty() else 120  # tables in logs need room
out = Console(highlight=False, width=PIPED_WIDTH)
err = Console(stderr=True, highlight=False)
COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}


def document(value: Any) -> None:
    """A value as JSON."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


def studies(found: list[dict[str, Any]]) -> None:
    """What `harness list` has found: a row a study."""
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


def study(about: dict[str, Any], printed: dict[str, Any]) -> None:
    """What a study compares, from `listing.of`."""
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
    for phase, claims in about["unsealed"].items():
        some = "a claim reads" if len(claims) == 1 else f"{len(claims)} claims read"
        out.print(f"test:  scored in the {phase} phase, too, which {some}", markup=False)
    out.print(f"fixed: {printed['fixed']}\n", markup=False)
    metrics = Table("metric", "unit", "better", title="Metrics", title_justify="left")
    for metric, m in about["metrics"].items():
        metrics.add_row(metric, escape(m["unit"]), m["better"] or "–")
    out.print(metrics)
    listed = Table("claim", "margin", "source", title="Claims, with margins set before any trial",
                   title_justify="left", show_lines=True)  # fmt: skip
    for claim, margin in zip(about["claims"], printed["margins"], strict=True):
        mark = "[dim]exploratory:[/] " if claim["exploratory"] else ""
        family = f" [dim]({escape(claim['family'])})[/]" if about["families"] else ""
        listed.add_row(
            mark + escape(claim["statement"]) + family, escape(margin), escape(claim["source"])
        )
    out.print(listed)
    for name, one in about["families"].items():
        told = f"{100 * one['share']:.0f} % of the allowed error, order {one['order']}"
        out.print(f"family {name}: {told}", markup=False)
    budgets = Table(
        "scale", "draws", "finalists", "seeds", "trials", "settings", title="Budgets",
        title_justify="left",
    )  # fmt: skip
    for *numbers, settings in printed["budgets"]:
        budgets.add_row(*numbers, escape(settings))
    out.print(budgets)
    if about["about"]:
        out.print(f"\n{about['about']}", markup=False, highlight=False)


def plan(sketch: dict[str, Any]) -> None:
    """What a run would train, from `listing.planned`."""
    out.print(f"[bold]{sketch['study']}[/] at the {sketch['scale']} scale, plan {sketch['plan']}")
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
    if sketch["in_flight"]["trials"]:
        flight = sketch["in_flight"]
        out.print(
            f"{flight['trials']:,} trials are in flight, {flight['done']:.0%} of their updates made in "
            f"{_time(flight['seconds'])}: a run goes on with them"
        )
    for needed, count in sketch["left_out"].items():
        out.print(
            f"{count:,} trials are left out, as {needed} is not at hand: put it into HARNESS_DATA"
        )
    for told in sketch["gates"]:
        out.print(told, markup=False, soft_wrap=True)
    for why, count in sketch["alone"].items():
        out.print(f"{count} trials run alone: {escape(why)}")
    if sketch["guessed"]:
        out.print(
            f"{sketch['guessed']} trials are counted as a second each: no published run at this scale on "
            "a CPU tells what they take"
        )
    if scored := sketch["test_scored"]:
        times = " and ".join(f"{n:,} times in the {phase} phase" for phase, n in scored.items())
        only = " only" if [*scored] == ["confirm"] else ""
        out.print(f"the test split is scored up to {times}{only}")
    if sketch["untried"]:
        out.print(
            f"{sketch['untried']} kinds of trial have not been tried beside plain PyTorch on this "
            "machine: a run tries each, and trains alone what differs"
        )
    known = sketch["recorded"] / max(1, sketch["trials"])
    how = f", {known:.0%} of the trials as long as in the published run" if known else ""
    if sketch["off"] and not known:
        how = f", {sketch['off']:.2g} times the one by arithmetic, as at the default scale"
    out.print(
        f"{sketch['trials']:,} trials in {sketch['packs']} packs, about "
        f"{_time(sketch['seconds'])} on {sketch['cores']} cores without a GPU (an estimate{how})"
    )
    if last := sketch["last"]:
        out.print(
            f"the published run: {last['trials']:,} trials, {last['cost']} in all ({last['machine']})",
            markup=False,
        )


def power(told: dict[str, Any]) -> None:
    """What a scale's seeds can decide, from `powering.told`."""
    out.print(f"[bold]{told['study']}[/] at the {told['scale']} scale")
    if not told["claims"]:
        out.print(told["from"], markup=False)
        return
    heads = {
        "claim": "claim", "family": "family", "level": "level", "planned": "planned",
        "margin": "margin", "decides": "decides effects", "effect": told["effect"],
        "power": "power", "needed": "takes",
    }  # fmt: skip
    if not told["families"]:
        del heads["family"]
    table = Table(*heads.values())
    for one in told["claims"]:
        words = {"claim": one["claim"], **one["words"]}
        table.add_row(*(escape(words[name]) for name in heads))
    out.print(table)
    out.print(told["gate"], markup=False)
    out.print(told["from"], markup=False)
    out.print(
        f"A claim's level is that which it has when its turn comes and no other is decided{told['looks']}; "
        f"effects and seeds are those that {100 * told['often']:.0f} % of runs decide.",
        markup=False,
    )  # fmt: skip


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def verdicts(study: Study, found: list[Verdict]) -> None:
    """A row a claim."""
    from harness.report import in_words, weakest

    table = Table("verdict", "claim", "effect", "interval", "claimed", "n", show_lines=True)
    for v in found:
        effect, interval, claimed = in_words(v, study)
        least = weakest(v, study)
        whys = "; ".join(filter(None, [least and f"weakest: {least}", v.reason]))
        why = f"\n[dim]{escape(whys)}[/]" if v.verdict == "inconclusive" and whys else ""
        table.add_row(
            f"[{COLOURS[v.verdict]}]{v.verdict}[/]", escape(v.statement) + why, escape(effect),
            escape(interval), escape(claimed), str(v.n),
        )  # fmt: skip
    out.print(table)


def concluded(done: Concluded) -> None:
    """A run's end: its verdicts, how many trials ended how, and where everything lies."""
    results, paths = done.results, done.paths
    verdicts(results.study, done.verdicts)
    counts = results.counts
    out.print(
        f"{counts['finished']:,} finished, {counts['diverged']:,} diverged, "
        f"{counts['failed']:,} failed of {counts['planned']:,} trials in "
        f"{results.info.get('seconds', 0):.0f} s"
    )
    shown = {
        "report": "report.html", "pdf": "report.pdf", "verdicts": "verdicts.json",
        "all studies": "index",
    }  # fmt: skip
    for label, name in shown.items():
        out.print(f"{label + ':':13}{paths[name]}", soft_wrap=True, markup=False)
    if where := results.info["tracking_uri"]:  # published rows have no ledger here
        out.print(f"{'tracking:':13}{where}  (make ui)", soft_wrap=True, markup=False)


def comparison(study: Study, made: Comparison, names: Sequence[str]) -> None:
    """Two runs side by side, under these names."""
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


def checked(one: Checked) -> None:
    """One thing that was tried of a study."""
    if one.wrong:
        out.print(f"[red]✕[/] {escape(one.name)}\n  {escape(one.wrong)}", soft_wrap=True)
    else:
        out.print(f"[green]✓[/] {escape(one.name)}")


def verified(found: list[Check]) -> None:
    """What came of recomputing a report, a line each."""
    marks = {"holds": "[green]✓[/]", "broken": "[red]✕[/]", "untold": "[yellow]?[/]"}
    for one in found:
        out.print(f"{marks[one.state]} {one.name + ':':16}{escape(one.detail)}", soft_wrap=True)


def findings(found: list[Finding]) -> None:
    """What the doctor has found."""
    table = Table("", "state", "found", "to mend it")
    colours = {"works": "green", "absent": "yellow", "broken": "red"}
    for one in found:
        table.add_row(
            one.name, f"[{colours[one.state]}]{one.state}[/]", escape(one.detail), escape(one.fix)
        )
    out.print(table)


def licences(found: list[Licence]) -> None:
    """A row a package."""
    table = Table("package", "version", "licence")
    for one in found:
        table.add_row(one.name, one.version, escape(one.licence))
    out.print(table)
