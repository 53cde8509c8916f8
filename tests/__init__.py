"""Tests, in the folders of what they test."""

import os

# Before anything imports torch, numpy or MLflow: two processes of tests share two cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
