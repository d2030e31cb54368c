"""Optuna's database beside the runs: created once, opened by many; its faults reported in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from alembic.util.exc import CommandError
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweeplora.errors import UserError
from sweeplora.report.words import near
from sweeplora.rundir.databases import sqlite_uri
from sweeplora.rundir.first_database import make_database
from sweeplora.sweep.search.constrained import distributions
from sweeplora.sweep.search.space import Space

_LOCKED_SECONDS = 60
_FAULTS = (SQLAlchemyError, StorageInternalError)
_FAULTS_OF_CONTENT = (CommandError, OSError, RuntimeError, LookupError, TypeError, ValueError, AssertionError)


class StorageFault(UserError):
    """Optuna's database is damaged, locked, or on a full disk."""


def open_storage(database: Path) -> RDBStorage:
    """Open the database; create it if there is none. Raises RuntimeError if its pages do not fit together."""
    make_database(database, _make, "version_info")
    storage = _open(database)
    with storage.engine.connect() as connection:
        answer = connection.exec_driver_sql("pragma integrity_check(1)").scalar()
    if answer != "ok":
        raise RuntimeError(answer)
    return storage


def widen(storage: RDBStorage, study_name: str, space: Space) -> None:
    """Give the parameters of a study's earlier trials the distributions of a space that grew.

    Samplers take a parameter whose range differs between trials for one that they cannot model.
    """
    study = storage.get_study_id_from_name(study_name)
    words = "update trial_params set distribution_json = ? where param_name = ? and trial_id in "
    words += "(select trial_id from trials where study_id = ?)"
    with storage.engine.begin() as connection:
        for name, distribution in distributions(space).items():
            if not isinstance(distribution, CategoricalDistribution):
                connection.exec_driver_sql(words, (distribution_to_json(distribution), name, study))


def complete_pruned(
    storage: RDBStorage, trial: FrozenTrial, values: Sequence[float], attributes: Mapping[str, object]
) -> None:
    """Complete a trial that the database has as pruned, and its copy in this process, which samplers see.

    Optuna itself never changes a trial that ended.
    """
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("update trials set state = 'COMPLETE' where trial_id = ?", (trial._trial_id,))
        connection.exec_driver_sql("delete from trial_values where trial_id = ?", (trial._trial_id,))
        for objective, value in enumerate(values):
            words = "insert into trial_values (trial_id, objective, value, value_type) values (?, ?, ?, 'FINITE')"
            connection.exec_driver_sql(words, (trial._trial_id, objective, value))
        for key, attribute in attributes.items():
            words = "insert or replace into trial_user_attributes (trial_id, key, value_json) values (?, ?, ?)"
            connection.exec_driver_sql(words, (trial._trial_id, key, json.dumps(attribute)))
            trial.set_user_attr(key, attribute)
    trial.state, trial.values = TrialState.COMPLETE, list(values)


def revalue(storage: RDBStorage, trial: FrozenTrial, value: float) -> None:
    """Give a complete trial of a single objective another value, in the database and in its copy in this process."""
    with storage.engine.begin() as connection:
        words = "update trial_values set value = ?, value_type = 'FINITE' where trial_id = ?"
        connection.exec_driver_sql(words, (value, trial._trial_id))
    trial.values = [value]


@contextmanager
def storage_faults(database: Path, opening: bool = False) -> Iterator[None]:
    """Turn database errors inside this context into one line that names the database.

    `opening`: any error comes from the database's contents or from the file itself.
    """
    faults = (*_FAULTS, *_FAULTS_OF_CONTENT) if opening else _FAULTS
    try:
        yield
    except faults as error:
        raise StorageFault(database.name, near(database), _mend(error)) from error


def _open(database: Path) -> RDBStorage:
    timeout = {"connect_args": {"timeout": _LOCKED_SECONDS}}
    return RDBStorage(sqlite_uri(database), engine_kwargs=timeout)


def _make(database: Path) -> None:
    storage = _open(database)
    storage.remove_session()
    storage.engine.dispose()


def _mend(error: BaseException) -> str:
    cause = str(getattr(error.__cause__ or error, "orig", None) or error.__cause__ or error)
    reason = " ".join(cause.split())[:200]
    if "locked" in reason:
        return f"another process keeps it locked for over {_LOCKED_SECONDS} s; end that one and try again"
    if "full" in reason or "No space" in reason:
        return f"{reason}: free space on its disk, then the same command continues"
    return f"this database cannot be used ({reason}); move it away: finished runs are found again by their folders"
