"""The run folder, all that a supervisor and a training share: its paths and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sweeplora.rundir.files import write_whole

SINGLE = "single"
"""The folder below `runs` that holds the single runs, those without a sweep."""

MIRROR = "mirror.json"
"""What was already sent of a run's or a study's folder to the tracking server; written by the mirror."""

REPORT = "report.html"
"""A study's page for people, in its folder."""

LOG = "log.txt"


@dataclass(frozen=True)
class RunDir:
    """Paths and files of one run.

    Written by rank 0 of the training: `metrics.jsonl`, `scores.jsonl`, `system.jsonl`, `samples/`, `weights/`,
    `checkpoints/`, `log.txt`, `result.json`. Written by the supervisor: `config.yaml` and `naming.json` (once),
    `trial.json`.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config_yaml: str) -> RunDir:
        """Create the folder and write the resolved config to it; from now on the run is this folder."""
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        write_whole(run.config, config_yaml)
        return run

    @property
    def config(self) -> Path:
        """The full resolved configuration, the training's only input."""
        return self.path / "config.yaml"

    @property
    def naming(self) -> Path:
        """The names of the weights: signature and searched values; see `rundir.naming`."""
        return self.path / "naming.json"

    @property
    def metrics(self) -> Path:
        """Append-only JSON lines `{"step", "time", "values": {key: number}}`."""
        return self.path / "metrics.jsonl"

    @property
    def scores(self) -> Path:
        """Append-only JSON lines with the loss of every held-out triple at every validation; see `rundir.scores`."""
        return self.path / "scores.jsonl"

    @property
    def system(self) -> Path:
        """Lines like those of `metrics` with the load of the machine; see `training.system`."""
        return self.path / "system.jsonl"

    @property
    def samples(self) -> Path:
        """`<step, 8 digits>_<prompt index, 2 digits>.png`, with the prompt in the PNG text chunk `prompt`."""
        return self.path / "samples"

    @property
    def weights(self) -> Path:
        """`<name>-<epoch, 6 digits>.safetensors` for every saved epoch, `<name>.safetensors` for the last one."""
        return self.path / "weights"

    @property
    def checkpoints(self) -> Path:
        """The folder of `state`."""
        return self.path / "checkpoints"

    @property
    def state(self) -> Path:
        """The newest state of the training, which it goes on from; gone when the run has ended."""
        return self.checkpoints / "state.safetensors"

    @property
    def log(self) -> Path:
        """The training's output, standard error included."""
        return self.path / LOG

    @property
    def result(self) -> Path:
        """The training's own report of how it ended: `{"status", "message", "step", "seconds", ...}`."""
        return self.path / "result.json"

    @property
    def trial(self) -> Path:
        """The supervisor's record: study, number, signature, overrides, attempts, verdict, value."""
        return self.path / "trial.json"

    def last_written(self) -> float | None:
        """When the training last wrote anything, in seconds since the epoch; None if it wrote nothing."""
        files = [self.metrics, self.log, self.result, self.samples, self.weights, self.checkpoints]
        times = [file.stat().st_mtime for file in files if file.exists()]
        return round(max(times), 3) if times else None

    @property
    def lock(self) -> Path:
        """Held (flock, exclusive) by the supervisor while it lives; see `rundir.lock`."""
        return self.path / "supervisor.lock"
