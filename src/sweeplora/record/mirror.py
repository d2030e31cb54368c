"""Run folders into MLflow while they grow: idempotent, replayable, never in a training's way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from sweeplora.record.provenance.session import backups_of, session_of, tags_of
from sweeplora.record.provenance.workspace import FOLDER
from sweeplora.record.store.artifacts import session_pieces
from sweeplora.record.store.subject import (
    TAG_LENGTH,
    Subject,
    began,
    best_so_far,
    command_of,
    note,
    study_subject,
    trial_subject,
    verdict_of,
)
from sweeplora.record.tensorboard import EventFiles
from sweeplora.record.tracking import SINGLE, Tracking
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import is_held

if TYPE_CHECKING:
    from sweeplora.record.store.client import Known, Store
    from sweeplora.record.store.run import Folder


class _Above(NamedTuple):
    """What a run hangs below: the sweep's MLflow run, none for a single run; when and by which command it all began."""

    run_id: str | None
    started: float
    command: str


class Mirror:
    """Brings the store up to date with one study's folder, or with one single run's, as often as asked.

    Nothing here is truth: the folders are, and `mirror.json` in each of them says how far it was sent.
    """

    def __init__(self, path: Path, tracking: Tracking) -> None:
        self.path = path
        self._tracking = tracking
        self._single = path.parent.name == SINGLE
        self._workspaces = (path.parent.parent if self._single else path.parent) / FOLDER
        folder = tracking.tensorboard
        self._event_files = EventFiles(Path(folder), tracking.tensorboard_prefix) if folder else None
        self._store: Store | None = None
        self._known: dict[str, Known] = {}
        self._folders: dict[Path, Folder] = {}
        self._trials: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._configs: dict[Path, tuple[int, dict[str, Any]]] = {}
        self._ended: dict[Path, int] = {}

    def turn(self, abandoned: bool = False) -> None:
        """Send what is new. `abandoned`: a run that says `running` and has no living supervisor was interrupted.

        Raises one of `store.TROUBLE` when the store fails; what was sent until then is remembered.
        """
        from sweeplora.record.store.client import TROUBLE

        try:
            self._write_events()
            self._turn(abandoned)
        except TROUBLE:
            # A call that failed may yet have arrived: connect again and compare before going on.
            self._store = None
            self._folders.clear()
            raise

    def is_orphaned(self) -> bool:
        """Whether the folder still says `running` although the command that wrote that has ended."""
        if self._single:
            return self._trial(self.path).get("verdict") == "running"
        return (read_json(self.path / "study.json") or {}).get("state") == "running"

    def _turn(self, abandoned: bool) -> None:
        store = self._connected()
        if self._single:
            if started := began(self._trial(self.path), 0.0):
                self._run(store, self.path, _Above(None, started, ""), abandoned)
            return
        study = read_json(self.path / "study.json")
        if study is None:
            return
        parent = self._study(store, study, abandoned)
        for path in self._paths() if parent is not None else []:
            self._run(store, path, _Above(parent, float(study["started"]), command_of(study)), abandoned)

    def _write_events(self) -> None:
        """TensorBoard's files, which need no store."""
        if self._event_files is None:
            return
        # A trial that was taken from an earlier run has no attempt of its own, and began with its study.
        since = 0.0 if self._single else float((read_json(self.path / "study.json") or {}).get("started", 0.0))
        for path in self._paths():
            if started := began(self._trial(path), since):
                name = self._root if self._single else f"{self._root}/{path.name}"
                self._event_files.update(path, name, int(started))

    def _paths(self) -> list[Path]:
        return [self.path] if self._single else sorted(p.parent for p in self.path.glob("*/trial.json"))

    def _connected(self) -> Store:
        if self._store is None:
            from sweeplora.record.store.client import Store

            tracking = self._tracking
            store = Store(tracking.uri, tracking.experiment, Path(tracking.artifacts))
            self._known = store.known(self._root)
            self._store = store
        return self._store

    def _study(self, store: Store, study: Mapping[str, Any], abandoned: bool) -> str | None:
        trials = [self._trial(path) for path in self._paths()]
        abandoned = abandoned and not is_held_by_anyone(self.path / "driver.lock")
        folder = self._folder(self.path)
        latest = session_of(self.path, float("inf"))
        subject = study_subject(study, trials, abandoned)
        subject = _with_session(subject, latest, command_of(study))
        found, mark = folder.look(f"{subject.tags['sweeplora.verdict']} {note(study, trials)}")
        if not folder.is_complete(mark):
            if not self._open(store, folder, subject, None):
                return None
            folder.update(store, subject, found, best_so_far(study, trials))
            self._keep_backups(store, folder)
            folder.finish(store, subject, mark)
        return folder.run_id

    def _run(self, store: Store, path: Path, above: _Above, abandoned: bool) -> None:
        trial = self._trial(path)
        changed = self._trials[path][0]
        if not trial or self._ended.get(path) == changed:
            return
        folder = self._folder(path)
        run = RunDir(path)
        alone = abandoned and not is_held_by_anyone(run.lock)
        verdict = verdict_of(trial, read_json(run.result), alone)
        session = session_of(self.path, began(trial, above.started))
        carried = [] if self._single or session is None else session_pieces(self.path, session)
        found, mark = folder.look(verdict, carried)
        if not folder.is_complete(mark):
            name = self._root if self._single else f"{self._root}/{path.name}"
            subject = trial_subject(name, self._config(run), trial, verdict, above.started)
            subject = _with_session(subject, session, above.command)
            if not self._open(store, folder, subject, above.run_id):
                return
            folder.update(store, subject, found)
            if self._single:
                self._keep_backups(store, folder)
            folder.finish(store, subject, mark)
        if verdict != "running":
            self._ended[path] = changed
            self._configs.pop(path, None)

    def _keep_backups(self, store: Store, folder: Folder) -> None:
        for name in backups_of(self.path):
            folder.keep(store, self._workspaces / f"{name}.tar.gz")

    def _open(self, store: Store, folder: Folder, subject: Subject, parent: str | None) -> bool:
        """Have a run to write to; False where a person deleted it in the UI, which is respected."""
        known = self._known.get(subject.identity)
        if known is not None and known.deleted:
            return False
        folder.open(store, subject, known, self._root, parent)
        return True

    @property
    def _root(self) -> str:
        return f"{SINGLE}/{self.path.name}" if self._single else self.path.name

    def _folder(self, path: Path) -> Folder:
        if path not in self._folders:
            from sweeplora.record.store.run import Folder

            there = {known.run_id for known in self._known.values()}
            self._folders[path] = Folder(path, self._tracking.address, there)
        return self._folders[path]

    def _config(self, run: RunDir) -> dict[str, Any]:
        """The resolved config, parsed once; a proposal that was refused has a record and no config."""
        changed = run.config.stat().st_mtime_ns if run.config.exists() else 0
        if self._configs.get(run.path, (None,))[0] != changed:
            config = yaml.safe_load(run.config.read_text()) if changed else {}
            self._configs[run.path] = (changed, config)
        return self._configs[run.path][1]

    def _trial(self, path: Path) -> dict[str, Any]:
        """The supervisor's `trial.json`, read again only when it was written again."""
        file = RunDir(path).trial
        changed = file.stat().st_mtime_ns if file.exists() else 0
        if self._trials.get(path, (None,))[0] != changed:
            self._trials[path] = (changed, read_json(file) or {})
        return self._trials[path][1]


def _with_session(subject: Subject, session: Path | None, command: str) -> Subject:
    """The subject with the tags of where it ran from."""
    tags = {**subject.tags, **(tags_of(session) if session is not None else {})}
    if command:
        tags["mlflow.source.name"] = command[:TAG_LENGTH]
    return replace(subject, tags=tags)


def is_held_by_anyone(lock: Path) -> bool:
    """Whether a living process holds a lock; a lock that was never made is not made by asking."""
    return lock.exists() and is_held(lock)
