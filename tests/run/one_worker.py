"""Trainings in a slot of one's choice, and what each of them made."""

from __future__ import annotations

import json
from typing import Any

from sweeplora.rundir.folder import RunDir
from tests.run.trainings import ROOT, Trainings

ALGORITHMS = sorted(path.stem for path in (ROOT / "conf" / "network").glob("*.yaml"))
SCORED_LITTLE = ("train.validation_timesteps=1", "train.probe_images=0", "train.validation_images=1")
SHORT = ("train.epochs=null", "train.steps=2", "sample=none", *SCORED_LITTLE)
DRAWN = ("train.epochs=null", "train.steps=2", "sample.prompts=[a red shape]", "sample.steps=2", *SCORED_LITTLE)


def trained(trainings: Trainings, slot: int, name: str, *overrides: str) -> tuple[RunDir, int]:
    """Train in a slot; returns the folder and the process."""
    run = trainings.folder(name, *overrides)
    started = trainings.start(run, slot)
    trainings.wait(started, run)
    assert started.pid is not None
    return run, started.pid


def content(run: RunDir) -> dict[str, Any]:
    """What a training made, without what depends on the machine's load."""
    result = json.loads(run.result.read_text())
    entries = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    for entry in entries:
        del entry["time"], entry["crc32"]  # the line's sum depends on its time
        for key in ("images_per_second", "memory_mib"):
            entry["values"].pop(key, None)
    files = {file.name: file.read_bytes() for folder in (run.weights, run.samples) for file in folder.glob("*")}
    return {"status": result["status"], "metrics": entries} | files
