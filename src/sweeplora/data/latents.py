"""Where a training's latents come from: posteriors that were kept, or pictures encoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from sweeplora.data.dataset import Picture
from sweeplora.data.decode import ImageFault
from sweeplora.data.entries import EntryStore
from sweeplora.data.pixels import View, middle, read, read_mask, shrink_mask
from sweeplora.errors import UserError
from sweeplora.models.family import Family

FoundT = TypeVar("FoundT")


class Fetched(NamedTuple):
    """What is there of a picture before an encoder works: its content, its mask [1, h, w], its latents' shape.

    `content` is for `Latents.posteriors` alone: the posterior itself, or the picture's levels.
    """

    content: Tensor
    mask: Tensor | None
    shape: torch.Size


class Latents(Protocol):
    """A source of latents."""

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """What can be had of a picture without an encoder, in any thread.

        Raises UserError for an image file that has changed or gone since it was read into the data set.
        """
        ...

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """Posteriors [b, 2, C, h, w] of fetched pictures of one bucket, float32, on the CPU."""
        ...


class CachedLatents:
    """Posteriors and masks that the cache holds."""

    def __init__(self, posteriors: EntryStore, masks: EntryStore) -> None:
        self._posteriors = posteriors
        self._masks = masks

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """The kept posterior and mask of the picture, cut in its middle."""
        assert view == middle(picture, view.flip), "what is kept is cut in its middle, in its own colours"
        posterior = self._posteriors.read(latent_key(picture, view.flip))["posterior"]
        mask = None
        if picture.mask is not None:
            mask = self._masks.read(mask_key(picture))["mask"]
            mask = mask.flip(-1) if view.flip else mask
        return Fetched(posterior, mask, posterior.shape[1:])

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """The posteriors themselves."""
        return torch.stack(list(contents))


class OnlineLatents:
    """Pictures that the VAE encodes whenever they are asked for, `together` of them in a batch."""

    def __init__(self, family: Family, together: int) -> None:
        self._family = family
        self._together = together

    def fetch(self, picture: Picture, view: View) -> Fetched:
        """The picture's levels and mask as this view shows them."""
        cut = _found(picture, lambda: read(picture, view))
        factor = self._family.scale_factor
        mask = None if cut.mask is None else torch.from_numpy(shrink_mask(cut.mask, factor))
        sides = (picture.bucket.height // factor, picture.bucket.width // factor)
        return Fetched(torch.from_numpy(cut.pixels), mask, torch.Size((self._family.latent_channels, *sides)))

    def posteriors(self, contents: Sequence[Tensor]) -> Tensor:
        """The pictures encoded on the VAE's device. Raises UserError where that overflows."""
        posteriors = torch.stack(list(encode(self._family, contents, self._together)))
        if not posteriors.isfinite().all():
            precision = str(next(self._family.vae.parameters()).dtype).removeprefix("torch.")
            raise UserError("model.vae_precision", precision, "the VAE's latents are not finite; take fp32 or bf16")
        return posteriors


def encode(family: Family, pixels: Sequence[Tensor], together: int) -> Iterator[Tensor]:
    """Posterior [2, C, h, w] (mean and standard deviation, float32, on the CPU) of each picture, in order.

    `pixels`: levels [3, H, W], uint8, of pictures of one size. Every batch holds `together` pictures, the last
    one of them repeated where there are fewer, because the size of a batch changes the last bits of what is in
    it. Measured with torch 2.13 on a CPU, the other pictures in a batch change nothing; a picture's place in it
    changes nothing in bfloat16, nor in float32 where `together` and the number of threads are powers of two,
    and up to 2e-6 elsewhere. `together` 1 has one place only. Autocast must be off.
    """
    device = next(family.vae.parameters()).device
    for start in range(0, len(pixels), together):
        part = list(pixels[start : start + together])
        full = torch.stack(part + part[-1:] * (together - len(part)))
        with torch.no_grad():
            mean, std = family.encode_images(full.to(device).float() / 127.5 - 1)
        for posterior in torch.stack((mean, std), dim=1).float().cpu()[: len(part)]:
            yield posterior.clone()  # a view would keep the whole batch in memory


def draw(posteriors: Tensor, noise: Tensor) -> Tensor:
    """Latents [b, C, h, w] from posteriors [b, 2, C, h, w] and standard normal noise [b, C, h, w]."""
    return posteriors[:, 0] + posteriors[:, 1] * noise


def normal(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise that follows from `seed`, on the CPU."""
    return torch.randn(tuple(shape), generator=Generator().manual_seed(seed))


def pixels_of(picture: Picture, flip: bool) -> Tensor:
    """Levels [3, H, W] of the picture's middle; UserError for a file that has changed or gone."""
    return torch.from_numpy(_found(picture, lambda: read(picture, middle(picture, flip)).pixels))


def mask_of(picture: Picture, factor: int) -> Tensor:
    """The mask [1, h, w] of the picture's middle at `factor` pixels a latent; raises UserError as `pixels_of` does."""
    return torch.from_numpy(shrink_mask(_found(picture, lambda: read_mask(picture, middle(picture))), factor))


def latent_key(picture: Picture, flip: bool) -> str:
    """The name of a posterior's entry: content, sizes before and after the cut, mirrored, without transparency."""
    through = picture.mask is not None and picture.mask.path is None
    ends = f"{'-flip' if flip else ''}{'-through' if through else ''}"
    return f"{picture.sha256[:40]}-{_sizes(picture)}{ends}"


def mask_key(picture: Picture) -> str:
    """The name of a mask's entry: the content it comes from, sizes before and after the cut."""
    assert picture.mask is not None, f"{picture.name} has no mask"
    sha256, end = (picture.sha256, "-alpha") if picture.mask.sha256 is None else (picture.mask.sha256, "")
    return f"{sha256[:40]}-{_sizes(picture)}{end}"


def _sizes(picture: Picture) -> str:
    scaled, bucket = picture.scaled, picture.bucket
    return f"{scaled.width}x{scaled.height}-{bucket.width}x{bucket.height}"


def _found(picture: Picture, look: Callable[[], FoundT]) -> FoundT:
    try:
        return look()
    except ImageFault as fault:
        raise UserError("data.dir", picture.path, f"the image {fault}; start the run again") from None
    except OSError as error:
        mend = f"{error.filename or 'the image'} cannot be read ({error.strerror}); start the run again"
        raise UserError("data.dir", picture.path, mend) from None
