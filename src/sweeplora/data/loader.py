"""Loads what training and validation need of given images: latents, captions, masks and size ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from sweeplora.data.batches import Batch, Item
from sweeplora.data.captions import Moment, plain, render
from sweeplora.data.dataset import Dataset, Picture
from sweeplora.data.latents import Fetched, Latents, draw, normal
from sweeplora.data.pixels import View, centre_view, random_view, size_ids
from sweeplora.data.prefetch import prefetch
from sweeplora.models.family import Text
from sweeplora.randomness import seed_of

Encode = Callable[[Sequence[str]], Text]


class Request(NamedTuple):
    """A process's share of a batch, with at least one item, and when it is trained on."""

    batch: Batch
    moment: Moment


@dataclass(frozen=True)
class Loaded:
    """A process's share of a batch, on the CPU.

    `sizes` [b, 6] in SDXL's order (pixels); `captions` as rendered for this moment; `weights` [b] of the samples'
    losses; `mask` [b, 1, h, w] in [0, 1] where the loss counts, None where no image of the share has one. `latents()`
    and `text()` look up or encode when they are called: in the caller's thread and on the encoder's device, text in the
    caller's autocast and gradient mode.
    """

    items: tuple[Item, ...]
    sizes: Tensor
    captions: tuple[str, ...]
    weights: Tensor
    mask: Tensor | None
    encode: Encode
    draw: Callable[[], Tensor]

    def latents(self) -> Tensor:
        """Latents [b, C, h, w] drawn from the posteriors, on the CPU; autocast must be off."""
        return self.draw()

    def text(self) -> Text:
        """Text encoder outputs of the captions."""
        return self.encode(self.captions)


@dataclass(frozen=True)
class Still:
    """An image with nothing random about it: centre crop, posterior mean [C, h, w], plain caption, sizes [6].

    `identity` is its content hash, from which validation draws timesteps and noise.
    """

    identity: str
    latents: Tensor
    caption: str
    sizes: Tensor


class _Prepared(NamedTuple):
    picture: Picture
    view: View
    caption: str
    fetched: Fetched
    noise: Tensor


class Loader:
    """Loads shares of batches; everything random about an item depends on (seed, epoch, item) alone.

    `encode` is `Texts.encode` where outputs are cached, otherwise the family's `encode_text`.
    """

    def __init__(self, dataset: Dataset, latents: Latents, encode: Encode, seed: int) -> None:
        self._dataset = dataset
        self._latents = latents
        self._encode = encode
        self._seed = seed

    def load(self, batch: Batch, moment: Moment) -> Loaded:
        """One share."""
        return next(self._stream([Request(batch, moment)], workers=0))

    def stream(self, requests: Sequence[Request]) -> Generator[Loaded, None, None]:
        """The requested shares in order, prefetched by the data set's `workers` threads.

        They are at most two batches and one image each ahead, and their number changes no result. An image's error is
        raised when its batch is due. Close the iterator to stop before the last share.
        """
        return self._stream(requests, self._dataset.workers)

    def _stream(self, requests: Sequence[Request], workers: int) -> Generator[Loaded, None, None]:
        assert all(request.batch.items for request in requests), "an empty share loads nothing"
        wanted = [(item, request.moment) for request in requests for item in request.batch.items]
        room = workers + 2 * max((len(request.batch.items) for request in requests), default=0)
        with closing(prefetch(self._prepare, wanted, workers, room)) as prepared:
            for request in requests:
                yield self._joined(request.batch.items, list(islice(prepared, len(request.batch.items))))

    def _prepare(self, wanted: tuple[Item, Moment]) -> _Prepared:
        item, moment = wanted
        picture = self._dataset.train[item.index]
        view = self._view(picture, moment.epoch, item)
        words = random.Random(self._seed_of("caption", moment.epoch, item))
        caption = render(picture.caption, picture.treatment.rules, words, moment)
        fetched = self._latents.fetch(picture, view)
        seed = self._posterior_seed(picture, view, moment.epoch, item)
        return _Prepared(picture, view, caption, fetched, normal(seed, fetched.shape))

    def _view(self, picture: Picture, epoch: int, item: Item) -> View:
        treatment = picture.treatment
        flip = treatment.flip and self._seed_of("flip", epoch, item) % 2 == 1
        if treatment.random_crop:
            view = random_view(picture, flip, random.Random(self._seed_of("crop", epoch, item)))
        else:
            view = centre_view(picture, flip)
        return view._replace(color=self._seed_of("color", epoch, item)) if treatment.color else view

    def _posterior_seed(self, picture: Picture, view: View, epoch: int, item: Item) -> int:
        """A new draw for every epoch and repeat, or one that depends on the image's content and flip alone.

        The latter is like the cached latents of sd-scripts, which are drawn once, written to disk and shared by runs.
        """
        if self._dataset.frozen_latents:
            return seed_of(0, "frozen posterior", picture.sha256, int(view.flip))
        return self._seed_of("posterior", epoch, item)

    def _joined(self, items: tuple[Item, ...], parts: Sequence[_Prepared]) -> Loaded:
        noise = torch.stack([part.noise for part in parts])
        contents = [part.fetched.content for part in parts]
        sizes = [size_ids(part.picture, part.view) for part in parts]
        prior = self._dataset.prior_loss_weight
        return Loaded(
            items=items,
            sizes=torch.tensor(sizes, dtype=torch.float32),
            captions=tuple(part.caption for part in parts),
            weights=torch.tensor([prior if part.picture.treatment.is_reg else 1.0 for part in parts]),
            mask=_joined_masks([part.fetched for part in parts]),
            encode=self._encode,
            draw=lambda: draw(self._latents.posteriors(contents), noise),
        )

    def _seed_of(self, what: str, epoch: int, item: Item) -> int:
        return seed_of(self._seed, what, epoch, item.index, item.repeat)


def stills(pictures: Sequence[Picture], latents: Latents) -> list[Still]:
    """The images as validation uses them, the same for every seed."""
    return [_still(picture, latents) for picture in pictures]


def _still(picture: Picture, latents: Latents) -> Still:
    view = centre_view(picture)
    posterior = latents.posteriors([latents.fetch(picture, view).content])[0]
    return Still(
        identity=picture.sha256,
        latents=posterior[0],
        caption=plain(picture.caption, picture.treatment.rules),
        sizes=torch.tensor(size_ids(picture, view), dtype=torch.float32),
    )


def _joined_masks(fetched: Sequence[Fetched]) -> Tensor | None:
    """Masks [b, 1, h, w], ones for images without; None where no image has one."""
    if all(one.mask is None for one in fetched):
        return None
    return torch.stack([torch.ones(1, *one.shape[1:]) if one.mask is None else one.mask for one in fetched])
