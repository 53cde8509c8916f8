"""Where a project's own ledger lies, known without MLflow, whose import takes seconds."""

from __future__ import annotations

import json
import os
from pathlib import Path

from harness.ledger.names import INFO


def default_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, or a database file in the project."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def default_artifacts(root: Path) -> Path:
    """Where artifacts go when the tracking store is the project's own database."""
    return root / "mlruns"


def whole(root: Path, study: str, plan: str) -> bool:
    """Whether a run of a plan, by its hash, lies in the project's own ledger and was whole.

    Args:
        root: The project folder.
        study: Whose plan it is.
        plan: Its hash.

    Returns:
        False where that cannot be told so: the ledger is a server's.
    """
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    for path in (default_artifacts(root) / study).glob(f"*/artifacts/{INFO}"):
        try:
            info = json.loads(path.read_text("utf-8"))
            if info["plan"] == plan and "finished_at" in info:
                return True
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return False
