"""Mirrors run folders into MLflow while they grow: idempotent, replayable, and never blocking a training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sweeplora.record.provenance.session import backups_of, session_of, tags_of
from sweeplora.record.provenance.workspace import FOLDER
from sweeplora.record.run_folders import RunFolders, SeenTrial, is_held_by_anyone
from sweeplora.record.store.artifacts import Piece, session_pieces
from sweeplora.record.store.seen_run import SeenRun
from sweeplora.record.store.standing import Standing, standings, with_standing
from sweeplora.record.store.subject import (
    STATE,
    TAG_LENGTH,
    Subject,
    began,
    best_so_far,
    closed,
    command_of,
    identity_of,
    study_note,
    study_subject,
    trial_subject,
    verdict_of,
    with_best,
    with_pictures,
)
from sweeplora.record.tensorboard import EventFiles
from sweeplora.record.tracking import Tracking
from sweeplora.report.leaderboard import Leaderboard, make_leaderboard
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.verdict import said
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import DamagedRecord, Result, StudyRecord, read_result

if TYPE_CHECKING:
    from sweeplora.record.store.run import StoredRun
    from sweeplora.record.store.stored_runs import StoredRuns


NOTE = "note: "
"""Begins a line of `mirror.log` that is meant for the user of the command."""


_ALONE = Standing()
"""Of a run that is no complete trial of a sweep with one measured objective."""


class ParentRun(NamedTuple):
    """A run's parent: the sweep's MLflow run (None for a single run), and when and by which command it started."""

    run_id: str | None
    started: float
    command: str


class _Sweep(NamedTuple):
    """A sweep's own run as it is to be sent, if it is due: with its files, and the mark of all that it says."""

    parent: ParentRun
    board: Leaderboard
    subject: Subject
    found: Sequence[Piece]
    mark: str
    is_due: bool


class _ToSend(Exception):
    """There is something to send."""


class Glance:
    """Takes the place of a connection to the store, to find out whether anything would be sent."""

    def __init__(self, address: str, there: Collection[str]) -> None:
        self._address = address
        self._there = there

    def of(self, folder: Path) -> SeenRun:
        """What was sent of a folder."""
        return SeenRun(folder, self._address, self._there)

    def has(self, identity: str) -> bool:
        """Not known without a connection."""
        return False

    def is_deleted(self, identity: str) -> bool:
        """Not known without a connection; a deleted run that is complete needs nothing."""
        return False


