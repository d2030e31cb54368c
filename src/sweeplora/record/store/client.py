"""The one contact with MLflow: find, make, fill and end runs, nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from sweeplora.record.location import follow_artifacts, without_stray_folder
from sweeplora.record.store.database import have_database
from sweeplora.record.store.subject import Subject
from sweeplora.rundir.databases import sqlite_path, store_uri
from sweeplora.rundir.metrics import Point

TROUBLE = (MlflowException, SQLAlchemyError, OSError, ImportError)
"""What a store raises that is down, locked, unwilling or without its driver; requests' errors are OSErrors."""

IDENTITY = "sweeplora.identity"
ROOT = "sweeplora.root"
_TRY_AGAIN = (408, 409, 429)  # timeout, conflict, too many requests
_METRICS_A_CALL = 1000
_PARAMS_A_CALL = 100
_RUNS_A_PAGE = 1000
T = TypeVar("T")


def is_refusal(error: Exception) -> bool:
    """Whether waiting does not help: a package is missing, or the store does not want us."""
    if isinstance(error, ImportError | NoSuchModuleError):
        return True
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return 400 <= status < 500 and status not in _TRY_AGAIN
    said = str(error).lower()
    return isinstance(error, SQLAlchemyError) and ("authentication failed" in said or "access denied" in said)


@dataclass(frozen=True)
class Known:
    """A run that the store already has."""

    run_id: str
    deleted: bool


class Store:
    """One experiment of one MLflow store."""

    def __init__(self, uri: str, experiment: str, artifacts: Path) -> None:
        """Connect; makes the database and the experiment where they are missing.

        `artifacts` is where a local database's files go; a server decides that itself.
        """
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        location = None if uri.startswith("http") else artifacts.resolve().as_uri()
        database = sqlite_path(uri)
        if database is None:
            self._client = MlflowClient(uri)
            self._experiment = self._find_experiment(experiment, location)
            return
        follow_artifacts(database, experiment, artifacts)
        with without_stray_folder(database):
            have_database(database, artifacts)
            self._client = MlflowClient(store_uri(uri))
            self._experiment = self._find_experiment(experiment, location)

    def _find_experiment(self, name: str, location: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # The kind makes the UI open its pages on training, not on language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            made: str = self._client.create_experiment(name, artifact_location=location, tags=kind)
            return made
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def known(self, root: str) -> dict[str, Known]:
        """Every run that was made for the folder `root`, by identity, deleted ones included."""
        found: dict[str, Known] = {}
        for run in self._search(f"tags.`{ROOT}` = '{root}'", ViewType.ALL):
            deleted = run.info.lifecycle_stage == "deleted"
            found[run.data.tags[IDENTITY]] = Known(run.info.run_id, deleted)
        return found

    def holder(self, tag: str, value: str) -> str | None:
        """The id of a run that carries this tag value."""
        found = self._search(f"tags.`{tag}` = '{value}'", ViewType.ACTIVE_ONLY)
        return found[0].info.run_id if found else None

    def _search(self, wanted: str, view: int) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], wanted, view, _RUNS_A_PAGE, page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                return found

    def create(self, subject: Subject, root: str, parent: str | None) -> str:
        """Make the run, findable from its first moment, and give its id."""
        tags = {**subject.tags, IDENTITY: subject.identity, ROOT: root}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(self._experiment, subject.started, tags, subject.name)
        return str(run.info.run_id)

    def describe(self, run_id: str, subject: Subject) -> None:
        """Bring parameters, tags and name up to date; a parameter once set stays, as MLflow wants it."""
        run = self._client.get_run(run_id)
        params = [Param(key, text) for key, text in subject.params.items() if key not in run.data.params]
        for few in _chunks(params, _PARAMS_A_CALL):
            self._client.log_batch(run_id, params=few)
        tags = [RunTag(key, text) for key, text in subject.tags.items() if run.data.tags.get(key) != text]
        for some in _chunks(tags, _PARAMS_A_CALL):
            self._client.log_batch(run_id, tags=some)
        if run.info.run_name != subject.name:
            self._client.update_run(run_id, name=subject.name)

    def end(self, run_id: str, subject: Subject) -> None:
        """Set the state: running (again, when an interrupted run goes on) or ended, with the folder's end time."""
        if subject.status == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, subject.status, subject.ended)

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        self._client.log_batch(run_id, tags=[RunTag(key, text) for key, text in tags.items()])

    def newest(self, run_id: str) -> dict[str, int]:
        """The highest step that the run has, by metric."""
        keys = self._client.get_run(run_id).data.metrics
        return {key: max(m.step for m in self._client.get_metric_history(run_id, key)) for key in keys}

    def latest(self, run_id: str) -> dict[str, float]:
        """The value that MLflow shows for each metric: of the highest step, the last one there."""
        return dict(self._client.get_run(run_id).data.metrics)

    def send(self, run_id: str, points: Iterable[Point]) -> None:
        """Log points in their order; a call that fails may have logged the first ones."""
        metrics = [Metric(p.key, float(p.value), round(p.time * 1000), p.step) for p in points]
        for some in _chunks(metrics, _METRICS_A_CALL):
            self._client.log_batch(run_id, metrics=some)

    def upload(self, run_id: str, folder: Path) -> None:
        """Upload a folder's content to the same relative names; what is there already is replaced."""
        self._client.log_artifacts(run_id, str(folder))


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
