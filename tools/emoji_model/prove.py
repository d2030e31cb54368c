"""Proof that the prompt matters: the denoising loss with the right caption against a wrong one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from torch import Tensor

from .packages import metadata, picture_path
from .pictures import compose, open_picture
from .schedule import add_noise
from .subjects import Subject, select_subjects
from .training import generator
from .vae import as_input, stack

NUM_TIMESTEPS = 10


@dataclass(frozen=True)
class Verdict:
    """How many prompts were tried, for which share the right caption won, and both mean losses."""

    prompts: int
    share: float
    right: float
    wrong: float


@torch.no_grad()
def losses(pipeline: StableDiffusionXLPipeline, latents: Tensor, captions: list[str], seed: int) -> Tensor:
    """The mean squared error of the noise of each sample (float32), over evenly spread timesteps."""
    cpu = torch.device("cpu")
    encoded = pipeline.encode_prompt(captions, device=cpu, do_classifier_free_guidance=False)  # type: ignore[arg-type]  # it takes lists too
    text, _, pooled, _ = encoded
    sizes = torch.tensor([64.0, 64.0, 0.0, 0.0, 64.0, 64.0]).expand(len(captions), 6)
    added = {"text_embeds": pooled, "time_ids": sizes}
    total = torch.zeros(len(captions))
    for index in range(NUM_TIMESTEPS):
        timesteps = torch.full((len(captions),), int((index + 0.5) * 1000 / NUM_TIMESTEPS))
        noise = torch.randn(latents.shape, generator=generator(seed, "noise", index))
        noisy = add_noise(latents, noise, timesteps)
        predicted = pipeline.unet(noisy, timesteps, text, added_cond_kwargs=added).sample
        total += (predicted - noise).pow(2).mean(dim=(1, 2, 3))
    return total / NUM_TIMESTEPS


@torch.no_grad()
def compare_captions(pipeline: StableDiffusionXLPipeline, subjects: list[Subject], work: Path, seed: int) -> Verdict:
    """Denoise each subject's picture with its own caption and with its neighbour's, on the same noise."""
    pixels = stack(compose(open_picture(picture_path(work, "noto", s.image)), (64, 64), 64) for s in subjects)
    latents = pipeline.vae.encode(as_input(pixels)).latent_dist.mean * pipeline.vae.config.scaling_factor
    captions = [subject.caption for subject in subjects]
    right = losses(pipeline, latents, captions, seed)
    wrong = losses(pipeline, latents, captions[1:] + captions[:1], seed)
    return Verdict(len(subjects), (right < wrong).double().mean().item(), right.mean().item(), wrong.mean().item())


def choose_subjects(subjects: list[Subject], count: int, seed: int) -> list[Subject]:
    """`count` subjects in a seeded random order, so that neighbours are strangers."""
    order = torch.randperm(len(subjects), generator=generator(seed, "subjects", 0)).tolist()
    return [subjects[index] for index in order[:count]]


def main() -> None:
    """Print the verdict on an exported folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the exported diffusers folder")
    parser.add_argument("--work", type=Path, required=True, help="the folder with the unpacked packages")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pipeline = StableDiffusionXLPipeline.from_pretrained(arguments.model, torch_dtype=torch.float32)
    subjects = choose_subjects(select_subjects(metadata(arguments.work)), arguments.prompts, arguments.seed)
    print(compare_captions(pipeline, subjects, arguments.work, arguments.seed))


if __name__ == "__main__":
    main()
