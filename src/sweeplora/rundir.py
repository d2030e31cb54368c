"""The run folder: the only thing a supervisor and a training share; its paths, atomic writes and signature."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

UNSIGNED = ("name", "runs", "reuse", "launcher", "tracking", "search", "pruner", "sweep")
"""Top-level keys that say where and how a run happens, not what it is: left out of the signature."""

_UNSIGNED_BELOW = ("data.workers", "train.lowram")
"""Keys inside the others that change a run's speed or memory and nothing that it makes."""


_LOCK_TRIES = 5


class Point(NamedTuple):
    """One logged number: at `step` optimizer steps, `key` had `value`; `time` in seconds since the epoch."""

    step: int
    key: str
    value: float
    time: float


@dataclass(frozen=True)
class RunDir:
    """Paths and files of one run.

    Written by rank 0 of the training: `metrics.jsonl`, `samples/`, `weights/`, `checkpoints/`, `log.txt`,
    `result.json`. Written by the supervisor: `config.yaml` (once), `trial.json`.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config_yaml: str) -> RunDir:
        """Make the folder and put the resolved config into it; from here on the run is this folder."""
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        write_whole(run.config, config_yaml)
        return run

    @property
    def config(self) -> Path:
        """The whole resolved configuration, the training's only input."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """Append-only JSON lines `{"step", "time", "values": {key: number}}`."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """`<step, 8 digits>_<prompt index, 2 digits>.png`, the prompt in the PNG's text chunk `prompt`."""
        return self.path / "samples"

    @property
    def weights(self) -> Path:
        """`<name>-<epoch, 6 digits>.safetensors` for every saved epoch, `<name>.safetensors` for the last."""
        return self.path / "weights"

    @property
    def checkpoints(self) -> Path:
        """Training state to go on from."""
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        """Everything the training printed, standard error included."""
        return self.path / "log.txt"

    @property
    def result(self) -> Path:
        """How the training ended, in its own words: `{"status", "message", "step", "seconds", ...}`."""
        return self.path / "result.json"

    @property
    def trial(self) -> Path:
        """What the supervisor knows: study, number, signature, overrides, attempts, verdict, value."""
        return self.path / "trial.json"

    @property
    def lock(self) -> Path:
        """Held (flock, exclusive) by the supervisor while it lives; see `hold` and `is_supervised`."""
        return self.path / "supervisor.lock"


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part: temporary, fsync, rename."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object whole."""
    write_whole(path, json.dumps(content, indent=2, sort_keys=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is none yet."""
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


class MetricsWriter:
    """Appends numbers to `metrics.jsonl`, one line a call, each line written in one piece."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("ab", buffering=0)
        if _torn(path):
            self._stream.write(b"\n")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Record `values` at `step`; the last value written for a (key, step) is the true one."""
        line = {"step": step, "time": round(time.time(), 3), "values": dict(values)}
        self._stream.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file; what was written is already there."""
        self._stream.close()


def _torn(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() == 0:
            return False
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


class MetricsTail:
    """Follows a growing `metrics.jsonl`; a torn last line waits until it is whole, a broken one is dropped."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset

    def poll(self) -> list[Point]:
        """The points appended since the last call, in file order."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        self.offset += whole
        return [point for line in data[:whole].splitlines() for point in _points(line)]


def _points(line: bytes) -> Iterator[Point]:
    try:
        entry = json.loads(line)
        step, when, values = entry["step"], entry["time"], entry["values"]
    except (ValueError, KeyError, TypeError):
        return
    for key, value in values.items():
        yield Point(step, key, value, when)


def read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """All series of a run: key -> {step: value}, steps ascending, the last value per (key, step)."""
    series: dict[str, dict[int, float]] = {}
    for point in MetricsTail(path).poll():
        series.setdefault(point.key, {})[point.step] = point.value
    return {key: dict(sorted(steps.items())) for key, steps in series.items()}


def hold(lock: Path) -> BinaryIO:
    """Take a lock file for this process's life; raises BlockingIOError when another process holds it."""
    stream = lock.open("ab")
    for patience in range(_LOCK_TRIES, -1, -1):
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return stream
        except BlockingIOError:
            if not patience:
                stream.close()
                raise
            time.sleep(0.02)
    raise AssertionError("the last try returns or raises")


def is_held(lock: Path) -> bool:
    """Whether a living process holds the lock; the kernel lets go when that process dies, however it dies.

    Asks with a shared lock of an instant, which a `hold` at the same moment waits out.
    """
    with lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def signature(config: Mapping[str, Any], contents: Mapping[str, str], code: Mapping[str, str]) -> str:
    """Twelve hex digits that name an experiment: same signature, same result.

    `config` is the resolved config; keys in UNSIGNED do not count. `contents` maps a dotted key that holds a
    path to the content hash that stands in for it; `code` holds the training source's hash and the versions
    of the libraries that compute.
    """
    signed = {key: value for key, value in config.items() if key not in UNSIGNED}
    signed = json.loads(json.dumps(signed))
    for dotted in _UNSIGNED_BELOW:
        group, _, key = dotted.partition(".")
        if isinstance(signed.get(group), dict):
            signed[group].pop(key, None)
    for dotted, digest in contents.items():
        _put(signed, dotted, f"sha256:{digest}")
    text = json.dumps([signed, dict(code)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_unsigned(key: str) -> bool:
    """Whether a dotted key is left out of the signature."""
    return key.partition(".")[0] in UNSIGNED or key in _UNSIGNED_BELOW


def _put(tree: dict[str, Any], dotted: str, value: str) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        tree = tree[parent]
    tree[last] = value
