"""The training process: a run folder goes in; metrics, samples, weights and a result come out in it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from sweeplora.config.instantiate import build
from sweeplora.content import sha256
from sweeplora.data.batches import plan, windows
from sweeplora.diffusion.targets import Noising
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.network import PARTS, Network, attach
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, Status, write_result
from sweeplora.training.distributed import DTYPES, Processes
from sweeplora.training.loop import Diverged, Interrupted, Recipe, Trainer
from sweeplora.training.optim.optimizer import make_optimizer
from sweeplora.training.optim.schedules import Schedule
from sweeplora.training.outputs import Outputs, peak_memory_mib
from sweeplora.training.prepare import Materials, load_model, prepare
from sweeplora.training.settings import Train
from sweeplora.training.stop import INTERRUPTED, Stop

EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "refused": 2, "diverged": 3, "interrupted": INTERRUPTED}


def train(run: RunDir, stop: Stop) -> Result:
    """From the config in the folder to the last weights; several processes run this side by side."""
    config = yaml.safe_load(run.config.read_text())
    settings: Train = build(config["train"])
    schedule: Schedule = build(config["scheduler"])
    processes = Processes(settings.mixed_precision, _device(), stop)
    _share_threads()
    family = load_model(config, processes)
    materials = prepare(run, config, family, processes)
    network = build_network(config, family, processes)
    trainer = build_trainer(config, family, network, processes)
    outputs = Outputs(run, config, trainer, materials.dataset)
    _announce(processes, materials, network)
    result = run_epochs(trainer, materials, outputs, schedule)
    result.step, result.steps = trainer.step, materials.length.steps
    result.world_size, result.threads = processes.world_size, torch.get_num_threads()
    result.weights, result.metrics = outputs.weights, outputs.last
    processes.end()
    return result


def build_network(config: dict[str, Any], family: Family, processes: Processes) -> Network:
    """Attach the network to the frozen base, its own weights in the precision that they train in."""
    settings = config["train"]
    network = attach(family, build(config["network"]), config["seed"])
    network.to(processes.device, DTYPES[settings["network_precision"]])
    network.train(True)
    if settings["gradient_checkpointing"]:
        family.checkpoint_gradients(encoders=bool(network.parameters("text_encoder")))
    if settings["compile"] is not None:
        family.unet.compile(backend=settings["compile"])
    return network


def build_trainer(config: dict[str, Any], family: Family, network: Network, processes: Processes) -> Trainer:
    """The state of the training, before its first step."""
    optimizer = make_optimizer(build(config["optimizer"]), network, build(config["rates"]))
    noising = Noising(family.alphas_cumprod, family.prediction)
    recipe = Recipe(build(config["noise"]), build(config["loss"]), noising, build(config["train"]), config["seed"])
    return Trainer(recipe, family, network, optimizer, processes)


def run_epochs(trainer: Trainer, materials: Materials, outputs: Outputs, schedule: Schedule) -> Result:
    """The baseline at step 0, then epoch after epoch, each saved, validated and previewed where that is due."""
    epochs = materials.length.epochs
    try:
        outputs.epoch_done(0, epochs, materials.validation, materials.probe)
        for epoch in range(1, epochs + 1):
            run_epoch(trainer, materials, outputs, schedule, epoch)
            outputs.epoch_done(epoch, epochs, materials.validation, materials.probe)
    except Diverged as fault:
        return Result("diverged", str(fault))
    except Interrupted as fault:
        return Result("interrupted", str(fault))
    return Result("finished", f"{trainer.step} steps")


def run_epoch(trainer: Trainer, materials: Materials, outputs: Outputs, schedule: Schedule, epoch: int) -> None:
    """The windows of one epoch, or as many of them as the training's length leaves."""
    settings, steps = trainer.recipe.settings, materials.length.steps
    batches = plan(materials.dataset, settings.batch_size, trainer.recipe.seed, epoch)
    parts = windows(batches, settings.accumulation)[: steps - trainer.step]
    with closing(materials.loader.stream(trainer.requests(parts, epoch, steps))) as stream:
        for window in parts:
            values = trainer.train_window(window, epoch, stream, schedule(trainer.step, steps))
            memory = peak_memory_mib(trainer.processes.device)
            outputs.log({**values, "memory_mib": memory, "epoch": epoch})
            outputs.step_done(epoch, materials.validation, materials.probe)


def main(arguments: Sequence[str]) -> int:
    """Train the run folder named on the command line; returns the exit code of EXIT_CODES."""
    run = RunDir(Path(arguments[0]))
    stop = Stop(run.lock if os.environ.get("SWEEPLORA_SUPERVISED") == "1" else None)
    started = time.monotonic()
    try:
        result = train(run, stop)
    except UserError as error:
        result = Result("refused", str(error))
    except Interrupted as error:
        result = Result("interrupted", str(error))
    except Exception as error:  # whatever went wrong is the run's result, and its traceback goes into the log
        traceback.print_exc()
        result = Result("failed", f"{type(error).__name__}: {error}")
    print(f"{result.status}: {result.message}", flush=True)
    if os.environ.get("RANK", "0") == "0":
        result.seconds = round(time.monotonic() - started, 3)
        if result.weights is not None:
            result.weights_sha256 = sha256(run.path / result.weights)
        write_result(run, result)
    return EXIT_CODES[result.status]


def _device() -> Literal["cpu", "cuda"]:
    asked = os.environ.get("SWEEPLORA_DEVICE")
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if asked == "cuda" else "cpu"


def _share_threads() -> None:
    """Take the share of the cores that the launcher gave; a preloaded parent read the variable before it was set."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))


def _announce(processes: Processes, materials: Materials, network: Network) -> None:
    if not processes.is_main:
        return
    made = materials.length
    trained = sum(p.numel() for part in PARTS for p in network.parameters(part))
    print(
        f"{made.images} images in {made.batches} batches, {made.steps_per_epoch} steps an epoch, "
        f"{made.epochs} epochs: {made.steps} steps; {len(materials.validation.examples)} images held out; "
        f"{len(network.modules)} modules with {trained} numbers train in {processes.world_size} process(es)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
