"""A real MLflow server on the loopback, to be stopped and started."""

from __future__ import annotations

import socket
from pathlib import Path

from sweeplora.record import server
from sweeplora.rundir.databases import sqlite_uri


def closed_port() -> int:
    """A port on the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((server.HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Server(server.Server):
    """`mlflow server` with its artifacts in `folder`, its database there too or at `store`; always at one address."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        artifacts = ["--artifacts-destination", str(folder / "artifacts")]
        super().__init__(store or sqlite_uri(folder / "mlflow.db"), closed_port(), artifacts)
        self.folder = folder
        self.uri = self.address
