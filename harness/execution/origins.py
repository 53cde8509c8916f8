"""What a run's verdicts rest on beside its own trials: rows of other runs, machines, versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from harness.parts import data
from harness.study import Study

if TYPE_CHECKING:
    from harness.ledger import Past

ABOUT = ("run_id", "commit", "started_at", "provenance")

Info = Mapping[str, Any]


def reused(past: Past, used: Collection[str], run_id: str, earlier: Info) -> list[dict[str, Any]]:
    """Where trials that a run has not trained itself are from.

    Args:
        past: Every run of the study.
        used: Keys of the run's trials that were there before.
        run_id: The run's own.
        earlier: What it knew of itself before this process went on with it.

    Returns:
        A dictionary each: how many `trials`, and of the run that trained them `ABOUT`.
    """
    found, rest = [], set(used)
    for one in past.from_(run_id):
        if not rest:
            break
        if here := past.ended(one, rest):
            rest -= here
            found.append(entry(earlier if one == run_id else past.ledger.info_of(one), len(here)))
    return found


def read(study: Study) -> list[dict[str, Any]]:
    """Where the rows of the studies that this one reads are from; as `reused`, with the `study`."""
    known = {name: data.table_source(name) for name in study.reads}
    return [entry(source, 0, name) for name, source in known.items() if source]


def entry(info: Info, trials: int, study: str = "") -> dict[str, Any]:
    """One of what `reused` returns."""
    return {"study": study, "trials": trials, **{name: info.get(name) for name in ABOUT}}


def together(
    before: Collection[Mapping[str, Any]], now: Collection[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What an earlier process of a run has found, and what this one has."""

    def which(one: Info) -> str:
        return repr([one["study"], one["run_id"], one["provenance"]])

    return list({which(one): dict(one) for one in (*before, *now)}.values())
