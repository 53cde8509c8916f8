"""MLflow, as this package uses it: the one module that imports it.

What of it is private, and what becomes of us without:

    tables, store_of   MLflow's own store where it is a database that we reach ourselves. Children
                       are then written into its tables in bulk (`children.insert`), and SQLite is
                       told to write ahead. A version that has neither is asked over its client: the
                       same runs, at some 15 ms each.
    server_of          MLflow's client of a server, whose requests are sent again over connections
                       that stay open (`wire.Wire`). Without, they go over its client, too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

# Read once, when MLflow is imported.
AT_IMPORT = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
# Read whenever something is asked of a store: what a ledger needs for as long as it is used.
IN_USE = {
    **AT_IMPORT,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A request that is sent twice may make two runs; the recorder, which can tell, tries again itself.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@contextlib.contextmanager
def _environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """These variables, where they are not set, for as long as the block runs."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


with _environment(AT_IMPORT):
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from mlflow.tracking import MlflowClient

    try:
        from mlflow.store.tracking.dbmodels.models import (
            SqlLatestMetric,
            SqlMetric,
            SqlParam,
            SqlRun,
            SqlTag,
        )
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        tables = True
    except ImportError:
        SqlAlchemyStore = SqlLatestMetric = SqlMetric = SqlParam = SqlRun = SqlTag = None
        tables = False
    try:
        from mlflow.store.tracking.rest_store import RestStore
        from mlflow.utils.rest_utils import http_request, verify_rest_response

        requests_ = True
    except ImportError:
        RestStore = http_request = verify_rest_response = None
        requests_ = False


def store_of(client: MlflowClient) -> SqlAlchemyStore | None:
    """MLflow's own store where it is a database that we reach ourselves, else None."""
    store = _behind(client)
    whole = tables and isinstance(store, SqlAlchemyStore)
    return store if whole and hasattr(store, "ManagedSessionMaker") else None


def server_of(client: MlflowClient) -> RestStore | None:
    """MLflow's client of a tracking server, if the store is one, else None."""
    store = _behind(client)
    return store if requests_ and isinstance(store, RestStore) else None


def _behind(client: MlflowClient) -> Any:
    return getattr(getattr(client, "_tracking_client", None), "store", None)


__all__ = [
    "IN_USE",
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "TEMPORARILY_UNAVAILABLE",
    "Dataset",
    "DatasetInput",
    "InputTag",
    "Metric",
    "MlflowClient",
    "MlflowException",
    "Param",
    "RestStore",
    "Run",
    "RunTag",
    "SqlAlchemyStore",
    "SqlLatestMetric",
    "SqlMetric",
    "SqlParam",
    "SqlRun",
    "SqlTag",
    "http_request",
    "server_of",
    "store_of",
    "verify_rest_response",
]
