"""A loaded, frozen base model: the U-Net, the text encoders with their tokenizers, the VAE, the noise schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sweeplora.models.architecture import Architecture, Conditioning
from sweeplora.models.attention_processors import apply
from sweeplora.models.base import Base
from sweeplora.models.facts import ModelFacts
from sweeplora.models.family import Text
from sweeplora.models.opening import open_encoder, open_unet, open_vae
from sweeplora.models.text.text import TextOptions, encode, open_tokenizer
from sweeplora.models.widening import widened


class Placement(NamedTuple):
    """Where a model is loaded: its device, and the U-Net's precision there (None: float32)."""

    device: torch.device
    precision: torch.dtype | None


def load(
    base: Base, architecture: Architecture, facts: ModelFacts, conditioning: Conditioning, to: Placement
) -> Loaded:
    """Load a model onto its device and set how its attention is computed.

    The U-Net is in float32 if `base` names files to merge into it; everything else always is.
    """
    to = to._replace(precision=None) if base.merged else to
    family = Loaded(base.name, architecture, facts, conditioning, to)
    apply(family.unet, base.attention)
    return family


class Loaded:
    """One model of any family; `conditioning` says how captions reach the U-Net."""

    def __init__(
        self, name: str, architecture: Architecture, facts: ModelFacts, conditioning: Conditioning, to: Placement
    ) -> None:
        self.name = name
        self.facts = facts
        self.scheduler_config = dict(facts.scheduler)
        self.alphas_cumprod = alphas_cumprod(facts.scheduler)
        self.prediction: Literal["epsilon", "v_prediction"] = facts.prediction
        self.resolution = facts.resolution
        self.latent_channels = facts.latent_channels
        self.scale_factor = facts.scale_factor
        self.divisor = facts.divisor
        self.token_limit = facts.max_tokens + 2
        self.vae_paths = facts.vae.files
        self.unet = open_unet(facts.unet, to.device, to.precision or torch.float32)
        self.vae = open_vae(facts.vae, to.device)
        self.text_encoders: list[PreTrainedModel] = [
            open_encoder(part, encoder.projects, to.device)
            for part, encoder in zip(facts.text_encoders, architecture.encoders, strict=True)
        ]
        self.tokenizers = [open_tokenizer(files) for files in facts.tokenizers]
        self.text_paths = (*facts.tokenizer_files, *(file for part in facts.text_encoders for file in part.files))
        self._conditioning = conditioning
        self._widened = False
        self._latent_scale = float(facts.vae.entry("scaling_factor"))
        self._latent_shift = float(facts.vae.config.get("shift_factor") or 0.0)

    def encode_text(self, captions: Sequence[str], weighted: bool = False) -> Text:
        """Encode captions: the encoders' hidden states, concatenated, and the last encoder's pooled output.

        `hidden` [B, T, D], `pooled` [B, P], or [B, 0] if the family has none. float32 on the encoders' device;
        captions over the token limit are truncated. `weighted`: `(word:1.2)` is emphasis rather than text.
        """
        how = TextOptions(self.facts.max_tokens, self._conditioning.layer, self._conditioning.final_norm, weighted)
        encoded = [
            encode(tokenizer, encoder, captions, how)
            for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True)
        ]
        hidden, pooled = torch.cat([one.hidden for one in encoded], dim=-1), encoded[-1].pooled
        return Text(hidden, hidden.new_empty(len(captions), 0) if pooled is None else pooled)

    def unconditional(self, count: int) -> Text:
        """The embedding for guidance without a negative prompt: zeros if the model's index says so."""
        text = self.encode_text([""] * count)
        if self.facts.force_zeros:
            return Text(torch.zeros_like(text.hidden), torch.zeros_like(text.pooled))
        return text

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [B, 3, H, W] in [-1, 1] -> posterior mean and standard deviation of the scaled latents."""
        posterior = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist
        mean = (posterior.mean.float() - self._latent_shift) * self._latent_scale
        return mean, posterior.std.float() * self._latent_scale

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Text, sizes: Tensor) -> Tensor:
        """The U-Net's prediction [B, C, h, w] in float32.

        `noisy` [B, C, h, w], `timesteps` [B], `sizes` [B, 6] in pixels, for families with size conditioning.
        """
        dtype = torch.float32 if self._widened else self.unet.dtype
        given = Text(text.hidden.to(dtype), text.pooled.to(dtype))
        conditions = self._conditioning.conditions(given, sizes)
        output = self.unet(noisy.to(dtype), timesteps, given.hidden, added_cond_kwargs=conditions, return_dict=False)
        prediction: Tensor = output[0]
        return prediction.float()

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute the U-Net and the text encoders in float32 within the context, at the memory of one layer."""
        self._widened = True
        try:
            with widened(self.unet, *self.text_encoders):
                yield
        finally:
            self._widened = False

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, C, h, w] -> pixels [B, 3, H, W] in [0, 1], float32."""
        unscaled = latents / self._latent_scale + self._latent_shift
        image: Tensor = self.vae.decode(unscaled.to(self.vae.device, self.vae.dtype), return_dict=False)[0]
        return (image.float() / 2 + 0.5).clamp(0, 1)

    def checkpoint_gradients(self, encoders: bool) -> None:
        """Recompute the U-Net's activations in the backward pass instead of storing them.

        `encoders`: the text encoders' too; CLIP does this only in training mode.
        """
        self.unet.enable_gradient_checkpointing()
        for encoder in self.text_encoders if encoders else []:
            encoder.activation_checkpointing_enable()
            encoder.train()


def alphas_cumprod(scheduler_config: Mapping[str, Any]) -> Tensor:
    """Cumulative products of 1 - beta [T], float64, from a scheduler config of linear or scaled_linear betas.

    With `rescale_betas_zero_snr` they are rescaled so that the last timestep is pure noise.
    """
    start, end = float(scheduler_config["beta_start"]), float(scheduler_config["beta_end"])
    count = int(scheduler_config.get("num_train_timesteps", 1000))
    power = 0.5 if scheduler_config["beta_schedule"] == "scaled_linear" else 1.0
    betas = torch.linspace(start**power, end**power, count, dtype=torch.float64) ** (1 / power)
    products = torch.cumprod(1 - betas, dim=0)
    return zero_terminal(products) if scheduler_config["rescale_betas_zero_snr"] else products


def zero_terminal(products: Tensor) -> Tensor:
    """Shift and scale the square roots of `products` [T] so that the first is unchanged and the last is 0.

    Lin et al. 2023, arXiv:2305.08891, algorithm 1.
    """
    roots = products.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    return ((roots - last) * first / (first - last)) ** 2
