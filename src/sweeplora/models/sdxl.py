"""Stable Diffusion XL held in its parts, loaded from a diffusers folder without the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from sweeplora.models import folder
from sweeplora.models.family import Text
from sweeplora.models.folder import ModelFacts, Part

ModelT = TypeVar("ModelT", bound=nn.Module)


def load(
    path: str,
    name: str,
    vae: str | None,
    prediction: Literal["epsilon", "v_prediction"] | None,
    zero_terminal_snr: bool,
) -> SDXL:
    """Read a diffusers folder into float32 on the CPU, frozen and in evaluation mode.

    `name` stands in file names and metadata. `vae`: another VAE's folder, None for the model's own.
    `prediction` None takes what the model's scheduler config says. Raises UserError for a folder that lacks
    a part.
    """
    facts = folder.read(Path(path), None if vae is None else Path(vae))
    return SDXL(name, facts, folder.schedule(facts, prediction, zero_terminal_snr))


class SDXL:
    """The U-Net, both text encoders with their tokenizers, the VAE and the noise schedule of one model."""

    def __init__(self, name: str, facts: ModelFacts, scheduler_config: Mapping[str, Any]) -> None:
        self.name = name
        self.facts = facts
        self.scheduler_config = dict(scheduler_config)
        self.alphas_cumprod = alphas_cumprod(scheduler_config)
        self.prediction: Literal["epsilon", "v_prediction"] = scheduler_config["prediction_type"]
        self.resolution = facts.resolution
        self.latent_channels = facts.latent_channels
        self.scale_factor = facts.scale_factor
        self.divisor = facts.divisor
        self.token_limit = facts.token_limit
        self.vae_folder = facts.vae.path
        tokenizers = tuple(facts.path / part for part in ("tokenizer", "tokenizer_2"))
        self.text_folders = (*(part.path for part in facts.text_encoders), *tokenizers)
        self.unet: UNet2DConditionModel = _open(UNet2DConditionModel, facts.unet)
        self.vae: AutoencoderKL = _open(AutoencoderKL, facts.vae)
        first, second = facts.text_encoders
        self.text_encoders: list[nn.Module] = [
            _open(CLIPTextModel, first),
            _open(CLIPTextModelWithProjection, second),
        ]
        self.tokenizers = [CLIPTokenizer.from_pretrained(folder, local_files_only=True) for folder in tokenizers]
        self._latent_scale = float(self.vae.config.scaling_factor)
        self._latent_shift = float(self.vae.config.shift_factor or 0.0)

    def encode_text(self, captions: Sequence[str]) -> Text:
        """Encode captions as the SDXL pipeline does.

        `hidden` [B, T, D1 + D2]: both encoders' last layer but one, side by side. `pooled` [B, P]: the second
        encoder's projection at the end token. float32 on the encoders' device; a caption over the token limit
        is cut.
        """
        hidden, pooled = [], torch.empty(0)
        for tokenizer, encoder in zip(self.tokenizers, self.text_encoders, strict=True):
            tokens = self._tokens(tokenizer, captions).to(next(encoder.parameters()).device)
            output = encoder(tokens, output_hidden_states=True)
            hidden.append(output.hidden_states[-2])
            pooled = output[0]
        return Text(torch.cat(hidden, dim=-1).float(), pooled.float())

    def unconditional(self, count: int) -> Text:
        """What guidance moves away from without a negative prompt: zeros where the model's index says so."""
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

        `noisy` [B, C, h, w], `timesteps` [B], `sizes` [B, 6]: original height, width, crop top, left, target
        height, width in pixels (Podell et al. 2023, arXiv:2307.01952, section 2.2).
        """
        dtype = self.unet.dtype
        conditions = {"text_embeds": text.pooled.to(dtype), "time_ids": sizes}
        output = self.unet(
            noisy.to(dtype), timesteps, text.hidden.to(dtype), added_cond_kwargs=conditions, return_dict=False
        )
        prediction: Tensor = output[0]
        return prediction.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, C, h, w] -> pixels [B, 3, H, W] in [0, 1], float32."""
        unscaled = latents / self._latent_scale + self._latent_shift
        image: Tensor = self.vae.decode(unscaled.to(self.vae.device, self.vae.dtype), return_dict=False)[0]
        return (image.float() / 2 + 0.5).clamp(0, 1)

    def checkpoint_gradients(self) -> None:
        """Compute the U-Net's activations again in the backward pass instead of keeping them."""
        self.unet.enable_gradient_checkpointing()

    def _tokens(self, tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
        tokens = tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.token_limit,
            truncation=True,
            return_tensors="pt",
        )
        ids: Tensor = tokens.input_ids
        return ids


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
    """Shift and scale the square roots of `products` [T] so that the first stays and the last is 0.

    Lin et al. 2023, arXiv:2305.08891, algorithm 1.
    """
    roots = products.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    return ((roots - last) * first / (first - last)) ** 2


def _open(kind: type[ModelT], part: Part) -> ModelT:
    """Read one network, frozen, in float32."""
    options: dict[str, Any] = {"dtype": torch.float32, "variant": part.variant, "local_files_only": True}
    model: ModelT = kind.from_pretrained(part.path, **options)  # type: ignore[attr-defined]
    return model.requires_grad_(False).eval()
