"""The only interface to MLflow: finds, creates, fills and ends runs without sending anything twice."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from sweeplora.record.location import follow_artifacts, without_stray_folder
from sweeplora.record.store.checkpoints import Checkpoint, model_name
from sweeplora.record.store.database import have_database
from sweeplora.record.store.datasets import DatasetPart
from sweeplora.record.store.subject import Subject
from sweeplora.rundir.databases import sqlite_path, store_uri
from sweeplora.rundir.metrics import Point

TROUBLE = (MlflowException, SQLAlchemyError, OSError, ImportError, UnicodeDecodeError)
"""What a store raises that is down, locked, damaged, unwilling or without its driver; requests' errors are OSErrors."""

_TRIES = 3
_SECONDS_BETWEEN_TRIES = 0.1

IDENTITY = "sweeplora.identity"
ROOT = "sweeplora.root"
WEIGHTS = "sweeplora.weights"
"""A logged model's tag with the name of its weights' artifact."""

_MODEL_TYPE = "LoRA"
_TAGS_OF_A_MODEL = ("sweeplora.folder", "sweeplora.signature")
_TRY_AGAIN = (408, 409, 429)  # timeout, conflict, too many requests
_METRICS_A_CALL = 1000
_PARAMS_A_CALL = 100
_RUNS_A_PAGE = 1000
T = TypeVar("T")


def is_refusal(error: Exception) -> bool:
    """Whether waiting does not help: a package is missing, or the store denies access."""
    if isinstance(error, ImportError | NoSuchModuleError):
        return True
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        return 400 <= status < 500 and status not in _TRY_AGAIN
    said = str(error).lower()
    return isinstance(error, SQLAlchemyError) and ("authentication failed" in said or "access denied" in said)


def is_unknown_to_it(error: MlflowException) -> bool:
    """Whether a server refuses what it does not know, as an older one; not if it asks for a login or lost the run."""
    denied = error.get_http_status_code() in (401, 403)
    return is_refusal(error) and not denied and error.error_code != "RESOURCE_DOES_NOT_EXIST"


class DeletedExperiment(MlflowException):
    """The experiment was deleted in the UI."""


@dataclass(frozen=True)
class Known:
    """A run already in the store."""

    run_id: str
    deleted: bool


