"""An empty MLflow database, made once: its tables take more than a second."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sweeplora.record.store.client import Store
from tests.once import made_once


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and another experiment in it."""

    def make(folder: Path) -> None:
        Store(f"sqlite:///{folder}/mlflow.db", "other", folder / "artifacts")

    return made_once(tmp_path_factory, "mlflow", make) / "mlflow.db"


@pytest.fixture
def runs(tmp_path: Path, empty_database: Path) -> Path:
    """A runs folder with an empty store, its name not the easiest."""
    folder = tmp_path / "my runs"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder
