"""What the state of a training costs: bytes, seconds a write, share of the time; and how long SIGTERM takes to end it.

    python benchmarks/checkpoint.py [--stops 12] [--seed 0] [--set model=sdxl model.path=FOLDER ...]

Trains once in this process, writing the state after each of a dozen steps, then starts the command `--stops` times and
sends its training SIGTERM at a random moment, in turn in a training window, in a validation and in a preview. Prints
one JSON object. `share`: seconds a write by those between two writes at the default interval. `sigterm_to_end`: seconds
from the signal to the end of the process, which has written its state, by what it was doing; processor seconds beside
them, which are those of a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.config.compose import compose
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail
from sweeplora.rundir.state import read_about
from sweeplora.tensors.safetensors_header import read_safetensors
from sweeplora.tensors.tree import write_tree

STEPS = 12
PHASES = ("validation", "preview", "window")
"""In the order in which they come after a step."""
EVERY = 4
"""Steps between two validations, and two previews."""
INTERVAL_SECONDS = 300.0
COMMON = ["tracking=none", "train.epochs=null", "launcher.device=cpu", "launcher.threads=1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    parser.add_argument("--stops", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        words = [*COMMON, f"runs={folder}", *asked.set]
        told = write_costs(words, Path(folder))
        stops = [stopped(words, Path(folder), number, draw) for number in range(asked.stops)]
    if stops:
        told["sigterm_to_end"] = {
            "largest": max(stop.wall for stop in stops),
            "median": statistics.median(stop.wall for stop in stops),
            "largest_processor": max(stop.processor for stop in stops),
            **{phase: [stop.wall for stop in stops if stop.phase == phase] for phase in PHASES},
        }
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


class Stopped(NamedTuple):
    """What a training was doing when it was asked to stop, and how many seconds it still lived: clock and processor."""

    phase: str
    wall: float
    processor: float


def stopped(words: list[str], folder: Path, number: int, draw: random.Random) -> Stopped:
    """Start a training and send it SIGTERM in its second round of windows, validation and preview."""
    moment = [f"sample.every_steps={EVERY}", f"train.validate_every_steps={EVERY}", "sample.every_epochs=0"]
    command = [sys.executable, "-m", "sweeplora", *words, "train.steps=2000", *moment, f"name=stopped{number}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run, phase = RunDir(folder / "single" / f"stopped{number}"), PHASES[number % len(PHASES)]
    try:
        begins = {name: begin(run, name, EVERY) for name in PHASES}
        ends = [*(begins[name] for name in PHASES[1:]), begin(run, PHASES[0], 2 * EVERY)]
        lasted = dict(zip(PHASES, ends, strict=True))[phase] - begins[phase]
        begin(run, phase, 2 * EVERY)
        time.sleep(draw.uniform(0.0, lasted))
        pid = (read_json(run.trial) or {})["attempts"][-1]["pid"]
        asked, before = time.monotonic(), processor_seconds(pid)
        os.kill(pid, signal.SIGTERM)
        spent = before
        while (now := processor_seconds(pid)) is not None:
            spent = now
            time.sleep(0.005)
        seconds = time.monotonic() - asked
        process.send_signal(signal.SIGKILL)  # or it would begin another attempt
        about = read_about(run.state)
        assert about is not None and about.step >= 2 * EVERY
    finally:
        process.kill()
        process.wait()
    return Stopped(phase, round(seconds, 3), round((spent or 0.0) - (before or 0.0), 3))


def begin(run: RunDir, phase: str, step: int) -> float:
    """Wait until what follows a step begins; returns when that was, in seconds since the epoch."""
    while True:
        times = {point.key: point.time for point in MetricsTail(run.metrics).poll() if point.step == step}
        drawn = [file.stat().st_mtime for file in run.samples.glob(f"{step:08d}_*.png")]
        found = {"validation": times.get("loss"), "preview": times.get("val/loss"), "window": min(drawn, default=None)}
        if (when := found[phase]) is not None:
            return when
        time.sleep(0.005)


def processor_seconds(pid: int) -> float | None:
    """What a process has taken of the processors so far, None once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
