"""Validation: the mean squared error over fixed (image, timestep, noise) triples, comparable between trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from sweeplora.data.dataset import Picture
from sweeplora.data.loader import Encode, Still
from sweeplora.diffusion.targets import Noising, add_noise, target
from sweeplora.diffusion.timesteps import stratified
from sweeplora.models.captions_once import CaptionsOnce, captions_once
from sweeplora.models.family import Family, Text
from sweeplora.randomness import seed_of
from sweeplora.training.distributed import Processes

NUM_BANDS = 4
_MOST_TOGETHER = 16
_MOST_PIXELS = 2 * 128 * 128
"""The most latent pixels per forward pass: two images of SDXL's size, in float32 next to the whole U-Net."""


@dataclass(frozen=True)
class TripleSet:
    """The fixed triples of a set of examples: `per_example` timesteps and noises for each example.

    They depend only on `seed` and on each example's content, not on the rest of the set.
    """

    examples: Sequence[Still]
    per_example: int
    seed: int
    encode: Encode

    def batches(self) -> list[list[tuple[int, int]]]:
        """Pairs (example, place) in batches of equal shape; the same for any number of processes."""
        groups: dict[torch.Size, list[tuple[int, int]]] = {}
        for index, example in enumerate(self.examples):
            pairs = groups.setdefault(example.latents.shape, [])
            pairs += [(index, place) for place in range(self.per_example)]
        batches = []
        for (_, height, width), pairs in groups.items():
            size = max(1, min(_MOST_TOGETHER, _MOST_PIXELS // (height * width)))
            batches += [pairs[start : start + size] for start in range(0, len(pairs), size)]
        return batches

    def timesteps(self, num_timesteps: int) -> Tensor:
        """Stratified timesteps [examples, per_example]."""
        return torch.stack([
            stratified(_generator(self.seed, "val/timestep", example.identity), self.per_example, num_timesteps)
            for example in self.examples
        ])  # fmt: skip

    def names(self, noising: Noising, precision: str) -> list[str]:
        """What makes each triple one measurement, in the order of a flattened `Score.losses`.

        `<image's content>:<latents' height>x<width>:<place>:<timestep>:<seed>:<prediction>:<precision>`: two runs with
        a name in common predicted the same target from the same noisy latents of one VAE, in the same precision.
        """
        timesteps = self.timesteps(len(noising.alphas_cumprod)).tolist()
        return [
            f"{example.identity[:20]}:{example.latents.shape[1]}x{example.latents.shape[2]}:{place}:{timestep}"
            f":{self.seed}:{noising.prediction}:{precision}"
            for example, row in zip(self.examples, timesteps, strict=True)
            for place, timestep in enumerate(row)
        ]

    def noise(self, index: int, place: int) -> Tensor:
        """The noise [C, h, w] of one triple."""
        example = self.examples[index]
        generator = _generator(self.seed, "val/noise", example.identity, place)
        return torch.randn(example.latents.shape, generator=generator)


def subset_of(pictures: Sequence[Picture], count: int | None, seed: int, what: str) -> tuple[Picture, ...]:
    """At most `count` of the pictures (None: all), chosen by (seed, what, content) and in their original order."""
    ranked = sorted(pictures, key=lambda picture: seed_of(seed, what, picture.sha256))
    chosen = set(ranked[:count])
    return tuple(picture for picture in pictures if picture in chosen)


@dataclass(frozen=True)
class Score:
    """Losses of all triples, [examples, per_example] float64 on the CPU, and their timesteps."""

    losses: Tensor
    timesteps: Tensor
    num_timesteps: int

    @property
    def mean(self) -> float:
        """The objective."""
        return float(self.losses.mean())

    def flat(self) -> list[float]:
        """The losses in the order of `TripleSet.names`."""
        return [float(loss) for loss in self.losses.flatten()]

    def bands(self) -> dict[int, float]:
        """Mean of each quarter of the noise levels, from 0 (clean) to 3 (noisy), that holds any triple."""
        band = self.timesteps * NUM_BANDS // self.num_timesteps
        return {number: float(self.losses[band == number].mean()) for number in band.unique().tolist()}


@torch.no_grad()
def score(
    triples: TripleSet, family: Family, noising: Noising, processes: Processes, precision: Literal["run", "fp32"]
) -> Score:
    """Unweighted squared error of every triple, regardless of the run's loss and noise.

    In float32, regardless of the run's precision; or, with "run", in that. Each process computes some of the batches;
    all processes get the complete result, unless the training was asked to stop: then it is incomplete.
    """
    timesteps = triples.timesteps(len(noising.alphas_cumprod))
    losses = torch.zeros(timesteps.shape, device=processes.device)
    wide = family.in_float32() if precision == "fp32" else processes.autocast()
    with wide, captions_once(family.unet) as once:
        measuring = _Measuring(triples, family, noising, once)
        for number, pairs in enumerate(triples.batches()):
            if number % processes.world_size != processes.rank or processes.stop.requested:
                continue
            rows, places = (torch.tensor(column) for column in zip(*pairs, strict=True))
            values = _batch_losses(measuring, pairs, timesteps[rows, places])
            losses[rows, places] = values.to(losses)
    processes.sum_(losses)
    return Score(losses.double().cpu(), timesteps, len(noising.alphas_cumprod))


class _Measuring(NamedTuple):
    """What all batches of a measurement have in common."""

    triples: TripleSet
    family: Family
    noising: Noising
    once: CaptionsOnce


def _batch_losses(measuring: _Measuring, pairs: Sequence[tuple[int, int]], timesteps: Tensor) -> Tensor:
    triples, family, noising, once = measuring
    device = next(family.unet.parameters()).device
    examples = [triples.examples[index] for index, _ in pairs]
    latents = torch.stack([example.latents for example in examples]).to(device, torch.float32)
    noise = torch.stack([triples.noise(index, place) for index, place in pairs]).to(device)
    sizes = torch.stack([example.sizes for example in examples]).to(device)
    alphas = noising.alphas_cumprod[timesteps].to(device, torch.float32)
    captions = [example.caption for example in examples]
    encoded = triples.encode(captions)
    text = Text(encoded.hidden.float(), encoded.pooled.float())
    once.are(text.hidden, captions)
    noisy = add_noise(latents, noise, alphas)
    output = family.predict(noisy, timesteps.to(device), text, sizes)
    difference = output.float() - target(latents, noise, alphas, noising.prediction)
    return difference.square().flatten(1).mean(1)


def _generator(seed: int, what: str, *parts: int | str) -> Generator:
    return Generator().manual_seed(seed_of(seed, what, *parts))
