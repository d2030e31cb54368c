"""A loaded, frozen base model: the U-Net, the text encoders with their tokenizers, the VAE, the noise schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from sweeplora.models.architecture import Architecture, Conditioning
from sweeplora.models.attention import Kind
from sweeplora.models.attention_processors import apply
from sweeplora.models.base import Base
from sweeplora.models.facts import ModelFacts, Part
from sweeplora.models.family import Text
from sweeplora.models.on_demand import OnDemand
from sweeplora.models.opening import build_encoder, build_unet, build_vae, fill
from sweeplora.models.text.text import TextOptions, encode, open_tokenizer
from sweeplora.models.widening import widened

_KEPT_PROMPTS = 64


class Placement(NamedTuple):
    """Where a model is loaded: its device, and the U-Net's precision there (None: float32)."""

    device: torch.device
    precision: torch.dtype | None


def load(
    base: Base, architecture: Architecture, facts: ModelFacts, conditioning: Conditioning, to: Placement
) -> Loaded:
    """A model whose networks are read onto their device when they are first used.

    The U-Net is in float32 if `base` names files to merge into it; everything else always is.
    """
    to = to._replace(precision=None) if base.merged else to
    return Loaded(base, architecture, facts, conditioning, to)


class Loaded:
    """One model of any family; `conditioning` says how captions reach the U-Net."""

    def __init__(
        self, base: Base, architecture: Architecture, facts: ModelFacts, conditioning: Conditioning, to: Placement
    ) -> None:
        self.name = base.name
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
        self._unet: OnDemand[UNet2DConditionModel] = OnDemand(
            partial(_blank_unet, facts.unet, base.attention), partial(fill, facts.unet), to.device
        )
        self._unet.precision = to.precision or torch.float32
        self._vae: OnDemand[AutoencoderKL] = OnDemand(
            partial(build_vae, facts.vae), partial(fill, facts.vae), to.device
        )
        self._encoders = [
            OnDemand(partial(build_encoder, part, encoder.projects), partial(fill, part), to.device)
            for part, encoder in zip(facts.text_encoders, architecture.encoders, strict=True)
        ]
        self.tokenizers = [open_tokenizer(files) for files in facts.tokenizers]
        self.text_paths = (*facts.tokenizer_files, *(file for part in facts.text_encoders for file in part.files))
        self._conditioning = conditioning
        self._latent_scale = float(facts.vae.entry("scaling_factor"))
        self._latent_shift = float(facts.vae.config.get("shift_factor") or 0.0)
        self._widened = False
        self._prompts: dict[tuple[bool, tuple[str, ...]], Text] = {}

    @property
    def unet(self) -> UNet2DConditionModel:
        """The denoising network."""
        return self._unet.module

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder between pixels and latents."""
        return self._vae.module

    @property
    def text_encoders(self) -> list[PreTrainedModel]:
        """The text encoders, in the order in which their hidden states are concatenated."""
        return [encoder.module for encoder in self._encoders]

    def held(self) -> dict[str, nn.Module]:
        """The networks that are in memory, by the names of `ModelFacts.parts`."""
        return {name: one.module for name, one in self._parts().items() if one.is_held}

    def precision(self, name: str) -> torch.dtype:
        """The precision of a network, by its name in `ModelFacts.parts`, in memory or not."""
        return self._parts()[name].precision

    def place(self, part: Literal["unet", "vae", "text_encoders"], device: torch.device, dtype: torch.dtype) -> None:
        """Move a network that is in memory; one that is not will be read there, in this precision."""
        for one in self._chosen(part):
            one.place(device, dtype)

    def release(self, part: Literal["vae", "text_encoders"]) -> None:
        """Take a frozen network out of memory; it is read again, for as long as it is needed, if it is used.

        What was merged into it or trained in it is lost.
        """
        for one in self._chosen(part):
            one.release()

    @contextmanager
    def whole_on(self, device: torch.device) -> Iterator[None]:
        """Within the context, VAE and text encoders are on this device when they are used; afterwards where they were.

        What was not in memory before leaves it again.
        """
        parts = [self._vae, *self._encoders]
        places = [(one.device, one.is_held) for one in parts]
        for one in parts:
            one.place(device, one.precision)
        try:
            yield
        finally:
            for one, (place, was_held) in zip(parts, places, strict=True):
                if not was_held:
                    one.drop()
                one.place(place, one.precision)

    def _parts(self) -> dict[str, OnDemand[Any]]:
        return dict(zip(self.facts.parts, (self._unet, self._vae, *self._encoders), strict=True))

    def _chosen(self, part: str) -> list[OnDemand[Any]]:
        return self._encoders if part == "text_encoders" else [self._parts()[part]]

    def encode_text(self, captions: Sequence[str], weighted: bool = False) -> Text:
        """Encode captions: the encoders' hidden states, concatenated, and the last encoder's pooled output.

        `hidden` [B, T, D], `pooled` [B, P], or [B, 0] if the family has none. float32 on the encoders' device;
        captions over the token limit are truncated. `weighted`: `(word:1.2)` is emphasis rather than text. If the
        encoders have been released, the last encodings are kept, so that previews read them once.
        """
        if not self._encoders[0].is_released:
            return self._encode_text(captions, weighted)
        key = (weighted, tuple(captions))
        if key not in self._prompts:
            encoded = self._encode_text(captions, weighted)
            self._prompts[key] = Text(encoded.hidden.cpu(), encoded.pooled.cpu())
            while len(self._prompts) > _KEPT_PROMPTS:
                del self._prompts[next(iter(self._prompts))]
        device = self._encoders[0].device
        return Text(*(tensor.to(device) for tensor in self._prompts[key]))

    def _encode_text(self, captions: Sequence[str], weighted: bool) -> Text:
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
        """Compute the U-Net and the text encoders in float32 within the context, at the memory of one layer.

        Encoders that have been released are not used in it; the others are read, so that the first use counts as every
        later one.
        """
        encoders = [one.module for one in self._encoders if one.is_held or not one.is_released]
        self._widened = True
        try:
            with widened(self.unet, *encoders):
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


def _blank_unet(part: Part, kind: Kind) -> UNet2DConditionModel:
    unet = build_unet(part)
    apply(unet, kind)
    return unet


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
