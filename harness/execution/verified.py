"""What a stranger can recompute of a report: its registrations, trials, verdicts and files.

Everything is read from the report's own folder, or from the published files; where there is a ledger
with the run, that is compared with it too.

One module: reading a report back, and a function for each thing that is recomputed of it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from markupsafe import escape

from harness import report
from harness.claims import Verdict, judged, registration
from harness.execution.published import read_published
from harness.execution.recorded import results_of
from harness.execution.registered import anchors
from harness.ledger import chain, rows
from harness.ledger.home import default_uri
from harness.ledger.results import Results
from harness.plan import keys
from harness.plan.plan import TUNE_SEED
from harness.report import islands, manifest, words
from harness.study import PHASES, BadInput, Source, Study, catalog

State = Literal["holds", "broken", "untold"]

BEFORE = "before registrations were chained"
CLOSE = 1e-9  # relative: last bits of a verdict may differ between machines


@dataclass(frozen=True)
class Check:
    """What came of recomputing one thing.

    Args:
        name: What was recomputed.
        state: "holds", "broken", or "untold": there is nothing to recompute it from.
        detail: What was found.
    """

    name: str
    state: State
    detail: str


@dataclass(frozen=True)
class Record:
    """A report as it lies there, read back.

    Args:
        results: Of its rows.
        stated: Its verdicts, as `verdicts.json` has them.
        made: Its manifest; empty where it has none.
        files: The files that the manifest has digests of, by name.
        page: The text of the HTML report, or "".
    """

    source: Source
    results: Results
    stated: Mapping[str, Any]
    made: Mapping[str, Any]
    files: Mapping[str, Path]
    page: str = ""

    @functools.cached_property
    def verdicts(self) -> list[Verdict]:
        """What the rows say of each claim."""
        results = self.results
        return judged(results.study, results.scale, results.timed)

    @property
    def entries(self) -> list[dict[str, Any]]:
        """Every registration, the oldest first."""
        return list(self.results.info.get("registrations") or ())


def verify(study: Study, source: Source, scale: str, root: Path) -> list[Check]:
    """Recompute what the report of a study's last run at a scale states.

    Raises:
        BadInput: there is no report.
    """
    folder = root / "reports" / study.name / scale
    if not (folder / "verdicts.json").is_file():
        raise BadInput(
            f"no report in {folder}; allowed: a study that has been run, harness run {study.name} "
            f"--scale {scale}, or --published"
        )
    try:
        record = _reported(study, source, scale, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Check("files", "broken", f"{folder} cannot be read: {_words(error)}")]
    checks = _all(record)
    checks.append(_safely("anchor", lambda: _anchor(record, root)))
    return [*checks, _safely("ledger", lambda: _ledger(record, root))]


def verify_published(study: Study, source: Source, scale: str = "default") -> list[Check]:
    """Recompute what the published run of a study at a scale states.

    Raises:
        BadInput: there is none.
    """
    path = catalog.published_file(study.name, scale)
    home = path.parent
    try:
        results = read_published(study, source, scale)
        stated = json.loads(path.with_suffix(".json").read_text("utf-8"))
        linked = catalog.chain_file(path)
        made = json.loads(linked.read_text("utf-8")) if linked.is_file() else {}
        if made:
            info = {**results.info, "registrations": made["registrations"]}
            results = _registered(study, source, results.scale, results, info)
    except (BadInput, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Check("files", "broken", _words(error))]
    files = {name: home / name for name in made.get("files", ())}
    record = Record(source, results, stated, made, files)
    return [*_all(record), _safely("anchor", lambda: _anchor(record, catalog.root()))]


def _reported(study: Study, source: Source, scale: str, folder: Path) -> Record:
    stated = json.loads((folder / "verdicts.json").read_text("utf-8"))
    there = folder / manifest.NAME
    made = json.loads(there.read_text("utf-8")) if there.is_file() else {}
    text = dict.fromkeys(("trial", "pack", "error", "run_id", "seconds", "began"), str)
    trials = pd.read_csv(folder / "trials.csv", dtype=text, keep_default_na=False)
    trials = trials.set_index("trial")
    for name in {"seconds", "began"} & {*trials.columns}:
        trials[name] = [float(value or "nan") for value in trials[name]]  # to the last bit
    frame = rows.load(folder / "rows.parquet")
    told = {name: frame["trial"].map(trials[name]) for name in rows.PER_TRIAL if name in trials}
    frame = rows.typed(study, frame.assign(**told))
    info = {**made.get("run", {}), "registrations": made.get("registrations", [])}
    ids = dict(zip(map(str, trials.index), trials["run_id"], strict=True))
    results = results_of(study, scale, frame, ids, info)
    results = _registered(study, source, scale, results, info)
    files = {name: _found(folder, name) for name in made.get("files", ())}
    return Record(source, results, stated, made, files, (folder / "report.html").read_text("utf-8"))


def _found(folder: Path, name: str) -> Path:
    return folder / "figures" / name if name.endswith(".svg") else folder / name


def _registered(
    study: Study, source: Source, scale: str, results: Results, info: Mapping[str, Any]
) -> Results:
    """The results, with what is to be said of their claims' registration."""
    now = registration.entry(study, source, scale, "", results.frame["trial"].nunique())
    said = registration.summary(info["registrations"], now)
    return Results(study, scale, results.frame, results.trials, {**info, **said})


