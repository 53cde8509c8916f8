"""Study to plan to packs to execution. Layer 5, and the only importer of Ray.

A `Session` holds what is being run; an executor takes packs from it and gives outcomes back. The
executors are Ray Tune, with packs as its trials, and a plain loop in this process.

Names are loaded when they are first used: a worker of Ray's needs few of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.run.beginning import check_data
    from harness.run.cluster import start_ray, stop_ray, try_ray
    from harness.run.ending import Stop, Stopped
    from harness.run.lock import sole
    from harness.run.reading import read_first
    from harness.run.recorded import find_run, recall, results_of
    from harness.run.replayed import replay
    from harness.run.rowsfile import RowsFile, execute_to_file, import_rows, read_rows
    from harness.run.session import Keeper, Session, inline
    from harness.run.whole import execute

# The module that each name lives in.
HOMES = {
    "Keeper": "session",
    "RowsFile": "rowsfile",
    "Session": "session",
    "Stop": "ending",
    "Stopped": "ending",
    "check_data": "beginning",
    "execute": "whole",
    "execute_to_file": "rowsfile",
    "find_run": "recorded",
    "import_rows": "rowsfile",
    "inline": "session",
    "read_first": "reading",
    "read_rows": "rowsfile",
    "recall": "recorded",
    "replay": "replayed",
    "results_of": "recorded",
    "sole": "lock",
    "start_ray": "cluster",
    "stop_ray": "cluster",
    "try_ray": "cluster",
}

__all__ = [
    "Keeper",
    "RowsFile",
    "Session",
    "Stop",
    "Stopped",
    "check_data",
    "execute",
    "execute_to_file",
    "find_run",
    "import_rows",
    "inline",
    "read_first",
    "read_rows",
    "recall",
    "replay",
    "results_of",
    "sole",
    "start_ray",
    "stop_ray",
    "try_ray",
]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"harness.run.{HOMES[name]}"), name)
    raise AttributeError(f"module 'harness.run' has no attribute {name!r}")
