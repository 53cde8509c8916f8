"""What a parent run keeps, by name, and a store's errors in a line."""

from __future__ import annotations

from mlflow.exceptions import MlflowException

CLAIMS = "claims.json"  # artifact of a parent run: what was claimed before its trials
INFO = "info.json"  # what the run knows of itself
SOURCE = "study.py"  # the study file that was run
BESIDE = "beside.json"  # the modules beside it that it imports: paths and texts
PROVENANCE = "provenance."  # before the names of a parent run's parameters


def one_line(error: BaseException) -> str:
    """An error's first line, or its kind where it says nothing.

    MLflow repeats address and retries of a server that cannot be reached, over half a page.
    """
    if isinstance(error, MlflowException) and isinstance(error.__context__, OSError):
        return f"no answer ({type(error.__context__).__name__})"
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
