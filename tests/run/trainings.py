"""Starts real trainings for tests and waits for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import Literal

from sweeplora.config.compose import compose
from sweeplora.launch.command import command
from sweeplora.launch.launcher import TRAINING, Started
from sweeplora.launch.local import Local
from sweeplora.launch.slot import Slot
from sweeplora.rundir.folder import RunDir
from tests.forked import forked_training
from tests.record.servers import closed_port

PATIENCE_SECONDS = 600.0
"""Until a test gives up on a training: no measure of speed. Compiled, a first step takes a minute by itself."""

ROOT = Path(__file__).resolve().parents[2]


class Trainings:
    """Makes run folders below one `runs` folder and trains them in forked processes, on these GPUs if any are given."""

    def __init__(
        self, runs: Path, model: Path, pictures: Path, launcher: Local | None = None, gpus: tuple[str, ...] = ()
    ) -> None:
        self.runs = runs
        self.gpus = gpus
        prompts = runs / "prompts.txt"
        prompts.write_text("shape 3, ellipse --d 5 --s 4\na tall one --w 48 --h 80 --d 6 --s 3 --n dull --ss ddim\n")
        self.common = [
            f"runs={runs}",
            f"model.path={model}",
            "data=folder",
            f"data.dir={pictures / 'train'}",
            f"data.val_dir={pictures / 'val'}",
            f"sample.prompts={prompts}",
            "train.epochs=2",
            "train.validation_timesteps=2",
            "train.probe_images=2",
            "sample.at_first=false",
        ]
        self.launcher = launcher or preloaded()

    def folder(self, name: str, *overrides: str) -> RunDir:
        """A run folder with its config, not yet trained."""
        composed = compose([*self.common, "name=test", *overrides])
        return RunDir.create(self.runs / name, composed.yaml)

    def start(self, run: RunDir, slot: int = 0) -> Started:
        """A training of one process, unsupervised, in the worker of a slot."""
        with contextlib.chdir(ROOT):  # a test may have gone elsewhere, and the tests' own losses are found here
            return self.launcher.start(run, _Alone(slot, 1, 1, "cuda" if self.gpus else "cpu", self.gpus), TRAINING)

    def train(self, name: str, *overrides: str) -> RunDir:
        """Train to the end, however that is."""
        run = self.folder(name, *overrides)
        self.wait(self.start(run), run)
        return run

    def wait(self, process: Started, run: RunDir) -> None:
        """Wait for the end of a training."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None:
            assert time.monotonic() < deadline, run.log.read_text()[-2000:]
            time.sleep(0.02)

    def train_together(self, name: str, processes: int, *overrides: str) -> RunDir:
        """Train through `accelerate launch`."""
        run = self.folder(name, *overrides)
        slot = _Alone(0, processes, 1, "cpu", ())
        with run.log.open("ab") as log:
            subprocess.run(
                command(run.path, slot, TRAINING),
                env=os.environ | slot.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        return run

    def train_in_forks(self, name: str, processes: int, *overrides: str) -> RunDir:
        """Train in several forks of this process, which find each other as those of `accelerate launch` do."""
        run, slot = self.folder(name, *overrides), _Alone(0, processes, 1, "cpu", ())
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(closed_port()), "WORLD_SIZE": str(processes)}
        with contextlib.chdir(ROOT):
            ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
            pids = [forked_training(run, slot.environment() | place | rank) for rank in ranks]
        for pid in pids:
            os.waitpid(pid, 0)
        return run

    def close(self) -> None:
        """End what still runs."""
        self.launcher.close()


def preloaded(device: Literal["cpu", "cuda"] = "cpu") -> Local:
    """A launcher whose trainings are forked from a parent that has imported everything."""
    sharing = 2 if device == "cuda" else 1
    made = Local(slots=None, processes_per_trial=1, threads=1, device=device, trials_per_gpu=sharing, attempts=1)
    made.plan(2)
    return made


def train_in_a_fork(run: RunDir, folder: Path) -> None:
    """Train to the end in a fork of this process, in `folder`, whose modules it finds: nothing is imported again."""
    with contextlib.chdir(folder):
        pid = forked_training(run, _Alone(0, 1, 1, "cpu", ()).environment())
    os.waitpid(pid, 0)


class _Alone(Slot):
    """A slot whose trainings look for no supervisor."""

    def environment(self) -> dict[str, str]:
        return super().environment() | {"SWEEPLORA_SUPERVISED": "0"}
