"""The command that opens MLflow's UI on the runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Command(NamedTuple):
    """A program to run and the environment it needs."""

    argv: list[str]
    env: Mapping[str, str]


def ui(runs: Path, port: int) -> Command:
    """Serve the store below `runs` on this machine alone, at http://127.0.0.1:`port`.

    One worker and no job runner: it is one person's window on a database, and starts in half the time.
    """
    folder = runs.resolve()
    argv = [sys.executable, "-m", "mlflow", "server"]
    argv += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    argv += ["--default-artifact-root", (folder / "artifacts").as_uri()]
    argv += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    return Command(argv, {**os.environ, **quiet})
