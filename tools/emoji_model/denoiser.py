"""Training the denoiser and its text encoders together on latents and captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .schedule import add_noise, min_snr_weight
from .subjects import Subject
from .training import Plan, Training, generator
from .unet import new_text_encoder, new_text_encoder_2, new_unet

SQUARE_SHARE = 0.88
CAPTION_DROPOUT = 0.1
MADE_UP_SHARE = 0.4
NOISES = 2


@dataclass(frozen=True)
class Latents:
    """Scaled latents of all subjects on one canvas: (places, subjects, 4, h, w), and the canvas in pixels."""

    values: Tensor
    width: int
    height: int


class Denoiser(nn.Module):
    """U-Net and text encoders as one module, so that one optimizer and one average hold them all."""

    def __init__(self, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]) -> None:
        super().__init__()
        self.unet: UNet2DConditionModel = new_unet().to(memory_format=torch.channels_last)  # type: ignore[call-arg]
        self.text_encoder: CLIPTextModel = new_text_encoder(tokenizers[0])
        self.text_encoder_2: CLIPTextModelWithProjection = new_text_encoder_2(tokenizers[1])

    def forward(
        self, noisy: Tensor, timesteps: Tensor, tokens: tuple[Tensor, Tensor], canvas: tuple[int, int], keep: Tensor
    ) -> Tensor:
        """The noise predicted in `noisy` (batch, 4, h, w).

        `tokens` are the ids for both encoders (captions, 77), `canvas` is (height, width) in pixels, and `keep`
        (captions,) is 0 where the text is replaced by zeros. Each caption serves batch / captions samples in a row.
        """
        first = self.text_encoder(tokens[0], output_hidden_states=True).hidden_states[-2]
        second = self.text_encoder_2(tokens[1], output_hidden_states=True)
        uses = len(noisy) // len(keep)
        text = torch.cat([first, second.hidden_states[-2]], dim=-1) * keep[:, None, None]
        pooled = second.text_embeds * keep[:, None]
        text, pooled = text.repeat_interleave(uses, dim=0), pooled.repeat_interleave(uses, dim=0)
        sizes = torch.tensor([*canvas, 0, 0, *canvas], dtype=noisy.dtype).expand(len(noisy), 6)
        added = {"text_embeds": pooled, "time_ids": sizes}
        prediction: Tensor = self.unet(noisy, timesteps, text, added_cond_kwargs=added).sample
        return prediction


def weighted_loss(prediction: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """The mean squared error of the noise with min-SNR weights (gamma 5)."""
    errors = (prediction - noise).pow(2).mean(dim=(1, 2, 3))
    return (errors * min_snr_weight(timesteps)).mean()


def draw_caption(subject: Subject, rng: torch.Generator) -> str:
    """The caption with its tags in order, shuffled, or the name alone; often with a made-up tag in front.

    Made-up tags teach that an unknown tag changes nothing, so that the trigger of a LoRA starts out harmless.
    """
    kind = torch.rand((), generator=rng).item()
    if kind < 0.6:
        tags = subject.tags
    elif kind < 0.8:
        tags = subject.tags[:1]
    else:
        tags = tuple(subject.tags[index] for index in torch.randperm(len(subject.tags), generator=rng).tolist())
    if torch.rand((), generator=rng).item() < MADE_UP_SHARE:
        tags = (draw_made_up_tag(rng), *tags)
    return ", ".join(tags)


def draw_made_up_tag(rng: torch.Generator) -> str:
    """One or two words of random letters."""
    words = []
    for _ in range(int(torch.randint(1, 3, (), generator=rng))):
        length = int(torch.randint(3, 9, (), generator=rng))
        words.append("".join(ascii_lowercase[index] for index in torch.randint(26, (length,), generator=rng).tolist()))
    return " ".join(words)


def draw_dropout(captions: list[str], rng: torch.Generator) -> tuple[list[str], Tensor]:
    """Captions with a tenth dropped: half of those become the empty caption, half get zeros as embeddings.

    Diffusers makes an absent negative prompt zeros, other programs encode an empty one: both have to mean "anything".
    """
    chance = torch.rand(len(captions), generator=rng)
    kept = ["" if value < CAPTION_DROPOUT / 2 else text for text, value in zip(captions, chance.tolist(), strict=True)]
    zeroed = (chance >= CAPTION_DROPOUT / 2) & (chance < CAPTION_DROPOUT)
    return kept, (~zeroed).float()


def tokenize(tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], captions: list[str]) -> tuple[Tensor, Tensor]:
    """The ids of both tokenizers, padded to 77."""
    first, second = (
        tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        for tokenizer in tokenizers
    )
    return first, second


def draw_latents(canvases: list[Latents], num_subjects: int, rng: torch.Generator) -> tuple[Latents, Tensor, list[int]]:
    """A canvas (mostly the first, the square), latents of some subjects on it, and the subjects' numbers.

    Each subject comes `NOISES` times in a row, so that its caption is encoded once for several noises.
    """
    square = torch.rand((), generator=rng).item() < SQUARE_SHARE
    index = 0 if square else int(torch.randint(1, len(canvases), (), generator=rng))
    places, subjects = canvases[index].values.shape[:2]
    chosen = torch.randint(subjects, (num_subjects,), generator=rng)
    where = torch.randint(places, (num_subjects,), generator=rng)
    latents = canvases[index].values[where, chosen].repeat_interleave(NOISES, dim=0)
    return canvases[index], latents, chosen.tolist()


def draw_timesteps(batch_size: int, rng: torch.Generator) -> Tensor:
    """Timesteps spread evenly over the 1,000, one at random from each part, in random order."""
    parts = (torch.arange(batch_size) + torch.rand(batch_size, generator=rng)) / batch_size
    return (parts * 1000).long()[torch.randperm(batch_size, generator=rng)]


@dataclass(frozen=True)
class Material:
    """What the denoiser learns from."""

    canvases: list[Latents]
    subjects: list[Subject]
    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]


def train_denoiser(material: Material, plan: Plan, seed: int, path: Path, batch_size: int = 10) -> Training[Denoiser]:
    """Train from the checkpoint at `path` where there is one, on batches of `batch_size` for each part of the plan."""
    torch.manual_seed(seed)
    training = Training(Denoiser(material.tokenizers), plan, path)

    def loss(step: int, part: int) -> Tensor:
        rng = generator(seed, f"denoiser {part}", step)
        canvas, latents, chosen = draw_latents(material.canvases, batch_size // NOISES, rng)
        captions, keep = draw_dropout([draw_caption(material.subjects[i], rng) for i in chosen], rng)
        tokens = tokenize(material.tokenizers, captions)
        timesteps = draw_timesteps(len(latents), rng)
        noise = torch.randn(latents.shape, generator=rng)
        noisy = add_noise(latents, noise, timesteps).contiguous(memory_format=torch.channels_last)
        prediction = training.module(noisy, timesteps, tokens, (canvas.height, canvas.width), keep)
        return weighted_loss(prediction, noise, timesteps)

    training.run(loss)
    return training
