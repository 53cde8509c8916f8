"""Study to plan to packs to execution.

A `Session` holds what is being run; an executor takes packs from it and gives outcomes back. The
executors are Ray Tune, with packs as its trials, and a plain loop in this process.

Names are loaded when they are first used: a worker of Ray's needs few of them.

May import `report` and what lies before it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.execution.cluster import start_ray, stop_ray, try_nodes, try_ray
    from harness.execution.ending import Ending, Stopped
    from harness.execution.filed import read_rows
    from harness.execution.lock import sole
    from harness.execution.prepare import check_data
    from harness.execution.published import (
        read_file,
        read_published,
        seconds_taken,
        write_published,
    )
    from harness.execution.recorded import find_run, recall, results_of
    from harness.execution.replayed import differing, replay
    from harness.execution.room import with_room
    from harness.execution.rowsfile import RowsFile, execute_to_file, import_rows
    from harness.execution.run import execute
    from harness.execution.session import Keeper, Session, inline
    from harness.execution.surroundings import left_as_found
    from harness.execution.tables import read_first

# The module that each name lives in.
HOMES = {
    "Keeper": "session",
    "RowsFile": "rowsfile",
    "Session": "session",
    "Ending": "ending",
    "Stopped": "ending",
    "check_data": "prepare",
    "execute": "run",
    "execute_to_file": "rowsfile",
    "find_run": "recorded",
    "import_rows": "rowsfile",
    "inline": "session",
    "read_file": "published",
    "read_first": "tables",
    "read_published": "published",
    "seconds_taken": "published",
    "write_published": "published",
    "read_rows": "filed",
    "recall": "recorded",
    "differing": "replayed",
    "replay": "replayed",
    "results_of": "recorded",
    "sole": "lock",
    "start_ray": "cluster",
    "stop_ray": "cluster",
    "left_as_found": "surroundings",
    "try_nodes": "cluster",
    "try_ray": "cluster",
    "with_room": "room",
}

__all__ = [
    "Ending",
    "Keeper",
    "RowsFile",
    "Session",
    "Stopped",
    "check_data",
    "differing",
    "execute",
    "execute_to_file",
    "find_run",
    "import_rows",
    "inline",
    "left_as_found",
    "read_file",
    "read_first",
    "read_published",
    "read_rows",
    "recall",
    "replay",
    "results_of",
    "seconds_taken",
    "sole",
    "start_ray",
    "stop_ray",
    "try_nodes",
    "try_ray",
    "with_room",
    "write_published",
]


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"harness.execution.{HOMES[name]}"), name)
    raise AttributeError(f"module 'harness.execution' has no attribute {name!r}")
