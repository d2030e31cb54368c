"""A table of real trainings: settings x seeds, each with the losses of every validation triple at several steps.

    python tools/replicate_table.py train TABLE.jsonl     # one line a training; continues where it was cut off
    python tools/replicate_table.py pack TABLE.jsonl benchmarks/replicates.npz

What it trains: LoRAs on the embedded model and emoji for `STEPS` optimizer steps, every rank with every scale and every
learning rate at `SEEDS` seeds, a few of them at `MORE_SEEDS`. The scale is alpha over sqrt(rank), as rsLoRA has it. A
parent loads the model and encodes the data once, then forks a child for each training, so that none sees another's
state. `benchmarks/verdict.py` and `benchmarks/search_regret.py` replay the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

from sweeplora.config.compose import compose
from sweeplora.data.batches import plan, windows
from sweeplora.data.dataset import Dataset
from sweeplora.data.loader import Loader, stills
from sweeplora.models.family import Family
from sweeplora.rundir.folder import RunDir
from sweeplora.training.distributed import Processes
from sweeplora.training.evaluate import Triples, score, subset_of
from sweeplora.training.groups import ConfigGroups, build_groups
from sweeplora.training.loop import Diverged
from sweeplora.training.optim.optimizer import weights_for_use
from sweeplora.training.prepare import Encoded, encode_data, load_model, place_model
from sweeplora.training.stop import Stop
from sweeplora.training.train import build_network, build_trainer

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


@dataclass(frozen=True)
class Shared:
    """What every training has in common: the base, the data and the triples."""

    groups: ConfigGroups
    family: Family
    processes: Processes
    dataset: Dataset
    encoded: Encoded

    @property
    def triples(self) -> Triples:
        """The validation triples."""
        settings, seed = self.groups.train, self.dataset.validation_seed
        chosen = subset_of(self.dataset.validation, settings.validation_images, seed, "validation")
        return Triples(stills(chosen, self.encoded.latents), settings.validation_timesteps, seed, self.encoded.encode)


def trainings() -> Iterator[tuple[Setting, int]]:
    """Every setting with its seeds, seed by seed, so that a table that is cut short is still complete in its seeds."""
    every = [Setting(*values) for values in itertools.product(RANKS, SCALES, RATES)]
    for seed in MORE_SEEDS:
        for setting in every:
            if seed in SEEDS or setting in MORE:
                yield setting, seed


def load(folder: Path) -> Shared:
    """Load the base and encode the data, once for all trainings."""
    config = _config(folder, Setting(RANKS[0], SCALES[0], RATES[0]), 0)
    groups = build_groups(config)
    processes = Processes(groups.train.mixed_precision, "cpu", Stop(None))
    family = load_model(groups, processes)
    dataset = groups.data.read(family.divisor, family.resolution, groups.cache)
    encoded = encode_data(groups, dataset, family, processes)
    place_model(groups, family, processes, encoded)
    return Shared(groups, family, processes, dataset, encoded)


def train(shared: Shared, setting: Setting, seed: int, folder: Path) -> dict[int, list[float]]:
    """Train once: scored step -> losses of all triples; without the steps after a divergence."""
    groups = build_groups(_config(folder, setting, seed))
    network = build_network(groups, shared.family, shared.processes)
    trainer = build_trainer(groups, shared.family, network, shared.processes)
    loader = Loader(shared.dataset, shared.encoded.latents, shared.encoded.encode, seed)
    triples, found = shared.triples, {}
    try:
        for epoch in itertools.count(1):
            batches = plan(shared.dataset, groups.train.batch_size, seed, epoch)
            parts = windows(batches, groups.train.accumulation)[: STEPS - trainer.step]
            with closing(loader.stream(trainer.requests(parts, epoch, STEPS))) as stream:
                for window in parts:
                    trainer.train_window(window, epoch, stream, groups.schedule(trainer.step, STEPS))
                    if trainer.step in SCORED_AT:
                        network.train(False)
                        with weights_for_use(trainer.optimizer):
                            losses = score(triples, shared.family, trainer.recipe.noising, shared.processes).losses
                        network.train(True)
                        found[trainer.step] = [float(f"{value:.5g}") for value in losses.flatten().tolist()]
            if trainer.step >= STEPS:
                return found
    except Diverged:
        return found
    raise AssertionError("the loop above ends by itself")


def fill(file: Path) -> None:
    """Train what the file lacks, one after the other, and append a line for each."""
    torch.set_num_threads(1)
    known = {_key(line) for line in _lines(file)}
    with tempfile.TemporaryDirectory() as folder:
        shared = load(Path(folder))
        for setting, seed in trainings():
            if (*setting, seed) not in known:
                _in_a_child(shared, setting, seed, file)


def _in_a_child(shared: Shared, setting: Setting, seed: int, file: Path) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            losses = train(shared, setting, seed, shared.groups.cache.parent)
            line = json.dumps({**setting._asdict(), "seed": seed, "losses": losses})
            with file.open("a") as stream:
                stream.write(line + "\n")
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1] != 0:
        raise SystemExit(f"{setting} at seed {seed} failed")


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


def _config(folder: Path, setting: Setting, seed: int) -> dict[str, Any]:
    words = [*COMMON, *setting.overrides, f"seed={seed}", f"runs={folder}"]
    config: dict[str, Any] = yaml.safe_load(compose(words).yaml)
    RunDir.create(folder / "run", yaml.safe_dump(config))
    return config


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
