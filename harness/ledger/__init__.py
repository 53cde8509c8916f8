"""Where runs and rows are kept: MLflow. Layer 4, and its only importer.

One experiment a study, one parent run a study run, one child run a trial. A single thread writes,
so that training never waits for the tracking store. A pack's rows are first one parquet file in a
spool on this machine's disk, then an artifact of the parent, and then its trials become child runs:
what a later run continues from are those files, and a child that is missing beside them is written
then.

`store` opens a tracking store and reads it, `recorder` writes one run, `children` makes the child
runs, `permanent` tells errors that no waiting mends from outages, `lease` keeps a server to one run
of a study.
"""

from __future__ import annotations

import logging
import os

# Before MLflow is imported: it reads these once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# A request that is sent twice may make two runs; the recorder, which can tell, tries again itself.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from harness.ledger.children import HISTORY
from harness.ledger.recorder import Recorder
from harness.ledger.store import Ledger, default_artifacts, default_uri

for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(
    logging.CRITICAL
)  # a locked store is told by us

__all__ = ["HISTORY", "Ledger", "Recorder", "default_artifacts", "default_uri"]
