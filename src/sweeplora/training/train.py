"""A training, read top to bottom: on a held base, from a run folder's config to metrics, previews, weights, result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

import torch

from sweeplora.data.batches import plan, split, windows
from sweeplora.diffusion.targets import Noising
from sweeplora.models.family import Family
from sweeplora.networks.network import PARTS, Network, attach
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Result, read_trial
from sweeplora.training.checkpoints import Checkpoints
from sweeplora.training.distributed import DTYPES, Processes
from sweeplora.training.groups import ConfigGroups
from sweeplora.training.leftovers import seed_ambient
from sweeplora.training.loop import Diverged, StepSettings, Trainer
from sweeplora.training.optim.optimizer import make_optimizer
from sweeplora.training.optim.schedules import Schedule
from sweeplora.training.outputs import Outputs, peak_memory_mib
from sweeplora.training.prepare import HeldBase, Inputs, prepare
from sweeplora.training.stop import Interrupted


def train(run: RunDir, groups: ConfigGroups, base: HeldBase, processes: Processes) -> Result:
    """Train a network on a held base, which is afterwards as before; each of the run's processes calls this."""
    seed_ambient(groups.seed, processes.device)
    inputs = prepare(run, groups, base, processes)
    with attached_network(groups, base.family, processes) as network:
        trainer = build_trainer(groups, base.family, network, processes, pieces_of(run))
        outputs = Outputs(run, groups, trainer, inputs)
        _announce(processes, inputs, network)
        checkpoints = Checkpoints(run, groups.config, trainer, outputs, inputs.length.steps)
        checkpoints.resume()
        result = run_epochs(Training(trainer, inputs, outputs, groups.schedule, checkpoints))
    result.step, result.steps = trainer.step, inputs.length.steps
    result.world_size, result.threads = processes.world_size, torch.get_num_threads()
    result.weights, result.metrics = outputs.weights, outputs.last
    processes.end()
    return result


def pieces_of(run: RunDir) -> int:
    """In how many pieces the supervisor has batches go through the model: more than 1 after memory ran out."""
    record = read_trial(run)
    return 1 if record is None else record.pieces


@contextmanager
def attached_network(groups: ConfigGroups, family: Family, processes: Processes) -> Iterator[Network]:
    """`build_network`, detached afterwards."""
    network = build_network(groups, family, processes)
    try:
        yield network
    finally:
        network.detach()
        if groups.train.compile is not None:
            torch.compiler.reset()  # the graphs hold this network's layers


def build_network(groups: ConfigGroups, family: Family, processes: Processes) -> Network:
    """Attach the network to the frozen base, with its weights in their training precision."""
    network = attach(family, groups.algorithm, groups.seed)
    network.to(processes.device, DTYPES[groups.train.network_precision])
    network.train(True)
    return network


def build_trainer(
    groups: ConfigGroups, family: Family, network: Network, processes: Processes, pieces: int = 1
) -> Trainer:
    """The state of the training before its first step."""
    optimizer = make_optimizer(groups.optimizer, network, groups.rates)
    noising = Noising(family.alphas_cumprod, family.prediction)
    step_settings = StepSettings(groups.noise, groups.loss, noising, groups.train, groups.seed, pieces)
    return Trainer(step_settings, family, network, optimizer, processes)


class Training(NamedTuple):
    """The parts of a training in progress."""

    trainer: Trainer
    inputs: Inputs
    outputs: Outputs
    schedule: Schedule
    checkpoints: Checkpoints


def run_epochs(training: Training) -> Result:
    """Validate the untrained network, then train epoch after epoch; save, validate and draw previews when due.

    A training that goes on from a state does what is still due at its step, and continues in the middle of its epoch.
    """
    trainer, outputs, length = training.trainer, training.outputs, training.inputs.length
    epochs, first = length.epochs, math.ceil(trainer.step / length.steps_per_epoch)
    between = training.checkpoints.between
    try:
        if trainer.step:
            outputs.step_done(first, between)
        for epoch in range(first, epochs + 1):
            if epoch:
                run_epoch(training, epoch)
            if epoch in (1, epochs):
                trainer.check_learns(is_last=epoch == epochs)
            outputs.epoch_done(epoch, epochs, between)
            if outputs.is_over and epoch < epochs:
                outputs.epoch_done(epoch, epoch, between)  # it is the last one after all
                break
        training.checkpoints.finished()
    except Diverged as fault:
        return Result("diverged", str(fault))
    except Interrupted as fault:
        training.checkpoints.stopped()
        return Result("interrupted", str(fault))
    best = outputs.patience.step
    told = "" if best in (0, trainer.step) else f"; val/loss was best at step {best}, whose weights these are"
    return Result("finished", f"{trainer.step} steps{told}")


def run_epoch(training: Training, epoch: int) -> None:
    """Train one epoch, or the part of it from the trainer's step up to the training's last."""
    trainer, inputs, outputs, schedule, checkpoints = training
    settings, steps = trainer.step_settings.train, inputs.length.steps
    batches = plan(inputs.dataset, settings.batch_size, trainer.step_settings.seed, epoch)
    done = trainer.step - (epoch - 1) * inputs.length.steps_per_epoch
    whole = windows(batches, settings.accumulation)[done : done + steps - trainer.step]
    parts = [split(window, trainer.step_settings.pieces) for window in whole]
    with closing(inputs.loader.stream(trainer.requests(parts, epoch, steps))) as stream:
        for window in parts:
            values = trainer.train_window(window, epoch, stream, schedule(trainer.step, steps))
            memory = peak_memory_mib(trainer.processes.device)
            outputs.log({**values, "memory_mib": memory, "epoch": epoch})
            outputs.step_done(epoch, checkpoints.between)
            checkpoints.step_done()


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
