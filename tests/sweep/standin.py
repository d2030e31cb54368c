"""A training that trains nothing: it reads config.yaml, writes what a training writes, and honours SIGTERM.

The environment variable STANDIN (JSON) says how it behaves: `steps`, `seconds` a step, and lists of ranks that
`fail` once, are `killed` once, `fail_always`, `crash` (SIGSEGV), `diverge`, `diverge_later` (once they go on from a
state), are `refused` or `stubborn` (deaf to SIGTERM). `oom` has the pieces of a batch that each rank needs: with fewer
it runs out of memory. With `state` it writes a state when it is stopped, goes on from it, and scores validation
triples. In a process that trains several, ranks `alone` are left to a new process, and after ranks `leave` it is not
sound. With `draws` it leaves a preview of one colour. `grace` is the command's own patience with what does not stop.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from PIL import Image

from sweeplora.content import sha256
from sweeplora.rundir.files import write_json, write_whole
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import is_held
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Result, read_trial, write_result
from sweeplora.rundir.scores import ScoresWriter
from sweeplora.rundir.state import ABOUT, About, end_state, read_about, read_origin

FINISHED, FAILED, REFUSED, DIVERGED, INTERRUPTED = 0, 1, 2, 3, 4


TRIPLES = ("a", "b", "c", "d", "e")

_asked: list[int] = []


class Worker:
    """Pretends to train one run folder after another."""

    def __init__(self) -> None:
        self._left = False

    def fits(self, run: RunDir) -> bool:
        """Whether the rank is none of those that want a process of their own."""
        return _rank(run) not in _behaviour().get("alone", [])

    def train(self, run: RunDir) -> int:
        """One run folder."""
        self._left = _rank(run) in _behaviour().get("leave", [])
        return main([str(run.path)])

    def is_sound(self) -> bool:
        """Whether the last rank was none after which it is not."""
        return not self._left


def _rank(run: RunDir) -> int:
    return int(_config(run)["network"]["dim"])


def _config(run: RunDir) -> dict[str, Any]:
    return dict(yaml.load(run.config.read_text(), Loader=yaml.CSafeLoader))


def _behaviour() -> dict[str, Any]:
    return dict(json.loads(os.environ.get("STANDIN", "{}")))


class Stopped(Exception):
    """SIGTERM came, or the supervisor is gone."""


def loss_of(config: dict[str, Any], step: int, steps: int) -> float:
    """A loss that falls over the steps to a value that depends on rank, alpha and rate, and a little on the seed."""
    network, lr = config["network"], config["optimizer"]["lr"]
    floor = 1 + abs(math.log2(network["dim"]) - 3) + network["alpha"] / 100 + abs(math.log10(lr) + 3) / 10
    luck = math.sin(config.get("seed", 0) * (1 + network["dim"])) / 1000
    return float(floor + luck + (1 - step / steps))


def main(argv: Sequence[str]) -> int:
    """Pretend to train the run folder `argv[0]`."""
    _asked.clear()
    run = RunDir(Path(argv[0]))
    if os.environ.get("RANK", "0") != "0":
        return _accompany(run)
    config = _config(run)
    behaviour = _behaviour()
    dim = config["network"]["dim"]
    signal.signal(signal.SIGTERM, signal.SIG_IGN if dim in behaviour.get("stubborn", []) else _stop)
    started = time.monotonic()
    steps = behaviour.get("steps", 5)
    result: dict[str, Any] = {"status": "finished", "message": "", "steps": steps, "weights": None}
    result["world_size"] = int(os.environ.get("WORLD_SIZE", "1"))
    try:
        code = _train(run, config, behaviour, result)
    except Stopped:
        code, result["status"] = INTERRUPTED, "interrupted"
    result["seconds"] = time.monotonic() - started
    write_result(run, Result(**result))
    end_state(run, result["status"])  # as sweeplora.training.worker does
    return code


def _accompany(run: RunDir) -> int:
    """What the other processes of a trial do: wait for the first one's result."""
    signal.signal(signal.SIGTERM, _stop)
    while not _asked and not run.result.exists() and is_held(run.lock):
        time.sleep(0.05)
    return FINISHED


def _train(run: RunDir, config: dict[str, Any], behaviour: dict[str, Any], result: dict[str, Any]) -> int:
    dim, steps = config["network"]["dim"], result["steps"]
    print(f"rank {dim}, {os.environ['OMP_NUM_THREADS']} threads", flush=True)
    write_json(run.path / "environment.json", dict(os.environ))
    code = _misbehave(run, dim, behaviour, result)
    if code != FINISHED:
        return code
    metrics = MetricsWriter(run.metrics)
    about = read_about(run.state)
    if about is None:
        metrics.write(0, {"val/loss": loss_of(config, 0, steps)})
    scores = ScoresWriter(run.scores, TRIPLES) if behaviour.get("state") else None
    for step in range(1 if about is None else about.step + 1, steps + 1):
        time.sleep(behaviour.get("seconds", 0.0))
        if _asked or not is_held(run.lock):
            if behaviour.get("state"):
                _write_state(run, step - 1, steps)
            raise Stopped
        loss = loss_of(config, step, steps)
        if scores is not None:
            scores.write(step, [loss * (1 + place / 10) for place in range(-2, 3)])
        metrics.write(step, {"loss": loss + 0.1, "val/loss": loss, "val/best": loss, "images_per_second": 9.0})
        if dim in behaviour.get("diverge", []) or (about is not None and dim in behaviour.get("diverge_later", [])):
            result |= {"status": "diverged", "message": "loss is nan at step 1: a.png"}
            return DIVERGED
    if behaviour.get("draws"):
        run.samples.mkdir(exist_ok=True)
        Image.new("RGB", (16, 16), (8 * dim % 256, 90, 90)).save(run.samples / f"{steps:08d}_00.png")
    run.weights.mkdir(exist_ok=True)
    write_whole(run.weights / "standin.safetensors", b"weights" * behaviour.get("times", 1))
    result["weights"] = "weights/standin.safetensors"
    result["weights_sha256"] = sha256(run.weights / "standin.safetensors")
    result["metrics"] = {"val/loss": loss_of(config, steps, steps)}
    return FINISHED


def _write_state(run: RunDir, step: int, steps: int) -> None:
    """A file that says of itself what a state says."""
    about = asdict(About(read_origin(run), step, steps))
    header = json.dumps({"__metadata__": {ABOUT: json.dumps(about)}}).encode()
    run.checkpoints.mkdir(exist_ok=True)
    write_whole(run.state, len(header).to_bytes(8, "little") + header)


def _misbehave(run: RunDir, dim: int, behaviour: dict[str, Any], result: dict[str, Any]) -> int:
    first_time = not (run.path / "tried").exists()
    (run.path / "tried").touch()
    if dim in behaviour.get("crash", []):
        os.kill(os.getpid(), signal.SIGSEGV)
    if first_time and dim in behaviour.get("killed", []):
        os.kill(os.getpid(), signal.SIGKILL)
    if dim in behaviour.get("fail_always", []) or (first_time and dim in behaviour.get("fail", [])):
        result |= {"status": "failed", "message": f"rank {dim} does not work"}
        return FAILED
    record = read_trial(run)
    if record is not None and record.pieces < behaviour.get("oom", {}).get(str(dim), 1):
        result |= {"status": "failed", "message": "CUDA out of memory. Tried to allocate 3.00 GiB"}
        return FAILED
    if dim in behaviour.get("refused", []):
        result |= {"status": "refused", "message": f"network.dim={dim}: give another"}
        return REFUSED
    return FINISHED


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
