"""The record follows its runs folder, whatever the folder is called and wherever it is moved."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy
import yaml

from sweeplora.record.location import follow_runs
from sweeplora.record.mirror import Mirror
from sweeplora.record.sync import sync
from sweeplora.rundir.databases import sqlite_path, sqlite_uri, store_uri
from tests.record.mlflow_store import Contents
from tests.record.study_folder import StudyFolder, tracking_of

NAMES = [
    "a%20b",
    "what?",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("one#two", "ü b", "{x}", "a&b=c;d")),
]


def record(runs: Path, name: str = "rank") -> StudyFolder:
    """A study with one complete trial, recorded."""
    study = StudyFolder(runs, name)
    study.trial(0, dim=2).complete(0.5)
    study.write("finished")
    Mirror(study.path, study.tracking).turn()
    return study


def artifacts_of(runs: Path, name: str = "rank") -> Path:
    """Where MLflow finds the artifacts of a recorded trial; fails where it does not find the weights."""
    store = Contents(sqlite_uri(runs / "mlflow.db"))
    run = store.runs()[f"{name}/000-000000000002"]
    assert store.client.download_artifacts(run.info.run_id, "weights/toy-000001.safetensors")
    return Path(unquote(urlsplit(run.info.artifact_uri).path))


@pytest.mark.parametrize("name", NAMES)
def test_databases_and_artifacts_land_in_a_folder_of_any_name(tmp_path: Path, empty_database: Path, name: str) -> None:
    runs = tmp_path / name / "deeper"
    runs.mkdir(parents=True)
    shutil.copy(empty_database, runs / "mlflow.db")
    record(runs)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert artifacts_of(runs).is_relative_to(runs / "artifacts")
    with sqlalchemy.create_engine(sqlite_uri(runs / "optuna.db")).connect() as connection:
        connection.execute(sqlalchemy.text("create table mine (a int)"))
    assert (runs / "optuna.db").stat().st_size > 0


@pytest.mark.parametrize("copied", [False, True])
def test_artifacts_follow_a_runs_folder_that_is_moved_or_copied(
    tmp_path: Path, empty_database: Path, copied: bool
) -> None:
    old, new = tmp_path / "old" / "runs", tmp_path / "new place" / "runs"
    old.mkdir(parents=True)
    shutil.copy(empty_database, old / "mlflow.db")
    record(old)
    (shutil.copytree if copied else shutil.move)(old.parent, new.parent)
    record(new, "another")
    assert artifacts_of(new).is_relative_to(new)
    assert artifacts_of(new, "another").is_relative_to(new)
    assert old.exists() == copied
    if copied:
        assert artifacts_of(old).is_relative_to(old)
        assert len(list((old / "artifacts").iterdir())) == 2  # the sweep and its trial, nothing of the copy's


def test_runs_of_an_earlier_setting_of_artifacts_stay_readable(runs: Path, tmp_path: Path) -> None:
    record(runs)
    study = StudyFolder(runs, "another")
    study.trial(0, dim=2).complete(0.5)
    study.write("finished")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = tracking_of(runs)
    object.__setattr__(elsewhere, "artifacts", str(tmp_path / "elsewhere"))
    Mirror(study.path, elsewhere).turn()
    assert artifacts_of(runs).is_relative_to(runs / "artifacts")
    assert artifacts_of(runs, "another").is_relative_to(tmp_path / "elsewhere")


def test_sync_writes_beside_the_runs_it_is_given(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "runs").mkdir(parents=True)
    (tmp_path / "caller").mkdir()
    monkeypatch.chdir(project)
    study = StudyFolder(Path("runs"))
    study.trial(0, dim=2).complete(0.5)
    study.write("finished")
    for path in (study.path, study.path / "000-000000000002"):
        config = yaml.safe_load((path / "config.yaml").read_text())
        (path / "config.yaml").write_text(yaml.safe_dump({**config, "runs": "runs"}))
    shutil.copy(empty_database, project / "runs" / "mlflow.db")
    monkeypatch.chdir(tmp_path / "caller")
    assert sync(project / "runs", {}) == []
    assert list((tmp_path / "caller").iterdir()) == []
    assert artifacts_of(project / "runs").is_relative_to(project / "runs" / "artifacts")


def test_only_what_lies_below_the_runs_folder_moves_with_it() -> None:
    tracking = {"uri": "sqlite:///runs/mlflow.db", "artifacts": "/data/artifacts", "tensorboard": "runs/tb"}
    moved = follow_runs(tracking, Path("runs"), Path("/new/runs"))
    assert moved == {
        "uri": "sqlite:////new/runs/mlflow.db",
        "artifacts": "/data/artifacts",
        "tensorboard": "/new/runs/tb",
    }
    server = {"uri": "http://host:5000", "artifacts": "runs/artifacts", "tensorboard": None}
    assert follow_runs(server, Path("runs"), Path("runs")) == server


@pytest.mark.parametrize("name", NAMES)
def test_an_address_and_its_path_are_told_apart_from_options(name: str) -> None:
    assert sqlite_path(f"sqlite:////data/{name}/mlflow.db") == Path(f"/data/{name}/mlflow.db")
    url = sqlalchemy.make_url(store_uri(f"sqlite:////data/{name}/mlflow.db?timeout=9"))
    assert (url.database, dict(url.query)) == (f"/data/{name}/mlflow.db", {"timeout": "9"})
    assert store_uri("postgresql://host/db") == "postgresql://host/db"
