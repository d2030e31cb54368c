"""A training learns that it should stop: by signal, and by the death of who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time, pathlib
from sweeplora.training.stop import Stop
stop = Stop(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None)
print("ready", flush=True)
while not stop.requested:
    time.sleep(0.02)
print("requested", flush=True)
"""

HOLDER = """
import sys, time, pathlib
from sweeplora.rundir.lock import hold
held = hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_sigterm_asks_to_stop() -> None:
    child = start(SCRIPT)
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=300)
    assert out == b"requested\n" and child.returncode == 0


def test_a_killed_supervisor_asks_its_training_to_stop(tmp_path: Path) -> None:
    lock = tmp_path / "supervisor.lock"
    supervisor = start(HOLDER, str(lock))
    child = start(SCRIPT, str(lock))
    try:
        assert child.poll() is None
        supervisor.kill()
        supervisor.wait()
        out, _ = child.communicate(timeout=300)
        assert out == b"requested\n"
    finally:
        supervisor.kill()
        child.kill()
