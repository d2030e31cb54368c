"""A table of real trainings: settings x seeds, each with the losses of every validation triple at several steps.

    python tools/replicate_table.py train TABLE.jsonl     # one line a training; continues where it was cut off
    python tools/replicate_table.py pack TABLE.jsonl benchmarks/replicates.npz

What it trains: LoRAs on the embedded model and emoji for `STEPS` optimizer steps, every rank with every scale and every
learning rate at `SEEDS` seeds, a few of them at `MORE_SEEDS`. The scale is alpha over sqrt(rank), as rsLoRA has it. The
base is held once, and every training attaches a network to it. `benchmarks/verdict.py` and
`benchmarks/search_regret.py` replay the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from sweeplora.config.compose import compose
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.scores import read_scores
from sweeplora.training.distributed import Processes
from sweeplora.training.groups import build_groups
from sweeplora.training.prepare import HeldBase, base_settings, hold
from sweeplora.training.stop import Stop
from sweeplora.training.train import train as train_on

STEPS = 24
SCORED_AT = (6, 12, 24)
RANKS = (2, 4, 8, 16)
SCALES = (1.0, 4.0, 16.0)
RATES = (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2)
SEEDS = range(5)
MORE_SEEDS = range(20)
MORE = tuple(itertools.product((4, 16), (4.0, 16.0), (5e-3, 1e-2)))
COMMON = (
    "network.preset=attn-mlp",
    "network.rs_lora=true",
    "train.epochs=null",
    f"train.steps={STEPS}",
    "train.batch_size=2",
    "train.validation_timesteps=2",
    f"train.validate_every_steps={SCORED_AT[0]}",
    "train.probe_images=0",
    "train.save_every_epochs=0",
    "sample=none",
)


class Setting(NamedTuple):
    """One point of the table."""

    rank: int
    scale: float
    rate: float

    @property
    def overrides(self) -> list[str]:
        """The words that set it."""
        return [f"network.dim={self.rank}", f"network.alpha={self.scale}", f"optimizer.lr={self.rate}"]


def trainings() -> Iterator[tuple[Setting, int]]:
    """Every setting with its seeds, seed by seed, so that a table that is cut short is still complete in its seeds."""
    every = [Setting(*values) for values in itertools.product(RANKS, SCALES, RATES)]
    for seed in MORE_SEEDS:
        for setting in every:
            if seed in SEEDS or setting in MORE:
                yield setting, seed


def train(base: HeldBase, processes: Processes, config: dict[str, Any], folder: Path) -> dict[int, list[float]]:
    """Train once: scored step -> losses of all triples; without the steps after a divergence."""
    run = RunDir.create(folder, yaml.safe_dump(config))
    train_on(run, build_groups(config), base, processes)
    scores = read_scores(run)
    assert scores is not None, "images are held out"
    rounded = {step: [float(f"{loss:.5g}") for loss in losses] for step, losses in scores.by_step.items()}
    return {step: rounded[step] for step in SCORED_AT if step in rounded}


def fill(file: Path) -> None:
    """Train what the file lacks, one after the other, and append a line for each."""
    torch.set_num_threads(1)
    known = {_key(line) for line in _lines(file)}
    with tempfile.TemporaryDirectory() as folder, file.open("a") as stream:
        runs = Path(folder)
        groups = build_groups(_config(runs, Setting(RANKS[0], SCALES[0], RATES[0]), 0))
        processes = Processes(groups.train.mixed_precision, "cpu", Stop(None))
        base = hold(base_settings(groups), processes)
        for number, (setting, seed) in enumerate(trainings()):
            if (*setting, seed) not in known:
                losses = train(base, processes, _config(runs, setting, seed), runs / str(number))
                stream.write(json.dumps({**setting._asdict(), "seed": seed, "losses": losses}) + "\n")
                stream.flush()


def pack(file: Path, target: Path, commit: str) -> None:
    """Write the table as arrays: `settings` [S, 3], `seeds` [T], `setting` [T], `losses` [T, scored steps, triples]."""
    lines = list(_lines(file))
    settings = sorted({_key(line)[:3] for line in lines})
    order = sorted(lines, key=lambda line: (settings.index(_key(line)[:3]), line["seed"]))
    width = max(len(values) for line in lines for values in line["losses"].values())
    losses = np.full((len(order), len(SCORED_AT), width), np.nan, np.float32)
    for row, line in enumerate(order):
        for place, step in enumerate(SCORED_AT):
            losses[row, place] = line["losses"].get(str(step), np.nan)
    about = {"command": "python tools/replicate_table.py train table.jsonl", "commit": commit, "common": COMMON}
    np.savez_compressed(
        target,
        settings=np.array(settings, np.float64),
        columns=np.array(Setting._fields),
        setting=np.array([settings.index(_key(line)[:3]) for line in order], np.int16),
        seeds=np.array([line["seed"] for line in order], np.int16),
        steps=np.array(SCORED_AT, np.int32),
        losses=losses,
        about=np.array(json.dumps(about)),
    )


def _config(runs: Path, setting: Setting, seed: int) -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load(
        compose([*COMMON, *setting.overrides, f"seed={seed}", f"runs={runs}"]).yaml
    )
    return composed


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        for line in file.read_text().splitlines():
            yield json.loads(line)


def _key(line: dict[str, Any]) -> tuple[float, ...]:
    return (line["rank"], line["scale"], line["rate"], line["seed"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("train", "pack"))
    parser.add_argument("file", type=Path)
    parser.add_argument("target", type=Path, nargs="?")
    chosen = parser.parse_args(arguments)
    if chosen.verb == "train":
        fill(chosen.file)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    pack(chosen.file, chosen.target, commit.strip())


if __name__ == "__main__":
    main()
