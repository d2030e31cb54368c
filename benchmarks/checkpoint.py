"""What the state of a training costs: bytes, seconds a write, share of the time; and how long SIGTERM takes to end it.

    python benchmarks/checkpoint.py [--stops 5] [--set model=sdxl model.path=FOLDER ...]

Trains once in this process, writing the state after each of a dozen steps, then starts the command `--stops` times and
sends its training SIGTERM at different moments after the first step. Prints one JSON object. `share`: seconds a write
by those between two writes at the default interval.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeplora.config.compose import compose
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.state import read_about
from sweeplora.tensors.safetensors_header import read_safetensors
from sweeplora.tensors.tree import write_tree

STEPS = 12
INTERVAL_SECONDS = 300.0
COMMON = ["tracking=none", "train.epochs=null", "launcher.device=cpu", "launcher.threads=1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    parser.add_argument("--stops", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMON, f"runs={folder}", *asked.set]
        told = write_costs(words, Path(folder))
        stops = [seconds_to_stop(words, Path(folder), number) for number in range(asked.stops)]
    for name, seconds in zip(("wall", "processor"), zip(*stops, strict=True), strict=True) if stops else ():
        told[f"sigterm_to_end_{name}_seconds"] = {"median": statistics.median(seconds), "largest": max(seconds)}
    print(json.dumps(told, indent=2))


def write_costs(words: list[str], folder: Path) -> dict[str, Any]:
    """Seconds (wall and processor) of a write, and bytes of the state against the network's in float32."""
    from sweeplora.training import checkpoints
    from sweeplora.training.worker import main as train

    costs: list[tuple[float, float]] = []

    def timed(path: Path, tree: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        write_tree(path, tree, about)
        costs.append((time.perf_counter() - wall, time.process_time() - processor))

    checkpoints.write_tree = timed  # type: ignore[attr-defined]
    length = [f"train.steps={STEPS}", "train.checkpoint_every_steps=1", "train.keep_state=true", "sample=none"]
    run = RunDir.create(folder / "written", compose([*words, *length]).yaml)
    train([str(run.path)])
    weights = read_safetensors(next(run.weights.glob("*.safetensors")))
    network = sum(math.prod(stored.shape) for stored in weights.values())
    wall, processor = (statistics.median(column) for column in zip(*costs, strict=True))
    state = run.state.stat().st_size
    return {
        "state_bytes": state,
        "by_network_in_float32": round(state / (4 * network), 3),
        "write_seconds": {"wall": round(wall, 4), "processor": round(processor, 4), "largest": round(max(costs)[0], 4)},
        "share_at_default_interval": round(wall / INTERVAL_SECONDS, 6),
    }


def seconds_to_stop(words: list[str], folder: Path, number: int) -> tuple[float, float]:
    """From SIGTERM to the training to the end of its process, with its state written: wall clock and processor."""
    moment = ["train.steps=2000", "sample.every_steps=4", "sample.every_epochs=0", "train.validate_every_steps=4"]
    command = [sys.executable, "-m", "sweeplora", *words, *moment, f"name=stopped{number}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = RunDir(folder / "single" / f"stopped{number}")
    try:
        while len(read_metrics(run.metrics).get("loss", {})) < 3 + number:
            time.sleep(0.02)
        pid = (read_json(run.trial) or {})["attempts"][-1]["pid"]
        asked, before = time.monotonic(), processor_seconds(pid)
        os.kill(pid, signal.SIGTERM)
        spent = before
        while (now := processor_seconds(pid)) is not None:
            spent = now
            time.sleep(0.005)
        seconds = time.monotonic() - asked
        process.send_signal(signal.SIGKILL)  # or it would begin another attempt
        assert read_about(run.state) is not None
    finally:
        process.kill()
        process.wait()
    return round(seconds, 3), round((spent or 0.0) - (before or 0.0), 3)


def processor_seconds(pid: int) -> float | None:
    """What a process has taken of the processors so far, None once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
