"""What a parent run keeps, by name, and whose it is."""

from __future__ import annotations

import getpass

CLAIMS = "claims.json"  # artifact of a parent run: what was claimed before its trials
PROMISED = "planned.json"  # the keys of trials that were known before the first, by their digest
INFO = "info.json"  # what the run knows of itself
SOURCE = "study.py"  # the study file that was run
BESIDE = "beside.json"  # the modules beside it that it imports: paths and texts
PACKS = "packs"  # the folder of files of rows, one a pack, of a run that goes on
ROWS = "rows.parquet"  # all rows of a run that is whole
KEYS = (
    "keys.json"  # the trials in there, and the packs that it stands for: see `harness.ledger.past`
)
REGISTERED = "harness.registered"  # a parent run's tag: when, after how many trials, which claims
SCHEDULED = "SCHEDULED"  # the status of a parent run that is registered and has not begun
PROVENANCE = "provenance."  # before the names of a parent run's parameters


def user() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
