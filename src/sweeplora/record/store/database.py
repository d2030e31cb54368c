"""MLflow's database beside the runs, created once by whoever needs it first."""

from __future__ import annotations

import sys
from pathlib import Path

from sweeplora.rundir.databases import sqlite_uri
from sweeplora.rundir.first_database import make_database


def have_database(path: Path, artifacts: Path) -> None:
    """Create the database if there is none; `artifacts` is where its files go."""
    aside = make_database(path, lambda temporary: _make(temporary, artifacts), "experiments")
    if aside is not None:
        sys.stderr.write(f"{path} was never made completely and held nothing; it is {aside.name} now\n")


def _make(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(sqlite_uri(path), artifacts.resolve().as_uri())
    store.engine.dispose()