class Store:
    """One experiment of one MLflow store."""

    def __init__(self, uri: str, experiment: str, artifacts: Path, revive: bool = True) -> None:
        """Connect; creates the database and the experiment if they are missing.

        `artifacts` is where a local database's files go; a server decides that itself. `revive`: restore an experiment
        that was deleted in the UI for new runs; its old runs stay deleted. Without it, raises DeletedExperiment.
        """
        self._revive = revive
        self._artifacts: dict[str, str] = {}
        """Where the files of a run are, by its id."""
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
        found = _repeated(lambda: self._client.get_experiment_by_name(name))
        if found is None:
            # This kind makes the UI open its training pages, not those for language models.
            kind = {"mlflow.experimentKind": "custom_model_development"}
            made: str = self._client.create_experiment(name, artifact_location=location, tags=kind)
            return made
        if found.lifecycle_stage == "deleted":
            if not self._revive:
                raise DeletedExperiment(
                    f"the experiment {name} was deleted in the UI; restore it there, or give tracking.experiment=…"
                )
            self._restore(found.experiment_id)
        return str(found.experiment_id)

    def _restore(self, experiment: str) -> None:
        """Restore an experiment but delete its runs again, since MLflow restores all of them with it."""
        runs = self._search_in(experiment, "", ViewType.ALL)
        self._client.restore_experiment(experiment)
        for run in runs:
            self._client.delete_run(run.info.run_id)

    @property
    def experiment(self) -> str:
        """The experiment's id."""
        return self._experiment

    def known(self, root: str) -> dict[str, Known]:
        """The run of each identity that was created for the folder `root`, including deleted ones.

        If a request to create a run arrives late, after a search did not find that run, there are two runs of one
        identity; the emptier one is deleted.
        """
        found: dict[str, list[Run]] = {}
        for run in self._search(f"tags.`{ROOT}` = '{root}'", ViewType.ALL):
            found.setdefault(run.data.tags[IDENTITY], []).append(run)
        return {identity: self._only(runs) for identity, runs in found.items()}

    def _only(self, runs: Sequence[Run]) -> Known:
        active = [run for run in runs if run.info.lifecycle_stage != "deleted"]
        if not active:
            return Known(runs[0].info.run_id, deleted=True)
        fullest = max(active, key=lambda run: (len(run.data.metrics), len(run.data.params), run.info.run_id))
        for run in active:
            if run is not fullest:
                _repeated(partial(self._client.set_terminated, run.info.run_id, "KILLED"))
                _repeated(partial(self._client.delete_run, run.info.run_id))
        return Known(fullest.info.run_id, deleted=False)

    def forget(self, root: str) -> None:
        """Delete the runs of the folder `root`, their logged models and files; runs that the UI deleted included.

        A workspace's backup that others refer to stays.
        """
        for run in self._search(f"tags.`{ROOT}` = '{root}'", ViewType.ALL):
            run_id = run.info.run_id
            self._drop_models(run_id)
            for entry in _repeated(partial(self._client.list_artifacts, run_id)):
                if entry.path != "workspace":
                    self.remove(run_id, entry.path)
            for entry in _repeated(partial(self._client.list_artifacts, run_id, "workspace")):
                name = Path(entry.path).name.removesuffix(".tar.gz")
                using = self._search(f"tags.`sweeplora.workspace` = '{name}'", ViewType.ACTIVE_ONLY)
                if all(one.data.tags.get(ROOT) == root for one in using):
                    self.remove(run_id, entry.path)
            place = self._local_place(run_id)
            for folder in () if place is None else (place / "workspace", place, place.parent):
                with suppress(OSError):  # holds something, or was never made
                    folder.rmdir()
            if run.info.lifecycle_stage != "deleted":
                _repeated(partial(self._client.delete_run, run_id))

    def folders_of(self, root: str) -> dict[str, str]:
        """The id of each run that was created for the folder `root`, the newest first, deleted ones included -> its
        folder's path below `runs`."""
        found = self._search(f"tags.`{ROOT}` = '{root}'", ViewType.ALL)
        return {run.info.run_id: run.data.tags.get("sweeplora.folder", "") for run in found}

    def drop_weights(self, run_id: str, keys: Collection[str]) -> None:
        """Delete these artifacts of a run below `weights/`, and their logged models; those that are gone are fine."""
        for entry in _repeated(partial(self._client.list_artifacts, run_id, "weights")):
            if entry.path in keys:
                self.remove(run_id, entry.path)
        self._drop_models(run_id, keys)

    def _drop_models(self, run_id: str, only: Collection[str] | None = None) -> None:
        """Delete the logged models of a run, all or those of these artifacts."""
        try:
            models = self._models_of(run_id)
        except MlflowException as error:
            if not is_unknown_to_it(error):
                raise
            return  # an older server has no logged models
        for model in models:
            if only is None or model.tags.get(WEIGHTS) in only:
                self.drop_model(model.model_id)

    def remove(self, run_id: str, name: str) -> None:
        """Delete one artifact or a folder of artifacts."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        uri = self._place(run_id)
        here = self._client.tracking_uri  # a server's own artifacts are asked for there, not at MLflow's default
        _repeated(lambda: get_artifact_repository(uri, here).delete_artifacts(name))

    def holder(self, tag: str, value: str) -> str | None:
        """The id of a run that carries this tag value."""
        found = self._search(f"tags.`{tag}` = '{value}'", ViewType.ACTIVE_ONLY)
        return found[0].info.run_id if found else None

    def _search(self, wanted: str, view: int) -> list[Run]:
        return self._search_in(self._experiment, wanted, view)

    def _search_in(self, experiment: str, wanted: str, view: int) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            search = partial(self._client.search_runs, [experiment], wanted, view, _RUNS_A_PAGE)
            page = _repeated(partial(search, page_token=token))
            found.extend(page)
            token = page.token
            if not token:
                return found

    def create(self, subject: Subject, root: str, parent: str | None) -> str:
        """Create the run with its identity, so that it can be found from the start; returns its id."""
        tags = {**subject.tags, IDENTITY: subject.identity, ROOT: root}
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        run = self._client.create_run(self._experiment, subject.started, tags, subject.name)
        return str(run.info.run_id)

    def describe(self, run_id: str, subject: Subject) -> None:
        """Bring parameters, tags and name up to date; a parameter cannot change once set, as MLflow requires."""
        run = _repeated(lambda: self._client.get_run(run_id))
        params = [Param(key, text) for key, text in subject.params.items() if key not in run.data.params]
        for few in _chunks(params, _PARAMS_A_CALL):
            _repeated(partial(self._client.log_batch, run_id, params=few))
        tags = [RunTag(key, text) for key, text in subject.tags.items() if run.data.tags.get(key) != text]
        for some in _chunks(tags, _PARAMS_A_CALL):
            _repeated(partial(self._client.log_batch, run_id, tags=some))
        if run.info.run_name != subject.name:
            _repeated(lambda: self._client.update_run(run_id, name=subject.name))

    def end(self, run_id: str, subject: Subject) -> None:
        """Set the state: running (again, if an interrupted run continues) or ended, with the folder's end time."""
        if subject.status == "RUNNING":
            _repeated(lambda: self._client.update_run(run_id, status="RUNNING"))
        else:
            _repeated(lambda: self._client.set_terminated(run_id, subject.status, subject.ended))

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        _repeated(lambda: self._client.log_batch(run_id, tags=[RunTag(key, text) for key, text in tags.items()]))

    def tag_experiment(self, tags: Mapping[str, str]) -> None:
        """Set tags of the experiment."""
        for key, text in tags.items():
            _repeated(partial(self._client.set_experiment_tag, self._experiment, key, text))

    def newest(self, run_id: str) -> dict[str, int]:
        """The highest step in the run, by metric."""
        data = _repeated(lambda: self._client.get_run(run_id)).data
        # A run comes with the point at the highest step of each metric; only its message says which step that is.
        return {metric.key: metric.step for metric in data.to_proto().metrics}

    def latest(self, run_id: str) -> dict[str, float]:
        """The value that MLflow shows for each metric: the last one logged at the highest step."""
        return dict(_repeated(lambda: self._client.get_run(run_id)).data.metrics)

    def send(self, run_id: str, points: Iterable[Point], model: str | None = None) -> None:
        """Log points in order, also as a model's; a failed call may have logged the first ones.

        A point that the run has already is not logged to it again.
        """
        metrics = [Metric(p.key, float(p.value), round(p.time * 1000), p.step, model, run_id=run_id) for p in points]
        for some in _chunks(metrics, _METRICS_A_CALL):
            self._client.log_batch(run_id, metrics=some)

    def models(self, run_id: str) -> dict[str, str]:
        """The logged models of a run: name of the weights' artifact -> the model's id."""
        return {model.tags[WEIGHTS]: model.model_id for model in self._models_of(run_id) if WEIGHTS in model.tags}

    def _models_of(self, run_id: str) -> list[LoggedModel]:
        found: list[LoggedModel] = []
        token: str | None = None
        while True:
            search = partial(self._client.search_logged_models, [self._experiment], f"source_run_id = '{run_id}'")
            page = _repeated(partial(search, page_token=token))
            found.extend(page)
            token = page.token
            if not token:
                return found

    def add_model(self, run_id: str, one: Checkpoint, subject: Subject) -> str:
        """Create a logged model for a weights file; returns its id. The weights stay the run's artifact."""
        kept = {WEIGHTS: one.key, "sweeplora.artifact": f"runs:/{run_id}/{one.key}"}
        kept |= {key: subject.tags[key] for key in _TAGS_OF_A_MODEL if key in subject.tags}
        told = {**subject.swept, "step": str(one.step)}
        name = model_name(one, subject.model)
        made = self._client.create_logged_model(self._experiment, name, run_id, kept, told, _MODEL_TYPE)
        model_id = str(made.model_id)
        self.finish_model(run_id, model_id, one)
        return model_id

    def finish_model(self, run_id: str, model_id: str, one: Checkpoint) -> None:
        """Give a model its metrics, and name it as the run's output; doing so again changes nothing."""
        self.send(run_id, one.points, model_id)
        run = _repeated(lambda: self._client.get_run(run_id))
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        if model_id not in {output.model_id for output in outputs}:
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, one.step)])
        _repeated(lambda: self._client.finalize_logged_model(model_id, "READY"))

    def drop_model(self, model_id: str) -> None:
        """Delete a logged model; one that is deleted already is left alone."""
        try:
            _repeated(partial(self._client.delete_logged_model, model_id))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def log_datasets(self, run_id: str, parts: Sequence[DatasetPart]) -> None:
        """Name the parts of a run's data set as its inputs; MLflow keeps each of them once."""
        inputs = [
            DatasetInput(
                Dataset(part.name, part.digest, "local", part.source, profile=json.dumps(dict(part.counts))),
                [InputTag("mlflow.data.context", part.context)],
            )
            for part in parts
        ]
        _repeated(lambda: self._client.log_inputs(run_id, inputs))

    def upload(self, run_id: str, folder: Path) -> None:
        """Upload a folder's content under the same relative names; existing files are replaced.

        In a store on the same disk a file is a hard link to the run's own, not a copy.
        """
        place = self._local_place(run_id)
        if place is None:
            _repeated(lambda: self._client.log_artifacts(run_id, str(folder)))
            return
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                _keep_once(path, place / path.relative_to(folder))

    def _local_place(self, run_id: str) -> Path | None:
        """The folder of a run's files, if it is one of this machine."""
        place = urlsplit(self._place(run_id))
        return Path(unquote(place.path)) if place.scheme in ("", "file") and place.path else None

    def _place(self, run_id: str) -> str:
        if run_id not in self._artifacts:
            self._artifacts[run_id] = str(_repeated(lambda: self._client.get_run(run_id)).info.artifact_uri)
        return self._artifacts[run_id]


def _keep_once(source: Path, target: Path) -> None:
    """Put a staged file into the store: a link to a run's file as a hard link, or copied onto another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return  # renaming one of two names of a file to the other would leave both
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)


def _repeated(call: Callable[[], T]) -> T:
    """The response to an idempotent request, retried if the response is lost."""
    for _ in range(_TRIES - 1):
        try:
            return call()
        except TROUBLE:
            time.sleep(_SECONDS_BETWEEN_TRIES)
    return call()


def _chunks(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
