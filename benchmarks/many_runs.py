"""How long `list`, `which` and a `sync` with nothing to do take in a store of 5,000 runs.

    python benchmarks/many_runs.py [--runs 5000] [--keep FOLDER]

Makes the folders that finished studies of 100 trials leave, without training, and runs each command three times.
Prints the least wall time and the least CPU time: on a busy machine only the latter means something.

2026-11-26, a core kept free: `list` 0.63 s, `which` 0.17 s by content and 0.65 s for a file from elsewhere, `sync`
3.79 s.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import yaml

from sweeplora.record.mirror import Glance, Mirror
from sweeplora.record.store.database import have_database
from sweeplora.record.store.seen_run import SeenRun
from sweeplora.record.store.sent import Sent
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import (
    Attempt,
    Result,
    StudyRecord,
    TrialRecord,
    write_result,
    write_study,
    write_trial,
)
from sweeplora.tensors.safetensors_header import with_metadata

_TRIALS = 100
_REPEATS = 3


class Marks(Glance):
    """Takes down what each folder's mark is when everything was sent."""

    def of(self, folder: Path) -> SeenRun:
        """A run that is complete whatever its mark."""
        return _Marked(folder, self._address, self._there)


class _Marked(SeenRun):
    def is_complete(self, fingerprint: str) -> bool:
        run_id = hashlib.sha256(str(self.path).encode()).hexdigest()[:32]
        Sent(self._address, run_id=run_id, complete=fingerprint, status="FINISHED").save(self.path)
        return True


def make_store(runs: Path, count: int) -> None:
    """Write `count` finished trials below `runs`, all of them recorded."""
    tracking = Tracking(True, f"sqlite:///{runs}/mlflow.db", str(runs / "artifacts"), "sweeplora", True, 64.0)
    have_database(runs / "mlflow.db", runs / "artifacts")
    for start in range(0, count, _TRIALS):
        study = runs / f"study{start // _TRIALS:03}"
        study.mkdir(parents=True)
        node = {"_target_": "sweeplora.record.tracking.Tracking", **vars(tracking)}
        (study / "config.yaml").write_text(yaml.safe_dump({"runs": str(runs), "tracking": node}))
        for number in range(min(_TRIALS, count - start)):
            _make_trial(study, number)
        write_study(study, StudyRecord(study.name, "val/loss", 1.7e9, "finished", ended=1.7e9 + 100, trials=_TRIALS))
        mirror = Mirror(study, tracking)
        mirror._send(Marks(tracking.address, ()), abandoned=True)
    _insert(runs)


def _make_trial(study: Path, number: int) -> None:
    signature = hashlib.sha256(f"{study.name} {number}".encode()).hexdigest()[:12]
    run = RunDir.create(study / f"{number:03}-{signature}", "seed: 0\n" * 150)
    for epoch in (1, 2):
        name = f"toy-{epoch:06}.safetensors" if epoch == 1 else "toy.safetensors"
        tensors = f"{signature} {epoch}".encode() * 200
        header = {"w": {"dtype": "U8", "shape": [len(tensors)], "data_offsets": [0, len(tensors)]}}
        metadata = {"sweeplora.signature": signature, "ss_steps": str(10 * epoch), "ss_epoch": str(epoch)}
        run.weights.mkdir(exist_ok=True)
        (run.weights / name).write_bytes(with_metadata(header, metadata) + tensors)
    run.samples.mkdir()
    for step in (10, 20):
        (run.samples / f"{step:08}_00.png").write_bytes(b"a picture")
    writer = MetricsWriter(run.metrics)
    for step in range(21):
        writer.write(step, {"loss": 1.0, "val/loss": 0.1 + number / 1000})
    writer.close()
    run.log.write_text("trained\n")
    write_result(run, Result("finished", step=20, weights="weights/toy.safetensors", weights_sha256="0" * 64))
    params = {"network.dim": 2 ** (number % 5), "optimizer.lr": 1e-3 * (number + 1)}
    record = TrialRecord("complete", study.name, number, signature, params=params, value=0.1 + number / 1000)
    record.attempts.append(Attempt(1.7e9 + number, ended=1.7e9 + number + 9, exit_code=0, verdict="complete"))
    write_trial(run, record)


def _insert(runs: Path) -> None:
    """Give the database a row for every run that was marked."""
    artifacts = (runs / "artifacts").resolve().as_uri()
    with closing(sqlite3.connect(runs / "mlflow.db")) as connection:
        columns = "experiment_id, name, lifecycle_stage, artifact_location"
        row = f"insert or replace into experiments({columns}) values (?, ?, ?, ?)"
        connection.execute(row, (7, "sweeplora", "active", artifacts))
        for memory in runs.glob("study*/**/mirror.json"):
            run_id = json.loads(memory.read_text())["run_id"]
            columns = "run_uuid, experiment_id, lifecycle_stage, artifact_uri"
            insert = f"insert or replace into runs({columns}) values (?, 7, 'active', ?)"
            connection.execute(insert, (run_id, f"{artifacts}/{run_id}/artifacts"))
        connection.commit()


def measure(words: list[str], runs: Path) -> tuple[float, float]:
    """Least wall and least CPU seconds of a command."""
    walls, processors = [], []
    for _ in range(_REPEATS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        command = [sys.executable, "-m", "sweeplora", *words, f"runs={runs}"]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
        walls.append(time.monotonic() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(processors)


def main() -> None:
    """Make the store, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000, help="how many runs the store has")
    parser.add_argument("--keep", type=Path, help="make the store here and leave it, or use the one that is here")
    asked = parser.parse_args()
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="sweeplora-"))
    runs = folder / "runs"
    try:
        if not runs.exists():
            make_store(runs, asked.runs)
        known = sorted(runs.glob("*/050-*/weights/toy-000001.safetensors"))[-1]
        copy = folder / "renamed.safetensors"
        shutil.copy(known, copy)
        stripped = folder / "stripped.safetensors"
        stripped.write_bytes(with_metadata({}, {}) + known.read_bytes())
        for name, words in {
            "list": ["list"],
            "which, by signature and content": ["which", str(copy)],
            "which, of a file from elsewhere": ["which", str(stripped)],
            "sync, nothing to do": ["sync"],
        }.items():
            wall, processor = measure(words, runs)
            print(f"{name:35} {wall:6.2f} s wall {processor:6.2f} s CPU")
    finally:
        if asked.keep is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
