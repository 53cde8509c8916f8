"""What was measured: rows, results, provenance, and MLflow, where runs are kept.

One experiment a study, one parent run a study run, one child run a trial. A single thread writes,
so that training never waits for the tracking store. A pack's rows are first one parquet file in a
spool on this machine's disk, then an artifact of the parent, and then its trials become child runs:
what a later run continues from are those files, and a child that is missing beside them is written
then. When all are there they become one file.

    rows        from outcomes to the tidy frame, and back
    results     one value that holds everything a report is made from
    provenance  what a run was made with: code, packages, machine
    chain       registrations as a chain of hashes
    client      MLflow itself
    store       opens a tracking store and reads it
    past        what earlier runs hold
    recorder    writes one run
    children    makes the child runs, over `wire` where a server keeps them
    permanent   tells errors that no waiting mends from outages
    home        where a project's own ledger lies
    lease       keeps a server to one run of a study
    names       what a parent run keeps
    views       how MLflow's UI is to show a study
    ui          MLflow's own server, as `harness ui` starts it

May import `plan` and what lies before it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.ledger.children import HISTORY
    from harness.ledger.home import default_artifacts, default_uri
    from harness.ledger.past import Past
    from harness.ledger.recorder import Recorder
    from harness.ledger.store import Ledger

# The module that each name lives in: MLflow takes seconds to import, and frames need none of it.
HOMES = {
    "HISTORY": "children",
    "Ledger": "store",
    "Past": "past",
    "Recorder": "recorder",
    "default_artifacts": "home",
    "default_uri": "home",
}

__all__ = ["HISTORY", "Ledger", "Past", "Recorder", "default_artifacts", "default_uri"]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"harness.ledger.{HOMES[name]}"), name)
    raise AttributeError(f"module 'harness.ledger' has no attribute {name!r}")