class Mirror:
    """Brings the store up to date with the folder of one study or one single run, on every call.

    The folders are the source of truth; `mirror.json` in each of them says how much was sent.
    """

    def __init__(self, path: Path, tracking: Tracking, revive: bool = True) -> None:
        """`revive`: restore an experiment that was deleted in the UI, for runs that are not in it yet."""
        self.path = path
        self._revive = revive
        self.folders = RunFolders(path)
        self._tracking = tracking
        folder = tracking.tensorboard
        self._event_files = EventFiles(Path(folder), tracking.tensorboard_prefix) if folder else None
        self._stored: StoredRuns | None = None
        self._ended: dict[Path, tuple[int, str]] = {}
        """What was sent whole of runs that have ended: the version of `trial.json`, and the mark of their standing."""

    def look_anew(self) -> None:
        """Ask the store at the next turn what it has: it may have been restarted, even with an empty database."""
        self._stored = None
        self._ended.clear()

    def turn(self, abandoned: bool = False) -> None:
        """Send what is new. `abandoned`: a run marked `running` without a living supervisor was interrupted.

        Raises one of `store.client.TROUBLE` if the store or the event files fail; what was sent is remembered.
        """
        from sweeplora.record.store.client import TROUBLE

        failure: Exception | None = None
        try:
            self._write_events()
        except (OSError, ImportError) as error:
            failure = error  # the MLflow record continues regardless
        try:
            self._send(self._connected(), abandoned)
        except TROUBLE:
            # A failed call may still have reached the server: reconnect and compare before continuing.
            self.look_anew()
            raise
        if failure is not None:
            raise failure

    def is_complete(self, there: Collection[str], abandoned: bool = False) -> bool:
        """Whether nothing is left to send, told by the folders and the ids of the runs in the store alone."""
        if self._event_files is not None:
            return False
        try:
            self._send(Glance(self._tracking.address, there), abandoned)
        except _ToSend:
            return False
        return True

    def _connected(self) -> StoredRuns:
        if self._stored is None:
            from sweeplora.record.store.stored_runs import StoredRuns

            self._stored = StoredRuns(self._tracking, self.folders.name, self._revive)
        return self._stored

    def _write_events(self) -> None:
        """Write TensorBoard's files, which need no store."""
        if self._event_files is None:
            return
        study = self.folders.study()
        # A trial reused from an earlier run has no attempts; it started when its study did.
        since = 0.0 if study is None else study.started
        for trial in self.folders.trials():
            if started := began(trial.record, since):
                self._event_files.update(trial.path, self.folders.name_of(trial.path), int(started))

    def _send(self, stored: StoredRuns | Glance, abandoned: bool) -> None:
        study = self.folders.study()
        trials = self.folders.trials()
        sweep, stands = None, dict[int, Standing]()
        if study is not None:
            board = make_leaderboard(study.study, study.objectives, [(trial.path, trial.record) for trial in trials])
            stands = standings(board)
            sweep = self._open_study(stored, (study, board), trials, abandoned)
        for trial in trials:
            started = began(trial.record, 0.0)
            alone = ParentRun(None, started, "") if self.folders.single and started else None
            above = sweep.parent if sweep is not None else alone
            stand = stands.get(trial.record.number or 0, _ALONE) if trial.record.replicate is None else _ALONE
            if above is not None and self._ended.get(trial.path) != (trial.version, stand.mark):
                self._send_trial(stored, trial, (above, stand), abandoned)
        if sweep is not None and sweep.is_due and not isinstance(stored, Glance):
            self._send_study(stored, sweep)

    def _open_study(
        self,
        stored: StoredRuns | Glance,
        sweep: tuple[StudyRecord, Leaderboard],
        trials: Sequence[SeenTrial],
        abandoned: bool,
    ) -> _Sweep | None:
        """Have a run for the sweep; None if it was deleted in the UI and has no new trial below it."""
        study, board = sweep
        verdict = (*said(self.path), *preference_lines(board))
        if study.state == "running" and abandoned and not is_held_by_anyone(self.path / "driver.lock"):
            ends = [RunDir(trial.path).last_written() or 0.0 for trial in trials]
            study = replace(study, state="interrupted", ended=max([study.started, *ends]))
        subject = study_subject(study, board, verdict)
        subject = _with_session(subject, session_of(self.path, float("inf")), command_of(study))
        run: SeenRun = stored.of(self.path)
        found, mark = run.look(f"{subject.tags[STATE]} {study_note(board, verdict)}")
        deleted = stored.is_deleted(subject.identity)
        if deleted:
            identities = [identity_of(self.folders.name_of(trial.path), study.started) for trial in trials]
            if all(map(stored.has, identities)):
                return None
            print(
                f"{NOTE}the run of the sweep {study.study} was deleted in the UI; it is made anew for new trials",
                flush=True,
            )
        is_due = deleted or not run.is_complete(mark)
        if is_due:
            if isinstance(stored, Glance):
                raise _ToSend
            stored.open(stored.of(self.path), subject, None)
        parent = ParentRun(stored.of(self.path).run_id, study.started, command_of(study))
        return _Sweep(parent, board, subject, found, mark, is_due)

    def _send_study(self, stored: StoredRuns, sweep: _Sweep) -> None:
        """Bring the sweep's own run up to date, after its trials: its note leads to the best one's."""
        sent, subject, best = stored.of(self.path), sweep.subject, sweep.board.best
        assert sent.run_id is not None, "it was opened"
        shown = with_pictures(subject, sent.run_id, [piece.key for piece in sweep.found])
        run_id = stored.of(best.folder).run_id if best is not None else None
        if best is not None and run_id is not None:
            shown = with_best(shown, best, run_id, stored.store.experiment)
        sent.update(stored.store, shown, sweep.found, best_so_far(sweep.board))
        self._keep_backups(stored, sent)
        sent.finish(stored.store, subject, sweep.mark)

    def _send_trial(
        self, stored: StoredRuns | Glance, trial: SeenTrial, among: tuple[ParentRun, Standing], abandoned: bool
    ) -> None:
        """Send the run of one trial, or a single run."""
        parent, stand = among
        dead = abandoned and not is_held_by_anyone(RunDir(trial.path).lock)
        verdict = verdict_of(trial.record, _result(trial.path) if dead else None, dead)
        session = session_of(self.path, began(trial.record, parent.started))
        carried = [] if self.folders.single or session is None else session_pieces(self.path, session)
        run: SeenRun = stored.of(trial.path)
        found, mark = run.look(verdict, carried, stand.mark)
        if not run.is_complete(mark):
            if isinstance(stored, Glance):
                raise _ToSend
            sent = stored.of(trial.path)
            config, name = self.folders.config(trial.path), self.folders.name_of(trial.path)
            record = closed(trial.record, RunDir(trial.path).last_written()) if dead else trial.record
            subject = with_standing(trial_subject(name, config, record, verdict, parent.started), stand)
            subject = _with_session(subject, session, parent.command)
            if stored.is_deleted(subject.identity):
                return
            stored.open(sent, subject, parent.run_id)
            sent.update(stored.store, subject, found, stand.points)
            if self.folders.single:
                self._keep_backups(stored, sent)
            sent.finish(stored.store, subject, mark)
        if verdict != "running":
            self._ended[trial.path] = (trial.version, stand.mark)

    def _keep_backups(self, stored: StoredRuns, run: StoredRun) -> None:
        for name in backups_of(self.path):
            run.keep(stored.store, self.folders.runs / FOLDER / f"{name}.tar.gz")


def _result(path: Path) -> Result | None:
    try:
        return read_result(RunDir(path))
    except DamagedRecord:
        return None


def _with_session(subject: Subject, session: Path | None, command: str) -> Subject:
    """The subject, tagged with where it was run from."""
    tags = {**subject.tags, **(tags_of(session) if session is not None else {})}
    if command:
        tags["mlflow.source.name"] = command[:TAG_LENGTH]
    return replace(subject, tags=tags)
