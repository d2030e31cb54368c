"""The training process: a run folder goes in; metrics, samples, weights and a result come out in it."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from sweeplora.building import build
from sweeplora.content import ContentHashes
from sweeplora.data.batches import Length, length, plan, windows
from sweeplora.data.cache import Cache, captions_of
from sweeplora.data.index import Dataset, Picture, keeps_text, manifest, probe
from sweeplora.data.loader import Encode, Loader, stills
from sweeplora.diffusion.targets import Noising
from sweeplora.errors import UserError
from sweeplora.evaluate import Triples
from sweeplora.loop import Diverged, Interrupted, Recipe, Train, Trainer
from sweeplora.lr import Schedule
from sweeplora.models.family import Family
from sweeplora.networks.lycoris import PARTS, Network, attach
from sweeplora.optim import make_optimizer
from sweeplora.outputs import Outputs, peak_memory_mib
from sweeplora.processes import Processes
from sweeplora.rundir import RunDir, write_json
from sweeplora.stop import INTERRUPTED, Stop

EXIT_CODES = {"finished": 0, "failed": 1, "refused": 2, "diverged": 3, "interrupted": INTERRUPTED}


@dataclass(frozen=True)
class Materials:
    """What is trained on: the images' latents and captions, and the triples that are scored."""

    dataset: Dataset
    length: Length
    loader: Loader
    validation: Triples
    probe: Triples


@dataclass
class Ending:
    """How a training ended: what result.json says, with `details` beside status and message."""

    status: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)


def train(run: RunDir, stop: Stop) -> Ending:
    """From the config in the folder to the last weights; several processes run this side by side."""
    config = yaml.safe_load(run.config.read_text())
    settings: Train = build(config["train"])
    processes = Processes(settings.mixed_precision, _device(), stop)
    _share_threads()
    family: Family = build(config["model"])
    materials = prepare(run, config, family, processes)
    network = build_network(config, family, processes)
    optimizer = make_optimizer(build(config["optimizer"]), network)
    noising = Noising(family.alphas_cumprod, family.prediction)
    recipe = Recipe(build(config["noise"]), build(config["loss"]), noising, settings, config["seed"])
    trainer = Trainer(recipe, family, network, optimizer, processes)
    outputs = Outputs(run, config, trainer, materials.dataset)
    _announce(processes, materials, network)
    ending = run_epochs(trainer, materials, outputs, build(config["scheduler"]))
    ending.details = {
        "step": trainer.step,
        "steps": materials.length.steps,
        "world_size": processes.world_size,
        "weights": outputs.weights,
        "metrics": outputs.last,
    }
    processes.end()
    return ending


def prepare(run: RunDir, config: dict[str, Any], family: Family, processes: Processes) -> Materials:
    """Read the images, and encode them and their captions where that was not done before."""
    settings: Train = build(config["train"])
    root = Path(config["runs"]) / "cache"
    dataset: Dataset = build(config["data"]).read(family.divisor, family.resolution, root)
    if processes.is_main:
        write_json(run.path / "dataset.json", {"name": dataset.name, "files": manifest(dataset)})

    hashes = ContentHashes(root / "hashes.json")
    cache = Cache(root, _progress(processes.stop))
    for part in (family.vae, *family.text_encoders):
        part.to(processes.device)
    latents = cache.latents(dataset, family, hashes.folder(family.vae_folder))
    encode: Encode = family.encode_text
    if keeps_text(dataset.cache_text, dataset.rules, config["network"]["text_encoders"]):
        encoders_hash = "-".join(hashes.folder(folder) for folder in family.text_folders)
        encode = cache.texts(captions_of(dataset), family, encoders_hash, processes.device).encode
    settle(family, processes, encoders_stay=encode == family.encode_text)
    if processes.is_main:
        hashes.save()

    def triples(pictures: Sequence[Picture]) -> Triples:
        examples = stills(pictures, latents, dataset.rules)
        return Triples(examples, settings.validation_timesteps, dataset.validation_seed, encode)

    return Materials(
        dataset=dataset,
        length=length(dataset, settings.batch_size, settings.accumulation, settings.epochs, settings.steps),
        loader=Loader(dataset, latents, encode, config["seed"]),
        validation=triples(dataset.validation),
        probe=triples(probe(dataset, settings.probe_images)),
    )


