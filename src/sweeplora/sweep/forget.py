"""Removes a study from Optuna's database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

DATABASE = "optuna.db"


def remembered(runs: Path) -> list[str]:
    """Names of the studies in the database, read without Optuna; empty if there is none that can be read."""
    database = runs / DATABASE
    if not database.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
            return [str(row[0]) for row in connection.execute("select study_name from studies order by study_name")]
    except sqlite3.Error:
        return []


def forget(runs: Path, name: str) -> None:
    """Delete a study and its trials from the database; does nothing if it has no such study."""
    if name not in remembered(runs):
        return
    import optuna

    from sweeplora.sweep.storage import open_storage, storage_faults

    database = runs / DATABASE
    with storage_faults(database, opening=True):
        storage = open_storage(database)
        optuna.delete_study(study_name=name, storage=storage)
        storage.remove_session()
        storage.engine.dispose()
