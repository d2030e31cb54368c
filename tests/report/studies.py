"""Studies with previews, written as a driver and its trainings leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Attempt, Result, StudyRecord, TrialRecord, write_result, write_study, write_trial

Colour = tuple[int, int, int]
BASE: Colour = (250, 200, 40)
STARTED = 1_700_000_000.0


def a_study(runs: Path, name: str = "ranks", state: str = "finished", **more: Any) -> Path:
    """A study without trials."""
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    record = StudyRecord(name, "val/loss", STARTED, command=("/x/sweeplora/__main__.py", f"+sweep={name}"))
    for key, value in {"state": state, "trials": 4, "space": {}, **more}.items():
        setattr(record, key, value)
    write_study(folder, record)
    return folder


def a_trial(
    study: Path, number: int, params: Mapping[str, Any], value: float | None, verdict: str = "complete"
) -> RunDir:
    """A trial with its record and the metrics of 20 steps; no previews yet."""
    run = RunDir.create(study / f"{number:03}-{number:012x}", "network: {weights: null}\n")
    record = TrialRecord("running", study.name, number, f"{number:012x}", params=params, value=value, steps=20)
    record.attempts = [Attempt(STARTED, ended=STARTED + 65)]
    record.verdict = verdict  # type: ignore[assignment]
    record.message = "" if value is not None else f"why {number}"
    write_trial(run, record)
    if value is not None:
        run.weights.mkdir()
        (run.weights / "toy.safetensors").write_bytes(b"weights")
        write_result(run, Result("finished", weights="weights/toy.safetensors", metrics={"val/relative": value / 0.5}))
    with run.metrics.open("w") as stream:
        for step in range(21):
            values = {"loss": 1 / (1 + step)}
            if step % 10 == 0:
                values["val/loss"] = 0.5 - step / 20 * (0.5 - (value or 0.4))
            stream.write(json.dumps({"step": step, "time": STARTED + step, "values": values}) + "\n")
    return run


def a_preview(run: RunDir, step: int, colour: Colour, prompt: int = 0, text: str = "a red apple") -> Path:
    """A preview of one colour."""
    run.samples.mkdir(exist_ok=True)
    path = run.samples / f"{step:08d}_{prompt:02d}.png"
    about = PngImagePlugin.PngInfo()
    about.add_itxt("prompt", text)
    Image.new("RGB", (32, 32), colour).save(path, pnginfo=about)
    return path
