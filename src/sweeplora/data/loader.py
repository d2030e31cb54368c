"""What a training step and a validation take from the data: latents, captions and size ids of given items."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from sweeplora.data.batches import Batch, Item
from sweeplora.data.cache import Latents
from sweeplora.data.captions import CaptionRules, plain, render
from sweeplora.data.index import Dataset, Picture
from sweeplora.data.pixels import size_ids
from sweeplora.models.family import Text
from sweeplora.randomness import seed_of

Encode = Callable[[Sequence[str]], Text]


@dataclass(frozen=True)
class Loaded:
    """A process's share of a batch, on the CPU.

    latents [b, C, h, w] drawn from the posterior, sizes [b, 6] as SDXL orders them (pixels), `captions` as
    rendered for this step; `text()` encodes or looks them up when it is called, on the encoder's device and
    under the caller's autocast and gradient mode.
    """

    items: tuple[Item, ...]
    latents: Tensor
    sizes: Tensor
    captions: tuple[str, ...]
    encode: Encode

    def text(self) -> Text:
        """Text encoder outputs of the captions."""
        return self.encode(self.captions)


@dataclass(frozen=True)
class Still:
    """An image without anything random: centre crop, posterior mean [C, h, w], plain caption, sizes [6].

    `identity` is its content hash, from which a validation draws its timesteps and noise.
    """

    identity: str
    latents: Tensor
    caption: str
    sizes: Tensor


class Loader:
    """Loads shares of batches; what is random about an item follows from (seed, epoch, item) alone.

    `encode` is `Texts.encode` where outputs are kept, else the family's `encode_text`.
    """

    def __init__(self, dataset: Dataset, latents: Latents, encode: Encode, seed: int) -> None:
        self._dataset = dataset
        self._latents = latents
        self._encode = encode
        self._seed = seed

    def load(self, batch: Batch, epoch: int) -> Loaded:
        """The tensors of a batch, or of a process's share of one, that has at least one item."""
        assert batch.items, "an empty share loads nothing"
        flips = [self._dataset.flip and self._seed_of("flip", epoch, item) % 2 == 1 for item in batch.items]
        pictures = [self._dataset.train[item.index] for item in batch.items]
        latents = [
            self._draw(picture, flip, epoch, item)
            for picture, flip, item in zip(pictures, flips, batch.items, strict=True)
        ]
        sizes = [size_ids(picture, flip) for picture, flip in zip(pictures, flips, strict=True)]
        captions = tuple(
            render(picture.caption, self._dataset.rules, random.Random(self._seed_of("caption", epoch, item)))
            for picture, item in zip(pictures, batch.items, strict=True)
        )
        return Loaded(
            batch.items,
            torch.stack(latents),
            torch.tensor(sizes, dtype=torch.float32),
            captions,
            self._encode,
        )

    def _draw(self, picture: Picture, flip: bool, epoch: int, item: Item) -> Tensor:
        mean, std = self._latents.posterior(picture, flip)
        generator = Generator().manual_seed(self._seed_of("posterior", epoch, item))
        return mean.float() + std.float() * torch.randn(mean.shape, generator=generator)

    def _seed_of(self, what: str, epoch: int, item: Item) -> int:
        return seed_of(self._seed, what, epoch, item.index, item.repeat)


def stills(pictures: Sequence[Picture], latents: Latents, rules: CaptionRules) -> list[Still]:
    """The pictures as validation sees them, the same for every seed."""
    return [
        Still(
            identity=picture.sha256,
            latents=latents.posterior(picture, flip=False)[0].float(),
            caption=plain(picture.caption, rules),
            sizes=torch.tensor(size_ids(picture, flip=False), dtype=torch.float32),
        )
        for picture in pictures
    ]
