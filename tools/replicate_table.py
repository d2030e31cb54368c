"""A table of real trainings: settings x seeds, each with the losses of every validation triple at several steps.

    python tools/replicate_table.py train wide TABLE.jsonl     # a line a training; continues where it was cut off
    python tools/replicate_table.py pack wide TABLE.jsonl benchmarks/replicates.npz
    python tools/replicate_table.py train long LONG.jsonl
    python tools/replicate_table.py pack long LONG.jsonl benchmarks/replicates_long.npz

What it trains: LoRAs on the embedded model and emoji, every rank with every scale and every rate, each with 5 seeds, at
a rate that decays to zero. The scale is alpha over sqrt(rank), as rsLoRA has it. The base is held once, and every
training attaches a network to it.

wide   trainings of 24 steps of 2 images, 3 seconds of a core each. They are short, so that much of what they end at is
       luck.
long   trainings of 128 steps of 4 images, 20 seconds each, scored at their end on four times as many noise levels

Several commands may fill one file at once: `--share 1/2` in one terminal, `--share 2/2` in another.

`benchmarks/verdict.py` and `benchmarks/search_regret.py` replay the tables.
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

SEEDS = range(5)


class Setting(NamedTuple):
    """One point of the table."""

    rank: int
    scale: float
    rate: float

    @property
    def overrides(self) -> list[str]:
        """The words that set it."""
        return [f"network.dim={self.rank}", f"network.alpha={self.scale}", f"optimizer.lr={self.rate}"]


class Share(NamedTuple):
    """The `part`-th of so many equal parts, from 1."""

    part: int
    of: int

    @classmethod
    def read(cls, text: str) -> Share:
        """From `1/2`."""
        part, of = (int(number) for number in text.split("/"))
        if not 1 <= part <= of:
            raise ValueError(text)
        return cls(part, of)


class Table(NamedTuple):
    """Which settings are trained, how, and at which steps they are scored; the last one ends them."""

    settings: tuple[Setting, ...]
    scored_at: tuple[int, ...]
    batch_size: int
    timesteps: int

    @property
    def overrides(self) -> list[str]:
        """The words of all trainings."""
        return [
            "network.preset=attn-mlp",
            "network.rs_lora=true",
            "scheduler=cosine",
            "train.epochs=null",
            f"train.steps={self.scored_at[-1]}",
            f"train.batch_size={self.batch_size}",
            f"train.validation_timesteps={self.timesteps}",
            "train.validate_every_epochs=0",
            f"train.validate_every_steps={self.scored_at[0]}",
            "train.probe_images=0",
            "train.save_every_epochs=0",
            "sample=none",
        ]

    def trainings(self) -> Iterator[tuple[Setting, int]]:
        """Every setting with its seeds, seed by seed: a table that is cut short is complete in its first seeds."""
        yield from ((setting, seed) for seed in SEEDS for setting in self.settings)


_GRID = tuple(
    Setting(rank, scale, rate)
    for rank, scale, rate in itertools.product((2, 4, 8, 16), (1.0, 4.0, 16.0), (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2))
)
TABLES = {
    "wide": Table(_GRID, scored_at=(6, 12, 24), batch_size=2, timesteps=2),
    "long": Table(_GRID, scored_at=(128,), batch_size=4, timesteps=16),
}


def train(base: HeldBase, processes: Processes, config: dict[str, Any], folder: Path) -> dict[int, list[float]]:
    """Train once: step -> losses of all triples at every validation; without the steps after a divergence."""
    run = RunDir.create(folder, yaml.safe_dump(config))
    if train_on(run, build_groups(config), base, processes).status == "interrupted":
        raise SystemExit("interrupted; the same command goes on")
    scores = read_scores(run)
    assert scores is not None, "images are held out"
    return {step: [float(f"{loss:.5g}") for loss in losses] for step, losses in scores.by_step.items() if step}


def fill(table: Table, file: Path, share: Share) -> None:
    """Train what the file lacks of a share, one after the other, and append a line for each."""
    torch.set_num_threads(1)
    known = {_key(line) for line in _lines(file)}
    with tempfile.TemporaryDirectory() as folder, file.open("a") as stream:
        runs = Path(folder)
        groups = build_groups(_config(table, runs, table.settings[0], 0))
        processes = Processes(groups.train.mixed_precision, "cpu", Stop(None))
        base = hold(base_settings(groups), processes)
        for number, (setting, seed) in enumerate(table.trainings()):
            if number % share.of == share.part - 1 and (*setting, seed) not in known:
                losses = train(base, processes, _config(table, runs, setting, seed), runs / str(number))
                stream.write(json.dumps({**setting._asdict(), "seed": seed, "losses": losses}) + "\n")
                stream.flush()


def pack(name: str, file: Path, target: Path, commit: str) -> None:
    """Write the table as arrays: `settings` [S, 3], `seeds` [T], `setting` [T], `losses` [T, scored steps, triples]."""
    table, lines = TABLES[name], list(_lines(file))
    settings = sorted({_key(line)[:3] for line in lines})
    order = sorted(lines, key=lambda line: (settings.index(_key(line)[:3]), line["seed"]))
    width = max(len(values) for line in lines for values in line["losses"].values())
    losses = np.full((len(order), len(table.scored_at), width), np.nan, np.float32)
    for row, line in enumerate(order):
        for place, step in enumerate(table.scored_at):
            losses[row, place] = line["losses"].get(str(step), np.nan)
    about = {
        "command": f"python tools/replicate_table.py train {name} {name}.jsonl",
        "commit": commit,
        "common": table.overrides,
    }
    np.savez_compressed(
        target,
        settings=np.array(settings, np.float64),
        columns=np.array(Setting._fields),
        setting=np.array([settings.index(_key(line)[:3]) for line in order], np.int16),
        seeds=np.array([line["seed"] for line in order], np.int16),
        steps=np.array(table.scored_at, np.int32),
        losses=losses,
        about=np.array(json.dumps(about)),
    )


def _config(table: Table, runs: Path, setting: Setting, seed: int) -> dict[str, Any]:
    composed: dict[str, Any] = yaml.safe_load(
        compose([*table.overrides, *setting.overrides, f"seed={seed}", f"runs={runs}"]).yaml
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
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("file", type=Path)
    parser.add_argument("target", type=Path, nargs="?")
    parser.add_argument("--share", type=Share.read, default=Share(1, 1), metavar="PART/OF", help="train this part only")
    chosen = parser.parse_args(arguments)
    if chosen.verb == "train":
        fill(TABLES[chosen.table], chosen.file, chosen.share)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    pack(chosen.table, chosen.file, chosen.target, commit.strip())


if __name__ == "__main__":
    main()
