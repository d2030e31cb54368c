"""The training process: reads a run folder's config and writes metrics, previews, weights and a result to it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import torch
import yaml

from sweeplora.content import sha256
from sweeplora.data.batches import plan, windows
from sweeplora.diffusion.targets import Noising
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.network import PARTS, Network, attach
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, Status, write_result
from sweeplora.training.distributed import DTYPES, Processes
from sweeplora.training.groups import ConfigGroups, build_groups
from sweeplora.training.loop import Diverged, Recipe, Trainer
from sweeplora.training.optim.optimizer import make_optimizer
from sweeplora.training.optim.schedules import Schedule
from sweeplora.training.outputs import Outputs, peak_memory_mib
from sweeplora.training.prepare import Inputs, load_model, prepare
from sweeplora.training.stop import INTERRUPTED, Interrupted, Stop

EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "refused": 2, "diverged": 3, "interrupted": INTERRUPTED}


def train(run: RunDir, stop: Stop) -> Result:
    """Run the training that the folder's config describes; each of the run's processes calls this."""
    groups = build_groups(yaml.safe_load(run.config.read_text()))
    processes = Processes(groups.train.mixed_precision, _device(), stop)
    _use_given_threads()
    family = load_model(groups, processes)
    inputs = prepare(run, groups, family, processes)
    network = build_network(groups, family, processes)
    trainer = build_trainer(groups, family, network, processes)
    outputs = Outputs(run, groups, trainer, inputs)
    _announce(processes, inputs, network)
    result = run_epochs(trainer, inputs, outputs, groups.schedule)
    result.step, result.steps = trainer.step, inputs.length.steps
    result.world_size, result.threads = processes.world_size, torch.get_num_threads()
    result.weights, result.metrics = outputs.weights, outputs.last
    processes.end()
    return result


def build_network(groups: ConfigGroups, family: Family, processes: Processes) -> Network:
    """Attach the network to the frozen base, with its weights in their training precision."""
    settings = groups.train
    network = attach(family, groups.algorithm, groups.seed)
    network.to(processes.device, DTYPES[settings.network_precision])
    network.train(True)
    if settings.gradient_checkpointing:
        family.checkpoint_gradients(encoders=bool(network.parameters("text_encoder")))
    if settings.compile is not None:
        family.unet.compile(backend=settings.compile)
    return network


def build_trainer(groups: ConfigGroups, family: Family, network: Network, processes: Processes) -> Trainer:
    """The state of the training before its first step."""
    optimizer = make_optimizer(groups.optimizer, network, groups.rates)
    noising = Noising(family.alphas_cumprod, family.prediction)
    recipe = Recipe(groups.noise, groups.loss, noising, groups.train, groups.seed)
    return Trainer(recipe, family, network, optimizer, processes)


def run_epochs(trainer: Trainer, inputs: Inputs, outputs: Outputs, schedule: Schedule) -> Result:
    """Validate the untrained network, then train epoch after epoch; save, validate and draw previews when due."""
    epochs = inputs.length.epochs
    try:
        outputs.epoch_done(0, epochs)
        for epoch in range(1, epochs + 1):
            run_epoch(trainer, inputs, outputs, schedule, epoch)
            if epoch in (1, epochs):
                trainer.check_learns(is_last=epoch == epochs)
            outputs.epoch_done(epoch, epochs)
    except Diverged as fault:
        return Result("diverged", str(fault))
    except Interrupted as fault:
        return Result("interrupted", str(fault))
    return Result("finished", f"{trainer.step} steps")


def run_epoch(trainer: Trainer, inputs: Inputs, outputs: Outputs, schedule: Schedule, epoch: int) -> None:
    """Train one epoch, or the part of it up to the training's last step."""
    settings, steps = trainer.recipe.settings, inputs.length.steps
    batches = plan(inputs.dataset, settings.batch_size, trainer.recipe.seed, epoch)
    parts = windows(batches, settings.accumulation)[: steps - trainer.step]
    with closing(inputs.loader.stream(trainer.requests(parts, epoch, steps))) as stream:
        for window in parts:
            values = trainer.train_window(window, epoch, stream, schedule(trainer.step, steps))
            memory = peak_memory_mib(trainer.processes.device)
            outputs.log({**values, "memory_mib": memory, "epoch": epoch})
            outputs.step_done(epoch)


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
    except Exception as error:  # any error becomes the run's result; its traceback goes into the log
        traceback.print_exc()
        result = Result("failed", f"{type(error).__name__}: {error}")
    print(f"{result.status}: {result.message}", flush=True)
    if os.environ.get("RANK", "0") == "0":
        result.seconds = round(time.monotonic() - started, 3)
        if result.weights is not None:
            result.weights_sha256 = sha256(run.path / result.weights)
        try:
            write_result(run, result)
        except OSError as error:  # only the log and the exit code can still say how it ended
            print(error, flush=True)
            return EXIT_CODES["failed"]
    return EXIT_CODES[result.status]


def _device() -> Literal["cpu", "cuda"]:
    asked = os.environ.get("SWEEPLORA_DEVICE")
    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if asked == "cuda" else "cpu"


def _use_given_threads() -> None:
    """Use the launcher's number of threads: a preloaded parent read the variable before it was set."""
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))


def _announce(processes: Processes, inputs: Inputs, network: Network) -> None:
    if not processes.is_main:
        return
    planned = inputs.length
    trained = sum(p.numel() for part in PARTS for p in network.parameters(part))
    print(
        f"{planned.images} images in {planned.batches} batches, {planned.steps_per_epoch} steps an epoch, "
        f"{planned.epochs} epochs: {planned.steps} steps; {len(inputs.validation.examples)} images held out; "
        f"{len(network.modules)} modules with {trained} parameters train in {processes.world_size} process(es)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