def _all(record: Record) -> list[Check]:
    checks: dict[str, Callable[[Record], Check]] = {
        "files": _files, "run": _run, "registrations": _chain, "claims": _claims,
        "beginnings": _beginnings, "planned trials": _planned, "verdicts": _verdicts,
    }  # fmt: skip
    if record.page and record.made:
        checks["report"] = _page
    return [
        _safely(name, lambda check=check: check(record))  # type: ignore[misc]
        for name, check in checks.items()
    ]


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a forger may write anything
        return Check(name, "broken", f"it cannot be recomputed: {_words(error)}")


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, BadInput) else f"{type(error).__name__}: {text}"


def _check(name: str, wrong: Sequence[str], right: str) -> Check:
    if not wrong:
        return Check(name, "holds", right)
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Check(name, "broken", "; ".join(wrong[:3]) + more)


# --- one thing each ------------------------------------------------------------------------------


def _files(record: Record) -> Check:
    if not record.made:
        trials = record.results.frame["trial"].nunique()
        return Check(
            "files", "untold" if record.page else "holds",
            f"made {BEFORE}, without digests of its files" if record.page
            else f"the rows of {trials:,} trials have the digest that was written with them; made "
            f"{BEFORE}, the other files have none",
        )  # fmt: skip
    rest = {name: value for name, value in record.made.items() if name != "digest"}
    wrong = []
    if chain.digest(rest) != record.made.get("digest"):
        wrong.append(f"{manifest.NAME} is not what was written: its digest is another")
    for name, path in record.files.items():
        if not path.is_file():
            wrong.append(f"{name} is not there")
        elif manifest.of(path.read_bytes()) != record.made["files"][name]:
            wrong.append(f"{name} is not what was written: its digest is another")
    return _check("files", wrong, f"{len(record.files)} files have the digests that were written")


STATED = ("commit", "started_at", "finished_at", "seconds", "registered_at", "claims_hash")


def _run(record: Record) -> Check:
    """The verdicts are stated of the run that the rows are of."""
    info, stated = record.results.info, record.stated
    differ = [
        f"{name} is {_brief(info[name])} of the rows, and {_brief(stated.get(name))} is stated"
        for name in STATED
        if name in info and info[name] != stated.get(name)
    ]
    if differ and not record.made:
        return Check(
            "run", "untold", f"made {BEFORE}, the rows are of another run than the verdicts are stated "
            f"of: {'; '.join(differ[:2])}",
        )  # fmt: skip
    when = f"of {info.get('started_at')}, commit {str(info.get('commit'))[:12]}"
    return _check("run", differ, f"rows and verdicts are of the run {when}")


