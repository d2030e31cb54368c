"""A family of a few numbers that stands in for a base model where only the data's side matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sweeplora.models.facts import ModelFacts
from sweeplora.models.family import Text


class Toy:
    """Latents are means over 4 x 4 pixels, text is letters; counts what it encodes."""

    name = "toy"
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    resolution, latent_channels, scale_factor, divisor, token_limit = 64, 3, 4, 16, 8

    def __init__(self) -> None:
        self.facts = cast(ModelFacts, None)  # the data's side asks for none
        self.unet: nn.Module = nn.Linear(1, 1)
        self.vae: nn.Module = nn.Linear(1, 1)
        self.text_encoders: list[nn.Module] = [nn.Linear(1, 1)]
        self.tokenizers: list[PreTrainedTokenizerBase] = []
        self.alphas_cumprod = torch.linspace(1, 0, 1000)
        self.scheduler_config: Mapping[str, Any] = {}
        self.vae_paths: tuple[Path, ...] = ()
        self.text_paths: tuple[Path, ...] = ()
        self.images = 0
        self.batches: list[int] = []
        self.captions: list[str] = []

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.images += len(pixels)
        self.batches.append(len(pixels))
        mean = nn.functional.avg_pool2d(pixels, 4)
        return mean, torch.full_like(mean, 0.5)

    def encode_text(self, captions: Sequence[str], weighted: bool = False) -> Text:
        self.captions += captions
        rows = [[float(ord(letter)) for letter in f"{caption:\0<8}"[:8]] for caption in captions]
        hidden = torch.tensor(rows)[..., None] * self.text_encoders[0].get_parameter("weight")
        return Text(hidden * (2 if weighted else 1), hidden.mean(1))

    def unconditional(self, count: int) -> Text:
        return self.encode_text([""] * count)

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Text, sizes: Tensor) -> Tensor:
        return noisy

    def decode(self, latents: Tensor) -> Tensor:
        return latents

    def checkpoint_gradients(self, encoders: bool) -> None:
        pass

    def held(self) -> dict[str, nn.Module]:
        return {"unet": self.unet, "vae": self.vae, "text_encoder": self.text_encoders[0]}

    def precision(self, name: str) -> torch.dtype:
        part = self.vae if name == "vae" else self.text_encoders[0]
        return next(part.parameters()).dtype

    def place(self, part: Literal["unet", "vae", "text_encoders"], device: torch.device, dtype: torch.dtype) -> None:
        pass

    def release(self, part: Literal["vae", "text_encoders"]) -> None:
        pass

    def whole_on(self, device: torch.device) -> AbstractContextManager[None]:
        return nullcontext()

    def in_float32(self) -> AbstractContextManager[None]:
        return nullcontext()
