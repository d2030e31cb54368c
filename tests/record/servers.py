"""A real MLflow server on the loopback, to be stopped and started."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from sweeplora.record import server
from sweeplora.rundir.databases import sqlite_uri

LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DRAW = random.SystemRandom()


def closed_port() -> int:
    """A port on the loopback that nothing listens on.

    It is none of those that the kernel gives to whoever asks for any: by the time that it is listened on, one of the
    connections that other tests open could have that.
    """
    first = int(LOCAL_PORTS.read_text().split()[0])
    while True:
        port = _DRAW.randrange(10_000, max(first, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind((server.HOST, port))
            except OSError:
                continue
        return port


class Server(server.Server):
    """`mlflow server` with its artifacts in `folder`, its database there too or at `store`; always at one address."""

    def __init__(self, folder: Path, store: str | None = None) -> None:
        artifacts = ["--artifacts-destination", str(folder / "artifacts")]
        super().__init__(store or sqlite_uri(folder / "mlflow.db"), closed_port(), artifacts)
        self.folder = folder
        self.uri = self.address