def settle(family: Family, processes: Processes, encoders_stay: bool) -> None:
    """Leave on the device, in the run's precision, what every step needs; the rest waits on the CPU."""
    family.vae.to("cpu")
    for encoder in family.text_encoders:
        encoder.to(processes.device if encoders_stay else "cpu", processes.dtype)
    family.unet.to(processes.device, processes.dtype)
    if processes.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(processes.device)


def build_network(config: dict[str, Any], family: Family, processes: Processes) -> Network:
    """Attach the network to the frozen base; its own weights stay in float32."""
    network = attach(family, build(config["network"]), config["seed"])
    network.to(processes.device, torch.float32)
    network.train(True)
    if config["train"]["gradient_checkpointing"]:
        family.checkpoint_gradients()
    return network


def run_epochs(trainer: Trainer, materials: Materials, outputs: Outputs, schedule: Schedule) -> Ending:
    """The baseline at step 0, then epoch after epoch, each saved, validated and previewed where that is due."""
    epochs = materials.length.epochs
    try:
        outputs.epoch_done(0, epochs, materials.validation, materials.probe)
        for epoch in range(1, epochs + 1):
            run_epoch(trainer, materials, outputs, schedule, epoch)
            outputs.epoch_done(epoch, epochs, materials.validation, materials.probe)
    except Diverged as fault:
        return Ending("diverged", str(fault))
    except Interrupted as fault:
        return Ending("interrupted", str(fault))
    return Ending("finished", f"{trainer.step} steps")


def run_epoch(trainer: Trainer, materials: Materials, outputs: Outputs, schedule: Schedule, epoch: int) -> None:
    """The windows of one epoch, or as many of them as the training's length leaves."""
    settings, steps = trainer.recipe.settings, materials.length.steps
    batches = plan(materials.dataset, settings.batch_size, trainer.recipe.seed, epoch)
    for window in windows(batches, settings.accumulation):
        if trainer.step == steps:
            return
        values = trainer.train_window(window, epoch, materials.loader, schedule(trainer.step, steps))
        memory = peak_memory_mib(trainer.processes.device)
        outputs.log({**values, "memory_mib": memory, "epoch": epoch})
        outputs.step_done(materials.validation, materials.probe)


def main(arguments: Sequence[str]) -> int:
    """Train the run folder named on the command line; returns the exit code of EXIT_CODES."""
    run = RunDir(Path(arguments[0]))
    stop = Stop(run.lock if os.environ.get("SWEEPLORA_SUPERVISED") == "1" else None)
    started = time.monotonic()
    try:
        ending = train(run, stop)
    except UserError as error:
        ending = Ending("refused", str(error))
    except Interrupted as error:
        ending = Ending("interrupted", str(error))
    except Exception as error:  # whatever went wrong is the run's result, and its traceback goes into the log
        traceback.print_exc()
        ending = Ending("failed", f"{type(error).__name__}: {error}")
    print(f"{ending.status}: {ending.message}", flush=True)
    if os.environ.get("RANK", "0") == "0":
        seconds = round(time.monotonic() - started, 3)
        result = {"status": ending.status, "message": ending.message, "seconds": seconds, **ending.details}
        write_json(run.result, result)
    return EXIT_CODES[ending.status]


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


def _progress(stop: Stop) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, missing: int) -> None:
        if stop.asked:
            raise Interrupted(f"asked to stop while encoding {what}")
        if done == missing:
            print(f"encoded {missing} {what}", flush=True)

    return tell


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
