"""Study to plan to packs to execution. Layer 5, and the only importer of Ray.

A `Session` holds what is being run; an executor takes packs from it and gives outcomes back. The
executors are Ray Tune, with packs as its trials, and a plain loop in this process.
"""

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
