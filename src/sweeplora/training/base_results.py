"""Scores and previews of the base model itself: the same for every run on it, so made once and kept in `cache/`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch

from sweeplora.config.running import code_digest
from sweeplora.content import ContentHashes
from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Dataset, keeps_text
from sweeplora.data.entries import EntryStore, Tensors
from sweeplora.diffusion.targets import Noising
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.training.distributed import Processes
from sweeplora.training.evaluate import Score, TripleSet
from sweeplora.training.groups import ConfigGroups
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.settings import Sample

_CODE = ("sweeplora.training.evaluate", "sweeplora.training.previews.draw")
_NO_SETTINGS = ("name", "path", "vae", "base_weights")
"""Keys of the group `model` whose contents count, or nothing of them."""


class BaseResults:
    """What the base model gives, kept under a key over all that decides its bits: contents, settings, code, machine.

    What is missing or damaged is made. Two processes that make the same at once write the same bytes.
    """

    def __init__(self, cache: Path, identity: str, processes: Processes) -> None:
        """`identity`: of the base and of how it is computed; see `base_identity`."""
        self._store = EntryStore(cache / "base" / _digest(identity)[:24])
        self._processes = processes

    def score(self, triples: TripleSet, noising: Noising, precision: str, make: Callable[[], Score]) -> Score:
        """The base model's score of these triples in a precision; every process of the run calls it and gets it.

        A score that `make` left incomplete, since the training was asked to stop, is not kept.
        """
        examples = [
            (one.caption, one.sizes.tolist(), hashlib.sha256(one.latents.numpy().tobytes()).hexdigest())
            for one in triples.examples
        ]
        key, processes = _digest("score", triples.names(noising, precision), examples), self._processes
        entry = self._store.find(key) if processes.is_main else None
        if not processes.any(entry is not None):
            found = make()
            is_complete = not processes.any(processes.stop.requested)
            if processes.is_main and is_complete:
                self._keep(key, {"losses": found.losses})
            return found
        shape = (len(triples.examples), triples.per_example)
        losses = torch.zeros(shape, dtype=torch.float64) if entry is None else entry["losses"].clone()
        losses = processes.sum_(losses.to(processes.device)).cpu()
        num_timesteps = len(noising.alphas_cumprod)
        return Score(losses, triples.timesteps(num_timesteps), num_timesteps)

    def files(
        self, prompts: Sequence[Prompt], settings: Sample, size: Size, make: Callable[[], list[bytes]]
    ) -> list[bytes]:
        """The PNG files of previews that are drawn together; one process calls it."""
        chosen = (
            settings.sampler,
            settings.karras,
            settings.steps,
            settings.guidance,
            settings.seed,
            settings.weighted,
        )
        key = _digest("previews", chosen, size, [astuple(prompt) for prompt in prompts])
        entry = self._store.find(key)
        if entry is not None:
            return [entry[name].numpy().tobytes() for name in sorted(entry)]
        files = make()
        tensors = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        self._keep(key, {f"{number:04d}": tensor for number, tensor in enumerate(tensors)})
        return files

    def _keep(self, key: str, tensors: Tensors) -> None:
        try:
            self._store.fill([key], lambda _: [(key, tensors)], lambda *_: None)
        except (UserError, OSError) as error:  # a cache of somebody else's, a full disk: the next run makes it again
            print(f"the base model's results are not kept: {error}", flush=True)


def base_identity(groups: ConfigGroups, family: Family, dataset: Dataset, processes: Processes) -> str:
    """All that decides the bits of what the base model gives, besides the triples or prompts themselves.

    `groups.algorithm` counts only where it keeps captions from being encoded once, before the first step.
    """
    hashes = ContentHashes(groups.cache / "hashes.json")
    model = groups.config["model"]
    contents = [hashes.all(family.facts.files), *(hashes.file(path) for path, _ in groups.model.merged)]
    if processes.is_main:
        hashes.save()
    settings = {key: value for key, value in model.items() if key not in _NO_SETTINGS}
    precisions = [str(family.precision(name)) for name in family.facts.parts]
    return json.dumps([
        code_digest(*_CODE, type(groups.model).__module__),
        _machine(processes.device),
        contents,
        settings,
        precisions,
        [groups.train.mixed_precision, groups.train.compile],
        [dataset.weighted_captions, keeps_text(dataset, groups.algorithm.text_encoders)],
    ])  # fmt: skip


def _machine(device: torch.device) -> list[Any]:
    """What changes last bits on a machine: the device, and on a CPU its instructions and the number of threads."""
    if device.type == "cuda":
        return [torch.cuda.get_device_name(device), str(torch.version.cuda)]
    return [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
