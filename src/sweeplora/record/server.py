"""An MLflow server on this machine that ends with the process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points

from sweeplora.errors import UserError
from sweeplora.record.page import NAME
from sweeplora.record.provenance.secret import without_credentials

HOST = "127.0.0.1"
_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
# One worker and no job runner: a single user browses one database, and it starts in half the time.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


class Server:
    """`mlflow server` for a store (an SQLAlchemy URL), listening on a local port only."""

    def __init__(self, store: str, port: int, options: Sequence[str]) -> None:
        self.address = f"http://{HOST}:{port}"
        self._port = port
        self._argv = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
        if entry_points(group="mlflow.app", name=NAME):  # an editable install of an earlier commit has none
            self._argv += ["--app-name", NAME]
        self._argv += options
        # Not on the command line, which every user of the machine can read: the URL may contain a password.
        self._environment = {**os.environ, **_QUIET, "MLFLOW_BACKEND_STORE_URI": store}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the server runs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until its page responds. Raises UserError if the port is taken or the server exits."""
        _expect_free(self._port)
        parent = os.getpid()
        self._process = subprocess.Popen(
            self._argv,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=lambda: _end_with(parent),  # noqa: PLW1509  # two system calls, no lock
        )
        deadline = time.monotonic() + _START_SECONDS
        while not answers(f"{self.address}/health"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise UserError("--port", self._port, f"MLflow's server has not started: {self._last_line()}")
            time.sleep(0.1)

    def _last_line(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return without_credentials(next((line for line in reversed(lines) if line.strip()), "it says nothing"))

    def wait(self) -> int:
        """Wait until it exits; returns its exit code."""
        assert self._process is not None, "start() comes first"
        return self._process.wait()

    def stop(self) -> None:
        """Stop it and every process it started."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def answers(address: str) -> bool:
    """Whether a page responds."""
    try:
        urllib.request.urlopen(address, timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code < 500  # a page that asks for a password counts
    except (OSError, ValueError):
        return False
    return True


def _expect_free(port: int) -> None:
    """Raise UserError if another program listens on the port, or the user may not use it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise UserError("--port", port, "is one of the system's; give another, e.g. --port 5001") from error
        except OSError as error:
            raise UserError("--port", port, "another program listens there; give another, e.g. --port 5001") from error


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies for any reason (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
