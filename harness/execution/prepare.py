"""What is looked at before the first trial: data, provenance, the ledger, the forecast."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.training import Training
from harness.ledger import provenance
from harness.parts import data
from harness.plan.plan import Plan, dry_run
from harness.study import BadInput, Choice, Source, Study, make_trial

if TYPE_CHECKING:
    from harness.ledger import Ledger


def check_data(study: Study, plan: Plan) -> dict[str, str]:
    """Load every data set the plan needs, so that a bad file stops the run before it starts.

    Returns:
        Provenance: the precisions that trainings declare, and a digest of each data set.

    Raises:
        DataError: a file is missing, truncated or not the pinned one, or a study that this one
            reads has not been run.
    """
    for name in study.reads:
        data.table(name)
    seen: set[data.Data] = set()
    precisions: set[str] = set()
    digests = {f"{name} {data.table_digest(name)[:12]}" for name in study.reads}
    for cell in plan.cells():
        trial = make_trial(study, plan.scale, "confirm", *cell, _any_draw(study, cell[0]), 0, "")
        try:
            declared = study.trial(trial)
        except BadInput:
            raise
        except Exception:  # noqa: S112 - the trial will fail with this error and be reported
            continue
        if isinstance(declared, Training):
            precisions.add(declared.precision)
            if declared.data and declared.data not in seen:
                seen.add(declared.data)
                digests.add(f"{declared.data.name} {_digest(data.load(declared.data))}")
    return {
        "precision": ", ".join(sorted(precisions)) or "left to the trials",
        "data": ", ".join(sorted(digests)) or "none declared",
    }


def _digest(splits: data.Splits) -> str:
    """Twelve hex digits over the tensors that trials are trained, tuned and tested on."""
    found = hashlib.sha256()
    for split in (splits.train, splits.valid, splits.test):
        for tensor in split:
            found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()[:12]


def _any_draw(study: Study, arm: str) -> dict[str, Any]:
    """The first value of everything that is drawn for an arm."""
    return {
        name: dist.choices[0] if isinstance(dist, Choice) else vars(dist)["low"]
        for name, dist in study.space(arm).items()
    }


def work_of(plan: Plan, source: Source) -> float:
    """Estimated seconds of training, on one core."""
    return float(dry_run(plan.study, source, plan.scale, 1, plan.codes)["work"])


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
