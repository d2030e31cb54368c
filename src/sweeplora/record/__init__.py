"""The record: run folders mirrored into MLflow, the git state, and a backup of the workspace.

Importing this package turns off MLflow's usage telemetry (people train on private data) and keeps a single call to
a server that is down from blocking for minutes. Both must be set before `mlflow` is imported. MLflow does not retry
a request whose response was lost, because the server may have acted on it (see store/client.py).
"""

from __future__ import annotations

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
