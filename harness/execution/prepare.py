"""What is looked at before the first trial: data, provenance, the ledger, the forecast."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.claims import gates, registration
from harness.engine.fitting import misfit
from harness.ledger import chain, provenance
from harness.parts import data
from harness.plan.declared import Declarations, Kind
from harness.plan.forecast import dry_run
from harness.plan.plan import Plan
from harness.study import BadInput, DataError, Source, Study

if TYPE_CHECKING:
    from harness.ledger import Ledger, Past, Recorder


UNCHANGED = "nothing differs from what was registered last: no reason was written down"


def check_data(plan: Plan, declared: Declarations) -> dict[str, str]:
    """Load every data set the plan needs, so that a bad file stops the run before it starts.

    Returns:
        Provenance: the precisions that trainings declare, a digest of each data set, and where test
        rows of one's own stand in training, too, that.

    Raises:
        DataError: a file is missing, truncated or not the pinned one, a study that this one reads
            has not been run, or a trial makes data of its own where no key can tell of it.
    """
    reads = plan.study.reads
    for name in reads:
        data.table(name)
    seen: set[data.Data] = set()
    precisions: set[str] = set()
    digests = {f"{name} {data.table_digest(name)[:12]}" for name in reads}
    digests |= {f"{name} {own.digest[:12]}" for name, own in plan.data.items()}
    fitting: set[Kind] = set()
    for trial in plan.samples():
        one = declared.of(trial)
        if isinstance(one.error, BadInput):
            raise one.error
        if one.training is None:  # what else is wrong with it is reported as a failed trial
            continue
        precisions.add(one.training.precision)
        known = one.kind in fitting
        if one.kind is not None:
            fitting.add(one.kind)
        read = [
            (side, used)
            for side, _ in one.training.each_side
            for used in (side.data, side.beside and side.beside.data)
        ]
        for side, used in read:
            if used and used.own is not None:
                if plan.data.get(used.name) != used.own:
                    raise DataError(
                        f"trial trains on data set {used.name!r}, which it makes itself; allowed: "
                        "Data.of at the top level of the study file, so that its content is in every key"
                    )
                if not known and (why := misfit(side)):
                    raise DataError(f"data set {used.name!r}: {why}")
                continue
            one_draw = used and dataclasses.replace(used, draw=used.draw and 0)
            if one_draw and one_draw not in seen:
                seen.add(one_draw)
                digests.add(f"{one_draw.name} {_digest(data.load(one_draw))}")
    cautions = [
        f"{name}: {own.content.caution}" for name, own in plan.data.items() if own.content.caution
    ]
    return {
        "precision": ", ".join(sorted(precisions)) or "left to the trials",
        "data": ", ".join(sorted(digests)) or "none declared",
        **({"duplicates": "; ".join(cautions)} if cautions else {}),
    }


def _digest(splits: data.Splits) -> str:
    """Twelve hex digits over the tensors that trials are trained, tuned and tested on."""
    found = hashlib.sha256()
    for split in (splits.train, splits.valid, splits.test):
        for tensor in split:
            found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def announce(plan: Plan, console: Console) -> None:
    """What is left out, and which claims will be judged, before anything is trained: a line a gate."""
    for needed, count in plan.left_out.items():
        console.print(f"{count:,} trials are left out, as {needed} is not at hand")
    for gate in gates(plan.study, plan.scale):
        console.print(gate.told(), markup=False, soft_wrap=True)


def work_of(plan: Plan, source: Source, declared: Declarations) -> float:
    """Estimated seconds of training, on one core."""
    sketch = dry_run(plan.study, source, plan.scale, 1, plan.codes, declared)
    return float(sketch["work"])


def now() -> str:
    """This moment, UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def open_ledger(root: Path) -> Ledger:
    from harness.ledger import Ledger

    return Ledger(root)


def info_of(root: Path, plan: Plan, uri: str, declared: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a run when it starts."""
    sha, dirty = provenance.commit(root)
    return {
        "commit": sha,
        "dirty": dirty,
        "plan": plan.hash(),
        "origin": plan.origin,
        "planned": plan.planned,
        "provenance": {**provenance.describe(), **declared},
        "started_at": now(),
        "tracking_uri": uri,
    }


def registration_of(
    study: Study, source: Source, scale: str, at: str, past: Past,
    *known: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    """The registration of the claims as they are now.

    How many trials there are is found out from every run's keys, and counts for claims that were
    not written down before. So it is not asked where they were.

    Args:
        study, source, scale: Whose claims.
        at: The moment, or "".
        past: Every run of the study.
        known: Registrations, the oldest first: where the last of each says the same, that is known.
    """
    entry = registration.entry(study, source, scale, at, 0)
    if all(each and each[-1]["hash"] == entry["hash"] for each in known):
        return entry
    return entry | {"trials": past.trials(scale)}


def linked(
    entry: Mapping[str, Any], entries: Sequence[Mapping[str, Any]], plan: Plan,
    info: Mapping[str, Any], reason: str = "",
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """A registration as the next of its chain, and the keys that it has a digest of.

    Args:
        entry: What is claimed now.
        entries: Every registration of the study at this scale, the oldest first.
        plan: What is to be trained.
        info: Of the run: its commit and plan.
        reason: Why it was changed, as the user says.
    """
    promise, known = plan.promised()
    about = {**info, "planned": promise, "left_out": dict(plan.left_out)}
    return chain.link(entry, entries, about, reason), known


def written_down(
    ledger: Ledger, recorder: Recorder, source: Source, plan: Plan, info: Mapping[str, Any],
    past: Past, amend: str, console: Console,
) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:  # fmt: skip
    """Register what is claimed now, unless it is registered already.

    Returns:
        Every registration of the study at this scale, the oldest first, and that of now.
    """
    study, scale = plan.study, plan.scale
    entries = ledger.registrations(past.at(scale))
    own = ledger.registered(recorder.run_id)
    entry = registration_of(study, source, scale, now(), past, own, entries)
    entry, planned = linked(entry, entries, plan, info, amend)
    written = recorder.register(entry, planned)
    if amend and not written:
        console.print(UNCHANGED)
    return [*entries, *written], entry
