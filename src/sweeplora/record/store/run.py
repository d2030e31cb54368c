"""Brings one MLflow run up to date with one folder: description, metrics, files, in that order, each once."""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from mlflow.exceptions import MlflowException

from sweeplora.record.run_folders import version
from sweeplora.record.store.artifacts import Piece, stage
from sweeplora.record.store.checkpoints import SUFFIXES, checkpoints, retired
from sweeplora.record.store.client import Known, Store, is_unknown_to_it
from sweeplora.record.store.datasets import dataset_parts
from sweeplora.record.store.seen_run import SeenRun
from sweeplora.record.store.sent import Sent
from sweeplora.record.store.shared_view import with_file_size
from sweeplora.record.store.subject import Subject, one_line
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail, Point
from sweeplora.rundir.naming import read_naming

_FILES_A_CALL = 16


class StoredRun(SeenRun):
    """The MLflow run that one folder is sent to; what was sent is remembered in the folder's `mirror.json`."""

    def __init__(self, path: Path, address: str, there: Collection[str]) -> None:
        """`there`: the runs in the store; what was sent to a run that is gone is forgotten."""
        super().__init__(path, address, there)
        self._opened = self._compared = False
        self._known_models: dict[str, str] = {}
        self._listed = 0
        """The version of `dataset.json` that was named as the run's input."""

    def open(self, store: Store, subject: Subject, known: Known | None, root: str, parent: str | None) -> None:
        """Find or create the run, once per process; what was sent to another run is forgotten."""
        if self._opened and self._sent.identity == subject.identity:
            return
        run_id = known.run_id if known is not None else None
        if run_id is None or self._sent.run_id != run_id:
            self._sent = Sent(self._address, subject.identity, run_id)
            self._listed = 0
        if run_id is None:
            self._sent.run_id = store.create(subject, root, parent)
        else:
            # A killed mirror may have sent more than it recorded.
            self._sent.newest = store.newest(run_id)
            self._sent.status = ""
        self._opened = True
        self._sent.save(self.path)

    def update(self, store: Store, subject: Subject, found: Sequence[Piece], points: Iterable[Point] = ()) -> None:
        """Send what is new in the description, in `points`, metrics.jsonl and system.jsonl, and in the files."""
        self._describe(store, with_file_size(subject, found))
        tail = MetricsTail(RunDir(self.path).metrics, self._sent.offset)
        load = MetricsTail(RunDir(self.path).system, self._sent.system_offset)
        computed = [point for point in points if point.step > self._sent.newest.get(point.key, -1)]
        self._send(store, [*computed, *tail.poll(), *load.poll()])
        self._sent.offset, self._sent.system_offset = tail.offset, load.offset
        self._sent.save(self.path)
        self._upload(store, subject, found)
        self._retire(store, subject, found)
        try:
            self._name_inputs(store)
            self._log_models(store, subject, found)
        except MlflowException as error:
            if not is_unknown_to_it(error):
                raise
            # An older server knows neither dataset inputs nor logged models; everything else is recorded.
            print(f"not recorded as data set or model: {one_line(error)}", file=sys.stderr, flush=True)
        if subject.status != "RUNNING" and self._sent.redone:
            self._settle(store)

    def keep(self, store: Store, archive: Path) -> None:
        """Upload a workspace backup, once for all runs of the experiment, and tag the run with where it is."""
        name = archive.name.removesuffix(".tar.gz")
        if self._sent.files.get(f"workspace/{name}") == "kept" or not archive.exists():
            return
        holder = store.holder(f"sweeplora.kept.{name}", "true")
        if holder is None:
            with tempfile.TemporaryDirectory(prefix="sweeplora-") as folder:
                stage([Piece(f"workspace/{archive.name}", archive)], Path(folder), "", 0)
                store.upload(self._id, Path(folder))
            store.tag(self._id, {f"sweeplora.kept.{name}": "true"})
        store.tag(self._id, {"sweeplora.workspace.run": holder or self._id})
        self._sent.files[f"workspace/{name}"] = "kept"
        self._sent.save(self.path)

    def finish(self, store: Store, subject: Subject, fingerprint: str) -> None:
        """Set the state last, so that an ended run in the store is complete, and remember that everything was sent."""
        if self._sent.status != subject.status:
            store.end(self._id, subject)
            self._sent.status = subject.status
        self._sent.complete = fingerprint
        self._sent.save(self.path)

    @property
    def _id(self) -> str:
        assert self._sent.run_id is not None, "open() comes first"
        return self._sent.run_id

    def _describe(self, store: Store, subject: Subject) -> None:
        text = repr((subject.name, sorted(subject.params.items()), sorted(subject.tags.items())))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        if self._sent.described != digest:
            store.describe(self._id, subject)
            self._sent.described = digest

    def _send(self, store: Store, points: Sequence[Point]) -> None:
        last = {(point.key, point.step): point for point in points if _is_number(point.value)}
        newest = self._sent.newest
        fresh = [point for point in last.values() if point.step > newest.get(point.key, -1)]
        self._sent.redone |= len(fresh) < len(last)
        store.send(self._id, fresh)
        for point in fresh:
            newest[point.key] = max(point.step, newest.get(point.key, -1))

    def _upload(self, store: Store, subject: Subject, found: Sequence[Piece]) -> None:
        due = [(piece, piece.fingerprint) for piece in found]
        due = [(piece, mark) for piece, mark in due if self._sent.files.get(piece.key) != mark]
        for start in range(0, len(due), _FILES_A_CALL):
            # The run's own retention may have deleted weights since.
            some = [(piece, mark) for piece, mark in due[start : start + _FILES_A_CALL] if piece.source.exists()]
            with tempfile.TemporaryDirectory(prefix="sweeplora-") as folder:
                stage([piece for piece, _ in some], Path(folder), subject.identity, subject.started)
                store.upload(self._id, Path(folder))
            self._sent.files.update({piece.key: mark for piece, mark in some})
            self._sent.save(self.path)
            if any(piece.key == "log.txt" for piece, _ in some):
                self._logged = time.monotonic()
            if any(piece.key.startswith("samples/") for piece, _ in some):
                store.tag(self._id, {"mlflow.loggedImages": "True"})

    def _name_inputs(self, store: Store) -> None:
        """Name the data set as the run's input."""
        listing = self.path / "dataset.json"
        seen = version(listing)
        if seen == self._listed:
            return
        parts = dataset_parts(listing)
        digest = " ".join(part.digest for part in parts)
        if parts and self._sent.inputs != digest:
            store.log_datasets(self._id, parts)
            self._sent.inputs = digest
            self._sent.save(self.path)
        self._listed = seen

    def _retire(self, store: Store, subject: Subject, found: Sequence[Piece]) -> None:
        """Delete from the store what the run's own retention has deleted from its folder."""
        for key in retired(self._sent.files, {piece.key for piece in found}, subject.params, self._stem(subject)):
            store.remove(self._id, key)
            model = self._sent.models.pop(key, None)
            if model is not None:
                store.drop_model(model)
            del self._sent.files[key]
            self._sent.save(self.path)

    def _log_models(self, store: Store, subject: Subject, found: Sequence[Piece]) -> None:
        """Log every weights file as a model, once its metrics are there."""
        keys = [piece.key for piece in found if piece.key.startswith("weights/") and piece.key.endswith(SUFFIXES)]
        new = [key for key in keys if key not in self._sent.models]
        if not new:
            return
        due = checkpoints(new, RunDir(self.path).metrics, subject.status != "RUNNING", self._stem(subject))
        if due and not self._compared:
            self._known_models = store.models(self._id)
            self._compared = True
        for one in due:
            model = self._known_models.get(one.key)
            if model is None:
                model = store.add_model(self._id, one, subject)
            else:
                store.finish_model(self._id, model, one)
            self._sent.models[one.key] = model
            self._sent.save(self.path)

    def _stem(self, subject: Subject) -> str:
        """The stem of the run's weights files."""
        return read_naming(RunDir(self.path), subject.params.get("name", "")).stem

    def _settle(self, store: Store) -> None:
        """Make the store show the folder's values if a repeated step gave different ones.

        MLflow cannot replace a point. Only a metric's last step is corrected, by a later point, since that is what
        tables and searches show.
        """
        shown = store.latest(self._id)
        truth: dict[str, Point] = {}
        for point in MetricsTail(RunDir(self.path).metrics).poll():
            if point.key not in truth or point.step >= truth[point.key].step:
                truth[point.key] = point
        wrong = (p for p in truth.values() if p.key in shown and shown[p.key] != p.value == p.value)
        store.send(self._id, wrong)
        self._sent.redone = False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
