"""Study folders as the supervisor and the trainings write them, without either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, PngImagePlugin

from sweeplora.record.tracking import Tracking
from sweeplora.rundir.files import write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.scores import ScoresWriter

STARTED = 1_700_000_000.0


def tracking_of(runs: Path, uri: str | None = None) -> Tracking:
    """The record of `runs` in its own database, or on a server."""
    return Tracking(True, uri or f"sqlite:///{runs}/mlflow.db", str(runs / "artifacts"), "sweeplora", True, 8.0)


class StudyFolder:
    """A study with trials that write what they are told to."""

    def __init__(self, runs: Path, name: str = "rank", uri: str | None = None) -> None:
        self.runs = runs
        self.tracking = tracking_of(runs, uri)
        self.path = runs / name
        self.path.mkdir(parents=True)
        node = {"_target_": "sweeplora.record.tracking.Tracking", **vars(self.tracking)}
        (self.path / "config.yaml").write_text(yaml.safe_dump({"tracking": node}))
        self.write("running")

    def write(self, state: str, **more: Any) -> None:
        """Write study.json."""
        study = {
            "study": self.path.name,
            "objective": "val/loss",
            "direction": "minimize",
            "search": "grid",
            "space": {"network.dim": "choice(2, 4)"},
            "trials": 2,
            "overrides": ["+sweep=rank"],
            "started": STARTED,
            "ended": None if state == "running" else STARTED + 100,
            "state": state,
            "driver_pid": 1,
            "command": ["sweeplora", "+sweep=rank"],
        }
        write_json(self.path / "study.json", {**study, **more})

    def trial(self, number: int, dim: int) -> TrialFolder:
        """Begin a trial."""
        return TrialFolder(self, number, dim)


class TrialFolder:
    """One trial's folder."""

    def __init__(self, study: StudyFolder, number: int, dim: int) -> None:
        self.study = study
        self.number = number
        self.dim = dim
        config = {
            "name": "toy",
            "seed": 0,
            "network": {"_target_": "sweeplora.networks.algorithms.LoCon", "dim": dim, "conv_dim": None},
            "data": {"dir": "pictures", "bucket": True},
            "optimizer": {"lr": 0.001, "betas": [0.9, 0.99]},
            "tracking": {"_target_": "sweeplora.record.tracking.Tracking", **vars(study.tracking)},
        }
        folder = study.path / f"{number:03d}-{dim:012x}"
        self.run = RunDir.create(folder, yaml.safe_dump(config))
        for part in (self.run.samples, self.run.weights):
            part.mkdir(exist_ok=True)
        self.verdict("running")

    def verdict(self, verdict: str, value: float | None = None) -> None:
        """Write trial.json."""
        began = STARTED + 10 * self.number
        ended = None if verdict == "running" else began + 9
        attempt = {"started": began, "ended": ended, "slot": 0, "pid": 1, "exit_code": 0, "verdict": verdict}
        trial = {
            "study": self.study.path.name,
            "number": self.number,
            "signature": f"{self.dim:012x}",
            "overrides": [f"network.dim={self.dim}"],
            "params": {"network.dim": self.dim},
            "attempts": [attempt],
            "verdict": verdict,
            "value": value,
            "steps": 20,
        }
        write_json(self.run.trial, trial)

    def steps(self, first: int, last: int, later: float = 0.0, **fixed: float) -> None:
        """Append the steps' metrics, `later` seconds after their usual time."""
        with self.run.metrics.open("a") as stream:
            for step in range(first, last + 1):
                values = {"loss": self.dim + 1 / (step + 1), **fixed}
                when = STARTED + 10 * self.number + step / 100 + later
                stream.write(json.dumps({"step": step, "time": when, "values": values}) + "\n")

    def sample(self, step: int, prompt: str = "a red apple, fruit") -> Path:
        """Write one preview picture."""
        path = self.run.samples / f"{step:08d}_00.png"
        text = PngImagePlugin.PngInfo()
        text.add_text("prompt", prompt)
        Image.new("RGB", (32, 48), (step % 256, 0, 0)).save(path, pnginfo=text)
        return path

    def complete(self, value: float) -> None:
        """Leave all that a finished training leaves, and the supervisor's verdict."""
        (self.run.weights / "toy-000001.safetensors").write_bytes(b"weights" * 100)
        self.run.log.write_text("training\n")
        ScoresWriter(self.run.scores, ["aa:8x8:0:17:0:epsilon"]).write(20, [value])
        write_json(self.run.path / "dataset.json", {"pictures": []})
        write_json(self.run.result, {"status": "finished", "step": 20})
        self.verdict("complete", value)
