"""The first creation of a database: killed at any statement, or wanted by several at once, it is whole in the end."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sweeplora.record.store.client import Store
from sweeplora.record.store.subject import trial_subject
from sweeplora.rundir.databases import sqlite_uri
from sweeplora.rundir.first_database import make_database
from sweeplora.rundir.metrics import Point
from sweeplora.rundir.record import TrialRecord
from sweeplora.sweep.storage import open_storage
from tests.record.mlflow_store import Contents
from tests.sweep.commands import PATIENCE_SECONDS, start


def make_optuna(folder: Path) -> None:
    open_storage(folder / "optuna.db").engine.dispose()


def make_mlflow(folder: Path) -> None:
    Store(f"sqlite:///{folder}/mlflow.db", "sweeplora", folder / "artifacts")


def in_child(work: Callable[[], None], before: Callable[[], None] = lambda: None) -> int:
    """Start `work` in a forked process, which leaves without cleaning up; its id."""
    pid = os.fork()
    if pid == 0:
        try:
            before()
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def die_at(statement: int) -> None:
    """Have this process killed before its n-th statement to any database."""
    left = [statement]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", count)


def killed_at(statement: int, make: Callable[[Path], None], folder: Path) -> None:
    pid = in_child(lambda: make(folder), lambda: die_at(statement))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("make", "statement"), [(make_optuna, 1), (make_optuna, 9), (make_optuna, 30), (make_mlflow, 2), (make_mlflow, 60)]
)
def test_a_first_creation_that_is_killed_is_made_up_for(
    make: Callable[[Path], None], statement: int, tmp_path: Path
) -> None:
    killed_at(statement, make, tmp_path)
    make(tmp_path)
    assert [path.name for path in tmp_path.glob(".*.new*")] == []


def die_at_step(step: int, reached: Path) -> None:
    """Have this process killed at its n-th step: a statement to a database, or an act on a file or lock of its own.

    The number of steps so far is in `reached`.
    """
    count = [0]

    def take(*_: object) -> None:
        count[0] += 1
        if count[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)
        reached.write_text(str(count[0]))

    def watch(act: str, arguments: tuple[object, ...]) -> None:
        if act in _ACTS and str(reached.parent) in map(_place_of, arguments):
            take()

    event.listen(Engine, "before_cursor_execute", take)
    sys.addaudithook(watch)


_ACTS = ("os.rename", "os.remove", "os.mkdir", "sqlite3.connect")


def _place_of(argument: object) -> str:
    return os.path.dirname(os.fsdecode(argument).removeprefix("file:")) if isinstance(argument, str | bytes) else ""


def steps_of(make: Callable[[Path], None], folder: Path) -> int:
    """How many steps an undisturbed creation takes."""
    folder.mkdir()
    os.waitpid(in_child(lambda: make(folder), lambda: die_at_step(0, folder / "steps")), 0)
    return int((folder / "steps").read_text())


def use_optuna(folder: Path) -> None:
    """Record a trial."""
    storage = open_storage(folder / "optuna.db")
    study = optuna.create_study(storage=storage, study_name="s")
    study.tell(study.ask({"x": optuna.distributions.FloatDistribution(0, 1)}), 0.5)
    assert [trial.value for trial in optuna.load_study(storage=storage, study_name="s").trials] == [0.5]


def use_mlflow(folder: Path) -> None:
    """Record a run."""
    store = Store(f"sqlite:///{folder}/mlflow.db", "sweeplora", folder / "artifacts")
    subject = trial_subject("s/000-a", {"seed": 1}, TrialRecord("running", "s", 0), "running", 5.0)
    run_id = store.create(subject, "s", None)
    store.send(run_id, [Point(3, "loss", 0.5, 6.0)])
    store.end(run_id, replace(subject, status="FINISHED", ended=7000))
    assert store.latest(run_id) == {"loss": 0.5} and list(store.known("s")) == [subject.identity]


def schema(database: Path) -> dict[str, list[object]]:
    """The columns of a database's tables, after SQLite has found its pages whole."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        return {table: sorted(connection.execute(f"pragma table_info('{table}')")) for table in sorted(tables)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "use", "name"), [(make_optuna, use_optuna, "optuna"), (make_mlflow, use_mlflow, "mlflow")]
)
def test_thirty_killed_first_creations_leave_none_bricked(
    make: Callable[[Path], None], use: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    """At thirty steps from the first to the last: afterwards the database is made, whole, and takes a record."""
    steps, whole = steps_of(make, tmp_path / "whole"), schema(tmp_path / f"whole/{name}.db")
    assert steps > 30
    for kill in range(30):
        folder = tmp_path / str(kill)
        folder.mkdir()
        step = 1 + round(kill * (steps - 1) / 29)
        pid = in_child(partial(make, folder), partial(die_at_step, step, folder / "steps"))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, f"step {step} of {steps}"
        make(folder)
        assert schema(folder / f"{name}.db") == whole, f"step {step} of {steps}"
        use(folder)
        assert [path.name for path in folder.glob(".*.new*")] == [], f"step {step} of {steps}"


def test_what_an_earlier_version_left_half_made_is_set_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as half:
        half.execute("create table studies (study_id integer)")
        half.execute("create table version_info (version_info_id integer)")
        half.commit()
    make_optuna(tmp_path)
    assert (tmp_path / "optuna.db.broken").exists()


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as foreign:
        foreign.execute("create table mine (n integer)")
        foreign.commit()
    content = (tmp_path / "x.db").read_bytes()
    assert make_database(tmp_path / "x.db", lambda path: path.touch(), "version_info") is None
    assert (tmp_path / "x.db").read_bytes() == content


@pytest.mark.parametrize("make", [make_optuna, make_mlflow])
def test_several_at_once_make_one_database(make: Callable[[Path], None], tmp_path: Path) -> None:
    start = time.monotonic() + 0.5
    pids = [in_child(lambda: make(tmp_path), lambda: time.sleep(max(0, start - time.monotonic()))) for _ in range(3)]
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]


@pytest.mark.slow
def test_three_studies_that_start_at_once_on_an_empty_folder_all_end_and_are_all_recorded(tmp_path: Path) -> None:
    words = ("search=random", "sweep.trials=2", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "launcher.threads=1")
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        names = [f"study{number}" for number in range(3)]
        started = [start(folder, f"sweep.name={name}", *words, tracking="mlflow") for name in names]
        said = [process.communicate(timeout=PATIENCE_SECONDS) for process in started]
        assert [process.returncode for process in started] == [0, 0, 0], said
        assert "Traceback" not in repr(said)
        found = Contents(sqlite_uri(folder / "runs" / "mlflow.db")).runs()
        assert sorted(name.partition("/")[0] for name in found) == sorted(3 * names)
        assert {run.info.status for run in found.values()} == {"FINISHED"}
        loaded = [
            optuna.load_study(study_name=name, storage=sqlite_uri(folder / "runs" / "optuna.db")) for name in names
        ]
        assert [len(study.trials) for study in loaded] == [2, 2, 2]