def _chain(record: Record) -> Check:
    linked = [one for one in record.entries if one.get("digest")]
    if not linked:
        return Check("registrations", "untold", f"{len(record.entries)} registered {BEFORE}")
    wrong = chain.broken(record.entries)
    head = chain.head(record.entries)
    if record.made.get("head") != head:
        wrong.append(f"the head is {head[:12]}, and {str(record.made.get('head'))[:12]} is stated")
    before = len(record.entries) - len(linked)
    older = f"; {before} registered {BEFORE}" if before else ""
    return _check("registrations", wrong, f"a chain of {len(linked)}, head {head}{older}")


def _claims(record: Record) -> Check:
    info, study = record.results.info, record.results.study
    if not record.entries:
        return Check("claims", "untold", "nothing says when they were written down")
    marked = {one["id"] for one in record.stated["claims"] if one.get("changed_late")}
    changed = info["claims_changed"]
    wrong = [
        f"claim {one['id']} was {one['what']} after {one['trials']:,} trials, and is not marked so"
        for one in changed
        if one["what"] in ("changed", "added") and one["id"] not in marked
    ]
    if info["claims_hash"] != record.entries[-1]["hash"] and not wrong:
        wrong.append("the study's claims are not those that were registered last")
    late = f"; marked as changed after trials had run: {', '.join(sorted(marked))}" * bool(marked)
    return _check("claims", wrong, f"{len(study.tested)} claims are those registered{late}")


def _beginnings(record: Record) -> Check:
    """No trial that counts began before the claims that are judged on it were registered."""
    began = record.results.trials["began"].astype(float)
    told = began[began > 0]
    if not len(told) or not record.entries:
        return Check(
            "beginnings", "untold",
            f"made {BEFORE}, the rows do not say when trials began; the claims are registered at "
            f"{record.entries[0]['at'] if record.entries else 'no known time'}, and the run began "
            f"at {record.stated.get('started_at')}",
        )  # fmt: skip
    study = record.results.study
    now = registration.entry(study, record.source, record.results.scale, "", 1)
    changed = {one["id"] for one in record.results.info["claims_changed"]}
    wrong = []
    for claim in study.tested:
        at = str(registration.since(record.entries, now, claim.id)["at"])
        early = int((told < _seconds(at)).sum()) if at else len(told)
        if early and claim.id not in changed:
            wrong.append(f"{early:,} trials began before claim {claim.id} was registered ({at})")
    some = f"; {len(began) - len(told):,} do not say" if len(told) < len(began) else ""
    first = datetime.fromtimestamp(float(told.min()), UTC).isoformat(timespec="seconds")
    return _check(
        "beginnings",
        wrong,
        f"{len(told):,} trials began after registration, at {first} first{some}",
    )


