"""The record: run folders mirrored into MLflow, git state and a backup of the workspace.

Importing this package turns MLflow's usage telemetry off (people train on private data) and keeps one call to
a server that is down from blocking for minutes; both must be set before `mlflow` is imported. MLflow does not repeat
a request whose answer was lost: the server may have acted on it (see store/client.py).
"""

from __future__ import annotations

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
