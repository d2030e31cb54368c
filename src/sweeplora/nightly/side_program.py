"""The program of one side of a comparison: trains on request with the package that it finds; JSON lines in and out.

It is given as text to the interpreter of another checkout, whose package may be older, and uses of it only `compose`,
`RunDir`, `Worker`, and for several processes `command` and `Slot`. The first line out says whether these are there.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_SAMPLE_SECONDS = 0.02


def main(order: Mapping[str, Any]) -> None:
    """Answer every line of standard input; all other output goes to the order's log.

    `order`: the folders `compose` (with conf/ and sweeps/ to compose from) and `here` (where the training runs), `log`,
    and `slot`: the arguments of a `Slot`.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.path.insert(0, order["here"])  # a user's own classes, as the command line finds them
    try:
        train = several(order["slot"]) if order["slot"]["processes"] > 1 else one()
    except Exception as error:  # whatever a broken commit raises when it is imported
        answers.write(json.dumps({"status": "broken", "message": in_one_line(error)}) + "\n")
        return
    answers.write(json.dumps({"status": "ready"}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(order, json.loads(line), train)) + "\n")


def answer(order: Mapping[str, Any], request: Mapping[str, Any], train: Callable[[Path], int | None]) -> dict[str, Any]:
    """Train the run folder `request["run"]` as `request["words"]` compose here; says how it ended and what it took."""
    from sweeplora.config.compose import compose
    from sweeplora.errors import UserError
    from sweeplora.rundir.folder import RunDir

    os.chdir(order["compose"])
    try:
        text = compose(request["words"]).yaml
    except UserError as error:
        return {"status": "refused", "message": str(error)}
    except Exception as error:
        return {"status": "broken", "message": in_one_line(error)}
    finally:
        os.chdir(order["here"])
    run = RunDir.create(Path(request["run"]), text)
    try:
        with core_waits() as waits:
            peak = train(run.path)
        result = json.loads(run.result.read_text())
    except Exception as error:
        return {"status": "broken", "message": in_one_line(error)}
    waits = waits if request["watch"] else []
    return {"status": result["status"], "message": result["message"], "waits": waits, "peak_bytes": peak}


def one() -> Callable[[Path], int | None]:
    """Trains in this process, which keeps the base; returns the training's peak memory in bytes."""
    from sweeplora.rundir.folder import RunDir
    from sweeplora.training.worker import Worker

    worker = Worker()

    def train(run: Path) -> int:
        forget_peak()
        worker.train(RunDir(run))
        return peak_bytes()

    return train


def several(slot: Mapping[str, Any]) -> Callable[[Path], int | None]:
    """Trains in several processes, started anew every time; the peak is that of the largest on a CPU, else unknown."""
    from sweeplora.launch.command import command
    from sweeplora.launch.launcher import TRAINING
    from sweeplora.launch.slot import Slot

    def train(run: Path) -> int | None:
        subprocess.run(command(run, Slot(**slot), TRAINING), stdin=subprocess.DEVNULL, check=False)
        on_gpu = slot["device"] == "cuda"
        return None if on_gpu else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10

    return train


def forget_peak() -> None:
    """Count the peak anew, as a worker begins: what the training before left in cycles is gone, the rest is frozen."""
    gc.collect()
    gc.freeze()
    if os.environ.get("SWEEPLORA_DEVICE") == "cuda":
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """This process's peak memory in bytes since it was last forgotten: allocated on its GPU, or resident."""
    if os.environ.get("SWEEPLORA_DEVICE") == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) << 10


@contextmanager
def core_waits() -> Iterator[list[tuple[float, float]]]:
    """(time, seconds the main thread has been ready to run while no core was free so far), many times a second.

    `time` is that of the metrics: seconds since the epoch. Empty where Linux does not tell.
    """
    samples: list[tuple[float, float]] = []
    ended = threading.Event()

    def watch() -> None:
        while (waited := seconds_ready()) is not None:
            samples.append((time.time(), waited))
            if ended.wait(_SAMPLE_SECONDS):
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield samples
    finally:
        ended.set()
        watching.join()


def seconds_ready() -> float | None:
    """How long the main thread has been ready to run while no core was free; None where Linux does not tell."""
    try:
        return int(Path(f"/proc/self/task/{os.getpid()}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return None


def in_one_line(error: BaseException) -> str:
    """An exception's class and message."""
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
