"""The first creation of a database: killed at any statement, or wanted by several at once, it is whole in the end."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sweeplora.record.store.client import Store
from sweeplora.rundir.first_database import make_database
from sweeplora.sweep.storage import open_storage


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


@pytest.mark.slow
@pytest.mark.parametrize("make", [make_optuna, make_mlflow])
def test_thirty_killed_first_creations_leave_none_bricked(make: Callable[[Path], None], tmp_path: Path) -> None:
    for statement in range(1, 31):
        folder = tmp_path / str(statement)
        folder.mkdir()
        killed_at(statement, make, folder)
        make(folder)


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
