"""MLflow's UI for a record: a server's own, or one served locally."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.record.location import follow_artifacts, have_home, without_stray_folder
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.server import Server, answers
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path, store_uri

PORT = 5000


def show(tracking: Tracking, runs: Path, port: int | None) -> int:
    """Print the URL of the record's UI once it responds; the UI of a database is served until Ctrl-C.

    Raises UserError if there is no record, a server does not respond, or the port is taken.
    """
    have_home()
    if tracking.uri.startswith("http"):
        return _show_server(tracking.uri, port)
    server = server_of(tracking, runs, PORT if port is None else port)
    database = sqlite_path(tracking.uri)
    try:
        with without_stray_folder(database) if database is not None else nullcontext():
            server.start()
        print(server.address, flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.stop()


def server_of(tracking: Tracking, runs: Path, port: int) -> Server:
    """A server for a record's database, not started yet. Raises UserError if there is no such file."""
    database = sqlite_path(tracking.uri)
    if database is not None:
        if not database.is_file():
            key, value = ("runs", str(runs)) if database.parent == runs else ("tracking.uri", tracking.uri)
            raise UserError(key, value, "there is no record yet; run something first, or give runs=…")
        database = database.resolve()
        follow_artifacts(database, tracking.experiment, Path(tracking.artifacts))
    store = store_uri(tracking.uri if database is None else f"sqlite:///{database}")
    return Server(store, port, ["--default-artifact-root", Path(tracking.artifacts).resolve().as_uri()])


def _show_server(uri: str, port: int | None) -> int:
    shown = without_credentials(uri)
    if port is not None:
        raise UserError("--port", port, f"has no effect: the record is on a server, {shown}; leave it out")
    if not answers(uri):
        raise UserError("tracking.uri", shown, "the server does not answer; start it, or see that the address is right")
    print(shown, flush=True)
    return 0