def _anchor(record: Record, root: Path) -> Check:
    """Whether git holds the chain, and since when: nobody can write it anew then."""
    results = record.results
    place = {str(one["digest"]): n for n, one in enumerate(record.entries, 1) if one.get("digest")}
    began = results.trials["began"].astype(float)
    first = began[began > 0].min()
    found = anchors(root, results.study.name, results.scale)
    wrong = [
        f"{one.name} holds registration {one.digest[:12]}, which is not in the chain"
        for one in found
        if one.digest not in place and one.at <= first  # later ones are of later runs
    ]
    known = [one for one in found if one.digest in place]
    found = [one for one in known if one.at <= first] or known
    if not found:
        return _check("anchor", wrong, "") if wrong else Check(
            "anchor", "untold", "no tag or commit of git here holds a registration"
        )  # fmt: skip
    last = max(found, key=lambda one: (place[one.digest], -one.at))
    what = "the head" if place[last.digest] == len(record.entries) else "an earlier registration"
    when = datetime.fromtimestamp(last.at, UTC).isoformat(timespec="seconds")
    if not last.at <= first and not wrong:
        return Check("anchor", "untold", f"{last.name} of {when} holds {what}, and is not known to be "
                     "older than the first trial")  # fmt: skip
    return _check("anchor", wrong, f"{last.name} of {when}, before the first trial, holds {what}")


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _planned(record: Record) -> Check:
    """Every planned trial is counted, failed, or left out by a rule that the study declares."""
    results = record.results
    study, scale = results.study, results.scale
    partial = bool(record.stated.get("partial"))
    wrong: list[str] = []
    excluded = expected = 0
    places = []
    there: dict[tuple[Any, ...], list[int]] = {}
    columns = results.trials[["phase", "arm", *study.vary, "seed"]]
    for *place, seed in columns.itertuples(index=False, name=None):
        there.setdefault(tuple(place), []).append(int(seed))
    budget = study.budget(scale)
    for arm, cell in study.cells(scale):
        held = [study.held(factor, level) for factor, level in cell.items()]
        found = {phase: sorted(there.pop((phase, arm, *held), [])) for phase in PHASES}
        if study.needed(scale, arm, cell) and not any(found.values()):
            excluded += study.trials(scale, arm, cell)
            continue
        draws, finals, seeds = (study.count(scale, arm, cell)[phase] for phase in PHASES)
        places.append([arm, cell, draws, finals, seeds])
        confirmed = len(found["confirm"])
        planned = {
            "tune": [TUNE_SEED + number for number in range(draws)],
            "final": found["final"] if len(found["final"]) == finals else [0] * finals,
            "confirm": [*range(confirmed if seeds and confirmed in budget.looks else seeds)],
        }
        expected += sum(map(len, planned.values()))
        here = " ".join([arm, *(f"{name}={level}" for name, level in cell.items())])
        wrong += [
            f"{len(found[phase])} of {len(seeds)} {phase} trials of {here} are counted"
            for phase, seeds in planned.items()
            if found[phase] != seeds
        ]
    wrong += [
        f"{len(seeds)} trials of {key[1]} are not planned" for key, seeds in there.items() if seeds
    ]
    entry = chain.of_run(record.entries, results.info.get("plan"))
    if entry:
        wrong += _promised(record, entry, places)
    if partial:
        return Check("planned trials", "holds", f"partial, and stated so: {len(results.trials):,} of "
                     f"{expected:,} have ended")  # fmt: skip
    failed = results.counts["failed"]
    left = f"; {excluded:,} left out by Study.needs" if excluded else ""
    how = (
        "" if entry else f" by arm, cell and seed (planned {BEFORE}, their keys are not registered)"
    )
    return _check(
        "planned trials", wrong,
        f"all {expected:,} are counted{how}, {failed:,} of them as failed{left}",
    )  # fmt: skip


def _promised(record: Record, entry: Mapping[str, Any], places: list[Any]) -> Iterator[str]:
    """What was registered of the planned trials and is not so."""
    planned = entry["planned"]
    if planned["places"] != keys.digest(places):
        yield "arms, cells, draws or seeds are not those that were registered"
    text = str(record.made.get("promised", {}).get(planned["keys"], ""))
    if hashlib.sha256(text.encode()).hexdigest() != planned["keys"]:
        yield "the list of planned trials is not the one that was registered"
        return
    raw = base64.b64decode(text).hex()
    known = {raw[start : start + 16] for start in range(0, len(raw), 16)}
    if lost := known - {*record.results.trials["trial"]}:
        yield f"{len(lost):,} trials are planned and not counted, {min(lost)} among them"


def _verdicts(record: Record) -> Check:
    document = report.verdicts_json(record.results, record.verdicts)
    found = json.loads(json.dumps(document))
    wrong = []
    stated = {one["id"]: one for one in record.stated["claims"]}
    if list(stated) != [one["id"] for one in found["claims"]]:
        wrong.append(f"verdicts on {', '.join(stated)} are stated")
    for one in found["claims"]:
        said = stated.get(one["id"], {})
        for name in sorted({*said} & {*one} - {"changed_late"}):
            if not _alike(said[name], one[name]):
                wrong.append(
                    f"claim {one['id']}: its {name} is {_brief(one[name])} from the rows, and "
                    f"{_brief(said[name])} is stated"
                )
    for name, count in found["trials"].items():
        if record.stated["trials"].get(name) != count:
            wrong.append(f"{count:,} trials {name}, and {record.stated['trials'].get(name)} stated")
    return _check("verdicts", wrong, f"{len(stated)} verdicts from the rows are those stated")


