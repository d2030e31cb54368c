"""A run's folder made again from the tracking server alone."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sweeplora.errors import UserError
from sweeplora.record.location import follow_artifacts, without_stray_folder
from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.provenance.session import FOLDER as SESSIONS
from sweeplora.record.provenance.workspace import FOLDER as WORKSPACES
from sweeplora.record.restore.overlay import stays_inside
from sweeplora.record.store.client import ROOT, TROUBLE
from sweeplora.record.store.subject import one_line
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.databases import sqlite_path, store_uri
from sweeplora.rundir.files import sealed, write_json
from sweeplora.rundir.folder import SINGLE, RunDir
from sweeplora.rundir.metrics import MetricsWriter, Point
from sweeplora.rundir.places import numbers_of

_FILES = ("config.yaml", "trial.json", "result.json", "dataset.json", "naming.json", "scores.jsonl", "log.txt")
_STUDY_FILES = ("study.json", "config.yaml")
_ID = re.compile(r"[0-9a-f]{32}")
_TRIALS = {"trial", "replicate"}
_PAGE = 1000


class StoredRecord:
    """The runs of one experiment in a tracking server, to read from."""

    def __init__(self, tracking: Tracking) -> None:
        """Connect. Raises UserError if there is no such record or it does not answer."""
        database = sqlite_path(tracking.uri)
        if database is not None and not database.is_file():
            raise UserError("tracking.uri", tracking.uri, "there is no such database")
        try:
            if database is None:
                self._client = MlflowClient(tracking.uri)
            else:
                follow_artifacts(database, tracking.experiment, Path(tracking.artifacts))
                with without_stray_folder(database):
                    self._client = MlflowClient(store_uri(tracking.uri))
            experiment = self._client.get_experiment_by_name(tracking.experiment)
        except TROUBLE as error:
            shown = without_credentials(tracking.uri)
            raise UserError("tracking.uri", shown, f"the record cannot be read: {one_line(error)}") from error
        if experiment is None:
            raise UserError("tracking.experiment", tracking.experiment, "the tracking server has no such experiment")
        self._experiment = str(experiment.experiment_id)

    def find(self, name: str, signature: str | None = None) -> Run:
        """The run with this name: an id, `study/number`, `study/folder`, a single run, a study (its best trial).

        `signature` is that of a weights file. Raises UserError if there is none.
        """
        if signature is not None:
            return self._first(self._tagged("sweeplora.signature", signature), name)
        if _ID.fullmatch(name):
            try:
                return self._client.get_run(name)
            except MlflowException:
                return self._first([], name)
        first, _, rest = name.strip("/").removeprefix("runs/").partition("/")
        if not rest:
            return self._alone(first, name)
        return self._first([run for run in self._below(first) if _is_called(run, rest)], name)

    def download(self, run: Run, runs: Path) -> Path:
        """Write the run's folder below `runs`, with its study's session and the workspace's backup; returns it.

        Raises UserError if the store loses one of its files.
        """
        name = run.data.tags.get("sweeplora.folder", "")
        if not name or not stays_inside(name):
            raise UserError("RUN", run.info.run_id, "this run of the tracking server is not one of sweeplora's")
        folder = runs / name
        self._fetch(run, _FILES, folder)
        _seal(folder / "trial.json")
        self._write_metrics(run, RunDir(folder))
        parent_id = run.data.tags.get("mlflow.parentRunId")
        owner = run if parent_id is None else self._client.get_run(parent_id)
        if parent_id is not None:
            self._fetch(owner, _STUDY_FILES, folder.parent)
            _seal(folder.parent / "study.json")
        session = f"{SESSIONS}/{run.data.tags.get('sweeplora.session')}"
        names = [entry.path for entry in self._client.list_artifacts(owner.info.run_id, session)]
        self._fetch(owner, names, owner_folder(folder))
        self._fetch_backup(run, owner, runs / WORKSPACES)
        return folder

    def _fetch_backup(self, run: Run, owner: Run, into: Path) -> None:
        name, holder = run.data.tags.get("sweeplora.workspace"), owner.data.tags.get("sweeplora.workspace.run")
        if not name:
            return
        # A run that was deleted keeps a backup that others refer to.
        kept = self._pages(f"tags.`sweeplora.kept.{name}` = 'true'", ViewType.ALL)
        for run_id in [*(one.info.run_id for one in kept), *([holder] if holder else [])]:
            if self._copied(run_id, f"workspace/{name}.tar.gz", into / f"{name}.tar.gz"):
                return

    def _fetch(self, run: Run, names: Sequence[str], folder: Path) -> None:
        """Copy those of the files that the run has to their places below a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            self._copied(run.info.run_id, name, folder / name)

    def _copied(self, run_id: str, name: str, target: Path) -> bool:
        """Copy one file of a run; False if the run has no such file."""
        there = self._client.list_artifacts(run_id, name.rpartition("/")[0] or None)
        if name not in {entry.path for entry in there}:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix="sweeplora-", dir=target.parent) as scratch:
                shutil.move(self._client.download_artifacts(run_id, name, scratch), target)
        except TROUBLE as error:
            raise UserError("RUN", name, f"the tracking server does not give this file: {one_line(error)}") from error
        return True

    def _write_metrics(self, run: Run, into: RunDir) -> None:
        """Write metrics.jsonl from the store's points; of points at one step the last one counts, as in the store."""
        points = [
            Point(metric.step, key, metric.value, metric.timestamp / 1000)
            for key in run.data.metrics
            if not key.startswith("system/")
            for metric in self._client.get_metric_history(run.info.run_id, key)
        ]
        into.metrics.unlink(missing_ok=True)
        writer = MetricsWriter(into.metrics)
        for step in sorted({point.step for point in points}):
            writer.write(step, {point.key: point.value for point in points if point.step == step})
        writer.close()

    def _alone(self, word: str, name: str) -> Run:
        """A single run, a trial by its folder's name, or a study's best trial."""
        single = self._tagged("sweeplora.folder", f"{SINGLE}/{word}")
        if single:
            return self._first(single, name)
        parents = self._tagged("sweeplora.folder", word)
        if parents:
            best = parents[0].data.tags.get("sweeplora.best")
            if not best:
                raise UserError("RUN", name, f"no trial of this study is complete; name one, {word}/NUMBER")
            return self._first(self._tagged("sweeplora.folder", f"{word}/{best}"), name)
        matches = [run for run in self._search("") if run.data.tags.get("sweeplora.folder", "").endswith(f"/{word}")]
        return self._first(matches or self._tagged("sweeplora.signature", word), name)

    def _below(self, root: str) -> list[Run]:
        if root == SINGLE:
            return self._search("tags.`sweeplora.kind` = 'run'")
        return [run for run in self._tagged(ROOT, root) if run.data.tags.get("sweeplora.kind") in _TRIALS]

    def _first(self, found: Sequence[Run], name: str) -> Run:
        if not found:
            known = sorted({run.data.tags.get(ROOT, "") for run in self._search("")} - {""})
            some = ", ".join(known[:8]) or "nothing"
            raise UserError("RUN", name, f"the tracking server has no such run; it has: {some}")
        return found[0]

    def _tagged(self, tag: str, value: str) -> list[Run]:
        mark = '"' if "'" in value else "'"
        return self._search(f"tags.`{tag}` = {mark}{value.replace(mark, '')}{mark}")

    def _search(self, wanted: str) -> list[Run]:
        return list(self._pages(wanted))

    def _pages(self, wanted: str, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs([self._experiment], wanted, view, _PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


def owner_folder(folder: Path) -> Path:
    """The folder that holds the sessions of a run: a single run's own, a trial's study's."""
    return folder if folder.parent.name == SINGLE else folder.parent


def _is_called(run: Run, word: str) -> bool:
    folder = run.data.tags.get("sweeplora.folder", "").rpartition("/")[2]
    if numbers_of(word) is not None and "-" not in word:
        return numbers_of(folder) == numbers_of(word)
    return folder == word or (len(word) > 3 and folder.startswith(word))


def _seal(file: Path) -> None:
    """Seal a record anew: the store holds it without credentials, which changes its content."""
    try:
        content: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return
    if isinstance(content, dict):
        write_json(file, sealed({key: value for key, value in content.items() if key != "digest"}))
