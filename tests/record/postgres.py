"""A PostgreSQL of the tests' own: a cluster in a temporary folder that listens on a socket there and nowhere else.

PostgreSQL refuses to run as root, so root runs it as the user `postgres` that its package makes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REQUIRED = "SWEEPLORA_SERVICES"
"""The environment variable that makes a missing service a failure: set where services are installed, as in CI."""

_ROLE = "sweeplora"


def programs() -> Path:
    """The folder of PostgreSQL's programs; skips the test, or fails it where services are required."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or importlib.util.find_spec("psycopg2") is None:
        missing = "psycopg2" if folders else "PostgreSQL"
        told = f"{missing} is not installed; `make services` installs it"
        if os.environ.get(REQUIRED):
            pytest.fail(told)
        pytest.skip(told)
    return folders[-1]


@contextmanager
def postgres() -> Iterator[str]:
    """The SQLAlchemy URL of an empty database, while its server runs."""
    at = programs()
    folder = Path(tempfile.mkdtemp(prefix="sweeplora-", dir="/tmp"))  # a socket's path has at most 107 characters
    user = "postgres" if os.geteuid() == 0 else None

    def run(program: str, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        argv = [str(at / program), *words]
        done = subprocess.run(argv, cwd=folder, env=environment, user=user, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, f"{program} ended with {done.returncode}"

    data, log = str(folder / "data"), str(folder / "log.txt")
    try:
        if user is not None:
            shutil.chown(folder, user)
        run("initdb", "--pgdata", data, "--username", _ROLE, "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "--pgdata", data, "--log", log, "--wait", "--options", options, "start")
        try:
            yield f"postgresql+psycopg2://{_ROLE}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "--pgdata", data, "--mode", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
