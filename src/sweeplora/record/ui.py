"""MLflow's UI for a record: a server's own, or one served locally."""

from __future__ import annotations

import json
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import quote

from sweeplora.errors import UserError
from sweeplora.record.location import follow_artifacts, have_home, without_stray_folder
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.server import Server, answers
from sweeplora.record.store.shared_view import address_of
from sweeplora.record.tracking import Tracking
from sweeplora.report.browser import announce
from sweeplora.rundir.databases import sqlite_path, store_uri
from sweeplora.rundir.places import study_folders
from sweeplora.rundir.record import STUDY

PORT = 5000
_ANSWER_SECONDS = 10


def show(tracking: Tracking, runs: Path, port: int | None, browser: bool) -> int:
    """Print the URL of the record's UI once it responds; the UI of a database is served until Ctrl-C.

    Raises UserError if there is no record, a server does not respond, or the port is taken.
    """
    have_home()
    if tracking.uri.startswith("http"):
        return _show_server(tracking, runs, port, browser)
    server = server_of(tracking, runs, PORT if port is None else port)
    database = sqlite_path(tracking.uri)
    try:
        with without_stray_folder(database) if database is not None else nullcontext():
            server.start()
        announce(first_page(server.address, tracking, runs), browser)
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


def first_page(base: str, tracking: Tracking, runs: Path) -> str:
    """The address of the runs of the study that ran last, the best first; else of all runs, or of the home page."""
    asked = f"{base}/api/2.0/mlflow/experiments/get-by-name?experiment_name={quote(tracking.experiment)}"
    try:
        with urllib.request.urlopen(asked, timeout=_ANSWER_SECONDS) as answer:
            experiment = json.load(answer)["experiment"]
        return address_of(base, experiment, _by_last_change(runs))
    except (OSError, ValueError, KeyError, TypeError):
        return base  # a server that wants a password, or has no such experiment yet


def _by_last_change(runs: Path) -> list[str]:
    """The names of the studies below a folder, the one that ran last first."""
    folders = study_folders(runs)
    return [folder.name for folder in sorted(folders, key=lambda f: -(f / STUDY).stat().st_mtime)]


def _show_server(tracking: Tracking, runs: Path, port: int | None, browser: bool) -> int:
    uri = tracking.uri.rstrip("/")
    shown = without_credentials(uri)
    if port is not None:
        raise UserError("--port", port, f"has no effect: the record is on a server, {shown}; leave it out")
    if not answers(uri):
        raise UserError("tracking.uri", shown, "the server does not answer; start it, or see that the address is right")
    announce(without_credentials(first_page(uri, tracking, runs)), browser)
    return 0
