"""Steps per second and peak memory of one trial, and where a step's time goes.

    python benchmarks/step.py --model FOLDER --resolution 1024 --batch 1 --network locon --set network.dim=16

Trains on random images of the requested size. The first steps are not timed (`--warm-up`); the rest are timed one by
one, and the median counts. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from PIL import Image

from sweeplora.config.compose import compose
from sweeplora.data.batches import plan, windows
from sweeplora.rundir.folder import RunDir
from sweeplora.training.distributed import Processes
from sweeplora.training.groups import build_groups
from sweeplora.training.loop import Trainer
from sweeplora.training.outputs import peak_memory_mib
from sweeplora.training.prepare import Inputs, base_settings, hold, prepare
from sweeplora.training.stop import Stop
from sweeplora.training.train import build_network, build_trainer


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer, inputs = build(arguments, Path(folder))
        spent = instrument(trainer)
        times = []
        for epoch in range(1, arguments.warm_up + arguments.steps + 1):
            parts = windows(plan(inputs.dataset, arguments.batch, 0, epoch), 1)
            stream = inputs.loader.stream(trainer.requests(parts, epoch, arguments.warm_up + arguments.steps))
            if epoch == arguments.warm_up + 1:
                spent.update(dict.fromkeys(spent, 0.0))
            started = clock(trainer)
            trainer.train_window(parts[0], epoch, stream, 1.0)
            times.append(clock(trainer) - started)
    timed = times[arguments.warm_up :]
    median = statistics.median(timed)
    print(json.dumps({
        "network": arguments.network,
        "seconds_a_step": round(median, 5),
        "steps_a_second": round(1 / median, 3),
        "images_a_second": round(arguments.batch / median, 3),
        "share_of_time": {name: round(value / sum(timed), 4) for name, value in spent.items()},
        "share_of_the_rest": round(1 - sum(spent.values()) / sum(timed), 4),
        "peak_memory_mib": round(peak_memory_mib(trainer.processes.device), 1),
    }))  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a diffusers folder; the shipped one where it is left out")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--network", default="locon")
    parser.add_argument("--precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    return parser.parse_args()


def build(arguments: argparse.Namespace, folder: Path) -> tuple[Trainer, Inputs]:
    """A trainer as a run would build it, with one batch of random images."""
    pictures = folder / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for index in range(arguments.batch):
        pixels = random.integers(0, 256, (arguments.resolution, arguments.resolution, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{index}.png")
        (pictures / f"{index}.txt").write_text(f"picture {index}")
    overrides = [
        f"network={arguments.network}", "data=folder",
        f"data.dir={pictures}", f"data.resolution={arguments.resolution}",
        f"train.batch_size={arguments.batch}", f"train.mixed_precision='{arguments.precision}'",
        "train.probe_images=0", *arguments.set,
    ]  # fmt: skip
    if arguments.model:
        overrides += ["model=sdxl", f"model.path={arguments.model}"]
    return assemble(overrides, folder)


def assemble(overrides: Sequence[str], folder: Path) -> tuple[Trainer, Inputs]:
    """A trainer and its data as a run with these overrides would build them."""
    config = yaml.safe_load(compose([*overrides, f"runs={folder}"]).yaml)
    run = RunDir.create(folder / "run", yaml.safe_dump(config))
    device: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    groups = build_groups(config)
    processes = Processes(groups.train.mixed_precision, device, Stop(None))
    base = hold(base_settings(groups), processes)
    inputs = prepare(run, groups, base, processes)
    network = build_network(groups, base.family, processes)
    return build_trainer(groups, base.family, network, processes), inputs


def instrument(trainer: Trainer) -> dict[str, float]:
    """From now on, accumulate the seconds of the forward pass, the backward pass and the optimizer."""
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        spent[name] = 0.0

        @wraps(function)
        def call(*positional: Any, **named: Any) -> Any:
            started = clock(trainer)
            result = function(*positional, **named)
            spent[name] += clock(trainer) - started
            return result

        return call

    trainer.family.predict = timed("forward", trainer.family.predict)  # type: ignore[method-assign]
    torch.Tensor.backward = timed("backward", torch.Tensor.backward)  # type: ignore[method-assign]
    trainer.optimizer.step = timed("optimizer", trainer.optimizer.step)  # type: ignore[method-assign]
    return spent


def clock(trainer: Trainer) -> float:
    """The time in seconds, after the device has finished its queued work."""
    if trainer.processes.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
