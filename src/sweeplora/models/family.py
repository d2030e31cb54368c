"""The interface that training needs of a base model of any family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sweeplora.models.facts import ModelFacts


class Text(NamedTuple):
    """Encoded captions: `hidden` [B, T, D] for cross attention, `pooled` [B, P] for the time embedding.

    Families without a pooled embedding have P = 0.
    """

    hidden: Tensor
    pooled: Tensor


class Family(Protocol):
    """A frozen base model held in parts."""

    @property
    def name(self) -> str:
        """Its name in file names and metadata."""
        ...

    @property
    def facts(self) -> ModelFacts:
        """What was known about it before it was loaded."""
        ...

    @property
    def unet(self) -> nn.Module:
        """The denoising network."""
        ...

    @property
    def text_encoders(self) -> Sequence[nn.Module]:
        """The text encoders, in the order in which their hidden states are concatenated."""
        ...

    @property
    def vae(self) -> nn.Module:
        """The autoencoder between pixels and latents."""
        ...

    @property
    def tokenizers(self) -> Sequence[PreTrainedTokenizerBase]:
        """One for each text encoder."""
        ...

    @property
    def alphas_cumprod(self) -> Tensor:
        """The noise schedule [T], float64, on the CPU."""
        ...

    @property
    def prediction(self) -> Literal["epsilon", "v_prediction"]:
        """What the U-Net predicts."""
        ...

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """The noise schedule as samplers read it, with the prediction and betas used in training."""
        ...

    @property
    def resolution(self) -> int:
        """Default side of an image in pixels."""
        ...

    @property
    def divisor(self) -> int:
        """Image sides must be multiples of it."""
        ...

    @property
    def scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        ...

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        ...

    @property
    def token_limit(self) -> int:
        """Length of an encoded caption in tokens, including start and end."""
        ...

    @property
    def vae_paths(self) -> tuple[Path, ...]:
        """The files that determine the VAE's output."""
        ...

    @property
    def text_paths(self) -> tuple[Path, ...]:
        """The files that determine the text encoders' output."""
        ...

    def held(self) -> dict[str, nn.Module]:
        """The networks that are in memory, by the names of `ModelFacts.parts`; the others are read when used."""
        ...

    def precision(self, name: str) -> torch.dtype:
        """The precision of a network, by its name in `ModelFacts.parts`, in memory or not."""
        ...

    def place(self, part: Literal["unet", "vae", "text_encoders"], device: torch.device, dtype: torch.dtype) -> None:
        """Move a network that is in memory; one that is not will be read there, in this precision."""
        ...

    def release(self, part: Literal["vae", "text_encoders"]) -> None:
        """Take a frozen network out of memory; it is read again, for as long as it is needed, if it is used."""
        ...

    def whole_on(self, device: torch.device) -> AbstractContextManager[None]:
        """Within the context, VAE and text encoders are used on this device; afterwards they are where they were."""
        ...

    def encode_text(self, captions: Sequence[str], weighted: bool = False) -> Text:
        """Encode captions, padded to the token limit; gradients flow to text encoders that are trained.

        `weighted`: brackets and numbers in a caption weight its words, `(word:1.2)`.
        """
        ...

    def unconditional(self, count: int) -> Text:
        """The unconditional embedding that guidance uses when there is no negative prompt."""
        ...

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] in [-1, 1] -> posterior mean and standard deviation, shifted and scaled."""
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, text: Text, sizes: Tensor) -> Tensor:
        """The U-Net's prediction [B, C, h, w]; `sizes` [B, 6]: original h, w, crop top, left, target h, w.

        Families without size conditioning ignore `sizes`.
        """
        ...

    def in_float32(self) -> AbstractContextManager[None]:
        """Compute the U-Net and the text encoders in float32 within the context, whatever their weights are held in.

        The results are those of the weights widened, which is exact.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [B, C, h, w] -> pixels [B, 3, H, W] in [0, 1]."""
        ...

    def checkpoint_gradients(self, encoders: bool) -> None:
        """Recompute activations in the backward pass instead of storing them; `encoders`: in the text encoders too."""
        ...