def _brief(value: Any) -> str:
    return str(value)[:80]


def _alike(a: Any, b: Any) -> bool:
    """Whether two plain values are the same, numbers but for their last bits."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return all(_alike(a[name], b[name]) for name in {*a} & {*b})
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    if isinstance(a, float) or isinstance(b, float):
        numbers = isinstance(a, int | float) and isinstance(b, int | float)
        return numbers and math.isclose(a, b, rel_tol=CLOSE, abs_tol=1e-12)
    return bool(a == b)


def _page(record: Record) -> Check:
    """The page says what the rows do: its sentences, and the trials that it carries as data."""
    results = record.results
    wrong = []
    for verdict in record.verdicts:
        if str(escape(words.sentence(verdict, results.study))) not in record.page:
            wrong.append(f"it does not say of claim {verdict.id} what the rows say")
    if len(results.trials) and islands.embed(islands.trials(results)["columns"]) not in record.page:
        wrong.append("its table of trials is not that of the rows")
    return _check("report", wrong, "its sentences and its table of trials are those of the rows")


# --- beside the ledger ---------------------------------------------------------------------------


def _ledger(record: Record, root: Path) -> Check:
    """The report is of what the ledger holds, and there rows and child runs agree."""
    run_id, uri = record.results.info.get("run_id"), default_uri(root)
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return Check("ledger", "untold", "there is none here")
    if not run_id:
        return Check("ledger", "untold", f"made {BEFORE}, the report does not name its run")
    from harness.ledger import Ledger, Past

    study, ledger = record.results.study, Ledger(root)
    past = Past(ledger, study)
    parents = {run.info.run_id: run for run in past.at(record.results.scale)}
    if run_id not in parents:
        return Check("ledger", "untold", f"{ledger.uri} does not have run {run_id}")
    held = [one for id_ in parents for one in ledger.registered(id_)]
    held.sort(key=lambda one: str(one["at"]))
    wrong = [f"in the ledger: {one}" for one in chain.broken(held)]
    there = {chain.digest(one) for one in held}
    lost = [one for one in record.entries if chain.digest(one) not in there]
    wrong += [f"the registration of {one['at']} is not in the ledger" for one in lost]
    run = parents[run_id]
    frame = past.of(run_id)
    kept = results_of(study, record.results.scale, frame, {}, {}).frame
    if not _same_rows(kept, record.results.frame):
        wrong.append("the report's rows are not those of the ledger")
    ended = ledger.finals(run.info.experiment_id, run_id)
    trials = rows.trials_of(study, frame, {}).set_index("trial")
    for key, one in trials.iterrows():
        status, metrics = ended.get(str(key), ("", {}))
        shown = {name: float(one[name]) for name in study.metrics if _finite(one[name])}
        if status != one["status"]:
            wrong.append(f"trial {key} has ended as {one['status']}, its run as {status or 'none'}")
        elif any(name in metrics and metrics[name] != value for name, value in shown.items()):
            wrong.append(f"trial {key} and its run differ in what they measured")
    return _check("ledger", wrong, f"{len(trials):,} trials, their rows and their runs agree; the "
                  f"registrations are those of {ledger.uri}")  # fmt: skip


def _finite(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(float(value))


def _same_rows(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    a, b = (one.reset_index(drop=True) for one in (a, b))
    return list(a.columns) == list(b.columns) and all(
        np.array_equal(a[name].to_numpy(), b[name].to_numpy(), equal_nan=a[name].dtype.kind == "f")
        for name in a
    )
